//! Who leaves when there is no room, and when.

use crate::helpers::{
    GWEI, add, add_transfer, address, dropped, dynamic_tx, head, legacy, nonces, pool, refusal, rich,
    seconds, signed, submission, transfer, update,
};
use quintet_txpool::{Config, DropReason, HeadUpdate, Origin, Pool};
use std::time::Duration;

fn tiny(config: Config) -> Pool {
    Pool::new(config, head(1))
}

#[test]
fn the_cheapest_leaves_a_full_pool() {
    let mut pool = tiny(Config { global_slots: 2, global_queue: 1, ..Config::default() });
    let cheap = add_transfer(&mut pool, 1, 0, 10).unwrap();
    add_transfer(&mut pool, 2, 0, 20).unwrap();
    add_transfer(&mut pool, 3, 0, 30).unwrap();
    assert_eq!(refusal(add_transfer(&mut pool, 4, 0, 10)), "transaction underpriced");
    let better = add_transfer(&mut pool, 4, 0, 11).unwrap();
    assert_eq!(dropped(&better.events), [(cheap.hash, DropReason::Underpriced)]);
    assert_eq!(pool.slots(), 3);
}

#[test]
fn the_tip_in_the_next_block_decides() {
    let mut pool = tiny(Config { global_slots: 8, global_queue: 2, ..Config::default() });
    pool.set_head(HeadUpdate::new(quintet_txpool::HeadInfo { base_fee: 100, ..head(2) }), seconds(1));
    for account in 1..10 {
        add(&mut pool, signed(dynamic_tx(address(account), 0, 200, 20)), address(account)).unwrap();
    }
    // A high tip cap under a low fee cap: one wei is what it pays.
    let low = add(&mut pool, signed(dynamic_tx(address(10), 0, 101, 101)), address(10)).unwrap();
    let better = add(&mut pool, signed(dynamic_tx(address(11), 0, 150, 30)), address(11)).unwrap();
    assert_eq!(dropped(&better.events), [(low.hash, DropReason::Underpriced)]);
}

#[test]
fn what_cannot_run_does_not_push_out_what_can() {
    let mut pool = tiny(Config { global_slots: 1, global_queue: 1, ..Config::default() });
    add_transfer(&mut pool, 1, 0, 10).unwrap();
    add_transfer(&mut pool, 2, 0, 10).unwrap();
    assert_eq!(refusal(add_transfer(&mut pool, 3, 1, 99)), "future transaction tries to replace pending");
    add_transfer(&mut pool, 3, 0, 99).unwrap();
}

#[test]
fn a_pool_full_of_locals_is_full() {
    let mut pool = tiny(Config { global_slots: 1, global_queue: 1, ..Config::default() });
    for nonce in 0..4 {
        let tx = submission(transfer(address(1), nonce, 1), address(1), Origin::Local);
        assert!(pool.add(tx, rich(), Duration::ZERO).unwrap().pending);
    }
    assert_eq!(refusal(add_transfer(&mut pool, 2, 0, 99)), "txpool is full");
    assert_eq!(pool.status().pending, 4);
}

#[test]
fn a_large_transaction_takes_more_slots() {
    let mut pool = tiny(Config { global_slots: 3, global_queue: 1, ..Config::default() });
    add(&mut pool, legacy(address(1), vec![0; 100_000], 2_000_000, Some(1)), address(1)).unwrap();
    assert_eq!(pool.slots(), 4);
    let better = add_transfer(&mut pool, 2, 0, 2 * GWEI).unwrap();
    assert_eq!(dropped(&better.events).len(), 1);
    assert_eq!(pool.slots(), 1);
}

#[test]
fn crowded_pending_is_levelled_down_to_the_guaranteed_slots() {
    let config = Config { account_slots: 2, global_slots: 6, global_queue: 100, ..Config::default() };
    let mut pool = tiny(config);
    for nonce in 0..4 {
        add_transfer(&mut pool, 1, nonce, GWEI).unwrap();
    }
    for nonce in 0..2 {
        add_transfer(&mut pool, 2, nonce, GWEI).unwrap();
    }
    let third = add_transfer(&mut pool, 3, 0, GWEI).unwrap();
    assert_eq!(
        dropped(&third.events),
        [(*transfer(address(1), 3, GWEI).tx_hash(), DropReason::PendingLimit)]
    );
    add_transfer(&mut pool, 3, 1, GWEI).unwrap();
    // Every account has its guaranteed slots now: the limit gives way, but the largest gets no more.
    add_transfer(&mut pool, 4, 0, GWEI).unwrap();
    assert_eq!(pool.status().pending, 7);
    assert_eq!(refusal(add_transfer(&mut pool, 1, 2, GWEI)), "txpool is full");
    assert_eq!(nonces(&pool, 1), (vec![0, 1], vec![]));
}

#[test]
fn an_account_queues_so_much_and_no_more() {
    let mut pool = tiny(Config { account_queue: 2, ..Config::default() });
    let far = add_transfer(&mut pool, 1, 9, GWEI).unwrap();
    add_transfer(&mut pool, 1, 5, GWEI).unwrap();
    assert_eq!(refusal(add_transfer(&mut pool, 1, 10, GWEI)), "account limit exceeded: pooled 2 txs");
    let nearer = add_transfer(&mut pool, 1, 4, GWEI).unwrap();
    assert_eq!(dropped(&nearer.events), [(far.hash, DropReason::AccountQueue)]);
    assert_eq!(nonces(&pool, 1), (vec![], vec![4, 5]));
}

#[test]
fn the_queue_that_waited_longest_is_cut_first() {
    let mut pool = tiny(Config { global_queue: 2, ..Config::default() });
    let mut queue = |from: u8, nonce, at| {
        let tx = submission(transfer(address(from), nonce, GWEI), address(from), Origin::Remote);
        pool.add(tx, rich(), seconds(at)).unwrap()
    };
    queue(1, 5, 1);
    let oldest = queue(1, 6, 2);
    let newer = queue(2, 5, 3);
    assert_eq!(dropped(&newer.events), [(oldest.hash, DropReason::GlobalQueue)]);
}

#[test]
fn queued_transactions_have_a_lifetime_pending_and_local_ones_do_not() {
    let mut pool = pool();
    let add_at = |pool: &mut Pool, from: u8, nonce, origin, at| {
        pool.add(submission(transfer(address(from), nonce, GWEI), address(from), origin), rich(), seconds(at))
    };
    let queued = add_at(&mut pool, 1, 3, Origin::Remote, 0).unwrap();
    add_at(&mut pool, 2, 0, Origin::Remote, 0).unwrap();
    add_at(&mut pool, 3, 3, Origin::Local, 0).unwrap();
    let hours = |count: u64| seconds(count * 3600);
    assert!(pool.tick(hours(3)).is_empty());
    let events = pool.tick(hours(3) + seconds(1));
    assert_eq!(dropped(&events), [(queued.hash, DropReason::Lifetime)]);
    assert_eq!((pool.status().pending, pool.status().queued), (1, 1));
}

#[test]
fn progress_prolongs_the_lifetime() {
    let mut pool = pool();
    for (nonce, at) in [(3, 0), (0, 3600)] {
        let tx = submission(transfer(address(1), nonce, GWEI), address(1), Origin::Remote);
        pool.add(tx, rich(), seconds(at)).unwrap();
    }
    assert!(pool.tick(seconds(4 * 3600)).is_empty());
    assert_eq!(dropped(&pool.tick(seconds(4 * 3600 + 1))).len(), 1);
}

#[test]
fn raising_the_least_tip_drops_remote_transactions_below_it() {
    let mut pool = pool();
    add_transfer(&mut pool, 1, 0, 100).unwrap();
    let low = add_transfer(&mut pool, 1, 1, 10).unwrap();
    add_transfer(&mut pool, 1, 2, 100).unwrap();
    pool.add(submission(transfer(address(2), 0, 1), address(2), Origin::Local), rich(), seconds(0)).unwrap();
    let events = pool.set_min_tip(50);
    assert_eq!(dropped(&events), [(low.hash, DropReason::BelowMinTip)]);
    assert_eq!(nonces(&pool, 1), (vec![0], vec![2]));
    assert_eq!(nonces(&pool, 2), (vec![0], vec![]));
    assert!(pool.set_min_tip(1).is_empty());
    add_transfer(&mut pool, 1, 1, 10).unwrap();
    assert_eq!(nonces(&pool, 1), (vec![0, 1, 2], vec![]));
}

#[test]
fn local_is_the_account_and_may_be_switched_off() {
    let mut pool = pool();
    add_transfer(&mut pool, 1, 0, 1).unwrap();
    pool.add(submission(transfer(address(1), 1, 1), address(1), Origin::Local), rich(), seconds(0)).unwrap();
    assert!(pool.is_local(&address(1)));
    assert!(add_transfer(&mut pool, 1, 2, 1).unwrap().local);
    assert_eq!(pool.local_transactions().count(), 3);

    let config = Config { no_locals: true, locals: vec![address(7)], ..Config::default() };
    let mut strict = tiny(config);
    let tx = submission(transfer(address(1), 0, 1), address(1), Origin::Local);
    assert!(!strict.add(tx, rich(), seconds(0)).unwrap().local);
    assert!(add_transfer(&mut strict, 7, 0, 1).unwrap().local);
}

#[test]
fn a_reorg_makes_room_for_what_it_gives_back() {
    let mut pool = tiny(Config { global_slots: 1, global_queue: 1, ..Config::default() });
    let cheap = add_transfer(&mut pool, 1, 0, 1).unwrap();
    add_transfer(&mut pool, 2, 0, 5).unwrap();
    let back = quintet_types::decode_transaction(&alloy_eips::eip2718::Encodable2718::encoded_2718(
        &transfer(address(3), 0, 9),
    ));
    let mut head = update(2, &[(3, 0)]);
    head.reinject = vec![(back.unwrap(), address(3))];
    let events = pool.set_head(head, seconds(1));
    assert_eq!(dropped(&events), [(cheap.hash, DropReason::Underpriced)]);
    assert_eq!(nonces(&pool, 3), (vec![0], vec![]));
}

#[test]
fn demoted_transactions_count_against_the_queue() {
    let mut pool = tiny(Config { account_queue: 2, ..Config::default() });
    add_transfer(&mut pool, 1, 0, 10).unwrap();
    let later: Vec<_> = (1..5).map(|nonce| add_transfer(&mut pool, 1, nonce, 100).unwrap().hash).collect();
    let events = pool.set_min_tip(50);
    assert_eq!(nonces(&pool, 1), (vec![], vec![1, 2]));
    let capped = [(later[3], DropReason::AccountQueue), (later[2], DropReason::AccountQueue)];
    assert_eq!(dropped(&events)[1..], capped);
}
