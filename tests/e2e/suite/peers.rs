//! Peers of a deployment whose p2p has several instances behind a load balancer.

use super::deployment::Deployment;
use crate::fixture::{call, to_u64, until};
use crate::peers::Pair;
use quintet_testkit::rpc::HttpClient;
use serde_json::json;

/// Two nodes dial the deployment, and stay connected, by the same connections, while its `chain` restarts.
pub(super) async fn stay_while_chain_restarts() {
    let mut deployment = Deployment::start().await;
    let Some(enode) = deployment.enode().await else {
        println!(
            "SKIPPED: of the shapes only containers have a load balancer for peers; `peers::split` tests processes"
        );
        return deployment.end().await;
    };
    let homes = [(); 2].map(|()| tempfile::tempdir().expect("a directory"));
    let mut nodes = Vec::new();
    for home in &homes {
        let flags = ["--nodiscover", "--staticnodes", &enode];
        nodes.push(Pair::start(home.path(), &["--dev"], &flags));
    }
    let connections = async || {
        let mut found = Vec::new();
        for node in &nodes {
            let peers =
                until("a peer", async || node.peers.peers().await.ok().filter(|peers| peers.len() == 1));
            found.extend(peers.await.into_iter().map(|peer| peer.local_address));
        }
        found
    };
    let before = connections().await;
    let rpc = HttpClient::new(deployment.urls()[0].clone());
    until("both among the deployment's peers", async || {
        (to_u64(&call(&rpc, "net_peerCount", json!([])).await) == 2).then_some(())
    })
    .await;

    for part in deployment.parts().into_iter().filter(|part| part.to_string() == "chain") {
        deployment.end_part(&part, false).await;
        deployment.start_part(&part).await;
    }
    assert_eq!(connections().await, before);
    // Blocks that are made after the restart reach them.
    let head = until("a head", async || rpc.call("eth_blockNumber", json!([])).await.ok()).await;
    let wanted = to_u64(&head) + 2;
    for node in &nodes {
        until("a new block", async || (node.chain.head().await.ok()?.head.number >= wanted).then_some(()))
            .await;
    }
    drop(nodes);
    deployment.end().await;
}
