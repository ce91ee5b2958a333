//! Bodies and receipts of blocks.

use alloy_primitives::B256;
use quintet_eth_wire::{
    EthVersion, ListBuilder, MAX_BODIES_SERVE, MAX_MESSAGE_SIZE, MAX_RECEIPTS_SERVE, SOFT_RESPONSE_SIZE,
};
use quintet_store::{Store, StoreError};
use quintet_trie::EMPTY_ROOT_HASH;

/// Bytes of an answer's items at most, with room for the headers around them and a request's id: peers break off at a longer
/// message.
const LONGEST: usize = MAX_MESSAGE_SIZE - 64;

/// The bodies of blocks, in the order asked for, up to one that is not held.
///
/// # Errors
/// When the store fails.
pub(super) fn bodies(store: &dyn Store, hashes: &[B256]) -> Result<ListBuilder, StoreError> {
    let mut list = ListBuilder::new();
    for hash in hashes.iter().take(2 * MAX_BODIES_SERVE) {
        if list.size() >= SOFT_RESPONSE_SIZE || list.items() >= MAX_BODIES_SERVE {
            break;
        }
        let Some(body) = store.body(hash)? else { break };
        if !list.push_within(LONGEST, |list| list.push(&body)) {
            break;
        }
    }
    Ok(list)
}

/// The receipts of blocks, in the order asked for and in the form of the peer's version, up to one whose receipts are not held
/// (the specification of `eth` says so). Blocks beside the canonical chain have some only if they need none.
///
/// # Errors
/// When the store fails.
pub(super) fn receipts(
    store: &dyn Store,
    version: EthVersion,
    hashes: &[B256],
) -> Result<ListBuilder, StoreError> {
    let mut list = ListBuilder::new();
    for hash in hashes.iter().take(2 * MAX_RECEIPTS_SERVE) {
        if list.size() >= SOFT_RESPONSE_SIZE || list.items() >= MAX_RECEIPTS_SERVE {
            break;
        }
        let receipts = match store.receipts(hash)? {
            Some(receipts) => receipts,
            None if store.header(hash)?.is_some_and(|header| header.receipts_root == EMPTY_ROOT_HASH) => {
                Vec::new()
            }
            None => break,
        };
        if !list.push_within(LONGEST, |list| list.push_receipts(version, &receipts)) {
            break;
        }
    }
    Ok(list)
}
