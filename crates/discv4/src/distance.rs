//! The metric of node ids: the exclusive or, taken as a number.

use alloy_primitives::B256;

/// The number of bits of the distance between two ids: 0 for the same, 256 for ids that differ in their first bit.
pub fn log_distance(a: &B256, b: &B256) -> usize {
    let difference = distance(a, b);
    let zeros: u32 = match difference.iter().position(|byte| *byte != 0) {
        Some(index) => {
            let bits = difference.get(index).map_or(0, |byte| byte.leading_zeros());
            u32::try_from(index).unwrap_or_default().saturating_mul(8).saturating_add(bits)
        }
        None => 256,
    };
    256_usize.saturating_sub(zeros as usize)
}

/// The distance, whose order is the order of its bytes.
pub fn distance(a: &B256, b: &B256) -> B256 {
    *a ^ *b
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_have_the_length_of_their_number() {
        let at = |index: usize, byte: u8| {
            let mut id = B256::repeat_byte(7);
            id[index] ^= byte;
            id
        };
        let own = B256::repeat_byte(7);
        assert_eq!(log_distance(&own, &own), 0);
        assert_eq!(log_distance(&own, &at(31, 1)), 1);
        assert_eq!(log_distance(&own, &at(31, 0x80)), 8);
        assert_eq!(log_distance(&own, &at(30, 0x03)), 10);
        assert_eq!(log_distance(&own, &at(0, 0x80)), 256);
        assert!(distance(&own, &at(31, 0xff)) < distance(&own, &at(30, 1)));
    }
}
