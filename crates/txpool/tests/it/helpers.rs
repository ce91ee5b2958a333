//! Transactions and pools for tests. Signatures are not checked by the pool, so they are all the same; the
//! recipient is derived from the sender to keep hashes apart.

use alloy_consensus::{SignableTransaction, TxEip1559, TxEnvelope, TxLegacy};
use alloy_primitives::{Address, B256, Bytes, Signature, TxKind, U256};
use quintet_txpool::{
    AccountView, Added, Config, DropReason, Event, HeadInfo, HeadUpdate, Origin, Pool, PoolError, Rules,
    Submission,
};
use quintet_types::TraceContext;
use std::time::Duration;

pub(crate) const GWEI: u128 = 1_000_000_000;

pub(crate) fn address(index: u8) -> Address {
    Address::with_last_byte(index)
}

pub(crate) fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

pub(crate) fn head(number: u64) -> HeadInfo {
    HeadInfo {
        number,
        timestamp: number,
        base_fee: 0,
        blob_base_fee: 1,
        gas_limit: 30_000_000,
        rules: Rules::osaka(1),
    }
}

pub(crate) fn rich() -> AccountView {
    AccountView { nonce: 0, balance: U256::from(10).pow(U256::from(24)), has_code: false }
}

pub(crate) fn pool() -> Pool {
    Pool::new(Config::default(), head(1))
}

pub(crate) fn dynamic_tx(from: Address, nonce: u64, fee_cap: u128, tip_cap: u128) -> TxEip1559 {
    TxEip1559 {
        chain_id: 1,
        nonce,
        gas_limit: 21_000,
        max_fee_per_gas: fee_cap,
        max_priority_fee_per_gas: tip_cap,
        to: TxKind::Call(from),
        ..TxEip1559::default()
    }
}

pub(crate) fn signed(tx: TxEip1559) -> TxEnvelope {
    tx.into_signed(Signature::test_signature()).into()
}

/// A transfer that pays `price` as fee cap and tip.
pub(crate) fn transfer(from: Address, nonce: u64, price: u128) -> TxEnvelope {
    signed(dynamic_tx(from, nonce, price, price))
}

pub(crate) fn legacy(from: Address, input: Vec<u8>, gas_limit: u64, chain_id: Option<u64>) -> TxEnvelope {
    let tx = TxLegacy {
        chain_id,
        gas_limit,
        gas_price: GWEI,
        to: TxKind::Call(from),
        input: Bytes::from(input),
        ..TxLegacy::default()
    };
    tx.into_signed(Signature::test_signature()).into()
}

pub(crate) fn submission(transaction: TxEnvelope, sender: Address, origin: Origin) -> Submission {
    Submission { transaction, sender, origin, trace: TraceContext::default() }
}

/// Adds a remote transaction of a rich account at second 0.
pub(crate) fn add(pool: &mut Pool, tx: TxEnvelope, sender: Address) -> Result<Added, PoolError> {
    pool.add(submission(tx, sender, Origin::Remote), rich(), Duration::ZERO)
}

pub(crate) fn add_transfer(pool: &mut Pool, from: u8, nonce: u64, price: u128) -> Result<Added, PoolError> {
    add(pool, transfer(address(from), nonce, price), address(from))
}

/// The text of the refusal.
pub(crate) fn refusal(result: Result<Added, PoolError>) -> String {
    result.expect_err("must be refused").to_string()
}

pub(crate) fn dropped(events: &[Event]) -> Vec<(B256, DropReason)> {
    let each = events.iter().filter_map(|event| match event {
        Event::Dropped { transaction, reason } => Some((transaction.hash, *reason)),
        Event::Pending(_) => None,
    });
    each.collect()
}

pub(crate) fn promoted(events: &[Event]) -> Vec<B256> {
    let each = events.iter().filter_map(|event| match event {
        Event::Pending(transaction) => Some(transaction.hash),
        Event::Dropped { .. } => None,
    });
    each.collect()
}

pub(crate) fn nonces(pool: &Pool, from: u8) -> (Vec<u64>, Vec<u64>) {
    use alloy_consensus::Transaction as _;
    let (pending, queued) = pool.content_from(&address(from));
    let of = |list: Vec<std::sync::Arc<quintet_types::PoolTransaction>>| {
        list.iter().map(|tx| tx.transaction.nonce()).collect()
    };
    (of(pending), of(queued))
}

/// A head on which accounts changed to `(index, nonce)`, all rich.
pub(crate) fn update(number: u64, accounts: &[(u8, u64)]) -> HeadUpdate {
    let view = |(index, nonce): &(u8, u64)| (address(*index), AccountView { nonce: *nonce, ..rich() });
    HeadUpdate { changed: accounts.iter().map(view).collect(), ..HeadUpdate::new(head(number)) }
}
