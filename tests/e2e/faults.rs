//! What can be wrong with a command, a configuration, a data directory: one clear error each, and an exit that says
//! so. And what is not wrong: signals end a node in order.

use crate::fixture::{call, quantity, quintet, quintet_on, send_and_wait, to_hash, transfer, try_send};
use alloy_primitives::{Address, B256, U256, b256};
use quintet_testkit::accounts::dev_account;
use quintet_testkit::process::{Finished, Program, free_port};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A node that looks for nobody, on any port.
const ALONE: [&str; 3] = ["--nodiscover", "--port", "0"];

/// A genesis of geth's own tests, and its hash.
const GENESIS_HASH: B256 = b256!("89c99d90b79719238d2645c7642f2c9295246e80775b38cfd162b696817fbd50");

fn genesis() -> Value {
    let one = B256::right_padding_from(&[1]);
    json!({
        "config": { "chainId": 5, "homesteadBlock": 3, "ethash": {} },
        "difficulty": "0x20000",
        "gasLimit": "0x47e7c4",
        "alloc": {
            "0100000000000000000000000000000000000000": {
                "balance": "0x1",
                "storage": { (one.to_string()): one },
            },
        },
    })
}

fn directory() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

fn written(directory: &TempDir, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = directory.path().join(name);
    fs::write(&path, content).expect("written");
    path
}

fn init(datadir: &Path, genesis: &Path) -> Program {
    quintet_on("init", datadir).arg(genesis)
}

/// The error of a command that must fail, say why, and not panic.
async fn refusal(program: &Program) -> String {
    let Finished { status, stderr, .. } = program.run().await;
    assert!(!status.success(), "{program:?} succeeded");
    assert!(status.code().is_some(), "{program:?} died of a signal: {stderr}");
    assert!(!stderr.contains("panicked"), "{program:?}: {stderr}");
    assert!(!stderr.trim().is_empty(), "{program:?} says nothing");
    stderr
}

/// Checks that a command is refused with all of these words.
async fn refused(program: &Program, words: &[&str]) {
    let said = refusal(program).await;
    for word in words {
        assert!(said.contains(word), "{program:?} does not say {word:?}: {said}");
    }
}

#[tokio::test]
async fn wrong_flags_and_values_are_named() {
    refused(&quintet("dev").arg("--no-such-flag"), &["--no-such-flag"]).await;
    refused(&quintet("no-such-command"), &["no-such-command"]).await;
    let wrong_port = ["\"http\"", "--http.port", "QUINTET_HTTP_PORT"];
    refused(&quintet("dev").args(["--http.port", "http"]), &wrong_port).await;
    refused(&quintet("dev").env("QUINTET_HTTP_PORT", "http"), &wrong_port).await;
    refused(&quintet("dev").args(["--http.api", "eth,bogus"]), &["--http.api", "\"bogus\""]).await;
    refused(&quintet("dev").args(["--accounts", "0"]), &["--accounts"]).await;
    refused(&quintet("dev").args(["--block-time", "soon"]), &["--block-time", "soon"]).await;
    refused(&quintet("dev").args(["--mnemonic", "test test"]), &["--mnemonic"]).await;
    refused(&quintet("node").args(["--network", "atlantis"]), &["--network", "atlantis", "sepolia"]).await;
    refused(&quintet("dev").args(["--config", "/no/such/file.toml"]), &["/no/such/file.toml"]).await;
    let directory = directory();
    let file = written(&directory, "quintet.toml", "[http]\nprot = 8545\n");
    let unknown_key = [file.to_str().expect("text"), "unknown key http.prot"];
    refused(&quintet("dev").arg("--config").arg(&file), &unknown_key).await;
}

#[tokio::test]
async fn a_port_in_use_is_named_with_its_flag() {
    let port = free_port();
    let _taken = std::net::TcpListener::bind(("127.0.0.1", port)).expect("a free port");
    let dev = quintet("dev").args(["--http.addr", "127.0.0.1", "--http.port", &port.to_string()]);
    let words = [&format!("listen tcp 127.0.0.1:{port}: bind: address already in use"), "--http.port"];
    refused(&dev, &words).await;
    let admin =
        quintet("dev").args(["--http.port", &free_port().to_string(), "--admin.port", &port.to_string()]);
    let words = [&format!("listen tcp 127.0.0.1:{port}: bind: address already in use"), "--admin.port"];
    refused(&admin, &words).await;
}

#[tokio::test]
async fn a_genesis_file_that_cannot_be_used_is_named() {
    let directory = directory();
    let datadir = directory.path().join("data");
    let missing = directory.path().join("missing.json");
    refused(&init(&datadir, &missing), &["missing.json", "No such file"]).await;
    let torn = written(&directory, "torn.json", r#"{ "config": { "chainId": 5"#);
    refused(&init(&datadir, &torn), &["torn.json", "invalid genesis file"]).await;
    let mut wrong = genesis();
    wrong["gasLimit"] = json!("lots");
    let wrong = written(&directory, "wrong.json", wrong.to_string());
    refused(&init(&datadir, &wrong), &["wrong.json", "gasLimit"]).await;
    let mut order = genesis();
    order["config"] = json!({ "chainId": 5, "londonBlock": 5 });
    let order = written(&directory, "order.json", order.to_string());
    refused(&init(&datadir, &order), &["unsupported fork ordering"]).await;
    // None of them has left a chain behind.
    let right = written(&directory, "right.json", genesis().to_string());
    assert!(init(&datadir, &right).run().await.status.success());
}

#[tokio::test]
async fn a_data_directory_of_another_chain_is_refused() {
    let directory = directory();
    let datadir = directory.path().join("data");
    let first = written(&directory, "first.json", genesis().to_string());
    let mut other = genesis();
    other["extraData"] = json!("0x01");
    let other = written(&directory, "other.json", other.to_string());
    assert!(init(&datadir, &first).run().await.status.success());
    // geth's words, which have no 0x.
    let have = alloy_primitives::hex::encode(GENESIS_HASH);
    let incompatible = format!("database contains incompatible genesis (have {have}, new ");
    refused(&init(&datadir, &other), &[&incompatible]).await;
    refused(&quintet_on("dev", &datadir), &[&incompatible]).await;
    refused(&quintet_on("node", &datadir).args(["--network", "sepolia"]), &[&incompatible]).await;
    // The same again is no fault.
    assert!(init(&datadir, &first).run().await.status.success());
}

#[tokio::test]
async fn a_data_directory_in_use_is_refused_and_its_node_undisturbed() {
    let directory = directory();
    let node = quintet_on("dev", directory.path()).start_node().await;
    let genesis = written(&directory, "genesis.json", genesis().to_string());
    for other in [
        quintet_on("dev", directory.path()).args(["--http.port", &free_port().to_string()]),
        quintet_on("node", directory.path()),
        quintet_on("verify", directory.path()),
        init(directory.path(), &genesis),
    ] {
        let datadir = directory.path().to_str().expect("text");
        refused(&other, &["datadir already used by another process", datadir]).await;
    }
    send_and_wait(&node.rpc, &transfer(dev_account(0), 0, Address::repeat_byte(1), 1)).await;
    node.stop().await;
    assert!(quintet_on("verify", directory.path()).run().await.status.success());
}

#[tokio::test]
async fn a_data_directory_without_a_chain_says_what_to_do() {
    let directory = directory();
    refused(&quintet_on("node", directory.path()), &["quintet init"]).await;
    let nothing = directory.path().join("nothing");
    refused(&quintet_on("verify", &nothing), &["no chain store", "nothing"]).await;
    assert!(!nothing.exists());
}

/// A data directory with some blocks and a queued transaction, left in order.
async fn used_datadir() -> TempDir {
    let directory = directory();
    let node = quintet_on("dev", directory.path()).start_node().await;
    for nonce in 0..5 {
        send_and_wait(&node.rpc, &transfer(dev_account(0), nonce, Address::repeat_byte(1), 1)).await;
    }
    let queued = transfer(dev_account(0), 9, Address::repeat_byte(1), 1);
    try_send(&node.rpc, &queued).await.expect("queued");
    node.stop().await;
    directory
}

#[tokio::test]
async fn a_damaged_data_directory_is_refused_and_named() {
    let directory = used_datadir().await;
    let dev = || quintet_on("dev", directory.path()).args(["--http.port", &free_port().to_string()]);
    let verify = quintet_on("verify", directory.path());
    let file = directory.path().join("chaindata").join("mdbx.dat");
    let whole = fs::read(&file).expect("read");
    let garbled = |from: usize| {
        let mut bytes = whole.clone();
        bytes[from..].fill(0xa5);
        bytes
    };
    for damaged in [Vec::new(), whole[..20_000].to_vec(), garbled(0), garbled(3 * 4096)] {
        fs::write(&file, damaged).expect("written");
        refused(&dev(), &["damaged", "chaindata"]).await;
        refused(&verify, &["damaged", "chaindata"]).await;
    }
    fs::remove_file(&file).expect("removed");
    refused(&dev(), &["chaindata", "has lost its data file"]).await;
    fs::write(&file, &whole).expect("written");
    assert!(verify.run().await.status.success(), "what was refused was not made worse");
}

#[tokio::test]
async fn a_damaged_journal_is_refused_and_named_but_a_torn_end_is_not() {
    let directory = used_datadir().await;
    let journal = directory.path().join("transactions.journal");
    let whole = fs::read(&journal).expect("read");
    let mut garbled = [whole.clone(), whole.clone()].concat();
    garbled[whole.len() / 2] ^= 0xff;
    fs::write(&journal, garbled).expect("written");
    let dev = quintet_on("dev", directory.path()).args(["--http.port", &free_port().to_string()]);
    refused(&dev, &["transaction journal", "transactions.journal"]).await;

    fs::write(&journal, [&whole[..], &whole[..whole.len() / 2]].concat()).expect("written");
    let node = quintet_on("dev", directory.path()).start_node().await;
    let status = call(&node.rpc, "txpool_status", json!([])).await;
    assert_eq!(status, json!({ "pending": "0x0", "queued": "0x1" }));
    node.stop().await;
}

#[tokio::test]
async fn signals_end_a_node_in_order() {
    for signal in ["TERM", "INT"] {
        let directory = directory();
        let dev = quintet_on("dev", directory.path());
        let mut node = dev.start_node().await;
        let receipt =
            send_and_wait(&node.rpc, &transfer(dev_account(0), 0, Address::repeat_byte(1), 1)).await;
        // An open connection and a subscription do not hold it up.
        let mut ws = node.ws().await;
        let heads = ws.subscribe(json!(["newHeads"])).await.expect("subscribed");
        let status = node.process.signal(signal).await;
        assert_eq!(status.code(), Some(0), "{signal}:\n{}", node.process.log());
        assert!(ws.next(&heads).await.is_err(), "the connection has ended");

        let node = dev.start_node().await;
        let head = call(&node.rpc, "eth_getBlockByNumber", json!(["latest", false])).await;
        assert_eq!(head["hash"], receipt["blockHash"]);
        node.stop().await;
        assert!(quintet_on("verify", directory.path()).run().await.status.success());
    }
}

#[tokio::test]
async fn an_initialised_directory_is_served() {
    let directory = directory();
    let file = written(&directory, "genesis.json", genesis().to_string());
    let initialised = init(directory.path(), &file).run().await;
    assert!(initialised.status.success(), "{initialised:?}");
    assert!(initialised.stdout.contains(&GENESIS_HASH.to_string()), "{initialised:?}");

    let node = quintet_on("node", directory.path()).args(ALONE).arg("--http").start_node().await;
    let block = call(&node.rpc, "eth_getBlockByNumber", json!(["0x0", false])).await;
    assert_eq!(to_hash(&block["hash"]), GENESIS_HASH);
    assert_eq!(call(&node.rpc, "eth_chainId", json!([])).await, "0x5");
    let funded = Address::right_padding_from(&[1]);
    assert_eq!(quantity(&node.rpc, "eth_getBalance", json!([funded, "latest"])).await, U256::ONE);
    let slot = json!([funded, B256::right_padding_from(&[1]), "latest"]);
    let value = call(&node.rpc, "eth_getStorageAt", slot).await;
    assert_eq!(to_hash(&value), B256::right_padding_from(&[1]));
    node.stop().await;
    assert!(quintet_on("verify", directory.path()).run().await.status.success());
}

#[tokio::test]
async fn a_public_network_is_served_from_nothing() {
    let directory = directory();
    let node = quintet_on("node", directory.path()).args(ALONE);
    let node = node.args(["--network", "sepolia", "--http"]).start_node().await;
    let block = call(&node.rpc, "eth_getBlockByNumber", json!(["0x0", false])).await;
    let sepolia = b256!("25a5cc106eea7138acab33231d7160d69cb777ee0c2c553fcddf5138993e6dd9");
    assert_eq!(to_hash(&block["hash"]), sepolia);
    assert_eq!(call(&node.rpc, "net_version", json!([])).await, "11155111");
    node.stop().await;
}
