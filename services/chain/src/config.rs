//! The chain service's settings: flags with geth's names, `QUINTET_*` variables, or the configuration file.

use alloy_primitives::Address;
use clap::Args;
use quintet_chainspec::ChainSpec;
use std::path::PathBuf;
use std::time::Duration;

/// Settings of the transaction pool (`--txpool.*`). Each flag also has its `QUINTET_TXPOOL_*` variable.
#[derive(Args, Clone, Debug)]
pub struct PoolArgs {
    /// Least tip per gas of a remote transaction, in wei
    #[arg(id = "txpool.pricelimit", long = "txpool.pricelimit", default_value_t = 1)]
    pub price_limit: u128,
    /// Percent by which a replacement must raise the price
    #[arg(id = "txpool.pricebump", long = "txpool.pricebump", default_value_t = 10)]
    pub price_bump: u64,
    /// Executable transactions that every account may keep
    #[arg(id = "txpool.accountslots", long = "txpool.accountslots", default_value_t = 16)]
    pub account_slots: usize,
    /// Executable transactions of all accounts
    #[arg(id = "txpool.globalslots", long = "txpool.globalslots", default_value_t = 5120)]
    pub global_slots: usize,
    /// Queued transactions of one account
    #[arg(id = "txpool.accountqueue", long = "txpool.accountqueue", default_value_t = 64)]
    pub account_queue: usize,
    /// Queued transactions of all accounts
    #[arg(id = "txpool.globalqueue", long = "txpool.globalqueue", default_value_t = 1024)]
    pub global_queue: usize,
    /// How long a queued transaction may wait without progress, in seconds
    #[arg(id = "txpool.lifetime", long = "txpool.lifetime", default_value_t = 10_800)]
    pub lifetime_seconds: u64,
    /// Treat every transaction as remote
    #[arg(id = "txpool.nolocals", long = "txpool.nolocals")]
    pub no_locals: bool,
    /// Accounts whose transactions are always local, separated by commas
    #[arg(id = "txpool.locals", long = "txpool.locals", value_delimiter = ',')]
    pub locals: Vec<Address>,
    /// Percent by which a replacement of a blob transaction must raise its fees
    #[arg(id = "blobpool.pricebump", long = "blobpool.pricebump", default_value_t = 100)]
    pub blob_price_bump: u64,
    /// Most bytes of blob transactions held
    #[arg(id = "blobpool.datacap", long = "blobpool.datacap", default_value_t = 256 << 20)]
    pub blob_data_cap: u64,
}

impl From<&PoolArgs> for quintet_txpool::Config {
    fn from(args: &PoolArgs) -> Self {
        Self {
            price_limit: args.price_limit,
            price_bump: args.price_bump,
            account_slots: args.account_slots,
            global_slots: args.global_slots,
            account_queue: args.account_queue,
            global_queue: args.global_queue,
            lifetime: Duration::from_secs(args.lifetime_seconds),
            no_locals: args.no_locals,
            locals: args.locals.clone(),
            blob_price_bump: args.blob_price_bump,
            blob_data_cap: args.blob_data_cap,
            ..Self::default()
        }
    }
}

/// Settings of the chain service.
#[derive(Clone, Debug)]
pub struct Config {
    /// The pool's rules.
    pub pool: quintet_txpool::Config,
    /// File of the pool's journal; `None` keeps the pool in memory only.
    pub journal: Option<PathBuf>,
    /// The network id that peers and `net_version` see.
    pub network_id: u64,
    /// What a pending block is built with: who gets its fees, and the gas limit to move towards.
    pub pending: PendingConfig,
    /// Blocks are safe at once and final every 32 blocks, as under a sole sealer (`quintet dev`).
    pub instant_finality: bool,
    /// Whether seals of proof of work are checked; geth's `--fakepow` does not.
    pub check_work: bool,
    /// Directory of ethash's caches; `None` keeps them in memory only.
    pub ethash_directory: Option<PathBuf>,
}

impl Config {
    /// The settings of a chain of `spec` where nothing else is said: a pool in memory, seals are checked, and blocks
    /// stay at the genesis block's gas limit.
    pub fn of(spec: &ChainSpec) -> Self {
        Self {
            pool: quintet_txpool::Config::default(),
            journal: None,
            network_id: spec.network_id(),
            pending: PendingConfig {
                gas_limit_target: spec.genesis_header().gas_limit,
                ..PendingConfig::default()
            },
            instant_finality: false,
            check_work: true,
            ethash_directory: None,
        }
    }
}

/// How `pending` blocks are built.
#[derive(Clone, Copy, Debug, Default)]
pub struct PendingConfig {
    /// Who gets the fees.
    pub beneficiary: Address,
    /// Gas limit to move towards.
    pub gas_limit_target: u64,
}
