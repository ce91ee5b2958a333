//! What leaves cost on their way in: `cargo run --release --example ranges`.
//!
//! Ranges of as many leaves as an answer of half a megabyte has are checked one after the other over a whole trie, and
//! the trie is built of all leaves, each on one thread.

#![allow(clippy::cast_precision_loss)] // The figures are small, and printed rounded.

use alloy_primitives::{B256, Bytes, U256, keccak256};
use quintet_trie::{Builder, EMPTY_ROOT_HASH, Nibbles, Owner, TrieAccount, node_key, verify_range};
use std::collections::BTreeMap;
use std::time::Instant;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const KEYS: u64 = 100_000;
const OWNER: Owner = Owner::State;
/// How often each figure is taken; the best counts.
const ROUNDS: usize = 5;

struct Trie {
    keys: Vec<B256>,
    values: Vec<Bytes>,
    root: B256,
    nodes: BTreeMap<Vec<u8>, Bytes>,
}

impl Trie {
    fn new(value: fn(u64) -> Bytes) -> Self {
        let leaves: BTreeMap<B256, Bytes> =
            (0..KEYS).map(|n| (keccak256(n.to_be_bytes()), value(n))).collect();
        let (keys, values) = leaves.into_iter().unzip();
        let mut trie = Self { keys, values, root: EMPTY_ROOT_HASH, nodes: BTreeMap::new() };
        let mut nodes = BTreeMap::new();
        trie.root = trie.build(&mut |key, node| drop(nodes.insert(key, node)));
        trie.nodes = nodes;
        trie
    }

    fn build(&self, out: &mut dyn FnMut(Vec<u8>, Bytes)) -> B256 {
        let mut builder = Builder::new(OWNER);
        for (key, value) in self.keys.iter().zip(&self.values) {
            builder.push(key, value, out);
        }
        builder.finish(out)
    }

    /// The nodes on the ways to two keys.
    fn proof(&self, origin: &B256, last: &B256) -> Vec<Bytes> {
        let nodes = |key: &B256| {
            let path = Nibbles::unpack(key);
            let node = move |length| self.nodes.get(&node_key(&OWNER, &path.slice(..length))).cloned();
            (0..=path.len()).filter_map(node)
        };
        nodes(origin).chain(nodes(last)).collect()
    }

    /// Checks all leaves in ranges of `count`.
    fn verify(&self, proofs: &[Vec<Bytes>], count: usize) {
        for ((keys, values), proof) in self.keys.chunks(count).zip(self.values.chunks(count)).zip(proofs) {
            verify_range(self.root, &keys[0], keys, values, proof).expect("a true range");
        }
    }
}

/// Keys in a second, in thousands.
fn rate(mut run: impl FnMut()) -> f64 {
    let mut best = f64::MAX;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        run();
        best = best.min(start.elapsed().as_secs_f64());
    }
    KEYS as f64 / best / 1e3
}

fn account(n: u64) -> Bytes {
    let account = TrieAccount { nonce: n, balance: U256::from(n) << 50, ..TrieAccount::default() };
    alloy_rlp::encode(account).into()
}

fn slot(n: u64) -> Bytes {
    alloy_rlp::encode(U256::from(n + 1) << (n % 128)).into()
}

fn main() {
    println!("{KEYS} keys | thousands of keys in a second");
    for (what, value, count) in [("accounts", account as fn(u64) -> Bytes, 5_000), ("slots", slot, 10_000)] {
        let trie = Trie::new(value);
        let proofs: Vec<_> =
            trie.keys.chunks(count).map(|keys| trie.proof(&keys[0], &keys[keys.len() - 1])).collect();
        let ranges = rate(|| trie.verify(&proofs, count));
        let whole = rate(|| {
            verify_range(trie.root, &B256::ZERO, &trie.keys, &trie.values, &[]).expect("the whole trie");
        });
        let mut bytes = 0;
        let built = rate(|| {
            trie.build(&mut |key, node| bytes += key.len() + node.len());
        });
        println!(
            "{what:>11} | ranges of {count} {ranges:.0}, all without a proof {whole:.0}, built {built:.0}"
        );
        println!("{:>11} | {} nodes, {} bytes", "", trie.nodes.len(), bytes / ROUNDS);
    }
}
