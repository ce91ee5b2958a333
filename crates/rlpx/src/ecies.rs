//! ECIES as RLPx uses it: secp256k1, the concatenation KDF of NIST SP 800-56, AES-128 in counter mode, and
//! HMAC-SHA-256 (devp2p `rlpx.md`, "ECIES Encryption").
//!
//! An encrypted message is `R (65) ‖ iv (16) ‖ ciphertext ‖ tag (32)`. `shared mac data` is authenticated and not
//! part of it: in EIP-8 packets the size prefix, in older ones nothing.

use aes::Aes128;
use alloy_primitives::B512;
use ctr::Ctr128BE;
use ctr::cipher::{KeyIvInit, StreamCipher};
use hmac::{Hmac, Mac};
use secp256k1::ecdh::shared_secret_point;
use secp256k1::{PublicKey, SecretKey};
use sha2::{Digest, Sha256};

use crate::Error;

const POINT: usize = 65;
/// What an uncompressed point begins with. The library takes hybrid points as well, no other node does.
pub(crate) const UNCOMPRESSED: u8 = 4;
const IV: usize = 16;
const TAG: usize = 32;

/// By how many bytes an encrypted message is longer than the message.
pub(crate) const OVERHEAD: usize = POINT + IV + TAG;

/// The x coordinate of the product of a point and a scalar: what two keys have in common.
pub(crate) fn agree(secret: &SecretKey, public: &PublicKey) -> [u8; 32] {
    let point = shared_secret_point(public, secret);
    let mut x = [0; 32];
    x.copy_from_slice(point.split_at(32).0);
    x
}

/// A point from its coordinates; `of` says whose it is, for the error.
pub(crate) fn public_key(bytes: &B512, of: &'static str) -> Result<PublicKey, Error> {
    let mut uncompressed = [UNCOMPRESSED; POINT];
    uncompressed.split_at_mut(1).1.copy_from_slice(bytes.as_slice());
    PublicKey::from_byte_array_uncompressed(uncompressed).map_err(|_| Error::BadPublicKey(of))
}

/// The coordinates of a point.
pub(crate) fn public_bytes(key: &PublicKey) -> B512 {
    B512::from_slice(key.serialize_uncompressed().split_at(1).1)
}

/// Encrypts `message` for `to` and appends it to `out`. `ephemeral` and `iv` must never be used again.
pub(crate) fn encrypt(
    to: &PublicKey,
    message: &[u8],
    shared_mac_data: &[u8],
    (ephemeral, iv): (&SecretKey, [u8; IV]),
    out: &mut Vec<u8>,
) {
    let keys = Keys::derive(agree(ephemeral, to));
    let mut ciphertext = message.to_vec();
    keys.apply_stream(iv, &mut ciphertext);
    let tag = keys.hmac(&iv, &ciphertext, shared_mac_data).finalize().into_bytes();

    out.reserve(OVERHEAD.saturating_add(message.len()));
    out.extend_from_slice(&PublicKey::from_secret_key_global(ephemeral).serialize_uncompressed());
    out.extend_from_slice(&iv);
    out.extend_from_slice(&ciphertext);
    out.extend_from_slice(&tag);
}

/// Decrypts what [`encrypt`] made for the public key of `key`.
///
/// # Errors
/// [`Error::BadEcies`], whatever is wrong: too short, no point of the curve, or another tag.
pub(crate) fn decrypt(key: &SecretKey, encrypted: &[u8], shared_mac_data: &[u8]) -> Result<Vec<u8>, Error> {
    let (point, rest) = encrypted.split_at_checked(POINT).ok_or(Error::BadEcies)?;
    let (iv, rest) = rest.split_at_checked(IV).ok_or(Error::BadEcies)?;
    let length = rest.len().checked_sub(TAG).ok_or(Error::BadEcies)?;
    let (ciphertext, tag) = rest.split_at(length);

    let point = <[u8; POINT]>::try_from(point).map_err(|_| Error::BadEcies)?;
    let iv = <[u8; IV]>::try_from(iv).map_err(|_| Error::BadEcies)?;
    if point.first() != Some(&UNCOMPRESSED) {
        return Err(Error::BadEcies);
    }
    let point = PublicKey::from_byte_array_uncompressed(point).map_err(|_| Error::BadEcies)?;
    let keys = Keys::derive(agree(key, &point));
    keys.hmac(&iv, ciphertext, shared_mac_data).verify_slice(tag).map_err(|_| Error::BadEcies)?;
    let mut message = ciphertext.to_vec();
    keys.apply_stream(iv, &mut message);
    Ok(message)
}

struct Keys {
    encryption: [u8; 16],
    authentication: [u8; 32],
}

impl Keys {
    /// One round of the KDF gives both keys: its counter is 1 and there is no other information.
    fn derive(shared_secret: [u8; 32]) -> Self {
        let derived: [u8; 32] =
            Sha256::new().chain_update(1_u32.to_be_bytes()).chain_update(shared_secret).finalize().into();
        let (first, second) = derived.split_at(16);
        let mut encryption = [0; 16];
        encryption.copy_from_slice(first);
        Self { encryption, authentication: Sha256::digest(second).into() }
    }

    fn apply_stream(&self, iv: [u8; IV], data: &mut [u8]) {
        Ctr128BE::<Aes128>::new(&self.encryption.into(), &iv.into()).apply_keystream(data);
    }

    fn hmac(&self, iv: &[u8], ciphertext: &[u8], shared_mac_data: &[u8]) -> Hmac<Sha256> {
        // A key of a digest's length needs no hashing first; blocks are 64 bytes.
        let mut block = [0; 64];
        block.split_at_mut(32).0.copy_from_slice(&self.authentication);
        let mut hmac = Hmac::<Sha256>::new(&block.into());
        hmac.update(iv);
        hmac.update(ciphertext);
        hmac.update(shared_mac_data);
        hmac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> SecretKey {
        SecretKey::from_byte_array([byte; 32]).unwrap()
    }

    fn sealed(message: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let to = PublicKey::from_secret_key_global(&key(1));
        encrypt(&to, message, b"size", (&key(2), [3; 16]), &mut out);
        out
    }

    #[test]
    fn a_message_comes_back() {
        for length in [0, 1, 15, 16, 17, 500] {
            let message: Vec<u8> = (0..length).map(|i| u8::try_from(i % 251).unwrap()).collect();
            let encrypted = sealed(&message);
            assert_eq!(encrypted.len(), message.len() + OVERHEAD);
            assert_eq!(decrypt(&key(1), &encrypted, b"size"), Ok(message));
        }
    }

    #[test]
    fn any_changed_bit_any_cut_another_key_and_other_mac_data_are_refused() {
        let encrypted = sealed(b"message");
        for bit in 0..encrypted.len() * 8 {
            let mut damaged = encrypted.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decrypt(&key(1), &damaged, b"size"), Err(Error::BadEcies), "bit {bit}");
        }
        for length in 0..encrypted.len() {
            assert_eq!(decrypt(&key(1), &encrypted[..length], b"size"), Err(Error::BadEcies));
        }
        assert_eq!(decrypt(&key(4), &encrypted, b"size"), Err(Error::BadEcies));
        assert_eq!(decrypt(&key(1), &encrypted, b""), Err(Error::BadEcies));
    }
}
