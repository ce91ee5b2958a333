//! The store's state after one block, which is opened when it is first read.
//!
//! What must hold: every answer is of the block with this hash. The store knows blocks by number; what it opens under the
//! number is held against the hash, and from then on each read looks for itself whether the block is still canonical.

use alloy_primitives::{Address, B256, Bytes, U256};
use quintet_store::{Store, StoreError};
use quintet_types::{Account, BlockRef, StateError, StateReader};
use std::sync::{Arc, OnceLock};

/// The state after a block, as the store has it.
pub(super) struct StoredState {
    store: Arc<dyn Store>,
    block: BlockRef,
    state: OnceLock<Box<dyn StateReader>>,
}

impl StoredState {
    /// The state after `block`, of which nothing is read yet.
    pub(super) fn new(store: Arc<dyn Store>, block: BlockRef) -> Self {
        Self { store, block, state: OnceLock::new() }
    }

    fn get(&self) -> Result<&dyn StateReader, StateError> {
        if let Some(state) = self.state.get() {
            return Ok(&**state);
        }
        let state = self.store.state_at(self.block.number).map_err(StateError::new)?;
        if state.block_hash(self.block.number)? != Some(self.block.hash) {
            return Err(StateError::new(StoreError::Reverted { block: self.block }));
        }
        Ok(&**self.state.get_or_init(|| state))
    }

    /// Fails unless the block is canonical in the store now.
    pub(super) fn check(&self) -> Result<(), StateError> {
        self.get()?.block_hash(self.block.number).map(drop)
    }
}

impl StateReader for StoredState {
    fn account(&self, address: &Address) -> Result<Option<Account>, StateError> {
        self.get()?.account(address)
    }

    fn storage(&self, address: &Address, incarnation: u64, slot: &U256) -> Result<U256, StateError> {
        self.get()?.storage(address, incarnation, slot)
    }

    fn has_storage(&self, address: &Address, incarnation: u64) -> Result<bool, StateError> {
        self.get()?.has_storage(address, incarnation)
    }

    fn code(&self, hash: &B256) -> Result<Option<Bytes>, StateError> {
        self.get()?.code(hash)
    }

    fn block_hash(&self, number: u64) -> Result<Option<B256>, StateError> {
        self.get()?.block_hash(number)
    }
}
