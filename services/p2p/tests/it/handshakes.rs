//! Who becomes a peer, and what those are told who do not.

use crate::chain::{Chain, DEADLINE, status_at};
use crate::node::{Node, POLL, limits, settings};
use crate::wire::Wire;
use alloy_primitives::B256;
use quintet_chain_api::{LinkStatus, WireProtocol};
use quintet_enode::{Enode, NodeKey};
use quintet_eth_wire::EthVersion;
use quintet_p2p::{Limits, Settings};
use quintet_rlpx::DisconnectReason;
use quintet_rlpx::base::HELLO;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::time::timeout;

#[tokio::test]
async fn every_version_of_eth_becomes_a_peer() {
    let mut chain = Chain::at(status_at(1_150_000)).await;
    let node = Node::start(settings(), &mut chain).await;
    for (version, number) in [(63, 63), (66, 66), (67, 67), (68, 68), (69, 69)] {
        let mut wire = Wire::dial(&node.enode()).await;
        // Versions that nobody speaks, and protocols that nobody knows, do no harm.
        let hello = wire.hello(&[("eth", 62), ("eth", version), ("eth", 70), ("les", 4), ("snap", 1)]);
        let theirs = wire.greet_with(hello).await;
        assert_eq!(theirs.client, "Quintet/test");
        let version = EthVersion::from_number(version).expect("known");
        let said = wire.exchange(version, status_at(1_150_000)).await;
        assert_eq!(said, crate::wire::status(version, status_at(1_150_000)));
        let up = chain.up().await;
        assert_eq!((up.peer, up.inbound), (wire.id(), true));
        assert_eq!(up.status, crate::wire::status(version, status_at(1_150_000)).encode());
        // `snap` needs the request ids that `eth` has from 66 on.
        let with_snap = [WireProtocol::Eth(number), WireProtocol::Snap(1)];
        assert_eq!(up.protocols, if number < 66 { &with_snap[..1] } else { &with_snap });
        wire.ping().await;
        let id = wire.id();
        drop(wire);
        assert_eq!(chain.down().await.0, id);
    }
}

#[tokio::test]
async fn without_compression_where_the_base_protocol_is_old() {
    let mut chain = Chain::start().await;
    let node = Node::start(settings(), &mut chain).await;
    let mut wire = Wire::dial(&node.enode()).await;
    let mut hello = wire.hello(&[("eth", 63)]);
    hello.version = 4;
    wire.greet_with(hello).await;
    wire.exchange(EthVersion::Eth63, status_at(0)).await;
    assert_eq!(chain.up().await.peer, wire.id());
    wire.ping().await;
}

#[tokio::test]
async fn other_networks_chains_and_forks_are_left() {
    let mut chain = Chain::at(status_at(7_987_396)).await;
    let node = Node::start(settings(), &mut chain).await;
    let ours = status_at(7_987_396);
    let cases = [
        LinkStatus { network_id: 5, ..ours },
        LinkStatus { genesis: B256::repeat_byte(5), ..ours },
        // They are on our chain, and know of no fork at a block that we have passed (EIP-2124).
        LinkStatus { fork_hash: [0xa0, 0x0b, 0xc3, 0x24], fork_next: 0, ..ours },
        LinkStatus { fork_hash: [9; 4], ..ours },
    ];
    for status in cases {
        for version in [EthVersion::Eth63, EthVersion::Eth68, EthVersion::Eth69] {
            if version == EthVersion::Eth63 && (status.network_id, status.genesis) == (1, ours.genesis) {
                // It says no fork id.
                continue;
            }
            let mut wire = Wire::dial(&node.enode()).await;
            let hello = wire.hello(&[("eth", version.number())]);
            wire.greet_with(hello).await;
            wire.exchange(version, status).await;
            assert_eq!(wire.reason().await, Some(DisconnectReason::SubprotocolError), "{version} {status:?}");
            drop(wire);
            node.wait_for_peers(0).await;
        }
    }
    // A node that is behind and knows where the next fork is may sync from us.
    let mut wire = Wire::dial(&node.enode()).await;
    wire.greet().await;
    wire.exchange(
        EthVersion::Eth69,
        LinkStatus { fork_hash: [0xa0, 0x0b, 0xc3, 0x24], fork_next: 7_280_000, ..ours },
    )
    .await;
    assert_eq!(chain.up().await.peer, wire.id());
}

#[tokio::test]
async fn refusals_have_the_reasons_of_geth() {
    let mut chain = Chain::start().await;
    let shared = settings();
    let node = Node::start(shared.clone(), &mut chain).await;
    let enode = node.enode();

    let mut useless = Wire::dial(&enode).await;
    let hello = useless.hello(&[("eth", 62), ("snap", 1), ("les", 2)]);
    useless.send(HELLO, &hello.encode()).await;
    useless.receive().await.expect("a hello");
    useless.codec.hello_received(5);
    assert_eq!(useless.reason().await, Some(DisconnectReason::UselessPeer));

    let mut old = Wire::dial(&enode).await;
    let mut hello = old.hello(&[("eth", 63)]);
    hello.version = 3;
    old.greet_with(hello).await;
    assert_eq!(old.reason().await, Some(DisconnectReason::IncompatibleVersion));

    let mut liar = Wire::dial(&enode).await;
    let mut hello = liar.hello(&[("eth", 69)]);
    hello.id = NodeKey::generate().public();
    // Its hello is refused, so compression does not begin.
    liar.send(HELLO, &hello.encode()).await;
    liar.receive().await.expect("a hello");
    assert_eq!(liar.reason().await, Some(DisconnectReason::UnexpectedIdentity));

    // The node's own key: it has dialled itself.
    let mut own = Wire::dial_as(shared.key.clone(), &enode).await;
    assert_eq!(own.reason().await, Some(DisconnectReason::Itself));

    let first = Wire::connect(&enode).await;
    assert_eq!(chain.up().await.peer, first.id());
    let mut second = Wire::dial_as(first.key.clone(), &enode).await;
    assert_eq!(second.reason().await, Some(DisconnectReason::AlreadyConnected));
    assert_eq!(node.peers().await.len(), 1);
}

#[tokio::test]
async fn places_are_shared_between_those_who_dial_and_those_who_are_dialled() {
    let mut chain = Chain::start().await;
    let node = Node::start(Settings { max_peers: 3, max_dialled: 1, ..settings() }, &mut chain).await;
    let first = Wire::connect(&node.enode()).await;
    let _second = Wire::connect(&node.enode()).await;
    node.wait_for_peers(2).await;
    let mut third = Wire::dial(&node.enode()).await;
    assert_eq!(third.reason().await, Some(DisconnectReason::TooManyPeers));
    drop(first);
    node.wait_for_peers(1).await;
    let _again = Wire::connect(&node.enode()).await;
    node.wait_for_peers(2).await;
}

#[tokio::test]
async fn a_node_does_not_dial_itself() {
    let mut chain = Chain::start().await;
    let node = Node::start(settings(), &mut chain).await;
    node.dial(node.enode()).await;
    assert_eq!(chain.frame_within(Duration::from_millis(200)).await, None);
    assert!(node.peers().await.is_empty());
}

#[tokio::test]
async fn a_static_node_is_redialled_until_it_answers() {
    let mut chain = Chain::start().await;
    let key = NodeKey::generate();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    drop(listener);
    let node = Enode { public_key: key.public(), ip: address.ip(), tcp: address.port(), udp: 0 };
    let ours = Node::start(Settings { static_nodes: vec![node], ..settings() }, &mut chain).await;
    // Nobody is there; then somebody who hangs up at once; then the node.
    tokio::time::sleep(Duration::from_millis(150)).await;
    let listener = TcpListener::bind(address).await.expect("the port is free");
    let accepted = timeout(DEADLINE, listener.accept()).await.expect("redialled");
    drop(accepted);
    let mut wire = Wire::accept(&listener, &key).await;
    wire.greet().await;
    wire.exchange(EthVersion::Eth69, status_at(0)).await;
    let up = chain.up().await;
    assert_eq!((up.peer, up.inbound), (key.node_id(), false));
    drop(wire);
    assert_eq!(chain.down().await.0, key.node_id());
    let mut wire = Wire::accept(&listener, &key).await;
    wire.greet().await;
    wire.exchange(EthVersion::Eth69, status_at(0)).await;
    assert_eq!(chain.up().await.peer, key.node_id());
    assert_eq!(ours.peers().await.len(), 1);
}

#[tokio::test]
async fn slow_handshakes_keep_slots_but_not_for_long() {
    let mut chain = Chain::start().await;
    let limits = Limits { handshake: Duration::from_millis(400), ..limits() };
    let node = Node::start(Settings { max_pending: 2, limits, ..settings() }, &mut chain).await;
    // Two who say nothing hold both slots; whoever comes then waits, and is served.
    let silent = [
        tokio::net::TcpStream::connect(node.enode().tcp_addr()).await.expect("it listens"),
        tokio::net::TcpStream::connect(node.enode().tcp_addr()).await.expect("it listens"),
    ];
    let waiting = timeout(DEADLINE, Wire::connect(&node.enode())).await.expect("served in time");
    assert_eq!(chain.up().await.peer, waiting.id());
    for mut stream in silent {
        timeout(DEADLINE, crate::wire::closed(&mut stream)).await.expect("cut off");
    }
}

#[tokio::test]
async fn before_chain_is_known_nobody_is_taken() {
    let mut chain = Chain::start().await;
    chain.die().await;
    let context = quintet_service::Context::default();
    let transport =
        quintet_service::grpc::Transport::remote(quintet_service::Service::P2p, &chain.url(), DEADLINE);
    let settings = settings();
    let key = settings.key.clone();
    let p2p = quintet_p2p::P2p::start(settings, transport.expect("an address"), None, &context).await;
    let p2p = p2p.expect("it starts");
    assert!(p2p.node().is_none() && !context.readiness.is_ready());
    let address = p2p.address();
    let enode = Enode { public_key: key.public(), ip: address.ip(), tcp: address.port(), udp: 0 };
    let connecting = tokio::spawn(async move { Wire::connect(&enode).await });
    tokio::time::sleep(POLL * 10).await;
    assert!(!connecting.is_finished());
    chain.serve().await;
    chain.hello().await;
    let wire = timeout(DEADLINE, connecting).await.expect("in time").expect("a session");
    assert_eq!(chain.up().await.peer, wire.id());
    assert!(context.readiness.is_ready());
    context.supervisor.shutdown();
}

#[tokio::test]
async fn addresses_outside_of_netrestrict_are_not_talked_with() {
    let mut chain = Chain::start().await;
    let netrestrict = Some("10.0.0.0/8".parse().expect("a network"));
    let node = Node::start(Settings { netrestrict, ..settings() }, &mut chain).await;
    let mut stream = tokio::net::TcpStream::connect(node.enode().tcp_addr()).await.expect("it listens");
    timeout(DEADLINE, crate::wire::closed(&mut stream)).await.expect("closed at once");
    assert!(node.peers().await.is_empty());
}
