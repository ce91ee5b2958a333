//! Keccak-256 of many short inputs: eight at once where the processor has AVX-512, one by one elsewhere.
//!
//! A trie's nodes are hashed level by level, so there are always many inputs that do not depend on each other.

use alloy_primitives::{B256, keccak256};

/// The hash of each input, in order.
pub(crate) fn hash_many(inputs: &[&[u8]]) -> Vec<B256> {
    #[cfg(target_arch = "x86_64")]
    if inputs.len() >= avx512::WORTH_IT && std::arch::is_x86_feature_detected!("avx512f") {
        return avx512::hash_many(inputs);
    }
    inputs.iter().map(keccak256).collect()
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    // Intrinsics that touch memory take pointers, and a function for some processors only must be called with
    // care. Every index is a constant, or counts through an array of that length.
    #![allow(unsafe_code, clippy::indexing_slicing)]

    use alloy_primitives::{B256, keccak256};
    use std::arch::x86_64::{
        __m512i, _mm512_loadu_si512, _mm512_rolv_epi64, _mm512_set1_epi64, _mm512_setzero_si512,
        _mm512_storeu_si512, _mm512_ternarylogic_epi64, _mm512_xor_si512,
    };

    /// From this many inputs on, a round of eight lanes is faster than that many single hashes.
    pub(super) const WORTH_IT: usize = 3;

    /// States that are permuted at once.
    const LANES: usize = 8;
    /// Bytes that one permutation takes in.
    const RATE: usize = 136;
    const RATE_WORDS: usize = RATE / 8;

    const ROUND_CONSTANTS: [u64; 24] = [
        0x0000_0000_0000_0001,
        0x0000_0000_0000_8082,
        0x8000_0000_0000_808a,
        0x8000_0000_8000_8000,
        0x0000_0000_0000_808b,
        0x0000_0000_8000_0001,
        0x8000_0000_8000_8081,
        0x8000_0000_0000_8009,
        0x0000_0000_0000_008a,
        0x0000_0000_0000_0088,
        0x0000_0000_8000_8009,
        0x0000_0000_8000_000a,
        0x0000_0000_8000_808b,
        0x8000_0000_0000_008b,
        0x8000_0000_0000_8089,
        0x8000_0000_0000_8003,
        0x8000_0000_0000_8002,
        0x8000_0000_0000_0080,
        0x0000_0000_0000_800a,
        0x8000_0000_8000_000a,
        0x8000_0000_8000_8081,
        0x8000_0000_0000_8080,
        0x0000_0000_8000_0001,
        0x8000_0000_8000_8008,
    ];

    /// Which word comes next in the step π, and by how much ρ rotates it.
    const PI_RHO: [(usize, i64); 24] = [
        (10, 1),
        (7, 3),
        (11, 6),
        (17, 10),
        (18, 15),
        (3, 21),
        (5, 28),
        (16, 36),
        (8, 45),
        (21, 55),
        (24, 2),
        (4, 14),
        (15, 27),
        (23, 41),
        (19, 56),
        (13, 8),
        (12, 25),
        (2, 43),
        (20, 62),
        (14, 18),
        (22, 39),
        (9, 61),
        (6, 20),
        (1, 44),
    ];

    /// The hash of each input, in order. The processor must have AVX-512.
    pub(super) fn hash_many(inputs: &[&[u8]]) -> Vec<B256> {
        let mut hashes = vec![B256::ZERO; inputs.len()];
        // Lanes that run for as long as each other share a round.
        let mut order: Vec<(usize, usize)> = inputs.iter().map(|input| input.len() / RATE).zip(0..).collect();
        order.sort_unstable();
        let mut groups = order.chunks(LANES).peekable();
        while let Some(group) = groups.next() {
            if groups.peek().is_none() && group.len() < WORTH_IT {
                for &(_, at) in group {
                    hashes[at] = keccak256(inputs[at]);
                }
                break;
            }
            let lanes = std::array::from_fn(|lane| group.get(lane).map_or(&[][..], |&(_, at)| inputs[at]));
            // SAFETY: the caller has seen that the processor has AVX-512.
            let digests = unsafe { hash_lanes(&lanes) };
            for (&(_, at), digest) in group.iter().zip(digests) {
                hashes[at] = digest;
            }
        }
        hashes
    }

    #[target_feature(enable = "avx512f")]
    fn hash_lanes(inputs: &[&[u8]; LANES]) -> [B256; LANES] {
        let mut state = [_mm512_setzero_si512(); 25];
        let mut hashes = [B256::ZERO; LANES];
        let rounds = inputs.iter().map(|input| input.len() / RATE).max().unwrap_or_default();
        for index in 0..=rounds {
            let mut words = [[0u64; LANES]; RATE_WORDS];
            for (lane, input) in inputs.iter().enumerate() {
                let block = block(input, index);
                for (word, bytes) in words.iter_mut().zip(block.as_chunks::<8>().0) {
                    word[lane] = u64::from_le_bytes(*bytes);
                }
            }
            for (of_state, word) in state.iter_mut().zip(&words) {
                // SAFETY: `word` is 64 bytes, and the load needs no alignment.
                *of_state = _mm512_xor_si512(*of_state, unsafe { _mm512_loadu_si512(word.as_ptr().cast()) });
            }
            permute(&mut state);
            for (lane, input) in inputs.iter().enumerate() {
                if input.len() / RATE == index {
                    hashes[lane] = digest(&state, lane);
                }
            }
        }
        hashes
    }

    /// One block of an input with its padding; zeros behind its last.
    fn block(input: &[u8], index: usize) -> [u8; RATE] {
        let mut block = [0; RATE];
        let Some(rest) = input.get(index * RATE..) else { return block };
        if let Some((whole, _)) = rest.split_first_chunk::<RATE>() {
            return *whole;
        }
        block[..rest.len()].copy_from_slice(rest);
        block[rest.len()] = 0x01;
        block[RATE - 1] |= 0x80;
        block
    }

    #[target_feature(enable = "avx512f")]
    fn digest(state: &[__m512i; 25], lane: usize) -> B256 {
        let mut digest = B256::ZERO;
        for (bytes, word) in digest.0.as_chunks_mut::<8>().0.iter_mut().zip(state) {
            let mut lanes = [0u64; LANES];
            // SAFETY: `lanes` is 64 bytes, and the store needs no alignment.
            unsafe { _mm512_storeu_si512(lanes.as_mut_ptr().cast(), *word) };
            *bytes = lanes[lane].to_le_bytes();
        }
        digest
    }

    /// Keccak-f[1600] (FIPS 202, 3.3) on eight states.
    #[target_feature(enable = "avx512f")]
    #[inline]
    fn permute(a: &mut [__m512i; 25]) {
        /// Truth table of `x ^ y ^ z`.
        const XOR3: i32 = 0x96;
        /// Truth table of `x ^ (!y & z)`.
        const CHI: i32 = 0xd2;
        for constant in ROUND_CONSTANTS {
            let column = |x: usize| {
                let three = _mm512_ternarylogic_epi64::<XOR3>(a[x], a[x + 5], a[x + 10]);
                _mm512_ternarylogic_epi64::<XOR3>(three, a[x + 15], a[x + 20])
            };
            let columns = [column(0), column(1), column(2), column(3), column(4)];
            for x in 0..5 {
                let right = _mm512_rolv_epi64(columns[(x + 1) % 5], _mm512_set1_epi64(1));
                for y in 0..5 {
                    let at = x + 5 * y;
                    a[at] = _mm512_ternarylogic_epi64::<XOR3>(a[at], columns[(x + 4) % 5], right);
                }
            }
            let mut moved = a[1];
            for (to, by) in PI_RHO {
                let next = a[to];
                a[to] = _mm512_rolv_epi64(moved, _mm512_set1_epi64(by));
                moved = next;
            }
            for y in 0..5 {
                let row = [a[5 * y], a[5 * y + 1], a[5 * y + 2], a[5 * y + 3], a[5 * y + 4]];
                for x in 0..5 {
                    a[5 * y + x] =
                        _mm512_ternarylogic_epi64::<CHI>(row[x], row[(x + 1) % 5], row[(x + 2) % 5]);
                }
            }
            a[0] = _mm512_xor_si512(a[0], _mm512_set1_epi64(constant.cast_signed()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every length up to five blocks, in groups of every size, mixed lengths in each.
    #[test]
    fn many_hashes_are_single_hashes() {
        let bytes: Vec<u8> = (0..700u32).map(|n| u8::try_from(n * 7 % 251).unwrap()).collect();
        let inputs: Vec<&[u8]> = (0..=700).map(|len| &bytes[..(len * 271) % 701]).collect();
        for size in [0, 1, 2, 3, 7, 8, 9, 19, 701] {
            for group in inputs.chunks(size.max(1)).map(|group| &group[..size.min(group.len())]) {
                let expected: Vec<B256> = group.iter().map(keccak256).collect();
                assert_eq!(hash_many(group), expected);
            }
        }
    }
}
