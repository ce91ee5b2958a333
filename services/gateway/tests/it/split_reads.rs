//! Two gateways over one chain: they show the same, in every state that a chain can be in.

use crate::split::{Replica, reference, split};
use serde_json::{Value, json};

const TO: &str = "0x00000000000000000000000000000000000000aa";

async fn accounts(gateway: &Replica) -> Vec<String> {
    serde_json::from_value(gateway.call("eth_accounts", json!([])).await).expect("accounts")
}

async fn transfer(gateway: &Replica, from: &str, value: &str) -> Value {
    gateway.call("eth_sendTransaction", json!([{ "from": from, "to": TO, "value": value }])).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sent_through_one_is_seen_through_the_other() {
    let (servers, chain) = split().await;
    let (a, b) = (servers.gateway(&[]).await, servers.gateway(&[]).await);
    let head = chain.mine().await;
    a.wait_for(head).await;
    b.wait_for(head).await;
    for gateway in [&a, &b] {
        gateway.wait_for_report("[+]chain ok").await;
        gateway.wait_for_report("[+]events ok").await;
        gateway.wait_for_report("[+]store ok").await;
    }
    let mut ws = b.ws().await;
    let heads = ws.subscribe(json!(["newHeads"])).await.expect("subscribed");
    let pending = ws.subscribe(json!(["newPendingTransactions"])).await.expect("subscribed");
    let filter = b.call("eth_newPendingTransactionFilter", json!([])).await;
    let accounts = accounts(&a).await;
    let hash = transfer(&a, &accounts[0], "0x5").await;
    assert_eq!(ws.next(&pending).await.expect("told"), hash);
    b.wait_for_result("eth_getFilterChanges", json!([filter]), |changes| *changes == json!([hash])).await;
    let seen = b.call("eth_getTransactionByHash", json!([hash])).await;
    assert_eq!((&seen["blockHash"], &seen["value"]), (&Value::Null, &json!("0x5")));
    assert_eq!(b.call("txpool_status", json!([])).await["pending"], "0x1");
    assert_eq!(b.call("eth_getBalance", json!([TO, "pending"])).await, "0x5");
    assert_eq!(b.call("eth_getTransactionCount", json!([accounts[0], "pending"])).await, "0x1");

    let block = chain.mine().await;
    assert_eq!(ws.next(&heads).await.expect("told")["hash"], json!(block.hash));
    for gateway in [&a, &b] {
        gateway.wait_for(block).await;
        let receipt = gateway.call("eth_getTransactionReceipt", json!([hash])).await;
        assert_eq!((&receipt["status"], &receipt["blockHash"]), (&json!("0x1"), &json!(block.hash)));
        assert_eq!(gateway.call("eth_getBalance", json!([TO])).await, "0x5");
        assert_eq!(gateway.call("eth_getBalance", json!([TO, "0x1"])).await, "0x0");
        let call = json!([{ "from": accounts[0], "to": TO, "value": "0x1" }, "latest"]);
        assert_eq!(gateway.call("eth_estimateGas", call).await, "0x5208");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reorg_and_a_rewind_move_both() {
    let (servers, chain) = split().await;
    let (a, b) = (servers.gateway(&[]).await, servers.gateway(&["--gateway.overlay", "2"]).await);
    b.wait_for(chain.mine().await).await;
    let from = accounts(&b).await.remove(0);
    let hash = transfer(&b, &from, "0x7").await;
    let block = chain.make(b"").await;
    let old = reference(&block);
    for gateway in [&a, &b] {
        gateway.wait_for(old).await;
        assert_eq!(gateway.call("eth_getBalance", json!([TO])).await, "0x7");
    }
    let new = chain.reorganise(&block).await;
    for gateway in [&a, &b] {
        gateway.wait_for(new).await;
        let receipt = gateway.call("eth_getTransactionReceipt", json!([hash])).await;
        assert_ne!(receipt["blockHash"], json!(old.hash));
        let balance = gateway.call("eth_getBalance", json!([TO])).await;
        assert_eq!(balance == "0x7", receipt["status"] == "0x1", "{receipt}");
        let gone = gateway.failure("eth_getBalance", json!([TO, old.hash])).await;
        assert_eq!(gone, (-32000, "hash is not currently canonical".to_owned()));
    }
    // Below what the second one holds in its overlay, too.
    let genesis = chain.rewind(0).await;
    for gateway in [&a, &b] {
        gateway.wait_for(genesis).await;
        assert_eq!(gateway.call("eth_getBalance", json!([TO])).await, "0x0");
        assert_eq!(gateway.call("eth_getBlockByNumber", json!(["0x1", false])).await, Value::Null);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_replica_shows_all_that_there_is_without_a_copy() {
    let (servers, chain) = split().await;
    let a = servers.gateway(&[]).await;
    a.wait_for_report("[+]chain ok").await;
    let from = accounts(&a).await.remove(0);
    let mut hashes = Vec::new();
    let mut head = chain.mine().await;
    for _ in 0..5 {
        hashes.push(transfer(&a, &from, "0x1").await);
        head = chain.mine().await;
        a.wait_for(head).await;
    }
    let b = servers.gateway(&[]).await;
    b.wait_for(head).await;
    for number in 1..=head.number {
        let tag = format!("{number:#x}");
        for (method, params) in [
            ("eth_getBalance", json!([TO, tag])),
            ("eth_getBlockByNumber", json!([tag, true])),
            ("eth_getBlockReceipts", json!([tag])),
            ("eth_getProof", json!([TO, ["0x0"], tag])),
        ] {
            assert_eq!(a.call(method, params.clone()).await, b.call(method, params).await, "{method} {tag}");
        }
    }
    for hash in hashes {
        let params = json!([hash]);
        let receipt = b.call("eth_getTransactionReceipt", params.clone()).await;
        assert_eq!(receipt, a.call("eth_getTransactionReceipt", params).await);
    }
    let keys: Vec<_> = (0..20).map(|slot| format!("{slot:#066x}")).collect();
    let values = b.call("eth_getStorageValues", json!([{ TO: keys }, "latest"])).await;
    assert_eq!(values[TO].as_array().map(Vec::len), Some(20), "{values}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_is_behind_waits_or_says_so() {
    let (servers, chain) = split().await;
    let a = servers.gateway(&[]).await;
    let head = chain.mine().await;
    a.wait_for(head).await;
    let waiting = a.with_min_block(2);
    let waiting = tokio::spawn(async move { waiting.call("eth_blockNumber", json!([])).await });
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    assert!(!waiting.is_finished(), "it did not wait");
    chain.mine().await;
    assert_eq!(waiting.await.expect("ran").expect("an answer"), "0x2");
    let error = a.with_min_block(9).call("eth_blockNumber", json!([])).await.expect_err("too new").rpc();
    assert_eq!(error.code, -32001, "{error}");
    assert!(error.message.starts_with("block 9 is not here yet"), "{error}");
}
