//! The hash of proof of work: 64 reads of the dataset at places that only the reads before them tell.

use crate::cache::Cache;
use crate::dataset::{Dataset, pages};
use crate::keccak::keccak512_nonce;
use crate::mix::{Item, fnv, fnv_all};
use alloy_primitives::{B256, keccak256};

/// Pages that one hash reads.
const ACCESSES: u32 = 64;

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
    let seed = keccak512_nonce(seal_hash, nonce);
    let mut run = Run::new(seed);
    for access in 0..ACCESSES {
        let page = pages.of(run.choice(access));
        // The number of pages is below 2^28.
        let first = u32::try_from(page * 2).unwrap_or(u32::MAX);
        run.take(&cache.dataset_items(first));
    }
    run.finish()
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
    let mut runs = nonces.map(|nonce| Run::new(keccak512_nonce(seal_hash, nonce)));
    for access in 0..ACCESSES {
        for run in &mut runs {
            run.take(dataset.page(run.choice(access)));
        }
    }
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
