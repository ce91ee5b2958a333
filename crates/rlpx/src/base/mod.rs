//! The base protocol, `p2p`: what every connection speaks, whatever else it carries (devp2p `rlpx.md`,
//! "\"p2p\" Capability").

mod disconnect;
mod hello;

pub use disconnect::DisconnectReason;
pub use hello::Hello;

/// The version of the base protocol that we speak.
pub const VERSION: u64 = 5;

/// The version since which messages after the hello are compressed (EIP-706).
pub const SNAPPY_VERSION: u64 = 5;

/// How many message codes belong to the base protocol; capabilities have those above.
pub const LENGTH: u64 = 16;

/// Code of a [`Hello`].
pub const HELLO: u64 = 0;

/// Code of a [`DisconnectReason`].
pub const DISCONNECT: u64 = 1;

/// Code of a ping, to be answered with a pong; the payload is [`EMPTY`].
pub const PING: u64 = 2;

/// Code of a pong; the payload is [`EMPTY`].
pub const PONG: u64 = 3;

/// The payload of ping and pong: an empty list. What a peer sends in its place is of no matter.
pub const EMPTY: &[u8] = &[alloy_rlp::EMPTY_LIST_CODE];
