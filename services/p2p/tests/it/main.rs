//! The binary as its users meet it: started from its configuration, asked over a socket, stopped by a signal.

use quintet_p2p_api::{ErrorKind, PeerClient};
use quintet_service::grpc::Transport;
use quintet_testkit::process::Program;
use quintet_testkit::service::{self, Service};
use std::time::Duration;

const CONTRACT: &str = "quintet.p2p.v1.PeerService";
const DEADLINE: Duration = Duration::from_secs(10);

fn program() -> Program {
    Program::new(env!("CARGO_BIN_EXE_quintet-p2p"))
}

#[tokio::test]
async fn it_serves_health_and_its_contract_until_sigterm() {
    let service = Service::start(&program()).await;
    service.assert_serving(&[CONTRACT]).await;
    service.assert_info(CONTRACT, "p2p").await;
    let caller = quintet_service::Service::Gateway;
    let transport = Transport::remote(caller, service.grpc_url(), DEADLINE).expect("an address");
    let client = PeerClient::new(transport);
    assert_eq!(client.peers().await, Ok(Vec::new()));
    let missing = client.local_node().await.expect_err("no node yet");
    assert_eq!(missing.kind, ErrorKind::Unimplemented);
    assert!(missing.message.contains("node key"), "{missing}");
    service.assert_ends_on_sigterm().await;
}

#[tokio::test]
async fn what_it_cannot_start_with_is_one_clear_error() {
    service::assert_refuses_a_port_in_use(&program()).await;
    service::assert_refuses_wrong_configuration(&program()).await;
}
