//! PostgreSQL and Redis: stopped, crashed, hung, emptied.

use super::{
    RECOVERY, check_heights, complains, finish, finish_with_side_blocks, gateways, options, recovered,
    under_load,
};
use crate::fixture::{call, to_u64};
use quintet_testkit::split::{Service, Split};
use serde_json::json;
use std::time::Duration;

/// How long a server is away after everyone noticed.
const AWAY: Duration = Duration::from_secs(2);

/// What a gateway holds is served whatever is away: the head, its block, and the state that recent blocks changed.
async fn serves_what_it_holds(split: &Split) {
    for gateway in 0..split.gateways() {
        let rpc = split.rpc(gateway);
        let head = to_u64(&call(&rpc, "eth_blockNumber", json!([])).await);
        assert!(head > 0);
        let block = call(&rpc, "eth_getBlockByNumber", json!(["latest", true])).await;
        assert!(to_u64(&block["number"]) >= head, "{block}");
        let sender = block["transactions"][0]["from"].clone();
        if !sender.is_null() {
            call(&rpc, "eth_getBalance", json!([sender, "latest"])).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgresql_stops_and_crashes_and_comes_back() {
    let (mut split, mut load) = under_load(options()).await;
    for crash in [false, true] {
        if crash {
            split.postgres.kill();
        } else {
            split.postgres.stop();
        }
        for gateway in gateways(&split) {
            complains(&mut split, gateway, &["store", "postgres"]).await;
            let status = split.readyz(gateway).await.expect("an answer");
            assert!(status.ready, "{gateway} serves what it holds: {}", status.text);
        }
        complains(&mut split, Service::Chain, &["store", "postgres"]).await;
        serves_what_it_holds(&split).await;
        let reads = load.reads();
        tokio::time::sleep(AWAY).await;
        assert!(load.reads() > reads, "no read is answered: {}", load.complaints());
        split.postgres.restart();
        recovered(&mut split, &mut load, "PostgreSQL's return").await;
    }
    finish(split, load).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_stops_hangs_and_is_emptied_and_blocks_go_on() {
    let (mut split, mut load) = under_load(options()).await;
    split.redis.stop();
    for gateway in gateways(&split) {
        complains(&mut split, gateway, &["redis"]).await;
        assert!(split.readyz(gateway).await.expect("an answer").ready, "{gateway} polls the store");
    }
    load.progress("while Redis is away", RECOVERY).await;
    split.redis.start_again();
    recovered(&mut split, &mut load, "Redis' return").await;

    split.redis.pause();
    load.progress("while Redis hangs", RECOVERY).await;
    split.redis.resume();
    recovered(&mut split, &mut load, "Redis' awakening").await;

    // Emptied, it forgets who leads: the old leader and a new one may both seal for a moment.
    check_heights(&split);
    for _ in 0..3 {
        split.redis.flush();
        load.progress("after Redis was emptied", RECOVERY).await;
    }
    recovered(&mut split, &mut load, "emptying Redis").await;
    finish_with_side_blocks(split, load).await;
}
