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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::epoch::Epoch;
    use crate::hashimoto::hashimoto_full;
    use std::sync::LazyLock;

    /// A dataset of zeros takes no time to make, and is as good to search in.
    static DATASET: LazyLock<Dataset> =
        LazyLock::new(|| Dataset::blank(Epoch::of_block(0).unwrap()).unwrap());

    fn run(search: &Search, nonces: Range<u64>) -> (Option<Solution>, u64) {
        let hashes = AtomicU64::new(0);
        (search.run(&DATASET, nonces, &AtomicBool::new(false), &hashes), hashes.into_inner())
    }

    #[test]
    fn the_first_good_nonce_is_found() {
        let search = Search::new(B256::repeat_byte(3), U256::from(500));
        let (found, hashes) = run(&search, 1_000..u64::MAX);
        let found = found.unwrap();
        let hash = hashimoto_full(&DATASET, &search.seal_hash, found.nonce.into());
        assert_eq!(hash.mix, found.mix_hash);
        assert!(hash.result <= search.boundary);
        let nonce = u64::from(found.nonce);
        assert!((nonce + 1 - 1_000..=nonce + BATCH as u64 - 1_000).contains(&hashes), "{hashes}");
        for earlier in 1_000..nonce {
            assert!(hashimoto_full(&DATASET, &search.seal_hash, earlier).result > search.boundary);
        }
        // Wherever a thread's range begins and ends.
        for start in nonce - 9..=nonce {
            assert_eq!(run(&search, start..nonce + 1).0, Some(found), "{start}");
            assert_eq!(run(&search, start..nonce), (None, nonce - start), "{start}");
        }
    }

    #[test]
    fn a_search_ends() {
        let impossible = Search::new(B256::ZERO, U256::MAX);
        assert_eq!(run(&impossible, 0..1_001), (None, 1_001));
        assert_eq!(run(&impossible, u64::MAX - 3..u64::MAX), (None, 3));
        assert_eq!(run(&impossible, 5..5), (None, 0));
        let hashes = AtomicU64::new(0);
        assert_eq!(impossible.run(&DATASET, 0..u64::MAX, &AtomicBool::new(true), &hashes), None);
        assert_eq!(hashes.into_inner(), 0);
    }
}
