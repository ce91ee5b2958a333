//! Bodies and receipts of blocks.

use alloy_primitives::B256;
use quintet_eth_wire::{EthVersion, ListBuilder, MAX_BODIES_SERVE, MAX_RECEIPTS_SERVE, SOFT_RESPONSE_SIZE};
use quintet_store::{Store, StoreError};
use quintet_trie::EMPTY_ROOT_HASH;

/// The bodies of blocks that are held, in the order asked for.
///
/// # Errors
/// When the store fails.
pub(super) fn bodies(store: &dyn Store, hashes: &[B256]) -> Result<ListBuilder, StoreError> {
    let mut list = ListBuilder::new();
    for hash in hashes.iter().take(2 * MAX_BODIES_SERVE) {
        if list.size() >= SOFT_RESPONSE_SIZE || list.items() >= MAX_BODIES_SERVE {
            break;
        }
        if let Some(body) = store.body(hash)? {
            list.push(&body);
        }
    }
    Ok(list)
}

/// The receipts of blocks that are held, in the order asked for and in the form of the peer's version. Blocks beside the
/// canonical chain have some only if they need none.
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
        match store.receipts(hash)? {
            Some(receipts) => list.push_receipts(version, &receipts),
            None => {
                if store.header(hash)?.is_some_and(|header| header.receipts_root == EMPTY_ROOT_HASH) {
                    list.push_receipts(version, &[]);
                }
            }
        }
    }
    Ok(list)
}
