//! Adding does not depend on how much the pool holds. The bounds are loose: they tell linear from quadratic,
//! on a slow machine and without optimisation.

use crate::helpers::{add, dynamic_tx, head, signed};
use alloy_primitives::Address;
use quintet_txpool::{Config, Pool};
use std::time::{Duration, Instant};

fn sender(index: u64) -> Address {
    Address::left_padding_from(&index.to_be_bytes())
}

#[test]
fn a_full_pool_takes_better_transactions_quickly() {
    let mut pool = Pool::new(Config::default(), head(1));
    let txs: Vec<_> = (0..20_000_u64)
        .map(|index| {
            let from = sender(index / 4);
            let price = u128::from(1_000 + index);
            let tx = signed(dynamic_tx(from, index % 4, price, price));
            tx.tx_hash();
            (tx, from)
        })
        .collect();
    let start = Instant::now();
    let accepted = txs.into_iter().filter(|(tx, from)| add(&mut pool, tx.clone(), *from).is_ok()).count();
    let took = start.elapsed();
    println!("20000 added in {took:?}, {accepted} accepted");
    assert!(accepted > 15_000 && pool.slots() == 6144);
    assert!(took < Duration::from_secs(4), "{took:?}");

    let start = Instant::now();
    assert!(pool.best_transactions(0, 0, 0).count() > 5_000);
    println!("best in {:?}", start.elapsed());
}
