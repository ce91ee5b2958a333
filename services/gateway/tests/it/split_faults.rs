//! What gateways do while something that they need is away, late, or wrong.

use crate::chain::dev_spec;
use crate::split::{ChainService, Replica, Servers, eventually, reference, split};
use quintet_chainspec::ChainSpec;
use serde_json::json;
use std::time::{Duration, Instant};

const TO: &str = "0x00000000000000000000000000000000000000aa";

async fn servers() -> Servers {
    tokio::task::spawn_blocking(Servers::start).await.expect("servers")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_may_come_before_the_chain() {
    let servers = servers().await;
    let a = servers.gateway(&[]).await;
    a.wait_for_report("[-]store failed: no chain store in postgres://gateway@").await;
    assert!(a.http.call("eth_blockNumber", json!([])).await.is_err(), "the port is open");
    let chain = servers.chain(dev_spec()).await;
    let head = chain.mine().await;
    a.wait_for(head).await;
    a.wait_for_report("[+]store ok").await;
    a.wait_for_report("[+]chain ok").await;
}

/// Without the bus the store is polled, and the overlay survives: blocks, reorgs and rewinds are read from the store.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_redis_is_away_or_emptied_the_store_is_polled() {
    let (mut servers, chain) = split().await;
    let (a, b) = (servers.gateway(&[]).await, servers.gateway(&[]).await);
    let head = chain.mine().await;
    a.wait_for(head).await;
    b.wait_for(head).await;
    let mut ws = a.ws().await;
    let heads = ws.subscribe(json!(["newHeads"])).await.expect("subscribed");
    servers.redis.stop();
    a.wait_for_report("[~]events degraded").await;
    let block = chain.make(b"").await;
    let first = reference(&block);
    let second = chain.mine().await;
    for gateway in [&a, &b] {
        gateway.wait_for(second).await;
    }
    for block in [first, second] {
        assert_eq!(ws.next(&heads).await.expect("told")["hash"], json!(block.hash));
    }
    // Another branch, unseen by the bus.
    chain.rewind(first.number).await;
    let other = chain.reorganise(&block).await;
    for gateway in [&a, &b] {
        gateway.wait_for(other).await;
        let gone = gateway.failure("eth_getBalance", json!([TO, second.hash])).await;
        assert_eq!(gone.1, "hash is not currently canonical");
    }
    servers.redis.start_again();
    a.wait_for_report("[+]events ok").await;
    for _ in 0..3 {
        let head = chain.mine().await;
        a.wait_for(head).await;
        b.wait_for(head).await;
    }
    servers.redis.flush();
    let head = chain.mine().await;
    a.wait_for(head).await;
    b.wait_for(head).await;
}

async fn held(gateway: &Replica, chain: &ChainService) -> quintet_types::BlockRef {
    gateway.wait_for_report("[+]chain ok").await;
    let from = gateway.call("eth_accounts", json!([])).await[0].clone();
    gateway.call("eth_sendTransaction", json!([{ "from": from, "to": TO, "value": "0x5" }])).await;
    let head = chain.mine().await;
    gateway.wait_for(head).await;
    head
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_postgresql_is_away_what_is_held_is_served() {
    let (mut servers, chain) = split().await;
    let a = servers.gateway(&[]).await;
    a.wait_for(chain.mine().await).await;
    let head = held(&a, &chain).await;
    servers.postgres.stop();
    // In the overlay.
    assert_eq!(a.call("eth_getBalance", json!([TO])).await, "0x5");
    assert_eq!(a.call("eth_getBlockByNumber", json!(["latest", true])).await["hash"], json!(head.hash));
    // Held nowhere.
    let started = Instant::now();
    let unknown = json!(["0x00000000000000000000000000000000000000bb", "latest"]);
    let flood: Vec<_> = (0..200)
        .map(|_| {
            let (http, params) = (a.http.clone(), unknown.clone());
            tokio::spawn(async move { http.call("eth_getBalance", params).await })
        })
        .collect();
    for call in flood {
        let error = call.await.expect("ran").expect_err("not held").rpc();
        let says = format!("state at block {} is not available now: the store does not answer", head.number);
        assert!(error.code == -32000 && error.message.starts_with(&says), "{error}");
    }
    assert!(started.elapsed() < Duration::from_secs(10), "a flood took {:?}", started.elapsed());
    a.wait_for_report("[~]store degraded").await;
    assert_eq!(a.call("eth_blockNumber", json!([])).await, json!(format!("{:#x}", head.number)));
    servers.postgres.restart();
    a.wait_for_report("[+]store ok").await;
    assert_eq!(a.call("eth_getBalance", unknown).await, "0x0");
    let head = chain.mine().await;
    a.wait_for(head).await;
    assert_eq!(a.call("eth_getBalance", json!([TO, "0x1"])).await, "0x0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chain_of_another_network_is_told_nothing() {
    let (servers, chain) = split().await;
    let head = chain.mine().await;
    let a = servers.gateway(&[]).await;
    a.wait_for(head).await;
    a.wait_for_report("[+]chain ok").await;
    drop(chain);
    a.wait_for_report("[~]chain degraded").await;
    let from = a.call("eth_accounts", json!([])).await[0].clone();
    let transaction = json!([{ "from": from, "to": TO, "value": "0x5", "nonce": "0x0", "gas": "0x5208", "gasPrice": "0x77359400" }]);
    let (code, message) = a.failure("eth_sendTransaction", transaction.clone()).await;
    assert_eq!(code, -32001, "{message}");
    assert!(message.contains("try again"), "{message}");
    assert_eq!(a.call("eth_getBalance", json!([TO])).await, "0x0");
    // On the same address, the chain service of another network.
    let other = ChainSpec::dev(&[], 30_000_000, 0).expect("a network");
    let elsewhere = self::servers().await.at(servers.chain_port());
    let wrong = loop_until_bound(&elsewhere, other).await;
    a.wait_for_report("[-]chain failed: chain at http://127.0.0.1:").await;
    assert!(a.report().contains("is another network"), "{}", a.report());
    let (code, message) = a.failure("eth_sendTransaction", transaction.clone()).await;
    assert!(code == -32000 && message.contains("is another network"), "{code} {message}");
    assert_eq!(a.call("eth_getBalance", json!([TO])).await, "0x0");
    drop(wrong);
    a.wait_for_report("[~]chain degraded").await;
    let _chain = loop_until_bound(&servers, dev_spec()).await;
    a.wait_for_report("[+]chain ok").await;
    assert!(a.call("eth_sendTransaction", transaction).await.is_string());
}

/// The port is free once the last chain service has ended.
async fn loop_until_bound(servers: &Servers, spec: ChainSpec) -> ChainService {
    let port = servers.chain_port();
    eventually("the port is free", async || {
        tokio::net::TcpListener::bind(("127.0.0.1", port)).await.map(drop).map_err(|error| error.to_string())
    })
    .await;
    servers.chain(spec).await
}
