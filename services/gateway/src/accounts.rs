//! The keys that this gateway signs with: those of a development node, given to it in memory.

use alloy_consensus::SignableTransaction;
use alloy_primitives::{Address, B256, Signature, eip191_hash_message};
use k256::ecdsa::SigningKey;
use std::sync::Arc;

/// A key and its address.
#[derive(Clone)]
pub struct Signer {
    address: Address,
    key: SigningKey,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer").field("address", &self.address).finish_non_exhaustive()
    }
}

/// A secret key that cannot sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a secret key of secp256k1")]
pub struct BadKey;

impl Signer {
    /// The signer of a secret key.
    ///
    /// # Errors
    /// When it is zero or not below the curve's order.
    pub fn from_secret(secret: &B256) -> Result<Self, BadKey> {
        let key = SigningKey::from_slice(secret.as_slice()).map_err(|_| BadKey)?;
        Ok(Self { address: Address::from_private_key(&key), key })
    }

    /// Its address.
    pub const fn address(&self) -> Address {
        self.address
    }

    fn sign_hash(&self, hash: &B256) -> Result<Signature, BadKey> {
        let (signature, recovery) = self.key.sign_prehash_recoverable(hash.as_slice()).map_err(|_| BadKey)?;
        Ok(Signature::from_signature_and_parity(signature, recovery.is_y_odd()))
    }

    /// Signs a message under Ethereum's prefix (EIP-191): 65 bytes that end in 27 or 28.
    pub(crate) fn sign_message(&self, message: &[u8]) -> Result<[u8; 65], BadKey> {
        Ok(self.sign_hash(&eip191_hash_message(message))?.as_bytes())
    }

    /// Signs a transaction.
    pub(crate) fn sign_transaction<T: SignableTransaction<Signature>>(
        &self,
        transaction: &T,
    ) -> Result<Signature, BadKey> {
        self.sign_hash(&transaction.signature_hash())
    }
}

/// The signers, in the order that they were given. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Signers {
    signers: Arc<[Signer]>,
}

impl Signers {
    /// These signers.
    pub fn new(signers: Vec<Signer>) -> Self {
        Self { signers: signers.into() }
    }

    /// Their addresses.
    pub fn addresses(&self) -> impl Iterator<Item = Address> + '_ {
        self.signers.iter().map(Signer::address)
    }

    /// The signer of an address.
    pub(crate) fn get(&self, address: &Address) -> Option<&Signer> {
        self.signers.iter().find(|signer| signer.address == *address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_signed_under_the_prefix() {
        let signer = Signer::from_secret(&B256::repeat_byte(0x46)).expect("key");
        let bytes = signer.sign_message(b"hello").expect("signed");
        assert!(matches!(bytes[64], 27 | 28));
        let signature = Signature::from_raw(&bytes).expect("signature");
        assert_eq!(signature.recover_address_from_msg("hello").expect("recovered"), signer.address());
        assert_eq!(Signer::from_secret(&B256::ZERO).err(), Some(BadKey));
    }
}
