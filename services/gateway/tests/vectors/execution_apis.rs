//! The tests of ethereum/execution-apis: `.io` files of one request and its response by geth.

use crate::compare::differences;
use crate::exceptions::{Exception, OSAKA, PREMERGE};
use crate::node::{Node, PUBLIC};
use crate::report::Report;
use quintet_testkit::chain::Chain;
use quintet_testkit::vectors::{archive, files};
use serde_json::Value;
use std::fs;
use std::path::Path;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn execution_apis_on_a_chain_through_every_fork() {
    run("execution-apis, Frontier to BPO2", "tests-50d1e5e0-osaka", OSAKA, 123).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn execution_apis_before_the_merge() {
    run("execution-apis, before the merge", "tests-7474e630-premerge-pow", PREMERGE, 25).await;
}

async fn run(suite: &'static str, folder: &str, exceptions: &'static [Exception], expected_files: usize) {
    let Some(root) = archive("10").map(|root| root.join(folder)) else { return };
    let genesis = fs::read_to_string(root.join("genesis.json")).unwrap();
    let chain = Chain::import(&genesis, &fs::read(root.join("chain.rlp")).unwrap()).unwrap();
    let node = Node::start(&chain, PUBLIC).await;
    let mut report = Report::new(suite, exceptions);
    let mut files = files(&root, "io");
    assert_eq!(files.len(), expected_files);
    // Transactions change what others see of the pool, so they come last.
    files.sort_by_key(|file| file.to_string_lossy().contains("sendRaw"));
    for file in &files {
        let name = file.strip_prefix(&root).unwrap().display().to_string();
        let exchanges = match exchanges(file) {
            Ok(exchanges) => exchanges,
            Err(why) => {
                report.unreadable(&name, &why);
                continue;
            }
        };
        for (request, expected) in exchanges {
            let got = node.send(&request).await;
            let method = request["method"].as_str().unwrap_or_default();
            // The whole response must be the same, errors with their messages and data: they are geth's.
            report.answered(method, &name, &got, || differences(&expected, &got));
        }
        report.file_done();
    }
    node.stop().await;
    report.finish(files.len());
}

/// A file's requests, each with its response.
fn exchanges(file: &Path) -> Result<Vec<(Value, Value)>, String> {
    let text = fs::read_to_string(file).map_err(|error| error.to_string())?;
    let values = |mark: &str| -> Result<Vec<Value>, String> {
        let lines = text.lines().filter_map(|line| line.strip_prefix(mark));
        lines.map(|line| serde_json::from_str(line).map_err(|error| error.to_string())).collect()
    };
    let (requests, responses) = (values(">> ")?, values("<< ")?);
    if requests.is_empty() || requests.len() != responses.len() {
        return Err(format!("{} requests, {} responses", requests.len(), responses.len()));
    }
    Ok(requests.into_iter().zip(responses).collect())
}
