//! What can go wrong with a request to a peer.

use super::rate::RequestKind;
use quintet_eth_wire::EthVersion;

/// A request to a peer that came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// No answer in time. The peer's estimates know of it.
    #[error("the peer did not answer a request for {} in time", .0.name())]
    Timeout(RequestKind),
    /// The peer is not connected, or went away meanwhile.
    #[error("the peer is gone")]
    Gone,
    /// What came is not an answer to the request. The peer was penalised.
    #[error("malformed answer to a request for {}: {reason}", kind.name())]
    Malformed {
        /// What was asked for.
        kind: RequestKind,
        /// What is wrong with it.
        reason: String,
    },
    /// The peer's protocols have no such request.
    #[error("{version} has no request for {}", kind.name())]
    Unsupported {
        /// What was to be asked for.
        kind: RequestKind,
        /// The agreed version.
        version: EthVersion,
    },
}
