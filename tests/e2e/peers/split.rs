//! Several instances of p2p on one chain.

use super::PeerNode;
use crate::chains::Chain;
use crate::fixture::{call, to_u64, until};
use quintet_p2p_api::PeerClient;
use quintet_service::Service as Caller;
use quintet_service::grpc::Transport;
use quintet_testkit::split::{Options, Service, Split};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

/// A client of the p2p service at an address.
pub(super) fn client_of(url: &str) -> PeerClient {
    let transport = Transport::remote(Caller::Gateway, url, Duration::from_secs(10));
    PeerClient::new(transport.expect("an address"))
}

/// A client of an instance of p2p.
pub(super) fn peers_of(split: &Split, instance: usize) -> PeerClient {
    client_of(&split.grpc(Service::P2p(instance)))
}

/// The URL under which an instance is known to peers.
async fn enode(split: &Split, instance: usize) -> String {
    let client = peers_of(split, instance);
    until("the instance's name", async || client.local_node().await.ok()).await.node.enode
}

/// Where the node sees its peers' connections: they are the same as long as these are.
fn connections(peers: &[Value]) -> BTreeSet<String> {
    peers.iter().map(|peer| peer["network"]["localAddress"].to_string()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_of_two_instances_stay_while_chain_restarts() {
    let Some(chain) = Chain::clique() else { return };
    let genesis = chain.genesis().and_then(|path| path.to_str()).expect("a genesis file");
    let network = vec!["--genesis".to_owned(), genesis.to_owned()];
    let options =
        Options { p2p: 2, miners: 0, gateways: 1, network, ..Options::beside(env!("CARGO_BIN_EXE_quintet")) };
    let mut split = Split::start(options).await;
    // A node of its own for each instance, which dials it.
    let enodes = [enode(&split, 0).await, enode(&split, 1).await];
    assert_eq!(enodes.iter().collect::<BTreeSet<_>>().len(), 2, "two nodes to the world: {enodes:?}");
    let first = PeerNode::start(&chain, true, &["--nodiscover", "--staticnodes", &enodes[0]]).await;
    let second = PeerNode::start(&chain, false, &["--nodiscover", "--staticnodes", &enodes[1]]).await;
    // Blocks go from the one over the split node to the other.
    second.reaches(chain.head).await;
    let count = until("both peers", async || {
        let count = to_u64(&call(&split.rpc(0), "net_peerCount", json!([])).await);
        (count == 2).then_some(count)
    })
    .await;
    assert_eq!(count, 2);

    let (before, after) = (first.peers(1).await, second.peers(1).await);
    split.restart(Service::Chain).await;
    for instance in [Service::P2p(0), Service::P2p(1)] {
        split.wait_ready(instance).await;
    }
    assert_eq!(connections(&first.peers(1).await), connections(&before));
    assert_eq!(connections(&second.peers(1).await), connections(&after));
    split.stop_all().await;
}
