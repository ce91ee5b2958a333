//! The state after a block, read with the deadlines of the store.

use super::Source;
use alloy_primitives::{Address, B256, Bytes, U256};
use quintet_store::StoreError;
use quintet_types::{Account, StateError, StateReader};
use std::sync::Arc;

/// The state after a block, with deadlines.
pub(super) struct State {
    pub(super) source: Source,
    pub(super) state: Arc<dyn StateReader>,
}

impl State {
    fn call<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn StateReader) -> Result<T, StateError> + Send + 'static,
    ) -> Result<T, StateError> {
        let answer = self.source.ask(Arc::clone(&self.state), |state| match read(&**state) {
            Ok(answer) => Ok(Ok(answer)),
            // What the store said is to be noted; what else failed is passed on as it is.
            Err(error) => match error.0.downcast_ref::<StoreError>() {
                Some(error) => Err(error.clone()),
                None => Ok(Err(error)),
            },
        });
        answer.unwrap_or_else(|error| Err(StateError::new(error)))
    }
}

impl StateReader for State {
    fn account(&self, address: &Address) -> Result<Option<Account>, StateError> {
        let address = *address;
        self.call(move |state| state.account(&address))
    }

    fn storage(&self, address: &Address, incarnation: u64, slot: &U256) -> Result<U256, StateError> {
        let (address, slot) = (*address, *slot);
        self.call(move |state| state.storage(&address, incarnation, &slot))
    }

    fn has_storage(&self, address: &Address, incarnation: u64) -> Result<bool, StateError> {
        let address = *address;
        self.call(move |state| state.has_storage(&address, incarnation))
    }

    fn code(&self, hash: &B256) -> Result<Option<Bytes>, StateError> {
        let hash = *hash;
        self.call(move |state| state.code(&hash))
    }

    fn block_hash(&self, number: u64) -> Result<Option<B256>, StateError> {
        self.call(move |state| state.block_hash(number))
    }
}
