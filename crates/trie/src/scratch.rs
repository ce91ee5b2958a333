//! The state root computed from the whole state, by alloy's hash builder and not by the incremental pass:
//! what the latter is checked against.

use alloy_primitives::{Address, B256, U256, keccak256};
use alloy_trie::TrieAccount;
use alloy_trie::root::{state_root, storage_root_unsorted};
use quintet_types::Account;

/// Collects a state's accounts, in any order, and computes its root. Holds one record of about 140 bytes per
/// account; an account's storage is hashed when it is added, and not held.
#[derive(Clone, Debug, Default)]
pub struct FullRoot {
    accounts: Vec<(B256, TrieAccount)>,
}

impl FullRoot {
    /// An empty state.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an account, each address once, with all its slots in any order (zero values are passed over).
    /// Returns the account's storage root.
    pub fn add(
        &mut self,
        address: &Address,
        account: &Account,
        storage: impl IntoIterator<Item = (U256, U256)>,
    ) -> B256 {
        let set = storage.into_iter().filter(|(_, value)| !value.is_zero());
        let storage_root =
            storage_root_unsorted(set.map(|(slot, value)| (keccak256(slot.to_be_bytes::<32>()), value)));
        let Account { nonce, balance, code_hash, .. } = *account;
        let account = TrieAccount { nonce, balance, storage_root, code_hash };
        self.accounts.push((keccak256(address), account));
        storage_root
    }

    /// The state root of what was added.
    pub fn root(mut self) -> B256 {
        self.accounts.sort_unstable_by_key(|(hashed, _)| *hashed);
        self.accounts.dedup_by_key(|(hashed, _)| *hashed);
        state_root(self.accounts)
    }
}

/// The state root of all these accounts with their storage, in any order.
pub fn root_from_scratch<S>(accounts: impl IntoIterator<Item = (Address, Account, S)>) -> B256
where
    S: IntoIterator<Item = (U256, U256)>,
{
    let mut full = FullRoot::new();
    for (address, account, storage) in accounts {
        full.add(&address, &account, storage);
    }
    full.root()
}
