//! What wallets do, on every replica.

use crate::fixture::{call, quantity, send_and_wait, to_quantity, to_u64, transfer, until};
use crate::load::{Plan, deploy_tally};
use alloy_primitives::{Address, U256};
use quintet_testkit::accounts::{TestAccount, dev_account};
use quintet_testkit::rpc::{CallError, HttpClient, WsClient};
use quintet_testkit::split::Careful;
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// A client of every replica.
pub(super) fn clients(urls: &[String]) -> Vec<HttpClient> {
    urls.iter().map(|url| HttpClient::new(url.clone())).collect()
}

/// A sender's next nonce.
pub(super) async fn next_nonce(rpc: &HttpClient, account: &TestAccount) -> u64 {
    quantity(rpc, "eth_getTransactionCount", json!([account.address, "pending"])).await.to()
}

/// Asks every replica, each once it has the block; all must answer the same.
async fn alike(urls: &[String], block: u64, method: &str, params: Value) -> Value {
    let mut first = None;
    for url in urls {
        let rpc = HttpClient::new(url.clone()).with_header("x-quintet-min-block", &block.to_string());
        let answer = call(&rpc, method, params.clone()).await;
        let first = first.get_or_insert_with(|| answer.clone());
        assert_eq!(*first, answer, "{url}: {method} {params}");
    }
    first.expect("a replica")
}

pub(super) async fn a_transaction_is_seen_alike_everywhere(urls: &[String]) {
    let (account, rpcs) = (dev_account(4), clients(urls));
    let tally = deploy_tally(&rpcs[0], account).await;
    let nonce = next_nonce(&rpcs[0], account).await;
    let to = Address::random();
    let transaction = transfer(account, nonce, to, 7);
    let receipt = send_and_wait(&rpcs[1], &transaction).await;
    let called = send_and_wait(&rpcs[0], &Plan::tally(account, nonce + 1, tally)).await;
    let block = to_u64(&called["blockNumber"]);

    let hash = transaction.tx_hash();
    assert_eq!(alike(urls, block, "eth_getTransactionReceipt", json!([hash])).await, receipt);
    let found = alike(urls, block, "eth_getTransactionByHash", json!([hash])).await;
    assert_eq!(found["blockHash"], receipt["blockHash"]);
    let by_hash = alike(urls, block, "eth_getBlockByHash", json!([receipt["blockHash"], true])).await;
    let by_number = alike(urls, block, "eth_getBlockByNumber", json!([receipt["blockNumber"], true])).await;
    assert_eq!(by_hash, by_number);
    let at = U256::from(block);
    assert_eq!(to_quantity(&alike(urls, block, "eth_getBalance", json!([to, at])).await), U256::from(7));
    let nonce_at = json!([account.address, at]);
    assert_eq!(to_u64(&alike(urls, block, "eth_getTransactionCount", nonce_at).await), nonce + 2);
    let logs = alike(urls, block, "eth_getLogs", json!([{ "address": tally, "fromBlock": "0x0" }])).await;
    assert_eq!(logs, called["logs"], "one log");
    assert_eq!(logs.as_array().map(Vec::len), Some(1), "{logs}");
    alike(urls, block, "eth_call", json!([{ "to": tally, "input": "0x01" }, at])).await;
    alike(urls, block, "eth_getCode", json!([tally, at])).await;
    alike(urls, block, "eth_chainId", json!([])).await;
}

/// It waits for receipts at one replica, and reads at the next.
pub(super) async fn a_client_that_hops_sees_what_it_did(urls: &[String]) {
    let (account, rpcs) = (dev_account(4), clients(urls));
    let mut careful = Careful::new(urls.to_vec());
    let to = Address::random();
    let first = next_nonce(&rpcs[0], account).await;
    for (sent, nonce) in (1_u64..=6).zip(first..) {
        let transfer = transfer(account, nonce, to, 1);
        let raw = json!([alloy_primitives::hex::encode_prefixed(
            alloy_eips::eip2718::Encodable2718::encoded_2718(&transfer)
        )]);
        careful.call("eth_sendRawTransaction", raw).await.expect("taken");
        until("receipt", async || {
            let asked = careful.call("eth_getTransactionReceipt", json!([transfer.tx_hash()])).await;
            (!asked.expect("answered").result.is_null()).then_some(())
        })
        .await;
        for _ in urls {
            let balance = careful.call("eth_getBalance", json!([to, "latest"])).await.expect("answered");
            assert_eq!(to_u64(&balance.result), sent, "at {}", balance.url);
            let nonces = json!([account.address, "latest"]);
            let next = careful.call("eth_getTransactionCount", nonces).await.expect("answered");
            assert_eq!(to_u64(&next.result), nonce + 1, "at {}", next.url);
        }
    }
}

pub(super) async fn a_block_that_is_far_away_is_a_clear_error(urls: &[String]) {
    // Each waits for the block first, so they are asked together.
    let mut asked = JoinSet::new();
    for url in urls {
        let rpc = HttpClient::new(url.clone()).with_header("x-quintet-min-block", "1000000000");
        asked.spawn(async move { rpc.call("eth_blockNumber", json!([])).await });
    }
    while let Some(answer) = asked.join_next().await {
        let error = answer.expect("no panic").expect_err("far away");
        let CallError::Rpc(error) = error else { panic!("{error}") };
        assert!(
            error.code == -32001 && error.message.contains("block 1000000000 is not here yet"),
            "{error}"
        );
    }
}

pub(super) async fn heads_and_logs_come_once_and_in_order(urls: &[String]) {
    const BLOCKS: usize = 5;
    let (account, rpcs) = (dev_account(4), clients(urls));
    let tally = deploy_tally(&rpcs[0], account).await;
    let mut subscribers = Vec::new();
    for url in urls {
        let mut ws = WsClient::connect(&url.replacen("http", "ws", 1)).await.expect("connected");
        let heads = ws.subscribe(json!(["newHeads"])).await.expect("subscribed");
        let logs = ws.subscribe(json!(["logs", { "address": tally }])).await.expect("subscribed");
        subscribers.push((ws, heads, logs));
    }
    let first = next_nonce(&rpcs[0], account).await;
    let mut receipts = Vec::new();
    for (turn, nonce) in (0..BLOCKS).zip(first..) {
        let rpc = &rpcs[turn % rpcs.len()];
        receipts.push(send_and_wait(rpc, &Plan::tally(account, nonce, tally)).await);
    }
    let last = to_u64(&receipts[BLOCKS - 1]["blockNumber"]);
    for (ws, heads, logs) in &mut subscribers {
        for receipt in &receipts {
            assert_eq!(ws.next(logs).await.expect("a log"), receipt["logs"][0]);
        }
        let mut seen: Vec<Value> = Vec::new();
        while seen.last().is_none_or(|head| to_u64(&head["number"]) < last) {
            let head = ws.next(heads).await.expect("a head");
            if let Some(before) = seen.last() {
                assert_eq!(head["parentHash"], before["hash"], "{head} after {before}");
            }
            seen.push(head);
        }
        for receipt in &receipts {
            let told = seen.iter().filter(|head| head["hash"] == receipt["blockHash"]).count();
            assert_eq!(told, 1, "block {} was told {told} times", receipt["blockNumber"]);
        }
    }
}
