//! Two chains, each with its link, and their messages carried from one to the other: sync, gossip and serving as they
//! are, on the wire's encoding.

use crate::fixture::Bare;
use crate::peers_rig::{DEADLINE, Rig, Script, in_time};
use crate::sync_full::grow;
use alloy_primitives::B256;
use quintet_chain::sync::{Network as _, Sync, SyncOptions};
use quintet_chain::{BulkOptions, Chain};
use quintet_chain_api::{LinkCommand, LinkFrame, LinkStatus, PeerMessage, PeerUp, WireProtocol};
use quintet_eth_wire::{BlockRange, EthVersion, Status};
use quintet_testkit::generate::{Generator, Network, Options};
use quintet_types::{Block, RecoveredBlock};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The peer's number at either end.
const OTHER: u8 = 1;

pub(crate) fn up(peer: u8, version: EthVersion, status: &LinkStatus) -> LinkFrame {
    let ranged = version.has_block_range();
    let LinkStatus { network_id, genesis, head, total_difficulty, .. } = *status;
    let encoded = Status {
        version,
        network_id,
        genesis,
        head: head.hash,
        fork_id: None,
        total_difficulty: (!ranged).then_some(total_difficulty),
        range: ranged.then_some(BlockRange { earliest: 0, latest: head.number, latest_hash: head.hash }),
    };
    LinkFrame::Up(PeerUp {
        peer: B256::repeat_byte(peer),
        protocols: vec![WireProtocol::Eth(u8::try_from(version.number()).unwrap()), WireProtocol::Snap(1)],
        name: "Quintet/other".to_owned(),
        status: encoded.encode(),
        inbound: false,
        trusted: false,
    })
}

/// Carries what each says to the other, until one is sent away: then why.
async fn carry(mut one: Script, mut other: Script, version: EthVersion) -> String {
    let (status, other_status) = (one.status().await, other.status().await);
    one.frame(up(OTHER, version, &other_status));
    other.frame(up(OTHER, version, &status));
    loop {
        let (command, to) = tokio::select! {
            command = one.next_command() => (command, &other),
            command = other.next_command() => (command, &one),
        };
        match command {
            Some(LinkCommand::Send(send)) => to.frame(LinkFrame::Message(PeerMessage {
                peer: B256::repeat_byte(OTHER),
                protocol: send.protocol,
                code: send.code,
                payload: send.payload,
            })),
            Some(LinkCommand::Status(_)) => {}
            Some(LinkCommand::Penalise { reason, .. }) => return reason,
            Some(LinkCommand::Disconnect { reason, .. }) => return format!("disconnect {reason}"),
            None => return "the end".to_owned(),
        }
    }
}

/// A node with its link, which syncs.
fn node(generator: &Generator, blocks: &[Block]) -> (Rig, Sync) {
    let bare = Bare::temporary(generator.spec());
    if blocks.len() > 1 {
        bare.import_all(blocks, &BulkOptions::default()).unwrap();
    }
    let rig = Rig::around(bare, Vec::new());
    let options = SyncOptions { patience: Duration::from_millis(20), ..SyncOptions::default() };
    let sync = Sync::new(Arc::clone(&rig.bare.chain), Arc::new(rig.peers.clone()), options);
    sync.spawn(&rig.supervisor);
    (rig, sync)
}

pub(crate) async fn until_head(chain: &Chain, number: u64) {
    let reached = async {
        while chain.head().block.number < number {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    in_time("the head", reached).await;
}

/// Imports a block and tells the other node of it: whole, or by its hash.
pub(crate) fn tell(node: &Rig, block: &Block) {
    let senders = quintet_types::recover_senders(&block.body.transactions, true).unwrap();
    let block = RecoveredBlock { hash: block.header.hash_slow(), block: block.clone(), senders };
    let (plain, reference) = (block.block.clone(), block.block_ref());
    node.bare.chain.import(block, 0).unwrap();
    if reference.number.is_multiple_of(2) {
        node.peers.broadcast_block(&plain, node.bare.chain.head().total_difficulty);
    } else {
        node.peers.announce_block(reference);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_syncs_from_another_and_then_follows_it() {
    let versions = [EthVersion::Eth63, EthVersion::Eth66, EthVersion::Eth68, EthVersion::Eth69];
    let mut generator = Generator::new(Options::small(Network::Ethash));
    let blocks = grow(&mut generator, 308, 0);
    for version in versions {
        let ((full, _), (empty, _)) = (node(&generator, &blocks[..301]), node(&generator, &[]));
        let carried = tokio::spawn(carry(full.link(1).await, empty.link(2).await, version));
        until_head(&empty.bare.chain, 300).await;
        // What the other one has comes by gossip, and what this one has goes back.
        for block in &blocks[301..=304] {
            tell(&full, block);
            until_head(&empty.bare.chain, block.header.number).await;
        }
        for block in &blocks[305..=308] {
            tell(&empty, block);
            until_head(&full.bare.chain, block.header.number).await;
        }
        assert!(!carried.is_finished(), "{version}: {}", carried.await.unwrap());
        empty.bare.assert_whole();
        assert_eq!(empty.peers.peers().len(), 1);
    }
}

/// The sync of a node from another, against an import of the same chain. It asserts nothing of the time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement: it prints times and asserts none; with `--ignored --nocapture`"]
async fn rate_over_the_wire() {
    for (name, options, count) in [
        ("full blocks", Options { transactions: 100, ..Options::benchmark(Network::Ethash) }, 300),
        ("nearly empty blocks", Options { transactions: 1, ..Options::small(Network::Ethash) }, 5000),
    ] {
        let mut generator = Generator::new(options);
        let executed: Vec<_> = (0..count).map(|_| generator.next_block()).collect();
        let blocks = crate::sync_net::whole_chain(generator.spec().genesis_block(), &executed);
        for _ in 0..2 {
            let start = Instant::now();
            let (full, _) = node(&generator, &blocks);
            let import = start.elapsed();
            let (empty, sync) = node(&generator, &[]);
            let start = Instant::now();
            let carried = tokio::spawn(carry(full.link(1).await, empty.link(2).await, EthVersion::Eth68));
            while empty.bare.chain.head().block.number < count || sync.status().holds_mining() {
                assert!(start.elapsed() < 10 * DEADLINE && !carried.is_finished());
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            let sync = start.elapsed();
            println!(
                "{name}: import {import:.2?}, sync {sync:.2?}: {:.0} %",
                100.0 * import.as_secs_f64() / sync.as_secs_f64()
            );
        }
    }
}
