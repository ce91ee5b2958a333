//! What can go wrong in `chain`, and what its callers see of it.

use alloy_primitives::B256;
use quintet_evm::{DatabaseError, ExecutionError};
use quintet_service::ServiceError;
use quintet_service::grpc::{Classify, ErrorKind, to_status};
use quintet_store::StoreError;
use quintet_trie::TrieError;
use quintet_txpool::PoolError;
use quintet_types::StateError;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use tonic::Status;

/// Why the service did not start or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// What every process can fail with.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// The chain could not be opened.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// Redis's address is none.
    #[error(transparent)]
    Redis(#[from] quintet_redis::AddressError),
    /// The development network's accounts could not be derived.
    #[error(transparent)]
    Accounts(#[from] quintet_devnet::AccountsError),
    /// The network's configuration.
    #[error(transparent)]
    Spec(#[from] quintet_chainspec::ChainSpecError),
    /// A file cannot be read.
    #[error("cannot read {}: {source} (--genesis)", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A genesis file is not valid.
    #[error("invalid genesis file {}: {source} (--genesis)", path.display())]
    Genesis {
        /// The file.
        path: PathBuf,
        /// Why.
        source: quintet_chainspec::ChainSpecError,
    },
}

/// A failed operation of the chain service.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// A field of a request is not what the contract says.
    #[error("invalid {0}")]
    InvalidRequest(&'static str),
    /// A block that breaks a rule.
    #[error("invalid block {number} [{hash}]: {reason}")]
    InvalidBlock {
        /// Its number.
        number: u64,
        /// Its hash.
        hash: B256,
        /// The rule, in geth's words where geth has them.
        reason: String,
    },
    /// A block whose parent is not held.
    #[error("unknown ancestor of block {number} [{hash}]")]
    UnknownAncestor {
        /// The block's number.
        number: u64,
        /// The block's hash.
        hash: B256,
    },
    /// A block was to be built on a parent that is not the head any more.
    #[error("parent {parent} is not the head {head}")]
    StaleParent {
        /// The parent asked for.
        parent: B256,
        /// The head.
        head: B256,
    },
    /// A miner whose lease has passed to another.
    #[error("fencing token {token} is lower than {newest}, which another miner used: the lease is lost")]
    Fenced {
        /// The token of the request.
        token: u64,
        /// The highest token seen.
        newest: u64,
    },
    /// The state comes from peers at the moment.
    #[error("the state is being fetched from peers: try again once that is done (see eth_syncing)")]
    FetchingState,
    /// What begins with a fetched state can only be done on a chain without blocks of its own.
    #[error(
        "the chain has executed blocks up to {head}: a state is fetched only into a chain that has none but genesis"
    )]
    NotAtGenesis {
        /// The head's number.
        head: u64,
    },
    /// A fetched state is not that of the block that it was fetched for.
    #[error(
        "the fetched state has root {found}, and block {number} [{hash}] has {wanted}: fetch what is missing"
    )]
    NotThatState {
        /// The block's number.
        number: u64,
        /// The block's hash.
        hash: B256,
        /// What its header says.
        wanted: B256,
        /// What there is.
        found: B256,
    },
    /// The chain cannot go back to before the state that it began with.
    #[error(
        "the chain cannot go back to before block {first}: its state was fetched from peers there, and no earlier one \
         is held; sync from genesis with --syncmode full into an empty data directory to have them"
    )]
    BelowFetchedState {
        /// The first block whose state is held.
        first: u64,
    },
    /// The pool refused a transaction; geth's words.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// The bytes are not a transaction.
    #[error(transparent)]
    Undecodable(#[from] quintet_txpool::Undecodable),
    /// No such thing.
    #[error("{0} not found")]
    NotFound(&'static str),
    /// The transaction journal could not be written: the transaction is not acknowledged.
    #[error("transaction journal: {0}")]
    Journal(#[source] Arc<io::Error>),
    /// The pool's journal is damaged.
    #[error("transaction journal {path}: {source}; move the file away to start without it")]
    JournalDamaged {
        /// The file.
        path: String,
        /// What is wrong with it.
        source: quintet_txpool::journal::JournalError,
    },
    /// The data directory cannot be made.
    #[error("cannot make the data directory {}: {source} (--datadir)", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: Arc<io::Error>,
    },
    /// A record of the store is not what was written.
    #[error("the store's record {0} is damaged: restore the store from a backup")]
    BadRecord(&'static str),
    /// There is no chain in the data directory.
    #[error("the data directory has no chain: run `quintet init GENESIS.json` with the same --datadir first")]
    Uninitialised,
    /// A genesis whose header promises another state than it has.
    #[error("genesis state root mismatch: header {header}, state {state}")]
    GenesisRoot {
        /// What the header says.
        header: B256,
        /// What the state is.
        state: B256,
    },
    /// The trie, brought up to the head from the state versions, does not have the head's root.
    #[error("state root of the head is {header}, but its state has {state}: the data directory is damaged")]
    TrieMismatch {
        /// What the head's header says.
        header: B256,
        /// What the state is.
        state: B256,
    },
    /// The chain's configuration is not valid, or does not go with the data directory's.
    #[error(transparent)]
    Spec(#[from] quintet_chainspec::ChainSpecError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The trie failed.
    #[error(transparent)]
    Trie(#[from] TrieError),
    /// The state could not be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// The EVM could not run.
    #[error(transparent)]
    Execution(ExecutionError),
    /// The consensus engine could not do its work.
    #[error("consensus engine: {0}")]
    Engine(String),
    /// The system gives no thread.
    #[error("cannot start thread {name}: {source}")]
    Thread {
        /// What it was for.
        name: &'static str,
        /// The system's answer.
        source: Arc<io::Error>,
    },
    /// A task of the service died.
    #[error("background work was lost: {0}")]
    Task(#[from] tokio::task::JoinError),
}

impl ChainError {
    /// The store's failure that this is, or that lies beneath it.
    pub fn store_failure(&self) -> Option<&StoreError> {
        match self {
            Self::Store(error) => Some(error),
            Self::State(error)
            | Self::Trie(TrieError::Read(error))
            | Self::Execution(ExecutionError::Database(DatabaseError::State(error))) => beneath(error),
            _ => None,
        }
    }

    /// Whether the store is away: the same may succeed once it is back.
    pub fn is_store_away(&self) -> bool {
        matches!(self.store_failure(), Some(StoreError::Unavailable { .. }))
    }

    /// Whether this process must not go on: another one has written to its store.
    pub(crate) fn is_fatal(&self) -> bool {
        matches!(
            self.store_failure(),
            Some(
                StoreError::Overtaken { .. }
                    | StoreError::DatabaseSchema { .. }
                    | StoreError::ReadOnly { .. }
            )
        )
    }

    /// The status that answers a failed request. That the store is away, and not where it is, leaves the service.
    pub(crate) fn to_status(&self) -> Status {
        if self.is_store_away() {
            tracing::warn!(error = %self, "the store is away");
            return Status::unavailable("the chain's store is away; try again");
        }
        to_status(self)
    }
}

/// The store's failure that was met while a state was read.
fn beneath(error: &StateError) -> Option<&StoreError> {
    let error = error.0.as_ref();
    error.downcast_ref().or_else(|| error.downcast_ref::<ChainError>()?.store_failure())
}

impl Classify for ChainError {
    fn kind(&self) -> ErrorKind {
        if self.is_store_away() {
            return ErrorKind::Unavailable;
        }
        match self {
            Self::InvalidRequest(_)
            | Self::InvalidBlock { .. }
            | Self::Pool(_)
            | Self::Undecodable(_)
            | Self::Spec(_)
            | Self::GenesisRoot { .. } => ErrorKind::InvalidArgument,
            Self::Store(StoreError::StateNotHeld { .. })
            | Self::UnknownAncestor { .. }
            | Self::NotAtGenesis { .. }
            | Self::NotThatState { .. }
            | Self::BelowFetchedState { .. }
            | Self::StaleParent { .. }
            | Self::Fenced { .. }
            | Self::Uninitialised
            | Self::JournalDamaged { .. } => ErrorKind::FailedPrecondition,
            Self::NotFound(_) => ErrorKind::NotFound,
            Self::Journal(_) | Self::FetchingState => ErrorKind::Unavailable,
            Self::BadRecord(_)
            | Self::Directory { .. }
            | Self::TrieMismatch { .. }
            | Self::Store(_)
            | Self::Trie(_)
            | Self::State(_)
            | Self::Execution(_)
            | Self::Engine(_)
            | Self::Thread { .. }
            | Self::Task(_) => ErrorKind::Internal,
        }
    }
}
