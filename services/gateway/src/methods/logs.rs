//! `eth_getLogs`: blocks are passed over by their header's bloom, receipts are read where it may hold.

use super::context::{Context, Output, Stop};
use crate::decode::{self, BlockTag};
use crate::error::RpcError;
use crate::json;
use crate::params::Params;
use crate::read::{Reads, View};
use crate::render::{LogPlace, write_log};
use alloy_primitives::{Address, B256, Bloom, BloomInput, Log};
use quintet_types::{Receipt, RecoveredBlock};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::sync::Arc;

/// Topics that a log can have.
const MOST_TOPICS: usize = 4;
/// Alternatives for one topic.
const MOST_ALTERNATIVES: usize = 1000;
/// Addresses in one filter.
const MOST_ADDRESSES: usize = 1000;

/// Which logs are wanted: geth's `FilterCriteria`.
#[derive(Clone, Debug, Default)]
pub(crate) struct LogFilter {
    pub(crate) block_hash: Option<B256>,
    pub(crate) from: Option<BlockTag>,
    pub(crate) to: Option<BlockTag>,
    /// Any of these; all when empty.
    addresses: Vec<(Address, BloomHash)>,
    /// At each place any of these; anything when empty.
    topics: Vec<Vec<(B256, BloomHash)>>,
}

/// The Keccak-256 that a value sets its bits in a bloom by.
type BloomHash = B256;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound = "'de: 'a")]
struct Fields<'a> {
    block_hash: Option<&'a RawValue>,
    from_block: Option<&'a RawValue>,
    to_block: Option<&'a RawValue>,
    address: Option<&'a RawValue>,
    topics: Option<&'a RawValue>,
}

impl LogFilter {
    /// Decodes a filter, failing in geth's words.
    pub(crate) fn decode(raw: &str) -> Result<Self, String> {
        let fields: Fields<'_> =
            serde_json::from_str(raw).map_err(|_| decode::cannot_unmarshal("value", "filters.input"))?;
        let block_hash = fields.block_hash.map(|hash| decode::hash(hash.get())).transpose()?;
        if block_hash.is_some() && (fields.from_block.is_some() || fields.to_block.is_some()) {
            return Err(
                "cannot specify both BlockHash and FromBlock/ToBlock, choose one or the other".to_owned()
            );
        }
        let tag = |raw: Option<&RawValue>| raw.map(|raw| decode::block_tag(raw.get())).transpose();
        let filter = Self {
            block_hash,
            from: tag(fields.from_block)?,
            to: tag(fields.to_block)?,
            addresses: fields.address.map_or(Ok(Vec::new()), |raw| addresses(raw.get()))?,
            topics: fields.topics.map_or(Ok(Vec::new()), |raw| topics(raw.get()))?,
        };
        // geth counts topics while it decodes, the rest afterwards.
        if filter.topics.len() > MOST_TOPICS { Err("exceed max topics".to_owned()) } else { Ok(filter) }
    }

    /// What geth refuses before it looks at a block.
    pub(crate) fn check(&self) -> Result<(), RpcError> {
        if self.topics.iter().any(|alternatives| alternatives.len() > MOST_ALTERNATIVES) {
            return Err(RpcError::params("exceed max topics per search position: 1000"));
        }
        if self.addresses.len() > MOST_ADDRESSES {
            return Err(RpcError::params("exceed max addresses or topics per search position"));
        }
        Ok(())
    }

    /// Whether a bloom allows for a log of this filter.
    pub(crate) fn may_be_in(&self, bloom: &Bloom) -> bool {
        let holds = |hash: &BloomHash| bloom.contains_input(BloomInput::Hash(*hash));
        let any_address = self.addresses.is_empty() || self.addresses.iter().any(|(_, hash)| holds(hash));
        any_address
            && self.topics.iter().all(|alternatives| {
                alternatives.is_empty() || alternatives.iter().any(|(_, hash)| holds(hash))
            })
    }

    /// Whether the log is wanted.
    pub(crate) fn matches(&self, log: &Log) -> bool {
        let of_address =
            self.addresses.is_empty() || self.addresses.iter().any(|(address, _)| *address == log.address);
        let topics = log.topics();
        of_address
            && self.topics.len() <= topics.len()
            && self.topics.iter().zip(topics).all(|(alternatives, topic)| {
                alternatives.is_empty() || alternatives.iter().any(|(wanted, _)| wanted == topic)
            })
    }
}

fn bloom_hash(bytes: &[u8]) -> BloomHash {
    alloy_primitives::keccak256(bytes)
}

fn addresses(raw: &str) -> Result<Vec<(Address, BloomHash)>, String> {
    let one = |raw: &str| {
        let text = decode::text(raw).ok_or_else(|| "non-string address at index 0".to_owned())?;
        let address =
            decode::address(&format!("\"{text}\"")).map_err(|error| format!("invalid address: {error}"))?;
        Ok((address, bloom_hash(address.as_slice())))
    };
    match raw.as_bytes().first() {
        Some(b'n') => Ok(Vec::new()),
        Some(b'[') => decode::list(raw, "[]interface {}", one),
        Some(b'"') => one(raw).map(|address| vec![address]),
        _ => Err("invalid addresses in query".to_owned()),
    }
}

fn topics(raw: &str) -> Result<Vec<Vec<(B256, BloomHash)>>, String> {
    let one = |raw: &str| {
        let topic = decode::hash(raw).map_err(|_| "invalid topic(s)".to_owned())?;
        Ok((topic, bloom_hash(topic.as_slice())))
    };
    decode::list(raw, "[]interface {}", |raw| match raw.as_bytes().first() {
        Some(b'n') => Ok(Vec::new()),
        Some(b'"') => one(raw).map(|topic| vec![topic]),
        // A `null` among alternatives allows for anything.
        Some(b'[') => {
            let alternatives: Vec<Option<&RawValue>> =
                serde_json::from_str(raw).map_err(|_| "invalid topic(s)".to_owned())?;
            if alternatives.iter().any(Option::is_none) {
                return Ok(Vec::new());
            }
            alternatives.into_iter().flatten().map(|topic| one(topic.get())).collect()
        }
        _ => Err("invalid topic(s)".to_owned()),
    })
}

/// `eth_getLogs`.
pub(super) fn logs(context: &mut Context<'_>, params: &mut Params<'_>, out: &mut Output) -> Result<(), Stop> {
    let filter = params.required(LogFilter::decode)?;
    params.end()?;
    filter.check()?;
    let mut writer = LogWriter::new(&mut out.json);
    query(context, &filter, &mut writer)?;
    writer.end();
    Ok(())
}

/// Writes the logs that the chain holds of a filter.
pub(super) fn query(
    context: &Context<'_>,
    filter: &LogFilter,
    writer: &mut LogWriter<'_>,
) -> Result<(), Stop> {
    let reads = &*context.shared.reads;
    if let Some(hash) = filter.block_hash {
        let Some(block) = context.block(&hash)? else { return Err(RpcError::server("unknown block").into()) };
        return Ok(search(reads, &context.view, filter, &block, false, writer)?);
    }
    let head = context.view.header().number;
    let number = |tag: Option<BlockTag>| match tag {
        None | Some(BlockTag::Latest | BlockTag::Pending) => Ok(head),
        Some(BlockTag::Earliest) => Ok(0),
        Some(BlockTag::Number(number)) => Ok(number),
        Some(tag) => {
            let block = context.canonical(tag)?;
            block.map(|block| block.number).ok_or_else(|| Stop::from(RpcError::server("unknown block")))
        }
    };
    let (from, to) = (number(filter.from)?, number(filter.to)?);
    if from > to {
        return Err(RpcError::params("invalid block range params").into());
    }
    if to > head {
        return Err(RpcError::params("block range extends beyond current head block").into());
    }
    let limit = context.shared.limits.range_limit;
    if limit != 0 && to - from > limit {
        return Err(RpcError::params(format!("exceed maximum block range {limit}")).into());
    }
    for number in from..=to {
        context.check_time()?;
        if let Some(recent) = context.view.recent(number) {
            if filter.may_be_in(&recent.block.header().logs_bloom) {
                write_matching(filter, &recent.block, &recent.receipts, false, writer);
            }
            continue;
        }
        let Some((hash, header)) = reads.canonical_header(&context.view, number)? else {
            return Err(RpcError::ChainChanged.into());
        };
        if filter.may_be_in(&header.logs_bloom) {
            let block = context.block(&hash)?.ok_or(RpcError::ChainChanged)?;
            search(reads, &context.view, filter, &block, false, writer)?;
        }
    }
    Ok(())
}

/// Writes the logs that one block holds of a filter.
pub(super) fn search(
    reads: &Reads,
    view: &View,
    filter: &LogFilter,
    block: &Arc<RecoveredBlock>,
    removed: bool,
    writer: &mut LogWriter<'_>,
) -> Result<(), RpcError> {
    if filter.may_be_in(&block.header().logs_bloom) {
        let receipts = reads.receipts(view, &block.hash)?.ok_or(RpcError::ChainChanged)?;
        write_matching(filter, block, &receipts, removed, writer);
    }
    Ok(())
}

fn write_matching(
    filter: &LogFilter,
    block: &RecoveredBlock,
    receipts: &[Receipt],
    removed: bool,
    writer: &mut LogWriter<'_>,
) {
    block_logs(filter, block, receipts, removed, |log, place| writer.write(log, place));
}

/// Calls `visit` with the logs that a block holds of a filter.
pub(crate) fn block_logs(
    filter: &LogFilter,
    block: &RecoveredBlock,
    receipts: &[Receipt],
    removed: bool,
    mut visit: impl FnMut(&Log, &LogPlace),
) {
    let header = block.header();
    let mut log_index = 0;
    for (index, receipt) in receipts.iter().enumerate() {
        let logs = receipt.logs();
        // A transaction's own bloom is quicker than its logs, where there are several.
        if logs.len() > 4 && !filter.may_be_in(receipt.logs_bloom()) {
            log_index += logs.len() as u64;
            continue;
        }
        for log in logs {
            if filter.matches(log)
                && let Some(transaction) = block.block.body.transactions.get(index)
            {
                let place = LogPlace {
                    block_number: header.number,
                    block_hash: block.hash,
                    timestamp: header.timestamp,
                    transaction_hash: *transaction.tx_hash(),
                    transaction_index: index as u64,
                    log_index,
                    removed,
                };
                visit(log, &place);
            }
            log_index += 1;
        }
    }
}

/// An array of logs under construction.
pub(super) struct LogWriter<'a> {
    out: &'a mut Vec<u8>,
    empty: bool,
}

impl<'a> LogWriter<'a> {
    /// Opens the array.
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
        out.push(b'[');
        Self { out, empty: true }
    }

    fn write(&mut self, log: &Log, place: &LogPlace) {
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
        write_log(self.out, log, place);
    }

    /// Closes it.
    pub(super) fn end(self) {
        self.out.push(b']');
    }
}

/// An empty array of logs.
pub(super) fn no_logs(out: &mut Vec<u8>) {
    json::array(out, [(); 0], |_, ()| {});
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::Bytes;

    fn log(topics: &[u8]) -> Log {
        let topics = topics.iter().map(|topic| B256::with_last_byte(*topic)).collect();
        Log::new_unchecked(Address::repeat_byte(0xaa), topics, Bytes::new())
    }

    fn filter(text: &str) -> LogFilter {
        LogFilter::decode(text).expect("a filter")
    }

    #[test]
    fn topics_match_by_place() {
        let one = B256::with_last_byte(1);
        let cases = [
            ("{}".to_owned(), true),
            (format!(r#"{{"topics":["{one}"]}}"#), true),
            (format!(r#"{{"topics":[null,"{one}"]}}"#), false),
            (r#"{"topics":[[],[]]}"#.to_owned(), true),
            (r#"{"topics":[null,null,null]}"#.to_owned(), false),
            (format!(r#"{{"topics":[["{one}",null]]}}"#), true),
            (format!(r#"{{"address":"{}"}}"#, Address::repeat_byte(0xaa)), true),
            (format!(r#"{{"address":["{}"]}}"#, Address::ZERO), false),
        ];
        for (text, expected) in cases {
            let filter = filter(&text);
            assert_eq!(filter.matches(&log(&[1, 2])), expected, "{text}");
            if expected {
                let bloom = Bloom::from_iter([&log(&[1, 2])]);
                assert!(filter.may_be_in(&bloom), "{text}");
            }
            assert_eq!(
                filter.may_be_in(&Bloom::ZERO),
                !text.contains("0x") || text.contains(",null]"),
                "{text}"
            );
        }
    }

    #[test]
    fn wrong_filters_fail_in_geths_words() {
        let hash = B256::ZERO;
        let both = format!(r#"{{"blockHash":"{hash}","fromBlock":"0x1"}}"#);
        assert_eq!(
            LogFilter::decode(&both).err().as_deref(),
            Some("cannot specify both BlockHash and FromBlock/ToBlock, choose one or the other")
        );
        assert!(LogFilter::decode(r#"{"address":5}"#).is_err());
        assert!(LogFilter::decode(r#"{"topics":[5]}"#).is_err());
        let five = format!(r#"{{"topics":[null,null,null,null,"{hash}"]}}"#);
        assert_eq!(LogFilter::decode(&five).err().as_deref(), Some("exceed max topics"));
    }
}
