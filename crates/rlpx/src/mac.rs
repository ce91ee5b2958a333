//! The MACs of frames: a Keccak state per direction that runs through the whole session, mixed with AES-256
//! (devp2p `rlpx.md`, "MAC").

use aes::Aes256;
use aes::cipher::{BlockEncrypt, KeyInit};
use alloy_primitives::{B256, Keccak256};

/// Bytes of a MAC on the wire.
pub(crate) const MAC: usize = 16;

/// One direction's MAC state. Both sides must feed it the same bytes in the same order.
pub(crate) struct FrameMac {
    cipher: Aes256,
    state: Keccak256,
}

impl FrameMac {
    pub(crate) fn new(mac_secret: &B256, state: Keccak256) -> Self {
        Self { cipher: Aes256::new(&mac_secret.0.into()), state }
    }

    /// Takes an encrypted header in, and gives its MAC.
    pub(crate) fn header(&mut self, ciphertext: [u8; MAC]) -> [u8; MAC] {
        let digest = self.digest();
        self.mix(digest, ciphertext)
    }

    /// Takes an encrypted frame in, and gives its MAC.
    pub(crate) fn frame(&mut self, ciphertext: &[u8]) -> [u8; MAC] {
        self.state.update(ciphertext);
        let digest = self.digest();
        self.mix(digest, digest)
    }

    fn mix(&mut self, digest: [u8; MAC], seed: [u8; MAC]) -> [u8; MAC] {
        let mut block = digest.into();
        self.cipher.encrypt_block(&mut block);
        for (byte, seed) in block.iter_mut().zip(seed) {
            *byte ^= seed;
        }
        self.state.update(block);
        self.digest()
    }

    fn digest(&self) -> [u8; MAC] {
        let digest = self.state.clone().finalize();
        let mut half = [0; MAC];
        half.copy_from_slice(digest.split_at(MAC).0);
        half
    }
}

/// Compares MACs in a time that does not depend on where they differ.
pub(crate) fn equal(ours: &[u8; MAC], theirs: &[u8]) -> bool {
    theirs.len() == MAC && ours.iter().zip(theirs).fold(0, |all, (a, b)| all | (a ^ b)) == 0
}
