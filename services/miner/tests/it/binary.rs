//! The binary: starts without a chain, says so, mines when the chain comes, and ends in order.

use crate::scripted_chain::ScriptedChain;
use quintet_miner_api::MinerClient;
use quintet_proto::chain::v1::chain_service_server::ChainServiceServer;
use quintet_service::grpc::{GrpcConfig, GrpcServer, Transport};
use quintet_service::{Readiness, Service};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

/// Ends the process with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("bound").port()
}

fn remote(port: u16) -> Transport {
    let uri = format!("http://127.0.0.1:{port}");
    Transport::remote(Service::Gateway, &uri, Duration::from_secs(5)).expect("an address")
}

async fn wait_for_health(port: u16, wanted: ServingStatus) {
    let waiting = async {
        loop {
            let service = "quintet.miner.v1.MinerService".to_owned();
            let answer = HealthClient::new(remote(port)).check(HealthCheckRequest { service }).await;
            if answer.is_ok_and(|answer| answer.into_inner().status() == wanted) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(20), waiting).await.is_ok(), "never {wanted:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn waits_for_the_chain_mines_and_ends_in_order() {
    let (port, chain_port) = (free_port(), free_port());
    let child = Command::new(env!("CARGO_BIN_EXE_quintet-miner"))
        .args(["--grpc.port", &port.to_string(), "--chain.url", &format!("http://127.0.0.1:{chain_port}")])
        .args(["--mine", "--miner.etherbase", "0x71562b71999873db5b286df957af199ec94617f7"])
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary");
    let mut process = Process(child);
    wait_for_health(port, ServingStatus::NotServing).await;
    assert!(MinerClient::new(remote(port)).status().await.expect("status").sealing);

    let chain = ScriptedChain::new();
    let config = GrpcConfig { addr: "127.0.0.1".to_owned(), port: chain_port };
    let server = GrpcServer::bind(&config, Readiness::new()).await.expect("bound");
    let token = CancellationToken::new();
    let _stop = token.clone().drop_guard();
    tokio::spawn(server.with(ChainServiceServer::new(chain.clone())).serve(token));
    wait_for_health(port, ServingStatus::Serving).await;
    chain.wait_until("first attempt", |chain| !chain.builds().is_empty()).await;
    chain.add_transaction().await;
    chain.wait_for_blocks(1).await;

    let pid = process.0.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill").success());
    let status = tokio::task::spawn_blocking(move || process.0.wait().expect("ended")).await.expect("joined");
    assert!(status.success(), "{status}");
}

#[test]
fn a_wrong_configuration_is_named_and_ends_it() {
    for (flags, text) in [
        (["--miner.sealer", "clique"], "needs the clique engine"),
        (["--chain.url", "nonsense"], "--chain.url"),
        (["--mine", "--chain.url=http://127.0.0.1:1"], "--miner.etherbase"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_quintet-miner"))
            .env("QUINTET_CHAIN_URL", "http://127.0.0.1:1")
            .args(flags)
            .output()
            .expect("the binary");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && stderr.contains(text), "{flags:?}: {stderr}");
    }
}
