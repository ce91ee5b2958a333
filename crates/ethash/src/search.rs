//! The search for a seal.

use crate::dataset::Dataset;
use crate::hashimoto::hashimoto_batch;
use crate::seal::boundary;
use alloy_primitives::{B64, B256, U256};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Nonces hashed side by side.
const BATCH: usize = 8;
/// Batches between two looks at whether to stop.
const BATCHES: usize = 64;

/// A header to be sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Search {
    /// What is sealed; see [`seal_hash`](crate::seal_hash).
    pub seal_hash: B256,
    /// The highest hash that is good.
    pub boundary: B256,
}

/// A seal that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Solution {
    /// The header's nonce.
    pub nonce: B64,
    /// The header's mix hash.
    pub mix_hash: B256,
}

impl Search {
    /// The search for a seal of this hash and difficulty.
    pub fn new(seal_hash: B256, difficulty: U256) -> Self {
        Self { seal_hash, boundary: boundary(difficulty) }
    }

    /// Tries nonces in their order, on this thread, until one is good, all are tried, or `stop` is set, which
    /// is looked at every few milliseconds. Adds the number of hashes to `hashes` as it goes. Threads that
    /// search together take ranges of their own.
    pub fn run(
        &self,
        dataset: &Dataset,
        nonces: Range<u64>,
        stop: &AtomicBool,
        hashes: &AtomicU64,
    ) -> Option<Solution> {
        let mut next = nonces.start;
        while next < nonces.end && !stop.load(Ordering::Relaxed) {
            let before = next;
            let found = (0..BATCHES).find_map(|_| self.batch(dataset, &mut next, nonces.end));
            hashes.fetch_add(next.wrapping_sub(before), Ordering::Relaxed);
            if found.is_some() {
                return found;
            }
        }
        None
    }

    /// Tries the next nonces below `end`.
    fn batch(&self, dataset: &Dataset, next: &mut u64, end: u64) -> Option<Solution> {
        let left = end.saturating_sub(*next);
        if left >= BATCH as u64 {
            let mut nonce = *next;
            let nonces = [(); BATCH].map(|()| {
                nonce = nonce.wrapping_add(1);
                nonce.wrapping_sub(1)
            });
            return self.judge(dataset, nonces, next);
        }
        (0..left).find_map(|_| self.judge(dataset, [*next], next))
    }

    fn judge<const N: usize>(&self, dataset: &Dataset, nonces: [u64; N], next: &mut u64) -> Option<Solution> {
        *next = next.wrapping_add(N as u64);
        let hashes = hashimoto_batch(dataset, &self.seal_hash, nonces);
        let good = nonces.into_iter().zip(hashes).find(|(_, hash)| hash.result <= self.boundary);
        good.map(|(nonce, hash)| Solution { nonce: B64::from(nonce), mix_hash: hash.mix })
    }
}
