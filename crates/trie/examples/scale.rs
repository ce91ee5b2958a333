//! What a changed key costs, in a small trie and in a large one: `cargo run --release --example scale`.
//! Nodes are in memory, so this is the trie's own work: decoding, hashing, and the update it returns. A round
//! finds the nodes of the rounds before in a layer, and the others in what stands for a store.

#![allow(clippy::cast_precision_loss)] // The figures are small, and printed rounded.

use alloy_primitives::{Address, Bytes, U256, keccak256};
use quintet_trie::{Layer, Nibbles, NodeReader, Overlay, Owner, TrieError, update};
use quintet_types::{Account, AccountDiff, StateDiff};
use std::time::Instant;

/// Nodes that are checked on the way in, as a store's are.
struct Store(Layer);

impl NodeReader for Store {
    fn node(&self, owner: &Owner, path: &Nibbles) -> Result<Option<Bytes>, TrieError> {
        self.0.node(owner, path)
    }
}

/// Spread over the address space, and the same on every run.
fn address(n: u64) -> Address {
    Address::from_word(keccak256(n.to_be_bytes()))
}

fn account_diff(nonce: u64, storage: impl Iterator<Item = (U256, U256)>) -> AccountDiff {
    let account = Account { nonce, balance: U256::from(nonce) << 60, ..Account::new(1) };
    AccountDiff { before: (nonce > 1).then_some(account), after: Some(account), storage: storage.collect() }
}

/// `count` of `size` accounts get this nonce.
fn accounts(size: u64, count: u64, nonce: u64) -> StateDiff {
    let chosen = (0..count).map(|n| (n * (size / count) + nonce) % size);
    let accounts = chosen.map(|n| (address(n), account_diff(nonce, std::iter::empty()))).collect();
    StateDiff { accounts, ..StateDiff::default() }
}

/// `count` of `size` slots of one contract get this value.
fn slots(size: u64, count: u64, value: u64) -> StateDiff {
    let chosen = (0..count).map(|n| (n * (size / count) + value) % size);
    let storage = chosen.map(|n| (U256::from(n), U256::from(value)));
    StateDiff { accounts: [(address(0), account_diff(value, storage))].into(), ..StateDiff::default() }
}

fn measure(what: &str, make: impl Fn(u64, u64, u64) -> StateDiff) {
    for size in [10_000, 1_000_000] {
        let mut base = Store(Layer::new());
        let diff = make(size, size, 1);
        let start = Instant::now();
        let changes = update(&base, &diff).expect("nodes are sound").1;
        let micros = start.elapsed().as_secs_f64() * 1e6;
        println!("{what}: {size} keys built at once, {:.2} us a key", micros / size as f64);
        base.0.apply(changes);
        for count in [100, 1_000, 10_000.min(size)] {
            let (mut layer, mut micros, mut nodes) = (Layer::new(), 0.0, 0);
            let rounds = 10;
            for round in 0..rounds {
                let diff = make(size, count, 2 + round * 7);
                let start = Instant::now();
                let changes = update(&Overlay::new(&layer, &base), &diff).expect("nodes are sound").1;
                micros += start.elapsed().as_secs_f64() * 1e6;
                nodes += changes.nodes.len();
                layer.apply(changes);
            }
            let keys = (rounds * count) as f64;
            let (each, nodes) = (micros / keys, nodes as f64 / keys);
            println!(
                "{what}: {count} of {size} keys changed, {each:.2} us and {nodes:.1} nodes a key, {:.0} keys/s",
                1e6 / each
            );
        }
    }
}

fn main() {
    measure("accounts", accounts);
    measure("slots", slots);
}
