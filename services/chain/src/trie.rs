//! The state trie at the head: nodes of one block F in the store, and what changed since in memory.
//!
//! The trie is derived data. Dirty nodes are flushed in batches, within a block's commit; after a crash they are
//! computed again from the state versions between F and the head, and a reorg moves the trie back by the
//! inverse changes. A lost flush costs time, never data.

use crate::error::ChainError;
use alloy_primitives::{B256, Bytes, U256};
use quintet_store::{Store, StoreError, TrieFlush};
use quintet_trie::{
    Layer, Nibbles, NodeReader, Overlay, Owner, TrieChanges, TrieError, TrieUpdate, node_key, storage_prefix,
};
use quintet_types::{BlockRef, StateDiff, StateError};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

/// Bytes of dirty nodes that are kept in memory before they are flushed with the next commit.
const FLUSH_BYTES: usize = 32 << 20;
/// Blocks after which they are flushed all the same, so that a restart has little to compute again.
const FLUSH_BLOCKS: u64 = 128;

/// Reads the stored nodes.
struct Stored(Arc<dyn Store>);

impl NodeReader for Stored {
    fn node(&self, owner: &Owner, path: &Nibbles) -> Result<Option<Bytes>, TrieError> {
        self.0.trie_node(&node_key(owner, path)).map_err(|error| StateError::new(error).into())
    }
}

/// The trie at the head.
pub(crate) struct HeadTrie {
    store: Arc<dyn Store>,
    stored: Stored,
    dirty: Layer,
    /// The block of the stored nodes.
    base: BlockRef,
    /// The block of the trie.
    head: BlockRef,
}

impl HeadTrie {
    /// The trie of a store, brought up to its head.
    ///
    /// # Errors
    /// When the store cannot be read, or the trie does not come out with the head's state root.
    pub(crate) fn open(store: Arc<dyn Store>, head: BlockRef, root: B256) -> Result<Self, ChainError> {
        let base = store.trie_block()?.ok_or(ChainError::Uninitialised)?;
        let stored = Stored(Arc::clone(&store));
        let mut trie = Self { store, stored, dirty: Layer::new(), base, head: base };
        let mut computed = None;
        for number in base.number + 1..=head.number {
            let diff = trie.store.diff(number)?;
            let hash = trie.store.canonical_hash(number)?.ok_or(ChainError::NotFound("canonical block"))?;
            let (root, update) = trie.update(&diff)?;
            trie.advance(BlockRef { number, hash }, update);
            computed = Some(root);
        }
        if let Some(computed) = computed.filter(|computed| *computed != root) {
            return Err(ChainError::TrieMismatch { header: root, state: computed });
        }
        Ok(trie)
    }

    /// The block whose state the trie holds.
    pub(crate) const fn head(&self) -> BlockRef {
        self.head
    }

    /// The root with `diff` on top, and the nodes that it changes.
    pub(crate) fn update(&self, diff: &StateDiff) -> Result<(B256, TrieUpdate), ChainError> {
        Ok(quintet_trie::update(&self.reader(), diff)?)
    }

    fn reader(&self) -> Overlay<'_> {
        Overlay::new(&self.dirty, &self.stored)
    }

    /// Takes over the nodes of the block that follows the head (or, in a reorg, precedes it).
    pub(crate) fn advance(&mut self, block: BlockRef, update: TrieUpdate) {
        self.dirty.apply(update);
        self.head = block;
    }

    /// Undoes the head block, which must still be canonical in the store: moves the trie to the state before.
    pub(crate) fn revert(&mut self, parent: BlockRef, diff: &StateDiff) -> Result<(), ChainError> {
        let store = &self.store;
        let changes = TrieChanges::inverse(
            diff,
            |address, before, slot| store.storage_at(address, before.incarnation, slot, parent.number),
            |address, before| {
                let mut slots = BTreeMap::new();
                let mut visit = |slot, value| {
                    slots.insert(slot, value);
                    ControlFlow::Continue(())
                };
                store.for_each_storage(address, before.incarnation, parent.number, U256::ZERO, &mut visit)?;
                Ok::<_, StoreError>(slots)
            },
        )?;
        let (_, update) = quintet_trie::update_with(&self.reader(), &changes)?;
        self.advance(parent, update);
        Ok(())
    }

    /// The flush to commit with the head, when it is due: much is dirty, or `force` (a reorg below the stored
    /// block, or shutdown).
    pub(crate) fn flush(&self, force: bool) -> Option<TrieFlush> {
        let due = self.dirty.size() >= FLUSH_BYTES || self.head.number >= self.base.number + FLUSH_BLOCKS;
        if self.head == self.base || !(due || force) {
            return None;
        }
        let TrieUpdate { nodes, wiped } = self.dirty.to_update();
        let wiped_prefixes = wiped.iter().map(|hashed| storage_prefix(hashed).to_vec()).collect();
        let nodes = nodes.into_iter().map(|((owner, path), node)| (node_key(&owner, &path), node));
        Some(TrieFlush { block: self.head, wiped_prefixes, nodes: nodes.collect() })
    }

    /// The block of the stored nodes.
    pub(crate) const fn base(&self) -> BlockRef {
        self.base
    }

    /// The flush was committed.
    pub(crate) fn flushed(&mut self) {
        self.dirty = Layer::new();
        self.base = self.head;
    }
}
