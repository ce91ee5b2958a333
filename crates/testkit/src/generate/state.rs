//! The state after one block of a generated chain, in memory, with its trie.

use alloy_primitives::{Address, B256, Bytes, U256};
use quintet_evm::PostStateRoot;
use quintet_trie::{FullRoot, Layer, TrieError};
use quintet_types::{Account, StateDiff, StateError, StateReader};
use std::collections::HashMap;

/// A whole state, and the hashes of the blocks up to it.
#[derive(Clone, Debug, Default)]
pub struct State {
    accounts: HashMap<Address, Account>,
    /// By address and incarnation.
    storage: HashMap<(Address, u64), HashMap<U256, U256>>,
    code: HashMap<B256, Bytes>,
    hashes: Vec<B256>,
    trie: Layer,
}

impl State {
    /// Every account, in no order.
    pub fn accounts(&self) -> impl Iterator<Item = (Address, Account)> {
        self.accounts.iter().map(|(address, account)| (*address, *account))
    }

    /// The slots of an account that are not zero, in no order.
    pub fn slots(&self, address: &Address) -> impl Iterator<Item = (U256, U256)> {
        let account = self.accounts.get(address);
        let slots = account.and_then(|account| self.storage.get(&(*address, account.incarnation)));
        slots.into_iter().flatten().map(|(slot, value)| (*slot, *value))
    }

    /// The state root, computed from every account and slot.
    pub fn root_from_scratch(&self) -> B256 {
        let mut full = FullRoot::new();
        for (address, account) in self.accounts() {
            full.add(&address, &account, self.slots(&address));
        }
        full.root()
    }

    /// An account; one that does not exist is empty.
    pub(crate) fn get(&self, address: &Address) -> Account {
        self.accounts.get(address).copied().unwrap_or(Account::new(0))
    }

    /// Makes a block's changes; returns the state root after it. The block's hash, which depends on that, is to
    /// be given to [`State::push_hash`].
    pub(crate) fn apply(&mut self, diff: &StateDiff) -> Result<B256, TrieError> {
        let (root, update) = quintet_trie::update(&self.trie, diff)?;
        self.trie.apply(update);
        for (address, change) in &diff.accounts {
            if let Some(before) = change.before.filter(|_| change.storage_wiped()) {
                self.storage.remove(&(*address, before.incarnation));
            }
            let Some(after) = change.after else {
                self.accounts.remove(address);
                continue;
            };
            self.accounts.insert(*address, after);
            if change.storage.is_empty() {
                continue;
            }
            let slots = self.storage.entry((*address, after.incarnation)).or_default();
            for (slot, value) in &change.storage {
                if value.is_zero() {
                    slots.remove(slot);
                } else {
                    slots.insert(*slot, *value);
                }
            }
        }
        self.code.extend(diff.code.iter().map(|(hash, code)| (*hash, code.clone())));
        Ok(root)
    }

    /// Adds the hash of the block whose changes were made last.
    pub(crate) fn push_hash(&mut self, hash: B256) {
        self.hashes.push(hash);
    }

    /// What gives roots in the middle of the next block.
    pub(crate) const fn roots(&self) -> Roots<'_> {
        Roots(&self.trie)
    }
}

impl StateReader for State {
    fn account(&self, address: &Address) -> Result<Option<Account>, StateError> {
        Ok(self.accounts.get(address).copied())
    }

    fn storage(&self, address: &Address, incarnation: u64, slot: &U256) -> Result<U256, StateError> {
        let slots = self.storage.get(&(*address, incarnation));
        Ok(slots.and_then(|slots| slots.get(slot)).copied().unwrap_or_default())
    }

    fn has_storage(&self, address: &Address, incarnation: u64) -> Result<bool, StateError> {
        Ok(self.storage.get(&(*address, incarnation)).is_some_and(|slots| !slots.is_empty()))
    }

    fn code(&self, hash: &B256) -> Result<Option<Bytes>, StateError> {
        Ok(self.code.get(hash).cloned())
    }

    fn block_hash(&self, number: u64) -> Result<Option<B256>, StateError> {
        Ok(usize::try_from(number).ok().and_then(|number| self.hashes.get(number)).copied())
    }
}

/// Roots for the receipts of blocks before Byzantium.
pub(crate) struct Roots<'a>(&'a Layer);

impl PostStateRoot for Roots<'_> {
    fn root(&mut self, diff: &StateDiff) -> Result<B256, StateError> {
        quintet_trie::update(self.0, diff).map(|(root, _)| root).map_err(StateError::new)
    }
}
