//! The state after one block, as a method or the EVM reads it: overlay, then cache, then store.

use super::index::SlotKey;
use super::{Reads, View};
use alloy_primitives::{Address, B256, Bytes, U256};
use quintet_store::StoreError;
use quintet_types::{Account, BlockRef, StateDiff, StateError, StateReader};
use std::sync::{Arc, OnceLock};

/// The state after a block of one view. Every read is of that block on that view's chain, or fails with
/// [`StoreError::Reverted`]: the caller then starts again on a newer view.
pub(crate) struct StateAt<'a> {
    reads: &'a Reads,
    view: Arc<View>,
    block: BlockRef,
    /// The store's own state, for a block below the base: no overlay has anything on it.
    historic: Option<Box<dyn StateReader>>,
    /// The store's state at the block, for when the base moved past the view's while it was read.
    passed: OnceLock<Box<dyn StateReader>>,
    /// What the pending block changes on top of the head.
    pending: Option<Arc<StateDiff>>,
}

impl<'a> StateAt<'a> {
    /// The state after `block`, which is canonical in `view`.
    pub(super) fn new(reads: &'a Reads, view: Arc<View>, block: BlockRef) -> Result<Self, StoreError> {
        let historic = if block.number < view.base.number {
            let state = reads.store.state_at(block.number)?;
            if reads.store.canonical_hash(block.number)? != Some(block.hash) {
                return Err(StoreError::Reverted { block });
            }
            Some(state)
        } else {
            None
        };
        Ok(Self { reads, view, block, historic, passed: OnceLock::new(), pending: None })
    }

    /// This state with the pending block's changes.
    pub(super) fn with_pending(self, pending: Arc<StateDiff>) -> Self {
        Self { pending: Some(pending), ..self }
    }

    /// The block.
    pub(crate) const fn block(&self) -> BlockRef {
        self.block
    }

    /// Nonce, balance and code of an account as the pending block leaves it, if that changes it.
    fn pending_account(&self, address: &Address) -> Option<Option<Account>> {
        Some(self.pending.as_ref()?.accounts.get(address)?.after)
    }

    fn pending_slot(&self, address: &Address, incarnation: u64, slot: &U256) -> Option<U256> {
        let change = self.pending.as_ref()?.accounts.get(address)?;
        let after = change.after?;
        if after.incarnation != incarnation {
            return None;
        }
        let fresh = change.storage_wiped() || change.before.is_none();
        change.storage.get(slot).copied().or(fresh.then_some(U256::ZERO))
    }

    /// Fails when the chain that the view holds was changed since.
    fn check_epoch(&self) -> Result<(), StateError> {
        if self.reads.index.epoch() == self.view.epoch {
            return Ok(());
        }
        Err(StateError::new(StoreError::Reverted { block: self.block }))
    }

    /// The store's state after the block itself.
    fn passed(&self) -> Result<&dyn StateReader, StateError> {
        if let Some(state) = self.passed.get() {
            return Ok(&**state);
        }
        let state = self.reads.store.state_at(self.block.number).map_err(StateError::new)?;
        self.check_epoch()?;
        Ok(&**self.passed.get_or_init(|| state))
    }

    /// Reads through index, cache and store; see the rules in [`super::base`].
    fn layered<T: Copy>(
        &self,
        indexed: Option<T>,
        cached: impl FnOnce() -> Option<T>,
        read: impl Fn(&dyn StateReader) -> Result<T, StateError>,
        put: impl FnOnce(u64, T),
    ) -> Result<T, StateError> {
        let value = if let Some(value) = indexed {
            value
        } else if let Some(value) = cached().filter(|_| self.reads.cache.base() <= self.block.number) {
            value
        } else {
            let stamp = self.view.base_stamp;
            let value = read(&*self.view.base_state)?;
            if self.reads.cache.stamp() == stamp {
                put(stamp, value);
                value
            } else {
                read(self.passed()?)?
            }
        };
        self.check_epoch()?;
        Ok(value)
    }
}

impl StateReader for StateAt<'_> {
    fn account(&self, address: &Address) -> Result<Option<Account>, StateError> {
        if let Some(account) = self.pending_account(address) {
            return Ok(account);
        }
        if let Some(state) = &self.historic {
            return state.account(address);
        }
        self.layered(
            self.reads.index.account(address, self.block.number),
            || self.reads.cache.account(address),
            |state| state.account(address),
            |stamp, account| self.reads.cache.put_account(stamp, *address, account),
        )
    }

    fn storage(&self, address: &Address, incarnation: u64, slot: &U256) -> Result<U256, StateError> {
        if let Some(value) = self.pending_slot(address, incarnation, slot) {
            return Ok(value);
        }
        if let Some(state) = &self.historic {
            return state.storage(address, incarnation, slot);
        }
        let key = SlotKey { address: *address, incarnation, slot: *slot };
        self.layered(
            self.reads.index.slot(&key, self.block.number),
            || self.reads.cache.slot(&key),
            |state| state.storage(address, incarnation, slot),
            |stamp, value| self.reads.cache.put_slot(stamp, key, value),
        )
    }

    fn has_storage(&self, address: &Address, incarnation: u64) -> Result<bool, StateError> {
        let pending = self.pending.as_ref().and_then(|pending| pending.accounts.get(address));
        if let Some(change) = pending
            && change.after.is_some_and(|after| after.incarnation == incarnation)
            && change.storage.values().any(|value| !value.is_zero())
        {
            return Ok(true);
        }
        // Too rare for index and cache to know it: the store is asked at the block itself.
        let state = match &self.historic {
            Some(state) => &**state,
            None => self.passed()?,
        };
        let any = state.has_storage(address, incarnation)?;
        self.check_epoch()?;
        Ok(any)
    }

    fn code(&self, hash: &B256) -> Result<Option<Bytes>, StateError> {
        if let Some(code) = self.pending.as_ref().and_then(|pending| pending.code.get(hash)) {
            return Ok(Some(code.clone()));
        }
        // Code is by content: it is never stale, and it is in the store before the delta is published.
        self.reads.store.code(hash).map_err(StateError::new)
    }

    fn block_hash(&self, number: u64) -> Result<Option<B256>, StateError> {
        if number > self.block.number {
            return Ok(None);
        }
        match self.view.known_hash(number) {
            Some(hash) => Ok(Some(hash)),
            None => self.reads.store.canonical_hash(number).map_err(StateError::new),
        }
    }
}
