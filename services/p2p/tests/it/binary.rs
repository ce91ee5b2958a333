//! The binary: started from its configuration, asked over a socket, stopped by a signal.

use crate::chain::Chain;
use quintet_enode::NodeKey;
use quintet_p2p_api::{ErrorKind, PeerClient};
use quintet_service::grpc::Transport;
use quintet_testkit::process::Program;
use quintet_testkit::service::{self, Service};
use std::time::Duration;

const CONTRACT: &str = "quintet.p2p.v1.PeerService";
const DEADLINE: Duration = Duration::from_secs(10);

fn program(chain: &str) -> Program {
    let args = ["--chain.url", chain, "--port", "0", "--p2p.addr", "127.0.0.1"];
    Program::new(env!("CARGO_BIN_EXE_quintet-p2p")).args(args)
}

fn client(service: &Service) -> PeerClient {
    let caller = quintet_service::Service::Gateway;
    PeerClient::new(Transport::remote(caller, service.grpc_url(), DEADLINE).expect("an address"))
}

#[tokio::test]
async fn it_serves_health_and_its_contract_until_sigterm() {
    let mut chain = Chain::start().await;
    let datadir = tempfile::tempdir().expect("a folder");
    let program = program(&chain.url()).arg("--datadir").arg(datadir.path()).args(["--identity", "lab"]);
    let service = Service::start(&program).await;
    chain.hello().await;
    service.assert_serving(&[CONTRACT]).await;
    service.assert_info(CONTRACT, "p2p").await;
    let client = client(&service);
    assert_eq!(client.peers().await, Ok(Vec::new()));
    let node = client.local_node().await.expect("a node");
    let key = NodeKey::load(&datadir.path().join("nodekey")).expect("a key");
    assert_eq!(node.id, key.node_id());
    assert!(node.name.starts_with("Quintet/lab/v") && node.listening, "{node:?}");
    assert!(node.node.enode.starts_with("enode://") && node.node.enode.ends_with("?discport=0"), "{node:?}");
    let broken =
        quintet_p2p_api::NodeRecord { enode: "enode://00@1.2.3.4:5".to_owned(), ..Default::default() };
    let error = client.add_peer(broken).await.expect_err("no node");
    assert_eq!(error.kind, ErrorKind::InvalidArgument);
    assert!(error.message.starts_with("invalid enode: invalid public key"), "{error}");
    service.assert_ends_on_sigterm().await;
}

#[tokio::test]
async fn without_chain_it_is_not_ready_and_says_why() {
    let service = Service::start(&program("http://127.0.0.1:1")).await;
    let report = service.assert_not_ready(&[CONTRACT]).await;
    assert!(report.contains("[-]chain failed: chain is away"), "{report}");
    let error = client(&service).local_node().await.expect_err("no identity");
    assert_eq!(error.kind, ErrorKind::Unavailable);
    service.assert_ends_on_sigterm().await;
}

#[tokio::test]
async fn what_it_cannot_start_with_is_one_clear_error() {
    let program = program("http://127.0.0.1:1");
    service::assert_refuses_a_port_in_use(&program).await;
    service::assert_refuses_wrong_configuration(&program).await;
    service::assert_refuses(&program.clone().args(["--nodekeyhex", "zz"]), "--nodekeyhex").await;
    service::assert_refuses(&program.clone().args(["--staticnodes", "enode://1@2"]), "QUINTET_STATICNODES")
        .await;
}
