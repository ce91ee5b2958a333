//! Snapshots of any block: from memory, from those that were stored, or built again from the headers.

use crate::{Clique, CliqueError, Snapshot};
use alloy_primitives::{B256, Bytes, keccak256};
use parking_lot::Mutex;
use quintet_types::{Ancestry, BlockRef, Header};
use std::collections::VecDeque;
use std::sync::Arc;

/// Blocks from one stored snapshot to the next (geth's `checkpointInterval`).
const STORED_EVERY: u64 = 1024;
/// Snapshots kept in memory (geth's `inmemorySnapshots`).
const IN_MEMORY: usize = 128;

/// The key of a block's snapshot among a store's small values: who reads a store finds what another has saved.
pub fn snapshot_key(hash: &B256) -> String {
    format!("clique-snapshot-{hash}")
}

/// Where snapshots outlive the process. They are derived data: what is lost or spoilt is built again.
pub trait SnapshotStore: Send + Sync {
    /// What was saved for a block.
    fn load(&self, hash: &B256) -> Option<Bytes>;

    /// Keeps a block's snapshot, if it can.
    fn save(&self, hash: &B256, snapshot: Bytes);
}

/// Nothing is kept.
impl SnapshotStore for () {
    fn load(&self, _: &B256) -> Option<Bytes> {
        None
    }
    fn save(&self, _: &B256, _: Bytes) {}
}

/// The snapshots used last, the latest at the back.
#[derive(Default)]
pub(crate) struct Recent(Mutex<VecDeque<Arc<Snapshot>>>);

impl Recent {
    fn get(&self, hash: &B256) -> Option<Arc<Snapshot>> {
        let mut snapshots = self.0.lock();
        // An import asks for the one that it added last.
        let place = snapshots.iter().rposition(|snapshot| snapshot.hash == *hash)?;
        let found = snapshots.remove(place)?;
        snapshots.push_back(Arc::clone(&found));
        Some(found)
    }

    fn add(&self, snapshot: Arc<Snapshot>) {
        let mut snapshots = self.0.lock();
        if snapshots.len() >= IN_MEMORY {
            snapshots.pop_front();
        }
        snapshots.push_back(snapshot);
    }
}

impl Clique {
    /// The snapshot after a block whose ancestry is held, back to the nearest stored snapshot or to genesis.
    ///
    /// Following a chain costs one header a block. A block that is far from any snapshot costs two reads of
    /// every header between, and memory for [`STORED_EVERY`] headers at a time; the snapshots met on the way are
    /// stored.
    ///
    /// # Errors
    /// When a header is missing or cannot be read, or a block between is not valid.
    pub fn snapshot_at(
        &self,
        ancestry: &dyn Ancestry,
        store: &dyn SnapshotStore,
        block: BlockRef,
    ) -> Result<Arc<Snapshot>, CliqueError> {
        let (mut snapshot, mut stages) = self.nearest_snapshot(ancestry, store, block)?;
        while let Some(stage) = stages.pop() {
            let headers = headers_between(ancestry, snapshot.hash, stage)?;
            snapshot = Arc::new(self.apply(&snapshot, &headers)?);
            self.snapshots.add(Arc::clone(&snapshot));
            if snapshot.number.is_multiple_of(STORED_EVERY) {
                save(store, &snapshot);
            }
        }
        Ok(snapshot)
    }

    /// The newest snapshot at or before a block, and the blocks to stop at on the way to it, the nearest last:
    /// those to be stored, and the block itself.
    fn nearest_snapshot(
        &self,
        ancestry: &dyn Ancestry,
        store: &dyn SnapshotStore,
        block: BlockRef,
    ) -> Result<(Arc<Snapshot>, Vec<BlockRef>), CliqueError> {
        let mut stages = Vec::new();
        let mut at = block;
        loop {
            if let Some(snapshot) = self.known_snapshot(store, at) {
                return Ok((snapshot, stages));
            }
            let header = ancestry.header(&at.hash)?.ok_or(CliqueError::UnknownAncestor)?;
            if header.number != at.number {
                return Err(CliqueError::UnknownAncestor);
            }
            if at.number == 0 {
                let snapshot = Arc::new(Snapshot::genesis(&header)?);
                self.snapshots.add(Arc::clone(&snapshot));
                return Ok((snapshot, stages));
            }
            if at == block || at.number.is_multiple_of(STORED_EVERY) {
                stages.push(at);
            }
            at = BlockRef { number: at.number.saturating_sub(1), hash: header.parent_hash };
        }
    }

    fn known_snapshot(&self, store: &dyn SnapshotStore, at: BlockRef) -> Option<Arc<Snapshot>> {
        if let Some(snapshot) = self.snapshots.get(&at.hash) {
            return Some(snapshot);
        }
        let stored = at.number > 0 && at.number.is_multiple_of(STORED_EVERY);
        let snapshot = Arc::new(stored.then(|| load(store, at)).flatten()?);
        self.snapshots.add(Arc::clone(&snapshot));
        Some(snapshot)
    }
}

/// The headers after `ancestor` up to a block at most [`STORED_EVERY`] above it, oldest first.
fn headers_between(
    ancestry: &dyn Ancestry,
    ancestor: B256,
    last: BlockRef,
) -> Result<Vec<Header>, CliqueError> {
    let mut headers = Vec::new();
    let mut hash = last.hash;
    while hash != ancestor {
        let header = ancestry.header(&hash)?.ok_or(CliqueError::UnknownAncestor)?;
        hash = header.parent_hash;
        headers.push(header);
    }
    headers.reverse();
    Ok(headers)
}

/// The JSON behind its Keccak hash, so that a spoilt record is known as such.
fn save(store: &dyn SnapshotStore, snapshot: &Snapshot) {
    // A snapshot has no keys that JSON cannot write, and one that is not stored is built again.
    let Ok(json) = serde_json::to_vec(snapshot) else { return };
    store.save(&snapshot.hash, [keccak256(&json).as_slice(), &json].concat().into());
}

fn load(store: &dyn SnapshotStore, at: BlockRef) -> Option<Snapshot> {
    let stored = store.load(&at.hash)?;
    let (checksum, json) = stored.split_first_chunk::<32>()?;
    if keccak256(json) != *checksum {
        return None;
    }
    let snapshot: Snapshot = serde_json::from_slice(json).ok()?;
    (snapshot.number == at.number && snapshot.hash == at.hash).then_some(snapshot)
}
