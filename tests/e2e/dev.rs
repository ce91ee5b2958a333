//! `quintet dev`: what it prints, when it seals, and what it keeps.

use crate::fixture::{
    COUNTER_ADDRESS, call, count, deploy_counter, quantity, quintet, quintet_on, send_and_wait, to_u64,
    transfer, until,
};
use alloy_primitives::{Address, B256, U256, hex};
use quintet_testkit::accounts::{dev_account, dev_accounts};
use serde_json::{Value, json};

/// Wei that each account begins with.
fn funds() -> U256 {
    U256::from(10_000) * U256::from(10).pow(U256::from(18))
}

#[tokio::test]
async fn the_accounts_are_printed_funded_and_unlocked() {
    let node = quintet("dev").start_node().await;
    let banner = node.process.log();
    for (index, account) in dev_accounts().iter().enumerate() {
        let secret = hex::encode_prefixed(account.key.to_bytes());
        assert!(banner.contains(&format!("({index}) {} (10000 ETH)", account.address)), "{banner}");
        assert!(banner.contains(&format!("({index}) {secret}")), "{banner}");
        let balance = quantity(&node.rpc, "eth_getBalance", json!([account.address, "latest"])).await;
        assert_eq!(balance, funds());
    }
    assert!(banner.contains("(0) 0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266 "), "{banner}");
    assert!(banner.contains("test test test test test test test test test test test junk"), "{banner}");
    assert!(banner.contains("Chain id: 1337"), "{banner}");

    assert_eq!(call(&node.rpc, "eth_chainId", json!([])).await, "0x539");
    assert_eq!(call(&node.rpc, "net_version", json!([])).await, "1337");
    let addresses: Vec<_> = dev_accounts().iter().map(|account| account.address).collect();
    let listed: Vec<Address> =
        serde_json::from_value(call(&node.rpc, "eth_accounts", json!([])).await).expect("addresses");
    assert_eq!(listed, addresses);
    let (from, to) = (addresses[1], Address::repeat_byte(1));
    let request = json!([{ "from": from, "to": to, "value": "0x7" }]);
    let hash = call(&node.rpc, "eth_sendTransaction", request).await;
    until("the transaction in a block", async || {
        let receipt = call(&node.rpc, "eth_getTransactionReceipt", json!([hash])).await;
        (!receipt.is_null()).then_some(())
    })
    .await;
    assert_eq!(quantity(&node.rpc, "eth_getBalance", json!([to, "latest"])).await, U256::from(7));
    node.stop().await;
}

#[tokio::test]
async fn a_block_is_sealed_for_a_transaction_and_for_nothing_else() {
    let node = quintet("dev").start_node().await;
    for number in 1..=3 {
        let transfer = transfer(dev_account(0), number - 1, Address::repeat_byte(1), 1);
        let receipt = send_and_wait(&node.rpc, &transfer).await;
        assert_eq!(to_u64(&receipt["blockNumber"]), number);
    }
    let head = call(&node.rpc, "eth_getBlockByNumber", json!(["latest", false])).await;
    assert_eq!((&head["number"], head["transactions"].as_array().map(Vec::len)), (&json!("0x3"), Some(1)));
    node.stop().await;
}

#[tokio::test]
async fn with_a_block_time_blocks_come_without_transactions() {
    let node = quintet("dev").args(["--block-time", "1"]).start_node().await;
    let mut ws = node.ws().await;
    let heads = ws.subscribe(json!(["newHeads"])).await.expect("subscribed");
    let mut last: Option<Value> = None;
    for _ in 0..3 {
        let head = ws.next(&heads).await.expect("a head");
        let block = call(&node.rpc, "eth_getBlockByHash", json!([head["hash"], false])).await;
        assert_eq!(block["transactions"], json!([]));
        if let Some(last) = last {
            assert_eq!(head["parentHash"], last["hash"]);
            assert!(to_u64(&head["timestamp"]) > to_u64(&last["timestamp"]), "{head} after {last}");
        }
        last = Some(head);
    }
    let receipt = send_and_wait(&node.rpc, &transfer(dev_account(0), 0, Address::repeat_byte(1), 1)).await;
    assert!(to_u64(&receipt["blockNumber"]) > 3);
    node.stop().await;
}

#[tokio::test]
async fn the_accounts_are_as_many_as_asked_for() {
    let node = quintet("dev").args(["--accounts", "3", "--balance", "5"]).start_node().await;
    let accounts = call(&node.rpc, "eth_accounts", json!([])).await;
    assert_eq!(accounts.as_array().map(Vec::len), Some(3));
    let banner = node.process.log();
    assert!(banner.contains("(2) 0x") && !banner.contains("(3) 0x"), "{banner}");
    let balance =
        |index: usize| quantity(&node.rpc, "eth_getBalance", json!([dev_account(index).address, "latest"]));
    assert_eq!(balance(2).await, U256::from(5) * U256::from(10).pow(U256::from(18)));
    assert_eq!(balance(3).await, U256::ZERO);
    node.stop().await;
}

#[tokio::test]
async fn a_data_directory_keeps_the_chain() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let dev = quintet_on("dev", directory.path());
    let node = dev.start_node().await;
    send_and_wait(&node.rpc, &deploy_counter()).await;
    let receipt = send_and_wait(&node.rpc, &count(dev_account(1), 0)).await;
    send_and_wait(&node.rpc, &transfer(dev_account(1), 1, Address::repeat_byte(1), 9)).await;
    // Its nonce is two too high: it stays in the pool.
    let queued = transfer(dev_account(2), 2, Address::repeat_byte(2), 1);
    crate::fixture::try_send(&node.rpc, &queued).await.expect("queued");

    let questions = [
        ("eth_blockNumber", json!([])),
        ("eth_getBlockByNumber", json!(["latest", true])),
        ("eth_getBlockByNumber", json!(["0x0", true])),
        ("eth_getBalance", json!([dev_account(1).address, "latest"])),
        ("eth_getBalance", json!([dev_account(1).address, "0x1"])),
        ("eth_getBalance", json!([Address::repeat_byte(1), "latest"])),
        ("eth_getTransactionCount", json!([dev_account(1).address, "latest"])),
        ("eth_getTransactionCount", json!([dev_account(1).address, "pending"])),
        ("eth_getCode", json!([COUNTER_ADDRESS, "latest"])),
        ("eth_getStorageAt", json!([COUNTER_ADDRESS, "0x0", "latest"])),
        ("eth_getLogs", json!([{ "fromBlock": "0x0", "address": COUNTER_ADDRESS }])),
        ("eth_getTransactionReceipt", json!([receipt["transactionHash"]])),
        ("eth_getTransactionByHash", json!([receipt["transactionHash"]])),
        ("eth_getProof", json!([COUNTER_ADDRESS, ["0x0"], "latest"])),
        ("txpool_content", json!([])),
    ];
    let before = node.rpc.batch(questions.clone()).await.expect("answered");
    node.stop().await;

    let node = dev.start_node().await;
    let after = node.rpc.batch(questions.clone()).await.expect("answered");
    for ((question, before), after) in questions.iter().zip(before).zip(after) {
        assert_eq!(after.expect("a result"), before.expect("a result"), "{question:?}");
    }
    let logs = call(&node.rpc, "eth_getLogs", questions[10].1.clone()).await;
    assert_eq!(logs[0]["data"], json!(B256::with_last_byte(1)), "{logs}");
    assert_eq!(logs.as_array().map(Vec::len), Some(1), "{logs}");
    let pool = call(&node.rpc, "txpool_status", json!([])).await;
    assert_eq!(pool, json!({ "pending": "0x0", "queued": "0x1" }));
    let receipt = send_and_wait(&node.rpc, &count(dev_account(1), 2)).await;
    assert_eq!(to_u64(&receipt["blockNumber"]), 4);
    node.stop().await;
}
