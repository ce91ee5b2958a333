//! Why a datagram is not a packet, why a packet is not acted on, and why a request is not made.

/// A datagram that is no packet of discovery v4.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// Too short for a hash, a signature and a packet's number.
    #[error("too small")]
    TooSmall,
    /// More than [`crate::MAX_PACKET_SIZE`] bytes.
    #[error("packet of {0} bytes, at most 1280 are allowed")]
    TooBig(usize),
    /// The hash at its start is another than that of the rest: damaged, or of another protocol.
    #[error("bad hash")]
    BadHash,
    /// A signature from which no key follows.
    #[error("bad signature")]
    BadSignature,
    /// A number that no packet has.
    #[error("unknown type: {0}")]
    UnknownKind(u8),
    /// A body that is not what its number says.
    #[error("bad packet body: {0}")]
    Body(#[from] alloy_rlp::Error),
}

/// Why a packet was dropped without effect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// It is no packet.
    #[error(transparent)]
    Packet(#[from] PacketError),
    /// It was void before it came.
    #[error("expired")]
    Expired,
    /// The same datagram came before.
    #[error("replayed")]
    Replayed,
    /// An answer to nothing that was asked of its sender.
    #[error("unsolicited reply")]
    Unsolicited,
    /// A question from an address that never proved to receive what is sent to it.
    #[error("unknown node")]
    Unproved,
    /// Too many packets from its address.
    #[error("rate limit")]
    RateLimited,
    /// An address outside the networks that are allowed.
    #[error("not contained in netrestrict list")]
    NotAllowed,
    /// Our own packet.
    #[error("packet from this node itself")]
    Own,
    /// A record that is none, or not its sender's.
    #[error("bad record: {0}")]
    Record(String),
    /// The output queue is full: its reader lags.
    #[error("busy")]
    Busy,
}

impl Rejected {
    /// A short name, as a metrics label.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Packet(PacketError::TooSmall | PacketError::TooBig(_)) => "size",
            Self::Packet(PacketError::BadHash) => "hash",
            Self::Packet(PacketError::BadSignature) => "signature",
            Self::Packet(_) => "malformed",
            Self::Expired => "expired",
            Self::Replayed => "replayed",
            Self::Unsolicited => "unsolicited",
            Self::Unproved => "unproved",
            Self::RateLimited => "rate_limited",
            Self::NotAllowed => "not_allowed",
            Self::Own => "own",
            Self::Record(_) => "record",
            Self::Busy => "busy",
        }
    }
}

/// Why a request was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// As many requests are under way as may be: ask again when some have ended.
    #[error("too many requests under way")]
    Busy,
    /// A node without an address or a UDP port, of an address that is not allowed, or this node itself.
    #[error("node cannot be asked")]
    NotReachable,
}
