//! What a changed key costs, in a small trie and in a large one: `cargo run --release --example scale`.
//!
//! As an importer has it: one update a block, whose nodes go into a layer that is flushed to the store now and then,
//! with a cache above both. The store is in memory, so this is the trie's own work. Blocks change keys
//! from all over the state, so that most leaves are read for the first time. Times are of the update and of taking
//! its nodes over, not of flushing.

#![allow(clippy::cast_precision_loss)] // The figures are small, and printed rounded.

use alloy_primitives::{Address, Bytes, U256, keccak256};
use quintet_trie::{Layer, Nibbles, NodeCache, NodeReader, Overlay, Owner, TrieError, update};
use quintet_types::{Account, AccountDiff, StateDiff};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SIZES: [u64; 2] = [10_000, 1_000_000];
const COUNTS: [u64; 3] = [100, 1_000, 10_000];
/// Changed keys over which each figure is taken, after as many that warm the cache.
const KEYS: u64 = 100_000;
/// Blocks from one flush to the next.
const FLUSH_BLOCKS: u64 = 128;
const CACHE_BYTES: u64 = 256 << 20;

/// Nodes that are checked on the way in, as a store's are.
#[derive(Default)]
struct Store {
    nodes: Layer,
    reads: AtomicU64,
}

impl NodeReader for Store {
    fn node(&self, owner: &Owner, path: &Nibbles) -> Result<Option<Bytes>, TrieError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.nodes.node(owner, path)
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

/// Spread over `size` keys, `count` of them, other ones in each round.
fn chosen(size: u64, count: u64, round: u64) -> impl Iterator<Item = u64> {
    (0..count).map(move |n| (n * (size / count) + round * 7919) % size)
}

/// `count` of `size` accounts get another nonce.
fn accounts(size: u64, count: u64, round: u64) -> StateDiff {
    let change = |n| (address(n), account_diff(round, std::iter::empty()));
    StateDiff { accounts: chosen(size, count, round).map(change).collect(), ..StateDiff::default() }
}

/// `count` of `size` slots of one contract get another value.
fn slots(size: u64, count: u64, round: u64) -> StateDiff {
    let storage = chosen(size, count, round).map(|n| (U256::from(n), U256::from(round)));
    StateDiff { accounts: [(address(0), account_diff(round, storage))].into(), ..StateDiff::default() }
}

/// What one changed key costs.
struct Cost {
    micros: f64,
    nodes: f64,
    reads: f64,
}

struct Trie {
    store: Store,
    dirty: Layer,
    cache: NodeCache,
    blocks: u64,
}

impl Trie {
    /// A trie of `size` keys.
    fn new(size: u64, make: fn(u64, u64, u64) -> StateDiff) -> (Self, f64) {
        let mut store = Store::default();
        let diff = make(size, size, 1);
        let start = Instant::now();
        let changes = update(&store, &diff).expect("nodes are sound").1;
        let micros = start.elapsed().as_secs_f64() * 1e6 / size as f64;
        store.nodes.apply(changes);
        (Self { store, dirty: Layer::new(), cache: NodeCache::new(CACHE_BYTES), blocks: 0 }, micros)
    }

    /// One block; returns the microseconds and the nodes of its update.
    fn block(&mut self, diff: &StateDiff) -> (f64, usize) {
        let start = Instant::now();
        let below = Overlay::new(&self.dirty, &self.store);
        let (_, changes) = update(&self.cache.over(&below), diff).expect("nodes are sound");
        let nodes = changes.nodes.len();
        self.cache.apply(&changes);
        self.dirty.apply(changes);
        let micros = start.elapsed().as_secs_f64() * 1e6;
        self.blocks += 1;
        if self.blocks.is_multiple_of(FLUSH_BLOCKS) {
            self.store.nodes.apply(std::mem::take(&mut self.dirty).to_update());
        }
        (micros, nodes)
    }

    fn measure(&mut self, size: u64, count: u64, make: fn(u64, u64, u64) -> StateDiff) -> Cost {
        let rounds = KEYS / count;
        let mut cost = Cost { micros: 0.0, nodes: 0.0, reads: 0.0 };
        for round in 0..2 * rounds {
            if round == rounds {
                cost = Cost { micros: 0.0, nodes: 0.0, reads: 0.0 };
                *self.store.reads.get_mut() = 0;
            }
            let (micros, nodes) = self.block(&make(size, count, 2 + self.blocks));
            cost.micros += micros;
            cost.nodes += nodes as f64;
        }
        let (keys, reads) = ((rounds * count) as f64, *self.store.reads.get_mut() as f64);
        Cost { micros: cost.micros / keys, nodes: cost.nodes / keys, reads: reads / keys }
    }
}

fn main() {
    println!("{:>8} {:>7} | {:^25} | {:^25} |", "", "changed", "10,000 keys", "1,000,000 keys");
    println!(
        "{0:>8} {1:>7} | {2:>8} {3:>7} {4:>8} | {2:>8} {3:>7} {4:>8} | ratio",
        "", "a block", "us/key", "nodes", "reads"
    );
    for (what, make) in [("accounts", accounts as fn(u64, u64, u64) -> StateDiff), ("slots", slots)] {
        let mut tries = SIZES.map(|size| Trie::new(size, make));
        let built: Vec<f64> = tries.iter().map(|(_, micros)| *micros).collect();
        println!("{what:>8} {:>7} | {:>8.2} {:>16} | {:>8.2} {:>16} |", "all", built[0], "", built[1], "");
        for count in COUNTS {
            let mut costs = Vec::new();
            for ((trie, _), size) in tries.iter_mut().zip(SIZES) {
                costs.push(trie.measure(size, count, make));
            }
            print!("{what:>8} {count:>7} |");
            for Cost { micros, nodes, reads } in &costs {
                print!(" {micros:>8.2} {nodes:>7.2} {reads:>8.3} |");
            }
            println!(" {:.2}", costs[1].micros / costs[0].micros);
        }
    }
}
