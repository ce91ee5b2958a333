//! Why a command failed.

use crate::chainfile::{ChainFileError, ExportError, Place};
use alloy_primitives::B256;
use std::io;
use std::path::PathBuf;

/// A failed command.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NodeError {
    /// Accounts could not be derived.
    #[error(transparent)]
    Accounts(#[from] quintet_devnet::AccountsError),
    /// A file could not be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A genesis file is not valid.
    #[error("invalid genesis file {path}: {source}")]
    Genesis {
        /// The file.
        path: PathBuf,
        /// Why.
        source: quintet_chainspec::ChainSpecError,
    },
    /// The chain's configuration.
    #[error(transparent)]
    Spec(#[from] quintet_chainspec::ChainSpecError),
    /// A key that cannot sign.
    #[error(transparent)]
    Key(#[from] quintet_gateway::BadKey),
    /// The store.
    #[error(transparent)]
    Store(#[from] quintet_store::StoreError),
    /// The chain service.
    #[error(transparent)]
    Chain(#[from] quintet_chain::ChainError),
    /// A flag of the chain service.
    #[error(transparent)]
    ChainProcess(#[from] quintet_chain::ProcessError),
    /// What finds peers.
    #[error(transparent)]
    Discovery(#[from] quintet_discovery::DiscoveryError),
    /// What holds peers.
    #[error(transparent)]
    P2p(#[from] quintet_p2p::P2pError),
    /// The miner.
    #[error(transparent)]
    Miner(#[from] quintet_miner::MinerError),
    /// The gateway.
    #[error(transparent)]
    Gateway(#[from] quintet_gateway::GatewayError),
    /// What any process can fail with.
    #[error(transparent)]
    Service(#[from] quintet_service::ServiceError),
    /// No home directory to put the data in.
    #[error("no home directory: say where the data is with --datadir")]
    NoHome,
    /// The async runtime could not be started.
    #[error("cannot start the async runtime: {0}")]
    Runtime(#[source] io::Error),
    /// A file of blocks is not what it should be.
    #[error(transparent)]
    ChainFile(#[from] ChainFileError),
    /// A block of a file was not taken.
    #[error("{place}: {source}")]
    Import {
        /// Where it is.
        place: Place,
        /// Why.
        source: Box<quintet_chain::ChainError>,
    },
    /// A block of a file was not taken by the chain service.
    #[error("{place}: {source}")]
    ImportRefused {
        /// Where it is.
        place: Place,
        /// Why.
        source: quintet_chain_api::ChainError,
    },
    /// The chain service refused, or could not be asked.
    #[error(transparent)]
    ChainService(#[from] quintet_chain_api::ChainError),
    /// No address of a chain service.
    #[error("--chain.url: {0}")]
    ChainUrl(#[source] io::Error),
    /// The chain service does not answer.
    #[error("the chain service does not answer within {deadline:?} (--chain.url)")]
    ChainSilent {
        /// How long it was waited for.
        deadline: std::time::Duration,
    },
    /// A signal stopped the command.
    #[error("interrupted")]
    Interrupted,
    /// A file could not be exported.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// A range that ends before it begins.
    #[error("first ({first}) is greater than last ({last})")]
    Range {
        /// Its first block.
        first: u64,
        /// Its last block.
        last: u64,
    },
    /// A block that is not there yet.
    #[error("block number {number} larger than head block {head}")]
    AboveHead {
        /// The block.
        number: u64,
        /// The head.
        head: u64,
    },
    /// The canonical chain changed while it was read.
    #[error("block {number} does not follow the one before it: the chain changed meanwhile; export again")]
    Reorganised {
        /// The block.
        number: u64,
    },
    /// The canonical chain lacks a block.
    #[error("block {number} is missing: the data is damaged")]
    Gap {
        /// The block.
        number: u64,
    },
    /// Something about a block is not what its header says.
    #[error("block {number} [{hash}]: {what}: the data is damaged")]
    Damaged {
        /// The block's number.
        number: u64,
        /// The block's hash.
        hash: B256,
        /// What does not hold.
        what: String,
    },
    /// The state does not have the root that the header promises.
    #[error(
        "block {number}: state root {computed} does not match the header's {header}: the data is damaged"
    )]
    StateRoot {
        /// The block.
        number: u64,
        /// The header's root.
        header: B256,
        /// The root of the state.
        computed: B256,
    },
}
