//! What is told to peers, and what is taken from them.

use crate::fixture::{Bare, GAS_LIMIT, spec, transfer};
use crate::peers_rig::{Rig, Script, change, connected, in_time, peer};
use alloy_consensus::{TxEnvelope, TxLegacy};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Address, B256, TxKind, U256};
use quintet_chain::ChainServer;
use quintet_chain::peers::PeerChange;
use quintet_chain_api::{BuildRequest, ChainClient};
use quintet_eth_wire::{
    BlockHashNumber, EthMessage, EthVersion, MAX_TRANSACTIONS_SIZE, NewBlock, PooledHashes, Tagged,
};
use quintet_service::Service;
use quintet_service::grpc::Transport;
use quintet_testkit::accounts::dev_account;
use quintet_testkit::generate::Network;
use quintet_types::{BlockRef, TraceContext};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// The development network, whose accounts' transactions can be signed.
fn dev() -> Rig {
    let bare = Bare::on(quintet_store::open_temporary().unwrap(), &Arc::new(spec()), false);
    Rig::around(bare, Vec::new())
}

fn client(rig: &Rig) -> ChainClient {
    let server = ChainServer::new(Arc::clone(&rig.bare.chain), rig.supervisor.token());
    let server = server.with_peers(rig.peers.clone()).into_server();
    ChainClient::new(Transport::local(Service::Gateway, server))
}

async fn up(rig: &Rig, link: &mut Script, peers: std::ops::RangeInclusive<u8>, version: EthVersion) {
    let before = rig.peers.len();
    let count = peers.clone().count();
    peers.for_each(|n| link.up(n, version));
    connected(rig, before + count).await;
}

async fn pooled(client: &ChainClient, count: u64) {
    in_time("the pool", async {
        loop {
            let status = client.pool_status().await.unwrap();
            if status.pending + status.queued >= count {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

async fn is_pooled(client: &ChainClient, transaction: &TxEnvelope) -> bool {
    client.pool_transaction(*transaction.tx_hash()).await.unwrap().is_some()
}

/// A transfer of before EIP-2718.
fn legacy_transfer(from: usize) -> TxEnvelope {
    let transaction = TxLegacy {
        chain_id: Some(1337),
        gas_limit: 21_000,
        gas_price: 3_000_000_000,
        to: TxKind::Call(Address::with_last_byte(0x42)),
        ..TxLegacy::default()
    };
    dev_account(from).sign(transaction).into()
}

fn announced(transactions: &[TxEnvelope]) -> PooledHashes {
    let mut hashes = PooledHashes::default();
    for transaction in transactions {
        let size = u32::try_from(transaction.encode_2718_len()).unwrap();
        hashes.push(*transaction.tx_hash(), transaction.tx_type() as u8, size);
    }
    hashes
}

#[tokio::test]
async fn a_transaction_goes_whole_to_some_and_is_announced_to_the_rest() {
    let rig = dev();
    let mut link = rig.link(1).await;
    up(&rig, &mut link, 1..=9, EthVersion::Eth68).await;
    let transaction = transfer(0, 0, 1);
    client(&rig).send_transaction(transaction.encoded_2718().into(), false, false).await.unwrap();
    let (mut whole, mut told) = (BTreeSet::new(), BTreeSet::new());
    while whole.len() + told.len() < 9 {
        match link.message().await {
            (to, EthMessage::Transactions(got)) => {
                assert_eq!(got, std::slice::from_ref(&transaction));
                whole.extend(to);
            }
            (to, EthMessage::NewPooledTransactionHashes(got)) => {
                assert_eq!(got, announced(std::slice::from_ref(&transaction)));
                told.extend(to);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((whole.len(), told.len()), (3, 6));
    // Who was told of it asks for it.
    let body = vec![B256::ZERO, *transaction.tx_hash()];
    link.say(1, &EthMessage::GetPooledTransactions(Tagged { id: 3, body }));
    let (_, answer) = link.message().await;
    assert_eq!(answer, EthMessage::PooledTransactions(Tagged { id: 3, body: vec![transaction] }));
    link.assert_silent().await;
}

#[tokio::test]
async fn a_new_peer_is_told_of_the_whole_pool() {
    let rig = dev();
    let client = client(&rig);
    let transactions: Vec<TxEnvelope> = (0..20).map(|nonce| transfer(0, nonce, 1)).collect();
    for transaction in &transactions {
        client.send_transaction(transaction.encoded_2718().into(), false, false).await.unwrap();
    }
    let mut link = rig.link(1).await;
    link.up(1, EthVersion::Eth68);
    let (to, message) = link.message().await;
    assert_eq!(
        (to, message),
        (vec![peer(1)], EthMessage::NewPooledTransactionHashes(announced(&transactions)))
    );
    link.up(2, EthVersion::Eth66);
    let (to, EthMessage::NewPooledTransactionHashes(got)) = link.message().await else { panic!() };
    assert_eq!((to, got.hashes, got.types.len()), (vec![peer(2)], announced(&transactions).hashes, 0));
    // Peers of the old days know no announcements, and no types.
    link.up(3, EthVersion::Eth63);
    link.assert_silent().await;
    let legacy = legacy_transfer(1);
    client.send_transaction(legacy.encoded_2718().into(), false, false).await.unwrap();
    let mut old = Vec::new();
    while old.is_empty() {
        if let (to, EthMessage::Transactions(got)) = link.message().await
            && to.contains(&peer(3))
        {
            old = got;
        }
    }
    assert_eq!(old, std::slice::from_ref(&legacy));
    link.up(4, EthVersion::Eth63);
    loop {
        let (to, message) = link.message().await;
        if to == [peer(4)] {
            assert_eq!(message, EthMessage::Transactions(vec![legacy]));
            break;
        }
    }
}

#[tokio::test]
async fn transactions_of_peers_come_into_the_pool_and_go_on() {
    let rig = dev();
    let mut link = rig.link(1).await;
    up(&rig, &mut link, 1..=2, EthVersion::Eth68).await;
    let transaction = transfer(0, 0, 1);
    link.say(1, &EthMessage::Transactions(vec![transaction.clone()]));
    // Not to the one that it came from.
    let (to, _) = link.message().await;
    assert_eq!(to, [peer(2)]);
    assert!(is_pooled(&client(&rig), &transaction).await);
    link.assert_silent().await;
    // What is not valid costs nobody anything at once, but is not taken.
    let poor = transfer(0, 1, u64::MAX);
    link.say(1, &EthMessage::Transactions(vec![poor.clone()]));
    link.assert_silent().await;
    assert!(!is_pooled(&client(&rig), &poor).await);
}

#[tokio::test]
async fn what_comes_together_goes_on_together_and_is_given_together() {
    let rig = dev();
    let mut link = rig.link(1).await;
    up(&rig, &mut link, 1..=2, EthVersion::Eth68).await;
    // Eight batches of the pool.
    let transactions: Vec<TxEnvelope> = (0..1024).map(|nonce| transfer(0, nonce, 1)).collect();
    link.say(1, &EthMessage::Transactions(transactions.clone()));
    let (mut told, mut messages) = (Vec::new(), 0);
    while told.len() < transactions.len() {
        let (to, EthMessage::Transactions(got)) = link.message().await else { panic!() };
        assert_eq!(to, [peer(2)]);
        assert!(alloy_rlp::encode(&got).len() <= MAX_TRANSACTIONS_SIZE + 16);
        told.extend(got);
        messages += 1;
    }
    assert_eq!(told, transactions);
    assert!(messages <= 4, "{messages}");
    // An answer is as long as it may be in bytes, however many they are.
    let body: Vec<B256> = transactions.iter().map(|transaction| *transaction.tx_hash()).collect();
    link.say(2, &EthMessage::GetPooledTransactions(Tagged { id: 5, body }));
    let (_, answer) = link.message().await;
    assert_eq!(answer, EthMessage::PooledTransactions(Tagged { id: 5, body: transactions }));
}

#[tokio::test]
async fn announced_transactions_are_fetched() {
    let rig = dev();
    let mut link = rig.link(1).await;
    up(&rig, &mut link, 1..=2, EthVersion::Eth68).await;
    let transactions: Vec<TxEnvelope> = (0..5).map(|nonce| transfer(0, nonce, 1)).collect();
    link.say(1, &EthMessage::NewPooledTransactionHashes(announced(&transactions)));
    let (to, EthMessage::GetPooledTransactions(request)) = link.message().await else { panic!() };
    assert_eq!((to, &request.body), (vec![peer(1)], &announced(&transactions).hashes));
    link.say(1, &EthMessage::PooledTransactions(Tagged { id: request.id, body: transactions }));
    pooled(&client(&rig), 5).await;
    let (to, _) = link.message().await;
    assert_eq!(to, [peer(2)]);
}

#[tokio::test]
async fn who_announces_something_else_than_there_is_is_sent_away() {
    let rig = dev();
    let mut link = rig.link(1).await;
    up(&rig, &mut link, 1..=1, EthVersion::Eth68).await;
    let transaction = transfer(0, 0, 1);
    let mut lie = announced(std::slice::from_ref(&transaction));
    lie.sizes[0] += 100;
    link.say(1, &EthMessage::NewPooledTransactionHashes(lie));
    let (_, EthMessage::GetPooledTransactions(request)) = link.message().await else { panic!() };
    link.say(1, &EthMessage::PooledTransactions(Tagged { id: request.id, body: vec![transaction] }));
    let (weight, reason) = link.penalty(1).await;
    assert!(weight == 50 && reason.contains("another type or size"), "{weight}: {reason}");
    assert_eq!(link.disconnect(1).await, 0x10);
    // And so does who gives something else than was asked for.
    link.up(2, EthVersion::Eth68);
    connected(&rig, 2).await;
    let (asked, given) = (transfer(1, 0, 1), transfer(1, 1, 1));
    link.say(2, &EthMessage::NewPooledTransactionHashes(announced(std::slice::from_ref(&asked))));
    loop {
        if let (to, EthMessage::GetPooledTransactions(request)) = link.message().await {
            assert_eq!(to, [peer(2)]);
            link.say(2, &EthMessage::PooledTransactions(Tagged { id: request.id, body: vec![given] }));
            break;
        }
    }
    assert!(link.penalty(2).await.1.contains("nobody asked for"));
}

#[tokio::test]
async fn transactions_wait_for_the_first_sync() {
    let rig = dev();
    let mut link = rig.link(1).await;
    link.up_at(1, EthVersion::Eth68, U256::from(1_000_000), 0);
    link.up(2, EthVersion::Eth68);
    connected(&rig, 2).await;
    let transaction = transfer(0, 0, 1);
    link.say(1, &EthMessage::Transactions(vec![transaction.clone()]));
    link.say(2, &EthMessage::NewPooledTransactionHashes(announced(std::slice::from_ref(&transaction))));
    link.assert_silent().await;
    assert!(!is_pooled(&client(&rig), &transaction).await);
    rig.peers.accept_transactions();
    link.say(1, &EthMessage::Transactions(vec![transaction]));
    pooled(&client(&rig), 1).await;
}

#[tokio::test]
async fn a_mined_block_is_told() {
    let rig = dev();
    let (client, mut link) = (client(&rig), rig.link(1).await);
    up(&rig, &mut link, 1..=9, EthVersion::Eth68).await;
    let request = BuildRequest {
        timestamp: 1_800_000_000,
        gas_limit_target: GAS_LIMIT,
        allow_empty: true,
        ..BuildRequest::default()
    };
    let work = client.build_block(request).await.unwrap().unwrap();
    let submitted = client.submit_block(&work.block, 0).await.unwrap();
    let (mut whole, mut told) = (BTreeSet::new(), BTreeSet::new());
    while whole.len() + told.len() < 9 {
        match link.message().await {
            (to, EthMessage::NewBlock(new)) => {
                assert_eq!(new.block, work.block);
                assert_eq!(new.total_difficulty, rig.bare.chain.head().total_difficulty);
                whole.extend(to);
            }
            (to, EthMessage::NewBlockHashes(blocks)) => {
                let BlockRef { number, hash } = submitted.block;
                assert_eq!(blocks, [BlockHashNumber { hash, number }]);
                told.extend(to);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((whole.len(), told.len()), (3, 6));
    assert!(whole.is_disjoint(&told));
    rig.peers.announce_block(submitted.block);
    link.assert_silent().await;
}

#[tokio::test]
async fn blocks_of_peers_come_to_who_follows_them() {
    let rig = Rig::new(Network::Ethash, 4);
    let mut link = rig.link(1).await;
    up(&rig, &mut link, 1..=2, EthVersion::Eth68).await;
    let mut changes = rig.peers.subscribe();
    let sent = rig.blocks[3].block.block.clone();
    let total_difficulty = rig.bare.chain.head().total_difficulty;
    let trace = TraceContext("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into());
    let new = NewBlock { block: sent.clone(), total_difficulty };
    link.say_traced(1, &EthMessage::NewBlock(Box::new(new)), trace);
    let (from, block, td) = change(&mut changes, |change| match change {
        PeerChange::Block { peer, block, td, .. } => Some((peer, block, td)),
        _ => None,
    })
    .await;
    assert_eq!((from, &*block, td), (peer(1), &sent, total_difficulty));
    change(&mut changes, |change| matches!(change, PeerChange::Head(id) if id == peer(1)).then_some(()))
        .await;
    // The peer has the parent for certain, with the difficulty before.
    let head = rig.peers.get(&peer(1)).unwrap().head();
    assert_eq!((head.hash, head.number), (sent.header.parent_hash, Some(3)));
    assert_eq!(head.total_difficulty, Some(total_difficulty - sent.header.difficulty));
    // It is told on to who does not have it.
    let hash = rig.blocks[3].block.hash;
    rig.peers.broadcast_block(&sent, total_difficulty);
    let (to, message) = link.answer().await;
    assert!(to == [peer(2)] && matches!(message, EthMessage::NewBlock(_)));
    rig.peers.announce_block(BlockRef { number: 4, hash });
    link.assert_silent().await;
    let announced = vec![BlockHashNumber { hash: B256::repeat_byte(8), number: 5 }];
    link.say(2, &EthMessage::NewBlockHashes(announced));
    let blocks = change(&mut changes, |change| match change {
        PeerChange::Announced { blocks, .. } => Some(blocks),
        _ => None,
    })
    .await;
    assert_eq!(blocks, [(B256::repeat_byte(8), 5)]);
    assert!(rig.peers.get(&peer(2)).unwrap().has_block(&B256::repeat_byte(8)));
}

/// Peers of today break off at announcements of blocks after the merge.
#[tokio::test]
async fn blocks_after_the_merge_are_not_told() {
    for version in [EthVersion::Eth68, EthVersion::Eth69] {
        let rig = Rig::new(Network::Beacon, 3);
        let mut link = rig.link(1).await;
        link.status().await;
        link.up(1, version);
        connected(&rig, 1).await;
        let head = &rig.blocks[2].block;
        rig.peers.broadcast_block(&head.block, U256::ZERO);
        rig.peers.announce_block(head.block_ref());
        rig.peers.announce_block(rig.blocks[1].block.block_ref());
        link.assert_silent().await;
    }
}
