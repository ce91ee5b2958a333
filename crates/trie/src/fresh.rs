//! Nodes that a pass makes: encoded at once, with a hole where the hash of a new child goes, and hashed
//! together at the end, level by level from the leaves up.

use crate::node::HASH_LEN;
use alloy_primitives::{B256, Bytes, keccak256};
use alloy_trie::Nibbles;
use alloy_trie::nodes::RlpNode;
use rayon::prelude::*;

/// From this many nodes of one height on, they are hashed by several threads.
const PARALLEL_HASHES: usize = 256;
/// How many a thread takes at a time.
const PARALLEL_CHUNK: usize = 64;

/// An RLP item that is a hash not known yet.
const HOLE: [u8; HASH_LEN + 1] = {
    let mut hole = [0; HASH_LEN + 1];
    hole[0] = crate::node::HASH_CODE;
    hole
};

/// What a parent says of a child.
#[derive(Clone, Debug)]
pub(crate) enum Link {
    /// Its hash or its RLP, as an RLP item; empty when there is no child.
    Known(RlpNode),
    /// A new node, by its place among the [`FreshNodes`].
    Fresh(usize),
}

impl Link {
    /// The RLP item, with zeros for a hash that is not known yet.
    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Known(link) => link.as_slice(),
            Self::Fresh(_) => &HOLE,
        }
    }

    /// The same link after the nodes it points to were put behind `count` others.
    pub(crate) fn behind(self, count: usize) -> Self {
        match self {
            Self::Known(link) => Self::Known(link),
            Self::Fresh(at) => Self::Fresh(at + count),
        }
    }
}

#[derive(Debug)]
struct FreshNode {
    path: Nibbles,
    rlp: Vec<u8>,
    /// The new node that has this one's hash, and where in its RLP.
    parent: Option<(usize, usize)>,
    /// How many levels of new nodes are below.
    height: usize,
    hash: B256,
}

/// New nodes in the order in which they were made.
#[derive(Debug, Default)]
pub(crate) struct FreshNodes(Vec<FreshNode>);

impl FreshNodes {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    pub(crate) const fn len(&self) -> usize {
        self.0.len()
    }

    /// Adds a node. `children` are the places of new children with the offsets of their hashes in `rlp`.
    pub(crate) fn push(&mut self, path: Nibbles, rlp: &[u8], children: &[(usize, usize)]) -> Link {
        let at = self.0.len();
        let mut height = 0;
        for &(child, offset) in children {
            if let Some(child) = self.0.get_mut(child) {
                child.parent = Some((at, offset));
                height = height.max(child.height + 1);
            }
        }
        self.0.push(FreshNode { path, rlp: rlp.to_vec(), parent: None, height, hash: B256::ZERO });
        Link::Fresh(at)
    }

    /// Says where a node has its place.
    pub(crate) fn place(&mut self, at: usize, path: Nibbles) {
        if let Some(node) = self.0.get_mut(at) {
            node.path = path;
        }
    }

    /// Puts `others` behind these.
    pub(crate) fn append(&mut self, mut others: Self) {
        let count = self.0.len();
        for node in &mut others.0 {
            if let Some((parent, _)) = &mut node.parent {
                *parent += count;
            }
        }
        self.0.append(&mut others.0);
    }

    /// The hash of a node, once [`hash_all`] has run.
    pub(crate) fn hash(&self, at: usize) -> B256 {
        self.0.get(at).map_or(B256::ZERO, |node| node.hash)
    }

    /// Every node with its path and hash.
    pub(crate) fn into_nodes(self) -> impl Iterator<Item = (Nibbles, Bytes, B256)> {
        self.0.into_iter().map(|node| (node.path, node.rlp.into(), node.hash))
    }

    fn fill_in(&mut self, at: usize, hash: B256) {
        let Some(node) = self.0.get_mut(at) else { return };
        node.hash = hash;
        let Some((parent, offset)) = node.parent else { return };
        let rlp = self.0.get_mut(parent).map(|node| &mut node.rlp);
        if let Some(hole) = rlp.and_then(|rlp| rlp.get_mut(offset..offset + HASH_LEN)) {
            hole.copy_from_slice(hash.as_slice());
        }
    }
}

/// Hashes all nodes of several tries at once, each into its parent.
pub(crate) fn hash_all(tries: &mut [&mut FreshNodes]) {
    let mut levels: Vec<Vec<(usize, usize)>> = Vec::new();
    for (trie, nodes) in tries.iter().enumerate() {
        for (at, node) in nodes.0.iter().enumerate() {
            if levels.len() <= node.height {
                levels.resize_with(node.height + 1, Vec::new);
            }
            levels.get_mut(node.height).into_iter().for_each(|level| level.push((trie, at)));
        }
    }
    for level in levels {
        let rlp = |&(trie, at): &(usize, usize)| {
            tries.get(trie).and_then(|nodes| nodes.0.get(at)).map_or(&[][..], |node| &node.rlp)
        };
        let inputs: Vec<&[u8]> = level.iter().map(rlp).collect();
        let hashes = hash_in_parallel(&inputs);
        for ((trie, at), hash) in level.into_iter().zip(hashes) {
            if let Some(nodes) = tries.get_mut(trie) {
                nodes.fill_in(at, hash);
            }
        }
    }
}

/// The hash of each input, in order, by several threads when there are many.
pub(crate) fn hash_in_parallel(inputs: &[&[u8]]) -> Vec<B256> {
    if inputs.len() < PARALLEL_HASHES {
        return inputs.iter().map(keccak256).collect();
    }
    inputs.par_iter().with_min_len(PARALLEL_CHUNK).map(keccak256).collect()
}
