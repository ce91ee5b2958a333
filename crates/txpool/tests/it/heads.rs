//! New heads and reorgs.

use crate::helpers::{
    GWEI, add_transfer, address, dropped, dynamic_tx, head, nonces, pool, promoted, rich, seconds, signed,
    submission, transfer, update,
};
use alloy_consensus::TxEnvelope;
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::U256;
use quintet_txpool::{AccountView, DropReason, HeadInfo, HeadUpdate, Origin, Rules};
use quintet_types::Transaction;

fn mined(tx: &TxEnvelope) -> Transaction {
    quintet_types::decode_transaction(&tx.encoded_2718()).unwrap()
}

#[test]
fn mined_and_overtaken_transactions_leave() {
    let mut pool = pool();
    let first = add_transfer(&mut pool, 1, 0, GWEI).unwrap();
    let second = add_transfer(&mut pool, 1, 1, GWEI).unwrap();
    add_transfer(&mut pool, 1, 2, GWEI).unwrap();
    let mut next = update(2, &[(1, 2)]);
    next.mined = vec![first.hash];
    let before = pool.version();
    let events = pool.set_head(next, seconds(1));
    let expected = [(first.hash, DropReason::Mined), (second.hash, DropReason::NonceTooLow)];
    assert_eq!(dropped(&events), expected);
    assert_eq!(nonces(&pool, 1), (vec![2], vec![]));
    assert_ne!(pool.version(), before);
}

#[test]
fn a_mined_transaction_leaves_though_its_sender_was_not_listed() {
    let mut pool = pool();
    let first = add_transfer(&mut pool, 1, 0, GWEI).unwrap();
    add_transfer(&mut pool, 1, 1, GWEI).unwrap();
    pool.set_head(HeadUpdate { mined: vec![first.hash], ..HeadUpdate::new(head(2)) }, seconds(1));
    assert_eq!(nonces(&pool, 1), (vec![1], vec![]));
}

#[test]
fn an_idle_head_changes_nothing() {
    let mut pool = pool();
    add_transfer(&mut pool, 1, 0, GWEI).unwrap();
    let version = pool.version();
    assert!(pool.set_head(HeadUpdate::new(head(2)), seconds(1)).is_empty());
    assert_eq!((pool.version(), pool.head().number), (version, 2));
}

#[test]
fn a_nonce_that_moves_on_promotes_the_queue() {
    let mut pool = pool();
    let waiting = add_transfer(&mut pool, 1, 3, GWEI).unwrap();
    let events = pool.set_head(update(2, &[(1, 3)]), seconds(1));
    assert_eq!(promoted(&events), [waiting.hash]);
}

#[test]
fn a_balance_that_fell_drops_what_it_no_longer_covers_and_demotes_the_rest() {
    let mut pool = pool();
    add_transfer(&mut pool, 1, 0, 1).unwrap();
    let dear = add_transfer(&mut pool, 1, 1, 5).unwrap();
    add_transfer(&mut pool, 1, 2, 1).unwrap();
    let poor = AccountView { balance: U256::from(50_000), ..AccountView::default() };
    let mut next = HeadUpdate::new(head(2));
    next.changed = vec![(address(1), poor)];
    let events = pool.set_head(next, seconds(1));
    assert_eq!(dropped(&events), [(dear.hash, DropReason::Unpayable)]);
    assert_eq!(nonces(&pool, 1), (vec![0], vec![2]));
}

#[test]
fn a_lower_gas_limit_drops_what_no_longer_fits() {
    let mut pool = pool();
    let mut large = dynamic_tx(address(1), 0, GWEI, GWEI);
    large.gas_limit = 1_000_000;
    let large = crate::helpers::add(&mut pool, signed(large), address(1)).unwrap();
    add_transfer(&mut pool, 2, 0, GWEI).unwrap();
    let events = pool.set_head(HeadUpdate::new(HeadInfo { gas_limit: 500_000, ..head(2) }), seconds(1));
    assert_eq!(dropped(&events), [(large.hash, DropReason::GasLimit)]);
    assert_eq!(pool.status().pending, 1);
}

#[test]
fn osaka_drops_what_exceeds_its_gas_cap() {
    let prague = Rules { osaka: false, ..Rules::osaka(1) };
    let mut pool =
        quintet_txpool::Pool::new(quintet_txpool::Config::default(), HeadInfo { rules: prague, ..head(1) });
    let mut large = dynamic_tx(address(1), 0, GWEI, GWEI);
    large.gas_limit = (1 << 24) + 1;
    let large = crate::helpers::add(&mut pool, signed(large), address(1)).unwrap();
    add_transfer(&mut pool, 1, 1, GWEI).unwrap();
    let events = pool.set_head(HeadUpdate::new(head(2)), seconds(1));
    assert_eq!(dropped(&events), [(large.hash, DropReason::GasLimit)]);
    assert_eq!(nonces(&pool, 1), (vec![], vec![1]));
}

#[test]
fn a_reorg_gives_transactions_back_in_their_place() {
    let mut pool = pool();
    let txs: Vec<_> = (0..4).map(|nonce| transfer(address(1), nonce, GWEI)).collect();
    for tx in &txs {
        pool.add(submission(tx.clone(), address(1), Origin::Remote), rich(), seconds(0)).unwrap();
    }
    let mut next = update(2, &[(1, 2)]);
    next.mined = txs[..2].iter().map(|tx| *tx.tx_hash()).collect();
    pool.set_head(next, seconds(1));
    assert_eq!(nonces(&pool, 1), (vec![2, 3], vec![]));

    let mut reorg = update(2, &[(1, 0)]);
    reorg.reinject = txs[..2].iter().map(|tx| (mined(tx), address(1))).collect();
    let events = pool.set_head(reorg, seconds(2));
    assert_eq!(promoted(&events).len(), 2);
    assert!(dropped(&events).is_empty());
    assert_eq!(nonces(&pool, 1), (vec![0, 1, 2, 3], vec![]));
}

#[test]
fn a_reorg_with_a_hole_demotes_what_lies_beyond() {
    let mut pool = pool();
    let tx = transfer(address(1), 0, GWEI);
    pool.set_head(update(2, &[(1, 2)]), seconds(0));
    let view = AccountView { nonce: 2, ..rich() };
    pool.add(submission(transfer(address(1), 2, GWEI), address(1), Origin::Remote), view, seconds(0))
        .unwrap();
    let mut reorg = update(2, &[(1, 0)]);
    reorg.reinject = vec![(mined(&tx), address(1))];
    pool.set_head(reorg, seconds(2));
    assert_eq!(nonces(&pool, 1), (vec![0], vec![2]));
    add_transfer(&mut pool, 1, 1, GWEI).unwrap();
    assert_eq!(nonces(&pool, 1), (vec![0, 1, 2], vec![]));
}

#[test]
fn a_reorg_keeps_the_better_of_two_with_one_nonce() {
    for (ours, theirs, kept) in [(100, 200, 200), (100, 105, 100)] {
        let mut pool = pool();
        add_transfer(&mut pool, 1, 0, ours).unwrap();
        let mut reorg = update(2, &[(1, 0)]);
        reorg.reinject = vec![(mined(&transfer(address(1), 0, theirs)), address(1))];
        let events = pool.set_head(reorg, seconds(2));
        let best = pool.content_from(&address(1)).0;
        assert_eq!(best[0].hash, *transfer(address(1), 0, kept).tx_hash());
        assert!(matches!(dropped(&events)[..], [(_, DropReason::Replaced(by))] if by == best[0].hash));
    }
}

#[test]
fn a_reorg_gives_back_nothing_that_is_used_up_or_unknown() {
    let mut pool = pool();
    let (stale, unknown) = (transfer(address(1), 0, GWEI), transfer(address(2), 0, GWEI));
    let mut reorg = update(2, &[(1, 1)]);
    reorg.reinject = vec![(mined(&stale), address(1)), (mined(&unknown), address(2))];
    let events = pool.set_head(reorg, seconds(2));
    let expected =
        [(*stale.tx_hash(), DropReason::NonceTooLow), (*unknown.tx_hash(), DropReason::NonceTooLow)];
    assert_eq!(dropped(&events), expected);
    assert_eq!(pool.senders().len(), 0);
}
