//! Which network's genesis block an empty store is given.

use crate::error::ProcessError;
use alloy_primitives::Address;
use clap::Args;
use quintet_chainspec::ChainSpec;
use quintet_devnet::DevnetArgs;
use std::path::PathBuf;

/// The network. Without any of these it is the one that the store holds.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Network")]
pub struct NetworkArgs {
    /// geth's genesis.json: an empty store is given its genesis block; one with another chain is an error
    #[arg(id = "genesis", long = "genesis", value_name = "FILE", conflicts_with_all = ["network", "dev"])]
    pub genesis: Option<PathBuf>,
    /// A public network
    #[arg(id = "network", long = "network", value_name = "NAME", conflicts_with = "dev",
        value_parser = quintet_chainspec::PRESETS)]
    pub preset: Option<String>,
    /// The development network with its funded accounts; blocks are safe at once
    #[arg(id = "dev", long = "dev")]
    pub dev: bool,
    /// Gas limit of the development network's genesis block
    #[arg(
        id = "dev.gaslimit",
        long = "dev.gaslimit",
        value_name = "GAS",
        default_value_t = 30_000_000,
        help_heading = "Development network"
    )]
    pub dev_gas_limit: u64,
    /// The development network's accounts.
    #[command(flatten)]
    pub devnet: DevnetArgs,
}

/// A network that was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    /// Its rules and genesis block.
    pub(crate) spec: ChainSpec,
    /// Whether it is the development network.
    pub(crate) dev: bool,
    /// Who gets the fees of `pending` blocks.
    pub(crate) beneficiary: Address,
}

impl NetworkArgs {
    /// The network asked for; `None` for the one that the store holds.
    ///
    /// # Errors
    /// When a file cannot be read or is no genesis, or the mnemonic is none.
    pub(crate) fn chosen(&self) -> Result<Option<Network>, ProcessError> {
        let spec = if let Some(path) = &self.genesis {
            let text = std::fs::read_to_string(path)
                .map_err(|source| ProcessError::Read { path: path.clone(), source })?;
            ChainSpec::from_json(&text)
                .map_err(|source| ProcessError::Genesis { path: path.clone(), source })?
        } else if let Some(name) = &self.preset {
            ChainSpec::preset(name)?
        } else if self.dev {
            let accounts = self.devnet.accounts()?;
            let spec = self.devnet.spec(&accounts, self.dev_gas_limit, 0)?;
            let beneficiary = accounts.first().map(|account| account.address).unwrap_or_default();
            return Ok(Some(Network { spec, dev: true, beneficiary }));
        } else {
            return Ok(None);
        };
        Ok(Some(Network { spec, dev: false, beneficiary: Address::ZERO }))
    }
}
