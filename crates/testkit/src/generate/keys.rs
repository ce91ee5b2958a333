//! The accounts of generated chains: addresses for all, keys for those that send, made and used by libsecp256k1,
//! which is several times as fast as k256.

use alloy_primitives::{Address, B256, Signature, keccak256};
use rayon::prelude::*;
use secp256k1::{Message, SECP256K1, SecretKey};

/// An account that can sign.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    secret: SecretKey,
    pub(crate) address: Address,
}

impl Key {
    fn new(role: &str, index: usize) -> Self {
        let digest = keccak256(format!("{role} {index}"));
        let secret = SecretKey::from_byte_array(digest.0).expect("a hash is a valid key");
        let public = secret.public_key(SECP256K1).serialize_uncompressed();
        Self { secret, address: Address::from_raw_public_key(&public[1..]) }
    }

    /// Signs a digest: recoverable, low s, the same on every run.
    pub(crate) fn sign(&self, digest: B256) -> Signature {
        let signature = SECP256K1.sign_ecdsa_recoverable(Message::from_digest(digest.0), &self.secret);
        let (parity, bytes) = signature.serialize_compact();
        Signature::from_bytes_and_parity(&bytes, i32::from(parity) & 1 == 1)
    }
}

/// Keys of the accounts that send transactions.
pub(crate) fn senders(count: usize) -> Vec<Key> {
    (0..count).into_par_iter().map(|index| Key::new("sender", index)).collect()
}

/// Keys of clique's signers, in the order of their addresses.
pub(crate) fn signers(count: usize) -> Vec<Key> {
    let mut keys: Vec<_> = (0..count).map(|index| Key::new("signer", index)).collect();
    keys.sort_unstable_by_key(|key| key.address);
    keys
}

/// Addresses that nobody has a key for.
pub(crate) fn idle(count: usize) -> Vec<Address> {
    (0..count).into_par_iter().map(|index| Address::from_word(keccak256(format!("idle {index}")))).collect()
}
