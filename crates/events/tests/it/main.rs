//! The bus's contract, run against every implementation, what Redis can do to it, and the follower on real chains.

mod chains;
mod contract;
mod faults;
mod follower;
mod pool_log;
mod work;

use alloy_primitives::B256;
use contract::Bus;
use quintet_events::{LocalBus, RedisBus};
use quintet_redis::{Keyspace, Redis};
use quintet_testkit::redis::Redis as Server;
use std::sync::Arc;

fn local() -> Bus {
    Arc::new(LocalBus::new())
}

/// A bus with keys of its own on the tests' Redis.
fn shared_redis() -> Bus {
    Arc::new(redis_bus(Server::shared(), B256::random()))
}

/// The bus of a network.
fn redis_bus(server: &Server, genesis: B256) -> RedisBus {
    let redis = Redis::new(&server.url(0)).expect("an address");
    RedisBus::new(redis, Keyspace::of(&genesis))
}

contract::suite!(local, crate::local);
contract::suite!(redis, crate::shared_redis);
