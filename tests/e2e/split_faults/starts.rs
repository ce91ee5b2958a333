//! Starts that cannot go well: one clear error, or a wait that says what for.

use super::{NOTICE, complains, options};
use crate::fixture::{call, quintet_on};
use quintet_testkit::process::{Finished, Program};
use quintet_testkit::split::{Options, Service, Split};
use serde_json::json;
use std::path::Path;
use std::time::{Duration, Instant};

fn small() -> Options {
    Options { gateways: 1, miners: 1, ..options() }
}

/// Waits until a service ends by itself; it must say these words, and not panic.
async fn ends_saying(split: &mut Split, service: Service, words: &[&str]) {
    let start = Instant::now();
    let code = loop {
        if let Some(code) = split.exit_code(service) {
            break code;
        }
        assert!(start.elapsed() < NOTICE, "{service} does not end:\n{}", split.log(service));
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let log = split.log(service);
    assert_eq!(code, 1, "{log}");
    assert_says(&log, words);
}

fn assert_says(log: &str, words: &[&str]) {
    assert!(!log.contains("panicked"), "{log}");
    let last = log.lines().rev().find(|line| line.starts_with("Fatal: ")).unwrap_or_default();
    assert!(words.iter().all(|word| last.contains(word)), "no {words:?} in {last:?}:\n{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_and_a_miner_wait_for_a_chain_that_never_ran() {
    let mut split = Split::prepare(small()).await;
    for service in [Service::Gateway(0), Service::Miner(0)] {
        split.launch(service);
        let what = "alive and not ready";
        let status = split.wait_for(service, what, NOTICE, |status| !status.ready).await;
        assert!(status.text.contains("[-]"), "{service}: {}", status.text);
    }
    complains(&mut split, Service::Gateway(0), &["store", "chain"]).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    split.launch(Service::Chain);
    for service in [Service::Chain, Service::Gateway(0), Service::Miner(0)] {
        split.wait_ready(service).await;
    }
    assert_eq!(call(&split.rpc(0), "eth_chainId", json!([])).await, "0x539");
    split.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_of_a_newer_schema_is_refused() {
    let mut split = Split::prepare(small()).await;
    split.launch(Service::Chain);
    split.wait_ready(Service::Chain).await;
    split.stop(Service::Chain).await;
    let newer = "INSERT INTO refinery_schema_history (version, name, applied_on, checksum) \
                 VALUES (9999, 'from_the_future', '2100-01-01T00:00:00Z', '1')";
    split.postgres.sql(split.database(), newer);
    split.launch(Service::Chain);
    ends_saying(&mut split, Service::Chain, &["has another schema", "from_the_future"]).await;
    split.launch(Service::Gateway(0));
    // A gateway waits: an operator may be in the middle of an upgrade.
    let words = ["has another schema", "from_the_future"];
    let says = |text: &str| words.iter().all(|word| text.contains(word));
    let what = "waiting for a store of its own schema";
    split.wait_for(Service::Gateway(0), what, NOTICE, |status| !status.ready && says(&status.text)).await;
    split.postgres.sql(split.database(), "DELETE FROM refinery_schema_history WHERE version = 9999");
    split.launch(Service::Chain);
    split.wait_ready(Service::Gateway(0)).await;
    split.stop_all().await;
}

/// A genesis file of another network.
fn other_network(folder: &Path) -> std::path::PathBuf {
    let file = folder.join("other.json");
    let genesis = json!({
        "config": { "chainId": 4242, "homesteadBlock": 0, "clique": { "period": 1, "epoch": 30000 } },
        "difficulty": "0x1",
        "gasLimit": "0x47e7c4",
        "extraData": format!("0x{}{}{}", "00".repeat(32), "11".repeat(20), "00".repeat(65)),
        "alloc": {},
    });
    std::fs::write(&file, genesis.to_string()).expect("written");
    file
}

/// Makes the store of another network in another database; gives its address.
async fn other_store(split: &Split, folder: &Path) -> String {
    let url = split.postgres.create_database();
    let init = quintet_on("init", folder).args(["--store", &url]).arg(other_network(folder)).run().await;
    assert!(init.status.success(), "{init:?}");
    url
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_of_different_networks_refuse_each_other() {
    let mut split = Split::prepare(small()).await;
    let folder = tempfile::tempdir().expect("a directory");
    let other = other_store(&split, folder.path()).await;
    for service in [Service::Chain, Service::Miner(0)] {
        split.launch(service);
        split.wait_ready(service).await;
    }

    // A gateway whose store is not its chain's.
    split.use_store(Service::Gateway(0), &other);
    split.launch(Service::Gateway(0));
    let another = |text: &str| text.contains("is another network: its genesis block is");
    let what = "refusing a chain of another network";
    split.wait_for(Service::Gateway(0), what, NOTICE, |status| !status.ready && another(&status.text)).await;
    split.stop(Service::Gateway(0)).await;

    // A chain whose store is not of the network that its flags name.
    split.stop(Service::Chain).await;
    split.use_store(Service::Chain, &other);
    split.launch(Service::Chain);
    ends_saying(&mut split, Service::Chain, &["incompatible genesis"]).await;

    // A miner whose chain has become another one.
    split.set_network(&[]);
    split.launch(Service::Chain);
    let another = |text: &str| text.contains("is on another network than before");
    let what = "refusing a chain of another network";
    split.wait_for(Service::Miner(0), what, NOTICE, |status| !status.ready && another(&status.text)).await;
    split.stop_all().await;
}

#[tokio::test]
async fn a_secret_that_is_not_there_is_named() {
    let folder = Path::new(env!("CARGO_BIN_EXE_quintet")).parent().expect("a folder").to_owned();
    let missing = "/run/secrets/no-such-secret";
    for (binary, variable, flag, rest) in [
        ("quintet-chain", "QUINTET_STORE_FILE", "--store", &["--dev", "--datadir", "/nonexistent"][..]),
        ("quintet-gateway", "QUINTET_STORE_FILE", "--store", &[]),
        (
            "quintet-gateway",
            "QUINTET_REDIS_FILE",
            "--redis",
            &["--store", "postgres://nobody@127.0.0.1:1/none"],
        ),
        ("quintet-miner", "QUINTET_REDIS_FILE", "--redis", &["--chain.url", "http://127.0.0.1:1"]),
    ] {
        let program = Program::new(folder.join(binary)).args(rest.iter().copied()).env(variable, missing);
        let Finished { status, stderr, .. } = program.run().await;
        assert!(!status.success() && !stderr.contains("panicked"), "{binary}: {stderr}");
        let named = stderr.contains(missing) && (stderr.contains(variable) || stderr.contains(flag));
        assert!(named, "{binary} does not say that {variable} is wrong: {stderr}");
    }
}
