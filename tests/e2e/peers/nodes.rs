//! Nodes of one process each.

use super::PeerNode;
use crate::chains::Chain;
use crate::fixture::{call, to_u64, until};
use serde_json::json;

/// One node has a chain, the other is told of it as a bootnode only.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_found_and_synced_from() {
    let Some(chain) = Chain::clique() else { return };
    let full = PeerNode::start(&chain, true, &["--identity", "full"]).await;
    let enode = full.enode().await;
    let empty = PeerNode::start(&chain, false, &["--bootnodes", &enode]).await;
    empty.reaches(chain.head).await;

    let peers = empty.peers(1).await;
    let peer = &peers[0];
    // Whoever was dialled knows the other by the port of that connection only.
    let key = |url: &str| url.split('@').next().map(str::to_owned);
    assert_eq!(peer["enode"].as_str().and_then(key), key(&enode), "{peer}");
    assert_eq!(peer["network"]["static"], false, "{peer}");
    assert!(peer["name"].as_str().is_some_and(|name| name.starts_with("Quintet/full/v")), "{peer}");
    assert!(peer["caps"].as_array().is_some_and(|caps| caps.contains(&json!("eth/69"))), "{peer}");
    let back = full.peers(1).await;
    assert!(peer["network"]["inbound"] != back[0]["network"]["inbound"], "{peer} {back:?}");
    assert_eq!(to_u64(&call(full.rpc(), "net_peerCount", json!([])).await), 1);
    assert_eq!(call(full.rpc(), "net_listening", json!([])).await, true);
    assert_eq!(call(empty.rpc(), "eth_syncing", json!([])).await, false);

    let info = call(empty.rpc(), "admin_nodeInfo", json!([])).await;
    assert_eq!(info["protocols"]["eth"]["head"], chain.head.1.to_string(), "{info}");
    assert_eq!(back[0]["id"], info["id"]);
    let datadir = call(empty.rpc(), "admin_datadir", json!([])).await;
    assert_eq!(datadir.as_str(), empty.home.path().to_str());

    // What it learned is there after a restart, and so is the node's name.
    let empty = empty.restart().await;
    empty.peers(1).await;
    assert_eq!(call(empty.rpc(), "admin_nodeInfo", json!([])).await["enode"], info["enode"]);
}

/// Peers are added and removed at run time, and those who listen are told.
#[tokio::test(flavor = "multi_thread")]
async fn operators_choose_peers() {
    let Some(chain) = Chain::clique() else { return };
    let alone = ["--nodiscover"];
    let (one, other) =
        (PeerNode::start(&chain, false, &alone).await, PeerNode::start(&chain, true, &alone).await);
    let enode = other.enode().await;
    let mut ws = one.node.ws().await;
    let subscription = ws.call("admin_subscribe", json!(["peerEvents"])).await.expect("subscribed");
    let subscription = subscription.as_str().expect("an id").to_owned();
    let missing = ws.call("admin_subscribe", json!(["blocks"])).await.expect_err("no such").rpc();
    assert_eq!(
        (missing.code, missing.message.as_str()),
        (-32601, "no \"blocks\" subscription in admin namespace")
    );

    assert_eq!(call(one.rpc(), "admin_addPeer", json!([enode])).await, true);
    let peers = one.peers(1).await;
    assert_eq!(peers[0]["network"]["static"], true, "{peers:?}");
    one.reaches(chain.head).await;
    let mut seen = Vec::new();
    while !["add", "msgsend", "msgrecv"].iter().all(|kind| seen.iter().any(|seen| seen == kind)) {
        let event = ws.next(&subscription).await.expect("an event");
        assert_eq!(event["peer"], peers[0]["id"], "{event}");
        seen.push(event["type"].as_str().expect("a type").to_owned());
    }

    assert_eq!(call(one.rpc(), "admin_addTrustedPeer", json!([enode])).await, true);
    until("a trusted peer", async || (one.peers(1).await[0]["network"]["trusted"] == true).then_some(()))
        .await;
    assert_eq!(call(one.rpc(), "admin_removeTrustedPeer", json!([enode])).await, true);
    assert_eq!(call(one.rpc(), "admin_removePeer", json!([enode])).await, true);
    one.peers(0).await;
    loop {
        let event = ws.next(&subscription).await.expect("an event");
        if event["type"] == "drop" {
            assert_eq!(event["error"], "disconnect requested", "{event}");
            break;
        }
    }
    let refused =
        one.rpc().call("admin_addPeer", json!(["enode://00@127.0.0.1:1"])).await.expect_err("no node").rpc();
    assert_eq!(refused.message, "invalid enode: invalid public key (wrong length, want 128 hex chars)");
}
