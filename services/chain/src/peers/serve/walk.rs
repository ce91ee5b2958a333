//! Reads a trie that is kept by path: leaves in the order of their keys, and the nodes on the way to a key.

use crate::error::ChainError;
use alloy_primitives::{B256, Bytes};
use alloy_rlp::Decodable;
use alloy_trie::nodes::{RlpNode, TrieNode};
use quintet_trie::{Nibbles, NodeReader, Owner, TrieError};
use std::ops::ControlFlow;

/// Nibbles of a key.
const KEY_LENGTH: usize = 64;

/// A node that cannot be read as one.
fn corrupt(owner: &Owner, path: &Nibbles) -> ChainError {
    TrieError::Corrupt { owner: *owner, path: *path, reason: "not a node" }.into()
}

/// A path and what follows it; `None` if that is longer than any key.
pub(super) fn join(path: &Nibbles, rest: &Nibbles) -> Option<Nibbles> {
    (path.len() + rest.len() <= KEY_LENGTH).then(|| path.join(rest))
}

/// Decodes a node.
pub(super) fn decode(owner: &Owner, path: &Nibbles, rlp: &[u8]) -> Result<TrieNode, ChainError> {
    TrieNode::decode(&mut &*rlp).map_err(|_| corrupt(owner, path))
}

/// The node that a link refers to: read, if it is named by its hash, else in the link itself.
fn follow(
    nodes: &dyn NodeReader,
    owner: &Owner,
    path: &Nibbles,
    link: &RlpNode,
) -> Result<Bytes, ChainError> {
    if !link.is_hash() {
        return Ok(Bytes::copy_from_slice(link.as_slice()));
    }
    let missing = || TrieError::Missing { owner: *owner, path: *path };
    Ok(nodes.node(owner, path)?.ok_or_else(missing)?)
}

/// The children of a branch with their nibbles.
pub(super) fn children(node: &TrieNode) -> Vec<(Nibbles, RlpNode)> {
    match node {
        TrieNode::Branch(branch) => {
            let at = |nibble: u8| Nibbles::from_nibbles_unchecked([nibble]);
            let child = |(nibble, child): (u8, Option<&RlpNode>)| Some((at(nibble), child?.clone()));
            branch.as_ref().children().filter_map(child).collect()
        }
        TrieNode::Extension(extension) => vec![(extension.key, extension.child.clone())],
        TrieNode::Leaf(_) | TrieNode::EmptyRoot => Vec::new(),
    }
}

/// Calls `visit` with each leaf's key and value in order, from the first key that is not below `from`, until it breaks.
///
/// # Errors
/// When a node cannot be read.
pub(super) fn leaves(
    nodes: &dyn NodeReader,
    owner: &Owner,
    from: &B256,
    visit: &mut dyn FnMut(B256, &[u8]) -> ControlFlow<()>,
) -> Result<(), ChainError> {
    let from = Nibbles::unpack(from);
    let Some(root) = nodes.node(owner, &Nibbles::new())? else { return Ok(()) };
    let mut walk = Leaves { nodes, owner, from, visit };
    walk.descend(Nibbles::new(), &root).map(|_| ())
}

struct Leaves<'a> {
    nodes: &'a dyn NodeReader,
    owner: &'a Owner,
    from: Nibbles,
    visit: &'a mut dyn FnMut(B256, &[u8]) -> ControlFlow<()>,
}

impl Leaves<'_> {
    fn descend(&mut self, path: Nibbles, rlp: &[u8]) -> Result<ControlFlow<()>, ChainError> {
        let node = decode(self.owner, &path, rlp)?;
        if let TrieNode::Leaf(leaf) = &node {
            let corrupt = || corrupt(self.owner, &path);
            let key = join(&path, &leaf.key).ok_or_else(corrupt)?;
            if key < self.from {
                return Ok(ControlFlow::Continue(()));
            }
            let key = B256::try_from(key.pack().as_slice()).map_err(|_| corrupt())?;
            return Ok((self.visit)(key, &leaf.value));
        }
        for (part, link) in children(&node) {
            let below = join(&path, &part).ok_or_else(|| corrupt(self.owner, &path))?;
            // Every key below is smaller than where the walk begins.
            if below < self.from.slice(..below.len()) {
                continue;
            }
            let rlp = follow(self.nodes, self.owner, &below, &link)?;
            if self.descend(below, &rlp)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// The nodes from the root towards a key, those that are inlined in their parents left out, and the value there.
///
/// # Errors
/// When a node cannot be read.
pub(super) fn prove(
    nodes: &dyn NodeReader,
    owner: &Owner,
    key: &B256,
) -> Result<(Vec<Bytes>, Option<Bytes>), ChainError> {
    let key = Nibbles::unpack(key);
    let mut path = Nibbles::new();
    let mut proof = Vec::new();
    let Some(mut rlp) = nodes.node(owner, &path)? else { return Ok((proof, None)) };
    proof.push(rlp.clone());
    loop {
        let node = decode(owner, &path, &rlp)?;
        if let TrieNode::Leaf(leaf) = &node {
            let found = join(&path, &leaf.key) == Some(key);
            let value = found.then(|| Bytes::copy_from_slice(&leaf.value));
            return Ok((proof, value));
        }
        let next = children(&node).into_iter().find_map(|(part, link)| {
            let below = join(&path, &part).filter(|below| key.starts_with(below))?;
            Some((below, link))
        });
        let Some((below, link)) = next else { return Ok((proof, None)) };
        path = below;
        rlp = follow(nodes, owner, &path, &link)?;
        if link.is_hash() {
            proof.push(rlp.clone());
        }
    }
}
