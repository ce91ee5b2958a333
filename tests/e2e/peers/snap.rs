//! A node that fetches the state near the head, from another one.

use super::PeerNode;
use crate::chains::{Chain, succeeded};
use crate::fixture::call;
use serde_json::{Value, json};

/// How far below the head the state is that is fetched.
const DISTANCE: u64 = 64;
/// Blocks whose transactions are looked at.
const SAMPLES: u64 = 100;

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_proof_of_authority_begins_with_a_state() {
    let folder = tempfile::tempdir().unwrap();
    let contracts = begins_with_a_state(&Chain::generated(folder.path())).await;
    assert!(contracts > 0, "the chain has contracts");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_proof_of_work_begins_with_a_state() {
    let Some(chain) = Chain::forks() else { return };
    begins_with_a_state(&chain).await;
}

/// It answers as the other does from the state's block on, has every block before, and says what it does not have. Returns how
/// often code was seen.
async fn begins_with_a_state(chain: &Chain) -> usize {
    let full = PeerNode::start(chain, true, chain.flags()).await;
    let enode = full.enode().await;
    let flags = [&["--syncmode", "snap", "--bootnodes", &enode], chain.flags()].concat();
    let node = PeerNode::start(chain, false, &flags).await;
    node.reaches(chain.head).await;
    let log = node.node.process.log();
    assert!(log.contains("Going on from the state that was fetched"), "every block was executed: {log}");

    let node = node.restart().await;
    let same = async |method: &str, params: Value| {
        let expected = call(full.rpc(), method, params.clone()).await;
        assert_eq!(call(node.rpc(), method, params.clone()).await, expected, "{method} {params}");
        expected
    };
    let head = chain.head.0;
    let first = head - DISTANCE;
    let hex = |number: u64| format!("{number:#x}");
    for number in [0, 1, 17, first, first + 1, head] {
        same("eth_getBlockByNumber", json!([hex(number), true])).await;
        same("eth_getBlockReceipts", json!([hex(number)])).await;
    }
    same("eth_getLogs", json!([{ "fromBlock": hex(first - 30), "toBlock": hex(head) }])).await;
    let mut contracts = 0;
    for number in (1..=head).step_by(usize::try_from(head.div_ceil(SAMPLES)).expect("small")) {
        let block = same("eth_getBlockByNumber", json!([hex(number), true])).await;
        let transactions = block["transactions"].as_array().expect("a list");
        let creates = |transaction: &&Value| transaction["to"].is_null();
        let Some(transaction) = transactions.iter().find(creates).or(transactions.first()) else { continue };
        let receipt = same("eth_getTransactionReceipt", json!([transaction["hash"]])).await;
        let address = ["contractAddress", "to", "from"].into_iter().find_map(|name| receipt[name].as_str());
        let address = address.expect("an address");
        for at in [hex(first), hex(first + 28), "latest".to_owned()] {
            same("eth_getBalance", json!([address, at])).await;
            same("eth_getTransactionCount", json!([transaction["from"], at])).await;
            contracts += usize::from(same("eth_getCode", json!([address, at])).await != "0x");
            same("eth_getStorageAt", json!([address, "0x0", at])).await;
        }
        same("eth_getProof", json!([address, ["0x0", "0x1"], "latest"])).await;
    }

    let somebody = call(full.rpc(), "eth_getBlockByNumber", json!(["0x1", true])).await["miner"].clone();
    for below in [0, first - 1] {
        let refused = node.rpc().call("eth_getBalance", json!([somebody, hex(below)])).await;
        let refused = refused.expect_err("no state").rpc();
        assert_eq!(refused.code, -32000, "{refused:?}");
        assert!(refused.message.contains("is not available"), "{refused:?}");
    }

    let PeerNode { home, node, .. } = node;
    node.stop().await;
    home.verify(chain.head).await;
    let stats = succeeded(&home.command("db stats --json")).await;
    let stats: Value = serde_json::from_str(&stats).expect("JSON");
    assert_eq!(stats["first_state"], first, "{stats}");
    contracts
}
