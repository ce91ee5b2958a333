//! What Redis can do to the bus: go away, come back empty, hang, hold nonsense. The node's promise is the same each
//! time: a consumer that resyncs at gaps ends at the head, and nobody who publishes waits.

use crate::chains::{block_ref, chain, child, genesis, pending};
use crate::contract::{expect_blocks, expect_silence, listen, next, next_chain, nonce, publish};
use crate::redis_bus;
use alloy_primitives::B256;
use parking_lot::Mutex;
use quintet_events::{BusError, Event, EventBus, Follower, Gap, RedisBus, Step, Subscription, Topics};
use quintet_redis::{Keyspace, Redis};
use quintet_testkit::redis::Redis as Server;
use quintet_types::{BlockRef, ChainEvent};
use std::sync::Arc;
use std::time::Duration;

/// A bound for every wait.
const DEADLINE: Duration = Duration::from_secs(30);

/// Waits until `condition` holds.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(DEADLINE, wait).await.unwrap_or_else(|_| panic!("not in time: {what}"));
}

/// The next item that is not the sign that the bus is away.
async fn next_but_away(subscription: &mut Subscription) -> Result<Event, Gap> {
    loop {
        match next(subscription).await.expect("the bus is there") {
            Err(Gap { head: None }) => {}
            item => return item,
        }
    }
}

/// Runs a command of its own.
pub(crate) async fn command(server: &Server, words: &[&str]) {
    let redis = Redis::new(&server.url(0)).expect("an address");
    let mut connection = redis.commands().expect("a connection");
    let mut command = redis::cmd(words[0]);
    for word in &words[1..] {
        command.arg(*word);
    }
    command.exec_async(&mut connection).await.unwrap_or_else(|error| panic!("{words:?}: {error}"));
}

/// The store, of which only the head matters here, and a consumer as the gateway is one.
struct Node {
    store: Mutex<BlockRef>,
    bus: RedisBus,
}

impl Node {
    fn new(server: &Server) -> Arc<Self> {
        Arc::new(Self { store: Mutex::new(genesis()), bus: redis_bus(server, B256::random()) })
    }

    /// Commits, then publishes.
    async fn import(&self, block: &ChainEvent) -> Result<(), BusError> {
        *self.store.lock() = block_ref(block);
        let published = self.bus.publish(block.clone().into());
        tokio::time::timeout(DEADLINE, published).await.expect("who publishes does not wait")
    }

    /// Follows, and resyncs at gaps, until `last` is the head.
    fn consume(self: &Arc<Self>, last: BlockRef) -> tokio::task::JoinHandle<u64> {
        let node = Arc::clone(self);
        tokio::spawn(async move {
            let mut follower = Follower::new(genesis());
            let mut subscription = node.bus.subscribe(Topics::CHAIN, Some(genesis()));
            let mut gaps = 0;
            while follower.head() != last {
                match next(&mut subscription).await.expect("the bus is there") {
                    Ok(Event::Chain(event)) => {
                        assert_ne!(follower.apply(&event), Step::Gap, "missed without being told");
                    }
                    Ok(Event::Pool(event)) => panic!("unexpected {event:?}"),
                    Err(_) => {
                        gaps += 1;
                        follower.reset(*node.store.lock());
                    }
                }
            }
            gaps
        })
    }
}

#[tokio::test]
async fn subscribers_are_told_that_redis_is_away_and_what_they_missed() {
    let mut server = Server::start();
    let bus = redis_bus(&server, B256::random());
    let blocks = chain(genesis(), 1, 6);
    let mut subscription = listen(&bus, Topics::CHAIN, None).await;
    publish(&bus, &blocks[..2]).await;
    expect_blocks(&mut subscription, &blocks[..2]).await;
    assert!(bus.trouble().is_none());

    server.stop();
    for _ in 0..2 {
        assert!(matches!(next(&mut subscription).await, Some(Err(Gap { head: None }))));
    }
    until("the publisher sees it too", || bus.trouble().is_some()).await;
    assert!(bus.trouble().unwrap().contains(&server.port().to_string()), "{:?}", bus.trouble());
    // Blocks 3 and 4 are lost on the way, the second of them with an error.
    let _ = bus.publish(blocks[2].clone().into()).await;
    tokio::time::timeout(DEADLINE, bus.flush()).await.expect("gives up in time");
    assert!(matches!(bus.publish(blocks[3].clone().into()).await, Err(BusError::Unavailable(_))));

    server.start_again();
    let head = Some(block_ref(&blocks[3]));
    assert_eq!(next_but_away(&mut subscription).await.unwrap_err(), Gap { head });
    until("all is well", || bus.trouble().is_none()).await;
    publish(&bus, &blocks[4..]).await;
    expect_blocks(&mut subscription, &blocks[4..]).await;
    // Who comes now finds the head that was announced.
    let mut late = listen(&bus, Topics::CHAIN, head).await;
    expect_blocks(&mut late, &blocks[4..]).await;
}

#[tokio::test]
async fn a_redis_that_comes_back_empty_costs_nothing_if_nothing_was_missed() {
    let mut server = Server::start();
    let bus = redis_bus(&server, B256::random());
    let blocks = chain(genesis(), 1, 4);
    let mut subscription = listen(&bus, Topics::CHAIN, None).await;
    publish(&bus, &blocks[..2]).await;
    expect_blocks(&mut subscription, &blocks[..2]).await;

    server.flush();
    publish(&bus, &blocks[2..3]).await;
    expect_blocks(&mut subscription, &blocks[2..3]).await;

    server.kill();
    assert!(matches!(next(&mut subscription).await, Some(Err(Gap { head: None }))));
    server.start_again();
    // The writer is back once something arrives, which need not be of the chain.
    let log = bus.pool_log();
    let back = async {
        while log.since("/0-0", 1).await.is_ok_and(|(logged, _)| logged.is_empty()) {
            let _ = bus.publish(pending(0).into()).await;
            bus.flush().await;
        }
    };
    tokio::time::timeout(DEADLINE, back).await.expect("back in time");
    publish(&bus, &blocks[3..]).await;
    match next_but_away(&mut subscription).await {
        Ok(Event::Chain(event)) => assert_eq!(block_ref(&event), block_ref(&blocks[3])),
        other => panic!("expected the next block, got {other:?}"),
    }
    let mut behind = listen(&bus, Topics::CHAIN, Some(block_ref(&blocks[0]))).await;
    let head = Some(block_ref(&blocks[3]));
    assert!(matches!(next(&mut behind).await, Some(Err(gap)) if gap.head == head));
}

#[tokio::test]
async fn an_emptied_redis_is_told_the_head_again() {
    let server = Server::start();
    let bus = redis_bus(&server, B256::random());
    let blocks = chain(genesis(), 1, 3);
    publish(&bus, &blocks[..2]).await;
    let mut at_head = listen(&bus, Topics::CHAIN, Some(block_ref(&blocks[1]))).await;
    server.flush();
    // A reader of a stream that is not there knows nothing; one of the stream with the head does.
    let held = async {
        loop {
            let mut late = listen(&bus, Topics::CHAIN, Some(block_ref(&blocks[1]))).await;
            if tokio::time::timeout(Duration::from_millis(50), late.next()).await.is_err() {
                return late;
            }
        }
    };
    let mut late = tokio::time::timeout(DEADLINE, held).await.expect("the head is announced");
    publish(&bus, &blocks[2..]).await;
    expect_blocks(&mut late, &blocks[2..]).await;
    expect_blocks(&mut at_head, &blocks[2..]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_it_is_written_to() {
    let mut server = Server::start();
    let node = Node::new(&server);
    let blocks = chain(genesis(), 1, 300);
    let consumer = node.consume(block_ref(&blocks[299]));
    for (index, block) in blocks.iter().enumerate() {
        let _ = node.import(block).await;
        match index {
            100 => server.kill(),
            200 => server.start_again(),
            _ => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    }
    let gaps = tokio::time::timeout(DEADLINE, consumer).await.expect("at the head in time").unwrap();
    assert!(gaps > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_hangs_delays_nobody_who_publishes() {
    let mut server = Server::start();
    let node = Node::new(&server);
    // More than may wait.
    let blocks = chain(genesis(), 1, 1_500);
    let consumer = node.consume(block_ref(&blocks[1_499]));
    for block in &blocks[..10] {
        node.import(block).await.expect("there");
    }
    node.bus.flush().await;
    server.pause();
    let refused = async {
        let mut refused = 0;
        for block in &blocks[10..] {
            refused += usize::from(node.import(block).await.is_err());
        }
        refused
    };
    assert!(refused.await > 0);
    until("it is noticed", || node.bus.trouble().is_some()).await;
    server.resume();
    let gaps = tokio::time::timeout(DEADLINE, consumer).await.expect("at the head in time").unwrap();
    assert!(gaps > 0);
    until("all is well", || node.bus.trouble().is_none()).await;
}

#[tokio::test]
async fn entries_that_cannot_be_read_are_gaps() {
    let server = Server::shared();
    let network = B256::random();
    let bus = redis_bus(server, network);
    let key = Keyspace::of(&network).key("events:chain");
    let blocks = chain(genesis(), 1, 5);
    let mut subscription = listen(&bus, Topics::CHAIN, None).await;
    publish(&bus, &blocks[..1]).await;
    expect_blocks(&mut subscription, &blocks[..1]).await;

    let place = |block: BlockRef| format!("{}:{}", block.number, block.hash);
    // A block without its data, and one whose data is nonsense; the head behind it is known each time.
    let (from, to) = (place(block_ref(&blocks[0])), place(block_ref(&blocks[1])));
    command(server, &["XADD", &key, "*", "kind", "block", "from", &from, "to", &to]).await;
    let head = Some(block_ref(&blocks[1]));
    assert!(matches!(next(&mut subscription).await, Some(Err(gap)) if gap.head == head));
    publish(&bus, &blocks[2..3]).await;
    expect_blocks(&mut subscription, &blocks[2..3]).await;

    let (from, to) = (place(block_ref(&blocks[2])), place(block_ref(&blocks[3])));
    let words = ["XADD", &key, "*", "kind", "block", "from", &from, "to", &to, "data", "\u{7f}nonsense"];
    command(server, &words).await;
    let head = Some(block_ref(&blocks[3]));
    assert!(matches!(next(&mut subscription).await, Some(Err(gap)) if gap.head == head));

    // Of another time, or of nobody: nothing is known.
    for words in [
        ["XADD", &key, "*", "kind", "checkpoint"],
        ["XADD", &key, "*", "to", "x"],
        ["XADD", &key, "*", "", ""],
    ] {
        command(server, &words).await;
        assert!(matches!(next(&mut subscription).await, Some(Err(Gap { head: None }))));
    }
    publish(&bus, &blocks[4..]).await;
    expect_blocks(&mut subscription, &blocks[4..]).await;
    expect_silence(&mut subscription).await;
    // Nor can anybody find a cursor behind them.
    let mut behind = listen(&bus, Topics::CHAIN, Some(block_ref(&blocks[2]))).await;
    let head = Some(block_ref(&blocks[4]));
    assert!(matches!(next(&mut behind).await, Some(Err(gap)) if gap.head == head));
}

#[tokio::test]
async fn pool_entries_that_cannot_be_read_are_missed() {
    let server = Server::shared();
    let network = B256::random();
    let bus = redis_bus(server, network);
    let key = Keyspace::of(&network).key("events:pool");
    let mut subscription = listen(&bus, Topics::POOL, None).await;
    bus.publish(pending(2).into()).await.unwrap();
    assert!(matches!(next(&mut subscription).await, Some(Ok(Event::Pool(event))) if nonce(&event) == 2));
    command(server, &["XADD", &key, "*", "data", "nonsense"]).await;
    bus.publish(pending(3).into()).await.unwrap();
    assert!(matches!(next(&mut subscription).await, Some(Ok(Event::Pool(event))) if nonce(&event) == 3));
    assert_eq!(subscription.missed_pool_events(), 1);
    let (logged, _) = bus.pool_log().since("/0-0", 10).await.unwrap();
    assert_eq!(logged.len(), 2);
}

#[tokio::test]
async fn a_key_of_another_type_is_trouble_until_it_is_gone() {
    let server = Server::shared();
    let network = B256::random();
    let bus = redis_bus(server, network);
    let key = Keyspace::of(&network).key("events:chain");
    command(server, &["SET", &key, "in the way"]).await;
    let blocks = chain(genesis(), 1, 2);
    let _ = bus.publish(blocks[0].clone().into()).await;
    until("it is noticed", || bus.trouble().is_some_and(|trouble| trouble.contains("WRONGTYPE"))).await;
    command(server, &["DEL", &key]).await;
    until("all is well", || bus.trouble().is_none()).await;
    tokio::time::timeout(DEADLINE, bus.flush()).await.unwrap();
    let mut subscription = listen(&bus, Topics::CHAIN, Some(block_ref(&blocks[0]))).await;
    publish(&bus, &blocks[1..]).await;
    expect_blocks(&mut subscription, &blocks[1..]).await;
}

#[tokio::test]
async fn networks_that_share_a_redis_never_meet() {
    let server = Server::shared();
    let (first, second) = (redis_bus(server, B256::random()), redis_bus(server, B256::random()));
    let mut on_first = listen(&first, Topics::ALL, None).await;
    let mut on_second = listen(&second, Topics::ALL, None).await;
    let (one, two) = (child(genesis(), 1), child(genesis(), 2));
    publish(&first, std::slice::from_ref(&one)).await;
    publish(&second, std::slice::from_ref(&two)).await;
    expect_blocks(&mut on_first, &[one]).await;
    expect_blocks(&mut on_second, &[two]).await;
    second.publish(pending(9).into()).await.unwrap();
    assert!(matches!(next(&mut on_second).await, Some(Ok(Event::Pool(_)))));
    expect_silence(&mut on_first).await;
}

#[tokio::test]
async fn a_publisher_that_starts_again_says_where_it_is() {
    let server = Server::shared();
    let network = B256::random();
    let blocks = chain(genesis(), 1, 7);
    let old = redis_bus(server, network);
    publish(&old, &blocks[..3]).await;
    drop(old);
    let reader = redis_bus(server, network);
    let mut subscription = listen(&reader, Topics::CHAIN, Some(block_ref(&blocks[2]))).await;

    // It ended in peace: nobody hears of it.
    let same = redis_bus(server, network);
    same.announce_head(block_ref(&blocks[2]));
    same.flush().await;
    expect_silence(&mut subscription).await;
    publish(&same, &blocks[3..4]).await;
    expect_blocks(&mut subscription, &blocks[3..4]).await;
    drop(same);

    // It ended between a commit and its event.
    let ahead = redis_bus(server, network);
    ahead.announce_head(block_ref(&blocks[5]));
    ahead.flush().await;
    let head = Some(block_ref(&blocks[5]));
    assert!(matches!(next(&mut subscription).await, Some(Err(gap)) if gap.head == head));
    let mut resynced = listen(&reader, Topics::CHAIN, head).await;
    let mut behind = listen(&reader, Topics::CHAIN, Some(block_ref(&blocks[1]))).await;
    publish(&ahead, &blocks[6..]).await;
    expect_blocks(&mut subscription, &blocks[6..]).await;
    expect_blocks(&mut resynced, &blocks[6..]).await;
    // What the stream held is given before the gap.
    expect_blocks(&mut behind, &blocks[2..4]).await;
    assert!(matches!(next(&mut behind).await, Some(Err(gap)) if gap.head == head));
    expect_blocks(&mut behind, &blocks[6..]).await;
}

#[tokio::test]
async fn a_rewind_to_a_block_that_the_publisher_did_not_publish_is_followed() {
    let server = Server::shared();
    let network = B256::random();
    let blocks = chain(genesis(), 1, 3);
    let bus = redis_bus(server, network);
    publish(&bus, &blocks).await;
    let restarted = redis_bus(server, network);
    restarted.announce_head(block_ref(&blocks[2]));
    let mut subscription = listen(&restarted, Topics::CHAIN, Some(block_ref(&blocks[2]))).await;
    let new = child(block_ref(&blocks[0]), 2);
    publish(&restarted, &[crate::chains::reverted(&blocks[1..]), new.clone()]).await;
    assert!(matches!(next_chain(&mut subscription).await, ChainEvent::Reverted(gone) if gone.len() == 2));
    expect_blocks(&mut subscription, &[new]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn threads_outside_the_runtime_publish() {
    let bus = redis_bus(Server::shared(), B256::random());
    let mut subscription = listen(&bus, Topics::CHAIN, None).await;
    let blocks = chain(genesis(), 1, 2);
    let (publisher, event) = (bus.clone(), blocks[0].clone());
    let thread = std::thread::spawn(move || {
        futures::executor::block_on(publisher.publish(event.into())).expect("published");
    });
    expect_blocks(&mut subscription, &blocks[..1]).await;
    thread.join().expect("no panic");
    // A bus that was made outside has no runtime until it is used in one.
    let network = B256::random();
    let outside = std::thread::spawn(move || {
        let bus = redis_bus(Server::shared(), network);
        let refused = futures::executor::block_on(bus.publish(child(genesis(), 1).into()));
        assert!(matches!(refused, Err(BusError::Unavailable(_))));
        bus
    });
    let outside = outside.join().expect("no panic");
    publish(&outside, &[]).await;
    let mut subscription = listen(&outside, Topics::CHAIN, Some(genesis())).await;
    expect_blocks(&mut subscription, &blocks[..1]).await;
}
