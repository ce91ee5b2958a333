//! Besu's JSON-RPC tests: requests and responses on its own chain. Its error texts are its own, so errors are
//! compared by their codes.

use crate::compare::{Difference, differences};
use crate::exceptions::BESU;
use crate::node::Node;
use crate::report::Report;
use quintet_chainspec::ChainSpec;
use quintet_testkit::chain::{Chain, decode_blocks};
use quintet_testkit::vectors::{archive, files};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn besu() {
    let Some(root) = archive("11") else { return };
    let chain = import(&root.join("chain-data/hive"));
    let node = Node::start(&chain).await;
    let mut report = Report::new("Besu", BESU);
    let folder = root.join("jsonrpc/eth");
    // Simulation and configuration have chains of their own.
    let files: Vec<_> =
        files(&folder, "json").into_iter().filter(|file| file.parent() == Some(&*folder)).collect();
    assert_eq!(files.len(), FILES);
    for file in &files {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        match read(file) {
            Ok(test) => {
                let (request, expected) = (&test["request"], &test["response"]);
                let got = node.send(request).await;
                let method = request["method"].as_str().unwrap_or("(batch)");
                report.answered(method, &name, &got, || compare(method, expected, &got));
            }
            Err(why) => report.unreadable(&name, &why),
        }
    }
    node.stop().await;
    report.finish(files.len());
}

const FILES: usize = 108;

fn read(file: &Path) -> Result<Value, String> {
    let text = fs::read(file).map_err(|error| error.to_string())?;
    serde_json::from_slice(&text).map_err(|error| error.to_string())
}

/// Frontier up to block 32, Shanghai in block 33, Cancun in block 34. Besu takes the forks that its genesis
/// leaves out for active at London's block.
fn import(folder: &Path) -> Chain {
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
