//! Links of p2p instances, over a port and within a process.

use crate::peers_rig::{Rig, Script, change, connected, in_time, peer};
use alloy_primitives::{B256, U256};
use futures::StreamExt;
use quintet_chain::peers::PeerChange;
use quintet_chain_api::{LinkCommand, LinkFrame, LinkHello, PeerUp, Traced, WireProtocol};
use quintet_chainspec::Head;
use quintet_eth_wire::{BlockRange, EthMessage, EthVersion};
use quintet_testkit::generate::Network;
use quintet_types::RecoveredBlock;

#[tokio::test]
async fn the_status_comes_first_and_again_with_each_head() {
    for remote in [false, true] {
        let rig = Rig::new(Network::Ethash, 3);
        let rig = if remote { rig.over_grpc().await } else { rig };
        let mut link = rig.link(1).await;
        let Some(LinkCommand::Status(first)) = link.command().await else { panic!("no status") };
        let head = rig.bare.chain.head();
        let spec = quintet_testkit::generate::Generator::new(quintet_testkit::generate::Options::small(
            Network::Ethash,
        ));
        let spec = spec.spec();
        let fork = spec.fork_id(Head { number: head.block.number, timestamp: head.header.timestamp });
        assert_eq!((first.network_id, first.genesis), (1337, spec.genesis_hash()));
        assert_eq!((first.head, first.total_difficulty), (head.block, head.total_difficulty));
        assert_eq!((first.fork_hash, first.fork_next), (fork.hash.0, fork.next));
        assert_eq!((first.earliest_block, first.identity), (0, 0));
        let parent = rig.blocks[1].block.block_ref();
        let chain = std::sync::Arc::clone(&rig.bare.chain);
        tokio::task::spawn_blocking(move || chain.rewind(2)).await.unwrap().unwrap();
        assert_eq!(link.status().await.head, parent);
        let block = RecoveredBlock::clone(&rig.blocks[2].block);
        let chain = std::sync::Arc::clone(&rig.bare.chain);
        tokio::task::spawn_blocking(move || chain.import(block, 0)).await.unwrap().unwrap();
        assert_eq!(link.status().await.head, head.block);
    }
}

#[tokio::test]
async fn each_instance_has_an_identity_of_its_own() {
    let rig = Rig::new(Network::Ethash, 0).over_grpc().await;
    let mut links = Vec::new();
    for (n, held, identity) in [(1, None, 0), (2, Some(4), 4), (3, Some(0), 1), (4, None, 2)] {
        let mut link = rig.link_holding(n, held).await;
        assert_eq!(link.status().await.identity, identity);
        links.push(link);
    }
    // The same instance comes again: its old link ends.
    let mut again = rig.link_holding(3, Some(1)).await;
    assert_eq!(again.status().await.identity, 1);
    let old = &mut links[2];
    in_time("the old link's end", async { while old.command().await.is_some() {} }).await;
}

#[tokio::test]
async fn peers_come_and_go_with_their_link() {
    for remote in [false, true] {
        let rig = Rig::new(Network::Ethash, 0);
        let rig = if remote { rig.over_grpc().await } else { rig };
        let mut changes = rig.peers.subscribe();
        let (mut first, mut second) = (rig.link(1).await, rig.link(2).await);
        first.up_at(1, EthVersion::Eth68, U256::from(5), 0);
        second.up_at(2, EthVersion::Eth69, U256::ZERO, 77);
        connected(&rig, 2).await;
        let one = rig.peers.get(&peer(1)).unwrap();
        assert_eq!(
            (one.version, one.snap, one.inbound, one.name.as_str()),
            (EthVersion::Eth68, true, false, "Scripted/1")
        );
        assert_eq!((one.head().total_difficulty, one.head().number), (Some(U256::from(5)), None));
        let two = rig.peers.get(&peer(2)).unwrap().head();
        assert_eq!((two.total_difficulty, two.number, two.earliest), (None, Some(77), Some(0)));
        assert_eq!(rig.peers.best().unwrap().id, peer(1));
        // A peer that is connected over another link is sent away.
        second.up(1, EthVersion::Eth68);
        assert_eq!(second.disconnect(1).await, 5);
        first.down(1);
        change(&mut changes, |change| matches!(change, PeerChange::Down(id) if id == peer(1)).then_some(()))
            .await;
        drop(second);
        change(&mut changes, |change| matches!(change, PeerChange::Down(id) if id == peer(2)).then_some(()))
            .await;
        assert!(rig.peers.is_empty());
        // A link of the same instance takes the place of the old one, and the old one's peers are gone.
        first.up(3, EthVersion::Eth68);
        connected(&rig, 1).await;
        let mut again = rig.link(1).await;
        connected(&rig, 0).await;
        again.up(3, EthVersion::Eth68);
        connected(&rig, 1).await;
        in_time("the old link's end", async { while first.command().await.is_some() {} }).await;
        assert_eq!(rig.peers.len(), 1, "the end of the old link is nothing to the new one");
    }
}

#[tokio::test]
async fn a_peer_tells_where_it_is() {
    let rig = Rig::new(Network::Ethash, 0);
    let mut link = rig.link(1).await;
    link.up_at(1, EthVersion::Eth69, U256::ZERO, 7);
    connected(&rig, 1).await;
    let mut changes = rig.peers.subscribe();
    let range = BlockRange { earliest: 3, latest: 40, latest_hash: B256::repeat_byte(9) };
    link.say(1, &EthMessage::BlockRangeUpdate(range));
    change(&mut changes, |change| matches!(change, PeerChange::Head(id) if id == peer(1)).then_some(()))
        .await;
    let head = rig.peers.get(&peer(1)).unwrap().head();
    assert_eq!((head.hash, head.number, head.earliest), (range.latest_hash, Some(40), Some(3)));
}

#[tokio::test]
async fn peers_are_told_the_range_of_blocks_once_an_epoch() {
    let rig = Rig::new(Network::Ethash, 40);
    let mut link = rig.link(1).await;
    link.up(1, EthVersion::Eth69);
    link.up(2, EthVersion::Eth68);
    connected(&rig, 2).await;
    let chain = std::sync::Arc::clone(&rig.bare.chain);
    tokio::task::spawn_blocking(move || chain.rewind(3)).await.unwrap().unwrap();
    let (to, message) = link.answer().await;
    let hash = rig.blocks[2].block.hash;
    assert_eq!(to, [peer(1)]);
    assert_eq!(
        message,
        EthMessage::BlockRangeUpdate(BlockRange { earliest: 0, latest: 3, latest_hash: hash })
    );
}

#[tokio::test]
async fn what_breaks_the_contract_ends_its_link_only() {
    let rig = Rig::new(Network::Ethash, 0).over_grpc().await;
    let mut good = rig.link(1).await;
    good.up(1, EthVersion::Eth68);
    connected(&rig, 1).await;
    // No hello, and no frames at all.
    let up = PeerUp {
        peer: peer(2),
        protocols: vec![WireProtocol::Eth(68)],
        name: String::new(),
        status: bytes::Bytes::new(),
        inbound: false,
        trusted: false,
    };
    let frames = futures::stream::iter([Traced::untraced(LinkFrame::Up(up.clone()))]);
    let refused = in_time("a refusal", rig.client().connect(frames)).await.err().expect("refused");
    assert!(refused.to_string().contains("not a hello"), "{refused}");
    let none = in_time("a refusal", rig.client().connect(futures::stream::empty())).await;
    assert!(none.err().expect("refused").to_string().contains("no frames"));
    // A peer without a status, and one of an unknown version.
    let mut link = rig.link(3).await;
    link.frame(LinkFrame::Up(up.clone()));
    assert_eq!(link.disconnect(2).await, 2);
    link.frame(LinkFrame::Up(PeerUp { protocols: vec![WireProtocol::Eth(99)], ..up }));
    assert_eq!(link.disconnect(2).await, 2);
    // A second hello is nothing; messages of peers that nobody knows are nothing.
    link.frame(LinkFrame::Hello(LinkHello { instance: [9; 16], contract_minor: 1, held_identity: None }));
    link.say(200, &EthMessage::NewBlockHashes(Vec::new()));
    link.down(200);
    link.up(4, EthVersion::Eth68);
    connected(&rig, 2).await;
    assert_eq!(rig.peers.list().len(), 2);
}

#[tokio::test]
async fn links_end_at_shutdown() {
    let rig = Rig::new(Network::Ethash, 0).over_grpc().await;
    let mut link: Script = rig.link(1).await;
    link.up(1, EthVersion::Eth68);
    connected(&rig, 1).await;
    rig.supervisor.shutdown();
    in_time("the link's end", async { while link.command().await.is_some() {} }).await;
    connected(&rig, 0).await;
    let ended = futures::stream::iter([Traced::untraced(LinkFrame::Hello(LinkHello {
        instance: [1; 16],
        contract_minor: 1,
        held_identity: None,
    }))]);
    // The port is closed, or the link ends at once.
    if let Ok(mut commands) = in_time("a refusal", rig.client().connect(ended)).await {
        in_time("the end", async { while commands.next().await.is_some() {} }).await;
    }
}

/// Bytes of memory that the process has resident.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[tokio::test]
async fn idle_peers_take_little_memory() {
    let rig = Rig::new(Network::Ethash, 5);
    let mut link = rig.link(1).await;
    link.up(0, EthVersion::Eth68);
    connected(&rig, 1).await;
    let before = resident();
    (1..=200).for_each(|n| link.up(n, EthVersion::Eth68));
    connected(&rig, 201).await;
    let grown = resident().saturating_sub(before);
    println!("200 peers: {} KiB", grown >> 10);
    // Other tests run beside this one.
    assert!(grown < 64 << 20, "{grown} bytes");
}
