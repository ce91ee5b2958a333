//! What consensus engines look back at: the blocks of the store, and those on their way into it.

use alloy_primitives::map::B256Map;
use alloy_primitives::{B256, Bytes};
use parking_lot::RwLock;
use quintet_clique::{SnapshotStore, snapshot_key};
use quintet_store::{Commit, Store};
use quintet_types::{Ancestry, Header, RecoveredBlock, StateError};
use std::collections::VecDeque;
use std::sync::Arc;

/// Blocks kept beside the store: more than the rules on uncles and recent signers look back.
const KEPT: usize = 512;

/// The blocks of a store, and in front of them the last ones added.
pub(crate) struct Ancestors {
    store: Arc<dyn Store>,
    recent: RwLock<Recent>,
}

#[derive(Default)]
struct Recent {
    blocks: B256Map<Kept>,
    order: VecDeque<B256>,
}

/// What a rule may ask of a block.
struct Kept {
    header: Header,
    uncles: Vec<Header>,
}

impl Ancestors {
    /// Those of the store.
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self { store, recent: RwLock::default() }
    }

    /// Adds a block that the store may not hold yet. The last [`KEPT`] are kept.
    pub(crate) fn push(&self, block: &RecoveredBlock) {
        let mut recent = self.recent.write();
        let kept = Kept { header: block.header().clone(), uncles: block.block.body.ommers.clone() };
        if recent.blocks.insert(block.hash, kept).is_some() {
            return;
        }
        recent.order.push_back(block.hash);
        if recent.order.len() > KEPT
            && let Some(oldest) = recent.order.pop_front()
        {
            recent.blocks.remove(&oldest);
        }
    }
}

impl Ancestry for Ancestors {
    fn header(&self, hash: &B256) -> Result<Option<Header>, StateError> {
        if let Some(kept) = self.recent.read().blocks.get(hash) {
            return Ok(Some(kept.header.clone()));
        }
        self.store.header(hash).map_err(StateError::new)
    }

    fn uncles(&self, hash: &B256) -> Result<Option<Vec<Header>>, StateError> {
        if let Some(kept) = self.recent.read().blocks.get(hash) {
            return Ok(Some(kept.uncles.clone()));
        }
        Ok(self.store.body(hash).map_err(StateError::new)?.map(|body| body.ommers))
    }
}

/// Clique's snapshots among the store's small values. They are derived: one that cannot be read or written is
/// built again.
pub(crate) struct StoredSnapshots(pub(crate) Arc<dyn Store>);

impl SnapshotStore for StoredSnapshots {
    fn load(&self, hash: &B256) -> Option<Bytes> {
        let loaded = self.0.meta(&snapshot_key(hash));
        loaded.unwrap_or_else(|error| {
            tracing::warn!(%error, "clique snapshot not read");
            None
        })
    }

    fn save(&self, hash: &B256, snapshot: Bytes) {
        let meta = vec![(snapshot_key(hash), Some(snapshot))];
        if let Err(error) = self.0.commit(Commit { meta, ..Commit::default() }) {
            tracing::warn!(%error, "clique snapshot not kept");
        }
    }
}
