//! Two services of ours, each with a scripted chain, over loopback.

use crate::chain::{Chain, DEADLINE, status_at};
use crate::node::{Node, record, settings};
use crate::wire::Wire;
use futures::StreamExt;
use quintet_chain_api::{LinkCommand, LinkFrame, WireProtocol};
use quintet_enode::Enode;
use quintet_eth_wire::{BlockRange, EthMessage, EthVersion};
use quintet_p2p::Settings;
use quintet_p2p_api::PeerEventKind;
use std::time::Duration;
use tokio::time::timeout;

/// Two nodes, of which the first dialled the second, and what their chains have heard.
struct Pair {
    chains: [Chain; 2],
    nodes: [Node; 2],
}

async fn pair() -> Pair {
    let mut chains = [Chain::start().await, Chain::start().await];
    let [one, two] = &mut chains;
    let nodes = [Node::start(settings(), one).await, Node::start(settings(), two).await];
    nodes[0].dial(nodes[1].enode()).await;
    let (up, of) = (one.up().await, two.up().await);
    assert_eq!((up.peer, up.inbound), (nodes[1].id(), false));
    assert_eq!((of.peer, of.inbound), (nodes[0].id(), true));
    assert_eq!(up.protocols, [WireProtocol::Eth(69), WireProtocol::Snap(1)]);
    assert_eq!(of.protocols, up.protocols);
    assert_eq!(up.name, "Quintet/test");
    Pair { chains, nodes }
}

#[tokio::test]
async fn two_nodes_connect_and_exchange_messages() {
    let Pair { mut chains, nodes } = pair().await;
    let mut events = nodes[1].client.events().await.expect("a stream");
    // A request and its answer, and a large message.
    chains[0].send(nodes[1].id(), 3, vec![0xc1, 0x01]);
    let request = chains[1].message().await;
    assert_eq!((request.peer, request.code), (nodes[0].id(), 3));
    assert_eq!((request.protocol, request.payload.as_ref()), (WireProtocol::Eth(69), &[0xc1, 0x01][..]));
    let large: Vec<u8> = (0..2_000_000_u32).flat_map(u32::to_le_bytes).collect();
    chains[1].send(nodes[0].id(), 4, large.clone());
    let answer = chains[0].message().await;
    assert!(answer.code == 4 && answer.payload.as_ref() == large, "{}", answer.payload.len());
    for expected in ["eth/69 3 2 received", "eth/69 4 8000000 sent"] {
        let event = timeout(DEADLINE, events.next()).await.expect("in time").expect("a stream");
        let text = match event.expect("an event").kind {
            PeerEventKind::Received(m) => format!("{} {} {} received", m.capability, m.code, m.size),
            PeerEventKind::Sent(m) => format!("{} {} {} sent", m.capability, m.code, m.size),
            other => panic!("{other:?}"),
        };
        assert_eq!(text, expected);
    }
    let [peers, back] = [nodes[0].peers().await, nodes[1].peers().await];
    let (peer, back) = (&peers[0], &back[0]);
    assert!(peer.static_node && !peer.inbound && !back.static_node && back.inbound);
    assert_eq!(peer.node, record(nodes[1].enode()));
    assert_eq!(
        (peer.local_address.as_str(), &peer.remote_address),
        (back.remote_address.as_str(), &back.local_address)
    );
    let mut spoken = peer.capabilities.clone();
    spoken.sort_unstable();
    let eths = ["eth/63", "eth/66", "eth/67", "eth/68", "eth/69", "snap/1"];
    assert_eq!(spoken, eths, "all that it can");
    let eth = peer.eth.expect("past the status");
    assert_eq!((eth.version, eth.total_difficulty, eth.head), (69, None, status_at(0).head));

    // What it tells of its chain is seen.
    let latest = status_at(9).head;
    let range = BlockRange { earliest: 0, latest: latest.number, latest_hash: latest.hash };
    let update = EthMessage::BlockRangeUpdate(range);
    chains[1].send(nodes[0].id(), 17, update.encode(EthVersion::Eth69).to_vec());
    assert_eq!(chains[0].message().await.code, 17);
    assert_eq!(nodes[0].peers().await[0].eth.expect("past the status").head, latest);
    let event = timeout(DEADLINE, events.next()).await.expect("in time").expect("a stream");
    assert!(matches!(event.expect("an event").kind, PeerEventKind::Sent(update) if update.code == 17));

    // The other chain wants it gone; it is told so, and dials no more once it is no static node.
    nodes[0].client.remove_peer(record(nodes[1].enode())).await.expect("taken");
    assert_eq!(chains[0].down().await, (nodes[1].id(), 0));
    assert_eq!(chains[1].down().await, (nodes[0].id(), 0));
    let event = timeout(DEADLINE, events.next()).await.expect("in time").expect("a stream");
    assert_eq!(event.expect("an event").kind, PeerEventKind::Dropped(0));
    assert_eq!(chains[0].frame_within(Duration::from_millis(300)).await, None);
}

#[tokio::test]
async fn peers_outlive_a_restart_of_chain() {
    let Pair { mut chains, nodes } = pair().await;
    chains[0].die().await;
    // The other side goes on asking, and answering what the dead chain asked.
    chains[1].send(nodes[0].id(), 3, vec![0xc1, 0x07]);
    chains[1].send(nodes[0].id(), 4, vec![0xc1, 0x08]);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!((nodes[0].peers().await.len(), nodes[1].peers().await.len()), (1, 1));

    chains[0].set_status(status_at(5));
    chains[0].serve().await;
    let hello = chains[0].hello().await;
    assert_eq!(hello.held_identity, Some(0));
    assert_eq!(chains[0].up().await.peer, nodes[1].id());
    let request = chains[0].message().await;
    assert_eq!((request.code, request.payload.as_ref()), (3, &[0xc1, 0x07][..]));
    chains[0].send(nodes[1].id(), 4, vec![0xc1, 0x09]);
    assert_eq!(chains[1].message().await.payload.as_ref(), [0xc1, 0x09]);
    assert_eq!(
        chains[0].frame_within(Duration::from_millis(100)).await,
        None,
        "answers to the dead are dropped"
    );
    assert_eq!((nodes[0].peers().await.len(), nodes[1].peers().await.len()), (1, 1));
}

#[tokio::test]
async fn who_goes_is_redialled_and_the_next_status_is_the_newest() {
    let Pair { mut chains, nodes } = pair().await;
    chains[0].set_status(status_at(1));
    // It is static at the other side, which dials again.
    chains[1].command(LinkCommand::Disconnect { peer: nodes[0].id(), reason: 3 });
    assert_eq!(chains[0].down().await, (nodes[1].id(), 3));
    assert_eq!(chains[1].down().await, (nodes[0].id(), 3));
    assert_eq!(chains[0].up().await.peer, nodes[1].id());
    assert_eq!(chains[1].up().await.peer, nodes[0].id());
    let eth = nodes[1].peers().await[0].eth.expect("past the status");
    assert_eq!(eth.head, status_at(1).head);

    // Who shuts down says so.
    let [_, two] = nodes;
    drop(two);
    assert_eq!(chains[0].down().await.1, 8);
}

#[tokio::test]
async fn one_chain_serves_several_instances_of_one_key() {
    let mut chain = Chain::start().await;
    let shared = settings();
    let first = Node::start(shared.clone(), &mut chain).await;
    let second = Node::start(shared.clone(), &mut chain).await;
    assert_eq!(chain.identities(), [0, 1]);
    assert_eq!(first.enode().public_key, shared.key.public());
    assert_eq!(second.enode().public_key, shared.key.derive(1).public());
    // They are two nodes, which may be peers.
    second.dial(first.enode()).await;
    let ids = [chain.up().await.peer, chain.up().await.peer];
    assert!(ids.contains(&first.id()) && ids.contains(&second.id()));
    assert_eq!(first.client.local_node().await.expect("a node").id, first.id());

    // What is sent to the key that they share may reach either: the second answers under it as well as under its own.
    let mut wires = Vec::new();
    for public_key in [shared.key.public(), second.enode().public_key] {
        let mut wire = Wire::connect(&Enode { public_key, ..second.enode() }).await;
        assert_eq!(chain.up().await.peer, wire.id());
        wire.ping().await;
        wires.push(wire);
    }
    assert_eq!(second.peers().await.len(), 3);
}

#[tokio::test]
async fn an_identity_that_another_instance_took_is_given_up() {
    let Pair { mut chains, nodes } = pair().await;
    let old = nodes[0].enode();
    chains[0].die().await;
    chains[0].take_identity(0);
    chains[0].serve().await;
    assert_eq!(chains[0].hello().await.held_identity, Some(0));
    assert_eq!(chains[1].down().await, (old.node_id(), 8));
    // As the node that it is now it is dialled, and dials, again.
    let again = chains[1].up().await;
    assert_ne!(again.peer, old.node_id());
    assert_eq!((again.peer, chains[0].identities()), (nodes[0].id(), vec![0, 1]));
}

#[tokio::test]
async fn trusted_peers_come_beyond_the_limit() {
    let mut chain = Chain::start().await;
    let full = Node::start(Settings { max_peers: 2, max_dialled: 1, ..settings() }, &mut chain).await;
    let mut chains = Vec::new();
    let mut nodes = Vec::new();
    for _ in 0..3 {
        let mut chain = Chain::start().await;
        nodes.push(Node::start(settings(), &mut chain).await);
        chains.push(chain);
    }
    // One place is for those who dial; the second who does waits.
    nodes[0].dial(full.enode()).await;
    assert_eq!(chain.up().await.peer, nodes[0].id());
    nodes[1].dial(full.enode()).await;
    assert_eq!(chain.frame_within(Duration::from_millis(300)).await, None);
    full.dial(nodes[2].enode()).await;
    assert_eq!(chain.up().await.peer, nodes[2].id());
    full.client.add_trusted_peer(record(nodes[1].enode())).await.expect("taken");
    let up = chain.up().await;
    assert_eq!((up.peer, up.trusted), (nodes[1].id(), true));
    assert_eq!(full.wait_for_peers(3).await.iter().filter(|peer| peer.trusted).count(), 1);
    full.client.remove_trusted_peer(record(nodes[1].enode())).await.expect("taken");
    assert_eq!(full.peers().await.iter().filter(|peer| peer.trusted).count(), 0);
}

#[tokio::test]
async fn two_nodes_that_dial_each_other_have_one_session() {
    let mut chains = [Chain::start().await, Chain::start().await];
    let [one, two] = &mut chains;
    let nodes = [Node::start(settings(), one).await, Node::start(settings(), two).await];
    for round in 0..3 {
        nodes[0].dial(nodes[1].enode()).await;
        nodes[1].dial(nodes[0].enode()).await;
        let (peers, back) = (nodes[0].wait_for_peers(1).await, nodes[1].wait_for_peers(1).await);
        assert_eq!((peers[0].id, back[0].id), (nodes[1].id(), nodes[0].id()), "round {round}");
        nodes[0].client.remove_peer(record(nodes[1].enode())).await.expect("taken");
        nodes[1].client.remove_peer(record(nodes[0].enode())).await.expect("taken");
        nodes[0].wait_for_peers(0).await;
        nodes[1].wait_for_peers(0).await;
    }
    // What each chain heard is a peer that comes and goes, once at a time.
    let mut up = 0;
    while let Some(frame) = chains[0].frame_within(Duration::from_millis(200)).await {
        match frame {
            LinkFrame::Up(_) => up += 1,
            LinkFrame::Down { .. } => up -= 1,
            other => panic!("{other:?}"),
        }
        assert!((0..=1).contains(&up));
    }
    assert_eq!(up, 0);
}
