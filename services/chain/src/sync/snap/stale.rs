//! What lies below a node of the trie but is not part of it any more: the keys of nodes, and the hashes of entries, that are
//! to be deleted when the node is replaced by another.

use alloy_primitives::{B256, U256};
use quintet_trie::{Nibbles, Owner, node_key};

/// Keys from the first on, up to but without the second.
pub(crate) type KeyRange = (Vec<u8>, Vec<u8>);

/// The keys of all nodes at or below `path` but for those at or below one of `kept`, which are sorted and begin with it.
pub(crate) fn stale_nodes(owner: &Owner, path: &Nibbles, kept: &[Nibbles]) -> Vec<KeyRange> {
    let mut stale = subtree(owner, path);
    for kept in kept {
        for hole in subtree(owner, kept) {
            stale = stale.into_iter().flat_map(|range| without(range, &hole)).collect();
        }
    }
    stale
}

/// The hashes that begin with `path` but for those that begin with one of `kept`, which are sorted and begin with it: first and
/// last of each range.
pub(crate) fn stale_entries(path: &Nibbles, kept: &[Nibbles]) -> Vec<(B256, B256)> {
    let (first, last) = entries(path);
    let mut stale = Vec::new();
    let mut next = Some(first);
    for (from, to) in kept.iter().map(entries) {
        let Some(at) = next else { break };
        if at < from {
            stale.push((at, from - U256::from(1)));
        }
        next = to.checked_add(U256::from(1)).filter(|next| *next <= last);
    }
    stale.extend(next.map(|next| (next, last)));
    stale.into_iter().map(|(from, to)| (B256::from(from), B256::from(to))).collect()
}

/// The first and the last hash that begin with `path`.
fn entries(path: &Nibbles) -> (U256, U256) {
    let (mut first, mut last) = (B256::ZERO, B256::repeat_byte(0xff));
    for (place, nibble) in path.iter().enumerate() {
        let (Some(low), Some(high)) = (first.get_mut(place / 2), last.get_mut(place / 2)) else { break };
        if place % 2 == 0 {
            (*low, *high) = (nibble << 4, nibble << 4 | 0x0f);
        } else {
            (*low, *high) = (*low | nibble, *high & 0xf0 | nibble);
        }
    }
    (first.into(), last.into())
}

/// The keys of the nodes at or below `path`, and of no other: of those above it, whose keys may lie between, each is left out.
fn subtree(owner: &Owner, path: &Nibbles) -> Vec<KeyRange> {
    let mut stem = node_key(owner, path);
    stem.pop();
    let with = |stem: &[u8], tail: &[u8]| [stem, tail].concat();
    // Whether a path is odd is the last byte of its key, 1 or 0. Such a key is the beginning of keys below where nibbles follow
    // that look like it, and the key of an odd path is among those of its child 0.
    if path.len().is_multiple_of(2) {
        return vec![(with(&stem, &[0]), with(&stem, &[1])), (with(&stem, &[1, 0]), after(stem))];
    }
    let low = stem.pop().unwrap_or_default();
    let end = after(with(&stem, &[low | 0x0f]));
    if low == 0 {
        return vec![(with(&stem, &[0, 0]), with(&stem, &[1])), (with(&stem, &[1, 0]), end)];
    }
    vec![(with(&stem, &[low]), end)]
}

/// The first key behind all that begin with `prefix`, whose first byte says whose trie it is and is small.
fn after(mut prefix: Vec<u8>) -> Vec<u8> {
    while let Some(byte) = prefix.pop() {
        if let Some(next) = byte.checked_add(1) {
            prefix.push(next);
            break;
        }
    }
    prefix
}

/// What is left of a range.
fn without((from, to): KeyRange, hole: &KeyRange) -> Vec<KeyRange> {
    let mut left = Vec::new();
    let end = to.clone().min(hole.0.clone());
    if from < end {
        left.push((from.clone(), end));
    }
    let begin = from.max(hole.1.clone());
    if begin < to {
        left.push((begin, to));
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Every path of at most four nibbles, each of which is one of five.
    fn paths() -> Vec<Nibbles> {
        let mut all = vec![Nibbles::new()];
        let mut last = all.clone();
        for _ in 0..4 {
            let next = |path: &Nibbles| {
                let path = *path;
                [0, 1, 2, 8, 15].map(|nibble| path.join(&Nibbles::from_nibbles([nibble])))
            };
            last = last.iter().flat_map(next).collect();
            all.extend(&last);
        }
        all
    }

    #[test]
    fn what_is_stale_is_what_lies_below_and_is_not_kept() {
        let all = paths();
        for owner in [Owner::State, Owner::Storage(B256::ZERO), Owner::Storage(B256::repeat_byte(0xff))] {
            for path in all.iter().filter(|path| path.len() <= 3) {
                let child = |tail: &[u8]| path.join(&Nibbles::from_nibbles(tail));
                let kept: [Vec<Nibbles>; 6] = [
                    vec![],
                    vec![child(&[0])],
                    vec![child(&[0]), child(&[1]), child(&[15])],
                    vec![child(&[2]), child(&[8])],
                    vec![child(&[0, 0])],
                    vec![child(&[1, 15])],
                ];
                for kept in kept {
                    let stale = stale_nodes(&owner, path, &kept);
                    for other in &all {
                        let key = node_key(&owner, other);
                        let found = stale.iter().any(|(from, to)| *from <= key && key < *to);
                        let below =
                            other.starts_with(path) && !kept.iter().any(|kept| other.starts_with(kept));
                        assert_eq!(found, below, "{other:?} below {path:?} without {kept:?}");
                    }
                    let elsewhere = node_key(&Owner::Storage(B256::repeat_byte(7)), path);
                    assert!(!stale.iter().any(|(from, to)| *from <= elsewhere && elsewhere < *to));
                }
            }
        }
    }

    #[test]
    fn entries_are_those_below_a_path() {
        let path = |nibbles: &[u8]| Nibbles::from_nibbles(nibbles);
        let all = (B256::ZERO, B256::repeat_byte(0xff));
        assert_eq!(stale_entries(&Nibbles::new(), &[]), [all]);
        assert!(stale_entries(&path(&[3]), &[path(&[3])]).is_empty());
        let bounds = |range: &(B256, B256)| (range.0[0], range.1[0]);
        let stale = stale_entries(&path(&[3]), &[path(&[3, 0]), path(&[3, 4]), path(&[3, 5])]);
        assert_eq!(stale.iter().map(bounds).collect::<Vec<_>>(), [(0x31, 0x33), (0x36, 0x3f)]);
        let stale = stale_entries(&Nibbles::new(), &[path(&[15])]);
        assert_eq!(stale.iter().map(bounds).collect::<Vec<_>>(), [(0, 0xef)]);
        let key = Nibbles::unpack(B256::repeat_byte(0x55));
        let stale = stale_entries(&path(&[5]), &[key]);
        let covered: BTreeSet<B256> = stale.iter().flat_map(|(from, to)| [*from, *to]).collect();
        assert_eq!(covered.len(), 4);
        assert!(!stale.iter().any(|(from, to)| (*from..=*to).contains(&B256::repeat_byte(0x55))));
    }
}
