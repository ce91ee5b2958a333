//! The binary as its users meet it: started on the data directory of a chain that does not run, asked over sockets,
//! stopped by a signal.

use quintet_chainspec::ChainSpec;
use quintet_store::Store;
use quintet_testkit::process::{Program, free_port};
use quintet_testkit::rpc::HttpClient;
use quintet_testkit::service::{self, Service};
use serde_json::json;
use std::path::Path;
use std::sync::Arc;

/// The binary without the other services: they are not needed to read what is stored.
fn program(datadir: &Path) -> Program {
    Program::new(env!("CARGO_BIN_EXE_quintet-gateway")).arg("--datadir").arg(datadir)
}

/// The development chain's genesis block in a store there.
fn prepare(datadir: &Path) -> Arc<dyn Store> {
    let options = quintet_store::Options::default();
    let store = quintet_store::open(&datadir.join("chaindata"), &options).expect("a store");
    let spec = ChainSpec::dev(&[], 30_000_000, 0).expect("the development chain");
    quintet_chain::genesis::init(store.as_ref(), &spec).expect("genesis");
    store
}

#[tokio::test]
async fn it_serves_health_and_reads_until_sigterm() {
    let datadir = tempfile::tempdir().expect("a temporary directory");
    drop(prepare(datadir.path()));
    let port = free_port();
    let program = program(datadir.path()).arg("--http").arg("--http.port").arg(port.to_string());
    let service = Service::start(&program.args(["--http.addr", "127.0.0.1"])).await;
    // It has no contract of its own: its clients speak JSON-RPC.
    service.assert_serving(&[]).await;
    let http = HttpClient::new(format!("http://127.0.0.1:{port}"));
    assert_eq!(http.call("eth_chainId", json!([])).await.expect("answered"), json!("0x539"));
    assert_eq!(http.call("eth_blockNumber", json!([])).await.expect("answered"), json!("0x0"));
    service.assert_ends_on_sigterm().await;
}

#[tokio::test]
async fn without_a_store_to_share_it_is_not_ready_and_says_why() {
    let datadir = tempfile::tempdir().expect("a temporary directory");
    let _chain = prepare(datadir.path());
    let service = Service::start(&program(datadir.path())).await;
    let report = service.assert_not_ready(&[]).await;
    assert!(report.contains("[-]store failed: the embedded store "), "{report}");
    assert!(report.contains("belongs to the process that runs chain"), "{report}");
    service.assert_ends_on_sigterm().await;
}

#[tokio::test]
async fn what_it_cannot_start_with_is_one_clear_error() {
    let datadir = tempfile::tempdir().expect("a temporary directory");
    let program = program(datadir.path());
    service::assert_refuses_a_port_in_use(&program).await;
    service::assert_refuses_wrong_configuration(&program).await;
}
