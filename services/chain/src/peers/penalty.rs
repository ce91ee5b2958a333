//! What offences of peers cost. Who has lost 100 points is banned by p2p; a point comes back every six seconds.

/// A message that is not the RLP of one. The peer is disconnected, too.
pub(crate) const MALFORMED: u32 = 50;
/// An answer of another kind, or with more items, than was asked for.
pub(crate) const WRONG_ANSWER: u32 = 50;
/// An answer that nobody asked for.
pub(crate) const UNASKED: u32 = 25;
/// More messages than anybody has reason to send.
pub(crate) const FLOOD: u32 = 10;
/// A block whose body is not its header's, or whose fields cannot be.
pub(crate) const INSANE_BLOCK: u32 = 50;
/// A transaction announced with another type or size than it has.
pub(crate) const LYING_ANNOUNCEMENT: u32 = 50;
/// A transaction whose blobs do not prove themselves.
pub(crate) const INVALID_BLOBS: u32 = 100;
/// Mostly transactions that are stale or not valid.
pub(crate) const BAD_TRANSACTIONS: u32 = 5;

/// devp2p's disconnect reason for a breach of a subprotocol.
pub(crate) const SUBPROTOCOL_ERROR: u32 = 0x10;
/// devp2p's disconnect reason for a node that is connected already.
pub(crate) const ALREADY_CONNECTED: u32 = 0x05;
/// devp2p's disconnect reason for a breach of protocol.
pub(crate) const BREACH: u32 = 0x02;
