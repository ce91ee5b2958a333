//! The ten well-known development accounts, and transactions of every type signed by them.

use alloy_consensus::{
    SignableTransaction, Signed, TxEip4844, TxEip4844Variant, TxEip4844WithSidecar, TxEnvelope,
};
use alloy_eips::eip4844::BlobTransactionSidecar;
use alloy_eips::eip4844::builder::{BuildableSidecar, SidecarBuilder, SimpleCoder};
use alloy_eips::eip4844::env_settings::EnvKzgSettings;
use alloy_eips::eip7594::{BlobTransactionSidecarEip7594, BlobTransactionSidecarVariant};
use alloy_eips::eip7702::{Authorization, SignedAuthorization};
use alloy_primitives::{Address, B256, Signature};
use k256::ecdsa::SigningKey;
use std::sync::LazyLock;

pub use quintet_devnet::DEV_MNEMONIC;

static DEV_ACCOUNTS: LazyLock<Vec<TestAccount>> = LazyLock::new(|| {
    let accounts = quintet_devnet::derive(DEV_MNEMONIC, 10).expect("the mnemonic is valid");
    accounts.into_iter().map(|account| TestAccount::new(account.key)).collect()
});

/// The ten accounts at `m/44'/60'/0'/0/i` of [`DEV_MNEMONIC`].
pub fn dev_accounts() -> &'static [TestAccount] {
    &DEV_ACCOUNTS
}

/// The development account with this index, 0 to 9.
///
/// # Panics
/// When the index is above 9.
pub fn dev_account(index: usize) -> &'static TestAccount {
    &DEV_ACCOUNTS[index]
}

/// An account whose key the tests hold.
#[derive(Clone, Debug)]
pub struct TestAccount {
    /// The secret key.
    pub key: SigningKey,
    /// The address that follows from it.
    pub address: Address,
}

impl TestAccount {
    /// The account of a key.
    pub fn new(key: SigningKey) -> Self {
        let address = Address::from_public_key(key.verifying_key());
        Self { key, address }
    }

    /// The account of a 32-byte secret.
    ///
    /// # Panics
    /// When the secret is zero or not below the curve's order.
    pub fn from_secret(secret: B256) -> Self {
        Self::new(SigningKey::from_slice(secret.as_slice()).expect("a valid secret key"))
    }

    /// Signs a digest: recoverable, low s.
    ///
    /// # Panics
    /// Never for a valid key.
    pub fn sign_hash(&self, hash: B256) -> Signature {
        self.key.sign_prehash_recoverable(hash.as_slice()).expect("signing does not fail").into()
    }

    /// Signs any transaction: `TxLegacy`, `TxEip2930`, `TxEip1559`, `TxEip4844`, `TxEip7702`. The result turns
    /// into the envelope of pools ([`TxEnvelope`]) and, but for sidecars, of blocks
    /// (`quintet_types::Transaction`) by `into()`.
    pub fn sign<T: SignableTransaction<Signature>>(&self, transaction: T) -> Signed<T> {
        let signature = self.sign_hash(transaction.signature_hash());
        transaction.into_signed(signature)
    }

    /// Signs a blob transaction that carries one blob per element of `blobs`, each holding that data. Its
    /// hashes are set here. The pooled form has the proofs of Cancun, or with `cells` those of Osaka (EIP-7594).
    ///
    /// # Panics
    /// When a blob's data is too large for one blob.
    pub fn sign_blobs(&self, mut transaction: TxEip4844, blobs: &[&[u8]], cells: bool) -> TxEnvelope {
        let sidecar = sidecar(blobs, cells);
        transaction.blob_versioned_hashes = sidecar.versioned_hashes().collect();
        let signature = self.sign_hash(transaction.signature_hash());
        let with_sidecar = TxEip4844WithSidecar { tx: transaction, sidecar };
        let variant: TxEip4844Variant = TxEip4844Variant::TxEip4844WithSidecar(with_sidecar);
        TxEnvelope::from(variant.into_signed(signature))
    }

    /// Signs a delegation of this account (EIP-7702).
    pub fn authorize(&self, authorization: Authorization) -> SignedAuthorization {
        let signature = self.sign_hash(authorization.signature_hash());
        authorization.into_signed(signature)
    }
}

fn sidecar(blobs: &[&[u8]], cells: bool) -> BlobTransactionSidecarVariant {
    let mut raw = Vec::new();
    for data in blobs {
        let blob = SidecarBuilder::<SimpleCoder>::from_slice(data).take();
        assert_eq!(blob.len(), 1, "the data of one blob fits into one blob");
        raw.extend(blob);
    }
    let settings = EnvKzgSettings::Default.get();
    if cells {
        let sidecar = BlobTransactionSidecarEip7594::build_with_settings(raw, settings);
        BlobTransactionSidecarVariant::Eip7594(sidecar.expect("valid blobs"))
    } else {
        let sidecar = BlobTransactionSidecar::build_with_settings(raw, settings);
        BlobTransactionSidecarVariant::Eip4844(sidecar.expect("valid blobs"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_consensus::transaction::SignerRecoverable;
    use alloy_consensus::{Transaction as _, TxEip1559, TxEip2930, TxEip7702, TxLegacy};
    use alloy_eips::eip2718::Encodable2718;
    use alloy_primitives::{U256, address};

    #[test]
    fn the_accounts_are_the_well_known_ones() {
        assert_eq!(dev_accounts().len(), 10);
        assert_eq!(dev_account(0).address, address!("f39Fd6e51aad88F6F4ce6aB8827279cffFb92266"));
        assert_eq!(dev_account(9).address, address!("a0Ee7A142d267C1f36714E4a8F75612F20a79720"));
    }

    #[test]
    fn every_type_recovers_to_its_signer() {
        let account = dev_account(3);
        let authorization = Authorization { chain_id: U256::ONE, address: Address::ZERO, nonce: 1 };
        let delegation = account.authorize(authorization);
        assert_eq!(delegation.recover_authority().unwrap(), account.address);
        let blob = TxEip4844 { chain_id: 1, max_fee_per_blob_gas: 1, ..TxEip4844::default() };
        let delegating =
            TxEip7702 { chain_id: 1, authorization_list: vec![delegation], ..TxEip7702::default() };
        let all: [TxEnvelope; 7] = [
            account.sign(TxLegacy::default()).into(),
            account.sign(TxLegacy { chain_id: Some(1), ..TxLegacy::default() }).into(),
            account.sign(TxEip2930 { chain_id: 1, ..TxEip2930::default() }).into(),
            account.sign(TxEip1559 { chain_id: 1, ..TxEip1559::default() }).into(),
            account.sign_blobs(blob.clone(), &[b"one", b"two"], false),
            account.sign_blobs(blob, &[b"one"], true),
            account.sign(delegating).into(),
        ];
        for transaction in &all {
            assert_eq!(transaction.recover_signer().unwrap(), account.address, "{transaction:?}");
            assert!(!transaction.encoded_2718().is_empty());
        }
        assert_eq!(all[4].blob_versioned_hashes().map(<[B256]>::len), Some(2));
        let sidecar = all[5].as_eip4844().unwrap().tx().as_with_sidecar().unwrap().sidecar.clone();
        let hashes = all[5].blob_versioned_hashes().unwrap();
        sidecar.validate(hashes, EnvKzgSettings::Default.get()).unwrap();
    }
}
