//! Nodes kept in memory beside the store, so that the upper levels of a large trie are neither read nor hashed
//! again.
//!
//! Nodes are kept by place, so that a new one takes the old one's room, and with their hashes, by which they are
//! asked for. So a node that is not the one asked for is only a miss: whatever the trie does, forks and reorgs
//! included, no answer is wrong. Only the roots of storage tries, which nothing names, must move along.

use crate::{Linked, NodeReader, Owner, TrieError, TrieUpdate};
use alloy_primitives::map::{DefaultHashBuilder, FbBuildHasher};
use alloy_primitives::{B256, Bytes};
use alloy_trie::{EMPTY_ROOT_HASH, Nibbles};
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{UnitWeighter, Weighter};
use std::hash::{BuildHasher, BuildHasherDefault, Hasher};

/// What a node takes in memory beside its RLP, roughly.
const ENTRY_OVERHEAD: u64 = 120;
/// RLP of an average node, roughly.
const AVERAGE_NODE: u64 = 200;
/// Storage tries whose roots are kept for each MiB of nodes.
const ROOTS_PER_MIB: usize = 512;

/// A node with its hash.
#[derive(Clone, Debug)]
struct Entry {
    hash: B256,
    rlp: Bytes,
}

#[derive(Clone, Copy, Debug)]
struct ByLength;

impl Weighter<u64, Entry> for ByLength {
    fn weight(&self, _place: &u64, entry: &Entry) -> u64 {
        entry.rlp.len() as u64 + ENTRY_OVERHEAD
    }
}

/// For keys that are hashes themselves.
#[derive(Clone, Copy, Debug, Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        let word = |word: &[u8; 8]| u64::from_le_bytes(*word);
        self.0 ^= bytes.as_chunks::<8>().0.iter().map(word).fold(0, |all, word| all ^ word);
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = word;
    }
}

/// Nodes that were checked or made by an update, as many as fit. All threads may use it at once.
pub struct NodeCache {
    /// By a hash of owner and path: two places that share one only displace each other.
    nodes: Cache<u64, Entry, ByLength, BuildHasherDefault<Hashed>>,
    places: DefaultHashBuilder,
    /// The storage root by hashed address, of the block to which the cache was moved.
    roots: Cache<B256, B256, UnitWeighter, FbBuildHasher<32>>,
}

impl std::fmt::Debug for NodeCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeCache").field("nodes", &self.nodes.len()).finish_non_exhaustive()
    }
}

impl NodeCache {
    /// An empty cache of about this many bytes.
    pub fn new(capacity: u64) -> Self {
        let items = usize::try_from(capacity / (AVERAGE_NODE + ENTRY_OVERHEAD)).unwrap_or(usize::MAX);
        let roots = usize::try_from(capacity >> 20).unwrap_or_default().max(1) * ROOTS_PER_MIB;
        let (by_place, by_hash) = (BuildHasherDefault::default(), FbBuildHasher::default());
        Self {
            nodes: Cache::with(items, capacity, ByLength, by_place, DefaultLifecycle::default()),
            places: DefaultHashBuilder::default(),
            roots: Cache::with(roots, roots as u64, UnitWeighter, by_hash, DefaultLifecycle::default()),
        }
    }

    fn place(&self, owner: &Owner, path: &Nibbles) -> u64 {
        self.places.hash_one((owner, path))
    }

    fn get(&self, owner: &Owner, path: &Nibbles, hash: &B256) -> Option<Bytes> {
        let entry = self.nodes.get(&self.place(owner, path))?;
        (entry.hash == *hash).then_some(entry.rlp)
    }

    fn put(&self, owner: &Owner, path: &Nibbles, hash: &B256, rlp: &Bytes) {
        self.nodes.insert(self.place(owner, path), Entry { hash: *hash, rlp: rlp.clone() });
    }

    /// Moves the cache as the trie moves: to the next block, or back by inverse changes. To be called for every
    /// update that the trie below makes its own, and for no other.
    pub fn apply(&self, update: &TrieUpdate) {
        for hashed in &update.wiped {
            self.roots.insert(*hashed, EMPTY_ROOT_HASH);
        }
        for (owner, path, node, hash) in update.hashed_nodes() {
            if let (Owner::Storage(hashed), true) = (owner, path.is_empty()) {
                self.roots.insert(*hashed, if node.is_some() { *hash } else { EMPTY_ROOT_HASH });
            }
            match node {
                Some(rlp) => self.put(owner, path, hash, rlp),
                None => drop(self.nodes.remove(&self.place(owner, path))),
            }
        }
    }

    /// Forgets the storage roots, because the trie moved in a way that was not [`Self::apply`]ed.
    pub fn reset(&self) {
        self.roots.clear();
    }

    /// A reader that asks the cache first, and puts what it reads from `base` into it. With a
    /// [`Layer`](crate::Layer) of nodes that are not in the store yet, `base` is best the
    /// [`Overlay`](crate::Overlay) of both: then most nodes are found with one look. `base` must be the trie that
    /// the cache is moved with; a state beside it is an `Overlay` over this reader.
    pub fn over<'a>(&'a self, base: &'a dyn NodeReader) -> Cached<'a> {
        Cached { cache: self, base }
    }

    /// Bytes that it holds, about.
    pub fn size(&self) -> u64 {
        self.nodes.weight()
    }
}

/// Nodes with a [`NodeCache`] above them.
#[derive(Clone, Copy)]
pub struct Cached<'a> {
    cache: &'a NodeCache,
    base: &'a dyn NodeReader,
}

impl std::fmt::Debug for Cached<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cached").field("cache", self.cache).finish_non_exhaustive()
    }
}

impl NodeReader for Cached<'_> {
    fn node(&self, owner: &Owner, path: &Nibbles) -> Result<Option<Bytes>, TrieError> {
        self.base.node(owner, path)
    }

    fn linked(&self, owner: &Owner, path: &Nibbles, hash: &B256) -> Result<Option<Linked>, TrieError> {
        match self.cache.get(owner, path, hash) {
            Some(rlp) => Ok(Some(Linked::Sound(rlp))),
            None => self.base.linked(owner, path, hash),
        }
    }

    fn checked(&self, owner: &Owner, path: &Nibbles, hash: &B256, rlp: &Bytes) {
        self.cache.put(owner, path, hash, rlp);
        self.base.checked(owner, path, hash, rlp);
    }

    fn root(&self, owner: &Owner) -> Result<Option<(B256, Bytes)>, TrieError> {
        let Owner::Storage(hashed) = owner else { return self.base.root(owner) };
        match self.cache.roots.get(hashed) {
            Some(EMPTY_ROOT_HASH) => return Ok(None),
            Some(root) => {
                if let Some(rlp) = self.cache.get(owner, &Nibbles::new(), &root) {
                    return Ok(Some((root, rlp)));
                }
            }
            None => {}
        }
        let node = self.base.root(owner)?;
        self.cache.roots.insert(*hashed, node.as_ref().map_or(EMPTY_ROOT_HASH, |(root, _)| *root));
        if let Some((root, rlp)) = &node {
            self.cache.put(owner, &Nibbles::new(), root, rlp);
        }
        Ok(node)
    }
}
