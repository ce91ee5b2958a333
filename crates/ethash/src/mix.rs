//! The 64 bytes that Ethash computes with, as little-endian words, and FNV on them.

/// FNV's prime, from which Ethash takes a hash that is not FNV-1 of bytes.
const FNV_PRIME: u32 = 0x0100_0193;

/// An item of a cache or dataset: 64 bytes as 16 little-endian words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item(pub [u32; 16]);

impl Item {
    pub(crate) const ZERO: Self = Self([0; 16]);

    /// The item's bytes.
    pub fn to_bytes(self) -> [u8; 64] {
        let mut bytes = [0; 64];
        for (chunk, word) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(self.0) {
            *chunk = word.to_le_bytes();
        }
        bytes
    }

    /// The item of these bytes.
    pub fn from_bytes(bytes: &[u8; 64]) -> Self {
        let mut item = Self::ZERO;
        for (word, chunk) in item.0.iter_mut().zip(bytes.as_chunks::<4>().0) {
            *word = u32::from_le_bytes(*chunk);
        }
        item
    }

    /// The exclusive or of two items.
    #[inline]
    pub(crate) fn xor(mut self, other: &Self) -> Self {
        for (word, other) in self.0.iter_mut().zip(other.0) {
            *word ^= other;
        }
        self
    }
}

#[inline]
pub(crate) const fn fnv(a: u32, b: u32) -> u32 {
    a.wrapping_mul(FNV_PRIME) ^ b
}

/// FNV of every word with the other item's.
#[inline]
pub(crate) fn fnv_all(words: &mut [u32; 16], other: &Item) {
    for (word, other) in words.iter_mut().zip(other.0) {
        *word = fnv(*word, other);
    }
}

/// Remainders by one divisor without division (Lemire, Kaser, Kurz: "Faster remainder by direct
/// computation", 2019).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Modulus {
    divisor: u32,
    inverse: u64,
}

impl Modulus {
    /// The divisor must not be zero: it is the size of a cache or dataset.
    pub(crate) const fn new(divisor: u32) -> Self {
        let divisor = if divisor == 0 { 1 } else { divisor };
        Self { divisor, inverse: (u64::MAX / divisor as u64).wrapping_add(1) }
    }

    #[inline]
    pub(crate) fn of(self, value: u32) -> usize {
        let fraction = self.inverse.wrapping_mul(u64::from(value));
        let remainder = (u128::from(fraction) * u128::from(self.divisor)) >> 64;
        // Below the divisor, so it fits.
        #[allow(clippy::cast_possible_truncation)]
        let remainder = remainder as usize;
        remainder
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn remainders_are_those_of_division(value: u32, divisor in 1u32..) {
            prop_assert_eq!(Modulus::new(divisor).of(value), (value % divisor) as usize);
        }

        #[test]
        fn bytes_survive(words: [u32; 16]) {
            prop_assert_eq!(Item::from_bytes(&Item(words).to_bytes()), Item(words));
        }
    }
}
