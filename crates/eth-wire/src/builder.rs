//! Lists assembled in place.

use crate::SOFT_RESPONSE_SIZE;
use alloy_rlp::{Encodable, Header};
use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Room at the front for what is only known at the end: the list's header, the request id, the message's header.
const HEADROOM: usize = 3 * 9;

/// Assembles a message that is a list, or an id and a list, in one buffer: items are appended as they come, from their
/// values or from bytes that are encoded already, and the headers are written before them at the end.
/// Nothing is copied twice.
#[derive(Debug)]
pub struct ListBuilder {
    buffer: BytesMut,
    items: usize,
}

impl Default for ListBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl ListBuilder {
    /// An empty list.
    pub fn new() -> Self {
        Self::with_capacity(0)
    }

    /// An empty list with room for `bytes`.
    pub fn with_capacity(bytes: usize) -> Self {
        let mut buffer = BytesMut::with_capacity(bytes.saturating_add(HEADROOM));
        buffer.put_bytes(0, HEADROOM);
        Self { buffer, items: 0 }
    }

    /// Bytes of the items so far: what soft limits are about.
    pub fn size(&self) -> usize {
        self.buffer.len().saturating_sub(HEADROOM)
    }

    /// Whether an answer ends here ([`SOFT_RESPONSE_SIZE`]).
    pub fn is_full(&self) -> bool {
        self.size() >= SOFT_RESPONSE_SIZE
    }

    /// How many items there are.
    pub const fn items(&self) -> usize {
        self.items
    }

    /// Appends a value.
    pub fn push(&mut self, item: &impl Encodable) {
        item.encode(&mut self.buffer);
        self.items = self.items.saturating_add(1);
    }

    /// Appends values.
    pub fn extend<'a, T: Encodable + 'a>(&mut self, items: impl IntoIterator<Item = &'a T>) {
        for item in items {
            self.push(item);
        }
    }

    /// Appends an item's RLP.
    pub fn push_rlp(&mut self, item: &[u8]) {
        self.buffer.extend_from_slice(item);
        self.items = self.items.saturating_add(1);
    }

    /// Appends what `push` does, unless the items would take more than `limit` bytes then. Says whether they do not.
    pub fn push_within(&mut self, limit: usize, push: impl FnOnce(&mut Self)) -> bool {
        let (length, items) = (self.buffer.len(), self.items);
        push(self);
        let fits = self.size() <= limit;
        if !fits {
            self.buffer.truncate(length);
            self.items = items;
        }
        fits
    }

    /// Appends a byte string.
    pub fn push_bytes(&mut self, item: &[u8]) {
        item.encode(&mut self.buffer);
        self.items = self.items.saturating_add(1);
    }

    /// Appends an EIP-2718 encoding: a legacy object as the list that it is, a typed one as a byte string.
    pub fn push_2718(&mut self, item: &[u8]) {
        match item.first() {
            Some(first) if *first >= alloy_rlp::EMPTY_LIST_CODE => self.push_rlp(item),
            _ => self.push_bytes(item),
        }
    }

    /// Appends an item that `write` encodes.
    pub fn push_with(&mut self, write: impl FnOnce(&mut BytesMut)) {
        write(&mut self.buffer);
        self.items = self.items.saturating_add(1);
    }

    /// The list alone.
    pub fn finish(self) -> Bytes {
        self.finish_with_id(None)
    }

    /// `[id, list]`; the list alone where there is no request id.
    pub fn finish_with_id(self, id: Option<u64>) -> Bytes {
        let list = Header { list: true, payload_length: self.size() };
        let mut head = Vec::with_capacity(HEADROOM);
        if let Some(id) = id {
            let payload_length = id.length().saturating_add(list.length_with_payload());
            Header { list: true, payload_length }.encode(&mut head);
            id.encode(&mut head);
        }
        list.encode(&mut head);
        self.behind(&head)
    }

    /// `[id, list, tail…]`, `tail` being RLP.
    pub fn finish_with_tail(mut self, id: u64, tail: &[u8]) -> Bytes {
        let list = Header { list: true, payload_length: self.size() };
        let payload_length =
            id.length().saturating_add(list.length_with_payload()).saturating_add(tail.len());
        let mut head = Vec::with_capacity(HEADROOM);
        Header { list: true, payload_length }.encode(&mut head);
        id.encode(&mut head);
        list.encode(&mut head);
        self.buffer.extend_from_slice(tail);
        self.behind(&head)
    }

    /// The items behind `head`, which takes the end of the room before them.
    fn behind(mut self, head: &[u8]) -> Bytes {
        let start = HEADROOM.saturating_sub(head.len());
        if let Some(room) = self.buffer.get_mut(start..HEADROOM) {
            room.copy_from_slice(head);
        }
        self.buffer.advance(start);
        self.buffer.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::Bytes as ByteString;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_list_is_what_rlp_makes_of_it(
            items in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..20),
            id: u64,
            tail: Vec<u64>,
        ) {
            let mut builders = [ListBuilder::new(), ListBuilder::with_capacity(100), ListBuilder::new()];
            for item in &items {
                for builder in &mut builders {
                    builder.push_bytes(item);
                }
            }
            prop_assert_eq!(builders[0].items(), items.len());
            let [alone, with_id, with_tail] = builders;
            let list = items.iter().map(|item| ByteString::from(item.clone())).collect::<Vec<_>>();
            prop_assert_eq!(alone.size(), list.iter().map(Encodable::length).sum::<usize>());
            prop_assert_eq!(&alone.finish()[..], &alloy_rlp::encode(&list)[..]);
            let wrap = |parts: &[Vec<u8>]| {
                let mut out = Vec::new();
                let payload = parts.concat();
                Header { list: true, payload_length: payload.len() }.encode(&mut out);
                out.extend_from_slice(&payload);
                out
            };
            let pair = [alloy_rlp::encode(id), alloy_rlp::encode(&list)];
            prop_assert_eq!(&with_id.finish_with_id(Some(id))[..], &wrap(&pair)[..]);
            let tail = alloy_rlp::encode(tail);
            let [id_rlp, list_rlp] = pair;
            let triple = [id_rlp, list_rlp, tail.clone()];
            prop_assert_eq!(&with_tail.finish_with_tail(id, &tail)[..], &wrap(&triple)[..]);
        }
    }

    #[test]
    fn legacy_objects_are_lists_and_typed_ones_strings() {
        let mut builder = ListBuilder::new();
        builder.push_2718(&[0xc1, 0x01]);
        builder.push_2718(&[0x02, 0xc0]);
        assert_eq!(&builder.finish()[..], &[0xc5, 0xc1, 0x01, 0x82, 0x02, 0xc0]);
    }
}
