//! What the trie is to be moved by: a block's diff, its inverse, or several of them in one.

use alloy_primitives::{Address, B256, U256, keccak256};
use quintet_types::{Account, StateDiff};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// An account as it is to be, and the slots of it that change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountChange {
    /// The account; `None` removes it, and its storage with it.
    pub account: Option<Account>,
    /// Whether its storage is emptied before the slots are applied.
    pub wipe_storage: bool,
    /// Slots with their values; zero removes.
    pub storage: BTreeMap<U256, U256>,
    /// Slots by their hashes, where the slots themselves are not known; zero removes. Of a slot that is in both,
    /// `storage` holds.
    pub hashed_storage: BTreeMap<B256, U256>,
}

impl AccountChange {
    /// Adds the slots of a change that comes after.
    fn extend_storage(&mut self, storage: BTreeMap<U256, U256>, hashed: BTreeMap<B256, U256>) {
        if !hashed.is_empty() {
            self.storage.retain(|slot, _| !hashed.contains_key(&hash(slot)));
            self.hashed_storage.extend(hashed);
        }
        if !self.hashed_storage.is_empty() {
            for slot in storage.keys() {
                self.hashed_storage.remove(&hash(slot));
            }
        }
        self.storage.extend(storage);
    }
}

fn hash(slot: &U256) -> B256 {
    keccak256(slot.to_be_bytes::<32>())
}

/// Accounts and slots with the values that they are to have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrieChanges {
    /// Every account that changes, or whose storage does.
    pub accounts: BTreeMap<Address, AccountChange>,
}

impl From<&StateDiff> for TrieChanges {
    fn from(diff: &StateDiff) -> Self {
        let change = |(address, diff): (&Address, &quintet_types::AccountDiff)| {
            let (account, storage) = (diff.after, diff.storage.clone());
            let wipe_storage = diff.storage_wiped();
            (*address, AccountChange { account, wipe_storage, storage, ..AccountChange::default() })
        };
        Self { accounts: diff.accounts.iter().map(change).collect() }
    }
}

impl TrieChanges {
    /// Adds what comes after: the result does in one step what `self` and then `later` do.
    pub fn extend(&mut self, later: Self) {
        for (address, later) in later.accounts {
            match self.accounts.entry(address) {
                Entry::Vacant(entry) => {
                    entry.insert(later);
                }
                Entry::Occupied(mut entry) => {
                    let change = entry.get_mut();
                    if later.wipe_storage || later.account.is_none() {
                        change.storage.clear();
                        change.hashed_storage.clear();
                        change.wipe_storage = true;
                    } else if change.account.is_none() {
                        change.wipe_storage = true;
                    }
                    change.account = later.account;
                    change.extend_storage(later.storage, later.hashed_storage);
                }
            }
        }
    }

    /// The way back from the state after a block to the one before. A diff holds no values from before, so
    /// they are asked for: `slot_before` for one slot of an account that lived on, `storage_before` for all
    /// slots of an account whose storage the block wiped, by their hashes.
    ///
    /// # Errors
    /// Those of the two functions.
    pub fn inverse<E>(
        diff: &StateDiff,
        mut slot_before: impl FnMut(&Address, &Account, &U256) -> Result<U256, E>,
        mut storage_before: impl FnMut(&Address, &Account) -> Result<BTreeMap<B256, U256>, E>,
    ) -> Result<Self, E> {
        let mut accounts = BTreeMap::new();
        for (address, diff) in &diff.accounts {
            let change = match &diff.before {
                None => AccountChange { wipe_storage: true, ..AccountChange::default() },
                Some(before) if diff.storage_wiped() => AccountChange {
                    account: Some(*before),
                    wipe_storage: true,
                    hashed_storage: storage_before(address, before)?,
                    ..AccountChange::default()
                },
                Some(before) => {
                    let slot = |slot| slot_before(address, before, slot).map(|value| (*slot, value));
                    let storage = diff.storage.keys().map(slot).collect::<Result<_, E>>()?;
                    AccountChange { account: Some(*before), storage, ..AccountChange::default() }
                }
            };
            accounts.insert(*address, change);
        }
        Ok(Self { accounts })
    }
}
