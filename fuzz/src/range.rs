//! Range proofs of `snap/1`: ranges cut from tries and forged, and nodes that no honest trie has.

use alloy_primitives::{B256, Bytes, U256, keccak256};
use alloy_rlp::{Encodable, Header};
use quintet_trie::{Builder, Nibbles, Owner, node_key, verify_range};
use std::collections::BTreeMap;

const OWNER: Owner = Owner::State;
/// Leaves of a trie, made nodes, and what is done to a range, at most.
const MOST: u8 = 32;

/// A range that is taken exactly if it is true and its proof is whole, or nodes made of any bytes and of each other.
pub fn range(data: &[u8]) {
    let mut input = Input(data);
    if input.byte() & 1 == 0 { forged(&mut input) } else { made(&mut input) }
}

/// Bytes to decide by; zeros when they have run out.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.byte()).collect()
    }

    /// A place among so many, of which there is one at least.
    fn place(&mut self, count: usize) -> usize {
        usize::from(self.byte()) % count
    }

    /// A key of one of three families, whose members share their beginnings.
    fn key(&mut self) -> B256 {
        let (family, shared, rest) = (self.byte() % 3, self.place(65), self.byte());
        let nibble = |at: usize| match at.cmp(&shared) {
            std::cmp::Ordering::Less => family * 5,
            std::cmp::Ordering::Equal => rest & 15,
            std::cmp::Ordering::Greater => rest >> 4,
        };
        B256::from_slice(&Nibbles::from_nibbles((0..64).map(nibble).collect::<Vec<_>>()).pack())
    }

    /// A leaf's value: short ones, which are inlined with their leaves, or long ones.
    fn value(&mut self) -> Bytes {
        let byte = self.byte();
        let value = if byte < 192 { U256::from(byte % 4 + 1) } else { U256::MAX - U256::from(byte) };
        alloy_rlp::encode(value).into()
    }
}

struct Trie {
    leaves: BTreeMap<B256, Bytes>,
    root: B256,
    nodes: BTreeMap<Vec<u8>, Bytes>,
}

impl Trie {
    fn new(leaves: BTreeMap<B256, Bytes>) -> Self {
        let mut nodes = BTreeMap::new();
        let mut out = |key, node| assert!(nodes.insert(key, node).is_none(), "a node twice");
        let mut builder = Builder::new(OWNER);
        for (key, value) in &leaves {
            builder.push(key, value, &mut out);
        }
        let root = builder.finish(&mut out);
        Self { leaves, root, nodes }
    }

    /// The nodes on the way to a key.
    fn way(&self, key: &B256) -> Vec<Bytes> {
        let path = Nibbles::unpack(key);
        let node = |length| self.nodes.get(&node_key(&OWNER, &path.slice(..length))).cloned();
        (0..=path.len()).filter_map(node).collect()
    }

    fn cut(&self, origin: B256, most: usize) -> Range {
        let leaves = self.leaves.range(origin..).take(most);
        let (keys, values) = leaves.map(|(key, value)| (*key, value.clone())).unzip();
        let mut range = Range { origin, keys, values, proof: Vec::new() };
        range.proof = self.proof(&range);
        range
    }

    fn proof(&self, range: &Range) -> Vec<Bytes> {
        let last = range.keys.last().map(|last| self.way(last));
        [self.way(&range.origin), last.unwrap_or_default()].concat()
    }

    /// What is to be said of a range; `None` for one that is to be refused.
    fn truth(&self, range: &Range) -> Option<bool> {
        let whole = range.proof.is_empty();
        let is_proven = whole || !self.leaves.is_empty();
        if !is_proven || !(whole || self.proof(range).iter().all(|node| range.proof.contains(node))) {
            return None;
        }
        // Without a proof also those before the origin count, and none may be left.
        let from = if whole { B256::ZERO } else { range.origin };
        let open_end = whole || range.keys.is_empty();
        let count = if open_end { usize::MAX } else { range.keys.len() };
        let leaves = self.leaves.range(from..).take(count);
        let given = range.keys.iter().zip(&range.values);
        let is_true = range.keys.len() == range.values.len()
            && range.keys.first().is_none_or(|first| *first >= range.origin)
            && leaves.eq(given);
        let last = range.keys.last().filter(|_| !open_end);
        is_true.then(|| last.is_some_and(|last| self.leaves.keys().any(|key| key > last)))
    }
}

struct Range {
    origin: B256,
    keys: Vec<B256>,
    values: Vec<Bytes>,
    proof: Vec<Bytes>,
}

impl Range {
    fn forge(&mut self, input: &mut Input<'_>, trie: &Trie) {
        let kind = input.byte() % 13;
        let (keys, values) = (self.keys.len(), self.values.len());
        match kind {
            0 => self.origin = input.key(),
            1 => self.proof = trie.proof(self),
            2 => self.proof.clear(),
            3 => self.proof.push(input.bytes(usize::from(MOST)).into()),
            4 => self.proof.reverse(),
            5 => drop(self.values.pop()),
            6 | 7 if !self.proof.is_empty() => {
                let at = input.place(self.proof.len());
                let node = self.proof.swap_remove(at);
                let mut changed = node.to_vec();
                let byte = input.place(changed.len());
                changed[byte] ^= input.byte();
                if kind == 7 {
                    self.proof.push(changed.into());
                }
            }
            8 => {
                let key = input.key();
                let at = self.keys.partition_point(|before| *before < key);
                self.keys.insert(at, key);
                self.values.insert(at.min(values), input.value());
            }
            _ if keys == 0 || keys != values => {}
            9 => {
                let at = input.place(keys);
                self.keys.remove(at);
                self.values.remove(at);
            }
            10 => self.values[input.place(keys)] = input.value(),
            11 => self.values[input.place(keys)] = Bytes::new(),
            _ => self.keys[input.place(keys)] = input.key(),
        }
    }
}

fn forged(input: &mut Input<'_>) {
    let count = input.byte() % MOST;
    let trie = Trie::new((0..count).map(|_| (input.key(), input.value())).collect());
    let mut origin = input.key();
    if input.byte() & 1 == 1
        && let Some(key) = trie.leaves.keys().nth(usize::from(input.byte()))
    {
        origin = *key;
    }
    let mut range = trie.cut(origin, usize::from(input.byte() % MOST));
    for _ in 0..input.byte() % 4 {
        range.forge(input, &trie);
    }
    let told = verify_range(trie.root, &range.origin, &range.keys, &range.values, &range.proof);
    assert_eq!(told.clone().ok(), trie.truth(&range), "{told:?}");
}

/// Nodes of any items, each of which may be another node by its hash, or that node itself. The last one is the root.
fn made(input: &mut Input<'_>) {
    let mut nodes: Vec<Vec<u8>> = Vec::new();
    for _ in 0..=input.byte() % MOST {
        let mut items = Vec::new();
        for _ in 0..input.byte() % 20 {
            let byte = input.byte();
            match nodes.get(usize::from(byte) % (nodes.len() + 1)) {
                Some(node) if byte & 0x80 != 0 && node.len() < 32 => items.extend_from_slice(node),
                Some(node) if byte & 0x80 != 0 => keccak256(node).encode(&mut items),
                _ => input.bytes(usize::from(byte & 0x3f)).as_slice().encode(&mut items),
            }
        }
        let mut node = Vec::new();
        Header { list: true, payload_length: items.len() }.encode(&mut node);
        node.extend_from_slice(&items);
        nodes.push(node);
    }
    let root = nodes.last().map(keccak256).unwrap_or_default();
    let leaves: BTreeMap<B256, Bytes> = (0..input.byte() % 4).map(|_| (input.key(), input.value())).collect();
    let (keys, values): (Vec<B256>, Vec<Bytes>) = leaves.into_iter().unzip();
    let proof: Vec<Bytes> = nodes.into_iter().map(Bytes::from).collect();
    let _ = verify_range(root, &input.key(), &keys, &values, &proof);
    let _ = verify_range(root, &B256::ZERO, &[], &[], &proof);
}

/// A range of each size, each forgery by itself, and a chain of nodes.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let leaves = |count: u8| (0..count).flat_map(|n| [n, n.wrapping_mul(37), n.wrapping_mul(91), n * 8]);
    let trie = |count: u8| [0, count].into_iter().chain(leaves(count));
    let mut seeds: Vec<Vec<u8>> = Vec::new();
    for count in [0, 1, 2, 3, 9, 31] {
        let origin = [1, 0, 0, 1, count / 3, count / 2, 0];
        seeds.push(trie(count).chain(origin).collect());
    }
    for forgery in 0..13 {
        let origin = [1, 0, 0, 1, 5, 10, 1, forgery, 3, 4, 5, 6];
        seeds.push(trie(20).chain(origin).collect());
    }
    // A leaf, an extension to it, and a branch of both.
    let branch = [17].into_iter().chain([0x80, 0x82]).chain([0; 15]);
    let chain = [1, 2, 2, 2, 0x20, 7, 1, 5, 2, 2, 0x00, 1, 0x81].into_iter().chain(branch);
    seeds.push(chain.chain([2, 0, 3, 4, 5, 1, 6, 7, 8]).collect());
    seeds
}
