//! A trie from its leaves in order, at constant memory: only the branches on the way to the last leaf are open, and
//! a node is encoded as soon as no leaf can come under it any more.

use crate::fresh::Link;
use crate::node::{HASH_LEN, Links, encode_branch, encode_extension};
use crate::path::{head, tail};
use crate::{Owner, node_key};
use alloy_primitives::{B256, Bytes, keccak256};
use alloy_rlp::Encodable;
use alloy_trie::nodes::{LeafNodeRef, RlpNode};
use alloy_trie::{EMPTY_ROOT_HASH, Nibbles};

/// Makes the nodes of one whole trie that a store keeps by path (the rule is in the crate's description), from its
/// leaves in the order of their keys.
#[derive(Clone, Debug)]
pub struct Builder {
    owner: Owner,
    tree: Subtree,
}

impl Builder {
    /// An empty trie.
    pub fn new(owner: Owner) -> Self {
        Self { owner, tree: Subtree::new(0) }
    }

    /// Adds a leaf: its key, which is above those before, and its value as the trie holds it. Gives `out` the nodes
    /// under which no other leaf can come, each with its [`node_key`].
    ///
    /// A key that is not above the last one, or a value that is empty, is passed over: no trie holds it, and the
    /// root tells.
    pub fn push(&mut self, key: &B256, value: &[u8], out: &mut dyn FnMut(Vec<u8>, Bytes)) {
        let owner = self.owner;
        let mut place = |path: &Nibbles, rlp: &[u8]| out(node_key(&owner, path), Bytes::copy_from_slice(rlp));
        self.tree.push(Nibbles::unpack_array(&key.0), value, &mut place);
    }

    /// Gives `out` the nodes that are left, the root last. Returns the root's hash.
    pub fn finish(self, out: &mut dyn FnMut(Vec<u8>, Bytes)) -> B256 {
        let owner = self.owner;
        let mut place = |path: &Nibbles, rlp: &[u8]| out(node_key(&owner, path), Bytes::copy_from_slice(rlp));
        let Some(root) = self.tree.finish(&mut place) else { return EMPTY_ROOT_HASH };
        let hash = keccak256(&root);
        out(node_key(&owner, &Nibbles::new()), root.into());
        hash
    }
}

/// Takes each node that is not inlined in its parent, with its path.
pub(crate) type Place<'a> = &'a mut dyn FnMut(&Nibbles, &[u8]);

/// A branch under which more leaves may come.
#[derive(Clone, Debug)]
struct Open {
    /// Nibbles of its path, which is the beginning of the last leaf's key.
    depth: usize,
    children: Vec<(u8, Link)>,
}

/// The subtree that certain leaves make.
#[derive(Clone, Debug)]
pub(crate) struct Subtree {
    /// Nibbles of its path, which all its keys begin with.
    base: usize,
    /// The key of the last leaf, whose place the next key decides.
    last: Option<Nibbles>,
    value: Vec<u8>,
    /// The branches on the way to the last leaf, from the root down.
    open: Vec<Open>,
    buf: Vec<u8>,
}

impl Subtree {
    /// One without leaves, at a path of `base` nibbles.
    pub(crate) const fn new(base: usize) -> Self {
        Self { base, last: None, value: Vec::new(), open: Vec::new(), buf: Vec::new() }
    }

    /// Adds a leaf by its whole key; see [`Builder::push`].
    pub(crate) fn push(&mut self, key: Nibbles, value: &[u8], place: Place<'_>) {
        if value.is_empty() || self.last.is_some_and(|last| last >= key) {
            return;
        }
        if let Some(last) = self.last {
            self.close(&last, last.common_prefix_length(&key), place);
        }
        self.last = Some(key);
        self.value.clear();
        self.value.extend_from_slice(value);
    }

    /// The RLP of the topmost node, which `place` does not get; `None` if there are no leaves.
    pub(crate) fn finish(mut self, place: Place<'_>) -> Option<Vec<u8>> {
        let last = self.last?;
        if let Some(outermost) = self.open.first().map(|branch| branch.depth) {
            self.close(&last, outermost, place);
        }
        match self.open.pop() {
            Some(branch) => self.encode_branch(&last, self.base, &branch, place),
            None => self.encode_leaf(&last, self.base),
        }
        Some(self.buf)
    }

    /// Finishes everything on the way to the last leaf that is deeper than `fork`, where the next key leaves it;
    /// there is an open branch then.
    fn close(&mut self, last: &Nibbles, fork: usize, place: Place<'_>) {
        let mut parent = self.parent(fork);
        self.encode_leaf(last, parent + 1);
        loop {
            let link = self.link(last, parent + 1, place);
            self.adopt(last, parent, link);
            if parent == fork {
                return;
            }
            let Some(branch) = self.open.pop() else { return };
            parent = self.parent(fork);
            self.encode_branch(last, parent + 1, &branch, place);
        }
    }

    /// The depth of the branch that is next above: the innermost open one, or the one to come at `fork`.
    fn parent(&self, fork: usize) -> usize {
        self.open.last().map_or(fork, |branch| branch.depth.max(fork))
    }

    /// Hangs a node on the way to `last` into the branch at `depth`, which is made if it is not open yet.
    fn adopt(&mut self, last: &Nibbles, depth: usize, link: RlpNode) {
        let Some(nibble) = last.get(depth) else { return };
        let child = (nibble, Link::Known(link));
        match self.open.last_mut() {
            Some(branch) if branch.depth == depth => branch.children.push(child),
            _ => self.open.push(Open { depth, children: vec![child] }),
        }
    }

    /// The reference to the encoded node, whose path is the first `at` nibbles of `last`.
    fn link(&self, last: &Nibbles, at: usize, place: Place<'_>) -> RlpNode {
        if self.buf.len() >= HASH_LEN {
            place(&head(last, at), &self.buf);
        }
        RlpNode::from_rlp(&self.buf)
    }

    /// Encodes the last leaf for a path of `at` nibbles.
    fn encode_leaf(&mut self, last: &Nibbles, at: usize) {
        self.buf.clear();
        LeafNodeRef::new(&tail(last, at), &self.value).encode(&mut self.buf);
    }

    /// Encodes a branch for a path of `at` nibbles: if it is deeper, the extension that leads to it.
    fn encode_branch(&mut self, last: &Nibbles, at: usize, branch: &Open, place: Place<'_>) {
        encode_branch(&Links::default(), &branch.children, &mut self.buf, |_, _| ());
        if branch.depth > at {
            let link = self.link(last, branch.depth, place);
            encode_extension(&last.slice(at..branch.depth), &link, &mut self.buf);
        }
    }
}
