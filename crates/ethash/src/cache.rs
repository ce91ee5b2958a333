//! The cache of an epoch: the 16 MiB and more from which every item of the dataset follows.

use crate::epoch::Epoch;
use crate::keccak::{keccak512, keccak512_seed};
use crate::mix::{Item, Modulus, fnv, fnv_all};

/// Passes over the cache (Sergio Demian Lerner's RandMemoHash).
const ROUNDS: usize = 3;
/// Items of the cache that go into one of the dataset, in rounds of as many as an item has words.
const PARENT_ROUNDS: u32 = 16;

/// An epoch's cache.
#[derive(Clone, Debug)]
pub struct Cache {
    epoch: Epoch,
    items: Vec<Item>,
    modulus: Modulus,
}

impl Cache {
    /// Computes the cache of an epoch, on this thread: a second's fraction for early epochs.
    pub fn generate(epoch: Epoch) -> Self {
        let count = epoch.cache_items() as usize;
        let mut items = Vec::with_capacity(count);
        let mut item = keccak512_seed(&epoch.seed_hash());
        for _ in 0..count {
            items.push(item);
            item = keccak512(&item);
        }
        let modulus = Modulus::new(epoch.cache_items());
        for _ in 0..ROUNDS {
            let mut previous = items.last().copied().unwrap_or(Item::ZERO);
            for at in 0..count {
                let chosen = items.get(at).map_or(0, |item| modulus.of(item.0[0]));
                let chosen = items.get(chosen).unwrap_or(&Item::ZERO);
                previous = keccak512(&previous.xor(chosen));
                if let Some(item) = items.get_mut(at) {
                    *item = previous;
                }
            }
        }
        Self { epoch, items, modulus }
    }

    /// The cache of these items; `None` if they are too many or too few.
    pub(crate) fn from_items(epoch: Epoch, items: Vec<Item>) -> Option<Self> {
        let modulus = Modulus::new(epoch.cache_items());
        (items.len() == epoch.cache_items() as usize).then_some(Self { epoch, items, modulus })
    }

    /// The epoch.
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Its items.
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// Items `first` and those after it of the dataset. They are computed side by side, so that one's wait
    /// for memory is another's time to compute.
    pub(crate) fn dataset_items<const N: usize>(&self, first: u32) -> [Item; N] {
        let mut mixes = [Item::ZERO; N];
        for (number, mix) in (first..).zip(&mut mixes) {
            *mix = *self.chosen(number);
            mix.0[0] ^= number;
            *mix = keccak512(mix);
        }
        for round in 0..PARENT_ROUNDS {
            for word in 0..16 {
                let parent = round * 16 + word;
                for (number, mix) in (first..).zip(&mut mixes) {
                    let own = mix.0.get(word as usize).copied().unwrap_or_default();
                    fnv_all(&mut mix.0, self.chosen(fnv(number ^ parent, own)));
                }
            }
        }
        mixes.map(|mix| keccak512(&mix))
    }

    /// The item that a number chooses.
    #[inline]
    fn chosen(&self, number: u32) -> &Item {
        // Always there: the modulus is the number of items.
        self.items.get(self.modulus.of(number)).unwrap_or(&Item::ZERO)
    }
}
