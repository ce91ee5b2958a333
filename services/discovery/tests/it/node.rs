//! A node of ours in this process: its parts, its gRPC server on a port, and a client of that.

use alloy_primitives::B256;
use futures::StreamExt as _;
use quintet_discovery::nat::Nat;
use quintet_discovery::{Discovery, DiscoveryConfig, Settings};
use quintet_discovery_api::{Candidate, DiscoveryClient, Protocol};
use quintet_enode::{Enode, IdentityArgs, NodeKey};
use quintet_service::grpc::{GrpcConfig, GrpcServer, Transport};
use quintet_service::{Context, Service};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;
use tokio::time::timeout;

pub(crate) const DEADLINE: Duration = Duration::from_mins(1);

pub(crate) struct Node {
    pub(crate) discovery: Discovery,
    pub(crate) client: DiscoveryClient,
    pub(crate) context: Context,
}

/// Settings of a node on loopback with the protocols of this text ("v4", "v5", "v4 v5") and these bootnodes.
pub(crate) fn settings(protocols: &str, bootnodes: &[String]) -> Settings {
    settings_in(None, protocols, bootnodes)
}

pub(crate) fn settings_in(datadir: Option<&Path>, protocols: &str, bootnodes: &[String]) -> Settings {
    let nodekeyhex = datadir.is_none().then(|| NodeKey::generate().to_hex());
    let node = IdentityArgs { nodekeyhex, ..IdentityArgs::default() };
    let discovery = DiscoveryConfig {
        port: Some(0),
        addr: "127.0.0.1".parse().expect("an address"),
        bootnodes: Some(bootnodes.join(",")),
        nat: Nat::None,
        v4: protocols.contains("v4"),
        v5: protocols.contains("v5"),
        dns: None,
    };
    Settings::new(&node, &discovery, datadir, None).expect("valid settings")
}

impl Node {
    pub(crate) async fn start(settings: Settings) -> Self {
        let context = Context::default();
        let discovery = Discovery::start(settings, &context).await.expect("started");
        let grpc = GrpcConfig { addr: "127.0.0.1".to_owned(), port: 0 };
        let server = GrpcServer::bind(&grpc, context.readiness.clone()).await.expect("a port");
        let url = format!("http://{}", server.local_addr().expect("bound"));
        let server = server.with(discovery.clone().into_server());
        context.supervisor.spawn("gRPC", server.serve(context.supervisor.token()));
        let transport = Transport::remote(Service::P2p, &url, DEADLINE).expect("an address");
        Self { discovery, client: DiscoveryClient::new(transport), context }
    }

    /// Ends it in order.
    pub(crate) async fn stop(self) {
        drop(self.discovery);
        self.context.supervisor.shutdown();
        self.context.supervisor.run_until_shutdown(DEADLINE).await.expect("in order");
    }

    pub(crate) fn enode(&self) -> Enode {
        self.discovery.record().to_enode().expect("an address")
    }

    pub(crate) fn id(&self) -> B256 {
        self.discovery.record().node_id()
    }

    /// Itself as a bootnode of others: a URL, and its record.
    pub(crate) fn bootnodes(&self) -> [String; 2] {
        [self.enode().to_string(), self.discovery.record().to_string()]
    }

    /// Reads candidates until all of these nodes came.
    pub(crate) async fn wait_for(&self, mut wanted: BTreeSet<B256>) -> Vec<Candidate> {
        let mut stream = self.client.candidates(None).await.expect("a stream");
        let mut all = Vec::new();
        let waiting = async {
            while !wanted.is_empty() {
                let candidate = stream.next().await.expect("no end").expect("no error");
                wanted.remove(&id_of(&candidate.node.enode));
                all.push(candidate);
            }
        };
        let waited = timeout(DEADLINE, waiting).await;
        assert!(waited.is_ok(), "{wanted:?} never came, but {all:?}");
        all
    }

    /// Looks up a node until it is found.
    pub(crate) async fn wait_for_lookup(&self, target: B256, protocol: Protocol) {
        let looking = async {
            loop {
                let found = self.client.lookup(target, protocol).await.expect("a lookup");
                if found.first().is_some_and(|node| id_of(&node.enode) == target) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(DEADLINE, looking).await.expect("found in time");
    }
}

pub(crate) fn id_of(enode: &str) -> B256 {
    enode.parse::<Enode>().expect("an enode").node_id()
}
