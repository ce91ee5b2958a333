//! A p2p service in the test's process, with its own scripted chain.

use crate::chain::{Chain, DEADLINE};
use alloy_primitives::B256;
use quintet_enode::{Enode, NodeKey};
use quintet_p2p::{Limits, P2p, Settings};
use quintet_p2p_api::{NodeRecord, Peer, PeerClient};
use quintet_service::grpc::Transport;
use quintet_service::{Context, Service};
use std::time::Duration;

/// Between looks at what has no event.
pub(crate) const POLL: Duration = Duration::from_millis(10);

/// Short times: a test's clock is the real one.
pub(crate) fn limits() -> Limits {
    Limits {
        handshake: Duration::from_millis(600),
        status: Duration::from_millis(600),
        local_dial_history: Duration::from_millis(50),
        reconnect: [Duration::from_millis(10), Duration::from_millis(50)],
        ..Limits::default()
    }
}

/// What a node of the tests runs with: a key of its own, any free port, no other nodes.
pub(crate) fn settings() -> Settings {
    Settings {
        key: NodeKey::generate(),
        addr: "127.0.0.1".to_owned(),
        port: 0,
        max_peers: 50,
        max_pending: 10,
        max_dialled: 16,
        discover: true,
        netrestrict: None,
        name: "Quintet/test".to_owned(),
        static_nodes: Vec::new(),
        trusted_nodes: Vec::new(),
        limits: limits(),
    }
}

/// A running p2p service. It shuts down when this is dropped.
pub(crate) struct Node {
    pub(crate) p2p: P2p,
    pub(crate) client: PeerClient,
    pub(crate) context: Context,
}

impl Node {
    /// Starts one that links to `chain`, and takes the hello from there.
    pub(crate) async fn start(settings: Settings, chain: &mut Chain) -> Self {
        Self::with_discovery(settings, chain, None).await
    }

    pub(crate) async fn with_discovery(
        settings: Settings,
        chain: &mut Chain,
        discovery: Option<Transport>,
    ) -> Self {
        let context = Context::default();
        let link = Transport::remote(Service::P2p, &chain.url(), DEADLINE).expect("an address");
        let p2p = P2p::start(settings, link, discovery, &context).await.expect("it starts");
        chain.hello().await;
        let client = PeerClient::new(Transport::local(Service::Gateway, p2p.clone().into_server()));
        let node = Self { p2p, client, context };
        node.until("it has an identity", || node.p2p.node().is_some()).await;
        node
    }

    pub(crate) fn enode(&self) -> Enode {
        self.p2p.node().expect("an identity")
    }

    pub(crate) fn id(&self) -> B256 {
        self.enode().node_id()
    }

    /// Dials another node from now on.
    pub(crate) async fn dial(&self, node: Enode) {
        self.client.add_peer(record(node)).await.expect("taken");
    }

    pub(crate) async fn peers(&self) -> Vec<Peer> {
        self.client.peers().await.expect("answered")
    }

    /// Waits until it has so many peers.
    pub(crate) async fn wait_for_peers(&self, count: usize) -> Vec<Peer> {
        let waiting = async {
            loop {
                let peers = self.peers().await;
                if peers.len() == count {
                    return peers;
                }
                tokio::time::sleep(POLL).await;
            }
        };
        let found = tokio::time::timeout(DEADLINE, waiting).await;
        found.unwrap_or_else(|_| panic!("never {count} peers"))
    }

    pub(crate) async fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let waiting = async {
            while !holds() {
                tokio::time::sleep(POLL).await;
            }
        };
        assert!(tokio::time::timeout(DEADLINE, waiting).await.is_ok(), "never: {what}");
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.context.supervisor.shutdown();
    }
}

pub(crate) fn record(node: Enode) -> NodeRecord {
    NodeRecord { enode: node.to_string(), ..NodeRecord::default() }
}
