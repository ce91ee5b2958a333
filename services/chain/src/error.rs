//! What can go wrong in `chain`, and what its callers see of it.

use alloy_primitives::B256;
use quintet_evm::ExecutionError;
use quintet_service::grpc::{Classify, ErrorKind};
use quintet_store::StoreError;
use quintet_trie::TrieError;
use quintet_txpool::PoolError;
use quintet_types::StateError;
use std::io;
use std::sync::Arc;

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

impl Classify for ChainError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::InvalidRequest(_)
            | Self::InvalidBlock { .. }
            | Self::Pool(_)
            | Self::Undecodable(_)
            | Self::Spec(_)
            | Self::GenesisRoot { .. } => ErrorKind::InvalidArgument,
            Self::UnknownAncestor { .. }
            | Self::StaleParent { .. }
            | Self::Fenced { .. }
            | Self::Uninitialised
            | Self::JournalDamaged { .. } => ErrorKind::FailedPrecondition,
            Self::NotFound(_) => ErrorKind::NotFound,
            Self::Journal(_) => ErrorKind::Unavailable,
            Self::TrieMismatch { .. }
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
