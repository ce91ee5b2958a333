//! Filters that any replica answers for, and the order of what the node's own accounts send through several.

use crate::chain::Node;
use crate::edge::{Options, PATIENCE, Replica, forward_pool, open};
use quintet_testkit::redis::Redis;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

async fn poll(replica: &Replica, filter: &Value) -> Vec<Value> {
    match replica.call("eth_getFilterChanges", json!([filter])).await {
        Value::Array(changes) => changes,
        other => panic!("no array: {other}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filters_are_answered_by_any_replica() {
    let (node, server) = (Node::dev().await, Redis::start());
    let redis = open(&server);
    let (a, b) = (Replica::sharing(&node, &redis, &[]).await, Replica::sharing(&node, &redis, &[]).await);
    let blocks = a.call("eth_newBlockFilter", json!([])).await;
    let logs = a.call("eth_newFilter", json!([{ "topics": [] }])).await;
    let first = node.mine().await;
    b.wait_for(1).await;
    a.wait_for(1).await;
    assert_eq!(poll(&b, &blocks).await, [json!(first.hash)]);
    assert!(poll(&a, &blocks).await.is_empty() && poll(&b, &blocks).await.is_empty());
    // Runtime: LOG1 with the input's first word as topic, no data; then one log.
    let accounts = a.call("eth_accounts", json!([])).await;
    let init = "0x6006600c60003960066000f35f355f5fa100";
    let hash = b.call("eth_sendTransaction", json!([{ "from": accounts[0], "input": init }])).await;
    node.mine().await;
    b.wait_for(2).await;
    let contract = b.call("eth_getTransactionReceipt", json!([hash])).await["contractAddress"].clone();
    b.call("eth_sendTransaction", json!([{ "from": accounts[0], "to": contract, "input": "0x07" }])).await;
    node.mine().await;
    b.wait_for(3).await;
    a.wait_for(3).await;
    let told = poll(&b, &logs).await;
    assert_eq!((told.len(), &told[0]["address"]), (1, &contract));
    assert!(poll(&a, &logs).await.is_empty());
    // Its range is the latest block.
    assert_eq!(a.call("eth_getFilterLogs", json!([logs])).await, json!(told));
    let all = a.call("eth_newFilter", json!([{ "fromBlock": "earliest", "address": contract }])).await;
    assert_eq!(b.call("eth_getFilterLogs", json!([all])).await, json!(told));
    assert_eq!(b.call("eth_uninstallFilter", json!([logs])).await, true);
    assert_eq!(a.call("eth_uninstallFilter", json!([logs])).await, false);
    let gone = (-32000, "filter not found".to_owned());
    assert_eq!(a.failure("eth_getFilterChanges", json!([logs])).await, gone);
    for id in ["0x0", "0x00ff", "0xg", "", "limit:x", "0x112233445566778899aabbccddeeff0011"] {
        assert_eq!(a.failure("eth_getFilterChanges", json!([id])).await, gone, "{id}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn polls_at_the_same_time_tell_each_block_once() {
    let (node, server) = (Node::dev().await, Redis::start());
    let redis = open(&server);
    let (a, b) = (Replica::sharing(&node, &redis, &[]).await, Replica::sharing(&node, &redis, &[]).await);
    let (a, b) = (Arc::new(a), Arc::new(b));
    let filter = a.call("eth_newBlockFilter", json!([])).await;
    let pollers: Vec<_> = (0..6)
        .map(|n| {
            let (replica, filter) = (Arc::clone(if n % 2 == 0 { &a } else { &b }), filter.clone());
            tokio::spawn(async move {
                let mut told = Vec::new();
                for _ in 0..30 {
                    match replica.http.call("eth_getFilterChanges", json!([filter])).await {
                        Ok(changes) => told.extend(changes.as_array().expect("an array").clone()),
                        // Others were always quicker.
                        Err(error) => assert!(error.to_string().contains("too many at once"), "{error}"),
                    }
                }
                told
            })
        })
        .collect();
    let mut mined = BTreeSet::new();
    for _ in 0..12 {
        mined.insert(node.mine().await.hash.to_string());
    }
    let mut told = Vec::new();
    for poller in pollers {
        told.extend(tokio::time::timeout(PATIENCE, poller).await.expect("in time").expect("ran"));
    }
    a.wait_for(12).await;
    told.extend(poll(&a, &filter).await);
    let once: BTreeSet<_> = told.iter().map(|hash| hash.as_str().expect("a hash").to_owned()).collect();
    assert_eq!(once.len(), told.len(), "told twice: {told:?}");
    assert_eq!(once, mined);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_is_behind_says_nothing_and_moves_nothing() {
    let (node, server) = (Node::dev().await, Redis::start());
    let redis = open(&server);
    let a = Replica::sharing(&node, &redis, &[]).await;
    let behind =
        Replica::start(&node, Options { redis: Some(redis.clone()), deaf: true, ..Options::default() }).await;
    let filter = behind.call("eth_newBlockFilter", json!([])).await;
    let first = node.mine().await;
    a.wait_for(1).await;
    assert_eq!(poll(&a, &filter).await, [json!(first.hash)]);
    assert!(poll(&behind, &filter).await.is_empty());
    let second = node.mine().await;
    a.wait_for(2).await;
    assert!(poll(&behind, &filter).await.is_empty());
    assert_eq!(poll(&a, &filter).await, [json!(second.hash)]);
    assert_eq!(behind.call("eth_blockNumber", json!([])).await, "0x0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pending_transactions_are_told_once_by_whichever_replica() {
    let (node, server) = (Node::dev().await, Redis::start());
    let redis = open(&server);
    let bus = forward_pool(&node, &redis);
    let (a, b) = (Replica::sharing(&node, &redis, &[]).await, Replica::sharing(&node, &redis, &[]).await);
    let hashes = a.call("eth_newPendingTransactionFilter", json!([])).await;
    let whole = b.call("eth_newPendingTransactionFilter", json!([true])).await;
    let accounts = a.call("eth_accounts", json!([])).await;
    let transfer = json!([{ "from": accounts[0], "to": accounts[1], "value": "0x1" }]);
    let first = a.call("eth_sendTransaction", transfer.clone()).await;
    let told = async {
        loop {
            bus.flush().await;
            let told = poll(&b, &hashes).await;
            if !told.is_empty() {
                return told;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert_eq!(tokio::time::timeout(PATIENCE, told).await.expect("told"), std::slice::from_ref(&first));
    assert!(poll(&a, &hashes).await.is_empty());
    // Whole, though it is in a block by now.
    node.mine().await;
    let told = poll(&a, &whole).await;
    assert_eq!((told.len(), &told[0]["hash"], &told[0]["from"]), (1, &first, &accounts[0]));
    assert!(poll(&b, &whole).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_filters_say_why_and_emptied_they_are_gone() {
    let (node, mut server) = (Node::dev().await, Redis::start());
    let replica = Replica::sharing(&node, &open(&server), &[]).await;
    let filter = replica.call("eth_newBlockFilter", json!([])).await;
    server.stop();
    let away = (-32000, "filters are not available: Redis is away; try again".to_owned());
    for (method, params) in [
        ("eth_getFilterChanges", json!([filter])),
        ("eth_newBlockFilter", json!([])),
        ("eth_newPendingTransactionFilter", json!([])),
        ("eth_uninstallFilter", json!([filter])),
    ] {
        let asked = Instant::now();
        assert_eq!(replica.failure(method, params).await, away, "{method}");
        assert!(asked.elapsed() < Duration::from_secs(10), "{method} took {:?}", asked.elapsed());
    }
    // Everything else goes on, sending included.
    let accounts = replica.call("eth_accounts", json!([])).await;
    replica.call("eth_sendTransaction", json!([{ "from": accounts[0], "to": accounts[1] }])).await;
    server.start_again();
    let back = async {
        loop {
            let (code, message) = replica.failure("eth_getFilterChanges", json!([filter])).await;
            if message == "filter not found" {
                return code;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert_eq!(tokio::time::timeout(PATIENCE, back).await.expect("back"), -32000);
    let filter = replica.call("eth_newBlockFilter", json!([])).await;
    assert!(poll(&replica, &filter).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_never_choose_the_same_nonce() {
    let (node, server) = (Node::dev().await, Redis::start());
    let redis = open(&server);
    let (a, b) = (Replica::sharing(&node, &redis, &[]).await, Replica::sharing(&node, &redis, &[]).await);
    let accounts = a.call("eth_accounts", json!([])).await;
    let transfer = json!([{ "from": accounts[0], "to": accounts[1], "value": "0x1" }]);
    let sending = (0..20).map(|n| {
        let (client, transfer) = (if n % 2 == 0 { &a } else { &b }.http.clone(), transfer.clone());
        tokio::spawn(async move { client.call("eth_sendTransaction", transfer).await })
    });
    let sending: Vec<_> = sending.collect();
    let mut hashes = BTreeSet::new();
    for sent in sending {
        let hash = tokio::time::timeout(PATIENCE, sent).await.expect("in time").expect("ran").expect("sent");
        hashes.insert(hash.to_string());
    }
    assert_eq!(hashes.len(), 20);
    assert_eq!(a.call("eth_getTransactionCount", json!([accounts[0], "pending"])).await, "0x14");
}
