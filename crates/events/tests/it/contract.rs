//! What every bus must do. `suite!(name, make)` runs it against the bus that `make()` returns.

use crate::chains::{block_ref, chain, genesis, pending, reverted};
use quintet_events::{Event, EventBus, Gap, HISTORY, POOL_QUEUE, Subscription, Topics};
use quintet_types::{BlockRef, ChainEvent, PoolEvent};
use std::time::Duration;

macro_rules! suite {
    ($name:ident, $make:path) => {
        mod $name {
            $crate::contract::suite!(@ $make:
                every_subscriber_gets_every_event_in_order,
                topics_are_kept_apart,
                resumes_behind_the_cursor,
                resumes_through_a_reorg,
                a_cursor_that_is_the_head_replays_nothing,
                an_unknown_cursor_is_a_gap,
                history_is_bounded,
                a_slow_consumer_sees_one_gap_and_goes_on_behind_it,
                a_flood_of_pool_events_pushes_out_no_block,
                lost_pool_events_are_counted,
                events_carry_their_trace,
                the_subscription_ends_with_the_bus,
            );
        }
    };
    (@ $make:path: $($case:ident),* $(,)?) => {
        $(#[tokio::test]
        async fn $case() {
            $crate::contract::$case($make()).await;
        })*
    };
}
pub(crate) use suite;

type Bus = std::sync::Arc<dyn EventBus>;

async fn publish(bus: &Bus, events: &[ChainEvent]) {
    for event in events {
        bus.publish(event.clone().into()).await.expect("the bus is there");
    }
}

async fn next(subscription: &mut Subscription) -> Option<Result<Event, Gap>> {
    tokio::time::timeout(Duration::from_secs(5), subscription.next()).await.expect("an event in time")
}

async fn next_chain(subscription: &mut Subscription) -> ChainEvent {
    match next(subscription).await {
        Some(Ok(Event::Chain(event))) => event,
        other => panic!("expected a chain event, got {other:?}"),
    }
}

async fn expect_blocks(subscription: &mut Subscription, events: &[ChainEvent]) {
    for event in events {
        assert_eq!(block_ref(&next_chain(subscription).await), block_ref(event));
    }
}

async fn expect_silence(subscription: &mut Subscription) {
    let waited = tokio::time::timeout(Duration::from_millis(50), subscription.next()).await;
    assert!(waited.is_err(), "unexpected {waited:?}");
}

fn nonce(event: &PoolEvent) -> u64 {
    let PoolEvent::Pending(transaction) = event;
    alloy_consensus::Transaction::nonce(&transaction.transaction)
}

pub(crate) async fn every_subscriber_gets_every_event_in_order(bus: Bus) {
    let blocks = chain(genesis(), 1, 20);
    let mut first = bus.subscribe(Topics::ALL, None);
    let mut second = bus.subscribe(Topics::CHAIN, None);
    publish(&bus, &blocks).await;
    expect_blocks(&mut first, &blocks).await;
    expect_blocks(&mut second, &blocks).await;
    let mut late = bus.subscribe(Topics::CHAIN, None);
    expect_silence(&mut late).await;
}

pub(crate) async fn topics_are_kept_apart(bus: Bus) {
    let mut blocks_only = bus.subscribe(Topics::CHAIN, None);
    let mut pool_only = bus.subscribe(Topics::POOL, None);
    let blocks = chain(genesis(), 1, 1);
    bus.publish(pending(7).into()).await.expect("published");
    publish(&bus, &blocks).await;
    expect_blocks(&mut blocks_only, &blocks).await;
    expect_silence(&mut blocks_only).await;
    assert!(matches!(next(&mut pool_only).await, Some(Ok(Event::Pool(event))) if nonce(&event) == 7));
    expect_silence(&mut pool_only).await;
}

pub(crate) async fn resumes_behind_the_cursor(bus: Bus) {
    let blocks = chain(genesis(), 1, 10);
    publish(&bus, &blocks[..8]).await;
    // From a block that the bus holds, and from the parent of its first.
    let mut behind_third = bus.subscribe(Topics::CHAIN, Some(block_ref(&blocks[2])));
    let mut from_genesis = bus.subscribe(Topics::CHAIN, Some(genesis()));
    publish(&bus, &blocks[8..]).await;
    expect_blocks(&mut behind_third, &blocks[3..]).await;
    expect_blocks(&mut from_genesis, &blocks).await;
}

pub(crate) async fn resumes_through_a_reorg(bus: Bus) {
    let old = chain(genesis(), 1, 5);
    let new = chain(block_ref(&old[2]), 2, 3);
    publish(&bus, &old).await;
    publish(&bus, &[reverted(&old[3..])]).await;
    publish(&bus, &new).await;

    let mut on_the_old_head = bus.subscribe(Topics::CHAIN, Some(block_ref(&old[4])));
    let expected = [block_ref(&old[4]), block_ref(&old[3])];
    assert!(
        matches!(next_chain(&mut on_the_old_head).await, ChainEvent::Reverted(blocks) if *blocks == expected)
    );
    expect_blocks(&mut on_the_old_head, &new).await;

    // A consumer whose head is the ancestor had taken the revert already, or never saw the old branch.
    let mut on_the_ancestor = bus.subscribe(Topics::CHAIN, Some(block_ref(&old[2])));
    expect_blocks(&mut on_the_ancestor, &new).await;
}

pub(crate) async fn a_cursor_that_is_the_head_replays_nothing(bus: Bus) {
    let blocks = chain(genesis(), 1, 4);
    publish(&bus, &blocks[..3]).await;
    let mut at_head = bus.subscribe(Topics::CHAIN, Some(block_ref(&blocks[2])));
    publish(&bus, &[reverted(&blocks[1..3])]).await;
    let mut rewound = bus.subscribe(Topics::CHAIN, Some(block_ref(&blocks[0])));
    assert!(matches!(next_chain(&mut at_head).await, ChainEvent::Reverted(_)));
    publish(&bus, &blocks[1..2]).await;
    expect_blocks(&mut at_head, &blocks[1..2]).await;
    expect_blocks(&mut rewound, &blocks[1..2]).await;
}

pub(crate) async fn an_unknown_cursor_is_a_gap(bus: Bus) {
    let cursor = Some(BlockRef { number: 3, hash: [9; 32].into() });
    let mut empty = bus.subscribe(Topics::CHAIN, cursor);
    assert!(matches!(next(&mut empty).await, Some(Err(Gap { head: None }))));
    let blocks = chain(genesis(), 1, 6);
    publish(&bus, &blocks[..5]).await;
    let mut unknown = bus.subscribe(Topics::CHAIN, cursor);
    publish(&bus, &blocks[5..]).await;
    let head = Some(block_ref(&blocks[4]));
    assert!(matches!(next(&mut unknown).await, Some(Err(gap)) if gap.head == head));
    expect_blocks(&mut unknown, &blocks[5..]).await;
    expect_blocks(&mut empty, &blocks).await;
}

pub(crate) async fn history_is_bounded(bus: Bus) {
    let blocks = chain(genesis(), 1, HISTORY + 2);
    publish(&bus, &blocks).await;
    // The bus holds the newest HISTORY blocks: blocks[2..], which follow blocks[1].
    let mut held = bus.subscribe(Topics::CHAIN, Some(block_ref(&blocks[1])));
    expect_blocks(&mut held, &blocks[2..]).await;
    let mut dropped = bus.subscribe(Topics::CHAIN, Some(block_ref(&blocks[0])));
    let head = Some(block_ref(&blocks[HISTORY + 1]));
    assert!(matches!(next(&mut dropped).await, Some(Err(gap)) if gap.head == head));
}

pub(crate) async fn a_slow_consumer_sees_one_gap_and_goes_on_behind_it(bus: Bus) {
    let mut slow = bus.subscribe(Topics::CHAIN, None);
    let blocks = chain(genesis(), 1, 2 * HISTORY + 3);
    publish(&bus, &blocks[..=2 * HISTORY]).await;
    let head = Some(block_ref(&blocks[2 * HISTORY]));
    assert!(matches!(next(&mut slow).await, Some(Err(gap)) if gap.head == head));
    publish(&bus, &blocks[2 * HISTORY + 1..]).await;
    expect_blocks(&mut slow, &blocks[2 * HISTORY + 1..]).await;
}

pub(crate) async fn a_flood_of_pool_events_pushes_out_no_block(bus: Bus) {
    let mut subscription = bus.subscribe(Topics::ALL, None);
    let blocks = chain(genesis(), 1, 3);
    publish(&bus, &blocks[..2]).await;
    for nonce in 0..(2 * POOL_QUEUE as u64) {
        bus.publish(pending(nonce).into()).await.expect("published");
    }
    publish(&bus, &blocks[2..]).await;
    expect_blocks(&mut subscription, &blocks).await;
    assert!(matches!(next(&mut subscription).await, Some(Ok(Event::Pool(_)))));
}

pub(crate) async fn lost_pool_events_are_counted(bus: Bus) {
    let mut slow = bus.subscribe(Topics::POOL, None);
    let sent = POOL_QUEUE as u64 + 10;
    for nonce in 0..sent {
        bus.publish(pending(nonce).into()).await.expect("published");
    }
    let mut received = Vec::new();
    while received.last() != Some(&(sent - 1)) {
        match next(&mut slow).await {
            Some(Ok(Event::Pool(event))) => received.push(nonce(&event)),
            other => panic!("expected a pool event, got {other:?}"),
        }
    }
    assert!(slow.missed_pool_events() > 0);
    assert_eq!(received.len() as u64 + slow.missed_pool_events(), sent);
    assert!(received.is_sorted());
}

pub(crate) async fn events_carry_their_trace(bus: Bus) {
    let mut subscription = bus.subscribe(Topics::ALL, None);
    publish(&bus, &chain(genesis(), 1, 1)).await;
    bus.publish(pending(0).into()).await.expect("published");
    for expected in ["of the block", "of the transaction"] {
        let event = next(&mut subscription).await.expect("open").expect("no gap");
        assert_eq!(event.trace().map(|trace| &*trace.0), Some(expected));
    }
}

pub(crate) async fn the_subscription_ends_with_the_bus(bus: Bus) {
    let mut subscription = bus.subscribe(Topics::ALL, None);
    let blocks = chain(genesis(), 1, 1);
    publish(&bus, &blocks).await;
    drop(bus);
    expect_blocks(&mut subscription, &blocks).await;
    assert!(next(&mut subscription).await.is_none());
}
