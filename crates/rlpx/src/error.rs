//! What can be wrong with a peer's bytes, and what it is told about that.

use crate::DisconnectReason;

/// Why a packet, a frame or a message of the base protocol is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The size prefix of a handshake packet is out of bounds; the body was not waited for.
    #[error("handshake packet of {size} bytes, allowed are {min} to {max}")]
    HandshakeSize {
        /// Bytes announced.
        size: usize,
        /// Fewest bytes that hold an encrypted message.
        min: usize,
        /// Most bytes accepted.
        max: usize,
    },
    /// A handshake packet does not decrypt: it is damaged, or was made for another node's key.
    #[error("handshake packet does not decrypt with this node's key")]
    BadEcies,
    /// A decrypted handshake packet does not hold what it should.
    #[error("malformed handshake message: {0}")]
    BadHandshake(&'static str),
    /// A public key that is not a point of the curve.
    #[error("invalid public key of the {0}")]
    BadPublicKey(&'static str),
    /// The signature in `auth` gives no ephemeral key.
    #[error("invalid signature in the handshake")]
    BadSignature,
    /// The MAC of a frame's header is not what this session's keys give.
    #[error("bad header MAC")]
    BadHeaderMac,
    /// The MAC of a frame's content is not what this session's keys give.
    #[error("bad frame MAC")]
    BadFrameMac,
    /// A frame, or a message once decompressed, is larger than allowed.
    #[error("message of {size} bytes, at most {limit} are allowed")]
    TooLarge {
        /// Bytes announced.
        size: usize,
        /// Bytes allowed at this point of the session.
        limit: usize,
    },
    /// A frame does not begin with a message code.
    #[error("invalid message code")]
    BadCode,
    /// Compressed data that does not decompress to the length that it names.
    #[error("invalid snappy data")]
    BadSnappy,
    /// The codec met an error before; its state no longer fits the peer's.
    #[error("session has failed before")]
    Failed,
    /// A message of the base protocol that does not decode.
    #[error("malformed {message}: {error}")]
    BadMessage {
        /// The message's name.
        message: &'static str,
        /// What is wrong with its encoding.
        error: alloy_rlp::Error,
    },
    /// A hello whose node key is not 64 bytes, or zero.
    #[error("invalid node identity")]
    InvalidIdentity,
}

impl Error {
    /// What to tell the peer before the connection is closed. Useful only once a session stands: before it
    /// there is nothing that could carry the reason.
    pub fn disconnect_reason(&self) -> DisconnectReason {
        match self {
            Self::InvalidIdentity => DisconnectReason::InvalidIdentity,
            Self::HandshakeSize { .. }
            | Self::BadEcies
            | Self::BadHandshake(_)
            | Self::BadPublicKey(_)
            | Self::BadSignature
            | Self::BadHeaderMac
            | Self::BadFrameMac
            | Self::TooLarge { .. }
            | Self::BadCode
            | Self::BadSnappy
            | Self::Failed
            | Self::BadMessage { .. } => DisconnectReason::ProtocolError,
        }
    }
}
