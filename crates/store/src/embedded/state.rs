//! The state after one block, as the EVM reads it.

use super::Engine;
use super::view::View;
use super::walk;
use crate::StoreError;
use alloy_primitives::{Address, B256, Bytes, U256};
use quintet_types::{Account, BlockRef, StateError, StateReader};
use signet_libmdbx::Ro;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Reads at one canonical block. Versions are never overwritten, so that each read may use another snapshot:
/// all give the same answer, until a reorg takes the block away, which is noticed.
pub(super) struct State {
    engine: Arc<Engine>,
    block: BlockRef,
    /// The newest snapshot in which the block is known to be canonical.
    seen: AtomicU64,
}

impl State {
    /// Fails if the canonical chain has no block with this number, or its state is not held.
    pub(super) fn new(engine: Arc<Engine>, number: u64) -> Result<Self, StoreError> {
        let snapshot = engine.snapshots.take(0)?;
        let view = engine.view(&snapshot);
        let block = view.canonical(number).and_then(|block| view.held(number).map(|()| block));
        let seen = AtomicU64::new(snapshot.id);
        engine.snapshots.give_back(snapshot);
        Ok(Self { block: block?, engine, seen })
    }

    /// The block.
    pub(super) const fn block(&self) -> BlockRef {
        self.block
    }

    /// Runs `read` on a snapshot in which the block is canonical.
    pub(super) fn read<T>(
        &self,
        read: impl FnOnce(View<'_, Ro>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let engine = &*self.engine;
        let seen = self.seen.load(Ordering::Acquire);
        let snapshot = engine.snapshots.take(seen)?;
        let view = engine.view(&snapshot);
        let result = self.check(&view, seen, snapshot.id).and_then(|()| read(view));
        engine.snapshots.give_back(snapshot);
        result
    }

    fn check(&self, view: &View<'_, Ro>, seen: u64, snapshot: u64) -> Result<(), StoreError> {
        if snapshot == seen {
            return Ok(());
        }
        let may_be_gone = self.engine.last_unwind.load(Ordering::SeqCst) > seen;
        if may_be_gone && view.canonical_hash(self.block.number)? != Some(self.block.hash) {
            return Err(StoreError::Reverted { block: self.block });
        }
        self.seen.fetch_max(snapshot, Ordering::AcqRel);
        Ok(())
    }
}

impl StateReader for State {
    fn account(&self, address: &Address) -> Result<Option<Account>, StateError> {
        self.read(|view| view.account(address, self.block.number)).map_err(StateError::new)
    }

    fn storage(&self, address: &Address, incarnation: u64, slot: &U256) -> Result<U256, StateError> {
        self.read(|view| view.storage(address, incarnation, slot, self.block.number)).map_err(StateError::new)
    }

    fn has_storage(&self, address: &Address, incarnation: u64) -> Result<bool, StateError> {
        walk::any_slot(self, &walk::Storage { address, incarnation }).map_err(StateError::new)
    }

    fn code(&self, hash: &B256) -> Result<Option<Bytes>, StateError> {
        let code = self.read(|view| view.bytes(view.tables.code, hash.as_slice()));
        code.map_err(StateError::new)
    }

    fn block_hash(&self, number: u64) -> Result<Option<B256>, StateError> {
        if number > self.block.number {
            return Ok(None);
        }
        self.read(|view| view.canonical_hash(number)).map_err(StateError::new)
    }
}
