//! The state trie at the head: nodes of one block F in the store, and what changed since in memory.
//!
//! The trie is derived data. Dirty nodes are flushed in batches, within a block's commit; after a crash they are
//! computed again from the state versions between F and the head, and a reorg moves the trie back by the
//! inverse changes. A lost flush costs time, never data.

use crate::error::ChainError;
use crate::verify::StateTrie;
use alloy_primitives::{B256, Bytes};
use quintet_store::{Commit, Store, TrieFlush};
use quintet_trie::{
    Layer, Nibbles, NodeCache, NodeReader, Overlay, Owner, TrieChanges, TrieError, TrieUpdate, node_key,
    storage_prefix,
};
use quintet_types::{BlockRef, StateDiff, StateError};
use std::sync::Arc;

/// Bytes of dirty nodes that are kept in memory before they are flushed with the next commit.
const FLUSH_BYTES: usize = 32 << 20;
/// Blocks after which they are flushed all the same, so that a restart has little to compute again.
const FLUSH_BLOCKS: u64 = 128;

/// Bytes of nodes that are kept in memory beside the store.
const CACHE_BYTES: u64 = 64 << 20;

/// Reads the stored nodes.
struct Stored(Arc<dyn Store>);

impl NodeReader for Stored {
    fn node(&self, owner: &Owner, path: &Nibbles) -> Result<Option<Bytes>, TrieError> {
        self.0.trie_node(&node_key(owner, path)).map_err(|error| StateError::new(error).into())
    }
}

/// Nodes on their way into the store.
#[derive(Clone)]
pub(crate) struct Flushing {
    /// The block that they belong to.
    pub(crate) block: BlockRef,
    layer: Arc<Layer>,
}

impl Flushing {
    /// What a commit writes.
    pub(crate) fn to_flush(&self) -> TrieFlush {
        let TrieUpdate { nodes, wiped, .. } = self.layer.to_update();
        let wiped_prefixes = wiped.iter().map(|hashed| storage_prefix(hashed).to_vec()).collect();
        let nodes = nodes.into_iter().map(|((owner, path), node)| (node_key(&owner, &path), node));
        TrieFlush { block: self.block, wiped_prefixes, nodes: nodes.collect() }
    }
}

/// The trie at the head.
pub(crate) struct HeadTrie {
    store: Arc<dyn Store>,
    stored: Stored,
    /// Nodes by their hashes, whichever of the others they come from.
    cache: Arc<NodeCache>,
    dirty: Layer,
    /// Frozen nodes below the dirty ones, until their commit is done.
    flushing: Option<Flushing>,
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
        Self::open_with(store, head, root, Arc::new(NodeCache::new(CACHE_BYTES)))
    }

    /// The trie read afresh, at a head that may be another than its own.
    pub(crate) fn reopened(&self, head: BlockRef, root: B256) -> Result<Self, ChainError> {
        self.cache.reset();
        Self::open_with(Arc::clone(&self.store), head, root, Arc::clone(&self.cache))
    }

    fn open_with(
        store: Arc<dyn Store>,
        head: BlockRef,
        root: B256,
        cache: Arc<NodeCache>,
    ) -> Result<Self, ChainError> {
        let base = store.trie_block()?.ok_or(ChainError::Uninitialised)?;
        let stored = Stored(Arc::clone(&store));
        let mut trie = Self { store, stored, cache, dirty: Layer::new(), flushing: None, base, head: base };
        let mut computed = None;
        for number in base.number + 1..=head.number {
            let diff = trie.store.diff(number)?;
            let hash = trie.store.canonical_hash(number)?.ok_or(ChainError::NotFound("canonical block"))?;
            let (root, update) = trie.update(&diff)?;
            trie.advance(BlockRef { number, hash }, update);
            trie.lighten()?;
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

    /// Whether the trie is at `head`, with no commit of its nodes under way.
    pub(crate) fn is_settled_at(&self, head: BlockRef) -> bool {
        self.head == head && self.flushing.is_none()
    }

    /// The root with `diff` on top, and the nodes that it changes.
    pub(crate) fn update(&self, diff: &StateDiff) -> Result<(B256, TrieUpdate), ChainError> {
        self.read(|nodes| Ok(quintet_trie::update(nodes, diff)?))
    }

    /// Takes over the nodes of the block that follows the head (or, in a reorg, precedes it).
    pub(crate) fn advance(&mut self, block: BlockRef, update: TrieUpdate) {
        self.cache.apply(&update);
        self.dirty.apply(update);
        self.head = block;
    }

    /// Reads the newest nodes: dirty ones, then those being flushed, then stored ones.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&dyn NodeReader) -> T) -> T {
        let nothing = Layer::new();
        let frozen = self.flushing.as_ref().map_or(&nothing, |flushing| flushing.layer.as_ref());
        let below = Overlay::new(frozen, &self.stored);
        read(&self.cache.over(&Overlay::new(&self.dirty, &below)))
    }

    /// Moves the trie down to `ancestor`. The blocks above it must still be canonical in the store, which gets
    /// the nodes on the way when they become many.
    pub(crate) fn retreat(&mut self, ancestor: BlockRef) -> Result<(), ChainError> {
        for number in (ancestor.number + 1..=self.head.number).rev() {
            let number = number - 1;
            let hash = self.store.canonical_hash(number)?.ok_or(ChainError::NotFound("canonical block"))?;
            let diff = self.store.diff(number + 1)?;
            self.revert(BlockRef { number, hash }, &diff)?;
            self.lighten()?;
        }
        Ok(())
    }

    /// Undoes the head block, which must still be canonical in the store: moves the trie to the state before.
    fn revert(&mut self, parent: BlockRef, diff: &StateDiff) -> Result<(), ChainError> {
        let changes = inverse(self.store.as_ref(), parent.number, diff)?;
        let (_, update) = self.read(|nodes| quintet_trie::update_with(nodes, &changes))?;
        self.advance(parent, update);
        Ok(())
    }

    /// What leads from the head's state back to that of a canonical block.
    pub(crate) fn changes_back_to(&self, number: u64) -> Result<TrieChanges, ChainError> {
        let mut changes = TrieChanges::default();
        for number in (number..self.head.number).rev() {
            let diff = self.store.diff(number + 1)?;
            changes.extend(inverse(self.store.as_ref(), number, &diff)?);
        }
        Ok(changes)
    }

    /// The nodes that differ once `changes` are made to the head's state, and the root that there is then. The
    /// trie itself stays as it is.
    pub(crate) fn beside(&self, changes: &TrieChanges) -> Result<(B256, Layer), ChainError> {
        let (root, update) = self.read(|nodes| quintet_trie::update_with(nodes, changes))?;
        let mut layer = Layer::new();
        layer.apply(update);
        Ok((root, layer))
    }

    /// As [`Self::update`], on the trie that [`Self::beside`] gave.
    pub(crate) fn update_beside(
        &self,
        layer: &Layer,
        diff: &StateDiff,
    ) -> Result<(B256, TrieUpdate), ChainError> {
        self.read(|nodes| Ok(quintet_trie::update(&Overlay::new(layer, nodes), diff)?))
    }

    /// Writes the dirty nodes when they are many, while the trie is at a block that is canonical in the store.
    fn lighten(&mut self) -> Result<(), ChainError> {
        if self.dirty.size() < FLUSH_BYTES {
            return Ok(());
        }
        self.write()
    }

    /// Writes the dirty nodes. The trie must be at a block that is canonical in the store.
    pub(crate) fn write(&mut self) -> Result<(), ChainError> {
        let Some(flush) = self.freeze(true) else { return Ok(()) };
        self.store.commit(Commit { trie: Some(flush.to_flush()), ..Commit::default() })?;
        self.flushed();
        Ok(())
    }

    /// The nodes to commit with the head, when it is time: many are dirty, or `force` (a reorg below the stored
    /// block, or shutdown). They stay readable; [`Self::flushed`] says that the commit is done. `None` also
    /// while others are on their way.
    pub(crate) fn freeze(&mut self, force: bool) -> Option<Flushing> {
        let due = self.dirty.size() >= FLUSH_BYTES || self.head.number >= self.base.number + FLUSH_BLOCKS;
        if self.flushing.is_some() || self.head == self.base || !(due || force) {
            return None;
        }
        let layer = Arc::new(std::mem::take(&mut self.dirty));
        let flushing = Flushing { block: self.head, layer };
        self.flushing = Some(flushing.clone());
        Some(flushing)
    }

    /// The cache of nodes that the trie stands on.
    pub(crate) fn cache(&self) -> Arc<NodeCache> {
        Arc::clone(&self.cache)
    }

    /// About the memory that nodes take which are in no store yet and not on their way there, in bytes.
    pub(crate) const fn dirty_bytes(&self) -> usize {
        self.dirty.size()
    }

    /// The block of the stored nodes.
    pub(crate) const fn base(&self) -> BlockRef {
        self.base
    }

    /// The frozen nodes were committed.
    pub(crate) fn flushed(&mut self) {
        if let Some(flushing) = self.flushing.take() {
            self.base = flushing.block;
        }
    }
}

impl StateTrie for HeadTrie {
    fn update(&self, diff: &StateDiff) -> Result<(B256, TrieUpdate), ChainError> {
        Self::update(self, diff)
    }
}

/// What undoes a canonical block's diff; `parent` is the number of the block before.
fn inverse(store: &dyn Store, parent: u64, diff: &StateDiff) -> Result<TrieChanges, ChainError> {
    let changes = TrieChanges::inverse(
        diff,
        |address, before, slot| store.storage_at(address, before.incarnation, slot, parent),
        |address, before| store.hashed_storage_at(address, before.incarnation, parent),
    );
    Ok(changes?)
}
