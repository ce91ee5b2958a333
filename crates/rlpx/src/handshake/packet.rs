//! How a handshake message travels: encrypted, behind a size prefix (EIP-8) or bare and of a fixed size (before).

use alloy_primitives::Bytes;
use bytes::BytesMut;
use secp256k1::{PublicKey, SecretKey};

use super::Entropy;
use crate::{Error, ecies};

/// Most bytes of an encrypted handshake message, as geth has it. EIP-8 names no limit; messages of today have
/// some 400 bytes.
pub const MAX_HANDSHAKE: usize = 2048;

/// A handshake packet that was for us.
pub(crate) struct Packet {
    /// As it came: the MACs of frames begin with it.
    pub(crate) bytes: Bytes,
    /// What was encrypted, with padding.
    pub(crate) body: Vec<u8>,
    /// Whether it has the form from before EIP-8.
    pub(crate) old: bool,
}

/// Finds the end of a packet in a stream that may bring either form.
pub(crate) struct PacketReader {
    /// Bytes of the message in the old form.
    old_message: usize,
    /// The attempt costs a scalar multiplication; a peer that sends byte by byte gets one.
    old_tried: bool,
}

impl PacketReader {
    pub(crate) fn new(old_message: usize) -> Self {
        Self { old_message, old_tried: false }
    }

    /// Takes one packet from the front of `src`; `None` while it is not there as a whole.
    pub(crate) fn read(&mut self, key: &SecretKey, src: &mut BytesMut) -> Result<Option<Packet>, Error> {
        let Some(prefix) = src.first_chunk().copied() else { return Ok(None) };
        let [first, _] = prefix;
        let old_size = self.old_message.saturating_add(ecies::OVERHEAD);
        // An old packet begins with the point of its encrypted message.
        if first == ecies::UNCOMPRESSED && !self.old_tried {
            let Some(encrypted) = src.get(..old_size) else { return Ok(None) };
            self.old_tried = true;
            if let Ok(body) = ecies::decrypt(key, encrypted, &[]) {
                return Ok(Some(Packet { bytes: src.split_to(old_size).freeze().into(), body, old: true }));
            }
        }

        let size = usize::from(u16::from_be_bytes(prefix));
        if !(ecies::OVERHEAD..=MAX_HANDSHAKE).contains(&size) {
            return Err(Error::HandshakeSize { size, min: ecies::OVERHEAD, max: MAX_HANDSHAKE });
        }
        let end = size.saturating_add(prefix.len());
        let Some(encrypted) = src.get(prefix.len()..end) else { return Ok(None) };
        let body = ecies::decrypt(key, encrypted, &prefix)?;
        Ok(Some(Packet { bytes: src.split_to(end).freeze().into(), body, old: false }))
    }
}

/// Pads and encrypts a message, and puts the size before it.
pub(crate) fn seal(to: &PublicKey, mut message: Vec<u8>, entropy: &Entropy) -> Vec<u8> {
    message.resize(message.len().saturating_add(usize::from(entropy.padding)), 0);
    // The largest message we make is an auth of some 170 bytes, and its padding fits a byte.
    let size = u16::try_from(message.len().saturating_add(ecies::OVERHEAD)).unwrap_or(u16::MAX);
    let prefix = size.to_be_bytes();
    let mut packet = prefix.to_vec();
    ecies::encrypt(to, &message, &prefix, (&entropy.packet_key, entropy.packet_iv), &mut packet);
    packet
}

/// Encrypts a message in the old form.
pub(crate) fn seal_old(to: &PublicKey, message: &[u8], entropy: &Entropy) -> Vec<u8> {
    let mut packet = Vec::new();
    ecies::encrypt(to, message, &[], (&entropy.packet_key, entropy.packet_iv), &mut packet);
    packet
}
