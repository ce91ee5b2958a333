//! Rate limits: of addresses and keys, over HTTP and WebSocket, on several replicas.

use crate::chain::Node;
use crate::edge::{BLOCK_NUMBER, PATIENCE, Replica, exchange, open};
use quintet_testkit::redis::Redis;
use quintet_testkit::rpc::HttpClient;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Sends calls one after the other; gives how many were let through.
async fn let_through(client: &HttpClient, calls: usize) -> usize {
    let mut passed = 0;
    for _ in 0..calls {
        let (status, text) = client.post(BLOCK_NUMBER).await.expect("an answer");
        match status.as_u16() {
            200 => passed += 1,
            429 => {
                assert!(
                    text.contains(r#""error":{"code":-32005,"message":"rate limit exceeded"}"#),
                    "{text}"
                );
            }
            _ => panic!("{status}: {text}"),
        }
    }
    passed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_much_is_answered_429_and_when_to_come_back() {
    let node = Node::dev().await;
    let replica = Replica::with(&node, &["--rpc.ratelimit", "0.1", "--rpc.ratelimit.burst", "3"]).await;
    assert_eq!(let_through(&replica.http, 3).await, 3);
    let answer = exchange(replica.address, "/", BLOCK_NUMBER).await;
    assert!(answer.starts_with("HTTP/1.1 429 "), "{answer}");
    let after = answer.lines().find_map(|line| line.strip_prefix("retry-after: ")).expect("Retry-After");
    let after: u64 = after.trim().parse().expect("seconds");
    assert!((5..=10).contains(&after), "{after}");
    assert!(
        answer
            .ends_with(r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32005,"message":"rate limit exceeded"}}"#)
    );
    let batch = format!("[{BLOCK_NUMBER},{BLOCK_NUMBER}]");
    let (status, text) = replica.http.post(batch).await.expect("an answer");
    assert_eq!(status, 429);
    assert_eq!(
        text,
        r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32005,"message":"rate limit exceeded"}}"#
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_and_messages_count_as_what_is_in_them() {
    let node = Node::dev().await;
    let replica = Replica::with(&node, &["--rpc.ratelimit", "0.01", "--rpc.ratelimit.burst", "10"]).await;
    let calls = (0..6).map(|_| ("eth_blockNumber", json!([])));
    let answers = replica.http.batch(calls.clone()).await.expect("answers");
    assert!(answers.iter().all(Result::is_ok));
    assert!(replica.http.batch(calls).await.is_err(), "six more than the four that are left");
    let mut ws = replica.ws().await;
    assert!(ws.call("eth_blockNumber", json!([])).await.is_ok());
    assert!(ws.subscribe(json!(["newHeads"])).await.is_ok());
    assert!(ws.call("eth_chainId", json!([])).await.is_ok());
    assert_eq!(let_through(&replica.http, 2).await, 1);
    for (method, params) in [("eth_blockNumber", json!([])), ("eth_subscribe", json!(["newHeads"]))] {
        let error = ws.call(method, params).await.expect_err("limited").rpc();
        assert_eq!((error.code, error.message.as_str()), (-32005, "rate limit exceeded"), "{method}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_count_together_and_go_on_alone() {
    let (node, mut server) = (Node::dev().await, Redis::start());
    let redis = open(&server);
    let flags = ["--rpc.ratelimit", "2", "--rpc.ratelimit.burst", "20"];
    let (a, b) =
        (Replica::sharing(&node, &redis, &flags).await, Replica::sharing(&node, &redis, &flags).await);
    let started = Instant::now();
    let (from_a, from_b) = tokio::join!(let_through(&a.http, 30), let_through(&b.http, 30));
    let most = 20.0 + 2.0 * started.elapsed().as_secs_f64();
    let passed = f64::from(u32::try_from(from_a + from_b).expect("few"));
    assert!(passed >= 20.0 && passed <= most, "{from_a} + {from_b} of {most}");
    server.stop();
    // A refusal is repeated for a moment without Redis being asked.
    tokio::time::sleep(Duration::from_millis(200)).await;
    // Each has a bucket of its own now, which nothing was taken from.
    let started = Instant::now();
    let alone = let_through(&a.http, 30).await;
    let most = 20.0 + 2.0 * started.elapsed().as_secs_f64();
    assert!((20..=30).contains(&alone) && f64::from(u32::try_from(alone).expect("few")) <= most, "{alone}");
    assert!(started.elapsed() < PATIENCE / 2, "requests waited for Redis: {:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn busy_clients_borrow_and_get_what_is_theirs() {
    let (node, server) = (Node::dev().await, Redis::start());
    let flags = ["--rpc.ratelimit", "200", "--rpc.ratelimit.burst", "40"];
    let replica = Replica::sharing(&node, &open(&server), &flags).await;
    let (started, mut passed) = (Instant::now(), 0);
    while started.elapsed() < Duration::from_secs(1) {
        passed += let_through(&replica.http, 5).await;
    }
    let most = 40.0 + 200.0 * started.elapsed().as_secs_f64();
    let passed = f64::from(u32::try_from(passed).expect("few"));
    // Every token was spent at most once; how many were asked for depends on the machine.
    assert!(passed <= most && passed >= 40.0, "{passed} of {most}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forwarded_addresses_are_believed_of_trusted_proxies_only() {
    let node = Node::dev().await;
    let limit = ["--rpc.ratelimit", "0.01", "--rpc.ratelimit.burst", "2"];
    let trusting = [&limit[..], &["--rpc.trustedproxies", "127.0.0.1,10.0.0.0/8"]].concat();
    let (open, behind) = (Replica::with(&node, &limit).await, Replica::with(&node, &trusting).await);
    let passed = |replica: &Replica, forwarded: &str| {
        let client = replica.client("x-forwarded-for", forwarded);
        async move { let_through(&client, 3).await }
    };
    assert_eq!(passed(&open, "198.51.100.1").await, 2);
    assert_eq!(passed(&open, "198.51.100.2").await, 0, "anybody can write a header");
    assert_eq!(passed(&behind, "198.51.100.1").await, 2);
    assert_eq!(passed(&behind, "198.51.100.2, 10.1.1.1").await, 2);
    assert_eq!(passed(&behind, "203.0.113.7, 198.51.100.1").await, 0, "what stands left is the client's own");
    assert_eq!(passed(&behind, "2001:db8::1").await, 2);
    assert_eq!(passed(&behind, "2001:db8::2:1").await, 0, "one network is one client");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_have_rates_of_their_own_on_all_replicas() {
    let (node, server) = (Node::dev().await, Redis::start());
    let file = tempfile::NamedTempFile::new().expect("a file");
    let keys = "[[key]]\nname = \"busy\"\nkey = \"k-busy\"\nrate = 0.01\nburst = 6\n[[key]]\nname = \"free\"\nkey = \"k-free\"\n";
    std::fs::write(file.path(), keys).expect("written");
    let path = file.path().to_str().expect("a path");
    let flags = ["--rpc.keys", path, "--rpc.ratelimit", "0.01", "--rpc.ratelimit.burst", "3"];
    let redis = open(&server);
    let (a, b) =
        (Replica::sharing(&node, &redis, &flags).await, Replica::sharing(&node, &redis, &flags).await);
    let passed = |replica: &Replica, key: &str, calls| {
        let client = replica.client("x-api-key", key);
        async move { let_through(&client, calls).await }
    };
    assert_eq!(passed(&a, "k-busy", 4).await, 4, "more than an address may send");
    assert_eq!(passed(&b, "k-busy", 4).await, 2);
    assert_eq!(passed(&b, "k-free", 4).await, 3, "a key without a rate counts as its address");
    assert_eq!(passed(&a, "k-free", 4).await, 0);
    let told: Value = a
        .client("x-api-key", "k-busy")
        .call("eth_chainId", json!([]))
        .await
        .expect_err("limited")
        .rpc()
        .code
        .into();
    assert_eq!(told, -32005);
}
