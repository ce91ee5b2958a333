//! Peers that mean no good: each costs itself its reputation, and nobody else anything.

use crate::fixture::transfer;
use crate::peers_rig::{DEADLINE, Rig, Script, connected, in_time, peer};
use alloy_primitives::{B256, U256};
use quintet_chain::peers::{GetBlockHeaders, HashOrNumber, PeerChange};
use quintet_chain_api::{LinkCommand, WireProtocol};
use quintet_eth_wire::{
    BlockHashNumber, EthMessage, EthMessageId, EthVersion, NewBlock, PooledHashes, SnapMessageId, Tagged,
};
use quintet_testkit::generate::Network;
use std::time::{Duration, Instant};

async fn rig() -> (Rig, Script) {
    let rig = Rig::new(Network::Ethash, 8);
    let mut link = rig.link(1).await;
    link.up(1, EthVersion::Eth68);
    link.up(2, EthVersion::Eth68);
    connected(&rig, 2).await;
    (rig, link)
}

/// That another peer is served while somebody misbehaves.
async fn assert_served(link: &mut Script, n: u8) {
    let body = GetBlockHeaders { start: HashOrNumber::Number(2), limit: 1, skip: 0, reverse: false };
    link.say(n, &EthMessage::GetBlockHeaders(Tagged { id: 77, body }));
    in_time("an honest peer's answer", async {
        loop {
            if let LinkCommand::Send(send) = link.command().await.expect("the link is open")
                && send.peers == [peer(n)]
            {
                let answer = EthMessage::decode(EthVersion::Eth68, send.code.into(), &send.payload).unwrap();
                let EthMessage::BlockHeaders(headers) = answer else { continue };
                assert_eq!((headers.id, headers.body[0].number), (77, 2));
                break;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn bytes_that_are_no_message_end_the_session() {
    let (rig, mut link) = rig().await;
    let payloads: [&[u8]; 6] = [&[], &[0x80], &[0xc1], &[0xff; 40], &[0xc0, 0x00], &[0xf9, 0xff, 0xff]];
    let eth = EthMessageId::ALL.map(|id| (WireProtocol::Eth(68), id.code()));
    let snap = SnapMessageId::ALL.map(|id| (WireProtocol::Snap(1), id.code()));
    let strange = [(WireProtocol::Eth(68), 0x77), (WireProtocol::Eth(67), 3), (WireProtocol::Snap(2), 0)];
    let mut tried = 0;
    for (protocol, code) in eth.into_iter().chain(snap).chain(strange) {
        for payload in payloads {
            // An empty list is some messages.
            if payload == [0xc0] {
                continue;
            }
            link.raw(1, protocol, u32::try_from(code).unwrap(), payload.to_vec());
            let (weight, reason) = link.penalty(1).await;
            assert!(weight >= 25, "{protocol} {code:#x} {payload:x?}: {reason}");
            tried += 1;
        }
    }
    assert!(tried > 100);
    assert_served(&mut link, 2).await;
    assert_eq!(rig.peers.len(), 2);
}

#[tokio::test]
async fn a_status_after_the_handshake_is_out_of_order() {
    let (_rig, mut link) = rig().await;
    let status = quintet_eth_wire::Status {
        version: EthVersion::Eth68,
        network_id: 1,
        genesis: B256::ZERO,
        head: B256::ZERO,
        fork_id: None,
        total_difficulty: Some(U256::MAX >> 200),
        range: None,
    };
    link.say(1, &EthMessage::Status(status));
    assert_eq!(link.penalty(1).await, (50, "Status out of order".to_owned()));
    assert_eq!(link.disconnect(1).await, 0x10);
}

#[tokio::test]
async fn a_flood_of_requests_costs_the_flood() {
    let (_rig, mut link) = rig().await;
    let hashes = vec![B256::repeat_byte(1); 1000];
    for id in 0..3000 {
        link.say(1, &EthMessage::GetBlockBodies(Tagged { id, body: hashes.clone() }));
    }
    let (weight, reason) = link.penalty(1).await;
    assert!(weight > 0 && reason.contains("more messages"), "{reason}");
    assert_served(&mut link, 2).await;
}

#[tokio::test]
async fn floods_of_all_kinds_leave_the_others_served() {
    let (rig, mut link) = rig().await;
    let block = rig.blocks[3].block.block.clone();
    let blocks = EthMessage::NewBlock(Box::new(NewBlock { block, total_difficulty: U256::from(1) }));
    let answers = EthMessage::BlockHeaders(Tagged { id: 1, body: Vec::new() });
    for _ in 0..1000 {
        link.say(1, &blocks);
        link.say(1, &answers);
    }
    let mut reasons = std::collections::BTreeSet::new();
    while reasons.len() < 2 {
        reasons.insert(link.penalty(1).await.1);
    }
    assert_served(&mut link, 2).await;
}

#[tokio::test]
async fn an_endless_stream_of_block_announcements_is_bounded() {
    let (rig, mut link) = rig().await;
    let mut changes = rig.peers.subscribe();
    let mut number = 0_u64;
    let mut next = || {
        number += 1;
        BlockHashNumber { hash: B256::from(U256::from(number)), number }
    };
    for _ in 0..50 {
        let blocks: Vec<_> = (0..1000).map(|_| next()).collect();
        link.say(1, &EthMessage::NewBlockHashes(blocks));
    }
    let (_, reason) = link.penalty(1).await;
    assert_eq!(reason, "too many announcements of blocks");
    assert_served(&mut link, 2).await;
    let mut told = 0;
    while let Ok(change) = changes.try_recv() {
        if let PeerChange::Announced { blocks, .. } = change {
            told += blocks.len();
        }
    }
    assert!((256..2000).contains(&told), "{told} of 50,000");
}

#[tokio::test]
async fn an_endless_stream_of_transaction_announcements_is_bounded() {
    let (rig, mut link) = rig().await;
    rig.peers.accept_transactions();
    let mut number = 0_u64;
    let start = Instant::now();
    for _ in 0..100 {
        let mut hashes = PooledHashes::default();
        for _ in 0..1000 {
            number += 1;
            hashes.push(B256::from(U256::from(number)), 2, 110);
        }
        link.say(1, &EthMessage::NewPooledTransactionHashes(hashes));
    }
    assert_served(&mut link, 2).await;
    // One request at a time, of 256 at most, and none more while it is not answered.
    let mut asked = 0;
    while asked == 0 {
        if let (to, EthMessage::GetPooledTransactions(request)) = link.message().await {
            assert_eq!((to, request.body.len()), (vec![peer(1)], 256));
            asked += 1;
        }
    }
    link.assert_silent().await;
    assert!(start.elapsed() < DEADLINE);
}

#[tokio::test]
async fn blocks_that_cannot_be_are_not_passed_on() {
    let (rig, mut link) = rig().await;
    let mut changes = rig.peers.subscribe();
    let good = rig.blocks.iter().find(|executed| !executed.block.senders.is_empty()).unwrap();
    let good = good.block.block.clone();
    let mut bodyless = good.clone();
    bodyless.body.transactions.clear();
    let mut uncles = good.clone();
    uncles.body.ommers.push(good.header.clone());
    let mut hard = good.clone();
    hard.header.difficulty = U256::ONE << 90;
    for (block, words) in [(bodyless, "invalid body"), (uncles, "invalid uncles"), (hard, "too large")] {
        let new = NewBlock { block, total_difficulty: U256::from(1) };
        link.say(1, &EthMessage::NewBlock(Box::new(new)));
        let (weight, reason) = link.penalty(1).await;
        assert!(weight == 50 && reason.contains(words), "{reason}");
    }
    assert!(changes.try_recv().is_err(), "nobody hears of them");
}

#[tokio::test]
async fn transactions_of_no_use_slow_their_sender_down() {
    let (rig, mut link) = rig().await;
    rig.peers.accept_transactions();
    // Signed for another chain's accounts: no sender can pay.
    let transactions: Vec<_> = (0..200).map(|nonce| transfer(0, nonce, u64::MAX)).collect();
    link.say(1, &EthMessage::Transactions(transactions));
    let (weight, reason) = link.penalty(1).await;
    assert!(weight < 25 && reason.contains("stale or invalid"), "{reason}");
    assert_served(&mut link, 2).await;
}

#[tokio::test]
async fn a_link_that_is_not_read_does_not_grow() {
    let (rig, mut link) = rig().await;
    // Nothing is read here: gossip is dropped once the link's queue is full, and the node goes on.
    let block = rig.blocks[5].block.block.clone();
    for n in 0..20_000_u64 {
        let mut block = block.clone();
        block.header.nonce = n.to_be_bytes().into();
        rig.peers.broadcast_block(&block, U256::from(1));
    }
    tokio::time::sleep(Duration::from_millis(20)).await;
    let mut told = 0;
    let mut rest = Vec::new();
    while let Ok(Some(command)) = tokio::time::timeout(Duration::from_millis(300), link.command()).await {
        match command {
            LinkCommand::Send(_) => told += 1,
            other => rest.push(other),
        }
    }
    assert!((1000..=5000).contains(&told), "{told} of 20,000");
    assert_served(&mut link, 2).await;
}
