//! Epochs: spans of blocks that share one cache and one dataset, and how large those are.

use crate::EthashError;
use alloy_primitives::{B256, keccak256};
use quintet_chainspec::ChainSpec;

/// Blocks in an epoch.
pub const EPOCH_LENGTH: u64 = 30_000;
/// Blocks in an epoch from ECIP-1099 on.
const CLASSIC_EPOCH_LENGTH: u64 = 60_000;
/// Epochs from this one on are refused: a header that claims one is false, and its dataset would not fit
/// into memory. The lists of sizes that clients carry end here too.
pub const MAX_EPOCH: u64 = 2048;

const CACHE_BYTES_INIT: u64 = 1 << 24;
const CACHE_BYTES_GROWTH: u64 = 1 << 17;
const DATASET_BYTES_INIT: u64 = 1 << 30;
const DATASET_BYTES_GROWTH: u64 = 1 << 23;
/// Bytes of an item of the cache and of the dataset.
const ITEM_BYTES: u64 = 64;
/// Bytes that a hash reads at once: two items of the dataset.
const PAGE_BYTES: u64 = 128;

/// One epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch {
    length: u64,
    index: u64,
}

impl Epoch {
    /// The epoch of a block of a network.
    ///
    /// # Errors
    /// [`EthashError::EpochTooHigh`] from [`MAX_EPOCH`] on.
    pub fn of(spec: &ChainSpec, number: u64) -> Result<Self, EthashError> {
        let classic = spec.classic().etchash_block.is_some_and(|block| block <= number);
        Self::with_length(if classic { CLASSIC_EPOCH_LENGTH } else { EPOCH_LENGTH }, number)
    }

    /// The epoch of a block where no ECIP-1099 is in force.
    ///
    /// # Errors
    /// [`EthashError::EpochTooHigh`] from [`MAX_EPOCH`] on.
    pub fn of_block(number: u64) -> Result<Self, EthashError> {
        Self::with_length(EPOCH_LENGTH, number)
    }

    fn with_length(length: u64, number: u64) -> Result<Self, EthashError> {
        let index = number / length;
        if index >= MAX_EPOCH {
            return Err(EthashError::EpochTooHigh { number });
        }
        Ok(Self { length, index })
    }

    /// Its place in the sequence of epochs of its length.
    pub const fn index(self) -> u64 {
        self.index
    }

    /// Its number of blocks.
    pub const fn length(self) -> u64 {
        self.length
    }

    /// Its first block.
    pub const fn first_block(self) -> u64 {
        self.index.saturating_mul(self.length)
    }

    /// The epoch after it; `None` at the last.
    pub fn next(self) -> Option<Self> {
        let index = self.index.saturating_add(1);
        (index < MAX_EPOCH).then_some(Self { index, ..self })
    }

    /// What its cache is made from: keccak, once for every 30,000 blocks before it, of 32 zero bytes. An
    /// epoch of double length has the seed of the epoch of single length that begins with it (ECIP-1099).
    pub fn seed_hash(self) -> B256 {
        (0..self.first_block() / EPOCH_LENGTH).fold(B256::ZERO, |seed, _| keccak256(seed))
    }

    /// Bytes of its cache.
    pub fn cache_size(self) -> u64 {
        largest_prime_multiple(CACHE_BYTES_INIT + CACHE_BYTES_GROWTH * self.index, ITEM_BYTES)
    }

    /// Bytes of its dataset.
    pub fn dataset_size(self) -> u64 {
        largest_prime_multiple(DATASET_BYTES_INIT + DATASET_BYTES_GROWTH * self.index, PAGE_BYTES)
    }

    /// Items of its cache.
    pub(crate) fn cache_items(self) -> u32 {
        to_u32(self.cache_size() / ITEM_BYTES)
    }

    /// Items of its dataset.
    pub(crate) fn dataset_items(self) -> u32 {
        to_u32(self.dataset_size() / ITEM_BYTES)
    }
}

/// Below [`MAX_EPOCH`] the number of items is below 2^29.
fn to_u32(items: u64) -> u32 {
    u32::try_from(items).unwrap_or(u32::MAX)
}

/// The largest multiple of `unit` below `limit`, itself a multiple, by an odd prime.
fn largest_prime_multiple(limit: u64, unit: u64) -> u64 {
    let mut units = (limit / unit).saturating_sub(1);
    while !is_prime(units) {
        units = units.saturating_sub(2);
    }
    units * unit
}

fn is_prime(odd: u64) -> bool {
    let factors = (3..).step_by(2).take_while(|factor: &u64| factor.saturating_mul(*factor) <= odd);
    factors.into_iter().all(|factor| !odd.is_multiple_of(factor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_the_first_epoch() {
        let epoch = Epoch::of_block(29_999).unwrap();
        assert_eq!((epoch.cache_size(), epoch.dataset_size()), (16_776_896, 1_073_739_904));
        assert_eq!(epoch.seed_hash(), B256::ZERO);
        let next = Epoch::of_block(30_000).unwrap();
        assert_eq!(epoch.next(), Some(next));
        assert_eq!((next.cache_size(), next.dataset_size()), (16_907_456, 1_082_130_304));
        assert_eq!(next.seed_hash(), keccak256(B256::ZERO));
    }

    #[test]
    fn a_hostile_number_is_refused() {
        let last = Epoch::of_block(MAX_EPOCH * EPOCH_LENGTH - 1).unwrap();
        assert_eq!(last.next(), None);
        for number in [MAX_EPOCH * EPOCH_LENGTH, u64::MAX] {
            assert!(matches!(Epoch::of_block(number), Err(EthashError::EpochTooHigh { .. })));
        }
    }

    #[test]
    fn an_epoch_of_double_length_has_the_seed_of_its_first_block() {
        let double = Epoch::with_length(CLASSIC_EPOCH_LENGTH, 11_700_000).unwrap();
        assert_eq!((double.index(), double.first_block()), (195, 11_700_000));
        assert_eq!(double.seed_hash(), Epoch::of_block(11_700_000).unwrap().seed_hash());
        assert_eq!(double.dataset_size(), Epoch::of_block(195 * EPOCH_LENGTH).unwrap().dataset_size());
    }
}
