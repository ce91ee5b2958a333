//! Bodies and receipts of blocks.

use alloy_primitives::B256;
use quintet_eth_wire::{
    EthVersion, ListBuilder, MAX_BODIES_SERVE, MAX_MESSAGE_SIZE, MAX_RECEIPTS_SERVE, SOFT_RESPONSE_SIZE,
};
use quintet_store::{Store, StoreError};
use quintet_trie::EMPTY_ROOT_HASH;

/// What the headers around a list take at most, and a request's id.
const AROUND: usize = 64;

/// Whether so many more bytes leave the message one that is taken: peers break off at a longer one.
fn fits(list: &ListBuilder, more: usize) -> bool {
    list.size().saturating_add(more).saturating_add(AROUND) <= MAX_MESSAGE_SIZE
}

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
        if !fits(&list, alloy_rlp::Encodable::length(&body)) {
            break;
        }
        list.push(&body);
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
        let mut one = ListBuilder::new();
        one.push_receipts(version, &receipts);
        if !fits(&list, one.size()) {
            break;
        }
        list.append(&one);
    }
    Ok(list)
}
