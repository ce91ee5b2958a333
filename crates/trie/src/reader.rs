//! Where nodes live: which trie, at which path, and the key that a store keeps them under.

use crate::{TrieError, path::MAX_LEN};
use alloy_primitives::{B256, Bytes};
use alloy_trie::Nibbles;
use std::collections::{BTreeMap, BTreeSet};
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

/// The nodes of one block's tries, by path.
pub trait NodeReader: Sync {
    /// The RLP of the node at `path`; `None` if there is none, which at the empty path means an empty trie.
    ///
    /// # Errors
    /// [`TrieError::Read`] when the store cannot answer.
    fn node(&self, owner: &Owner, path: &Nibbles) -> Result<Option<Bytes>, TrieError>;

    /// Whether the node at `path` is one that [`update`](crate::update) made and that never left this
    /// process's memory. Others are checked against the hash that names them, at a third of an update's cost.
    fn is_trusted(&self, _owner: &Owner, _path: &Nibbles) -> bool {
        false
    }
}

impl<T: NodeReader + ?Sized> NodeReader for &T {
    fn node(&self, owner: &Owner, path: &Nibbles) -> Result<Option<Bytes>, TrieError> {
        (**self).node(owner, path)
    }
    fn is_trusted(&self, owner: &Owner, path: &Nibbles) -> bool {
        (**self).is_trusted(owner, path)
    }
}

impl<T: NodeReader + ?Sized> NodeReader for Box<T> {
    fn node(&self, owner: &Owner, path: &Nibbles) -> Result<Option<Bytes>, TrieError> {
        (**self).node(owner, path)
    }
    fn is_trusted(&self, owner: &Owner, path: &Nibbles) -> bool {
        (**self).is_trusted(owner, path)
    }
}

impl<T: NodeReader + Send + ?Sized> NodeReader for Arc<T> {
    fn node(&self, owner: &Owner, path: &Nibbles) -> Result<Option<Bytes>, TrieError> {
        (**self).node(owner, path)
    }
    fn is_trusted(&self, owner: &Owner, path: &Nibbles) -> bool {
        (**self).is_trusted(owner, path)
    }
}

/// What a change of the state does to the stored nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrieUpdate {
    /// Changed nodes; `None` for a node that is gone.
    pub nodes: BTreeMap<(Owner, Nibbles), Option<Bytes>>,
    /// Hashed addresses whose storage tries are dropped entirely, *before* `nodes` is applied.
    pub wiped: BTreeSet<B256>,
}

impl TrieUpdate {
    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty() && self.wiped.is_empty()
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
