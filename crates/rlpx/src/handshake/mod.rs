//! The handshake: two packets, `auth` and `ack`, from which both sides derive the session's [`Secrets`]
//! (devp2p `rlpx.md`, "Initial Handshake"; EIP-8).
//!
//! Packets are made in EIP-8 form. They are accepted in the form before EIP-8 as well, and an old `auth` gets an
//! old `ack`. Who replays a recorded packet learns nothing and gains no session: the secrets depend on both
//! sides' ephemeral keys, so that the first frame fails.

mod initiator;
mod message;
mod packet;
mod recipient;
mod secrets;

use std::fmt;

use alloy_primitives::B256;
use rand::Rng as _;
use secp256k1::SecretKey;

pub use initiator::Initiator;
pub(crate) use message::{Ack, Auth};
pub use packet::MAX_HANDSHAKE;
pub use recipient::{Accepted, Recipient};
pub use secrets::Secrets;

/// What a side of the handshake adds by chance. To be used once; given in tests, drawn elsewhere.
#[derive(Clone)]
pub struct Entropy {
    /// The session's ephemeral key.
    pub ephemeral: SecretKey,
    /// The session's nonce.
    pub nonce: B256,
    /// The key that the packet is encrypted with.
    pub packet_key: SecretKey,
    /// The initialisation vector of the packet's encryption.
    pub packet_iv: [u8; 16],
    /// Zero bytes after the message. EIP-8 asks for at least 100, so that the packet is longer than an old one.
    pub padding: u8,
}

impl Entropy {
    /// Draws everything from the thread's generator.
    pub fn random() -> Self {
        let mut rng = rand::rng();
        Self {
            ephemeral: random_key(&mut rng),
            nonce: B256::from(rng.random::<[u8; 32]>()),
            packet_key: random_key(&mut rng),
            packet_iv: rng.random(),
            padding: rng.random_range(100..=250),
        }
    }
}

impl fmt::Debug for Entropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entropy").finish_non_exhaustive()
    }
}

/// Nearly every 32 bytes are a key.
fn random_key(rng: &mut rand::rngs::ThreadRng) -> SecretKey {
    loop {
        if let Ok(key) = SecretKey::from_byte_array(rng.random()) {
            return key;
        }
    }
}

#[cfg(test)]
mod tests;
