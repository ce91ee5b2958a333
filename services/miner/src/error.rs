//! What can go wrong in the miner, and what a caller learns of it.

use quintet_service::ServiceError;
use quintet_service::grpc::{Classify, ErrorKind};

/// An error of the miner.
#[derive(Debug, thiserror::Error)]
pub enum MinerError {
    /// The process cannot start or go on.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// `--mine` without somebody who gets the fees.
    #[error(
        "etherbase must be explicitly specified to mine: set --miner.etherbase or QUINTET_MINER_ETHERBASE to an address"
    )]
    NoEtherbase,
    /// Start was asked for, without somebody who gets the fees.
    #[error("etherbase missing: etherbase must be explicitly specified")]
    EtherbaseMissing,
    /// Extra data that no header takes.
    #[error("extra exceeds max length. {length} > {limit}")]
    ExtraTooLong {
        /// Bytes given.
        length: usize,
        /// Bytes taken at most.
        limit: usize,
    },
    /// A field of a request that is not what the contract says.
    #[error("invalid {0}")]
    Invalid(&'static str),
    /// Several replicas share their orders, and could not be told; nothing was changed as far as is known.
    #[error("the miner's replicas cannot be told: {0}; try again")]
    OrdersNotShared(String),
    /// The address of Redis is none.
    #[error(transparent)]
    Redis(#[from] quintet_redis::AddressError),
    /// The miner is shutting down.
    #[error("the miner is not running")]
    NotRunning,
    /// The event bus is gone.
    #[error("the event bus ended")]
    EventsEnded,
    /// A call or a seal panicked: a bug.
    #[error("a task of the miner panicked: {0}")]
    Panicked(#[source] tokio::task::JoinError),
}

impl Classify for MinerError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::ExtraTooLong { .. } | Self::Invalid(_) => ErrorKind::InvalidArgument,
            Self::NoEtherbase | Self::EtherbaseMissing => ErrorKind::FailedPrecondition,
            Self::NotRunning | Self::OrdersNotShared(_) => ErrorKind::Unavailable,
            Self::Service(_) | Self::Redis(_) | Self::EventsEnded | Self::Panicked(_) => ErrorKind::Internal,
        }
    }
}
