//! A node's secret, and the public key that is its name.

use crate::KeyError;
use alloy_primitives::{B256, B512, hex, keccak256};
use rand::RngCore as _;
use secp256k1::{SECP256K1, SecretKey};
use std::fmt;

/// A node's public key: the two coordinates, 32 bytes each, without the leading `04`.
pub type PublicKey = B512;

/// The marker of an uncompressed key in SEC1, which [`PublicKey`] leaves out.
const UNCOMPRESSED: u8 = 4;
/// What separates derived identities from every other use of a node's key.
const IDENTITY_DOMAIN: &[u8] = b"quintet p2p identity";

/// The node id: a public key's place in the distance metric of discovery.
pub fn node_id(public_key: &PublicKey) -> B256 {
    keccak256(public_key)
}

/// A public key in the form that `secp256k1` computes with; `None` when these bytes are no point of the curve.
pub fn to_secp(public_key: &PublicKey) -> Option<secp256k1::PublicKey> {
    let mut bytes = [UNCOMPRESSED; 65];
    let (_, coordinates) = bytes.split_first_mut()?;
    coordinates.copy_from_slice(public_key.as_slice());
    secp256k1::PublicKey::from_byte_array_uncompressed(bytes).ok()
}

/// A public key as discovery and RLPx write it.
pub fn from_secp(public_key: &secp256k1::PublicKey) -> PublicKey {
    let [_, coordinates @ ..] = public_key.serialize_uncompressed();
    PublicKey::from(coordinates)
}

/// A node's secp256k1 secret with its public key. Its `Debug` shows the public half only.
#[derive(Clone, PartialEq, Eq)]
pub struct NodeKey {
    secret: SecretKey,
    public: PublicKey,
}

impl NodeKey {
    /// A new key, from the system's randomness.
    pub fn generate() -> Self {
        let mut bytes = B256::ZERO;
        loop {
            rand::rng().fill_bytes(bytes.as_mut_slice());
            // One in 2^128 is no secret.
            if let Ok(key) = Self::from_bytes(&bytes) {
                return key;
            }
        }
    }

    /// The key with this secret, big-endian.
    ///
    /// # Errors
    /// [`KeyError::NotASecret`] for zero and for numbers from the curve's order upwards.
    pub fn from_bytes(secret: &B256) -> Result<Self, KeyError> {
        let secret = SecretKey::from_byte_array(secret.0).map_err(|_| KeyError::NotASecret)?;
        let public = from_secp(&secret.public_key(SECP256K1));
        Ok(Self { secret, public })
    }

    /// The key with this secret in 64 hexadecimal digits (geth's `--nodekeyhex`).
    ///
    /// # Errors
    /// [`KeyError::NotHex`] and [`KeyError::NotASecret`].
    pub fn from_hex(text: &str) -> Result<Self, KeyError> {
        let mut bytes = B256::ZERO;
        // The decoder would take a leading `0x` as well, which geth does not.
        if text.len() != 2 * bytes.len() {
            return Err(KeyError::NotHex);
        }
        hex::decode_to_slice(text, bytes.as_mut_slice()).map_err(|_| KeyError::NotHex)?;
        Self::from_bytes(&bytes)
    }

    /// The secret in 64 hexadecimal digits, as a key file holds it.
    pub fn to_hex(&self) -> String {
        hex::encode(self.secret.secret_bytes())
    }

    /// The secret.
    pub const fn secret(&self) -> &SecretKey {
        &self.secret
    }

    /// The public key.
    pub const fn public(&self) -> PublicKey {
        self.public
    }

    /// The node id.
    pub fn node_id(&self) -> B256 {
        node_id(&self.public)
    }

    /// The key of the instance with this number, for several instances that share a key file: the first has the key
    /// itself, and nobody learns one key from another.
    #[must_use]
    pub fn derive(&self, index: u32) -> Self {
        if index == 0 {
            return self.clone();
        }
        let secret = self.secret.secret_bytes();
        let mut hash = keccak256([IDENTITY_DOMAIN, &secret, &index.to_be_bytes()].concat());
        loop {
            match Self::from_bytes(&hash) {
                Ok(key) => return key,
                Err(_) => hash = keccak256(hash),
            }
        }
    }
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeKey").field("public", &self.public).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "b71c71a67e1177ad4e901695e1b4b9ee17ae16c6668d313eac2f96dbcda3f291";

    #[test]
    fn a_key_has_the_node_id_of_eip_778() {
        let key = NodeKey::from_hex(KEY).unwrap();
        let expected = "a448f24c6d18e575453db13171562b71999873db5b286df957af199ec94617f7";
        assert_eq!(hex::encode(key.node_id()), expected);
        assert_eq!(key.to_hex(), KEY);
        assert_eq!(from_secp(&to_secp(&key.public()).unwrap()), key.public());
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for text in ["", "00", &KEY[2..], &format!("0x{}", &KEY[2..]), &format!("0x{KEY}"), &"g".repeat(64)] {
            assert!(matches!(NodeKey::from_hex(text), Err(KeyError::NotHex)), "{text}");
        }
        for text in ["0".repeat(64), "f".repeat(64)] {
            assert!(matches!(NodeKey::from_hex(&text), Err(KeyError::NotASecret)), "{text}");
        }
        assert_eq!(to_secp(&PublicKey::repeat_byte(1)), None);
    }

    #[test]
    fn instances_have_keys_of_their_own() {
        let key = NodeKey::from_hex(KEY).unwrap();
        assert_eq!(key.derive(0), key);
        let [one, two] = [key.derive(1), key.derive(2)];
        assert_ne!(one, key);
        assert_ne!(one, two);
        assert_eq!(one, key.derive(1));
        let preimage = [IDENTITY_DOMAIN, &key.secret().secret_bytes(), &[0, 0, 0, 1]].concat();
        assert_eq!(one.to_hex(), hex::encode(keccak256(preimage)));
        assert_ne!(NodeKey::generate(), NodeKey::generate());
    }

    #[test]
    fn debug_keeps_the_secret() {
        let text = format!("{:?}", NodeKey::from_hex(KEY).unwrap());
        assert!(!text.contains(&KEY[..16]), "{text}");
    }
}
