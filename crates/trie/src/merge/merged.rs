//! What passes leave, and their end: the nodes that they read are checked and those that they made are hashed, all
//! at once.

use crate::fresh::{FreshNodes, hash_all, hash_in_parallel};
use crate::{NodeReader, Owner, TrieError};
use alloy_primitives::{B256, Bytes};
use alloy_trie::Nibbles;

/// What a pass did, before its new nodes are hashed.
#[derive(Debug)]
pub(crate) struct Merged {
    pub(crate) old_root: B256,
    pub(super) root: Root,
    /// Whether there were nodes that must be dropped before the others are applied.
    pub(crate) wiped: bool,
    pub(crate) fresh: FreshNodes,
    /// Where nodes are no more.
    pub(crate) gone: Vec<Nibbles>,
    /// Nodes that the pass read and took for what they should be.
    pub(super) unchecked: Vec<Unchecked>,
}

/// A node that must have this hash.
#[derive(Debug)]
pub(super) struct Unchecked {
    pub(super) path: Nibbles,
    pub(super) hash: B256,
    pub(super) rlp: Bytes,
}

/// What a trie's root is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Root {
    Known(B256),
    Fresh(usize),
}

impl Merged {
    /// The new root, once the new nodes are hashed.
    pub(crate) fn root(&self) -> B256 {
        match self.root {
            Root::Known(root) => root,
            Root::Fresh(at) => self.fresh.hash(at),
        }
    }
}

/// Ends the passes over these tries: checks what they read, and hashes what they made.
///
/// # Errors
/// [`TrieError::HashMismatch`] when a node is not the one that its parent names.
pub(crate) fn seal(reader: &dyn NodeReader, passes: &mut [(Owner, Merged)]) -> Result<(), TrieError> {
    let read =
        passes.iter().flat_map(|(owner, merged)| merged.unchecked.iter().map(move |node| (owner, node)));
    let read: Vec<_> = read.collect();
    let inputs: Vec<&[u8]> = read.iter().map(|(_, node)| &node.rlp[..]).collect();
    for ((owner, node), hash) in read.iter().zip(hash_in_parallel(&inputs)) {
        if node.hash != hash {
            return Err(TrieError::HashMismatch { owner: **owner, path: node.path });
        }
        reader.checked(owner, &node.path, &hash, &node.rlp);
    }
    hash_all(&mut passes.iter_mut().map(|(_, merged)| &mut merged.fresh).collect::<Vec<_>>());
    Ok(())
}
