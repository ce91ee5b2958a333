//! The execution APIs' own cases (`.io` files), each on the chain that it was made on.

use crate::chain::Node;
use quintet_testkit::chain::Chain;
use quintet_testkit::vectors;
use serde_json::Value;
use std::fs;
use std::path::Path;

/// Modules and methods that the gateway does not offer; cases of theirs are counted and left out.
const LEFT_OUT: [&str; 5] = ["debug_", "eth_simulateV1", "eth_config", "testing_", "eth_getStorage/"];
/// Cases that need more than the blocks: a block that is safe, which only a consensus client tells.
const NEEDS_CONSENSUS: [&str; 1] = ["eth_getBlockByNumber/get-safe.io"];

/// One request with the answer that is expected.
struct Exchange {
    request: String,
    expected: Value,
}

struct Case {
    name: String,
    /// Only the form of the answer is prescribed.
    spec_only: bool,
    exchanges: Vec<Exchange>,
}

fn read_case(root: &Path, path: &Path) -> Case {
    let text = fs::read_to_string(path).expect("a case");
    let mut case = Case {
        name: path.strip_prefix(root).unwrap_or(path).display().to_string(),
        spec_only: text.lines().any(|line| line.starts_with("//") && line.contains("speconly")),
        exchanges: Vec::new(),
    };
    let mut request = None;
    for line in text.lines() {
        if let Some(sent) = line.strip_prefix(">> ") {
            request = Some(sent.to_owned());
        } else if let Some(answer) = line.strip_prefix("<< ") {
            let expected = serde_json::from_str(answer).expect("an answer");
            case.exchanges.push(Exchange { request: request.take().expect("a request before"), expected });
        }
    }
    case
}

/// What differs; nothing if `found` is `expected`, but for fields that only older clients still give.
fn differences(path: &str, expected: &Value, found: &Value, out: &mut Vec<String>) {
    match (expected, found) {
        (Value::Object(expected), Value::Object(found)) => {
            for (key, value) in expected {
                match found.get(key) {
                    Some(have) => differences(&format!("{path}.{key}"), value, have, out),
                    None => out.push(format!("{path}.{key} is missing")),
                }
            }
            for key in found.keys().filter(|key| !expected.contains_key(*key) && *key != "totalDifficulty") {
                // The older chain's cases were made before these fields were.
                if !["blockTimestamp", "yParity", "baseFeePerBlobGas", "blobGasUsedRatio"].contains(&key.as_str()) {
                    out.push(format!("{path}.{key} is not expected"));
                }
            }
        }
        (Value::Array(expected), Value::Array(found)) if expected.len() == found.len() => {
            for (index, (expected, found)) in expected.iter().zip(found).enumerate() {
                differences(&format!("{path}[{index}]"), expected, found, out);
            }
        }
        (Value::Number(expected), Value::Number(found)) if expected.as_f64() == found.as_f64() => {}
        _ if expected == found => {}
        _ => {
            let cut = |value: &Value| value.to_string().chars().take(160).collect::<String>();
            out.push(format!("{path}: expected {}, found {}", cut(expected), cut(found)));
        }
    }
}

/// Whether two answers have the same form.
fn same_form(expected: &Value, found: &Value) -> bool {
    expected.get("error").is_some() == found.get("error").is_some()
}

async fn run(folder: &Path, at_least: usize) {
    let genesis = fs::read_to_string(folder.join("genesis.json")).expect("genesis.json");
    let blocks = fs::read(folder.join("chain.rlp")).expect("chain.rlp");
    let chain = Chain::import(&genesis, &blocks).expect("the chain imports");
    let node = Node::start(chain.spec, chain.store, &[]).await;
    let mut failures = Vec::new();
    let (mut run, mut left_out) = (0, 0);
    for path in vectors::files(folder, "io") {
        let case = read_case(folder, &path);
        if LEFT_OUT.iter().any(|name| case.name.starts_with(name)) || NEEDS_CONSENSUS.contains(&case.name.as_str()) {
            left_out += 1;
            continue;
        }
        run += 1;
        for exchange in case.exchanges {
            let (_, text) = node.http.post(exchange.request.clone()).await.expect("an answer");
            let found: Value = serde_json::from_str(&text).expect("JSON");
            let mut wrong = Vec::new();
            if case.spec_only {
                if !same_form(&exchange.expected, &found) {
                    wrong.push(format!("another form: {found}"));
                }
            } else {
                differences("", &exchange.expected, &found, &mut wrong);
            }
            failures.extend(wrong.into_iter().map(|what| format!("{}: {what}", case.name)));
        }
    }
    assert!(failures.is_empty(), "{} of {run} cases:\n{}", failures.len(), failures.join("\n"));
    assert!(run >= at_least, "only {run} cases were run, {left_out} left out");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cases_of_todays_chain() {
    let Some(root) = vectors::archive("10") else { return };
    run(&root.join("tests-50d1e5e0-osaka"), 55).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cases_of_a_proof_of_work_chain() {
    let Some(root) = vectors::archive("10") else { return };
    run(&root.join("tests-7474e630-premerge-pow"), 15).await;
}
