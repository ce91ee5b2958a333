//! `GetPooledTransactions`.

use crate::pool::TransactionPool;
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::B256;
use quintet_eth_wire::{ListBuilder, MAX_POOLED_REQUEST, SOFT_RESPONSE_SIZE};

/// The transactions that the pool has, in the order asked for, with their blobs.
pub(super) fn transactions(pool: &TransactionPool, hashes: &[B256]) -> ListBuilder {
    let mut list = ListBuilder::new();
    // Nobody has reason to ask for more, and an answer may be shorter than what is asked.
    for hash in hashes.iter().take(MAX_POOLED_REQUEST) {
        if list.size() >= SOFT_RESPONSE_SIZE {
            break;
        }
        if let Some((pooled, _)) = pool.get(hash) {
            list.push_2718(&pooled.transaction.encoded_2718());
        }
    }
    list
}
