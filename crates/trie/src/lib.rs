//! The Merkle Patricia trie as derived data: nodes are kept *by path* for one block, and the next root is
//! computed from what a block changed, at a cost that grows with the change and not with the state.
//!
//! [`update`] is one pass: the sorted changes descend together, each old node on their way is read once, and
//! nodes are encoded on the way back up and hashed together at the end, so no trie is held in memory. [`Layer`]
//! keeps the nodes that are not in the store yet, and [`Overlay`] stacks it on whatever lies below; [`NodeCache`]
//! spares reading and checking the others again. [`prove`] answers EIP-1186, [`verify_range`] checks the ranges of
//! `snap/1`, and [`Builder`] makes a trie of leaves that come in order. [`FullRoot`] computes the root from the whole
//! state, by other code, to check the rest.
//!
//! What must hold of a set of nodes: the root has an entry when the trie is not empty, however short it is;
//! any other node has one exactly if its RLP has at least 32 bytes, since a shorter one is inlined in its
//! parent.
//!
//! Pure: nodes are read through [`NodeReader`], changes are returned as a [`TrieUpdate`].

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

mod builder;
mod cache;
mod changes;
mod error;
mod fresh;
mod layer;
mod merge;
mod node;
mod path;
mod proof;
mod range;
mod reader;
mod scratch;
mod update;

pub use alloy_consensus::proofs::{
    calculate_ommers_root as ommers_root, calculate_receipt_root as receipts_root,
    calculate_transaction_root as transactions_root, calculate_withdrawals_root as withdrawals_root,
    ordered_trie_root as ordered_root,
};
pub use alloy_trie::{EMPTY_ROOT_HASH, Nibbles, TrieAccount};
pub use builder::Builder;
pub use cache::{Cached, NodeCache};
pub use changes::{AccountChange, TrieChanges};
pub use error::TrieError;
pub use layer::{Layer, Overlay};
pub use proof::{AccountProof, StorageProof, prove};
pub use range::{RangeError, verify_range};
pub use reader::{Linked, NodeReader, Owner, TrieUpdate, decode_node_key, node_key, storage_prefix};
pub use scratch::{FullRoot, root_from_scratch};
pub use update::{state_root, update, update_with};
