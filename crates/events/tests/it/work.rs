//! Miners' work through Redis: several processes write it, and Redis may be away, emptied, or hold nonsense.

use crate::chains::{block_ref, chain, genesis, work};
use crate::contract::{expect_blocks, follow_work, listen, next_work, publish, publish_works};
use crate::faults::{command, until};
use crate::redis_bus;
use alloy_primitives::B256;
use futures::StreamExt as _;
use quintet_events::{EventBus as _, Topics, WorkTopic as _};
use quintet_redis::{Keyspace, Redis};
use quintet_testkit::redis::Redis as Server;
use std::time::Duration;

/// A bound for every wait.
const DEADLINE: Duration = Duration::from_secs(20);

/// Waits until the stream of work has had this many entries, and says how many it holds.
async fn entries(server: &Server, network: B256, added: u64) -> usize {
    let redis = Redis::new(&server.url(0)).expect("an address");
    let mut connection = redis.commands().expect("usable");
    let key = Keyspace::of(&network).key("events:work");
    let mut info = redis::cmd("XINFO");
    info.arg("STREAM").arg(&key);
    let waiting = async {
        loop {
            let info: std::collections::HashMap<String, redis::Value> =
                info.query_async(&mut connection).await.expect("a stream");
            if info.get("entries-added") == Some(&redis::Value::Int(added.cast_signed())) {
                return redis::cmd("XLEN").arg(&key).query_async(&mut connection).await.expect("a stream");
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, waiting).await.expect("written in time")
}

#[tokio::test]
async fn a_former_leader_in_another_process_is_not_heard() {
    let (server, network) = (Server::shared(), B256::random());
    let (old, new) = (redis_bus(server, network), redis_bus(server, network));
    publish_works(&old, [work(1, 1)].into_iter()).await;
    publish_works(&new, [work(2, 1)].into_iter()).await;
    // Held up since it held the lease.
    old.publish_work(work(1, 2)).unwrap();
    assert_eq!(entries(server, network, 3).await, 3);
    let reader = redis_bus(server, network);
    let mut late = follow_work(&reader);
    assert_eq!(next_work(&mut late).await, Some(work(2, 1)));
    publish_works(&new, [work(2, 2)].into_iter()).await;
    assert_eq!(next_work(&mut late).await, Some(work(2, 2)));
}

#[tokio::test]
async fn the_stream_is_short() {
    let (server, network) = (Server::shared(), B256::random());
    let bus = redis_bus(server, network);
    for number in 1..=20 {
        publish_works(&bus, [work(1, number)].into_iter()).await;
    }
    assert_eq!(entries(server, network, 20).await, 16);
}

#[tokio::test]
async fn what_cannot_be_read_is_passed_over() {
    let (server, network) = (Server::shared(), B256::random());
    let bus = redis_bus(server, network);
    let mut works = follow_work(&bus);
    let key = Keyspace::of(&network).key("events:work");
    for words in [["token", "18446744073709551615"], ["header", "nonsense"], ["", ""]] {
        command(server, &["XADD", &key, "*", words[0], words[1]]).await;
    }
    publish_works(&bus, [work(1, 1)].into_iter()).await;
    assert_eq!(next_work(&mut works).await, Some(work(1, 1)));
}

#[tokio::test]
async fn when_redis_comes_back_so_does_work() {
    let mut server = Server::start();
    let network = B256::random();
    let (miner, reader) = (redis_bus(&server, network), redis_bus(&server, network));
    let mut works = follow_work(&reader);
    publish_works(&miner, [work(1, 1)].into_iter()).await;
    assert_eq!(next_work(&mut works).await, Some(work(1, 1)));
    server.kill();
    for number in 2..=5 {
        miner.publish_work(work(1, number)).expect("nobody who publishes waits");
    }
    server.start_again();
    while next_work(&mut works).await != Some(work(1, 5)) {}
    until("all is well", || miner.trouble().is_none()).await;
}

#[tokio::test]
async fn a_miner_does_not_hide_from_chain_that_redis_was_emptied() {
    let server = Server::start();
    let network = B256::random();
    let (chain_bus, miner) = (redis_bus(&server, network), redis_bus(&server, network));
    let blocks = chain(genesis(), 1, 2);
    publish(&chain_bus, &blocks[..1]).await;
    let mut works = follow_work(&miner);
    publish_works(&miner, [work(1, 1)].into_iter()).await;
    assert_eq!(next_work(&mut works).await, Some(work(1, 1)));
    server.flush();
    publish_works(&miner, [work(1, 2)].into_iter()).await;
    assert_eq!(next_work(&mut works).await, Some(work(1, 2)));
    // Its publisher looks once a second, and tells where the head is.
    let held = async {
        loop {
            let mut late = listen(&chain_bus, Topics::CHAIN, Some(block_ref(&blocks[0]))).await;
            if tokio::time::timeout(Duration::from_millis(50), late.next()).await.is_err() {
                return late;
            }
        }
    };
    let mut late = tokio::time::timeout(DEADLINE, held).await.expect("the head is announced");
    publish(&chain_bus, &blocks[1..]).await;
    expect_blocks(&mut late, &blocks[1..]).await;
    // The stream is read again, as one of a new generation; the work is not given again.
    let again = tokio::time::timeout(Duration::from_millis(1_500), works.next()).await;
    assert!(again.is_err(), "unexpected {again:?}");
}
