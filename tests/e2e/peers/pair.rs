//! A chain and its p2p as two processes, without anything else: a node that can be given blocks.

use super::split::client_of;
use crate::fixture::until;
use quintet_chain_api::ChainClient;
use quintet_p2p_api::PeerClient;
use quintet_service::Service;
use quintet_service::grpc::Transport;
use quintet_testkit::process::{Process, Program, free_port};
use std::path::Path;
use std::time::Duration;

pub(crate) struct Pair {
    pub(crate) chain: ChainClient,
    pub(crate) peers: PeerClient,
    _processes: [Process; 2],
}

impl Pair {
    /// On the chain in a data directory, or the one that the flags choose.
    pub(crate) fn start(datadir: &Path, chain_flags: &[&str], p2p_flags: &[&str]) -> Self {
        let binaries = Path::new(env!("CARGO_BIN_EXE_quintet")).parent().expect("a folder");
        let [chain_port, p2p_port, peers_port] = [(); 3].map(|()| free_port());
        let program = |name: &str, port: u16| {
            let program = Program::new(binaries.join(name)).args(["--grpc.addr", "127.0.0.1"]);
            program.args(["--grpc.port", &port.to_string()]).arg("--datadir").arg(datadir)
        };
        let url = format!("http://127.0.0.1:{chain_port}");
        let chain = program("quintet-chain", chain_port).args(chain_flags.iter().copied()).start();
        let p2p = program("quintet-p2p", p2p_port)
            .args(["--chain.url", &url, "--p2p.addr", "127.0.0.1", "--port", &peers_port.to_string()])
            .args(p2p_flags.iter().copied())
            .start();
        let transport = Transport::remote(Service::Gateway, &url, Duration::from_secs(10));
        Self {
            chain: ChainClient::new(transport.expect("an address")),
            peers: client_of(&format!("http://127.0.0.1:{p2p_port}")),
            _processes: [chain, p2p],
        }
    }

    /// The URL under which peers know it.
    pub(crate) async fn enode(&self) -> String {
        until("the node's name", async || self.peers.local_node().await.ok()).await.node.enode
    }
}
