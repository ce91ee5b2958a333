//! Where nodes live: which trie, at which path, and the key that a store keeps them under.

use crate::merge::Merged;
use crate::{TrieError, path::MAX_LEN};
use alloy_primitives::{B256, Bytes, keccak256};
use alloy_trie::Nibbles;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// Which trie a node belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    /// The account trie.
    State,
    /// The storage trie of the account with this hashed address.
    Storage(B256),
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::State => f.write_str("state"),
            Self::Storage(hashed) => write!(f, "storage of {hashed}"),
        }
    }
}

/// The RLP of a node that was asked for by its hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Linked {
    /// It is known to have the hash: an update made it, or it was checked before, and it never left the
    /// process's memory since.
    Sound(Bytes),
    /// It is for the caller to check.
    Unchecked(Bytes),
}

/// The nodes of one block's tries, by path.
pub trait NodeReader: Sync {
    /// The RLP of the node at `path`; `None` if there is none, which at the empty path means an empty trie.
    ///
    /// # Errors
    /// [`TrieError::Read`] when the store cannot answer.
    fn node(&self, owner: &Owner, path: &Nibbles) -> Result<Option<Bytes>, TrieError>;

    /// The node at `path` that its parent names by `hash`.
    ///
    /// # Errors
    /// [`TrieError::Read`] when the store cannot answer.
    fn linked(&self, owner: &Owner, path: &Nibbles, _hash: &B256) -> Result<Option<Linked>, TrieError> {
        Ok(self.node(owner, path)?.map(Linked::Unchecked))
    }

    /// A node that [`Self::linked`] gave unchecked has this hash indeed.
    fn checked(&self, _owner: &Owner, _path: &Nibbles, _hash: &B256, _rlp: &Bytes) {}

    /// A trie's root node and its hash; `None` for an empty trie.
    ///
    /// # Errors
    /// [`TrieError::Read`] when the store cannot answer.
    fn root(&self, owner: &Owner) -> Result<Option<(B256, Bytes)>, TrieError> {
        Ok(self.node(owner, &Nibbles::new())?.map(|rlp| (keccak256(&rlp), rlp)))
    }
}

impl<T: NodeReader + ?Sized> NodeReader for &T {
    fn node(&self, owner: &Owner, path: &Nibbles) -> Result<Option<Bytes>, TrieError> {
        (**self).node(owner, path)
    }
    fn linked(&self, owner: &Owner, path: &Nibbles, hash: &B256) -> Result<Option<Linked>, TrieError> {
        (**self).linked(owner, path, hash)
    }
    fn checked(&self, owner: &Owner, path: &Nibbles, hash: &B256, rlp: &Bytes) {
        (**self).checked(owner, path, hash, rlp);
    }
    fn root(&self, owner: &Owner) -> Result<Option<(B256, Bytes)>, TrieError> {
        (**self).root(owner)
    }
}

impl<T: NodeReader + ?Sized> NodeReader for Box<T> {
    fn node(&self, owner: &Owner, path: &Nibbles) -> Result<Option<Bytes>, TrieError> {
        (**self).node(owner, path)
    }
    fn linked(&self, owner: &Owner, path: &Nibbles, hash: &B256) -> Result<Option<Linked>, TrieError> {
        (**self).linked(owner, path, hash)
    }
    fn checked(&self, owner: &Owner, path: &Nibbles, hash: &B256, rlp: &Bytes) {
        (**self).checked(owner, path, hash, rlp);
    }
    fn root(&self, owner: &Owner) -> Result<Option<(B256, Bytes)>, TrieError> {
        (**self).root(owner)
    }
}

impl<T: NodeReader + Send + ?Sized> NodeReader for Arc<T> {
    fn node(&self, owner: &Owner, path: &Nibbles) -> Result<Option<Bytes>, TrieError> {
        (**self).node(owner, path)
    }
    fn linked(&self, owner: &Owner, path: &Nibbles, hash: &B256) -> Result<Option<Linked>, TrieError> {
        (**self).linked(owner, path, hash)
    }
    fn checked(&self, owner: &Owner, path: &Nibbles, hash: &B256, rlp: &Bytes) {
        (**self).checked(owner, path, hash, rlp);
    }
    fn root(&self, owner: &Owner) -> Result<Option<(B256, Bytes)>, TrieError> {
        (**self).root(owner)
    }
}

/// What a change of the state does to the stored nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrieUpdate {
    /// Changed nodes, each path once, those of one trie together; `None` for a node that is gone.
    pub nodes: Vec<((Owner, Nibbles), Option<Bytes>)>,
    /// Hashed addresses whose storage tries are dropped entirely, *before* `nodes` is applied.
    pub wiped: BTreeSet<B256>,
    /// The hash of each of `nodes`, in their order, zero for those that are gone; nothing where they are not
    /// known.
    pub(crate) hashes: Vec<B256>,
}

impl TrieUpdate {
    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty() && self.wiped.is_empty()
    }

    /// Adds what a pass over the trie of `owner` did.
    pub(crate) fn push(&mut self, owner: Owner, merged: Merged) {
        if let (true, Owner::Storage(hashed)) = (merged.wiped, owner) {
            self.wiped.insert(hashed);
        }
        self.nodes.extend(merged.gone.into_iter().map(|path| ((owner, path), None)));
        self.hashes.resize(self.nodes.len(), B256::ZERO);
        for (path, rlp, hash) in merged.fresh.into_nodes() {
            self.nodes.push(((owner, path), Some(rlp)));
            self.hashes.push(hash);
        }
    }

    /// The nodes with their hashes, if these are known; zero for a node that is gone.
    pub(crate) fn hashed_nodes(&self) -> impl Iterator<Item = (&Owner, &Nibbles, Option<&Bytes>, &B256)> {
        let nodes = self.nodes.iter().zip(&self.hashes);
        nodes.map(|(((owner, path), node), hash)| (owner, path, node.as_ref(), hash))
    }
}

const STATE: u8 = 0;
const STORAGE: u8 = 1;
const EVEN: u8 = 0;
const ODD: u8 = 1;

/// The key of a node in an ordered store: the owner (`0`, or `1` and the hashed address), the path packed two
/// nibbles to a byte, and one byte that is 1 if the last nibble is padding. All nodes of one trie are
/// contiguous, and so are those of one subtree but for its root.
pub fn node_key(owner: &Owner, path: &Nibbles) -> Vec<u8> {
    let mut key = Vec::with_capacity(67);
    match owner {
        Owner::State => key.push(STATE),
        Owner::Storage(hashed) => key.extend_from_slice(&storage_prefix(hashed)),
    }
    key.extend_from_slice(&path.pack());
    key.push(if path.len().is_multiple_of(2) { EVEN } else { ODD });
    key
}

/// The prefix that the keys of all nodes of one storage trie share, and no other key has.
pub fn storage_prefix(hashed_address: &B256) -> [u8; 33] {
    let mut prefix = [STORAGE; 33];
    for (to, from) in prefix.iter_mut().skip(1).zip(hashed_address) {
        *to = *from;
    }
    prefix
}

/// The inverse of [`node_key`]; `None` for bytes that it never makes.
pub fn decode_node_key(key: &[u8]) -> Option<(Owner, Nibbles)> {
    let (owner, rest) = match key.split_first()? {
        (&STATE, rest) => (Owner::State, rest),
        (&STORAGE, rest) => {
            let (hashed, rest) = rest.split_first_chunk::<32>()?;
            (Owner::Storage(B256::from(hashed)), rest)
        }
        _ => return None,
    };
    let (parity, packed) = rest.split_last()?;
    if packed.len() * 2 > MAX_LEN {
        return None;
    }
    let mut path = Nibbles::unpack(packed);
    match *parity {
        EVEN => Some((owner, path)),
        ODD => (path.pop()? == 0).then_some((owner, path)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_keys_are_unique_and_decode() {
        let owners = [Owner::State, Owner::Storage(B256::ZERO), Owner::Storage(B256::repeat_byte(0xff))];
        let paths: [&[u8]; 7] = [&[], &[0], &[0, 0], &[1], &[1, 0], &[1, 0, 0, 1], &[0xf; 64]];
        let mut seen = BTreeSet::new();
        for owner in owners {
            for path in paths {
                let path = Nibbles::from_nibbles(path);
                let key = node_key(&owner, &path);
                assert_eq!(decode_node_key(&key), Some((owner, path)));
                if let Owner::Storage(hashed) = owner {
                    assert!(key.starts_with(&storage_prefix(&hashed)));
                }
                assert!(seen.insert(key));
            }
        }
    }

    #[test]
    fn foreign_keys_are_refused() {
        for key in [&[][..], &[0], &[2, 0], &[1, 1, 1, 0], &[0, 0x11, 1], &[0, 0x11, 2], &[0; 35]] {
            assert_eq!(decode_node_key(key), None, "{key:?}");
        }
    }
}
