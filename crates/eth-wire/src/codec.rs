//! Strict and bounded decoding of RLP lists.

use crate::{MAX_DECODED_SIZE, MAX_MESSAGE_SIZE, Malformed, WireError};
use alloy_primitives::Bytes;
use alloy_rlp::{Decodable, Header};

/// What the smallest allocation takes.
const ALLOCATION: usize = 32;

/// What is left for a message to take in memory.
#[derive(Debug)]
pub(crate) struct Budget(usize);

impl Budget {
    /// A whole message's.
    pub(crate) const fn new() -> Self {
        Self(MAX_DECODED_SIZE)
    }

    /// Pays for `count` values of type `T`.
    fn pay<T>(&mut self, count: usize) -> Result<(), Malformed> {
        let cost = count.checked_mul(size_of::<T>()).ok_or(Malformed::Memory(MAX_DECODED_SIZE))?;
        self.0 = self.0.checked_sub(cost).ok_or(Malformed::Memory(MAX_DECODED_SIZE))?;
        Ok(())
    }
}

/// The fields of an RLP list, in order.
#[derive(Debug)]
pub(crate) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// Opens the list at the head of `input` and moves past it.
    pub(crate) fn open(input: &mut &'a [u8]) -> Result<Self, Malformed> {
        Ok(Self(Header::decode_bytes(input, true)?))
    }

    /// The next field.
    pub(crate) fn next<T: Decodable>(&mut self) -> Result<T, Malformed> {
        Ok(T::decode(&mut self.0)?)
    }

    /// The next field, a byte string.
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        Ok(Header::decode_bytes(&mut self.0, false)?)
    }

    /// What is left, for a field that has a decoder of its own.
    pub(crate) const fn rest(&mut self) -> &mut &'a [u8] {
        &mut self.0
    }

    /// Whether no field is left.
    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Refuses fields that nobody asked for.
    pub(crate) const fn end(self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed::Surplus(self.0.len())) }
    }
}

/// Decodes the list at the head of `input` by `item`. Its items are counted, and paid for, before any of them is
/// decoded.
pub(crate) fn list<'a, T>(
    input: &mut &'a [u8],
    budget: &mut Budget,
    limit: usize,
    mut item: impl FnMut(&mut &'a [u8], &mut Budget) -> Result<T, Malformed>,
) -> Result<Vec<T>, Malformed> {
    let mut payload = Header::decode_bytes(input, true)?;
    let count = count_items(payload)?;
    if count > limit {
        return Err(Malformed::TooMany { count, limit });
    }
    budget.pay::<T>(count)?;
    let mut items = Vec::with_capacity(count);
    while !payload.is_empty() {
        let mut one = take_item(&mut payload)?;
        items.push(item(&mut one, budget)?);
        if !one.is_empty() {
            return Err(Malformed::Surplus(one.len()));
        }
    }
    Ok(items)
}

/// An item that decodes itself, for [`list`].
pub(crate) fn plain<T: Decodable>(input: &mut &[u8], _: &mut Budget) -> Result<T, Malformed> {
    Ok(T::decode(input)?)
}

/// A byte string, for [`list`]. Each is an allocation of its own, which the shortest ones pay for as well.
pub(crate) fn string(input: &mut &[u8], budget: &mut Budget) -> Result<Bytes, Malformed> {
    budget.pay::<[u8; ALLOCATION]>(1)?;
    plain(input, budget)
}

/// No limit but the message's own length: items that take no more memory than they have bytes.
pub(crate) const UNLIMITED: usize = usize::MAX;

fn count_items(mut payload: &[u8]) -> Result<usize, Malformed> {
    let mut count = 0_usize;
    while !payload.is_empty() {
        take_item(&mut payload)?;
        count = count.saturating_add(1);
    }
    Ok(count)
}

/// The item at the head of `input`, its own header included; moves past it.
pub(crate) fn take_item<'a>(input: &mut &'a [u8]) -> Result<&'a [u8], Malformed> {
    let whole = *input;
    let header = Header::decode(input)?;
    // A single byte below 0x80 is its own payload, and then the header took nothing.
    let taken = whole.len().saturating_sub(input.len()).saturating_add(header.payload_length);
    let (item, rest) = whole.split_at_checked(taken).ok_or(alloy_rlp::Error::InputTooShort)?;
    *input = rest;
    Ok(item)
}

/// Decodes a whole message by `decode`.
pub(crate) fn message<'a, T>(
    name: &'static str,
    bytes: &'a [u8],
    decode: impl FnOnce(&mut &'a [u8], &mut Budget) -> Result<T, Malformed>,
) -> Result<T, WireError> {
    if bytes.len() > MAX_MESSAGE_SIZE {
        return Err(WireError::TooLarge { message: name, size: bytes.len(), limit: MAX_MESSAGE_SIZE });
    }
    let mut input = bytes;
    let decoded = decode(&mut input, &mut Budget::new()).and_then(|decoded| match input.len() {
        0 => Ok(decoded),
        surplus => Err(Malformed::Surplus(surplus)),
    });
    decoded.map_err(|reason| WireError::Malformed { message: name, reason })
}
