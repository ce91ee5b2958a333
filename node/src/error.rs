//! Why a command failed.

use crate::accounts::AccountsError;
use std::io;
use std::path::PathBuf;

/// A failed command.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NodeError {
    /// Accounts could not be derived.
    #[error(transparent)]
    Accounts(#[from] AccountsError),
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
    /// The state does not have the root that the header promises.
    #[error(
        "block {number}: state root {computed} does not match the header's {header}: the data is damaged"
    )]
    StateRoot {
        /// The block.
        number: u64,
        /// The header's root.
        header: alloy_primitives::B256,
        /// The root of the state.
        computed: alloy_primitives::B256,
    },
}
