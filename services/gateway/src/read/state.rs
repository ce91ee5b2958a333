//! The state after one block, as a method or the EVM reads it: overlay, then cache, then store.

use super::counts::{Kind, Origin};
use super::index::SlotKey;
use super::stored::StoredState;
use super::{Reads, View};
use crate::error::RpcError;
use alloy_primitives::{Address, B256, Bytes, U256};
use quintet_store::{Store, StoreError};
use quintet_types::{Account, BlockRef, StateDiff, StateError, StateReader};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Keys from which on it pays to read them at once: the block is looked at before and after.
const MANY: usize = 4;
/// Keys that were read at once count only when that took no longer: so that no chain can go and come back meanwhile.
const AT_ONCE: Duration = Duration::from_millis(100);

/// The state after a block of one view. Every read is of that block on that view's chain, or fails with
/// [`StoreError::Reverted`]: the caller then starts again on a newer view.
pub(crate) struct StateAt<'a> {
    reads: &'a Reads,
    view: Arc<View>,
    block: BlockRef,
    /// The store's own state, for a block below the base: no overlay has anything on it.
    historic: Option<StoredState>,
    /// The store's state at the block, for when the base moved past the view's while it was read.
    passed: OnceLock<StoredState>,
    /// What the pending block changes on top of the head.
    pending: Option<Arc<StateDiff>>,
}

impl<'a> StateAt<'a> {
    /// The state after `block`, which is canonical in `view`.
    pub(super) fn new(reads: &'a Reads, view: Arc<View>, block: BlockRef) -> Self {
        let below = block.number < view.base.number;
        let historic = below.then(|| StoredState::new(Arc::clone(&reads.source.store), block));
        Self { reads, view, block, historic, passed: OnceLock::new(), pending: None }
    }

    /// This state with the pending block's changes.
    pub(super) fn with_pending(self, pending: Arc<StateDiff>) -> Self {
        Self { pending: Some(pending), ..self }
    }

    /// The block.
    pub(crate) const fn block(&self) -> BlockRef {
        self.block
    }

    /// Fails if the store is known not to hold the state, before anything of it is read.
    pub(crate) fn check_held(&self) -> Result<(), StateError> {
        let checked = self.historic.as_ref().map_or(Ok(()), StoredState::check);
        checked.map_err(|error| self.failed(error))
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
    fn passed(&self) -> &StoredState {
        self.passed.get_or_init(|| StoredState::new(Arc::clone(&self.reads.source.store), self.block))
    }

    /// A failed read in words that say of which block.
    fn failed(&self, error: StateError) -> StateError {
        match error.0.downcast_ref::<StoreError>() {
            Some(StoreError::Unavailable { .. }) => {
                StateError::new(RpcError::state_unavailable(self.block.number))
            }
            // The view is older than the state that the store was begun anew with.
            Some(StoreError::StateNotHeld { .. }) if self.historic.is_none() => {
                StateError::new(StoreError::Reverted { block: self.block })
            }
            Some(StoreError::StateNotHeld { .. }) => match self.reads.header(&self.view, &self.block.hash) {
                Ok(Some(header)) => StateError::new(RpcError::state_not_held(&header.state_root)),
                Ok(None) | Err(_) => error,
            },
            _ => error,
        }
    }

    /// Reads what a request is known to need, many keys at once, so that they are in the cache when it asks for each.
    /// Worth it only where the store is behind a network; of a block below the base nothing is cached.
    pub(crate) fn prefetch(&self, slots: &[(Address, U256)], accounts: &[Address]) -> Result<(), StateError> {
        if self.historic.is_some() || !self.reads.source.store.reads_block() {
            return Ok(());
        }
        let (index, cache, number) = (&self.reads.index, &self.reads.cache, self.block.number);
        let mut missing: Vec<Address> =
            accounts.iter().chain(slots.iter().map(|(address, _)| address)).copied().collect();
        missing.sort_unstable();
        missing.dedup();
        missing.retain(|address| index.account(address, number).or_else(|| cache.account(address)).is_none());
        let found = self.at_base(missing.len(), |store, base| store.accounts_at(&missing, base))?;
        for (address, account) in missing.iter().zip(found) {
            cache.put_account(self.view.base_stamp, *address, account);
        }
        let mut missing = Vec::new();
        for (address, slot) in slots {
            let account = index.account(address, number).or_else(|| cache.account(address));
            let Some(Some(account)) = account else { continue };
            let key = SlotKey { address: *address, incarnation: account.incarnation, slot: *slot };
            if index.slot(&key, number).or_else(|| cache.slot(&key)).is_none() {
                missing.push(key);
            }
        }
        let keys: Vec<_> = missing.iter().map(|key| (key.address, key.incarnation, key.slot)).collect();
        let found = self.at_base(keys.len(), |store, base| store.slots_at(&keys, base))?;
        for (key, value) in missing.into_iter().zip(found) {
            cache.put_slot(self.view.base_stamp, key, value);
        }
        Ok(())
    }

    /// What `read` finds in the store after the view's base; nothing when that is not worth it, or not sure.
    fn at_base<T>(
        &self,
        keys: usize,
        read: impl FnOnce(&dyn Store, u64) -> Result<Vec<T>, StoreError>,
    ) -> Result<Vec<T>, StateError> {
        if keys < MANY {
            return Ok(Vec::new());
        }
        let started = Instant::now();
        let checked = || self.view.base_state.check().map_err(|error| self.failed(error));
        checked()?;
        let found = read(&*self.reads.source.store, self.view.base.number);
        let found = found.map_err(|error| self.failed(StateError::new(error)))?;
        checked()?;
        Ok(if started.elapsed() < AT_ONCE { found } else { Vec::new() })
    }

    /// Reads through index, cache and store; see the rules in [`super::base`].
    fn layered<T: Copy>(
        &self,
        kind: Kind,
        indexed: Option<T>,
        cached: impl FnOnce() -> Option<T>,
        read: impl Fn(&dyn StateReader) -> Result<T, StateError>,
        put: impl FnOnce(u64, T),
    ) -> Result<T, StateError> {
        let counts = &self.reads.counts;
        let value = if let Some(value) = indexed {
            counts.note(kind, Origin::Overlay);
            value
        } else if let Some(value) = cached().filter(|_| self.reads.cache.base() <= self.block.number) {
            counts.note(kind, Origin::Cache);
            value
        } else {
            counts.note(kind, Origin::Store);
            let stamp = self.view.base_stamp;
            let value = read(&*self.view.base_state).map_err(|error| self.failed(error))?;
            if self.reads.cache.stamp() == stamp {
                put(stamp, value);
                value
            } else {
                read(self.passed()).map_err(|error| self.failed(error))?
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
            self.reads.counts.note(Kind::Account, Origin::Store);
            return state.account(address).map_err(|error| self.failed(error));
        }
        self.layered(
            Kind::Account,
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
            self.reads.counts.note(Kind::Slot, Origin::Store);
            return state.storage(address, incarnation, slot).map_err(|error| self.failed(error));
        }
        let key = SlotKey { address: *address, incarnation, slot: *slot };
        self.layered(
            Kind::Slot,
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
        let state = self.historic.as_ref().unwrap_or_else(|| self.passed());
        let any = state.has_storage(address, incarnation).map_err(|error| self.failed(error))?;
        self.check_epoch()?;
        Ok(any)
    }

    fn code(&self, hash: &B256) -> Result<Option<Bytes>, StateError> {
        if let Some(code) = self.pending.as_ref().and_then(|pending| pending.code.get(hash)) {
            return Ok(Some(code.clone()));
        }
        self.reads.code(&self.view, hash).map_err(|error| self.failed(StateError::new(error)))
    }

    fn block_hash(&self, number: u64) -> Result<Option<B256>, StateError> {
        if number > self.block.number {
            return Ok(None);
        }
        self.reads.canonical_hash(&self.view, number).map_err(|error| self.failed(error))
    }
}
