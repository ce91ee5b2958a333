//! The miner's flags, named as geth's where geth has them.

use crate::error::MinerError;
use crate::worker::{Cadence, Settings};
use alloy_primitives::{Address, Bytes};
use quintet_redis::RedisArgs;
use quintet_service::config::{ConfigError, duration};
use quintet_service::grpc::GrpcConfig;
use quintet_service::{ProcessConfig, ServiceError};
use std::time::Duration;

/// Bytes of extra data that a header takes (yellow paper, 4.4.4).
pub(crate) const EXTRA_DATA_LIMIT: usize = 32;
/// Extra data unless set otherwise: who made the block.
const DEFAULT_EXTRA_DATA: &str = concat!("quintet/", env!("CARGO_PKG_VERSION"));
const DEFAULT_GAS_LIMIT: u64 = 30_000_000;
/// As geth's: a thousandth of a gwei.
const DEFAULT_GAS_PRICE: u128 = 1_000_000;
const DEFAULT_RECOMMIT: Duration = Duration::from_secs(2);

/// Everything the binary is configured with.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "quintet-miner", version, about = "Makes blocks: fills, seals and submits them")]
#[command(mut_arg("grpc.port", |arg| arg.default_value("9604")))]
pub struct Config {
    /// Telemetry, the admin port, shutdown.
    #[command(flatten)]
    pub process: ProcessConfig,
    /// Where its RPCs listen.
    #[command(flatten)]
    pub grpc: GrpcConfig,
    /// Address of the chain service.
    #[arg(id = "chain.url", long = "chain.url", value_name = "URL", help_heading = "Services")]
    pub chain_url: String,
    /// How long a call to the chain service may take.
    #[arg(id = "chain.timeout", long = "chain.timeout", value_name = "DURATION", default_value = "30s",
        value_parser = duration, help_heading = "Services")]
    pub chain_timeout: Duration,
    /// Where miners agree on which of them leads; without it this is the only one.
    #[command(flatten)]
    pub redis: RedisArgs,
    /// How blocks are made.
    #[command(flatten)]
    pub miner: MinerConfig,
}

/// How blocks are made; part of the one-process node's configuration too.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Miner")]
pub struct MinerConfig {
    /// Make blocks from the start.
    #[arg(id = "mine", long = "mine")]
    pub mine: bool,
    /// Address that gets the fees.
    #[arg(id = "miner.etherbase", long = "miner.etherbase", value_name = "ADDRESS")]
    pub etherbase: Option<Address>,
    /// Gas limit of blocks to move towards.
    #[arg(id = "miner.gaslimit", long = "miner.gaslimit", value_name = "GAS", default_value_t = DEFAULT_GAS_LIMIT)]
    pub gas_limit: u64,
    /// Smallest tip of included transactions, in wei per gas.
    #[arg(id = "miner.gasprice", long = "miner.gasprice", value_name = "WEI", default_value_t = DEFAULT_GAS_PRICE)]
    pub gas_price: u128,
    /// Text of at most 32 bytes for the header's extra data.
    #[arg(id = "miner.extradata", long = "miner.extradata", value_name = "TEXT", default_value = DEFAULT_EXTRA_DATA,
        value_parser = extra_data)]
    pub extra_data: String,
    /// How often work is renewed with better transactions, from 1s to 15s.
    #[arg(id = "miner.recommit", long = "miner.recommit", value_name = "DURATION", default_value = "2s",
        value_parser = duration)]
    pub recommit: Duration,
    /// How blocks are sealed: "instant" seals at once, for development networks.
    #[arg(id = "miner.sealer", long = "miner.sealer", value_name = "SEALER", default_value = "instant",
        value_parser = sealer)]
    pub sealer: SealerChoice,
    /// Seconds from block to block, with or without transactions; 0 seals as soon as a transaction is pending.
    #[arg(id = "block-time", long = "block-time", value_name = "SECONDS", default_value_t = 0)]
    pub block_time: u64,
}

/// The sealers that this build has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SealerChoice {
    /// At once, without proof.
    #[default]
    Instant,
}

impl Default for MinerConfig {
    fn default() -> Self {
        Self {
            mine: false,
            etherbase: None,
            gas_limit: DEFAULT_GAS_LIMIT,
            gas_price: DEFAULT_GAS_PRICE,
            extra_data: DEFAULT_EXTRA_DATA.to_owned(),
            recommit: DEFAULT_RECOMMIT,
            sealer: SealerChoice::Instant,
            block_time: 0,
        }
    }
}

impl MinerConfig {
    /// Checks what no single flag can.
    pub(crate) fn validate(&self) -> Result<(), MinerError> {
        check_extra(self.extra_data.len())?;
        if self.mine && self.etherbase.is_none() { Err(MinerError::NoEtherbase) } else { Ok(()) }
    }

    pub(crate) const fn cadence(&self) -> Cadence {
        match (self.sealer, self.block_time) {
            (SealerChoice::Instant, 0) => Cadence::OnPending,
            (SealerChoice::Instant, seconds) => Cadence::Every(Duration::from_secs(seconds)),
        }
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings {
            etherbase: self.etherbase,
            extra_data: Bytes::copy_from_slice(self.extra_data.as_bytes()),
            gas_limit: self.gas_limit,
            gas_price: self.gas_price,
        }
    }
}

/// Whether a header takes extra data of this length.
pub(crate) fn check_extra(length: usize) -> Result<(), MinerError> {
    if length > EXTRA_DATA_LIMIT {
        return Err(MinerError::ExtraTooLong { length, limit: EXTRA_DATA_LIMIT });
    }
    Ok(())
}

/// The error of a value that was found wrong after parsing.
pub(crate) fn wrong_value(flag: &str, value: &str, reason: &str) -> MinerError {
    ServiceError::from(ConfigError::wrong_value(flag, value, &reason)).into()
}

fn extra_data(text: &str) -> Result<String, String> {
    check_extra(text.len()).map(|()| text.to_owned()).map_err(|error| error.to_string())
}

fn sealer(name: &str) -> Result<SealerChoice, String> {
    match name {
        "instant" => Ok(SealerChoice::Instant),
        "ethash" => {
            Err("proof-of-work sealing needs the ethash engine, which is not part of this build".to_owned())
        }
        "clique" => {
            Err("proof-of-authority sealing needs the clique engine, which is not part of this build"
                .to_owned())
        }
        _ => Err("expected instant, ethash or clique".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Config, MinerConfig};
    use crate::error::MinerError;
    use crate::worker::Cadence;
    use quintet_service::config::parse;
    use std::time::Duration;

    fn config(flags: &[&str]) -> Result<MinerConfig, String> {
        let args =
            ["quintet-miner", "--chain.url", "http://127.0.0.1:1"].into_iter().chain(flags.iter().copied());
        parse::<Config>(args).map(|config| config.miner).map_err(|error| error.to_string())
    }

    #[test]
    fn flags_defaults_and_the_default_agree() {
        let flags = config(&[]).expect("defaults");
        assert_eq!(format!("{flags:?}"), format!("{:?}", MinerConfig::default()));
        assert_eq!(flags.cadence(), Cadence::OnPending);
        let timed = config(&["--block-time", "3"]).expect("valid");
        assert_eq!(timed.cadence(), Cadence::Every(Duration::from_secs(3)));
    }

    #[test]
    fn sealers_to_come_are_named_with_what_is_missing() {
        for engine in ["ethash", "clique"] {
            let error = config(&["--miner.sealer", engine]).expect_err("not there");
            assert!(error.contains("--miner.sealer") && error.contains("QUINTET_MINER_SEALER"), "{error}");
            assert!(error.contains(&format!("needs the {engine} engine")), "{error}");
        }
    }

    #[test]
    fn wrong_values_name_their_flag() {
        let error = config(&["--miner.extradata", &"x".repeat(33)]).expect_err("too long");
        assert!(error.contains("--miner.extradata") && error.contains("33 > 32"), "{error}");
        let error = config(&["--miner.etherbase", "0x12"]).expect_err("no address");
        assert!(error.contains("--miner.etherbase"), "{error}");
    }

    #[test]
    fn mining_needs_an_etherbase() {
        let without = config(&["--mine"]).expect("parses");
        assert!(matches!(without.validate(), Err(MinerError::NoEtherbase)));
        let with = config(&["--mine", "--miner.etherbase", "0x71562b71999873db5b286df957af199ec94617f7"]);
        assert!(with.expect("parses").validate().is_ok());
    }
}
