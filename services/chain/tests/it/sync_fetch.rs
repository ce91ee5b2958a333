//! Blocks that peers announce or send near the head.

use crate::fixture::Bare;
use crate::sync_full::{LIMIT, chain_of, last_hash};
use crate::sync_net::{SimNet, SimPeer, Syncing};
use alloy_primitives::{B256, U256};
use quintet_chain::BulkOptions;
use quintet_chain::sync::{Change, Fault, PeerHead};
use quintet_testkit::generate::Network;
use quintet_types::{Block, TraceContext};
use std::sync::Arc;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(8);

/// A node at block 50, and a peer that has all but says that it is no further, so that no sync begins.
struct Rig {
    node: Bare,
    blocks: Vec<Block>,
    net: Arc<SimNet>,
    syncing: Syncing,
}

impl Rig {
    async fn new() -> Self {
        let (spec, blocks) = chain_of(Network::Ethash, 100);
        let node = Bare::temporary(&spec);
        node.import_all(&blocks[..51], &BulkOptions::default()).unwrap();
        let net = SimNet::new([quiet(1, &blocks), quiet(2, &blocks)]);
        let syncing = Syncing::start(&node.chain, &net);
        tokio::time::sleep(Duration::from_millis(10)).await;
        Self { node, blocks, net, syncing }
    }

    fn announce(&self, peer: u8, numbers: &[usize]) {
        let blocks = numbers.iter().map(|number| (self.blocks[*number].header.hash_slow(), *number as u64));
        let peer = B256::repeat_byte(peer);
        self.net.tell(Change::Announced { peer, blocks: blocks.collect(), trace: TraceContext::default() });
    }

    fn send(&self, peer: u8, block: &Block) {
        let number = usize::try_from(block.header.number).unwrap();
        let total_difficulty = self.blocks[..=number].iter().map(|block| block.header.difficulty).sum();
        self.net.tell(Change::Block {
            peer: B256::repeat_byte(peer),
            block: Arc::new(block.clone()),
            total_difficulty,
            trace: TraceContext::default(),
        });
    }

    async fn until_number(&self, number: usize) {
        self.syncing.until_head(SOON, self.blocks[number].header.hash_slow()).await;
    }

    async fn until_fault(&self, peer: u8) -> Vec<Fault> {
        self.syncing.until(SOON, "a fault", |_| !self.net.faults_of(peer).is_empty()).await;
        self.net.faults_of(peer)
    }
}

fn quiet(id: u8, blocks: &[Block]) -> SimPeer {
    let mut peer = SimPeer::new(id, blocks);
    peer.head = PeerHead {
        hash: blocks[50].header.hash_slow(),
        number: Some(50),
        total_difficulty: Some(U256::ZERO),
    };
    peer
}

#[tokio::test(start_paused = true)]
async fn announced_blocks_are_fetched_imported_and_announced() {
    let rig = Rig::new().await;
    rig.announce(1, &[51]);
    rig.until_number(51).await;
    // In any order.
    rig.announce(2, &[54, 53]);
    rig.announce(1, &[52, 54]);
    rig.until_number(54).await;
    let announced: Vec<u64> = rig.net.announced.lock().unwrap().iter().map(|block| block.number).collect();
    assert_eq!(announced, [51, 52, 53, 54]);
    assert_eq!(rig.net.sent.lock().unwrap().len(), 4, "each is passed on whole, too");
    rig.net.has_no_faults();
    rig.syncing.stop().await;
    rig.node.assert_whole();
}

#[tokio::test(start_paused = true)]
async fn blocks_that_are_sent_are_imported_in_order_of_their_numbers() {
    let rig = Rig::new().await;
    for number in [53, 52, 51, 51] {
        rig.send(1, &rig.blocks[number]);
    }
    rig.until_number(53).await;
    let total: U256 = rig.blocks[..=51].iter().map(|block| block.header.difficulty).sum();
    assert_eq!(rig.net.sent.lock().unwrap()[0], (rig.blocks[51].header.hash_slow(), total));
    rig.net.has_no_faults();
    rig.syncing.stop().await;
}

/// Its header is valid, so it goes on to others; the import refuses it, and it is not announced.
#[tokio::test(start_paused = true)]
async fn an_invalid_block_costs_its_sender() {
    let rig = Rig::new().await;
    let mut block = rig.blocks[51].clone();
    block.header.state_root = B256::repeat_byte(9);
    rig.send(1, &block);
    let faults = rig.until_fault(1).await;
    assert!(matches!(faults.as_slice(), [Fault::InvalidBlock { number: 51, .. }]), "{faults:?}");
    assert!(rig.net.announced.lock().unwrap().is_empty());
    let mut block = rig.blocks[51].clone();
    block.header.difficulty += U256::from(1);
    rig.net.sent.lock().unwrap().clear();
    rig.send(2, &block);
    let faults = rig.until_fault(2).await;
    assert!(matches!(faults.as_slice(), [Fault::InvalidBlock { number: 51, .. }]), "{faults:?}");
    assert!(rig.net.sent.lock().unwrap().is_empty(), "an invalid header is passed on to nobody");
    assert_eq!(rig.node.chain.head().block.number, 50);
    rig.syncing.stop().await;
}

/// Its header is as good as it was: the honest block is taken from another.
#[tokio::test(start_paused = true)]
async fn a_false_body_costs_its_sender_and_not_the_block() {
    let rig = Rig::new().await;
    let mut block = rig.blocks[52].clone();
    assert!(!block.body.transactions.is_empty());
    block.body.transactions.clear();
    rig.send(2, &rig.blocks[51]);
    rig.until_number(51).await;
    rig.send(1, &block);
    assert_eq!(rig.until_fault(1).await, [Fault::WrongBodies]);
    rig.send(2, &rig.blocks[52]);
    rig.until_number(52).await;
    assert_eq!(rig.net.faults_of(2), []);
    rig.syncing.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_false_announcement_costs_its_sender() {
    let rig = Rig::new().await;
    let blocks = vec![(rig.blocks[52].header.hash_slow(), 51)];
    rig.net.tell(Change::Announced { peer: B256::repeat_byte(1), blocks, trace: TraceContext::default() });
    assert_eq!(rig.until_fault(1).await, [Fault::WrongAnnouncement]);
    rig.syncing.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_endless_stream_of_announcements_costs_its_sender() {
    let rig = Rig::new().await;
    for message in 0..200_u64 {
        let invented = (0..100_u64).map(|item| (U256::from(message * 1000 + item).into(), 51));
        let blocks = invented.collect();
        rig.net.tell(Change::Announced {
            peer: B256::repeat_byte(1),
            blocks,
            trace: TraceContext::default(),
        });
        tokio::task::yield_now().await;
    }
    assert_eq!(rig.until_fault(1).await[0], Fault::Flood);
    // The other one is heard as ever.
    rig.announce(2, &[51]);
    rig.until_number(51).await;
    rig.syncing.stop().await;
}

/// A block whose ancestors are missing: a sync brings them.
#[tokio::test(start_paused = true)]
async fn a_gap_starts_a_sync() {
    let rig = Rig::new().await;
    rig.net.join(SimPeer::new(3, &rig.blocks[..91]));
    rig.send(3, &rig.blocks[90]);
    rig.until_number(90).await;
    rig.net.has_no_faults();
    rig.syncing.stop().await;
}

/// Announced too far ahead for the fetcher, by a peer whose status says nothing of it.
#[tokio::test(start_paused = true)]
async fn announcements_far_ahead_start_a_sync() {
    let rig = Rig::new().await;
    rig.announce(1, &[100]);
    rig.syncing.until_head(LIMIT, last_hash(&rig.blocks)).await;
    rig.net.has_no_faults();
    rig.syncing.stop().await;
}
