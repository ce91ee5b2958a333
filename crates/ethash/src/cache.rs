//! The cache of an epoch: the 16 MiB and more from which every item of the dataset follows.

use crate::epoch::Epoch;
use crate::keccak::{keccak512, keccak512_seed};
use crate::memory::{Memory, NO_ROW, Row, touch};
use crate::mix::{Item, Modulus, fnv, fnv_all};
use std::hint::black_box;

/// Passes over the cache (Sergio Demian Lerner's RandMemoHash).
const ROUNDS: usize = 3;
/// Rounds over an item's words for one item of the dataset; each step of a round takes in an item of the
/// cache.
const PARENT_ROUNDS: u32 = 16;

/// An epoch's cache.
#[derive(Debug)]
pub struct Cache {
    epoch: Epoch,
    memory: Memory,
    modulus: Modulus,
}

impl Cache {
    /// Computes the cache of an epoch, on this thread: a second's fraction for early epochs.
    pub fn generate(epoch: Epoch) -> Self {
        let mut cache = Self::blank(epoch);
        let mut item = keccak512_seed(&epoch.seed_hash());
        for row in cache.memory.rows_mut() {
            *row = item.to_bytes();
            item = keccak512(&item);
        }
        for _ in 0..ROUNDS {
            cache.pass();
        }
        cache
    }

    /// A cache yet to be filled.
    pub(crate) fn blank(epoch: Epoch) -> Self {
        let rows = epoch.cache_items();
        Self { epoch, memory: Memory::zeroed(rows), modulus: Modulus::new(rows) }
    }

    /// Every row becomes the hash of the one before it and of one that its own first word chooses.
    fn pass(&mut self) {
        let modulus = self.modulus;
        let rows = self.memory.rows_mut();
        let mut previous = Item::from_bytes(rows.last().unwrap_or(&NO_ROW));
        for at in 0..rows.len() {
            let chosen = modulus.of(Item::from_bytes(rows.get(at).unwrap_or(&NO_ROW)).0[0]);
            let chosen = Item::from_bytes(rows.get(chosen).unwrap_or(&NO_ROW));
            previous = keccak512(&previous.xor(&chosen));
            if let Some(row) = rows.get_mut(at) {
                *row = previous.to_bytes();
            }
        }
    }

    /// The epoch.
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        self.memory.bytes()
    }

    /// Its items, copied.
    pub fn items(&self) -> Vec<Item> {
        self.memory.rows().iter().map(Item::from_bytes).collect()
    }

    pub(crate) const fn memory_mut(&mut self) -> &mut Memory {
        &mut self.memory
    }

    /// Items of the dataset by their numbers. They are computed side by side, so that one's wait for memory
    /// is another's time to compute.
    pub(crate) fn dataset_items<const N: usize>(&self, numbers: [u32; N]) -> [Item; N] {
        let mut mixes = numbers.map(|number| {
            let mut mix = Item::from_bytes(self.chosen(number));
            mix.0[0] ^= number;
            keccak512(&mix)
        });
        let mut touched = 0;
        for round in 0..PARENT_ROUNDS {
            for word in 0..16 {
                let parent = round * 16 + word;
                let mut rows = [&NO_ROW; N];
                for ((row, number), mix) in rows.iter_mut().zip(numbers).zip(&mixes) {
                    let own = mix.0.get(word as usize).copied().unwrap_or_default();
                    *row = self.chosen(fnv(number ^ parent, own));
                    touched ^= touch(row);
                }
                for (mix, row) in mixes.iter_mut().zip(rows) {
                    fnv_all(&mut mix.0, &Item::from_bytes(row));
                }
            }
        }
        black_box(touched);
        mixes.map(|mix| keccak512(&mix))
    }

    /// The row that a number chooses.
    #[inline]
    fn chosen(&self, number: u32) -> &Row {
        self.memory.rows().get(self.modulus.of(number)).unwrap_or(&NO_ROW)
    }
}
