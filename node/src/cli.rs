//! Commands and flags, with geth's names.

use crate::data::{DataArgs, EthashArgs};
use alloy_primitives::Address;
use clap::{Args, Parser, Subcommand};
use quintet_chain::PoolArgs;
use quintet_chain::sync::SyncArgs;
use quintet_devnet::DevnetArgs;
use quintet_discovery::DiscoveryConfig;
use quintet_gateway::GatewayConfig;
use quintet_miner::MinerConfig;
use quintet_p2p::PeersConfig;
use quintet_service::ProcessConfig;
use quintet_service::telemetry::TelemetryConfig;
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
    Dev(Box<DevArgs>),
    /// Writes a genesis block into a data directory
    Init(InitArgs),
    /// Runs a node on a data directory
    Node(Box<NodeArgs>),
    /// Imports blocks from files that `export` wrote, geth's or this one
    Import(ImportArgs),
    /// Exports the canonical chain, or a range of it, into a file that geth reads
    Export(ExportArgs),
    /// Looks into the chain's store, checks it, moves its head back
    Db(DbArgs),
    /// Does what `db verify` does
    #[command(hide = true)]
    Verify(VerifyArgs),
}

/// A network's name, for a store that is empty.
const NETWORK_HELP: &str = "A public network, for a data directory that has no chain yet";

/// Arguments of `quintet dev`.
#[derive(Args, Clone, Debug)]
pub(crate) struct DevArgs {
    /// Where the data is; with neither flag the chain is gone when the process ends.
    #[command(flatten)]
    pub data: DataArgs,
    /// The genesis block.
    #[command(flatten)]
    pub devnet: DevnetArgs,
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
    /// Where the data is.
    #[command(flatten)]
    pub data: DataArgs,
    /// geth's genesis.json
    #[arg(value_name = "GENESIS.json")]
    pub genesis: PathBuf,
}

/// Arguments of `quintet node`.
#[derive(Args, Clone, Debug)]
pub(crate) struct NodeArgs {
    /// Where the data is.
    #[command(flatten)]
    pub data: DataArgs,
    /// A public network.
    #[arg(id = "network", long = "network", value_name = "NAME", help = NETWORK_HELP,
        value_parser = quintet_chainspec::PRESETS)]
    pub network: Option<String>,
    /// Take blocks without a valid proof of work
    #[arg(id = "fakepow", long = "fakepow")]
    pub fake_pow: bool,
    /// Ethash's caches.
    #[command(flatten)]
    pub ethash: EthashArgs,
    /// Network id that peers and `net_version` see; the chain id if not given
    #[arg(id = "networkid", long = "networkid", value_name = "ID")]
    pub network_id: Option<u64>,
    /// The miner.
    #[command(flatten)]
    pub miner: MinerConfig,
    /// Sync with peers.
    #[command(flatten)]
    pub sync: SyncArgs,
    /// Peers.
    #[command(flatten)]
    pub network_args: NetworkArgs,
    /// What the services share.
    #[command(flatten)]
    pub shared: SharedArgs,
}

/// Who the node is to others, how it finds them, and how many it connects with.
#[derive(Args, Clone, Debug)]
pub(crate) struct NetworkArgs {
    /// Who it is, and where.
    #[command(flatten)]
    pub node: quintet_enode::IdentityArgs,
    /// How nodes are found.
    #[command(flatten)]
    pub discovery: DiscoveryConfig,
    /// How many peers it has, and which.
    #[command(flatten)]
    pub peers: PeersConfig,
}

/// Arguments of `quintet import`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ImportArgs {
    /// Where the data is.
    #[command(flatten)]
    pub data: DataArgs,
    /// A public network.
    #[arg(id = "network", long = "network", value_name = "NAME", help = NETWORK_HELP,
        value_parser = quintet_chainspec::PRESETS)]
    pub network: Option<String>,
    /// Import into the chain service that runs there, and not into a store
    #[arg(id = "chain.url", long = "chain.url", value_name = "URL")]
    pub chain_url: Option<String>,
    /// Take blocks without a valid proof of work
    #[arg(id = "fakepow", long = "fakepow")]
    pub fake_pow: bool,
    /// Ethash's caches.
    #[command(flatten)]
    pub ethash: EthashArgs,
    /// Print the summary as a line of JSON
    #[arg(id = "json", long = "json")]
    pub json: bool,
    /// What is logged.
    #[command(flatten)]
    pub logging: TelemetryConfig,
    /// Files of blocks, plain or packed by gzip, one after another
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
}

/// Arguments of `quintet export`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ExportArgs {
    /// Where the data is.
    #[command(flatten)]
    pub data: DataArgs,
    /// What is logged.
    #[command(flatten)]
    pub logging: TelemetryConfig,
    /// File to write, packed by gzip when it ends in .gz; blocks of a range are appended to what it holds
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// First block; without it all blocks are exported
    #[arg(value_name = "FIRST", requires = "last")]
    pub first: Option<u64>,
    /// Last block
    #[arg(id = "last", value_name = "LAST")]
    pub last: Option<u64>,
}

/// Arguments of `quintet db`.
#[derive(Args, Clone, Debug)]
pub(crate) struct DbArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: DbCommand,
}

/// What can be done with a store.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum DbCommand {
    /// Prints the head, and how much each table holds
    Stats(StatsArgs),
    /// Checks headers and total difficulties of all blocks or a range, and the head's state root from the whole
    /// state
    Verify(VerifyArgs),
    /// Makes an earlier block the head
    Rollback(RollbackArgs),
}

/// Arguments of `quintet db stats`.
#[derive(Args, Clone, Debug)]
pub(crate) struct StatsArgs {
    /// Where the data is.
    #[command(flatten)]
    pub data: DataArgs,
    /// Print a line of JSON
    #[arg(id = "json", long = "json")]
    pub json: bool,
}

/// Arguments of `quintet db verify`.
#[derive(Args, Clone, Debug)]
pub(crate) struct VerifyArgs {
    /// Where the data is.
    #[command(flatten)]
    pub data: DataArgs,
    /// Check bodies, senders, receipts and the lookup of transactions too
    #[arg(id = "full", long = "full")]
    pub full: bool,
    /// What is logged.
    #[command(flatten)]
    pub logging: TelemetryConfig,
    /// First block to check; without it all are checked
    #[arg(value_name = "FIRST", requires = "last")]
    pub first: Option<u64>,
    /// Last block to check
    #[arg(id = "last", value_name = "LAST")]
    pub last: Option<u64>,
}

/// Arguments of `quintet db rollback`.
#[derive(Args, Clone, Debug)]
pub(crate) struct RollbackArgs {
    /// Where the data is.
    #[command(flatten)]
    pub data: DataArgs,
    /// What is logged.
    #[command(flatten)]
    pub logging: TelemetryConfig,
    /// The block that becomes the head
    #[arg(value_name = "NUMBER")]
    pub number: u64,
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
