//! `numeric`, PostgreSQL's decimal type, as it travels in binary: how many groups of four decimal digits, the
//! power of 10,000 that the first one stands for, sign, digits behind the point, then the groups.

use alloy_primitives::U256;
use postgres_types::{FromSql, ToSql, Type};
use std::error::Error;

/// Groups that a 256-bit number needs at most: 78 decimal digits.
const MAX_GROUPS: usize = 20;
/// The sign of a number that is not negative.
const POSITIVE: u16 = 0;

/// Appends `value`.
pub(super) fn put(value: &U256, out: &mut Vec<u8>) {
    let mut groups = [0_u16; MAX_GROUPS];
    let count = split(value, &mut groups);
    let groups = groups.get(..count).unwrap_or_default();
    // Groups of zeros at the end are left out.
    let zeros = groups.iter().take_while(|group| **group == 0).count();
    let groups = groups.get(zeros..).unwrap_or_default();
    let weight = if groups.is_empty() { 0 } else { short(count) - 1 };
    out.extend_from_slice(&short(groups.len()).to_be_bytes());
    out.extend_from_slice(&weight.to_be_bytes());
    out.extend_from_slice(&[0; 4]);
    for group in groups.iter().rev() {
        out.extend_from_slice(&group.to_be_bytes());
    }
}

/// Writes the groups of `value`, the least one first, and returns how many there are.
fn split(value: &U256, groups: &mut [u16; MAX_GROUPS]) -> usize {
    /// Four groups at once.
    const CHUNK: u64 = 10_u64.pow(16);
    let mut rest = *value;
    let mut count = 0;
    for four in groups.chunks_mut(4) {
        let mut chunk = if let Ok(small) = u128::try_from(rest) {
            // Almost all numbers: narrow division is many times faster.
            rest = U256::from(small / u128::from(CHUNK));
            low(small % u128::from(CHUNK))
        } else {
            let (quotient, remainder) = rest.div_rem(U256::from(CHUNK));
            rest = quotient;
            remainder.as_limbs().first().copied().unwrap_or_default()
        };
        for group in four {
            *group = group_of(chunk % 10_000);
            chunk /= 10_000;
        }
        count += 4;
        if rest.is_zero() {
            break;
        }
    }
    let leading = groups.iter().take(count).rev().take_while(|group| **group == 0).count();
    count - leading
}

#[expect(clippy::cast_possible_truncation, reason = "a remainder of 10^16")]
const fn low(chunk: u128) -> u64 {
    chunk as u64
}

#[expect(clippy::cast_possible_truncation, reason = "a remainder of 10,000")]
const fn group_of(group: u64) -> u16 {
    group as u16
}

#[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "at most MAX_GROUPS")]
const fn short(count: usize) -> i16 {
    count as i16
}

/// What [`put`] wrote; `None` for a number that is negative, has a fraction or is too large.
pub(super) fn get(bytes: &[u8]) -> Option<U256> {
    let (words, rest) = bytes.as_chunks::<2>();
    let mut words = words.iter().map(|word| u16::from_be_bytes(*word));
    let (count, weight, sign) = (words.next()?, words.next()?.cast_signed(), words.next()?);
    let _digits_behind_the_point = words.next()?;
    if !rest.is_empty() || sign != POSITIVE || words.len() != usize::from(count) {
        return None;
    }
    if count == 0 {
        return Some(U256::ZERO);
    }
    let missing = u16::try_from(i32::from(weight) + 1 - i32::from(count)).ok()?;
    let base = U256::from(10_000);
    let add = |value: U256, group: u16| value.checked_mul(base)?.checked_add(U256::from(group));
    words.chain(std::iter::repeat_n(0, usize::from(missing))).try_fold(U256::ZERO, add)
}

/// A number of wei in a query's parameters and rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wei(pub(super) U256);

impl<'a> FromSql<'a> for Wei {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        get(raw).map(Self).ok_or_else(|| "it is not a whole number of 256 bits".into())
    }

    fn accepts(kind: &Type) -> bool {
        *kind == Type::NUMERIC
    }
}

impl ToSql for Wei {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut bytes::BytesMut,
    ) -> Result<postgres_types::IsNull, Box<dyn Error + Sync + Send>> {
        let mut encoded = Vec::new();
        put(&self.0, &mut encoded);
        out.extend_from_slice(&encoded);
        Ok(postgres_types::IsNull::No)
    }

    fn accepts(kind: &Type) -> bool {
        *kind == Type::NUMERIC
    }

    postgres_types::to_sql_checked!();
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(value: U256) -> Vec<u8> {
        let mut out = Vec::new();
        put(&value, &mut out);
        out
    }

    #[test]
    fn the_form_is_postgresqls() {
        assert_eq!(encoded(U256::ZERO), [0; 8]);
        assert_eq!(encoded(U256::from(7)), [0, 1, 0, 0, 0, 0, 0, 0, 0, 7]);
        assert_eq!(encoded(U256::from(10_000)), [0, 1, 0, 1, 0, 0, 0, 0, 0, 1]);
        let ether = U256::from(10).pow(U256::from(18));
        assert_eq!(encoded(ether), [0, 1, 0, 4, 0, 0, 0, 0, 0, 100]);
        assert_eq!(encoded(U256::from(123_456_789)), [0, 3, 0, 2, 0, 0, 0, 0, 0, 1, 9, 41, 26, 133]);
        assert_eq!(encoded(U256::MAX).len(), 8 + 2 * MAX_GROUPS);
    }

    #[test]
    fn others_are_refused() {
        assert_eq!(get(&[0, 1, 0, 0, 0x40, 0, 0, 0, 0, 7]), None, "negative");
        assert_eq!(get(&[0, 1, 0xff, 0xff, 0, 0, 0, 4, 0, 7]), None, "a fraction");
        assert_eq!(get(&[0, 1, 0, 30, 0, 0, 0, 0, 0, 7]), None, "too large");
        assert_eq!(get(&[0, 2, 0, 0, 0, 0, 0, 0, 0, 7]), None, "cut");
        assert_eq!(get(&[]), None);
    }

    proptest! {
        #[test]
        fn numbers_come_back(bytes: [u8; 32], shift in 0..256_usize) {
            let value = U256::from_be_bytes(bytes) >> shift;
            prop_assert_eq!(get(&encoded(value)), Some(value));
        }

        #[test]
        fn garbage_never_panics(bytes: Vec<u8>) {
            let _ = get(&bytes);
        }
    }
}
