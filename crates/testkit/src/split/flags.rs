//! The command line of each service of a split node.

use super::{Peer, Service, Split};
use crate::process::Program;
use alloy_primitives::{Address, address};

/// Who gets the fees.
pub const ETHERBASE: Address = address!("c0ffee00000000000000000000000000000000ee");
/// Modules that the gateways offer.
const MODULES: &str = "eth,net,txpool,web3";

pub(super) fn program(split: &Split, service: Service) -> Program {
    let program = Program::new(split.options.binaries.join(service.binary()));
    let program = common(split, service, program);
    match service {
        Service::Chain => chain(split, program),
        Service::Discovery => discovery(split, program),
        Service::P2p(_) => p2p(split, service, program),
        Service::Miner(_) => miner(split, service, program),
        Service::Gateway(_) => gateway(split, service, program),
    }
}

/// geth's level of logs; `QUINTET_E2E_VERBOSITY` says more than usual.
fn verbosity() -> String {
    std::env::var("QUINTET_E2E_VERBOSITY").unwrap_or_else(|_| "3".to_owned())
}

fn common(split: &Split, service: Service, program: Program) -> Program {
    let member = split.member(service);
    let program = program.args(["--grpc.addr", "127.0.0.1", "--grpc.port", &member.grpc.to_string()]).args([
        "--admin.addr",
        "127.0.0.1",
        "--admin.port",
        &member.admin.to_string(),
    ]);
    let program = program.args(["--verbosity", &verbosity()]);
    match &split.options.otlp {
        None => program,
        Some(endpoint) => program
            .args(["--log.format", "json", "--log.filter", "warn,quintet=debug"])
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.clone())
            .env("OTEL_RESOURCE_ATTRIBUTES", format!("service.instance.id={service}"))
            .env("OTEL_TRACES_SAMPLER", "always_on")
            .env("OTEL_BSP_SCHEDULE_DELAY", "50"),
    }
}

/// The address of a part behind the service's link to it.
fn behind(split: &Split, service: Service, peer: Peer) -> String {
    format!("127.0.0.1:{}", split.link(service, peer).port())
}

fn store(split: &Split, service: Service, user: &str) -> String {
    let database = &split.member(service).database;
    format!("postgres://{user}@{}/{database}", behind(split, service, Peer::Postgres))
}

fn redis(split: &Split, service: Service) -> [String; 2] {
    ["--redis".to_owned(), format!("redis://{}/0", behind(split, service, Peer::Redis))]
}

fn url(split: &Split, service: Service, flag: &str, peer: Peer) -> [String; 2] {
    [flag.to_owned(), format!("http://{}", behind(split, service, peer))]
}

/// All instances, the first over its link.
fn p2p_urls(split: &Split, service: Service) -> String {
    let others = (1..split.options.p2p).map(|index| split.grpc(Service::P2p(index)));
    let first = format!("http://{}", behind(split, service, Peer::P2p));
    std::iter::once(first).chain(others).collect::<Vec<_>>().join(",")
}

fn chain(split: &Split, program: Program) -> Program {
    let store = store(split, Service::Chain, "quintet");
    program
        .args(["--store", &store])
        .arg("--datadir")
        .arg(split.datadir())
        .args(redis(split, Service::Chain))
        .args(&split.options.network)
}

/// What finds peers and what holds them have one key.
fn node_key(split: &Split, program: Program) -> Program {
    program.arg("--nodekey").arg(split.datadir().join("nodekey"))
}

/// It announces the first instance of p2p.
fn discovery(split: &Split, program: Program) -> Program {
    let port = split.peer_port(0).to_string();
    let program = program.args(["--port", &port, "--discovery.addr", "127.0.0.1", "--nat", "none"]);
    node_key(split, program).arg("--datadir").arg(split.datadir())
}

fn p2p(split: &Split, service: Service, program: Program) -> Program {
    let port = split.member(service).rlpx.to_string();
    let program = program
        .args(url(split, service, "--chain.url", Peer::Chain))
        .args(url(split, service, "--discovery.url", Peer::Discovery))
        .args(["--p2p.addr", "127.0.0.1", "--port", &port]);
    node_key(split, program)
}

fn miner(split: &Split, service: Service, program: Program) -> Program {
    program
        .args(url(split, service, "--chain.url", Peer::Chain))
        .args(redis(split, service))
        .args(["--mine", "--miner.etherbase", &ETHERBASE.to_string()])
        .args(["--block-time", &split.options.block_time.to_string()])
}

fn gateway(split: &Split, service: Service, program: Program) -> Program {
    let port = split.member(service).http.to_string();
    program
        .arg("--dev")
        .args(["--store", &store(split, service, "gateway")])
        .args(redis(split, service))
        .args(url(split, service, "--chain.url", Peer::Chain))
        .args(url(split, service, "--miner.url", Peer::Miner))
        .args(["--p2p.url", &p2p_urls(split, service)])
        .args(["--http", "--http.addr", "127.0.0.1", "--http.port", &port, "--http.api", MODULES])
        .args(["--ws", "--ws.addr", "127.0.0.1", "--ws.port", &port, "--ws.api", MODULES])
}
