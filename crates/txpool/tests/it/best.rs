//! The order in which a block takes transactions.

use crate::helpers::{
    add, add_transfer, address, dynamic_tx, pool, rich, seconds, signed, submission, transfer,
};
use alloy_consensus::Transaction as _;
use quintet_txpool::{BestTransactions, Origin};

/// Senders' last bytes and nonces.
fn order(best: BestTransactions) -> Vec<(u8, u64)> {
    best.map(|tx| (tx.sender.0[19], tx.transaction.nonce())).collect()
}

#[test]
fn by_tip_then_arrival_and_nonces_in_order() {
    let mut pool = pool();
    for (from, nonce, price) in [(1, 0, 10), (1, 1, 99), (2, 0, 50), (3, 0, 50), (3, 5, 500)] {
        add_transfer(&mut pool, from, nonce, price).unwrap();
    }
    assert_eq!(order(pool.best_transactions(0, 0, 0)), [(2, 0), (3, 0), (1, 0), (1, 1)]);
}

#[test]
fn the_effective_tip_counts() {
    let mut pool = pool();
    add(&mut pool, signed(dynamic_tx(address(1), 0, 110, 50)), address(1)).unwrap();
    add(&mut pool, signed(dynamic_tx(address(2), 0, 1000, 20)), address(2)).unwrap();
    assert_eq!(order(pool.best_transactions(0, 0, 0)), [(1, 0), (2, 0)]);
    assert_eq!(order(pool.best_transactions(100, 0, 0)), [(2, 0), (1, 0)]);
    assert_eq!(order(pool.best_transactions(111, 0, 0)), [(2, 0)]);
    assert_eq!(order(pool.best_transactions(100, 15, 0)), [(2, 0)]);
}

#[test]
fn one_below_the_least_tip_stops_its_account_unless_local() {
    let mut pool = pool();
    for (nonce, price) in [(0, 30), (1, 10), (2, 30)] {
        add_transfer(&mut pool, 1, nonce, price).unwrap();
    }
    let local = submission(transfer(address(2), 0, 1), address(2), Origin::Local);
    pool.add(local, rich(), seconds(0)).unwrap();
    assert_eq!(order(pool.best_transactions(0, 20, 0)), [(1, 0), (2, 0)]);
}

#[test]
fn a_skipped_account_returns_no_more() {
    let mut pool = pool();
    for (from, nonce, price) in [(1, 0, 90), (1, 1, 90), (2, 0, 50), (2, 1, 50)] {
        add_transfer(&mut pool, from, nonce, price).unwrap();
    }
    let mut best = pool.best_transactions(0, 0, 0);
    assert_eq!(best.next().unwrap().sender, address(1));
    best.skip_account();
    assert_eq!(order(best), [(2, 0), (2, 1)]);
}

#[test]
fn it_is_a_snapshot() {
    let mut pool = pool();
    add_transfer(&mut pool, 1, 0, 90).unwrap();
    let version = pool.version();
    let best = pool.best_transactions(0, 0, 0);
    add_transfer(&mut pool, 1, 1, 90).unwrap();
    assert_ne!(pool.version(), version);
    assert_eq!(order(best), [(1, 0)]);
    assert_eq!(order(pool.best_transactions(0, 0, 0)), [(1, 0), (1, 1)]);
}
