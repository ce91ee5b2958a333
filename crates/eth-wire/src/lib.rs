//! Messages of the `eth` protocol (`eth/62` to `eth/69`) and of `snap/1`: types, codec, limits.
//!
//! A message's bytes are its RLP, without the code and without compression: those are RLPx's. Decoding is as strict
//! as geth's (canonical RLP, no unknown fields, nothing after the end; one exception is for ethereumjs, in
//! [`EthMessage::Transactions`]) and bounded: what a list will take in memory is known, and paid for out of a budget,
//! before any of it is allocated. Consensus objects are alloy's types.
//!
//! Nothing here knows of peers or of the chain: whether an answer was asked for, and whether it is true, is for
//! the caller to find out. [`request_id`] reads an answer's id without decoding the rest, so that one that nobody
//! asked for costs nothing more.
//!
//! Pure: no IO, no clock, no randomness.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

mod builder;
mod codec;
mod error;
mod eth;
mod limits;
mod snap;
mod version;

pub use builder::ListBuilder;
pub use error::{Malformed, WireError};
pub use eth::{
    BlockHashNumber, BlockRange, ChainStatus, EthMessage, EthMessageId, GetBlockHeaders, HashOrNumber,
    NewBlock, PooledHashes, Status, Tagged, request_id,
};
pub use limits::*;
pub use snap::{
    AccountData, AccountRange, ByteCodes, GetAccountRange, GetByteCodes, GetStorageRanges, GetTrieNodes,
    SlimAccount, SlotData, SnapMessage, SnapMessageId, StorageRanges, TrieNodes, snap_request_id,
};
pub use version::{EthVersion, SNAP, SNAP_VERSION};

/// A message's name for logs and metrics: `protocol` is `eth` or `snap`, `version` the agreed one, `code` counted
/// from the protocol's own offset. `unknown` for what does not exist.
pub fn message_name(protocol: &str, version: u64, code: u64) -> &'static str {
    let name = match protocol {
        EthVersion::PROTOCOL => EthVersion::from_number(version)
            .and_then(|version| EthMessageId::from_code(version, code))
            .map(EthMessageId::name),
        SNAP if version == SNAP_VERSION => SnapMessageId::from_code(code).map(SnapMessageId::name),
        _ => None,
    };
    name.unwrap_or("unknown")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_protocol_and_version() {
        assert_eq!(message_name("eth", 68, 3), "GetBlockHeaders");
        assert_eq!(message_name("eth", 66, 13), "GetNodeData");
        assert_eq!(message_name("eth", 67, 13), "unknown");
        assert_eq!(message_name("eth", 69, 17), "BlockRangeUpdate");
        assert_eq!(message_name("snap", 1, 7), "TrieNodes");
        assert_eq!(message_name("snap", 2, 7), "unknown");
        assert_eq!(message_name("les", 2, 1), "unknown");
    }
}
