//! The development network: its genesis, and the funded accounts that Hardhat, Foundry and others share.

mod accounts;

pub use accounts::{AccountsError, DEV_MNEMONIC, DevAccount, derive};

use alloy_primitives::U256;
use clap::Args;
use quintet_chainspec::{ChainSpec, ChainSpecError};

/// Wei of one ether.
const ETHER: u64 = 1_000_000_000_000_000_000;

/// What the development network's genesis is made of. The same values find the same chain again.
#[derive(Args, Clone, Debug)]
pub struct DevnetArgs {
    /// Number of funded accounts
    #[arg(id = "accounts", long = "accounts", value_name = "COUNT", default_value_t = 10,
        value_parser = clap::value_parser!(u32).range(1..=1000), help_heading = "Development network")]
    pub accounts: u32,
    /// Ether of each account
    #[arg(
        id = "balance",
        long = "balance",
        value_name = "ETHER",
        default_value_t = 10_000,
        help_heading = "Development network"
    )]
    pub balance: u64,
    /// Words that the accounts are derived from
    #[arg(id = "mnemonic", long = "mnemonic", default_value = DEV_MNEMONIC, help_heading = "Development network")]
    pub mnemonic: String,
}

impl DevnetArgs {
    /// The funded accounts.
    ///
    /// # Errors
    /// When the words are no mnemonic.
    pub fn accounts(&self) -> Result<Vec<DevAccount>, AccountsError> {
        derive(&self.mnemonic, self.accounts)
    }

    /// The network with these accounts funded. `gas_limit` is the genesis block's; `period` is the seconds between
    /// blocks, zero for one with every transaction.
    ///
    /// # Errors
    /// None in practice, see [`ChainSpec::dev`].
    pub fn spec(
        &self,
        accounts: &[DevAccount],
        gas_limit: u64,
        period: u64,
    ) -> Result<ChainSpec, ChainSpecError> {
        let balance = U256::from(self.balance) * U256::from(ETHER);
        let funded: Vec<_> = accounts.iter().map(|account| (account.address, balance)).collect();
        ChainSpec::dev(&funded, gas_limit, period)
    }
}
