//! `GetPooledTransactions`.

use crate::pool::TransactionPool;
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::B256;
use quintet_eth_wire::{ListBuilder, SOFT_RESPONSE_SIZE};

/// Hashes that are looked up for one request: more than the smallest transactions that an answer holds.
const MAX_LOOKUPS: usize = SOFT_RESPONSE_SIZE / 64;

/// The transactions that the pool has, in the order asked for, with their blobs: as many as an answer holds, as in geth.
pub(super) fn transactions(pool: &TransactionPool, hashes: &[B256]) -> ListBuilder {
    let mut list = ListBuilder::new();
    for hash in hashes.iter().take(MAX_LOOKUPS) {
        if list.size() >= SOFT_RESPONSE_SIZE {
            break;
        }
        if let Some((pooled, _)) = pool.get(hash) {
            list.push_2718(&pooled.transaction.encoded_2718());
        }
    }
    list
}
