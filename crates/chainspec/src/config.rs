//! The chain configuration: the `config` object of a genesis file, and its schedule of forks.

use crate::classic::read_classic;
use crate::json::Object;
use crate::{Activation, BlobParams, ChainConfig, ChainSpecError, CliqueConfig, EthashConfig};
use std::collections::BTreeMap;

/// Forks that geth knows and whose rules this node lacks.
const UNSUPPORTED: [&str; 3] = ["amsterdamTime", "bogotaTime", "verkleTime"];

/// One scheduled fork: a line of [`schedule`].
pub(crate) struct Scheduled {
    /// The configuration field.
    pub(crate) field: &'static str,
    /// What geth calls it when two configurations differ.
    pub(crate) label: &'static str,
    /// When it takes effect; `None` if never.
    pub(crate) at: Option<Activation>,
    /// Whether later forks may be scheduled without it.
    pub(crate) optional: bool,
}

/// Every fork of the configuration that Ethereum has, in the order in which they must be scheduled.
pub(crate) fn schedule(config: &ChainConfig) -> Vec<Scheduled> {
    let block = |field, label, at: Option<u64>, optional| Scheduled {
        field,
        label,
        at: at.map(Activation::Block),
        optional,
    };
    let time = |field, label, at: Option<u64>| Scheduled {
        field,
        label,
        at: at.map(Activation::Time),
        optional: true,
    };
    let c = config;
    vec![
        block("homesteadBlock", "Homestead fork block", c.homestead_block, false),
        block("daoForkBlock", "DAO fork block", c.dao_fork_block, true),
        block("eip150Block", "EIP150 fork block", c.eip150_block, false),
        block("eip155Block", "EIP155 fork block", c.eip155_block, false),
        block("eip158Block", "EIP158 fork block", c.eip158_block, false),
        block("byzantiumBlock", "Byzantium fork block", c.byzantium_block, false),
        block("constantinopleBlock", "Constantinople fork block", c.constantinople_block, false),
        block("petersburgBlock", "Petersburg fork block", c.petersburg_block, false),
        block("istanbulBlock", "Istanbul fork block", c.istanbul_block, false),
        block("muirGlacierBlock", "Muir Glacier fork block", c.muir_glacier_block, true),
        block("berlinBlock", "Berlin fork block", c.berlin_block, false),
        block("londonBlock", "London fork block", c.london_block, false),
        block("arrowGlacierBlock", "Arrow Glacier fork block", c.arrow_glacier_block, true),
        block("grayGlacierBlock", "Gray Glacier fork block", c.gray_glacier_block, true),
        block("mergeNetsplitBlock", "Merge netsplit fork block", c.merge_netsplit_block, true),
        Scheduled { optional: false, ..time("shanghaiTime", "Shanghai fork timestamp", c.shanghai_time) },
        time("cancunTime", "Cancun fork timestamp", c.cancun_time),
        time("pragueTime", "Prague fork timestamp", c.prague_time),
        time("osakaTime", "Osaka fork timestamp", c.osaka_time),
        time("bpo1Time", "BPO1 fork timestamp", c.bpo1_time),
        time("bpo2Time", "BPO2 fork timestamp", c.bpo2_time),
        time("bpo3Time", "BPO3 fork timestamp", c.bpo3_time),
        time("bpo4Time", "BPO4 fork timestamp", c.bpo4_time),
        time("bpo5Time", "BPO5 fork timestamp", c.bpo5_time),
    ]
}

/// Forks that set blob parameters: the name in `blobSchedule`, and when.
pub(crate) fn blob_forks(config: &ChainConfig) -> [(&'static str, Option<u64>); 8] {
    [
        ("cancun", config.cancun_time),
        ("prague", config.prague_time),
        ("osaka", config.osaka_time),
        ("bpo1", config.bpo1_time),
        ("bpo2", config.bpo2_time),
        ("bpo3", config.bpo3_time),
        ("bpo4", config.bpo4_time),
        ("bpo5", config.bpo5_time),
    ]
}

/// Parses a `config` object alone: what [`config_to_json`] wrote.
///
/// # Errors
/// When a field cannot be read, or schedules a fork whose rules this node lacks. The order of forks is not
/// checked.
pub fn config_from_json(text: &str) -> Result<ChainConfig, ChainSpecError> {
    read_config(&Object::parse(text, "config")?)
}

/// The configuration as geth's JSON: what a database stores, and what `admin_nodeInfo` shows.
///
/// # Errors
/// None in practice: every field has a JSON form.
pub fn config_to_json(config: &ChainConfig) -> Result<String, ChainSpecError> {
    serde_json::to_string(config).map_err(|source| ChainSpecError::Json { path: "config".to_owned(), source })
}

pub(crate) fn read_config(object: &Object<'_>) -> Result<ChainConfig, ChainSpecError> {
    for field in UNSUPPORTED {
        if object.get(field).is_some() {
            return Err(ChainSpecError::UnsupportedFork { field });
        }
    }
    let chain_id =
        object.u64("chainId")?.ok_or(ChainSpecError::MissingField { field: "chainId", of: "ChainConfig" })?;
    let mut config = ChainConfig {
        chain_id,
        homestead_block: object.u64("homesteadBlock")?,
        dao_fork_block: object.u64("daoForkBlock")?,
        dao_fork_support: object.bool("daoForkSupport")?.unwrap_or_default(),
        eip150_block: object.u64("eip150Block")?,
        eip155_block: object.u64("eip155Block")?,
        eip158_block: object.u64("eip158Block")?,
        byzantium_block: object.u64("byzantiumBlock")?,
        constantinople_block: object.u64("constantinopleBlock")?,
        petersburg_block: object.u64("petersburgBlock")?,
        istanbul_block: object.u64("istanbulBlock")?,
        muir_glacier_block: object.u64("muirGlacierBlock")?,
        berlin_block: object.u64("berlinBlock")?,
        london_block: object.u64("londonBlock")?,
        arrow_glacier_block: object.u64("arrowGlacierBlock")?,
        gray_glacier_block: object.u64("grayGlacierBlock")?,
        merge_netsplit_block: object.u64("mergeNetsplitBlock")?,
        shanghai_time: object.u64("shanghaiTime")?,
        cancun_time: object.u64("cancunTime")?,
        prague_time: object.u64("pragueTime")?,
        osaka_time: object.u64("osakaTime")?,
        bpo1_time: object.u64("bpo1Time")?,
        bpo2_time: object.u64("bpo2Time")?,
        bpo3_time: object.u64("bpo3Time")?,
        bpo4_time: object.u64("bpo4Time")?,
        bpo5_time: object.u64("bpo5Time")?,
        terminal_total_difficulty: object.u256("terminalTotalDifficulty")?,
        terminal_total_difficulty_passed: object.bool("terminalTotalDifficultyPassed")?.unwrap_or_default(),
        ethash: object.object("ethash")?.map(|_| EthashConfig {}),
        clique: object.object("clique")?.map(|clique| read_clique(&clique)).transpose()?,
        deposit_contract_address: object.address("depositContractAddress")?,
        blob_schedule: read_blob_schedule(object)?,
        ..ChainConfig::default()
    };
    read_classic(object, &mut config)?;
    Ok(config)
}

/// Besu writes the same two numbers as `blockperiodseconds` and `epochlength`.
fn read_clique(object: &Object<'_>) -> Result<CliqueConfig, ChainSpecError> {
    let either =
        |geth, besu| -> Result<Option<u64>, ChainSpecError> { Ok(object.u64(geth)?.or(object.u64(besu)?)) };
    Ok(CliqueConfig {
        period: either("period", "blockPeriodSeconds")?,
        epoch: either("epoch", "epochLength")?,
    })
}

fn read_blob_schedule(config: &Object<'_>) -> Result<BTreeMap<String, BlobParams>, ChainSpecError> {
    let Some(schedule) = config.object("blobSchedule")? else { return Ok(BTreeMap::new()) };
    let entry = |(name, text): (&str, &str)| {
        let entry = Object::parse(text, &schedule.path_of(name))?;
        let max_blob_count = entry.u64("max")?.unwrap_or_default();
        let params = BlobParams {
            target_blob_count: entry.u64("target")?.unwrap_or_default(),
            max_blob_count,
            update_fraction: entry.u64("baseFeeUpdateFraction")?.unwrap_or_default().into(),
            max_blobs_per_tx: max_blob_count,
            ..BlobParams::cancun()
        };
        Ok((name.to_owned(), params))
    };
    schedule.entries().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write as _;

    /// Reading, the schedule and writing know the same fields: none is forgotten in one of them.
    #[test]
    fn every_fork_survives_a_round_trip() {
        let mut text = String::from(r#"{"chainId": 7, "terminalTotalDifficulty": 99999999999999999999999"#);
        for (at, fork) in schedule(&ChainConfig::default()).iter().enumerate() {
            write!(text, r#", "{}": {}"#, fork.field, at + 100).unwrap();
        }
        text.push_str(r#", "daoForkSupport": true, "clique": {"period": 3, "epoch": 9}}"#);
        let config = config_from_json(&text).unwrap();
        for (at, fork) in schedule(&config).iter().enumerate() {
            let expected = at as u64 + 100;
            assert!(
                matches!(fork.at, Some(Activation::Block(at) | Activation::Time(at)) if at == expected),
                "{}",
                fork.field
            );
        }
        let written = config_to_json(&config).unwrap();
        assert_eq!(config_from_json(&written).unwrap(), config, "{written}");
    }
}
