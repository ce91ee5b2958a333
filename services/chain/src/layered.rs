//! State that is not committed yet: diffs of executed blocks over the state of a committed one.

use alloy_primitives::{Address, B256, Bytes, U256};
use quintet_types::{Account, StateDiff, StateError, StateReader};
use std::collections::HashMap;

/// Executed blocks over a committed state.
#[derive(Debug)]
pub(crate) struct Layered<R> {
    base: R,
    accounts: HashMap<Address, Option<Account>>,
    storage: HashMap<(Address, u64, U256), U256>,
    code: HashMap<B256, Bytes>,
    hashes: HashMap<u64, B256>,
}

impl<R: StateReader> Layered<R> {
    /// Nothing over `base`.
    pub(crate) fn new(base: R) -> Self {
        Self {
            base,
            accounts: HashMap::new(),
            storage: HashMap::new(),
            code: HashMap::new(),
            hashes: HashMap::new(),
        }
    }

    /// Puts a block on top.
    pub(crate) fn push(&mut self, number: u64, hash: B256, diff: &StateDiff) {
        self.hashes.insert(number, hash);
        for (address, change) in &diff.accounts {
            self.accounts.insert(*address, change.after);
            let incarnation = change.after.map_or(0, |account| account.incarnation);
            let slots = change.storage.iter().map(|(slot, value)| ((*address, incarnation, *slot), *value));
            self.storage.extend(slots);
        }
        self.code.extend(diff.code.iter().map(|(hash, code)| (*hash, code.clone())));
    }
}

impl<R: StateReader> StateReader for Layered<R> {
    fn account(&self, address: &Address) -> Result<Option<Account>, StateError> {
        self.accounts.get(address).map_or_else(|| self.base.account(address), |account| Ok(*account))
    }

    fn storage(&self, address: &Address, incarnation: u64, slot: &U256) -> Result<U256, StateError> {
        let value = self.storage.get(&(*address, incarnation, *slot));
        value.map_or_else(|| self.base.storage(address, incarnation, slot), |value| Ok(*value))
    }

    fn code(&self, hash: &B256) -> Result<Option<Bytes>, StateError> {
        self.code.get(hash).map_or_else(|| self.base.code(hash), |code| Ok(Some(code.clone())))
    }

    fn block_hash(&self, number: u64) -> Result<Option<B256>, StateError> {
        self.hashes.get(&number).map_or_else(|| self.base.block_hash(number), |hash| Ok(Some(*hash)))
    }
}
