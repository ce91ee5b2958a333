//! Range proofs as `snap/1` has them: that certain leaves are all that a trie holds from one key to another.
//!
//! A proof is the nodes on the ways to both ends of the range. Each is named by its hash in the one above, the first
//! by the root, so what they say is true. A subtree that they refer to lies outside of the range, or on the way to
//! one of its ends and is in the proof, or wholly inside: then the leaves given for it must make the very hash. So
//! work is linear in what is given, whatever that is.

use crate::builder::Subtree;
use crate::node::{Node, link_hash};
use crate::path::{MAX_LEN, child, join};
use alloy_primitives::{B256, Bytes, keccak256};
use alloy_trie::nodes::RlpNode;
use alloy_trie::{EMPTY_ROOT_HASH, Nibbles};
use std::collections::BTreeMap;

/// Why leaves are not shown to be a whole range, which is always their sender's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// Each key has one value.
    #[error("{keys} keys with {values} values")]
    Lengths {
        /// How many keys there are.
        keys: usize,
        /// How many values there are.
        values: usize,
    },
    /// A key is before the range's origin.
    #[error("key {0} is before the range")]
    BeforeOrigin(B256),
    /// A key is not above the one before it.
    #[error("key {0} is out of order")]
    Unordered(B256),
    /// No leaf has an empty value.
    #[error("key {0} has an empty value")]
    EmptyValue(B256),
    /// Leaves without a proof make another trie.
    #[error("leaves make the root {computed} instead of {root}")]
    RootMismatch {
        /// The root they were to make.
        root: B256,
        /// The root they make.
        computed: B256,
    },
    /// A node on the way to an end of the range is not in the proof.
    #[error("proof lacks the node {hash} at {path:?}")]
    Missing {
        /// Where the node is.
        path: Nibbles,
        /// Its hash.
        hash: B256,
    },
    /// A node of the proof cannot stand where its hash is named.
    #[error("proof node at {path:?} is none: {reason}")]
    Malformed {
        /// Where the node is.
        path: Nibbles,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The leaves under a path are not those of the trie.
    #[error("leaves under {path:?} are not those of the trie")]
    Mismatch {
        /// The path.
        path: Nibbles,
    },
    /// No leaves were given, but the trie has some.
    #[error("no leaves given, but the trie has some at or after the origin, under {path:?}")]
    Withheld {
        /// Where the first of them is.
        path: Nibbles,
    },
}

/// Checks that `keys` with `values` (as the leaves hold them) are all leaves of the trie with this root from `origin`
/// to the last key, or without keys that there are none from `origin` on. Returns whether the trie has leaves behind
/// the last key.
///
/// The proof has the nodes on the ways to `origin`, which need not be there, and to the last key, in any order; what
/// else it has is passed over, as in geth. No proof at all means that the keys are the whole trie.
///
/// # Errors
/// What is wrong with the leaves or the proof.
pub fn verify_range(
    root: B256,
    origin: &B256,
    keys: &[B256],
    values: &[Bytes],
    proof: &[Bytes],
) -> Result<bool, RangeError> {
    let leaves = Leaves::new(origin, keys, values)?;
    if proof.is_empty() {
        let computed = leaves.build(0).map_or(EMPTY_ROOT_HASH, keccak256);
        return if computed == root { Ok(false) } else { Err(RangeError::RootMismatch { root, computed }) };
    }
    let mut walk = Walk {
        nodes: proof.iter().map(|node| (keccak256(node), node)).collect(),
        origin: Nibbles::unpack_array(&origin.0),
        last: keys.last().map(|last| Nibbles::unpack_array(&last.0)),
        more: false,
    };
    walk.subtree(&Nibbles::new(), &RlpNode::word_rlp(&root), leaves)?;
    Ok(walk.more)
}

/// Leaves in the order of their keys.
#[derive(Clone, Copy)]
struct Leaves<'a> {
    keys: &'a [B256],
    values: &'a [Bytes],
}

impl<'a> Leaves<'a> {
    /// Checks all that can be said of leaves by themselves.
    fn new(origin: &B256, keys: &'a [B256], values: &'a [Bytes]) -> Result<Self, RangeError> {
        if keys.len() != values.len() {
            return Err(RangeError::Lengths { keys: keys.len(), values: values.len() });
        }
        if let Some(first) = keys.first().filter(|first| *first < origin) {
            return Err(RangeError::BeforeOrigin(*first));
        }
        if let Some((_, key)) = keys.iter().zip(keys.iter().skip(1)).find(|(before, key)| before >= key) {
            return Err(RangeError::Unordered(*key));
        }
        match keys.iter().zip(values).find(|(_, value)| value.is_empty()) {
            Some((key, _)) => Err(RangeError::EmptyValue(*key)),
            None => Ok(Self { keys, values }),
        }
    }

    const fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Those before a place, and the others.
    fn split(self, at: usize) -> (Self, Self) {
        let (keys, later_keys) = self.keys.split_at_checked(at).unwrap_or((self.keys, &[]));
        let (values, later_values) = self.values.split_at_checked(at).unwrap_or((self.values, &[]));
        (Self { keys, values }, Self { keys: later_keys, values: later_values })
    }

    /// Those that begin with `path`, which is not before that of the first, and the others.
    fn split_under(self, path: &Nibbles) -> (Self, Self) {
        self.split(self.keys.partition_point(|key| Nibbles::unpack_array(&key.0).starts_with(path)))
    }

    /// The topmost node of the subtree that these leaves make at a path of `base` nibbles, all of which they share.
    fn build(&self, base: usize) -> Option<Vec<u8>> {
        let mut tree = Subtree::new(base);
        for (key, value) in self.keys.iter().zip(self.values) {
            tree.push(Nibbles::unpack_array(&key.0), value, &mut |_, _| ());
        }
        tree.finish(&mut |_, _| ())
    }
}

/// Where a subtree is.
enum Place {
    Before,
    Inside,
    Behind,
    /// On the way to an end of the range.
    Edge,
}

/// The way down both ends of a range.
struct Walk<'a> {
    nodes: BTreeMap<B256, &'a Bytes>,
    origin: Nibbles,
    /// The range's last key; `None` if it has no end.
    last: Option<Nibbles>,
    /// Whether something is behind the last key.
    more: bool,
}

impl Walk<'_> {
    /// Where the keys that begin with `path` are.
    fn place(&self, path: &Nibbles) -> Place {
        if self.origin.starts_with(path) || self.last.is_some_and(|last| last.starts_with(path)) {
            Place::Edge
        } else if *path < self.origin {
            Place::Before
        } else if self.last.is_some_and(|last| *path > last) {
            Place::Behind
        } else {
            Place::Inside
        }
    }

    /// Checks the subtree at `path` that `link` refers to against the leaves given under it.
    fn subtree(&mut self, path: &Nibbles, link: &[u8], leaves: Leaves<'_>) -> Result<(), RangeError> {
        if link.is_empty() {
            return self.expect(leaves.is_empty(), path);
        }
        match self.place(path) {
            Place::Before => self.expect(leaves.is_empty(), path),
            Place::Behind => {
                self.more = true;
                self.expect(leaves.is_empty(), path)
            }
            Place::Inside => {
                let built = leaves.build(path.len());
                self.expect(built.is_some_and(|node| RlpNode::from_rlp(&node).as_slice() == link), path)
            }
            Place::Edge => {
                let node = self.resolve(path, link)?;
                self.node(path, node, leaves)
            }
        }
    }

    /// As [`Self::subtree`], for one whose topmost node is known.
    fn node(&mut self, path: &Nibbles, node: Node, leaves: Leaves<'_>) -> Result<(), RangeError> {
        match node {
            Node::Leaf { key, value } => {
                let key = join(path, &key).filter(|key| key.len() == MAX_LEN);
                let key = key.ok_or_else(|| malformed(path, "key of a wrong length"))?;
                let given = match (leaves.keys, leaves.values) {
                    ([given], [with]) => *with == value && Nibbles::unpack_array(&given.0) == key,
                    _ => false,
                };
                // A leaf behind the last key shares its path with that key, which the trie lacks then.
                self.expect(if key < self.origin { leaves.is_empty() } else { given }, path)
            }
            Node::Extension { key, child } => {
                let full = join(path, &key).ok_or_else(|| malformed(path, "deeper than keys are long"))?;
                let before = leaves.keys.first().is_some_and(|first| Nibbles::unpack_array(&first.0) < full);
                let (under, others) = leaves.split_under(&full);
                self.expect(!before && others.is_empty(), path)?;
                self.subtree(&full, &child, under)
            }
            Node::Branch(links) => {
                let mut rest = leaves;
                for nibble in 0..16 {
                    let path =
                        child(path, nibble).ok_or_else(|| malformed(path, "deeper than keys are long"))?;
                    let (under, others) = rest.split_under(&path);
                    self.subtree(&path, links.get(nibble), under)?;
                    rest = others;
                }
                self.expect(rest.is_empty(), path)
            }
        }
    }

    /// Reads the node that `link` refers to.
    fn resolve(&self, path: &Nibbles, link: &[u8]) -> Result<Node, RangeError> {
        let node = match link_hash(link) {
            None => Node::decode(&Bytes::copy_from_slice(link)),
            Some(hash) => {
                let node = self.nodes.get(&hash).ok_or(RangeError::Missing { path: *path, hash })?;
                Node::decode(node)
            }
        };
        node.map_err(|reason| malformed(path, reason))
    }

    /// An error unless the leaves given under `path` are those of the trie.
    fn expect(&self, holds: bool, path: &Nibbles) -> Result<(), RangeError> {
        match self.last {
            _ if holds => Ok(()),
            Some(_) => Err(RangeError::Mismatch { path: *path }),
            None => Err(RangeError::Withheld { path: *path }),
        }
    }
}

const fn malformed(path: &Nibbles, reason: &'static str) -> RangeError {
    RangeError::Malformed { path: *path, reason }
}
