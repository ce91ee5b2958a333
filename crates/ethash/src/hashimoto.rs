//! The hash of proof of work: 64 reads of the dataset at places that only the reads before them tell.

use crate::cache::Cache;
use crate::dataset::{Dataset, pages};
use crate::keccak::keccak512_nonce;
use crate::memory::touch;
use crate::mix::{Item, Modulus, fnv, fnv_all};
use alloy_primitives::{B256, keccak256};
use std::hint::black_box;

/// Pages that one hash reads.
const ACCESSES: u32 = 64;
/// Seals hashed side by side with a cache.
pub(crate) const LIGHT_BATCH: usize = 8;

/// What a nonce gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hashimoto {
    /// The mix, which the header carries.
    pub mix: B256,
    /// The hash, which must not be above the boundary.
    pub result: B256,
}

/// The hash of a seal hash and nonce, computing the 128 items of the dataset that it needs.
pub fn hashimoto_light(cache: &Cache, seal_hash: &B256, nonce: u64) -> Hashimoto {
    let pages = pages(cache.epoch());
    let mut run = Run::new(keccak512_nonce(seal_hash, nonce));
    for access in 0..ACCESSES {
        run.take(&cache.dataset_items(page_items(pages, &run, access)));
    }
    run.finish()
}

/// The hashes of several seal hashes and nonces, side by side: in little more time than one of them takes.
pub(crate) fn hashimoto_light_batch(
    cache: &Cache,
    seals: &[(B256, u64); LIGHT_BATCH],
) -> [Hashimoto; LIGHT_BATCH] {
    let pages = pages(cache.epoch());
    let mut runs = seals.each_ref().map(|(seal_hash, nonce)| Run::new(keccak512_nonce(seal_hash, *nonce)));
    for access in 0..ACCESSES {
        let mut numbers = [0; LIGHT_BATCH * 2];
        for (pair, run) in numbers.as_chunks_mut().0.iter_mut().zip(&runs) {
            *pair = page_items(pages, run, access);
        }
        let items = cache.dataset_items(numbers);
        for (run, page) in runs.iter_mut().zip(items.as_chunks().0) {
            run.take(page);
        }
    }
    runs.map(Run::finish)
}

/// The numbers of the items of the page to read next.
fn page_items(pages: Modulus, run: &Run, access: u32) -> [u32; 2] {
    // The number of pages is below 2^28.
    let first = u32::try_from(pages.of(run.choice(access)) * 2).unwrap_or_default();
    [first, first | 1]
}

/// The hash of a seal hash and nonce, reading the dataset.
pub fn hashimoto_full(dataset: &Dataset, seal_hash: &B256, nonce: u64) -> Hashimoto {
    let [hash] = hashimoto_batch(dataset, seal_hash, [nonce]);
    hash
}

/// The hashes of several nonces, side by side, so that their waits for memory overlap.
pub(crate) fn hashimoto_batch<const N: usize>(
    dataset: &Dataset,
    seal_hash: &B256,
    nonces: [u64; N],
) -> [Hashimoto; N] {
    let mut touched = 0;
    let mut runs = nonces.map(|nonce| Run::new(keccak512_nonce(seal_hash, nonce)));
    for access in 0..ACCESSES {
        let pages = runs.each_ref().map(|run| dataset.page(run.choice(access)));
        for [first, second] in pages {
            touched ^= touch(first) ^ touch(second);
        }
        for (run, page) in runs.iter_mut().zip(pages) {
            run.take(&page.each_ref().map(Item::from_bytes));
        }
    }
    black_box(touched);
    runs.map(Run::finish)
}

/// One hash on its way.
struct Run {
    seed: Item,
    mix: [u32; 32],
}

impl Run {
    fn new(seed: Item) -> Self {
        let mut mix = [0; 32];
        for half in mix.as_chunks_mut().0 {
            *half = seed.0;
        }
        Self { seed, mix }
    }

    /// The number that chooses the page to read next.
    #[inline]
    fn choice(&self, access: u32) -> u32 {
        let word = self.mix.get((access % 32) as usize).copied().unwrap_or_default();
        fnv(access ^ self.seed.0[0], word)
    }

    #[inline]
    fn take(&mut self, page: &[Item; 2]) {
        for (half, item) in self.mix.as_chunks_mut().0.iter_mut().zip(page) {
            fnv_all(half, item);
        }
    }

    fn finish(self) -> Hashimoto {
        let mut mix = B256::ZERO;
        let groups = self.mix.as_chunks().0;
        for (bytes, [a, b, c, d]) in mix.as_chunks_mut::<4>().0.iter_mut().zip(groups) {
            *bytes = fnv(fnv(fnv(*a, *b), *c), *d).to_le_bytes();
        }
        Hashimoto { mix, result: final_hash(&self.seed, &mix) }
    }
}

fn final_hash(seed: &Item, mix: &B256) -> B256 {
    let mut bytes = [0; 96];
    let (head, tail) = bytes.split_at_mut(64);
    head.copy_from_slice(&seed.to_bytes());
    tail.copy_from_slice(mix.as_slice());
    keccak256(bytes)
}
