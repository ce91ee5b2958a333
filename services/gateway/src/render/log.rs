//! A log's object.

use crate::json::{self, Object};
use alloy_primitives::{B256, Log};

/// Where the chain holds a log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogPlace {
    /// The block's number.
    pub(crate) block_number: u64,
    /// The block's hash.
    pub(crate) block_hash: B256,
    /// Seconds since the Unix epoch.
    pub(crate) timestamp: u64,
    /// The transaction that wrote it.
    pub(crate) transaction_hash: B256,
    /// That transaction's index in the block.
    pub(crate) transaction_index: u64,
    /// The log's index in the block.
    pub(crate) log_index: u64,
    /// Whether a reorg took the block away.
    pub(crate) removed: bool,
}

/// A log at its place.
pub(crate) fn write_log(out: &mut Vec<u8>, log: &Log, place: &LogPlace) {
    let mut object = Object::new(out);
    object.data("address", log.address.as_slice());
    json::array(object.key("topics"), log.topics(), |out, topic| json::data(out, topic.as_slice()));
    object.data("data", &log.data.data);
    object.quantity("blockNumber", place.block_number);
    object.data("transactionHash", place.transaction_hash.as_slice());
    object.quantity("transactionIndex", place.transaction_index);
    object.data("blockHash", place.block_hash.as_slice());
    object.quantity("blockTimestamp", place.timestamp);
    object.quantity("logIndex", place.log_index);
    json::boolean(object.key("removed"), place.removed);
    object.end();
}
