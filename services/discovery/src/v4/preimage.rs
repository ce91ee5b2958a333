//! A key whose node id is near a target: discovery v4 asks for the neighbours of keys, and ids are their hashes.
//!
//! Keys are tried until their id has the target's first bits. That is as good as the key itself in every network that
//! has fewer nodes than there are ids with these bits.

use alloy_primitives::{B256, keccak256};
use quintet_enode::PublicKey;

/// Bits that are to agree: 65,536 nodes are told apart.
const BITS: u32 = 16;
/// Keys that are tried, some four times as many as it takes on average.
const TRIES: u64 = 1 << 18;

/// A key near `target`: of those tried the nearest. It need not be on the curve.
pub(super) fn near(target: B256) -> PublicKey {
    let mut key = PublicKey::random();
    let mut best = (B256::repeat_byte(0xff), key);
    for counter in 0..TRIES {
        if let Some(first) = key.first_chunk_mut::<8>() {
            *first = counter.to_be_bytes();
        }
        let distance = keccak256(key) ^ target;
        if distance < best.0 {
            best = (distance, key);
        }
        if leading_zeros(&distance) >= BITS {
            break;
        }
    }
    best.1
}

fn leading_zeros(distance: &B256) -> u32 {
    distance.first_chunk().map_or(0, |first| u64::from_be_bytes(*first).leading_zeros())
}

#[cfg(test)]
mod tests {
    use super::{BITS, leading_zeros, near};
    use alloy_primitives::{B256, keccak256};

    #[test]
    fn the_first_bits_agree() {
        for target in [B256::ZERO, B256::repeat_byte(0xff), B256::random()] {
            let distance = keccak256(near(target)) ^ target;
            // Missing it by some bits once in a hundred runs is as good.
            assert!(leading_zeros(&distance) >= BITS - 4, "{distance}");
        }
    }
}
