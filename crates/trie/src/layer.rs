//! Nodes that are in no store yet: a layer of changed nodes, and a reader that looks into it first.

use crate::{Linked, NodeReader, Owner, TrieError, TrieUpdate};
use alloy_primitives::map::{HashMap, HashSet};
use alloy_primitives::{B256, Bytes, keccak256};
use alloy_trie::Nibbles;

/// Updates merged into one. As a [`NodeReader`] it is a trie that began empty; on top of others, use
/// [`Overlay`].
#[derive(Clone, Debug, Default)]
pub struct Layer {
    /// By owner, so that a wipe drops a storage trie at once.
    nodes: HashMap<Owner, HashMap<Nibbles, Option<Bytes>>>,
    /// The hashes of root nodes, as far as they are known.
    roots: HashMap<Owner, B256>,
    wiped: HashSet<B256>,
    len: usize,
    bytes: usize,
}

/// What a node takes in memory beside its RLP, roughly.
const ENTRY_OVERHEAD: usize = 96;

impl Layer {
    /// A layer that changes nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an update on top of what the layer holds.
    pub fn apply(&mut self, update: TrieUpdate) {
        self.note_roots(&update);
        for hashed in update.wiped {
            if let Some(dropped) = self.nodes.remove(&Owner::Storage(hashed)) {
                self.len -= dropped.len();
                self.bytes -= dropped.values().map(|node| cost(node.as_ref())).sum::<usize>();
            }
            self.wiped.insert(hashed);
        }
        let mut nodes = update.nodes.into_iter().peekable();
        while let Some(((owner, path), node)) = nodes.next() {
            let trie = self.nodes.entry(owner).or_default();
            let mut next = Some((path, node));
            while let Some((path, node)) = next {
                self.bytes += cost(node.as_ref());
                match trie.insert(path, node) {
                    Some(replaced) => self.bytes -= cost(replaced.as_ref()),
                    None => self.len += 1,
                }
                let same = nodes.next_if(|((of, _), _)| *of == owner);
                next = same.map(|((_, path), node)| (path, node));
            }
        }
    }

    fn note_roots(&mut self, update: &TrieUpdate) {
        for hashed in &update.wiped {
            self.roots.remove(&Owner::Storage(*hashed));
        }
        if update.hashes.len() != update.nodes.len() {
            for ((owner, _), _) in update.nodes.iter().filter(|((_, path), _)| path.is_empty()) {
                self.roots.remove(owner);
            }
        }
        for (owner, path, node, hash) in update.hashed_nodes() {
            if !path.is_empty() {
                continue;
            }
            match node {
                Some(_) => self.roots.insert(*owner, *hash),
                None => self.roots.remove(owner),
            };
        }
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.len == 0 && self.wiped.is_empty()
    }

    /// The number of nodes it holds, those that are gone included.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// About the memory it takes, in bytes: what a flush is decided by.
    pub const fn size(&self) -> usize {
        self.bytes
    }

    /// All of it as one update in the order of owners and paths, to be written to a store.
    pub fn to_update(&self) -> TrieUpdate {
        let trie = |(owner, trie): (&Owner, &HashMap<Nibbles, Option<Bytes>>)| {
            let owner = *owner;
            trie.iter().map(move |(path, node)| ((owner, *path), node.clone())).collect::<Vec<_>>()
        };
        let mut nodes: Vec<_> = self.nodes.iter().flat_map(trie).collect();
        nodes.sort_unstable_by_key(|(key, _)| *key);
        TrieUpdate { nodes, wiped: self.wiped.iter().copied().collect(), hashes: Vec::new() }
    }

    /// What the layer knows of a node: `None` if it must be asked for below, `Some(None)` if there is none.
    pub fn get(&self, owner: &Owner, path: &Nibbles) -> Option<Option<&Bytes>> {
        if let Some(known) = self.nodes.get(owner).and_then(|trie| trie.get(path)) {
            return Some(known.as_ref());
        }
        match owner {
            Owner::Storage(hashed) if self.wiped.contains(hashed) => Some(None),
            _ => None,
        }
    }
}

impl Layer {
    /// The root node `rlp` of a trie with its hash.
    fn with_hash(&self, owner: &Owner, rlp: &Bytes) -> (B256, Bytes) {
        (self.roots.get(owner).copied().unwrap_or_else(|| keccak256(rlp)), rlp.clone())
    }
}

impl NodeReader for Layer {
    fn node(&self, owner: &Owner, path: &Nibbles) -> Result<Option<Bytes>, TrieError> {
        Ok(self.get(owner, path).flatten().cloned())
    }

    /// Its nodes were made by updates, and never left the process's memory: they are not checked.
    fn linked(&self, owner: &Owner, path: &Nibbles, _hash: &B256) -> Result<Option<Linked>, TrieError> {
        Ok(self.get(owner, path).flatten().cloned().map(Linked::Sound))
    }

    fn root(&self, owner: &Owner) -> Result<Option<(B256, Bytes)>, TrieError> {
        let root = self.get(owner, &Nibbles::new()).flatten();
        Ok(root.map(|rlp| self.with_hash(owner, rlp)))
    }
}

fn cost(node: Option<&Bytes>) -> usize {
    ENTRY_OVERHEAD + node.map_or(0, |rlp| rlp.len())
}

/// A layer on top of other nodes. It borrows both, so stacking costs nothing and copies nothing.
#[derive(Clone, Copy)]
pub struct Overlay<'a> {
    layer: &'a Layer,
    base: &'a dyn NodeReader,
}

impl<'a> Overlay<'a> {
    /// Puts `layer` on top of `base`.
    pub fn new(layer: &'a Layer, base: &'a dyn NodeReader) -> Self {
        Self { layer, base }
    }
}

impl std::fmt::Debug for Overlay<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Overlay").field("nodes", &self.layer.len()).finish_non_exhaustive()
    }
}

impl NodeReader for Overlay<'_> {
    fn node(&self, owner: &Owner, path: &Nibbles) -> Result<Option<Bytes>, TrieError> {
        match self.layer.get(owner, path) {
            Some(known) => Ok(known.cloned()),
            None => self.base.node(owner, path),
        }
    }

    fn linked(&self, owner: &Owner, path: &Nibbles, hash: &B256) -> Result<Option<Linked>, TrieError> {
        match self.layer.get(owner, path) {
            Some(known) => Ok(known.cloned().map(Linked::Sound)),
            None => self.base.linked(owner, path, hash),
        }
    }

    fn checked(&self, owner: &Owner, path: &Nibbles, hash: &B256, rlp: &Bytes) {
        self.base.checked(owner, path, hash, rlp);
    }

    fn root(&self, owner: &Owner) -> Result<Option<(B256, Bytes)>, TrieError> {
        match self.layer.get(owner, &Nibbles::new()) {
            Some(known) => Ok(known.map(|rlp| self.layer.with_hash(owner, rlp))),
            None => self.base.root(owner),
        }
    }
}
