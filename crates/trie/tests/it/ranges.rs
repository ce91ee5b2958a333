//! Ranges cut from tries, true ones and forged ones.

use crate::leaves::{self, Leaves, any_key, any_leaves, hashed_leaves, prove};
use crate::model::Flat;
use alloy_primitives::{B256, Bytes, U256};
use proptest::prelude::*;
use proptest::sample::Index;
use quintet_trie::{EMPTY_ROOT_HASH, RangeError, verify_range};

/// A trie to cut from.
struct Trie {
    leaves: Leaves,
    nodes: Flat,
    root: B256,
}

#[derive(Clone, Debug)]
struct Range {
    origin: B256,
    keys: Vec<B256>,
    values: Vec<Bytes>,
    proof: Vec<Bytes>,
}

impl Trie {
    fn new(leaves: Leaves) -> Self {
        Self { nodes: leaves::nodes(&leaves), root: leaves::root(&leaves), leaves }
    }

    /// At most `most` leaves from `origin` on, as an honest peer gives them.
    fn cut(&self, origin: B256, most: usize) -> Range {
        let leaves: Vec<_> = self.leaves.range(origin..).take(most).collect();
        let keys: Vec<B256> = leaves.iter().map(|(key, _)| **key).collect();
        let mut proof = prove(&self.nodes, &origin);
        proof.extend(keys.last().map(|last| prove(&self.nodes, last)).unwrap_or_default());
        Range { origin, values: leaves.iter().map(|(_, value)| leaves::value(value)).collect(), keys, proof }
    }

    fn verify(&self, range: &Range) -> Result<bool, RangeError> {
        verify_range(self.root, &range.origin, &range.keys, &range.values, &range.proof)
    }

    /// Whether the leaves are all from the origin to the last key, and there are more behind; `None` if they are not.
    fn truth(&self, range: &Range) -> Option<bool> {
        let from = self.leaves.range(range.origin..).map(|(key, value)| (*key, leaves::value(value)));
        let mut given = range.keys.iter().copied().zip(range.values.iter().cloned());
        let count = if range.keys.is_empty() { usize::MAX } else { range.keys.len() };
        let same = range.keys.len() == range.values.len() && from.take(count).eq(&mut given);
        same.then(|| range.keys.last().is_some_and(|last| self.leaves.keys().any(|key| key > last)))
    }

    /// Whether the range's proof is what an honest peer gives, or more.
    fn is_proven(&self, range: &Range) -> bool {
        let ends = [Some(&range.origin), range.keys.last()].into_iter().flatten();
        let whole = range.keys.iter().eq(self.leaves.keys());
        let mut nodes = ends.flat_map(|end| prove(&self.nodes, end));
        if range.proof.is_empty() { whole } else { nodes.all(|node| range.proof.contains(&node)) }
    }
}

/// What a forger does to a range.
#[derive(Clone, Debug)]
enum Forgery {
    Drop(Index),
    DropFirst,
    DropLast,
    DropValue,
    Change(Index, Bytes),
    Empty(Index),
    Add(B256, Bytes),
    Swap(Index, Index),
    Twice(Index),
    Origin(B256),
    Move(Index, B256),
    NodeGone(Index),
    NodeChanged(Index, Index, u8),
    NoProof,
    Shuffled,
    Proven,
}

fn forgery() -> impl Strategy<Value = Forgery> {
    let at = any::<Index>;
    let value = prop_oneof![leaves::any_value().prop_map(|value| leaves::value(&value)), Just(Bytes::new())];
    prop_oneof![
        at().prop_map(Forgery::Drop),
        Just(Forgery::DropFirst),
        Just(Forgery::DropLast),
        Just(Forgery::DropValue),
        (at(), value.clone()).prop_map(|(at, value)| Forgery::Change(at, value)),
        at().prop_map(Forgery::Empty),
        (any_key(), value).prop_map(|(key, value)| Forgery::Add(key, value)),
        (at(), at()).prop_map(|(one, other)| Forgery::Swap(one, other)),
        at().prop_map(Forgery::Twice),
        any_key().prop_map(Forgery::Origin),
        (at(), any_key()).prop_map(|(at, key)| Forgery::Move(at, key)),
        at().prop_map(Forgery::NodeGone),
        (at(), at(), 1..=255u8).prop_map(|(node, byte, by)| Forgery::NodeChanged(node, byte, by)),
        Just(Forgery::NoProof),
        Just(Forgery::Shuffled),
        Just(Forgery::Proven),
    ]
}

impl Forgery {
    fn apply(&self, range: &mut Range, trie: &Trie) {
        let (keys, values, proof) = (&mut range.keys, &mut range.values, &mut range.proof);
        let count = keys.len();
        match self {
            Self::Add(key, value) => {
                let at = keys.partition_point(|before| before < key);
                keys.insert(at, *key);
                values.insert(at.min(values.len()), value.clone());
            }
            Self::Origin(origin) => range.origin = *origin,
            Self::NoProof => proof.clear(),
            Self::Proven => {
                let ends = [Some(&range.origin), keys.last()].into_iter().flatten();
                *proof = ends.flat_map(|end| prove(&trie.nodes, end)).collect();
            }
            Self::Shuffled => {
                proof.reverse();
                proof.push(Bytes::from_static(b"no node at all"));
                proof.extend(proof.first().cloned());
            }
            Self::DropValue => drop(values.pop()),
            Self::NodeGone(at) if !proof.is_empty() => {
                let gone = proof[at.index(proof.len())].clone();
                proof.retain(|node| *node != gone);
            }
            Self::NodeChanged(at, byte, by) if !proof.is_empty() => {
                let at = at.index(proof.len());
                let (before, mut node) = (proof[at].clone(), proof[at].to_vec());
                let byte = byte.index(node.len());
                node[byte] ^= by;
                proof.iter_mut().filter(|node| **node == before).for_each(|to| *to = node.clone().into());
            }
            _ if count == 0 || values.len() != count => {}
            Self::Drop(at) => remove(keys, values, at.index(count)),
            Self::DropFirst => remove(keys, values, 0),
            Self::DropLast => remove(keys, values, count - 1),
            Self::Change(at, value) => values[at.index(count)] = value.clone(),
            Self::Empty(at) => values[at.index(count)] = Bytes::new(),
            Self::Swap(one, other) => keys.swap(one.index(count), other.index(count)),
            Self::Twice(at) => {
                let at = at.index(count);
                keys.insert(at, keys[at]);
                values.insert(at, values[at].clone());
            }
            Self::Move(at, key) => keys[at.index(count)] = *key,
            Self::NodeGone(_) | Self::NodeChanged(..) => {}
        }
    }
}

fn remove(keys: &mut Vec<B256>, values: &mut Vec<Bytes>, at: usize) {
    keys.remove(at);
    values.remove(at);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn true_ranges_are_taken(leaves in any_leaves(60), origin in any_key(), most in 0..20usize) {
        let trie = Trie::new(leaves);
        prop_assume!(!trie.leaves.is_empty());
        let origins = trie.leaves.keys().copied().chain([origin, B256::ZERO, B256::repeat_byte(0xff)]);
        for origin in origins.collect::<Vec<_>>() {
            let range = trie.cut(origin, most);
            let told = trie.verify(&range);
            prop_assert_eq!(told.clone().ok(), trie.truth(&range), "{:?}: {:?}", range, told);
            // Nothing was asked for where something is.
            let withheld = matches!(told, Err(RangeError::Withheld { .. }));
            prop_assert!(told.is_ok() || withheld, "{:?}", told);
        }
        let mut whole = trie.cut(B256::ZERO, usize::MAX);
        whole.proof.clear();
        prop_assert_eq!(trie.verify(&whole), Ok(false));
    }

    /// Whatever is done to a range: it is taken exactly if it is true and its proof is whole.
    #[test]
    fn forged_ranges_are_refused(
        leaves in any_leaves(40), origin in any_key(), start in any::<Option<Index>>(), most in 0..20usize,
        forgeries in prop::collection::vec(forgery(), 1..4),
    ) {
        let trie = Trie::new(leaves);
        prop_assume!(!trie.leaves.is_empty());
        let start = start.map(|at| *trie.leaves.keys().nth(at.index(trie.leaves.len())).unwrap());
        let mut range = trie.cut(start.unwrap_or(origin), most);
        for forgery in &forgeries {
            forgery.apply(&mut range, &trie);
        }
        let truth = trie.truth(&range).filter(|_| trie.is_proven(&range));
        let told = trie.verify(&range);
        prop_assert_eq!(told.clone().ok(), truth, "{:?}", told);
    }

    #[test]
    fn any_bytes_for_nodes_are_refused(
        leaves in any_leaves(10), key in any_key(),
        bytes in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 1..5),
    ) {
        // The first are the root, so that they are read at all.
        let proof: Vec<Bytes> = bytes.into_iter().map(Bytes::from).collect();
        let (keys, values): (Vec<B256>, Vec<Bytes>) =
            leaves.iter().map(|(key, value)| (*key, leaves::value(value))).unzip();
        let root = alloy_primitives::keccak256(&proof[0]);
        prop_assert!(verify_range(root, &B256::ZERO, &keys, &values, &proof).is_err());
        prop_assert!(verify_range(root, &key, &[], &[], &proof).is_err());
    }
}

/// Each node of a proof is needed, and none can be another.
#[test]
fn every_node_counts() {
    let trie = Trie::new(hashed_leaves(500));
    let keys: Vec<B256> = trie.leaves.keys().copied().collect();
    let range = trie.cut(keys[100], 50);
    assert_eq!(trie.verify(&range), Ok(true));
    let mut different = range.proof.clone();
    different.sort_unstable();
    different.dedup();
    for node in &different {
        let mut without = range.clone();
        without.proof.retain(|other| other != node);
        assert!(matches!(trie.verify(&without), Err(RangeError::Missing { .. })));
        for at in [0, 1, node.len() / 2, node.len() - 1] {
            let mut forged = node.to_vec();
            forged[at] ^= 1;
            let mut with = without.clone();
            with.proof.push(forged.into());
            assert!(matches!(trie.verify(&with), Err(RangeError::Missing { .. })));
        }
    }
}

/// Every leaf of a range counts, at each place.
#[test]
fn every_leaf_counts() {
    let trie = Trie::new(hashed_leaves(500));
    let keys: Vec<B256> = trie.leaves.keys().copied().collect();
    let range = trie.cut(keys[100], 50);
    for at in 0..49 {
        let mut forged = range.clone();
        remove(&mut forged.keys, &mut forged.values, at);
        assert!(matches!(trie.verify(&forged), Err(RangeError::Mismatch { .. })), "{at}");
        let mut forged = range.clone();
        forged.values[at] = leaves::value(&U256::from(77));
        assert!(matches!(trie.verify(&forged), Err(RangeError::Mismatch { .. })), "{at}");
    }
    // Without its last leaf it is another range, whose end is not proven.
    let mut shorter = range.clone();
    remove(&mut shorter.keys, &mut shorter.values, 49);
    assert!(matches!(trie.verify(&shorter), Err(RangeError::Missing { .. })));
    shorter.proof.extend(prove(&trie.nodes, &keys[148]));
    assert_eq!(trie.verify(&shorter), Ok(true));
}

/// From before the first leaf that is given, to hide those in between.
#[test]
fn gaps_are_not_hidden() {
    let trie = Trie::new(hashed_leaves(500));
    let keys: Vec<B256> = trie.leaves.keys().copied().collect();
    for hidden in [1, 5, 100] {
        let mut range = trie.cut(keys[100], 50);
        range.origin = keys[100 - hidden];
        range.proof.extend(prove(&trie.nodes, &range.origin));
        assert!(matches!(trie.verify(&range), Err(RangeError::Mismatch { .. })), "{hidden}");
    }
    let mut range = trie.cut(keys[400], 100);
    assert_eq!(trie.verify(&range), Ok(false));
    remove(&mut range.keys, &mut range.values, 99);
    range.proof.extend(prove(&trie.nodes, &keys[498]));
    assert_eq!(trie.verify(&range), Ok(true), "the last leaf is not hidden: there is more");
}

#[test]
fn ranges_without_leaves() {
    let trie = Trie::new(hashed_leaves(100));
    let (first, last) = (*trie.leaves.keys().next().unwrap(), *trie.leaves.keys().last().unwrap());
    let behind = B256::from(U256::from_be_bytes(last.0) + U256::from(1));
    for origin in [behind, B256::repeat_byte(0xff)] {
        let range = trie.cut(origin, 10);
        assert!(range.keys.is_empty());
        assert_eq!(trie.verify(&range), Ok(false));
    }
    for origin in [B256::ZERO, first, last] {
        let range = trie.cut(origin, 0);
        assert!(matches!(trie.verify(&range), Err(RangeError::Withheld { .. })), "{origin}");
    }
    let nothing = |root| verify_range(root, &B256::ZERO, &[], &[], &[]);
    assert_eq!(nothing(EMPTY_ROOT_HASH), Ok(false));
    assert!(matches!(nothing(trie.root), Err(RangeError::RootMismatch { .. })));
    // No node is the root of an empty trie: there is nothing to prove by.
    let empty = verify_range(EMPTY_ROOT_HASH, &B256::ZERO, &[], &[], &[Bytes::from_static(&[0x80])]);
    assert!(matches!(empty, Err(RangeError::Malformed { .. })));
}

/// A root that is shorter than a hash, with its leaves within.
#[test]
fn tries_of_inline_nodes() {
    let leaves: Leaves = [1, 2, 9].map(|n| (B256::with_last_byte(n), U256::from(n))).into();
    let trie = Trie::new(leaves);
    for (origin, most, more) in [(0, 1, true), (1, 2, true), (2, 2, false), (3, 1, false), (10, 1, false)] {
        let range = trie.cut(B256::with_last_byte(origin), most);
        assert!(range.proof.iter().all(|node| range.proof[0] == *node) || range.proof.len() > 1);
        assert_eq!(trie.verify(&range), Ok(more), "from {origin}");
    }
    let one = Trie::new([(B256::repeat_byte(5), U256::from(1))].into());
    assert_eq!(one.verify(&one.cut(B256::ZERO, 1)), Ok(false));
    assert_eq!(one.verify(&one.cut(B256::repeat_byte(5), 1)), Ok(false));
    assert_eq!(one.verify(&one.cut(B256::repeat_byte(6), 1)), Ok(false));
}

#[test]
fn leaves_that_none_could_be_are_named() {
    let trie = Trie::new(hashed_leaves(100));
    let keys: Vec<B256> = trie.leaves.keys().copied().collect();
    let range = trie.cut(keys[10], 5);
    let forged = |forge: &dyn Fn(&mut Range)| {
        let mut range = range.clone();
        forge(&mut range);
        trie.verify(&range).unwrap_err()
    };
    assert_eq!(forged(&|range| range.keys.swap(1, 2)), RangeError::Unordered(keys[11]));
    assert_eq!(forged(&|range| range.keys[3] = keys[12]), RangeError::Unordered(keys[12]));
    assert_eq!(forged(&|range| range.keys[0] = keys[9]), RangeError::BeforeOrigin(keys[9]));
    assert_eq!(forged(&|range| range.values[4] = Bytes::new()), RangeError::EmptyValue(keys[14]));
    assert_eq!(forged(&|range| drop(range.values.pop())), RangeError::Lengths { keys: 5, values: 4 });
    let error = forged(&|range| range.proof.clear());
    assert!(matches!(error, RangeError::RootMismatch { root, .. } if root == trie.root), "{error}");
}
