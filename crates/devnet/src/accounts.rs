//! The accounts of a development network: BIP-39 mnemonic, BIP-32 path of wallets.

use alloy_primitives::{Address, B256};
use bip32::{DerivationPath, XPrv};
use bip39::Mnemonic;
use k256::ecdsa::SigningKey;

/// The mnemonic that Hardhat, Foundry and Ganache's successors share. Its keys are known to everyone.
pub const DEV_MNEMONIC: &str = "test test test test test test test test test test test junk";
/// Path of wallets; the account's index follows.
const PATH: &str = "m/44'/60'/0'/0";

/// A funded account of the development network.
#[derive(Clone, Debug)]
pub struct DevAccount {
    /// Its address.
    pub address: Address,
    /// Its private key.
    pub key: SigningKey,
}

impl DevAccount {
    /// The private key's 32 bytes.
    pub fn secret(&self) -> B256 {
        B256::from_slice(&self.key.to_bytes())
    }
}

/// Accounts could not be derived.
#[derive(Debug, thiserror::Error)]
pub enum AccountsError {
    /// The words are no mnemonic.
    #[error("--mnemonic: {0}")]
    Mnemonic(#[from] bip39::Error),
    /// The derivation failed.
    #[error("account derivation: {0}")]
    Derivation(#[from] bip32::Error),
}

/// The first `count` accounts of a mnemonic.
///
/// # Errors
/// When the words are no mnemonic.
pub fn derive(mnemonic: &str, count: u32) -> Result<Vec<DevAccount>, AccountsError> {
    let seed = mnemonic.parse::<Mnemonic>()?.to_seed("");
    let account = |index| {
        let path: DerivationPath = format!("{PATH}/{index}").parse()?;
        let key = SigningKey::from(XPrv::derive_from_path(seed, &path)?);
        let address = Address::from_public_key(key.verifying_key());
        Ok(DevAccount { address, key })
    };
    (0..count).map(account).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::address;

    #[test]
    fn the_accounts_are_those_of_other_tools() {
        let accounts = derive(DEV_MNEMONIC, 10).unwrap();
        assert_eq!(accounts[0].address, address!("0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"));
        assert_eq!(accounts[9].address, address!("0xa0Ee7A142d267C1f36714E4a8F75612F20a79720"));
        let first = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
        assert_eq!(accounts[0].secret().to_string(), first);
    }

    #[test]
    fn wrong_words_are_refused() {
        assert!(derive("test test test", 1).unwrap_err().to_string().starts_with("--mnemonic: "));
    }
}
