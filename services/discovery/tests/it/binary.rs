//! The binary as its users meet it: started from its configuration, asked over a socket, stopped by a signal.

use quintet_discovery_api::{DiscoveryClient, Protocol};
use quintet_enode::{NodeKey, Record};
use quintet_service::grpc::Transport;
use quintet_testkit::process::Program;
use quintet_testkit::service::{self, Service};
use std::net::UdpSocket;
use std::time::Duration;

const CONTRACT: &str = "quintet.discovery.v1.DiscoveryService";
const DEADLINE: Duration = Duration::from_secs(30);

fn program() -> Program {
    let program = Program::new(env!("CARGO_BIN_EXE_quintet-discovery"));
    program.args(["--nat", "none", "--discovery.addr", "127.0.0.1", "--discovery.port", "0"])
}

fn client(service: &Service) -> DiscoveryClient {
    let caller = quintet_service::Service::Gateway;
    DiscoveryClient::new(Transport::remote(caller, service.grpc_url(), DEADLINE).expect("an address"))
}

#[tokio::test]
async fn it_serves_health_and_its_contract_until_sigterm() {
    let folder = tempfile::tempdir().expect("a folder");
    let datadir = folder.path().to_str().expect("text");
    let first = Service::start(&program().args(["--datadir", datadir, "--port", "30399"])).await;
    first.assert_serving(&[CONTRACT]).await;
    first.assert_info(CONTRACT, "discovery").await;
    let own = client(&first).local_node().await.expect("a record");
    let record = Record::decode(&own.record.enr).expect("a record");
    let key = NodeKey::load(&folder.path().join("nodekey")).expect("the key file");
    assert_eq!((record.public_key(), record.tcp(), record.seq()), (key.public(), Some(30_399), own.sequence));

    let second = Service::start(&program().args(["--bootnodes", &own.record.enode])).await;
    let looking = async {
        for protocol in [Protocol::Discv4, Protocol::Discv5] {
            while client(&second).lookup(record.node_id(), protocol).await.expect("a lookup").is_empty() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    };
    tokio::time::timeout(DEADLINE, looking).await.expect("found in time");
    let (_, metrics) = second.admin("/metrics").await;
    assert!(
        metrics.contains("quintet_discovery_received_packets_total{packet=\"pong\",outcome=\"handled\"}"),
        "{metrics}"
    );
    second.assert_ends_on_sigterm().await;
    first.assert_ends_on_sigterm().await;
    let database = std::fs::read_to_string(folder.path().join("nodes")).expect("the database");
    assert_eq!(database.lines().count(), 2, "{database}");
}

#[tokio::test]
async fn what_it_cannot_start_with_is_one_clear_error() {
    service::assert_refuses_a_port_in_use(&program()).await;
    service::assert_refuses_wrong_configuration(&program()).await;
    let taken = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound");
    let program =
        Program::new(env!("CARGO_BIN_EXE_quintet-discovery")).args(["--nat", "none", "--grpc.port", "0"]);
    let with_port = program.clone().args([
        "--discovery.addr",
        "127.0.0.1",
        "--discovery.port",
        &address.port().to_string(),
    ]);
    let says = format!("Fatal: listen udp {address}: bind: address already in use");
    service::assert_refuses(&with_port, &says).await;
    service::assert_refuses(
        &program.args(["--genesis", "/nowhere/genesis.json"]),
        "cannot read /nowhere/genesis.json",
    )
    .await;
}
