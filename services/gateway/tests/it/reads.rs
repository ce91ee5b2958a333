//! What methods say of a chain that grows, is reorganised, and has transactions pending.

use crate::chain::Node;
use alloy_primitives::{Address, keccak256};
use quintet_events::Event;
use quintet_store::{Commit, FetchedState, HistoricBlock, Store, TrieAccount};
use quintet_types::{Account, BlockDelta, ChainEvent, ExecutedBlock, TraceContext};
use serde_json::{Value, json};
use std::ops::ControlFlow;
use std::sync::Arc;

async fn call(node: &Node, method: &str, params: Value) -> Value {
    node.http.call(method, params).await.unwrap_or_else(|error| panic!("{method}: {error}"))
}

async fn failure(node: &Node, method: &str, params: Value) -> (i64, String) {
    let error = node.http.call(method, params).await.expect_err("an error").rpc();
    (error.code, error.message)
}

async fn accounts(node: &Node) -> Vec<String> {
    serde_json::from_value(call(node, "eth_accounts", json!([])).await).expect("accounts")
}

async fn send(node: &Node, from: &str, to: &str, value: &str) -> Value {
    call(node, "eth_sendTransaction", json!([{ "from": from, "to": to, "value": value }])).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_is_seen_pending_then_mined_then_past() {
    let node = Node::dev().await;
    let accounts = accounts(&node).await;
    let (from, to) = (&accounts[0], "0x00000000000000000000000000000000000000aa");
    let hash = send(&node, from, to, "0x5").await;
    let pending = call(&node, "eth_getTransactionByHash", json!([hash])).await;
    assert_eq!(
        (&pending["blockHash"], &pending["from"], &pending["value"]),
        (&Value::Null, &json!(from), &json!("0x5"))
    );
    assert_eq!(call(&node, "eth_getTransactionCount", json!([from, "pending"])).await, "0x1");
    assert_eq!(call(&node, "eth_getTransactionCount", json!([from, "latest"])).await, "0x0");
    assert_eq!(call(&node, "eth_getBalance", json!([to, "pending"])).await, "0x5");
    assert_eq!(call(&node, "eth_getBalance", json!([to])).await, "0x0");
    assert_eq!(call(&node, "eth_getTransactionReceipt", json!([hash])).await, Value::Null);
    assert_eq!(call(&node, "txpool_status", json!([])).await, json!({"pending": "0x1", "queued": "0x0"}));

    let block = node.mine().await;
    let receipt = call(&node, "eth_getTransactionReceipt", json!([hash])).await;
    assert_eq!((&receipt["status"], &receipt["gasUsed"]), (&json!("0x1"), &json!("0x5208")));
    assert_eq!(receipt["blockHash"], json!(block.hash));
    let mined = call(&node, "eth_getTransactionByHash", json!([hash])).await;
    assert_eq!(mined["blockHash"], json!(block.hash));
    for id in [json!("latest"), json!("0x1"), json!(block.hash), json!({ "blockHash": block.hash })] {
        assert_eq!(call(&node, "eth_getBalance", json!([to, id])).await, "0x5", "{id}");
    }
    assert_eq!(call(&node, "eth_getBalance", json!([to, "earliest"])).await, "0x0");
    let full = call(&node, "eth_getBlockByNumber", json!(["latest", true])).await;
    assert_eq!(full["transactions"], json!([mined]));
    let receipts = call(&node, "eth_getBlockReceipts", json!(["latest"])).await;
    assert_eq!(receipts, json!([receipt]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_blocks_are_null_or_geths_errors() {
    let node = Node::dev().await;
    let zero = format!("0x{}", "0".repeat(64));
    let address = format!("0x{}", "0".repeat(40));
    assert_eq!(call(&node, "eth_getBlockByNumber", json!(["0x99", false])).await, Value::Null);
    assert_eq!(call(&node, "eth_getBlockByHash", json!([zero, false])).await, Value::Null);
    assert_eq!(call(&node, "eth_getBlockReceipts", json!(["0x99"])).await, Value::Null);
    for (method, params, code, message) in [
        ("eth_getBalance", json!([address, "0x99"]), -32000, "header not found"),
        ("eth_getBalance", json!([address, { "blockHash": zero }]), -32000, "header for hash not found"),
        ("eth_getBlockByNumber", json!(["safe", false]), -32000, "safe block not found"),
        ("eth_getBlockByNumber", json!(["finalized", false]), -32000, "finalized block not found"),
        ("eth_getFilterChanges", json!(["0x1"]), -32000, "filter not found"),
        (
            "eth_getLogs",
            json!([{ "fromBlock": "0x1", "toBlock": "0x0" }]),
            -32602,
            "invalid block range params",
        ),
        (
            "eth_getLogs",
            json!([{ "toBlock": "0x99" }]),
            -32602,
            "block range extends beyond current head block",
        ),
        ("eth_getLogs", json!([{ "blockHash": zero }]), -32000, "unknown block"),
        (
            "eth_feeHistory",
            json!(["0x1", "0x99", []]),
            -32000,
            "request beyond head block: requested 153, head 0",
        ),
        ("eth_sendTransaction", json!([{ "from": address, "to": address }]), -32000, "unknown account"),
        ("eth_sign", json!([address, "0x00"]), -32000, "unknown account"),
        ("personal_sign", json!(["0x00", address]), -32000, "unknown account"),
        ("eth_sendRawTransaction", json!(["0x"]), -32000, "typed transaction too short"),
    ] {
        assert_eq!(
            failure(&node, method, params.clone()).await,
            (code, message.to_owned()),
            "{method} {params}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_overlay_and_the_store_agree() {
    // An overlay of two blocks: the third block is read through index, cache and store.
    let node = Node::dev_with(&["--gateway.overlay", "2"]).await;
    let accounts = accounts(&node).await;
    let to = "0x00000000000000000000000000000000000000bb";
    for _ in 0..5 {
        send(&node, &accounts[0], to, "0x1").await;
        node.mine().await;
        // Read at the head each time, so that the cache has something that can become stale.
        call(&node, "eth_getBalance", json!([to])).await;
        call(&node, "eth_getBalance", json!([accounts[2]])).await;
    }
    for number in 0..=5 {
        let tag = format!("{number:#x}");
        let balance = call(&node, "eth_getBalance", json!([to, tag])).await;
        assert_eq!(balance, format!("{number:#x}"), "block {number}");
        assert_eq!(
            call(&node, "eth_getTransactionCount", json!([accounts[0], tag])).await,
            format!("{number:#x}")
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rewind_takes_blocks_back_everywhere() {
    let node = Node::dev().await;
    let accounts = accounts(&node).await;
    let to = "0x00000000000000000000000000000000000000cc";
    let filter = call(&node, "eth_newBlockFilter", json!([])).await;
    node.mine().await;
    send(&node, &accounts[0], to, "0x7").await;
    let old = node.mine().await;
    assert_eq!(call(&node, "eth_getBalance", json!([to])).await, "0x7");
    let seen = call(&node, "eth_getFilterChanges", json!([filter])).await;
    assert_eq!(seen.as_array().map(Vec::len), Some(2));
    node.rewind(1).await;
    assert_eq!(call(&node, "eth_getBalance", json!([to])).await, "0x0");
    let (_, message) = failure(&node, "eth_getBalance", json!([to, { "blockHash": old.hash }])).await;
    assert_eq!(message, "hash is not currently canonical");
    let new = node.mine_on(None, b"other").await;
    assert_ne!(new, old);
    let seen = call(&node, "eth_getFilterChanges", json!([filter])).await;
    assert_eq!(seen, json!([new.hash]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fees_are_suggested_and_told() {
    let node = Node::dev().await;
    node.mine().await;
    let head = call(&node, "eth_getBlockByNumber", json!(["latest", false])).await;
    let history = call(&node, "eth_feeHistory", json!(["0x4", "latest", [10, 50]])).await;
    assert_eq!(history["oldestBlock"], "0x0");
    assert_eq!(history["baseFeePerGas"].as_array().map(Vec::len), Some(3));
    assert_eq!(history["baseFeePerGas"][1], head["baseFeePerGas"]);
    assert_eq!(history["reward"], json!([["0x0", "0x0"], ["0x0", "0x0"]]));
    assert_eq!(call(&node, "eth_feeHistory", json!([4, "latest"])).await["oldestBlock"], "0x0");
    assert_eq!(call(&node, "eth_feeHistory", json!(["2", "latest", null])).await["oldestBlock"], "0x0");
    assert_eq!(call(&node, "eth_maxPriorityFeePerGas", json!([])).await, "0x3b9aca00");
    assert_eq!(call(&node, "eth_blobBaseFee", json!([])).await, "0x1");
    let (code, message) = failure(&node, "eth_feeHistory", json!(["0x1", "latest", [101]])).await;
    assert_eq!((code, message.as_str()), (-32000, "invalid reward percentile: 101.000000"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_see_overrides_and_reverts() {
    let node = Node::dev().await;
    let target = "0x00000000000000000000000000000000000000dd";
    // SLOAD(0); returns it.
    let code = "0x5f545f5260205ff3";
    let slot = format!("0x{}", "0".repeat(64));
    let value = format!("0x{}2a", "0".repeat(62));
    let overrides = json!({ target: { "code": code, "state": { slot: value } } });
    assert_eq!(call(&node, "eth_call", json!([{ "to": target }, "latest", overrides])).await, json!(value));
    // REVERT of the block's number, which is overridden.
    let overrides = json!({ target: { "code": "0x435f5260205ffd" } });
    let error =
        node.http.call("eth_call", json!([{ "to": target }, "latest", overrides, { "number": "0x2a" }]));
    let error = error.await.expect_err("reverted").rpc();
    assert_eq!((error.code, error.message.as_str()), (3, "execution reverted"));
    assert_eq!(error.data, Some(json!(value)));
    // A loop without end runs out of gas.
    let overrides = json!({ target: { "code": "0x5b5f56" } });
    let (code, message) = failure(&node, "eth_call", json!([{ "to": target }, "latest", overrides])).await;
    assert_eq!((code, message.as_str()), (-32000, "out of gas"));
    assert_eq!(call(&node, "eth_estimateGas", json!([{ "to": target, "value": "0x0" }])).await, "0x5208");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proofs_can_be_made_at_the_head_and_before() {
    let node = Node::dev().await;
    let accounts = accounts(&node).await;
    let to = "0x00000000000000000000000000000000000000ee";
    for _ in 0..3 {
        send(&node, &accounts[0], to, "0x1").await;
        node.mine().await;
    }
    for number in 0..=3 {
        let tag = format!("{number:#x}");
        let proof = call(&node, "eth_getProof", json!([to, ["0x0"], tag])).await;
        assert_eq!(proof["balance"], format!("{number:#x}"));
        let block = call(&node, "eth_getBlockByNumber", json!([tag, false])).await;
        let first = proof["accountProof"][0].as_str().expect("the root's node");
        let node = alloy_primitives::hex::decode(first).expect("hex");
        assert_eq!(json!(alloy_primitives::keccak256(node)), block["stateRoot"], "block {number}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_are_found_by_query_filter_and_subscription() {
    let node = Node::dev().await;
    let accounts = accounts(&node).await;
    // Runtime: LOG1 with the input's first word as topic, no data.
    let init = "0x6006600c60003960066000f35f355f5fa100";
    let hash = call(&node, "eth_sendTransaction", json!([{ "from": accounts[0], "input": init }])).await;
    node.mine().await;
    let receipt = call(&node, "eth_getTransactionReceipt", json!([hash])).await;
    assert_eq!(receipt["status"], "0x1", "{receipt}");
    let contract = receipt["contractAddress"].clone();
    let topic = format!("0x{}77", "0".repeat(62));
    let filter = call(&node, "eth_newFilter", json!([{ "address": contract, "topics": [topic] }])).await;
    let mut ws = node.ws().await;
    let subscription = ws.subscribe(json!(["logs", { "topics": [[topic]] }])).await.expect("subscribed");
    call(&node, "eth_sendTransaction", json!([{ "from": accounts[0], "to": contract, "input": topic }]))
        .await;
    node.mine().await;
    let logs = call(&node, "eth_getLogs", json!([{ "fromBlock": "earliest", "topics": [topic] }])).await;
    assert_eq!(logs.as_array().map(Vec::len), Some(1), "{logs}");
    assert_eq!((&logs[0]["address"], &logs[0]["topics"]), (&contract, &json!([topic])));
    assert_eq!(call(&node, "eth_getFilterChanges", json!([filter])).await, logs);
    assert_eq!(call(&node, "eth_getFilterChanges", json!([filter])).await, json!([]));
    assert_eq!(call(&node, "eth_getFilterLogs", json!([filter])).await, logs);
    assert_eq!(ws.next(&subscription).await.expect("told"), logs[0]);
    node.rewind(1).await;
    let mut removed = logs[0].clone();
    removed["removed"] = json!(true);
    assert_eq!(ws.next(&subscription).await.expect("told"), removed);
    assert_eq!(call(&node, "eth_getFilterChanges", json!([filter])).await, json!([removed]));
    assert_eq!(call(&node, "eth_uninstallFilter", json!([filter])).await, true);
}

/// The state after a block of `source`, as peers give it.
fn fetched(source: &dyn Store, block: u64) -> FetchedState {
    let mut part = FetchedState::default();
    let mut slots = Vec::new();
    let visit = &mut |address, account: Account| {
        let Account { nonce, balance, code_hash, .. } = account;
        let hash = keccak256(address);
        part.accounts.push((hash, TrieAccount { nonce, balance, code_hash, ..TrieAccount::default() }));
        let storage = source.hashed_storage_at(&address, account.incarnation, block).expect("storage");
        slots.extend(storage.into_iter().map(|(slot, value)| (hash, slot, value)));
        if account.has_code() {
            part.code.push((code_hash, source.code(&code_hash).expect("code").expect("code")));
        }
        ControlFlow::Continue(())
    };
    source.for_each_account(block, Address::ZERO, visit).expect("accounts");
    part.slots = slots;
    part
}

fn historic(source: &dyn Store, number: u64) -> HistoricBlock {
    let hash = source.canonical_hash(number).expect("a hash").expect("a block");
    HistoricBlock {
        block: Arc::new(source.block(&hash).expect("a block").expect("a block")),
        receipts: Arc::new(source.receipts(&hash).expect("receipts").expect("receipts")),
        total_difficulty: source.total_difficulty(&hash).expect("a sum").expect("a sum"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chain_that_begins_with_a_fetched_state_is_read_from_there() {
    let source = Node::dev().await;
    let accounts = accounts(&source).await;
    let to = "0x00000000000000000000000000000000000000cd";
    let mut hashes = Vec::new();
    for _ in 0..4 {
        hashes.push(send(&source, &accounts[0], to, "0x3").await);
        source.mine().await;
    }
    let node = Node::dev().await;
    // What the caches hold of the genesis must not outlive it.
    assert_eq!(call(&node, "eth_getTransactionCount", json!([accounts[0]])).await, "0x0");
    assert_eq!(call(&node, "eth_getBalance", json!([to])).await, "0x0");
    assert_eq!(call(&node, "eth_getTransactionByHash", json!([hashes[0]])).await, Value::Null);
    let genesis = call(&node, "eth_getBlockByNumber", json!(["0x0", false])).await;

    let (from, store) = (&*source.dependencies.store, &*node.dependencies.store);
    store.write_fetched(fetched(from, 3)).expect("written");
    let history: Vec<_> = (1..=3).map(|number| historic(from, number)).collect();
    let adopted = history[2].clone();
    let head = adopted.block.block_ref();
    store.commit(Commit { history, adopt: Some(head), ..Commit::default() }).expect("adopted");
    // A block that the gateway has no parent of, as when it has missed something.
    let executed = ExecutedBlock {
        block: adopted.block,
        receipts: adopted.receipts,
        diff: Arc::default(),
        total_difficulty: adopted.total_difficulty,
    };
    let delta = Arc::new(BlockDelta { executed, trace: TraceContext::default() });
    let event = Event::Chain(ChainEvent::Block(delta));
    node.dependencies.events.publish(event).await.expect("published");
    node.wait_for(head).await;

    for tag in ["latest", "0x3"] {
        assert_eq!(call(&node, "eth_getBalance", json!([to, tag])).await, "0x9");
        assert_eq!(call(&node, "eth_getTransactionCount", json!([accounts[0], tag])).await, "0x3");
    }
    for number in 0..3 {
        let tag = format!("{number:#x}");
        let block = call(&node, "eth_getBlockByNumber", json!([tag, true])).await;
        assert_eq!(block, call(&source, "eth_getBlockByNumber", json!([tag, true])).await);
        let root = block["stateRoot"].as_str().expect("a root").trim_start_matches("0x");
        let expected = (-32000, format!("historical state {root} is not available"));
        for (method, params) in [
            ("eth_getBalance", json!([to, tag])),
            ("eth_getTransactionCount", json!([accounts[0], tag])),
            ("eth_getStorageAt", json!([to, "0x0", tag])),
            ("eth_getCode", json!([to, { "blockHash": block["hash"] }])),
            ("eth_call", json!([{ "to": to }, tag])),
            ("eth_getProof", json!([to, [], tag])),
        ] {
            assert_eq!(failure(&node, method, params.clone()).await, expected, "{method} {params}");
        }
    }
    assert_eq!(call(&node, "eth_getBlockByNumber", json!(["earliest", false])).await, genesis);
    for hash in &hashes[..3] {
        let receipt = call(&node, "eth_getTransactionReceipt", json!([hash])).await;
        assert_eq!(receipt, call(&source, "eth_getTransactionReceipt", json!([hash])).await);
    }
    assert_eq!(call(&node, "eth_getTransactionReceipt", json!([hashes[3]])).await, Value::Null);
}
