//! RLPx: the encrypted transport of devp2p, and its base protocol `p2p` (devp2p `rlpx.md`, EIP-8, EIP-706).
//!
//! In the order in which a connection uses them: [`Initiator`] or [`Recipient`] turn two packets into
//! [`Secrets`]; [`Codec`] makes frames of messages and messages of frames with them; [`Hello`] says what each side
//! speaks, [`shared_capabilities`] what both do and under which codes; [`base`] has the rest of the base protocol.
//!
//! What must hold:
//! - nothing here reads, writes or waits: bytes come in and go out as slices, the caller has the socket and the
//!   deadlines;
//! - no byte of a peer makes this crate panic, and none is believed before its MAC was checked;
//! - memory is had for bytes that came, never for bytes that were announced, and the length of compressed data is
//!   checked before it is decompressed.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

pub mod base;
mod capability;
mod codec;
mod ecies;
mod error;
pub mod fuzz;
mod handshake;
mod mac;

pub use base::{DisconnectReason, Hello};
pub use capability::{Capability, Shared, find_shared, protocol_length, shared_capabilities, unshared};
pub use codec::{Codec, Decoder, Encoder, MAX_BASE_MESSAGE, MAX_MESSAGE, Message};
pub use error::Error;
pub use handshake::{Accepted, Entropy, Initiator, MAX_HANDSHAKE, Recipient, Secrets};

/// A node's public key: uncompressed, without the leading `04`.
pub type PublicKey = alloy_primitives::B512;
