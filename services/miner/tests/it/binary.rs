//! The binary: starts without a chain, says so, mines when the chain comes, and ends in order.

use crate::scripted_chain::ScriptedChain;
use quintet_miner_api::MinerClient;
use quintet_proto::chain::v1::chain_service_server::ChainServiceServer;
use quintet_service::Readiness;
use quintet_service::grpc::{GrpcConfig, GrpcServer, Transport};
use quintet_testkit::process::{Program, free_port};
use quintet_testkit::service::{self, Service};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const CONTRACT: &str = "quintet.miner.v1.MinerService";
const DEADLINE: Duration = Duration::from_secs(5);

/// The binary, with a chain service at this port.
fn program(chain_port: u16) -> Program {
    Program::new(env!("CARGO_BIN_EXE_quintet-miner"))
        .env("QUINTET_CHAIN_URL", format!("http://127.0.0.1:{chain_port}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn waits_for_the_chain_mines_and_ends_in_order() {
    let chain_port = free_port();
    let etherbase = "0x71562b71999873db5b286df957af199ec94617f7";
    let service = Service::start(&program(chain_port).args(["--mine", "--miner.etherbase", etherbase])).await;
    let report = service.assert_not_ready(&[CONTRACT]).await;
    assert!(report.contains("[-]chain failed: "), "{report}");
    let caller = quintet_service::Service::Gateway;
    let transport = Transport::remote(caller, service.grpc_url(), DEADLINE).expect("an address");
    assert!(MinerClient::new(transport).status().await.expect("status").sealing);

    let chain = ScriptedChain::new();
    let config = GrpcConfig { addr: "127.0.0.1".to_owned(), port: chain_port };
    let server = GrpcServer::bind(&config, Readiness::new()).await.expect("bound");
    let token = CancellationToken::new();
    let _stop = token.clone().drop_guard();
    tokio::spawn(server.with(ChainServiceServer::new(chain.clone())).serve(token));
    service.assert_serving(&[CONTRACT]).await;
    service.assert_info(CONTRACT, "miner").await;
    chain.wait_until("first attempt", |chain| !chain.builds().is_empty()).await;
    chain.add_transaction().await;
    chain.wait_for_blocks(1).await;
    service.assert_ends_on_sigterm().await;
}

#[tokio::test]
async fn what_it_cannot_start_with_is_one_clear_error() {
    let program = program(1);
    service::assert_refuses_a_port_in_use(&program).await;
    service::assert_refuses_wrong_configuration(&program).await;
    for (flags, says) in [
        (&["--miner.sealer", "clique"][..], "needs the clique engine"),
        (&["--chain.url", "nonsense"], "--chain.url"),
        (&["--mine"], "--miner.etherbase"),
    ] {
        service::assert_refuses(&program.clone().args(flags.iter().copied()), says).await;
    }
}
