//! What can go wrong: the store does not answer, or its nodes do not form a trie.

use crate::Owner;
use alloy_trie::Nibbles;
use quintet_types::StateError;

/// A failed trie operation. All but [`TrieError::Read`] mean that the stored nodes are damaged and must be
/// rebuilt from the state; none says anything about the block at hand.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TrieError {
    /// The store could not answer.
    #[error("trie node read failed: {0}")]
    Read(#[from] StateError),
    /// A node that its parent names has no entry.
    #[error("trie node missing: {owner} at {path:?}")]
    Missing {
        /// The trie that lacks it.
        owner: Owner,
        /// Where the node should be.
        path: Nibbles,
    },
    /// A node is not the one that its parent, or its account, names.
    #[error("trie node of another hash: {owner} at {path:?}")]
    HashMismatch {
        /// The trie that holds it.
        owner: Owner,
        /// Where the node is.
        path: Nibbles,
    },
    /// A node's bytes are no node that can stand at this path.
    #[error("trie node corrupt: {owner} at {path:?}: {reason}")]
    Corrupt {
        /// The trie that holds it.
        owner: Owner,
        /// Where the node is.
        path: Nibbles,
        /// What is wrong with it.
        reason: &'static str,
    },
}
