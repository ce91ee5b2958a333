//! The pool, which is one however many replicas there are.

use super::wallet::{clients, next_nonce};
use crate::fixture::{call, send_and_wait, to_u64, transfer, try_send, until};
use alloy_primitives::Address;
use quintet_testkit::accounts::dev_account;
use quintet_testkit::rpc::WsClient;
use serde_json::{Value, json};

/// One whose nonce is too high waits in the pool; the one that it waits for is sent through another replica.
pub(super) async fn a_transaction_that_waits_is_seen_everywhere(urls: &[String]) {
    let (account, rpcs) = (dev_account(6), clients(urls));
    let last = rpcs.last().expect("a replica");
    let nonce = next_nonce(&rpcs[0], account).await;
    let to = Address::random();
    let waiting = transfer(account, nonce + 1, to, 2);
    let hash = try_send(&rpcs[0], &waiting).await.expect("queued");
    let address = account.address.to_checksum(None);
    let key = (nonce + 1).to_string();
    for rpc in &rpcs {
        let found = until("queued transaction", async || {
            let content = call(rpc, "txpool_content", json!([])).await;
            let found = content["queued"][&address][&key].clone();
            (!found.is_null()).then_some(found)
        });
        assert_eq!(found.await["hash"], json!(hash));
        let found = call(rpc, "eth_getTransactionByHash", json!([hash])).await;
        assert_eq!((&found["hash"], &found["blockHash"]), (&json!(hash), &Value::Null));
        let status = call(rpc, "txpool_status", json!([])).await;
        assert!(to_u64(&status["queued"]) >= 1, "{status}");
        let inspected = call(rpc, "txpool_inspect", json!([])).await;
        assert!(inspected["queued"][&address][&key].is_string(), "{inspected}");
        assert_eq!(next_nonce(rpc, account).await, nonce);
    }
    send_and_wait(last, &transfer(account, nonce, to, 1)).await;
    let receipt = send_or_wait(&rpcs, json!([hash])).await;
    assert_eq!(receipt["status"], "0x1");
    for rpc in &rpcs {
        until("a nonce that counts both", async || {
            (next_nonce(rpc, account).await == nonce + 2).then_some(())
        })
        .await;
    }
}

async fn send_or_wait(rpcs: &[quintet_testkit::rpc::HttpClient], hash: Value) -> Value {
    let mut turn = 0;
    until("receipt", async || {
        turn += 1;
        let receipt = call(&rpcs[turn % rpcs.len()], "eth_getTransactionReceipt", hash.clone()).await;
        (!receipt.is_null()).then_some(receipt)
    })
    .await
}

pub(super) async fn new_pending_transactions_are_told_everywhere(urls: &[String]) {
    let (account, rpcs) = (dev_account(6), clients(urls));
    let mut subscribers = Vec::new();
    for url in urls {
        let mut ws = WsClient::connect(&url.replacen("http", "ws", 1)).await.expect("connected");
        let id = ws.subscribe(json!(["newPendingTransactions"])).await.expect("subscribed");
        subscribers.push((ws, id));
    }
    let first = next_nonce(&rpcs[0], account).await;
    let mut sent = Vec::new();
    for (turn, nonce) in (0..4).zip(first..) {
        let transfer = transfer(account, nonce, Address::random(), 1);
        send_and_wait(&rpcs[turn % rpcs.len()], &transfer).await;
        sent.push(json!(transfer.tx_hash()));
    }
    for (ws, id) in &mut subscribers {
        let mut told = Vec::new();
        while told.len() < sent.len() {
            let hash = ws.next(id).await.expect("a hash");
            if sent.contains(&hash) {
                told.push(hash);
            }
        }
        assert_eq!(told, sent);
    }
}
