//! What is asked of peers for a state.

use alloy_primitives::{B256, Bytes};
use quintet_trie::{Nibbles, Owner};

/// A node of the trie that is wanted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct NodeAt {
    /// Whose trie.
    pub(crate) owner: Owner,
    /// Where in it.
    pub(crate) path: Nibbles,
    /// What it hashes to.
    pub(crate) hash: B256,
}

/// An account whose slots are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SlotsOf {
    /// The hash of its address.
    pub(crate) account: B256,
    /// The root of its storage trie.
    pub(crate) root: B256,
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Accounts from one hash to another.
    Accounts {
        /// The part of the state.
        task: usize,
        /// The first.
        origin: B256,
        /// The last.
        limit: B256,
    },
    /// Slots of accounts of one part of the state.
    Slots {
        /// The part.
        task: usize,
        /// Whose.
        accounts: Vec<SlotsOf>,
        /// Where the first account's begin.
        origin: B256,
    },
    /// Codes by their hashes.
    Codes(Vec<B256>),
    /// Nodes, those of one trie together.
    Nodes(Vec<NodeAt>),
}

impl Ask {
    /// Its name among metrics.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Accounts { .. } => "account_range",
            Self::Slots { .. } => "storage_ranges",
            Self::Codes(_) => "byte_codes",
            Self::Nodes(_) => "trie_nodes",
        }
    }
}

/// The paths of a request for nodes, as snap/1 groups them: those of the account trie by themselves, those of a storage trie
/// behind the account's hash.
pub(crate) fn path_sets(nodes: &[NodeAt]) -> Vec<Vec<Bytes>> {
    let mut sets: Vec<Vec<Bytes>> = Vec::new();
    let mut account = None;
    for NodeAt { owner, path, .. } in nodes {
        let path = compact(path);
        match owner {
            Owner::State => {
                account = None;
                sets.push(vec![path]);
            }
            Owner::Storage(hashed) => {
                if account.replace(*hashed) != Some(*hashed) {
                    sets.push(vec![Bytes::copy_from_slice(hashed.as_slice())]);
                }
                if let Some(set) = sets.last_mut() {
                    set.push(path);
                }
            }
        }
    }
    sets
}

/// A path in compact encoding, without the flag of a value (yellow paper, appendix C).
fn compact(path: &Nibbles) -> Bytes {
    let odd = path.len() % 2 == 1;
    let first = if odd { path.first().map_or(0x10, |nibble| 0x10 | nibble) } else { 0 };
    let rest = path.slice(usize::from(odd)..);
    std::iter::once(first).chain(rest.pack()).collect::<Vec<u8>>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(owner: Owner, path: &[u8]) -> NodeAt {
        NodeAt { owner, path: Nibbles::from_nibbles(path), hash: B256::ZERO }
    }

    #[test]
    fn paths_are_compact_and_those_of_one_storage_trie_together() {
        let one = Owner::Storage(B256::repeat_byte(1));
        let two = Owner::Storage(B256::repeat_byte(2));
        let nodes = [
            at(Owner::State, &[]),
            at(Owner::State, &[5]),
            at(one, &[]),
            at(one, &[1, 2]),
            at(two, &[1, 2, 3]),
            at(one, &[4]),
        ];
        let bytes = |bytes: &[u8]| Bytes::copy_from_slice(bytes);
        let (one, two) = (bytes(&[1; 32]), bytes(&[2; 32]));
        assert_eq!(
            path_sets(&nodes),
            [
                vec![bytes(&[0])],
                vec![bytes(&[0x15])],
                vec![one.clone(), bytes(&[0]), bytes(&[0, 0x12])],
                vec![two, bytes(&[0x11, 0x23])],
                vec![one, bytes(&[0x14])],
            ]
        );
    }
}
