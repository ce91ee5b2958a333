//! The binary as its users meet it: started on a prepared data directory, asked over a socket, stopped by a signal.

use crate::fixture::spec;
use quintet_chain::genesis;
use quintet_chain_api::ChainClient;
use quintet_service::grpc::Transport;
use quintet_testkit::process::Program;
use quintet_testkit::service::{self, Service};
use std::path::Path;
use std::time::Duration;

const CONTRACT: &str = "quintet.chain.v1.ChainService";
const PEER_LINK: &str = "quintet.chain.v1.PeerLinkService";
const DEADLINE: Duration = Duration::from_secs(10);

fn program(datadir: &Path) -> Program {
    Program::new(env!("CARGO_BIN_EXE_quintet-chain")).arg("--datadir").arg(datadir)
}

/// Puts the genesis block there, and leaves the store to the process that is to come.
fn prepare(datadir: &Path) {
    let store = quintet_store::open(&datadir.join("chaindata"), &quintet_store::Options::default()).unwrap();
    genesis::init(store.as_ref(), &spec()).unwrap();
}

#[tokio::test]
async fn it_serves_health_and_its_contract_until_sigterm() {
    let datadir = tempfile::tempdir().unwrap();
    prepare(datadir.path());
    // Twice: what the first leaves must be enough for the next.
    for _ in 0..2 {
        let service = Service::start(&program(datadir.path())).await;
        service.assert_serving(&[CONTRACT, PEER_LINK]).await;
        service.assert_info(CONTRACT, "chain").await;
        let caller = quintet_service::Service::Gateway;
        let transport = Transport::remote(caller, service.grpc_url(), DEADLINE).unwrap();
        let head = ChainClient::new(transport).head().await.unwrap();
        assert_eq!((head.head.number, head.head.hash), (0, spec().genesis_hash()));
        service.assert_ends_on_sigterm().await;
    }
}

#[tokio::test]
async fn what_it_cannot_start_with_is_one_clear_error() {
    let datadir = tempfile::tempdir().unwrap();
    let program = program(datadir.path());
    service::assert_refuses(&program, "Fatal: the data directory has no chain: run `quintet init").await;
    prepare(datadir.path());
    service::assert_refuses_a_port_in_use(&program).await;
    service::assert_refuses_wrong_configuration(&program).await;
}
