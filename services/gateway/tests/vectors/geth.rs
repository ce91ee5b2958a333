//! A clique network of geth 1.8.27 nodes: what one of them answered, this gateway answers on the same chain.

use crate::compare::differences_but_new;
use crate::exceptions::GETH_1_8;
use crate::node::Node;
use crate::report::Report;
use alloy_primitives::{Address, hex};
use quintet_chainspec::ChainSpec;
use quintet_clique::Clique;
use quintet_testkit::chain::{Chain, decode_blocks};
use quintet_testkit::vectors::archive;
use quintet_types::Header;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

const MODULES: &str = "eth,net,web3,clique,debug";

fn signer(header: &Header) -> Address {
    static CLIQUE: LazyLock<Clique> = LazyLock::new(|| Clique::new(1, 40));
    CLIQUE.recover_signer(header).unwrap()
}

fn import(root: &Path) -> Chain {
    let spec = ChainSpec::from_json(&fs::read_to_string(root.join("genesis.json")).unwrap()).unwrap();
    let blocks = decode_blocks(&fs::read(root.join("chain.rlp")).unwrap()).unwrap();
    Chain::import_blocks(spec, blocks, signer).unwrap()
}

fn calls(root: &Path) -> Vec<Value> {
    serde_json::from_slice(&fs::read(root.join("rpc.json")).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recorded_answers_of_geth_1_8() {
    let Some(root) = archive("20") else { return };
    let node = Node::start(&import(&root), MODULES).await;
    let mut report = Report::new("geth 1.8.27, clique", GETH_1_8);
    let calls = calls(&root);
    assert_eq!(calls.len(), 247);
    for call in &calls {
        let (request, expected) = (&call["request"], &call["response"]);
        let got = node.send(request).await;
        let (method, id) = (request["method"].as_str().unwrap(), request["id"].to_string());
        report.answered(method, &id, &got, || differences_but_new(expected, &got));
    }
    report.file_done();
    node.stop().await;
    report.finish(1);
}

/// Blocks whose snapshot was recorded, with their answers.
fn snapshots(calls: &[Value]) -> BTreeMap<u64, &Value> {
    calls
        .iter()
        .filter(|call| call["request"]["method"] == "clique_getSnapshot")
        .map(|call| &call["response"]["result"])
        .map(|snapshot| (snapshot["number"].as_u64().unwrap(), snapshot))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signers_and_votes_by_other_ways() {
    let Some(root) = archive("20") else { return };
    let chain = import(&root);
    let node = Node::start(&chain, MODULES).await;
    let calls = calls(&root);
    let result = async |method: &str, params: Value| {
        let got = node.send(&request(method, &params)).await;
        assert!(got["error"].is_null(), "{method} {params}: {got}");
        got["result"].clone()
    };
    for (number, snapshot) in snapshots(&calls) {
        let signers: Value = snapshot["signers"].as_object().unwrap().keys().cloned().collect();
        let by_hash = json!([snapshot["hash"]]);
        assert_eq!(result("clique_getSnapshotAtHash", by_hash.clone()).await, *snapshot);
        assert_eq!(result("clique_getSignersAtHash", by_hash.clone()).await, signers);
        if number == 0 {
            continue;
        }
        // Who signed the block, held or given, and in the EVM.
        let signer = &snapshot["recents"][number.to_string()];
        let quantity = format!("{number:#x}");
        assert_eq!(result("clique_getSigner", json!([quantity])).await, *signer);
        assert_eq!(result("clique_getSigner", by_hash).await, *signer);
        let header = chain.header(number).unwrap();
        let rlp = hex::encode_prefixed(alloy_rlp::encode(&header));
        assert_eq!(result("clique_getSigner", json!([rlp])).await, *signer);
        let block = result("debug_getBlockRlp", json!([number])).await;
        let rlp = format!("0x{}", block.as_str().unwrap());
        assert_eq!(result("clique_getSigner", json!([rlp])).await, *signer);
        // COINBASE, PUSH 0, MSTORE, PUSH 32, PUSH 0, RETURN
        let call = json!([{ "data": "0x4160005260206000f3" }, quantity]);
        let coinbase = result("eth_call", call).await;
        assert_eq!(&coinbase.as_str().unwrap()[26..], &signer.as_str().unwrap()[2..]);
    }
    let head = json!([format!("{:#x}", chain.head.number)]);
    for method in ["clique_getSnapshot", "clique_getSigners", "clique_getSigner"] {
        assert_eq!(result(method, json!([])).await, result(method, head.clone()).await);
        assert_eq!(result(method, json!(["latest"])).await, result(method, head.clone()).await);
    }
    let status = result("clique_status", json!([])).await;
    assert_eq!(status, expected_status(&chain));
    node.stop().await;
}

/// The last 64 blocks before the head, counted here.
fn expected_status(chain: &Chain) -> Value {
    let head = chain.head.number;
    let headers: Vec<Header> = (head - 64..head).map(|number| chain.header(number).unwrap()).collect();
    let in_turn = headers.iter().filter(|header| header.difficulty.to::<u64>() == 2).count();
    // Go writes a whole number without a fraction.
    assert_eq!(in_turn, 64);
    let mut activity = BTreeMap::<Address, u64>::new();
    for header in &headers {
        *activity.entry(signer(header)).or_default() += 1;
    }
    json!({ "inturnPercent": 100, "sealerActivity": activity, "numBlocks": 64 })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_there_in_geths_words() {
    let Some(root) = archive("20") else { return };
    let node = Node::start(&import(&root), MODULES).await;
    let missing = format!("0x{}", "11".repeat(32));
    let missing_text = format!("missing block {missing}");
    for (method, params, code, message) in [
        ("clique_getSnapshot", json!(["0xffff"]), -32000, "unknown block"),
        ("clique_getSnapshot", json!(["pending"]), -32000, "unknown block"),
        ("clique_getSnapshotAtHash", json!([missing]), -32000, "unknown block"),
        ("clique_getSigners", json!(["0xffff"]), -32000, "unknown block"),
        ("clique_getSigners", json!(["finalized"]), -32000, "unknown block"),
        ("clique_getSignersAtHash", json!([missing]), -32000, "unknown block"),
        ("clique_getSignersAtHash", json!([]), -32602, "missing value for required argument 0"),
        ("clique_getSigner", json!(["0xffff"]), -32000, "missing block 65535"),
        ("clique_getSigner", json!(["pending"]), -32000, "missing block -1"),
        ("clique_getSigner", json!([missing]), -32000, &missing_text),
        ("clique_getSigner", json!(["earliest"]), -32000, "recovery failed"),
        ("clique_getSigner", json!(["c0"]), -32602, "invalid argument 0: hex string without 0x prefix"),
        (
            "clique_propose",
            json!([missing]),
            -32602,
            "invalid argument 0: hex string has length 64, want 40 for common.Address",
        ),
        ("clique_propose", json!([Address::ZERO]), -32602, "missing value for required argument 1"),
        ("clique_discard", json!([]), -32602, "missing value for required argument 0"),
        ("clique_status", json!([1]), -32602, "too many arguments, want at most 0"),
        ("debug_getBlockRlp", json!([65535]), -32000, "block #65535 not found"),
        (
            "debug_getBlockRlp",
            json!(["0x1"]),
            -32602,
            "invalid argument 0: json: cannot unmarshal string into Go value of type uint64",
        ),
    ] {
        let got = node.send(&request(method, &params)).await;
        assert_eq!(got["error"], json!({ "code": code, "message": message }), "{method} {params}");
    }
    node.stop().await;
}

fn request(method: &str, params: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params })
}
