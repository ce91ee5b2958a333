//! What an event is in a stream: a few fields in the clear, so that a place in the stream is found without decoding
//! any event, and the event itself, a snappy-compressed `quintet.chain.v1.StreamEventsResponse`. Append-only: an
//! entry of a kind or a form that this version does not know is an error, which its reader takes for a gap.
//!
//! Work is all in the clear; see [`work_fields`].
//!
//! A chain entry says which head it leads `from` and `to`. An entry that does not start at a reader's head is how the
//! reader sees that it missed something, whatever the reason.

use crate::Event;
use alloy_primitives::B256;
use bytes::Bytes;
use prost::Message as _;
use quintet_chain_api::{ChainUpdate, update_from_proto, update_to_proto};
use quintet_proto::chain::v1 as proto;
use quintet_types::{BlockRef, ChainEvent, Header, PoolEvent, PoolTransaction, TraceContext, Work};
use redis::{Cmd, Value};
use std::str::FromStr;
use std::sync::Arc;

/// Bytes that an event may have once decompressed. Far above any block; a bound for what foreign bytes can claim.
const DECOMPRESSED_LIMIT: usize = 1 << 28;

/// An entry that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("entry {id} cannot be read: {what}")]
pub(super) struct Unreadable {
    pub(super) id: String,
    pub(super) what: String,
}

/// An entry of a stream, its fields not yet looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its place: milliseconds since the Unix epoch by Redis's clock, a dash, and a number.
    pub(super) id: String,
    fields: Vec<(Bytes, Bytes)>,
}

/// What a chain entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A block or a revert.
    Event,
    /// The head alone: events before it may be missing.
    Head,
}

/// Where a chain entry leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Transition {
    pub(super) kind: Kind,
    /// The head that the event follows; `None` for a head alone.
    pub(super) from: Option<BlockRef>,
    /// The head behind it; `None` when the publisher did not know.
    pub(super) to: Option<BlockRef>,
}

impl Entry {
    fn field(&self, name: &str) -> Option<&Bytes> {
        self.fields.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    fn unreadable(&self, what: impl std::fmt::Display) -> Unreadable {
        Unreadable { id: self.id.clone(), what: what.to_string() }
    }

    fn text(&self, name: &str) -> Result<Option<&str>, Unreadable> {
        let Some(bytes) = self.field(name) else { return Ok(None) };
        let text = std::str::from_utf8(bytes);
        text.map(Some).map_err(|_| self.unreadable(format_args!("`{name}` is no text")))
    }

    fn block(&self, name: &str) -> Result<Option<BlockRef>, Unreadable> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let block = parse_block(text);
        block.map(Some).ok_or_else(|| self.unreadable(format_args!("`{name}` is no block")))
    }

    /// Where this chain entry leads.
    pub(super) fn transition(&self) -> Result<Transition, Unreadable> {
        let kind = match self.text("kind")? {
            Some("block" | "reverted") => Kind::Event,
            Some("head") => Kind::Head,
            other => return Err(self.unreadable(format_args!("unknown kind {other:?}"))),
        };
        Ok(Transition { kind, from: self.block("from")?, to: self.block("to")? })
    }

    /// The chain event in this entry.
    pub(super) fn chain_event(&self) -> Result<ChainEvent, Unreadable> {
        match self.update()? {
            ChainUpdate::Chain(event) => Ok(event),
            ChainUpdate::Pool(_) | ChainUpdate::Gap(_) => Err(self.unreadable("no chain event")),
        }
    }

    /// The transaction in this pool entry.
    pub(super) fn transaction(&self) -> Result<Arc<PoolTransaction>, Unreadable> {
        match self.update()? {
            ChainUpdate::Pool(PoolEvent::Pending(transaction)) => Ok(transaction),
            ChainUpdate::Chain(_) | ChainUpdate::Gap(_) => Err(self.unreadable("no pool event")),
        }
    }

    /// The hash of the transaction in this pool entry.
    pub(super) fn transaction_hash(&self) -> Result<B256, Unreadable> {
        self.parsed("hash")
    }

    /// The work in this entry.
    pub(super) fn work(&self) -> Result<Work, Unreadable> {
        let header = self.field("header").ok_or_else(|| self.unreadable("no `header`"))?;
        let header: Header = alloy_rlp::decode_exact(header).map_err(|error| self.unreadable(error))?;
        let (number, parent): (u64, B256) = (self.parsed("number")?, self.parsed("parent")?);
        if (number, parent) != (header.number, header.parent_hash) {
            return Err(self.unreadable("`number` and `parent` are not the header's"));
        }
        let trace = TraceContext(self.text("traceparent")?.unwrap_or_default().into());
        Ok(Work { header, seal_hash: self.parsed("sealhash")?, token: self.parsed("token")?, trace })
    }

    fn parsed<T: FromStr>(&self, name: &str) -> Result<T, Unreadable> {
        let value = self.text(name)?.and_then(|text| text.parse().ok());
        value.ok_or_else(|| self.unreadable(format_args!("no `{name}`")))
    }

    /// The number of this pool entry; see [`pool_fields`].
    pub(super) fn sequence(&self) -> Option<u64> {
        self.text("sequence").ok()??.parse().ok()
    }

    /// How long ago the entry was added, in seconds by two clocks.
    pub(super) fn age(&self, now_milliseconds: u64) -> Option<f64> {
        let added: u64 = self.id.split('-').next()?.parse().ok()?;
        Some(now_milliseconds.saturating_sub(added) as f64 / 1000.0)
    }

    /// Bytes of the fields.
    pub(super) fn size(&self) -> usize {
        self.fields.iter().map(|(name, value)| name.len() + value.len()).sum()
    }

    fn update(&self) -> Result<ChainUpdate, Unreadable> {
        let data = self.field("data").ok_or_else(|| self.unreadable("no `data`"))?;
        let length = snap::raw::decompress_len(data).map_err(|error| self.unreadable(error))?;
        if length > DECOMPRESSED_LIMIT {
            return Err(self.unreadable(format_args!("{length} bytes decompressed")));
        }
        let message = snap::raw::Decoder::new().decompress_vec(data);
        let message = message.map_err(|error| self.unreadable(error))?;
        let message = proto::StreamEventsResponse::decode(Bytes::from(message));
        let message = message.map_err(|error| self.unreadable(error))?;
        update_from_proto(&message).map_err(|error| self.unreadable(error))
    }
}

/// An entry's fields, to be added to a stream.
pub(super) type Fields = Vec<(&'static str, Vec<u8>)>;

/// The fields of a chain event that leads from one head to another.
pub(super) fn chain_fields(event: &ChainEvent, from: Option<BlockRef>, to: Option<BlockRef>) -> Fields {
    let kind = match event {
        ChainEvent::Block(_) => "block",
        ChainEvent::Reverted(_) => "reverted",
    };
    let mut fields = place_fields(kind, from, to);
    fields.push(("data", compress(&Event::Chain(event.clone()))));
    fields
}

/// The fields of an entry that says where the head is, and nothing else.
pub(super) fn head_fields(head: Option<BlockRef>) -> Fields {
    place_fields("head", None, head)
}

fn place_fields(kind: &str, from: Option<BlockRef>, to: Option<BlockRef>) -> Fields {
    let mut fields = vec![("kind", kind.as_bytes().to_vec())];
    fields.extend(from.map(|from| ("from", print_block(from))));
    fields.extend(to.map(|to| ("to", print_block(to))));
    fields
}

/// The fields of a pending transaction. `sequence` counts the publisher's pool events one by one, so that readers
/// can tell how many they missed; its upper half is the publisher's own.
pub(super) fn pool_fields(transaction: &Arc<PoolTransaction>, sequence: u64) -> Fields {
    let data = compress(&Event::Pool(PoolEvent::Pending(Arc::clone(transaction))));
    vec![
        ("hash", transaction.hash.to_string().into_bytes()),
        ("sequence", sequence.to_string().into_bytes()),
        ("data", data),
    ]
}

/// The fields of work:
/// - `number` of the block, decimal;
/// - `parent`, hash of the block before it, and `sealhash`, what the seal is over: 32 bytes as `0x` and hexadecimal;
/// - `token`, the leader's fencing token, decimal;
/// - `header` without its seal, canonical RLP;
/// - `traceparent`, the W3C trace context of its publication; empty when that was not traced.
pub(super) fn work_fields(work: &Work) -> Fields {
    let header = &work.header;
    vec![
        ("number", header.number.to_string().into_bytes()),
        ("parent", header.parent_hash.to_string().into_bytes()),
        ("sealhash", work.seal_hash.to_string().into_bytes()),
        ("token", work.token.to_string().into_bytes()),
        ("header", alloy_rlp::encode(header)),
        ("traceparent", work.trace.0.as_bytes().to_vec()),
    ]
}

/// `XADD` that keeps the newest `keep` entries.
pub(super) fn add(key: &str, keep: usize, fields: &Fields) -> Cmd {
    let mut command = redis::cmd("XADD");
    command.arg(key).arg("MAXLEN").arg("=").arg(keep).arg("*");
    for (name, value) in fields {
        command.arg(*name).arg(value.as_slice());
    }
    command
}

/// Bytes of an entry's fields.
pub(super) fn size(fields: &Fields) -> usize {
    fields.iter().map(|(name, value)| name.len() + value.len()).sum()
}

fn compress(event: &Event) -> Vec<u8> {
    let update = match event.clone() {
        Event::Chain(event) => ChainUpdate::Chain(event),
        Event::Pool(event) => ChainUpdate::Pool(event),
    };
    let message = update_to_proto(&update).encode_to_vec();
    // It fails only for 4 GiB and more; empty data is unreadable, so a gap.
    snap::raw::Encoder::new().compress_vec(&message).unwrap_or_default()
}

fn print_block(block: BlockRef) -> Vec<u8> {
    format!("{}:{}", block.number, block.hash).into_bytes()
}

fn parse_block(text: &str) -> Option<BlockRef> {
    let (number, hash) = text.split_once(':')?;
    Some(BlockRef { number: number.parse().ok()?, hash: hash.parse().ok()? })
}

/// The entries of an `XRANGE` or `XREVRANGE` answer.
pub(super) fn range_entries(answer: Value) -> Vec<Entry> {
    let Value::Array(rows) = answer else { return Vec::new() };
    rows.into_iter().filter_map(entry).collect()
}

/// The entries of an `XREAD` answer about one stream; none when the wait ended first.
pub(super) fn read_entries(answer: Value) -> Vec<Entry> {
    let entries = match answer {
        Value::Array(streams) => streams.into_iter().next().and_then(|stream| match stream {
            Value::Array(parts) => parts.into_iter().nth(1),
            _ => None,
        }),
        Value::Map(streams) => streams.into_iter().next().map(|(_, entries)| entries),
        _ => None,
    };
    entries.map(range_entries).unwrap_or_default()
}

fn entry(row: Value) -> Option<Entry> {
    let Value::Array(row) = row else { return None };
    let mut row = row.into_iter();
    let id = String::from_utf8(bytes(row.next()?)?.into()).ok()?;
    let Value::Array(words) = row.next()? else { return None };
    let mut words = words.into_iter();
    let mut fields = Vec::new();
    while let (Some(name), Some(value)) = (words.next(), words.next()) {
        fields.push((bytes(name)?, bytes(value)?));
    }
    Some(Entry { id, fields })
}

fn bytes(value: Value) -> Option<Bytes> {
    match value {
        Value::BulkString(bytes) => Some(bytes.into()),
        Value::SimpleString(text) => Some(text.into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_consensus::{SignableTransaction as _, TxEnvelope, TxLegacy};
    use alloy_primitives::{Address, Signature, U256};
    use proptest::prelude::*;
    use quintet_types::{
        AccountDiff, Block, BlockDelta, ExecutedBlock, Header, RecoveredBlock, StateDiff, TraceContext,
    };

    fn legacy(nonce: u64, input: Vec<u8>) -> TxLegacy {
        TxLegacy { nonce, input: input.into(), ..TxLegacy::default() }
    }

    fn entry_of(fields: Fields) -> Entry {
        let fields = fields.into_iter().map(|(name, value)| (name.into(), value.into()));
        Entry { id: "1-0".to_owned(), fields: fields.collect() }
    }

    prop_compose! {
        fn delta()(
            number in 1..u64::MAX,
            parent in any::<[u8; 32]>(),
            inputs in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 0..5),
            storage in proptest::collection::btree_map(any::<u64>(), any::<u64>(), 0..5),
            trace in "[ -~]{0,55}",
        ) -> Arc<BlockDelta> {
            let header = Header { number, parent_hash: parent.into(), ..Header::default() };
            let hash = header.hash_slow();
            let senders = inputs.iter().map(|input| Address::left_padding_from(&input[..input.len().min(20)]));
            let senders = senders.collect();
            let transactions = inputs.into_iter().map(|input| {
                legacy(number, input).into_signed(Signature::test_signature()).into()
            });
            let mut block = Block { header, ..Block::default() };
            block.body.transactions = transactions.collect();
            let storage = storage.into_iter().map(|(slot, value)| (U256::from(slot), U256::from(value)));
            let change = AccountDiff { before: None, after: None, storage: storage.collect() };
            let mut diff = StateDiff::default();
            diff.accounts.insert(Address::repeat_byte(1), change);
            let executed = ExecutedBlock {
                block: Arc::new(RecoveredBlock { hash, block, senders }),
                receipts: Arc::default(),
                diff: Arc::new(diff),
                total_difficulty: U256::from(number),
            };
            Arc::new(BlockDelta { executed, trace: TraceContext(trace.as_str().into()) })
        }
    }

    fn reference() -> impl Strategy<Value = BlockRef> {
        (any::<u64>(), any::<[u8; 32]>()).prop_map(|(number, hash)| BlockRef { number, hash: hash.into() })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_block_survives_the_stream(delta in delta(), from in proptest::option::of(reference())) {
            let to = Some(delta.block_ref());
            let entry = entry_of(chain_fields(&ChainEvent::Block(Arc::clone(&delta)), from, to));
            prop_assert_eq!(entry.transition().unwrap(), Transition { kind: Kind::Event, from, to });
            let ChainEvent::Block(read) = entry.chain_event().unwrap() else { panic!("no block") };
            prop_assert_eq!(read.block_ref(), delta.block_ref());
            prop_assert_eq!(&read.executed.block.block, &delta.executed.block.block);
            prop_assert_eq!(&read.executed.block.senders, &delta.executed.block.senders);
            prop_assert_eq!(&read.executed.diff, &delta.executed.diff);
            prop_assert_eq!(&read.trace, &delta.trace);
            prop_assert!(entry.transaction().is_err());
        }

        #[test]
        fn a_revert_survives_the_stream(blocks in proptest::collection::vec(reference(), 1..20), to in reference()) {
            let event = ChainEvent::Reverted(blocks.as_slice().into());
            let from = blocks.first().copied();
            let entry = entry_of(chain_fields(&event, from, Some(to)));
            prop_assert_eq!(entry.transition().unwrap(), Transition { kind: Kind::Event, from, to: Some(to) });
            let ChainEvent::Reverted(read) = entry.chain_event().unwrap() else { panic!("no revert") };
            prop_assert_eq!(&*read, &*blocks);
        }

        #[test]
        fn a_transaction_survives_the_stream(nonce in any::<u64>(), input in proptest::collection::vec(any::<u8>(), 0..300), sequence in any::<u64>()) {
            let signed = legacy(nonce, input).into_signed(Signature::test_signature());
            let transaction = TxEnvelope::Legacy(signed);
            let hash = *transaction.tx_hash();
            let sender = Address::repeat_byte(7);
            let pooled = Arc::new(PoolTransaction { hash, sender, transaction, trace: TraceContext::default() });
            let entry = entry_of(pool_fields(&pooled, sequence));
            prop_assert_eq!(entry.sequence(), Some(sequence));
            prop_assert_eq!(entry.transaction_hash().unwrap(), hash);
            let read = entry.transaction().unwrap();
            prop_assert_eq!((read.hash, read.sender, &read.transaction), (hash, sender, &pooled.transaction));
            prop_assert!(entry.chain_event().is_err());
        }

        #[test]
        fn work_survives_the_stream_whole_or_not_at_all(
            number in any::<u64>(),
            hashes in any::<[[u8; 32]; 2]>(),
            extra in proptest::collection::vec(any::<u8>(), 0..33),
            base_fee_per_gas in proptest::option::of(any::<u64>()),
            token in any::<u64>(),
            trace in "[ -~]{0,55}",
            spoilt in any::<proptest::sample::Index>(),
        ) {
            let [parent_hash, seal_hash] = hashes.map(B256::from);
            let extra_data = extra.into();
            let header = Header { number, parent_hash, extra_data, base_fee_per_gas, ..Header::default() };
            let work = Work { header, seal_hash, token, trace: TraceContext(trace.as_str().into()) };
            let fields = work_fields(&work);
            prop_assert_eq!(entry_of(fields.clone()).work().unwrap(), work);
            // All but the trace is needed, and a byte more is one too many.
            let spoilt = spoilt.index(fields.len() - 1);
            let mut longer = fields.clone();
            longer[spoilt].1.push(b'x');
            prop_assert!(entry_of(longer).work().is_err());
            let mut fewer = fields;
            fewer.remove(spoilt);
            prop_assert!(entry_of(fewer).work().is_err());
        }

        #[test]
        fn arbitrary_entries_do_not_panic(
            id in ".{0,20}",
            bytes in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..100), 10),
            compress in any::<bool>(),
        ) {
            let names = [
                "kind", "from", "to", "data", "hash", "sequence", "header", "token", "parent", "traceparent",
            ];
            let fields = names.into_iter().zip(bytes).map(|(name, value)| {
                let squeeze = compress && name == "data";
                (name, if squeeze { snap::raw::Encoder::new().compress_vec(&value).unwrap() } else { value })
            });
            let mut entry = entry_of(fields.collect());
            entry.id = id;
            let _ = (entry.transition(), entry.chain_event(), entry.transaction(), entry.transaction_hash());
            let _ = (entry.sequence(), entry.age(5), entry.work());
        }
    }

    #[test]
    fn a_bomb_is_not_decompressed() {
        // Snappy's header alone: it claims 4 GiB - 1.
        let entry = entry_of(vec![("kind", b"block".to_vec()), ("data", vec![0xff, 0xff, 0xff, 0xff, 0x0f])]);
        assert!(entry.chain_event().unwrap_err().what.contains("decompressed"));
    }

    #[test]
    fn answers_that_are_none_hold_no_entries() {
        let odd = Value::Array(vec![Value::Int(3), Value::Array(vec![Value::Nil]), Value::Nil]);
        assert!(range_entries(odd.clone()).is_empty() && read_entries(odd).is_empty());
        assert!(range_entries(Value::Nil).is_empty() && read_entries(Value::Nil).is_empty());
    }
}
