//! Peers that break the protocol, do not read, do not stop, or hang up: each costs itself its session, and the node
//! goes on with the others.

use crate::chain::{Chain, DEADLINE, status_at};
use crate::node::{Node, limits, settings};
use crate::wire::{ETH, Wire, closed, pause};
use bytes::BytesMut;
use quintet_chain_api::{LinkCommand, LinkFrame};
use quintet_enode::NodeKey;
use quintet_eth_wire::{EthVersion, MAX_MESSAGE_SIZE};
use quintet_p2p::{Limits, Settings};
use quintet_rlpx::base::{DISCONNECT, HELLO, PING};
use quintet_rlpx::{DisconnectReason, Initiator};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A node with one honest peer, which must get an answer at the end of each test.
struct Target {
    chain: Chain,
    node: Node,
    honest: Wire,
}

impl Target {
    async fn start(limits: &Limits) -> Self {
        let mut chain = Chain::start().await;
        let node = Node::start(Settings { limits: *limits, ..settings() }, &mut chain).await;
        let honest = Wire::connect(&node.enode()).await;
        assert_eq!(chain.up().await.peer, honest.id());
        Self { chain, node, honest }
    }

    /// A hostile peer that is up.
    async fn hostile(&mut self) -> Wire {
        let wire = Wire::connect(&self.node.enode()).await;
        assert_eq!(self.chain.up().await.peer, wire.id());
        wire
    }

    /// The hostile peer is gone with this reason, and may not come back; the honest one is served.
    async fn assert_banned(mut self, mut hostile: Wire, reason: DisconnectReason) {
        assert_eq!(hostile.reason().await, Some(reason));
        let key = self.assert_gone(hostile, reason).await;
        let mut again = Wire::dial_as(key, &self.node.enode()).await;
        assert_eq!(again.reason().await, Some(DisconnectReason::UselessPeer), "it is banned");
        self.honest.ping().await;
    }

    /// It is gone with this reason; gives its key.
    async fn assert_gone(&mut self, hostile: Wire, reason: DisconnectReason) -> NodeKey {
        let Wire { key, .. } = hostile;
        let (peer, code) = self.chain.down().await;
        assert_eq!((peer, code), (key.node_id(), u32::from(reason.code())));
        self.node.wait_for_peers(1).await;
        key
    }
}

#[tokio::test]
async fn a_wrong_mac_ends_the_session_and_bans() {
    let mut target = Target::start(&limits()).await;
    let mut hostile = target.hostile().await;
    let mut frame = BytesMut::new();
    hostile.codec.encode(ETH + 3, &[0xc0], &mut frame).expect("it fits");
    let last = frame.len() - 1;
    frame[last] ^= 1;
    hostile.stream.write_all(&frame).await.expect("sent");
    target.assert_banned(hostile, DisconnectReason::ProtocolError).await;
}

#[tokio::test]
async fn a_snappy_bomb_is_not_decompressed() {
    let mut target = Target::start(&limits()).await;
    let mut hostile = target.hostile().await;
    // Half of a megabyte that would be 11: larger than any message, and less than a frame.
    let bomb =
        snap::raw::Encoder::new().compress_vec(&vec![0; MAX_MESSAGE_SIZE + (1 << 20)]).expect("compressed");
    assert!(bomb.len() < 1 << 20);
    hostile.codec.set_snappy(false);
    hostile.send(ETH + 4, &bomb).await;
    hostile.codec.set_snappy(true);
    target.assert_banned(hostile, DisconnectReason::ProtocolError).await;
}

#[tokio::test]
async fn an_oversize_frame_is_refused_by_its_header() {
    let mut target = Target::start(&limits()).await;
    let mut hostile = target.hostile().await;
    let mut frame = BytesMut::new();
    hostile.codec.set_snappy(false);
    hostile.codec.encode(ETH + 4, &vec![1; 15 << 20], &mut frame).expect("it fits");
    hostile.codec.set_snappy(true);
    // The header alone: nobody waits for the rest.
    hostile.stream.write_all(&frame[..32]).await.expect("sent");
    target.assert_banned(hostile, DisconnectReason::ProtocolError).await;
}

#[tokio::test]
async fn who_is_refused_in_the_middle_of_a_message_hears_why() {
    let mut target = Target::start(&limits()).await;
    // Hellos that are too large by far: all of it is sent before anything is read.
    for megabytes in [2, 4, 6] {
        let mut hostile = Wire::dial(&target.node.enode()).await;
        hostile.send(HELLO, &vec![1; megabytes << 20]).await;
        assert_eq!(hostile.reason().await, Some(DisconnectReason::ProtocolError), "{megabytes} MiB");
    }
    // And a message that no limit allows.
    let mut hostile = target.hostile().await;
    hostile.codec.set_snappy(false);
    hostile.send(ETH + 4, &vec![1; 15 << 20]).await;
    hostile.codec.set_snappy(true);
    target.assert_banned(hostile, DisconnectReason::ProtocolError).await;
}

#[tokio::test]
async fn codes_that_nobody_has_cost_the_session_and_in_the_end_a_ban() {
    let mut target = Target::start(&limits()).await;
    // The first has no protocol, the second no message; a second status is out of order. Each takes 50 points.
    for code in [ETH + 18, ETH + 0x0b, ETH] {
        let mut hostile = target.hostile().await;
        hostile.send(code, &[0xc0]).await;
        assert_eq!(hostile.reason().await, Some(DisconnectReason::SubprotocolError), "{code}");
        let key = target.assert_gone(hostile, DisconnectReason::SubprotocolError).await;
        let mut again = Wire::dial_as(key.clone(), &target.node.enode()).await;
        again.greet().await;
        again.exchange(EthVersion::Eth69, status_at(0)).await;
        assert_eq!(target.chain.up().await.peer, again.id());
        again.send(code, &[0xc0]).await;
        assert_eq!(again.reason().await, Some(DisconnectReason::SubprotocolError), "{code}");
        target.assert_gone(again, DisconnectReason::SubprotocolError).await;
        let mut third = Wire::dial_as(key, &target.node.enode()).await;
        assert_eq!(third.reason().await, Some(DisconnectReason::UselessPeer));
    }
    // Unknown messages of the base protocol are none of our business, as in geth.
    target.honest.send(9, &[0xc0]).await;
    target.honest.ping().await;
}

#[tokio::test]
async fn what_chain_reports_adds_up_and_bans_all_but_trusted_peers() {
    let mut target = Target::start(&limits()).await;
    let hostile = target.hostile().await;
    let penalise = |peer, weight| LinkCommand::Penalise { peer, weight, reason: "bad block".to_owned() };
    target.chain.command(penalise(hostile.id(), 60));
    target.chain.command(penalise(hostile.id(), 40));
    target.node.client.add_trusted_peer(crate::node::record(enode_of(&target.honest))).await.expect("taken");
    target.chain.command(penalise(target.honest.id(), 1000));
    target.assert_banned(hostile, DisconnectReason::UselessPeer).await;
}

fn enode_of(wire: &Wire) -> quintet_enode::Enode {
    quintet_enode::Enode::incomplete(wire.key.public())
}

#[tokio::test]
async fn a_slow_loris_is_cut_off_at_every_stage() {
    let mut target = Target::start(&limits()).await;
    let enode = target.node.enode();
    // The handshake, byte by byte; and a whole one, after which nothing comes.
    let mut trickle = TcpStream::connect(enode.tcp_addr()).await.expect("it listens");
    let auth =
        Initiator::new(NodeKey::generate().secret(), &enode.public_key).expect("a key").auth().to_vec();
    let mut silent = Wire::dial(&enode).await;
    let mut greeted = Wire::dial(&enode).await;
    greeted.greet().await;
    let cut = timeout(DEADLINE, async {
        for byte in &auth {
            if trickle.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        closed(&mut trickle).await;
    });
    let (cut, silent, greeted) = tokio::join!(cut, silent.reason(), greeted.reason());
    cut.expect("cut off in time");
    assert_eq!(silent, Some(DisconnectReason::ReadTimeout));
    assert_eq!(greeted, Some(DisconnectReason::ReadTimeout));
    target.node.wait_for_peers(1).await;
    target.honest.ping().await;
}

#[tokio::test]
async fn who_says_nothing_is_left() {
    let quick = Limits { read: Duration::from_millis(200), ping: Duration::from_millis(50), ..limits() };
    let mut chain = Chain::start().await;
    let node = Node::start(Settings { limits: quick, ..settings() }, &mut chain).await;
    let mut silent = Wire::connect(&node.enode()).await;
    assert_eq!(chain.up().await.peer, silent.id());
    // It is pinged meanwhile.
    assert_eq!(silent.receive().await.expect("a ping").code, PING);
    assert_eq!(silent.reason().await, Some(DisconnectReason::ReadTimeout));
    assert_eq!(chain.down().await, (silent.id(), 11));
}

#[tokio::test]
async fn a_flood_of_messages_waits_and_the_memory_is_bounded() {
    let slow = Limits {
        peer_queue: 64 << 10,
        link_queue: 128 << 10,
        link_wait: Duration::from_millis(100),
        ..limits()
    };
    let mut target = Target::start(&slow).await;
    let mut hostile = target.hostile().await;
    // Chain takes nothing: it is away. A hundred megabytes come, of which next to nothing may stay.
    target.chain.die().await;
    let payload: Vec<u8> =
        (0..10_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let before = resident();
    for _ in 0..2500 {
        hostile.send(ETH + 2, &payload).await;
    }
    hostile.ping().await;
    target.honest.ping().await;
    let grown = resident().saturating_sub(before);
    assert!(grown < 48 << 20, "{grown} bytes");
    // What waited is within the peer's share.
    target.chain.serve().await;
    target.chain.hello().await;
    let ups = [target.chain.up().await.peer, target.chain.up().await.peer];
    assert!(ups.contains(&hostile.id()) && ups.contains(&target.honest.id()));
    let mut waited = 0;
    while let Some(frame) = target.chain.frame_within(Duration::from_millis(200)).await {
        let LinkFrame::Message(message) = frame else { panic!("{frame:?}") };
        waited += message.payload.len();
    }
    assert!(waited > 0 && waited <= 64 << 10, "{waited}");
}

/// Resident bytes of this process.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a figure");
    line.trim().trim_end_matches("kB").trim().parse::<usize>().expect("a number") << 10
}

#[tokio::test]
async fn who_asks_and_does_not_read_is_dropped() {
    let tight = Limits { send_queue: 1 << 20, most_send_queue: 8 << 20, ..limits() };
    let mut target = Target::start(&tight).await;
    let mut hostile = target.hostile().await;
    let answer: Vec<u8> =
        (0..250_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    // Announcements are dropped; answers pile up to a limit.
    for _ in 0..40 {
        target.chain.send(hostile.id(), 7, answer.clone());
    }
    pause().await;
    target.honest.ping().await;
    assert_eq!(target.node.peers().await.len(), 2, "announcements alone drop nobody");
    for _ in 0..40 {
        target.chain.send(hostile.id(), 4, answer.clone());
    }
    let (peer, _) = target.chain.down().await;
    assert_eq!(peer, hostile.id());
    assert!(hostile.is_closed().await);
    target.honest.ping().await;
}

#[tokio::test]
async fn a_flood_of_pings_gets_few_pongs() {
    let mut target = Target::start(&limits()).await;
    let mut hostile = target.hostile().await;
    let mut frames = BytesMut::new();
    for _ in 0..100_000 {
        hostile.codec.encode(PING, &[0xc0], &mut frames).expect("it fits");
    }
    // It does not read until all is sent: if every ping were answered, both would wait for ever.
    timeout(DEADLINE, hostile.stream.write_all(&frames)).await.expect("taken in time").expect("sent");
    hostile.ping().await;
    target.honest.ping().await;
}

#[tokio::test]
async fn who_hangs_up_at_any_stage_leaves_nothing_behind() {
    let mut target = Target::start(&limits()).await;
    let enode = target.node.enode();
    drop(TcpStream::connect(enode.tcp_addr()).await.expect("it listens"));
    let mut half = TcpStream::connect(enode.tcp_addr()).await.expect("it listens");
    half.write_all(&[1, 200, 3]).await.expect("sent");
    drop(half);
    drop(Wire::dial(&enode).await);
    let mut hello = Wire::dial(&enode).await;
    let ours = hello.hello(&[("eth", 69)]).encode();
    hello.send(HELLO, &ours).await;
    drop(hello);
    let mut greeted = Wire::dial(&enode).await;
    greeted.greet().await;
    drop(greeted);
    let mut parting = Wire::dial(&enode).await;
    parting.greet().await;
    parting.send(DISCONNECT, &DisconnectReason::TooManyPeers.encode()).await;
    assert!(parting.is_closed().await);
    for polite in [true, false] {
        let mut peer = target.hostile().await;
        if polite {
            peer.send(DISCONNECT, &DisconnectReason::UselessPeer.encode()).await;
        } else {
            // In the middle of a frame.
            let mut frame = BytesMut::new();
            peer.codec.encode(ETH + 3, &[1; 500], &mut frame).expect("it fits");
            peer.stream.write_all(&frame[..frame.len() / 2]).await.expect("sent");
        }
        let reason = if polite { DisconnectReason::UselessPeer } else { DisconnectReason::NetworkError };
        let id = peer.id();
        drop(peer);
        assert_eq!(target.chain.down().await, (id, u32::from(reason.code())));
    }
    target.node.wait_for_peers(1).await;
    target.honest.ping().await;
}

#[tokio::test]
async fn garbage_in_the_place_of_a_handshake_is_not_answered() {
    let mut target = Target::start(&limits()).await;
    for garbage in [vec![0; 300], vec![4; 307], vec![0xff; 70_000], b"GET / HTTP/1.1\r\n\r\n".repeat(50)] {
        let mut stream = TcpStream::connect(target.node.enode().tcp_addr()).await.expect("it listens");
        // It may be closed before all is sent.
        let _ = stream.write_all(&garbage).await;
        timeout(DEADLINE, closed(&mut stream)).await.expect("cut off in time");
    }
    // An early message where the hello should be, and one where the status should be.
    let mut eager = Wire::dial(&target.node.enode()).await;
    eager.send(ETH + 3, &[0xc0]).await;
    assert_eq!(eager.reason().await, Some(DisconnectReason::ProtocolError));
    let mut eager = Wire::dial(&target.node.enode()).await;
    eager.greet().await;
    eager.send(ETH + 3, &[0xc0]).await;
    assert_eq!(eager.reason().await, Some(DisconnectReason::SubprotocolError));
    target.node.wait_for_peers(1).await;
    target.honest.ping().await;
}
