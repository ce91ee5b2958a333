//! Commands and flags, with geth's names.

use alloy_primitives::Address;
use clap::{Args, Parser, Subcommand};
use quintet_chain::PoolArgs;
use quintet_gateway::GatewayConfig;
use quintet_miner::MinerConfig;
use quintet_service::ProcessConfig;
use std::path::PathBuf;

/// An Ethereum execution node made of five services.
#[derive(Clone, Debug, Parser)]
#[command(name = "quintet", version, about)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs a development network with funded accounts, sealing a block for each transaction
    Dev(DevArgs),
    /// Writes a genesis block into a data directory
    Init(InitArgs),
    /// Runs a node on a data directory
    Node(NodeArgs),
    /// Computes the state root of the head from the whole state, and compares it with the header's
    Verify(VerifyArgs),
}

/// Arguments of `quintet dev`.
#[derive(Args, Clone, Debug)]
pub(crate) struct DevArgs {
    /// Data directory; without it the chain is gone when the process ends
    #[arg(id = "datadir", long = "datadir", value_name = "DIRECTORY")]
    pub datadir: Option<PathBuf>,
    /// Number of funded accounts
    #[arg(id = "accounts", long = "accounts", value_name = "COUNT", default_value_t = 10,
        value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub accounts: u32,
    /// Ether of each account
    #[arg(id = "balance", long = "balance", value_name = "ETHER", default_value_t = 10_000)]
    pub balance: u64,
    /// Words that the accounts are derived from
    #[arg(id = "mnemonic", long = "mnemonic", default_value = crate::accounts::DEV_MNEMONIC)]
    pub mnemonic: String,
    /// Gas limit of blocks
    #[arg(id = "dev.gaslimit", long = "dev.gaslimit", value_name = "GAS", default_value_t = 30_000_000)]
    pub gas_limit: u64,
    /// Seconds from block to block, with or without transactions; 0 seals as soon as a transaction is pending
    #[arg(id = "block-time", long = "block-time", value_name = "SECONDS", default_value_t = 0)]
    pub block_time: u64,
    /// Who gets the fees
    #[arg(id = "miner.etherbase", long = "miner.etherbase", value_name = "ADDRESS")]
    pub etherbase: Option<Address>,
    /// What the services share.
    #[command(flatten)]
    pub shared: SharedArgs,
}

/// Arguments of `quintet init`.
#[derive(Args, Clone, Debug)]
pub(crate) struct InitArgs {
    /// Data directory
    #[arg(id = "datadir", long = "datadir", value_name = "DIRECTORY")]
    pub datadir: Option<PathBuf>,
    /// geth's genesis.json
    #[arg(value_name = "GENESIS.json")]
    pub genesis: PathBuf,
}

/// Arguments of `quintet node`.
#[derive(Args, Clone, Debug)]
pub(crate) struct NodeArgs {
    /// Data directory
    #[arg(id = "datadir", long = "datadir", value_name = "DIRECTORY")]
    pub datadir: Option<PathBuf>,
    /// A public network, for a data directory that has no chain yet
    #[arg(id = "network", long = "network", value_name = "NAME", value_parser = quintet_chainspec::PRESETS)]
    pub network: Option<String>,
    /// Network id that peers and `net_version` see; the chain id if not given
    #[arg(id = "networkid", long = "networkid", value_name = "ID")]
    pub network_id: Option<u64>,
    /// The miner.
    #[command(flatten)]
    pub miner: MinerConfig,
    /// What the services share.
    #[command(flatten)]
    pub shared: SharedArgs,
}

/// Arguments of `quintet verify`.
#[derive(Args, Clone, Debug)]
pub(crate) struct VerifyArgs {
    /// Data directory
    #[arg(id = "datadir", long = "datadir", value_name = "DIRECTORY")]
    pub datadir: Option<PathBuf>,
}

/// Arguments of every command that runs the services.
#[derive(Args, Clone, Debug)]
pub(crate) struct SharedArgs {
    /// Logs, the admin port, shutdown.
    #[command(flatten)]
    pub process: ProcessConfig,
    /// JSON-RPC.
    #[command(flatten)]
    pub gateway: GatewayConfig,
    /// The transaction pool.
    #[command(flatten)]
    pub pool: PoolArgs,
}
