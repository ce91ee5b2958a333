//! Why the service did not start, and what it answers when it cannot do as asked.

use crate::bootnodes::BootnodeError;
use crate::local::EntryError;
use quintet_chainspec::ChainSpecError;
use quintet_enode::{KeyError, RecordError};
use quintet_service::ServiceError;
use quintet_service::grpc::{Classify, ErrorKind};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why the service did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum DiscoveryError {
    /// A part that all services share failed.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// The UDP socket could not be bound.
    #[error("listen udp {address}: bind: {reason} (see --discovery.port and --discovery.addr)")]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// The system's reason, in the words that geth's users know.
        reason: String,
    },
    /// The node key cannot be had.
    #[error("node key (--nodekey, --nodekeyhex or nodekey in --datadir): {0}")]
    Key(#[from] KeyError),
    /// A bootnode is none.
    #[error(transparent)]
    Bootnode(#[from] BootnodeError),
    /// A flag has a wrong value.
    #[error("{0}")]
    Config(String),
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A genesis file is not valid.
    #[error("invalid genesis file {}: {source}", path.display())]
    Genesis {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ChainSpecError,
    },
    /// The chain's configuration.
    #[error(transparent)]
    Spec(ChainSpecError),
    /// The local record cannot be signed.
    #[error("local node record: {0}")]
    Record(#[from] RecordError),
    /// Discovery v5 did not start.
    #[error("discovery v5: {0}")]
    V5(String),
    /// DNS cannot be asked.
    #[error("DNS: {0}")]
    Dns(String),
}

/// Why a request could not be carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The request is wrong.
    #[error("{0}")]
    Invalid(String),
    /// An entry of the record cannot be set.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// A protocol that is switched off.
    #[error("discovery {0} is not running (see --nodiscover, --discovery.v4 and --discovery.v5)")]
    NotRunning(&'static str),
    /// More streams of candidates than there may be.
    #[error("too many streams of candidates")]
    TooManyStreams,
    /// The service is about to end, or has too much to do.
    #[error("{0}")]
    Unavailable(&'static str),
}

impl Classify for RequestError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Invalid(_) | Self::Entry(_) => ErrorKind::InvalidArgument,
            Self::NotRunning(_) => ErrorKind::FailedPrecondition,
            Self::TooManyStreams => ErrorKind::ResourceExhausted,
            Self::Unavailable(_) => ErrorKind::Unavailable,
        }
    }
}
