//! What every bus must do. `suite!(name, make)` runs it against the bus that `make()` returns.

use crate::chains::{block_ref, chain, genesis, pending, reverted, work};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _};
use quintet_events::{Event, EventBus, Gap, HISTORY, LocalBus, POOL_QUEUE, RedisBus, Subscription, Topics};
use quintet_types::{BlockRef, ChainEvent, PoolEvent, Work};
use std::sync::Arc;
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
                the_newest_work_is_given_at_once_and_a_slow_follower_skips_to_it,
                work_under_an_older_token_is_not_given,
                a_flood_of_work_pushes_out_nothing,
                following_work_ends_with_the_bus,
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

/// A bus, and a way to wait until all that was published is where subscribers read it.
pub(crate) trait TestBus: EventBus {
    fn settle(&self) -> BoxFuture<'_, ()>;
}

impl TestBus for LocalBus {
    fn settle(&self) -> BoxFuture<'_, ()> {
        std::future::ready(()).boxed()
    }
}

impl TestBus for RedisBus {
    fn settle(&self) -> BoxFuture<'_, ()> {
        self.flush().boxed()
    }
}

pub(crate) type Bus = Arc<dyn TestBus>;

/// A bound for every wait.
const DEADLINE: Duration = Duration::from_secs(20);

/// Publishes these, and waits until subscribers can read them.
pub(crate) async fn publish(bus: &dyn TestBus, events: &[ChainEvent]) {
    publish_all(bus, events.iter().cloned().map(Event::Chain)).await;
}

async fn publish_all(bus: &dyn TestBus, events: impl Iterator<Item = Event>) {
    for event in events {
        bus.publish(event).await.expect("the bus is there");
    }
    tokio::time::timeout(DEADLINE, bus.settle()).await.expect("published in time");
}

/// A subscription that has its place.
pub(crate) async fn listen(bus: &dyn EventBus, topics: Topics, cursor: Option<BlockRef>) -> Subscription {
    let mut subscription = bus.subscribe(topics, cursor);
    tokio::time::timeout(DEADLINE, subscription.ready()).await.expect("a place in time");
    subscription
}

pub(crate) async fn next(subscription: &mut Subscription) -> Option<Result<Event, Gap>> {
    tokio::time::timeout(DEADLINE, subscription.next()).await.expect("an event in time")
}

pub(crate) async fn next_chain(subscription: &mut Subscription) -> ChainEvent {
    match next(subscription).await {
        Some(Ok(Event::Chain(event))) => event,
        other => panic!("expected a chain event, got {other:?}"),
    }
}

pub(crate) async fn expect_blocks(subscription: &mut Subscription, events: &[ChainEvent]) {
    for event in events {
        assert_eq!(block_ref(&next_chain(subscription).await), block_ref(event));
    }
}

pub(crate) async fn expect_silence(subscription: &mut Subscription) {
    let waited = tokio::time::timeout(Duration::from_millis(50), subscription.next()).await;
    assert!(waited.is_err(), "unexpected {waited:?}");
}

pub(crate) fn nonce(event: &PoolEvent) -> u64 {
    let PoolEvent::Pending(transaction) = event;
    alloy_consensus::Transaction::nonce(&transaction.transaction)
}

pub(crate) async fn every_subscriber_gets_every_event_in_order(bus: Bus) {
    let blocks = chain(genesis(), 1, 20);
    let mut first = listen(&*bus, Topics::ALL, None).await;
    let mut second = listen(&*bus, Topics::CHAIN, None).await;
    publish(&*bus, &blocks).await;
    expect_blocks(&mut first, &blocks).await;
    expect_blocks(&mut second, &blocks).await;
    let mut late = listen(&*bus, Topics::CHAIN, None).await;
    expect_silence(&mut late).await;
}

pub(crate) async fn topics_are_kept_apart(bus: Bus) {
    let mut blocks_only = listen(&*bus, Topics::CHAIN, None).await;
    let mut pool_only = listen(&*bus, Topics::POOL, None).await;
    let blocks = chain(genesis(), 1, 1);
    publish_all(&*bus, [pending(7).into()].into_iter()).await;
    publish(&*bus, &blocks).await;
    expect_blocks(&mut blocks_only, &blocks).await;
    expect_silence(&mut blocks_only).await;
    assert!(matches!(next(&mut pool_only).await, Some(Ok(Event::Pool(event))) if nonce(&event) == 7));
    expect_silence(&mut pool_only).await;
}

pub(crate) async fn resumes_behind_the_cursor(bus: Bus) {
    let blocks = chain(genesis(), 1, 10);
    publish(&*bus, &blocks[..8]).await;
    // From a block that the bus holds, and from the parent of its first.
    let mut behind_third = listen(&*bus, Topics::CHAIN, Some(block_ref(&blocks[2]))).await;
    let mut from_genesis = listen(&*bus, Topics::CHAIN, Some(genesis())).await;
    publish(&*bus, &blocks[8..]).await;
    expect_blocks(&mut behind_third, &blocks[3..]).await;
    expect_blocks(&mut from_genesis, &blocks).await;
}

pub(crate) async fn resumes_through_a_reorg(bus: Bus) {
    let old = chain(genesis(), 1, 5);
    let new = chain(block_ref(&old[2]), 2, 3);
    publish(&*bus, &old).await;
    publish(&*bus, &[reverted(&old[3..])]).await;
    publish(&*bus, &new).await;

    let mut on_the_old_head = listen(&*bus, Topics::CHAIN, Some(block_ref(&old[4]))).await;
    let expected = [block_ref(&old[4]), block_ref(&old[3])];
    assert!(
        matches!(next_chain(&mut on_the_old_head).await, ChainEvent::Reverted(blocks) if *blocks == expected)
    );
    expect_blocks(&mut on_the_old_head, &new).await;

    // A consumer whose head is the ancestor had taken the revert already, or never saw the old branch.
    let mut on_the_ancestor = listen(&*bus, Topics::CHAIN, Some(block_ref(&old[2]))).await;
    expect_blocks(&mut on_the_ancestor, &new).await;
}

pub(crate) async fn a_cursor_that_is_the_head_replays_nothing(bus: Bus) {
    let blocks = chain(genesis(), 1, 4);
    publish(&*bus, &blocks[..3]).await;
    let mut at_head = listen(&*bus, Topics::CHAIN, Some(block_ref(&blocks[2]))).await;
    publish(&*bus, &[reverted(&blocks[1..3])]).await;
    let mut rewound = listen(&*bus, Topics::CHAIN, Some(block_ref(&blocks[0]))).await;
    assert!(matches!(next_chain(&mut at_head).await, ChainEvent::Reverted(_)));
    publish(&*bus, &blocks[1..2]).await;
    expect_blocks(&mut at_head, &blocks[1..2]).await;
    expect_blocks(&mut rewound, &blocks[1..2]).await;
}

pub(crate) async fn an_unknown_cursor_is_a_gap(bus: Bus) {
    let cursor = Some(BlockRef { number: 3, hash: [9; 32].into() });
    let mut empty = listen(&*bus, Topics::CHAIN, cursor).await;
    assert!(matches!(next(&mut empty).await, Some(Err(Gap { head: None }))));
    let blocks = chain(genesis(), 1, 6);
    publish(&*bus, &blocks[..5]).await;
    let mut unknown = listen(&*bus, Topics::CHAIN, cursor).await;
    publish(&*bus, &blocks[5..]).await;
    let head = Some(block_ref(&blocks[4]));
    assert!(matches!(next(&mut unknown).await, Some(Err(gap)) if gap.head == head));
    expect_blocks(&mut unknown, &blocks[5..]).await;
    expect_blocks(&mut empty, &blocks).await;
}

pub(crate) async fn history_is_bounded(bus: Bus) {
    let blocks = chain(genesis(), 1, HISTORY + 2);
    publish(&*bus, &blocks).await;
    // The bus holds the newest HISTORY blocks: blocks[2..], which follow blocks[1].
    let mut held = listen(&*bus, Topics::CHAIN, Some(block_ref(&blocks[1]))).await;
    expect_blocks(&mut held, &blocks[2..]).await;
    let mut dropped = listen(&*bus, Topics::CHAIN, Some(block_ref(&blocks[0]))).await;
    let head = Some(block_ref(&blocks[HISTORY + 1]));
    assert!(matches!(next(&mut dropped).await, Some(Err(gap)) if gap.head == head));
}

pub(crate) async fn a_slow_consumer_sees_one_gap_and_goes_on_behind_it(bus: Bus) {
    let mut slow = listen(&*bus, Topics::CHAIN, None).await;
    let blocks = chain(genesis(), 1, 2 * HISTORY + 3);
    publish(&*bus, &blocks[..=2 * HISTORY]).await;
    let head = Some(block_ref(&blocks[2 * HISTORY]));
    // Events may have been at hand when it became slow; those come first.
    let mut at_hand = blocks.iter().map(block_ref);
    let gap = loop {
        match next(&mut slow).await {
            Some(Ok(Event::Chain(event))) => assert_eq!(Some(block_ref(&event)), at_hand.next()),
            Some(Err(gap)) => break gap,
            other => panic!("expected a chain event or a gap, got {other:?}"),
        }
    };
    assert_eq!(gap.head, head);
    assert!(at_hand.len() > HISTORY);
    publish(&*bus, &blocks[2 * HISTORY + 1..]).await;
    expect_blocks(&mut slow, &blocks[2 * HISTORY + 1..]).await;
}

pub(crate) async fn a_flood_of_pool_events_pushes_out_no_block(bus: Bus) {
    let mut subscription = listen(&*bus, Topics::ALL, None).await;
    let blocks = chain(genesis(), 1, 3);
    publish(&*bus, &blocks[..2]).await;
    publish_all(&*bus, (0..2 * POOL_QUEUE as u64).map(|nonce| pending(nonce).into())).await;
    publish(&*bus, &blocks[2..]).await;
    // A few transactions may be at hand before the block is.
    let (mut received, mut overtaken) = (Vec::new(), 0);
    while received.len() < blocks.len() {
        match next(&mut subscription).await {
            Some(Ok(Event::Chain(event))) => received.push(block_ref(&event)),
            Some(Ok(Event::Pool(_))) => overtaken += 1,
            other => panic!("expected an event, got {other:?}"),
        }
    }
    assert_eq!(received, blocks.iter().map(block_ref).collect::<Vec<_>>());
    assert!(overtaken < POOL_QUEUE / 8, "{overtaken} transactions came before the blocks");
    assert!(matches!(next(&mut subscription).await, Some(Ok(Event::Pool(_)))));
}

pub(crate) async fn lost_pool_events_are_counted(bus: Bus) {
    let mut slow = listen(&*bus, Topics::POOL, None).await;
    let sent = POOL_QUEUE as u64 + 10;
    publish_all(&*bus, (0..sent).map(|nonce| pending(nonce).into())).await;
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
    let mut subscription = listen(&*bus, Topics::ALL, None).await;
    publish(&*bus, &chain(genesis(), 1, 1)).await;
    publish_all(&*bus, [pending(0).into()].into_iter()).await;
    let mut traces = Vec::new();
    for _ in 0..2 {
        let event = next(&mut subscription).await.expect("open").expect("no gap");
        traces.extend(event.trace().map(|trace| trace.0.to_string()));
    }
    traces.sort();
    assert_eq!(traces, ["of the block", "of the transaction"]);
}

pub(crate) async fn the_subscription_ends_with_the_bus(bus: Bus) {
    let mut subscription = listen(&*bus, Topics::ALL, None).await;
    let blocks = chain(genesis(), 1, 1);
    publish(&*bus, &blocks).await;
    drop(bus);
    expect_blocks(&mut subscription, &blocks).await;
    assert!(next(&mut subscription).await.is_none());
}

pub(crate) type Works = BoxStream<'static, Arc<Work>>;

pub(crate) fn follow_work(bus: &dyn EventBus) -> Works {
    bus.work().expect("it carries work").follow_work()
}

pub(crate) async fn next_work(works: &mut Works) -> Option<Arc<Work>> {
    tokio::time::timeout(DEADLINE, works.next()).await.expect("work in time")
}

/// Publishes these, and waits until followers can read the last.
pub(crate) async fn publish_works(bus: &dyn EventBus, works: impl Iterator<Item = Arc<Work>>) {
    let mut follower = follow_work(bus);
    let mut last = None;
    for work in works {
        bus.work().expect("it carries work").publish_work(Arc::clone(&work)).expect("the bus is there");
        last = Some(work);
    }
    while next_work(&mut follower).await != last {}
}

async fn expect_no_work(works: &mut Works) {
    let waited = tokio::time::timeout(Duration::from_millis(50), works.next()).await;
    assert!(waited.is_err(), "unexpected {waited:?}");
}

pub(crate) async fn the_newest_work_is_given_at_once_and_a_slow_follower_skips_to_it(bus: Bus) {
    let mut early = follow_work(&*bus);
    expect_no_work(&mut early).await;
    publish_works(&*bus, [work(1, 1)].into_iter()).await;
    let mut slow = follow_work(&*bus);
    for works in [&mut early, &mut slow] {
        let given = next_work(works).await.expect("there is work");
        assert_eq!((&given, &*given.trace.0), (&work(1, 1), "of the work"));
        assert_eq!(given.parent(), BlockRef { number: 0, hash: given.header.parent_hash });
    }
    publish_works(&*bus, (2..=50).map(|number| work(1, number))).await;
    assert_eq!(next_work(&mut slow).await, Some(work(1, 50)));
    let mut late = follow_work(&*bus);
    assert_eq!(next_work(&mut late).await, Some(work(1, 50)));
    for works in [&mut slow, &mut late] {
        expect_no_work(works).await;
    }
}

pub(crate) async fn work_under_an_older_token_is_not_given(bus: Bus) {
    publish_works(&*bus, [work(5, 1)].into_iter()).await;
    let mut works = follow_work(&*bus);
    assert_eq!(next_work(&mut works).await, Some(work(5, 1)));
    bus.work().expect("it carries work").publish_work(work(4, 2)).expect("the bus is there");
    expect_no_work(&mut works).await;
    let mut late = follow_work(&*bus);
    assert_eq!(next_work(&mut late).await, Some(work(5, 1)));
    for newer in [work(5, 3), work(6, 3)] {
        publish_works(&*bus, [Arc::clone(&newer)].into_iter()).await;
        for works in [&mut works, &mut late] {
            assert_eq!(next_work(works).await.as_ref(), Some(&newer));
        }
    }
}

pub(crate) async fn a_flood_of_work_pushes_out_nothing(bus: Bus) {
    let mut subscription = listen(&*bus, Topics::ALL, None).await;
    let blocks = chain(genesis(), 1, 2);
    publish(&*bus, &blocks[..1]).await;
    publish_works(&*bus, (0..2 * POOL_QUEUE as u64).map(|number| work(1, number))).await;
    publish_all(&*bus, [pending(7).into()].into_iter()).await;
    publish(&*bus, &blocks[1..]).await;
    let (mut received, mut nonces) = (Vec::new(), Vec::new());
    while received.len() + nonces.len() < 3 {
        match next(&mut subscription).await {
            Some(Ok(Event::Chain(event))) => received.push(block_ref(&event)),
            Some(Ok(Event::Pool(event))) => nonces.push(nonce(&event)),
            other => panic!("expected an event, got {other:?}"),
        }
    }
    assert_eq!(received, blocks.iter().map(block_ref).collect::<Vec<_>>());
    assert_eq!((nonces.as_slice(), subscription.missed_pool_events()), (&[7][..], 0));
}

pub(crate) async fn following_work_ends_with_the_bus(bus: Bus) {
    publish_works(&*bus, [work(1, 1)].into_iter()).await;
    let mut works = follow_work(&*bus);
    assert_eq!(next_work(&mut works).await, Some(work(1, 1)));
    bus.work().expect("it carries work").publish_work(work(1, 2)).expect("the bus is there");
    drop(bus);
    assert_eq!(next_work(&mut works).await, Some(work(1, 2)));
    assert_eq!(next_work(&mut works).await, None);
}
