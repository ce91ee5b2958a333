//! Besu's JSON-RPC tests: requests and responses on its own chain. Its error texts are its own, so errors are
//! compared by their codes.

use crate::compare::{Difference, differences};
use crate::exceptions::{BESU, BESU_LATEST, Exception};
use crate::node::{Node, PUBLIC};
use crate::report::Report;
use quintet_chainspec::ChainSpec;
use quintet_testkit::chain::{Chain, decode_blocks};
use quintet_testkit::vectors::{archive, files};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn besu_on_a_chain_from_frontier_to_cancun() {
    let Some(root) = archive("11") else { return };
    let chain = frontier_to_cancun(&root.join("chain-data/hive"));
    run("Besu, Frontier to Cancun", &root, &["eth", "debug", "testing_buildBlockV1"], &chain, BESU).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn besu_on_a_chain_from_prague_to_osaka() {
    let Some(root) = archive("11") else { return };
    let data = root.join("jsonrpc/debug-geth/chain-data");
    let genesis = fs::read_to_string(data.join("genesis.json")).unwrap();
    let chain = Chain::import(&genesis, &fs::read(data.join("blocks.bin")).unwrap()).unwrap();
    run("Besu, Prague to Osaka", &root, &["eth_latest", "debug-geth"], &chain, BESU_LATEST).await;
}

async fn run(
    suite: &'static str,
    root: &Path,
    folders: &[&str],
    chain: &Chain,
    exceptions: &'static [Exception],
) {
    let node = Node::start(chain, PUBLIC).await;
    let mut report = Report::new(suite, exceptions);
    let files = folders.iter().flat_map(|folder| files(&root.join("jsonrpc").join(folder), "json"));
    let files: Vec<_> = files.filter(|file| !file.to_string_lossy().contains("chain-data")).collect();
    assert!(!files.is_empty());
    for file in &files {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        match read(file) {
            Ok(mut test) => {
                prefix_addresses(&mut test["request"]);
                let got = node.send(&test["request"]).await;
                let method = test["request"]["method"].as_str().unwrap_or(BATCH);
                report.answered(method, &name, &got, || compare(method, &test["response"], &got));
                report.file_done();
            }
            Err(why) => report.unreadable(&name, &why),
        }
    }
    node.stop().await;
    report.finish(files.len());
}

/// What a batch is counted as.
const BATCH: &str = "(batch)";

fn read(file: &Path) -> Result<Value, String> {
    let text = fs::read(file).map_err(|error| error.to_string())?;
    serde_json::from_slice(&text).map_err(|error| error.to_string())
}

/// Frontier up to block 32, Shanghai in block 33, Cancun in block 34. Besu takes the forks that its genesis
/// leaves out for active at London's block.
fn frontier_to_cancun(folder: &Path) -> Chain {
    let mut genesis = read(&folder.join("testGenesis.json")).unwrap();
    let config = genesis["config"].as_object_mut().unwrap();
    let blocks = [
        "homesteadBlock",
        "eip150Block",
        "eip155Block",
        "eip158Block",
        "byzantiumBlock",
        "constantinopleBlock",
        "petersburgBlock",
        "istanbulBlock",
        "berlinBlock",
    ];
    let london = config["londonBlock"].clone();
    config.extend(blocks.map(|name| (name.to_owned(), london.clone())));
    let cancun = json!({ "target": 3, "max": 6, "baseFeeUpdateFraction": 3_338_477 });
    config.insert("blobSchedule".to_owned(), json!({ "cancun": cancun }));
    let blocks = decode_blocks(&fs::read(folder.join("testBlockchain.blocks")).unwrap()).unwrap();
    let total: u64 = blocks.iter().map(|block| block.header.difficulty.to::<u64>()).sum();
    config.insert("terminalTotalDifficulty".to_owned(), total.into());
    let spec = ChainSpec::from_json(&genesis.to_string()).unwrap();
    Chain::import_blocks(spec, blocks, |header| header.beneficiary).unwrap()
}

/// Besu takes addresses without `0x`, geth does not.
fn prefix_addresses(request: &mut Value) {
    match request {
        Value::String(text) => {
            if text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                text.insert_str(0, "0x");
            }
        }
        Value::Array(items) => items.iter_mut().for_each(prefix_addresses),
        Value::Object(fields) => {
            for (key, mut value) in std::mem::take(fields) {
                prefix_addresses(&mut value);
                let mut key = Value::String(key);
                prefix_addresses(&mut key);
                fields.insert(key.as_str().unwrap_or_default().to_owned(), value);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn compare(method: &str, expected: &Value, got: &Value) -> Vec<Difference> {
    let mut found = differences(&without_texts(expected), &without_texts(got));
    // The ids of filters are the node's own.
    if method.starts_with("eth_new") && got["result"].is_string() && expected["result"].is_string() {
        found.retain(|difference| difference.place != "result");
    }
    found
}

/// The response, or the responses of a batch, with nothing but the code of an error.
fn without_texts(response: &Value) -> Value {
    if let Some(batch) = response.as_array() {
        return batch.iter().map(without_texts).collect();
    }
    let mut response = response.clone();
    if let Some(error) = response.get_mut("error") {
        *error = json!({ "code": error["code"] });
    }
    response
}
