//! The log of pending transactions that filters read.

use crate::chains::pending;
use crate::redis_bus;
use alloy_primitives::B256;
use quintet_events::{BusError, EventBus as _, RedisBus};
use quintet_testkit::redis::Redis as Server;
use quintet_types::PoolEvent;
use std::time::Duration;

async fn publish(bus: &RedisBus, nonces: std::ops::Range<u64>) -> Vec<B256> {
    let mut hashes = Vec::new();
    for nonce in nonces {
        let event = pending(nonce);
        let PoolEvent::Pending(transaction) = &event;
        hashes.push(transaction.hash);
        bus.publish(event.into()).await.expect("published");
    }
    tokio::time::timeout(Duration::from_secs(20), bus.flush()).await.expect("written");
    hashes
}

#[tokio::test]
async fn a_place_is_good_on_every_replica() {
    let network = B256::random();
    let chain = redis_bus(Server::shared(), network);
    let before = redis_bus(Server::shared(), network).pool_log().end().await.unwrap();
    publish(&chain, 0..3).await;
    let place = redis_bus(Server::shared(), network).pool_log().end().await.unwrap();
    let hashes = publish(&chain, 3..13).await;

    let log = redis_bus(Server::shared(), network).pool_log();
    let (first, next) = log.since(&place, 4).await.unwrap();
    assert_eq!(first.iter().map(|logged| logged.hash).collect::<Vec<_>>(), hashes[..4]);
    let whole = first[0].decode().unwrap();
    assert_eq!((whole.hash, &*whole.trace.0), (hashes[0], "of the transaction"));
    let (rest, end) = redis_bus(Server::shared(), network).pool_log().since(&next, 1000).await.unwrap();
    assert_eq!(rest.iter().map(|logged| logged.hash).collect::<Vec<_>>(), hashes[4..]);
    assert_eq!(end, log.end().await.unwrap());
    assert!(log.since(&end, 1000).await.unwrap().0.is_empty());
    // A place of the time before there was any transaction.
    assert_eq!(log.since(&before, 1000).await.unwrap().0.len(), 13);
    // Another network has none of this.
    let other = redis_bus(Server::shared(), B256::random()).pool_log();
    assert!(other.since(&place, 1000).await.unwrap().0.is_empty());
    assert!(matches!(log.since("12", 1).await, Err(BusError::Place)));
}

#[tokio::test]
async fn a_log_begins_anew_in_an_emptied_redis_and_fails_without_redis() {
    let mut server = Server::start();
    let bus = redis_bus(&server, B256::random());
    publish(&bus, 0..5).await;
    let log = bus.pool_log();
    let place = log.end().await.unwrap();
    server.flush();
    let hashes = publish(&bus, 5..8).await;
    let (all, place) = log.since(&place, 100).await.unwrap();
    assert_eq!(all.iter().map(|logged| logged.hash).collect::<Vec<_>>(), hashes);
    server.stop();
    assert!(matches!(log.end().await, Err(BusError::Unavailable(_))));
    assert!(matches!(log.since(&place, 100).await, Err(BusError::Unavailable(_))));
}
