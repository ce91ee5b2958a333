//! Nodes that are peers of each other: they find each other, sync, follow, and come back.

mod nodes;
mod pair;
mod snap;
mod split;
mod trace;

pub(crate) use pair::Pair;

use crate::chains::{Chain, Home, imported};
use crate::fixture::{call, quintet_on, until};
use alloy_primitives::B256;
use quintet_testkit::process::{Node, Program, free_port};
use quintet_testkit::rpc::HttpClient;
use serde_json::{Value, json};

/// A one-process node with a port for peers.
pub(super) struct PeerNode {
    pub(super) home: Home,
    pub(super) node: Node,
    port: u16,
    flags: Vec<String>,
}

impl PeerNode {
    /// On an empty chain, or a whole one.
    pub(super) async fn start(chain: &Chain, has_blocks: bool, flags: &[&str]) -> Self {
        let home = Home::embedded();
        home.init(chain).await;
        if has_blocks {
            imported(&home.import(chain, &chain.file)).await;
        }
        let port = free_port();
        let flags: Vec<_> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let node = command(&home, port, &flags).start_node().await;
        Self { home, node, port, flags }
    }

    pub(super) const fn rpc(&self) -> &HttpClient {
        &self.node.rpc
    }

    /// Its URL, as it says it.
    pub(super) async fn enode(&self) -> String {
        let info = call(self.rpc(), "admin_nodeInfo", json!([])).await;
        info["enode"].as_str().expect("a URL").to_owned()
    }

    /// Its peers, once there are so many.
    pub(super) async fn peers(&self, count: usize) -> Vec<Value> {
        until(&format!("{count} peers"), async || {
            let peers = call(self.rpc(), "admin_peers", json!([])).await;
            let peers = peers.as_array().expect("a list");
            // A peer is one when both sides have said what they have.
            let ready = peers.iter().all(|peer| peer["protocols"]["eth"].is_object());
            (peers.len() == count && ready).then(|| peers.clone())
        })
        .await
    }

    /// Waits until its head is this block.
    pub(super) async fn reaches(&self, head: (u64, B256)) {
        let hash = head.1.to_string();
        until(&format!("block {} as the head:\n{}", head.0, self.node.process.log()), async || {
            let block = call(self.rpc(), "eth_getBlockByNumber", json!(["latest", false])).await;
            (block["hash"] == hash).then_some(())
        })
        .await;
    }

    /// Stops it in order and starts it again.
    pub(super) async fn restart(self) -> Self {
        let Self { home, node, port, flags } = self;
        node.stop().await;
        let node = command(&home, port, &flags).start_node().await;
        Self { home, node, port, flags }
    }
}

fn command(home: &Home, port: u16, flags: &[String]) -> Program {
    let modules = "admin,eth,net,txpool";
    quintet_on("node", home.path())
        .args(["--port", &port.to_string(), "--p2p.addr", "127.0.0.1", "--discovery.addr", "127.0.0.1"])
        .args(["--nat", "none", "--http", "--http.api", modules, "--ws", "--ws.api", modules])
        .args(flags)
}
