//! Sync from honest peers: fast ones and slow ones, some that go, and chains of every kind of network.

use crate::fixture::Bare;
use crate::sync_net::{SimNet, SimPeer, Syncing, whole_chain};
use alloy_rlp::Decodable;
use quintet_chain::sync::{Fault, Start, SyncOptions};
use quintet_chain::{BulkOptions, ChainServer};
use quintet_chain_api::ChainClient;
use quintet_chainspec::ChainSpec;
use quintet_service::Service;
use quintet_service::grpc::Transport;
use quintet_testkit::generate::{BlockPlan, Generator, Network, Options};
use quintet_testkit::vectors;
use quintet_types::Block;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Invented time that every sync here is done in.
pub(crate) const LIMIT: Duration = Duration::from_mins(5);

/// A chain of which a few blocks in ten have transactions.
pub(crate) fn grow(generator: &mut Generator, count: usize, interval: u64) -> Vec<Block> {
    let genesis = generator.spec().genesis_block();
    let blocks: Vec<_> = (0..count)
        .map(|number| {
            let transactions = if number % 3 == 0 { 2 } else { usize::from(number % 3 == 1) };
            let plan = BlockPlan { interval, transactions: Some(transactions), ..BlockPlan::default() };
            generator.next_block_with(&plan)
        })
        .collect();
    whole_chain(genesis, &blocks)
}

pub(crate) fn chain_of(network: Network, count: usize) -> (Arc<ChainSpec>, Vec<Block>) {
    let mut generator = Generator::new(Options::small(network));
    let blocks = grow(&mut generator, count, 0);
    (Arc::clone(generator.spec()), blocks)
}

pub(crate) fn last_hash(blocks: &[Block]) -> alloy_primitives::B256 {
    blocks.last().unwrap().header.hash_slow()
}

#[tokio::test(start_paused = true)]
async fn a_chain_from_one_peer() {
    let (spec, blocks) = chain_of(Network::Ethash, 700);
    let node = Bare::temporary(&spec);
    let net = SimNet::new([SimPeer::new(1, &blocks)]);
    let syncing = Syncing::start(&node.chain, &net);
    syncing.until(LIMIT, "the sync's end", |_| net.synced.load(Ordering::Relaxed) == 1).await;
    syncing.stop().await;
    net.has_no_faults();
    let head = node.chain.head().block;
    assert_eq!(head.hash, last_hash(&blocks));
    assert_eq!(*net.announced.lock().unwrap(), [head], "others hear of it");
    node.assert_whole();
}

#[tokio::test(start_paused = true)]
async fn peers_with_different_heads_share_the_work() {
    let (spec, blocks) = chain_of(Network::Ethash, 900);
    let node = Bare::temporary(&spec);
    let net = SimNet::new([
        SimPeer::new(1, &blocks[..301]),
        SimPeer::new(2, &blocks),
        SimPeer::new(3, &blocks),
        SimPeer::new(4, &blocks[..601]),
    ]);
    let syncing = Syncing::start(&node.chain, &net);
    syncing.until_head(LIMIT, last_hash(&blocks)).await;
    syncing.stop().await;
    net.has_no_faults();
    for id in 1..=4 {
        let given = net.peer(id).unwrap().bodies_given.load(Ordering::Relaxed);
        assert!(given > 50, "peer {id} gave {given} bodies");
    }
    node.assert_whole();
}

#[tokio::test(start_paused = true)]
async fn a_slow_peer_does_not_hold_up_the_others() {
    let (spec, blocks) = chain_of(Network::Ethash, 600);
    let node = Bare::temporary(&spec);
    let net = SimNet::new([
        SimPeer::new(1, &blocks).slow(Duration::from_secs(7)),
        SimPeer::new(2, &blocks),
        // It never answers at all.
        SimPeer::new(3, &blocks[..500]).slow(Duration::from_hours(1)),
    ]);
    // The fast one claims a little more, so that it is the master.
    net.join(SimPeer::new(1, &blocks[..590]).slow(Duration::from_secs(7)));
    let syncing = Syncing::start(&node.chain, &net);
    syncing.until_head(Duration::from_mins(1), last_hash(&blocks)).await;
    syncing.stop().await;
    assert!(net.faults_of(1).is_empty() && net.faults_of(2).is_empty());
    assert!(net.faults_of(3).iter().all(|fault| *fault == Fault::Stalling));
}

#[tokio::test(start_paused = true)]
async fn peers_that_leave_are_replaced_by_others() {
    let (spec, blocks) = chain_of(Network::Ethash, 800);
    let node = Bare::temporary(&spec);
    let net = SimNet::new([SimPeer::new(1, &blocks), SimPeer::new(2, &blocks[..700])]);
    let syncing = Syncing::start(&node.chain, &net);
    syncing.until(LIMIT, "some blocks", |chain| chain.head().block.number > 0).await;
    // The master goes, another one comes.
    net.leave(alloy_primitives::B256::repeat_byte(1));
    syncing.until_head(LIMIT, blocks[699].header.hash_slow()).await;
    net.join(SimPeer::new(3, &blocks));
    syncing.until_head(LIMIT, last_hash(&blocks)).await;
    syncing.stop().await;
    net.has_no_faults();
    node.assert_whole();
}

#[tokio::test(start_paused = true)]
async fn a_sync_goes_on_after_a_restart() {
    let (spec, blocks) = chain_of(Network::Ethash, 600);
    let node = Bare::temporary(&spec);
    let net = SimNet::new([SimPeer::new(1, &blocks)]);
    let syncing = Syncing::start(&node.chain, &net);
    syncing.until(LIMIT, "some blocks", |chain| chain.head().block.number > 0).await;
    syncing.stop().await;
    let reached = node.chain.head().block.number;
    let given = net.peer(1).unwrap().bodies_given.load(Ordering::Relaxed);
    let store = Arc::clone(&node.store);
    drop(node);
    let node = Bare::on(store, &spec, false);
    assert!(node.chain.head().block.number >= reached);
    let syncing = Syncing::start(&node.chain, &net);
    syncing.until_head(LIMIT, last_hash(&blocks)).await;
    syncing.stop().await;
    net.has_no_faults();
    let again = net.peer(1).unwrap().bodies_given.load(Ordering::Relaxed) - given;
    assert!(again as u64 <= 600 - reached, "{again} bodies for what was above block {reached}");
    node.assert_whole();
}

/// It gives no headers at all when the last one's step leads beyond its head, as ethereumjs does.
fn all_or_nothing(blocks: &[Block]) -> SimPeer {
    let head = blocks.len() as u64 - 1;
    SimPeer::new(1, blocks).with_headers(move |request, headers| {
        let Start::Number(from) = request.start else { return Some(headers) };
        let beyond = from + request.limit * request.skip > head;
        Some(if beyond { Vec::new() } else { headers })
    })
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_gives_all_headers_or_none() {
    let mut trunk = Generator::new(Options::small(Network::Ethash));
    let common = grow(&mut trunk, 230, 0);
    let (mut slow, mut fast) = (trunk.branch(1), trunk.branch(2));
    let ours = [&common[..], &grow(&mut slow, 20, 60)[1..]].concat();
    let theirs = [&common[..], &grow(&mut fast, 21, 3)[1..]].concat();
    // What we have, and what it has: from genesis on, near its head, and on another branch.
    for (ours, theirs) in [
        (&common[..1], &common[..8]),
        (&common[..1], &common[..20]),
        (&common[..12], &common[..14]),
        (&common[..221], &common[..]),
        (&ours[..], &theirs[..]),
    ] {
        let node = Bare::temporary(trunk.spec());
        node.import_all(ours, &BulkOptions::default()).unwrap();
        let net = SimNet::new([all_or_nothing(theirs)]);
        let syncing = Syncing::start(&node.chain, &net);
        syncing.until_head(Duration::from_secs(30), last_hash(theirs)).await;
        syncing.stop().await;
        net.has_no_faults();
    }
}

/// Our chain is the other branch, and the fork is deeper than side chains are executed.
#[tokio::test(start_paused = true)]
async fn a_heavier_branch_takes_over_however_deep_the_fork() {
    let mut trunk = Generator::new(Options::small(Network::Ethash));
    let common = grow(&mut trunk, 40, 0);
    let (mut slow, mut fast) = (trunk.branch(1), trunk.branch(2));
    let ours = [&common[..], &grow(&mut slow, 180, 60)[1..]].concat();
    let theirs = [&common[..], &grow(&mut fast, 170, 3)[1..]].concat();
    let node = Bare::temporary(trunk.spec());
    node.import_all(&ours, &BulkOptions::default()).unwrap();
    let net = SimNet::new([SimPeer::new(1, &theirs), SimPeer::new(2, &ours)]);
    let syncing = Syncing::start(&node.chain, &net);
    syncing.until_head(LIMIT, last_hash(&theirs)).await;
    syncing.stop().await;
    net.has_no_faults();
    node.assert_whole();
}

#[tokio::test(start_paused = true)]
async fn a_chain_with_uncles_and_full_blocks() {
    let mut generator = Generator::new(Options::small(Network::Ethash));
    let blocks: Vec<_> = (0..60).map(|_| generator.next_block()).collect();
    let blocks = whole_chain(generator.spec().genesis_block(), &blocks);
    assert!(blocks.iter().any(|block| !block.body.ommers.is_empty()));
    let node = Bare::temporary(generator.spec());
    let net = SimNet::new([SimPeer::new(1, &blocks), SimPeer::new(2, &blocks)]);
    let syncing = Syncing::start(&node.chain, &net);
    syncing.until_head(LIMIT, last_hash(&blocks)).await;
    syncing.stop().await;
    net.has_no_faults();
    node.assert_whole();
}

#[tokio::test(start_paused = true)]
async fn clique_and_the_merge_are_synced_by_either_status() {
    for network in [Network::Clique, Network::Beacon] {
        let (spec, blocks) = chain_of(network, 250);
        for modern in [false, true] {
            let node = Bare::temporary(&spec);
            let peer = SimPeer::new(1, &blocks);
            let net = SimNet::new([if modern { peer.modern() } else { peer }]);
            let syncing = Syncing::start(&node.chain, &net);
            syncing.until_head(LIMIT, last_hash(&blocks)).await;
            // Nothing more comes of it: the head is the same. After the merge it is asked now and then whether it has more.
            let most = if network == Network::Beacon { 8 } else { 2 };
            let asked = net.peer(1).unwrap().asked.load(Ordering::Relaxed);
            tokio::time::sleep(Duration::from_mins(1)).await;
            assert!(net.peer(1).unwrap().asked.load(Ordering::Relaxed) - asked <= most);
            syncing.stop().await;
            net.has_no_faults();
            node.assert_whole();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_grows_is_followed() {
    let (spec, blocks) = chain_of(Network::Ethash, 400);
    let node = Bare::temporary(&spec);
    let net = SimNet::new([SimPeer::new(1, &blocks[..200])]);
    let syncing = Syncing::start(&node.chain, &net);
    syncing.until_head(LIMIT, blocks[199].header.hash_slow()).await;
    net.join(SimPeer::new(1, &blocks[..300]));
    syncing.until_head(Duration::from_secs(20), blocks[299].header.hash_slow()).await;
    // Nobody tells of this one: the forced look finds it.
    net.leave(alloy_primitives::B256::repeat_byte(1));
    net.join(SimPeer::new(1, &blocks));
    syncing.until_head(Duration::from_secs(20), last_hash(&blocks)).await;
    syncing.stop().await;
    net.has_no_faults();
}

#[tokio::test(start_paused = true)]
async fn progress_is_told_and_the_first_sync_holds_mining() {
    let (spec, blocks) = chain_of(Network::Ethash, 300);
    let node = Bare::temporary(&spec);
    let net = SimNet::new([SimPeer::new(1, &blocks)]);
    let syncing = Syncing::start(&node.chain, &net);
    let server = ChainServer::new(Arc::clone(&node.chain), CancellationToken::new());
    let server = server.with_sync(syncing.sync.status()).into_server();
    let client = ChainClient::new(Transport::local(Service::Gateway, server));
    let mut told = Vec::new();
    let mut held = false;
    while node.chain.head().block.number < 300 {
        if let Some(progress) = client.sync_status().await.unwrap() {
            told.push(progress);
            let build = quintet_chain_api::BuildRequest { allow_empty: true, ..Default::default() };
            held |= client
                .build_block(build)
                .await
                .is_err_and(|error| error.to_string().contains("mining waits"));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(held, "mining waits");
    assert!(
        told.iter().all(|progress| progress.starting_block == 0 && progress.highest_block == 300),
        "{told:?}"
    );
    assert!(told.is_sorted_by_key(|progress| progress.current_block));
    syncing.until(LIMIT, "the sync ends", |_| !syncing.sync.status().holds_mining()).await;
    assert_eq!(client.sync_status().await.unwrap(), None);
    syncing.stop().await;
}

/// Little memory: everything waits for everything else, and still it ends.
#[tokio::test(start_paused = true)]
async fn small_limits_only_slow_a_sync_down() {
    let (spec, blocks) = chain_of(Network::Ethash, 500);
    let node = Bare::temporary(&spec);
    let net = SimNet::new([SimPeer::new(1, &blocks), SimPeer::new(2, &blocks)]);
    let bulk = BulkOptions { batch_blocks: 7, threads: 1, queue_bytes: 1, ..BulkOptions::default() };
    let patience = Duration::from_millis(2);
    let options = SyncOptions {
        bulk,
        patience,
        header_bytes: 1,
        body_bytes: 1,
        feed_bytes: 1,
        ..SyncOptions::default()
    };
    let syncing = Syncing::with(&node.chain, &net, options);
    syncing.until_head(Duration::from_mins(10), last_hash(&blocks)).await;
    syncing.stop().await;
    net.has_no_faults();
}

/// The blocks of a file.
pub(crate) fn file(path: &Path, most: usize) -> Vec<Block> {
    let bytes = fs::read(path).unwrap();
    let mut rest = bytes.as_slice();
    let mut blocks = Vec::new();
    while !rest.is_empty() && blocks.len() < most {
        blocks.push(Block::decode(&mut rest).unwrap());
    }
    blocks
}

async fn assert_syncs(genesis: &Path, blocks: &[Block], check_work: bool) {
    let spec = ChainSpec::from_json(&fs::read_to_string(genesis).unwrap()).unwrap();
    assert_syncs_on(&Arc::new(spec), blocks, check_work).await;
}

async fn assert_syncs_on(spec: &Arc<ChainSpec>, blocks: &[Block], check_work: bool) {
    let mut chain = vec![spec.genesis_block()];
    chain.extend(blocks.iter().filter(|block| block.header.number > 0).cloned());
    let node = Bare::on(quintet_store::open_temporary().unwrap(), spec, check_work);
    let net = SimNet::new([SimPeer::new(1, &chain), SimPeer::new(2, &chain)]);
    let syncing = Syncing::start(&node.chain, &net);
    syncing.until_head(LIMIT, last_hash(&chain)).await;
    syncing.stop().await;
    net.has_no_faults();
    node.assert_whole();
}

#[tokio::test(start_paused = true)]
async fn real_seals_of_proof_of_work() {
    let Some(folder) = vectors::archive("14") else { return };
    let folder = folder.join("hive-simplechain");
    assert_syncs(&folder.join("genesis.json"), &file(&folder.join("chain.rlp"), 200), true).await;
}

#[tokio::test(start_paused = true)]
async fn a_clique_chain_that_geth_signed() {
    let Some(folder) = vectors::archive("20") else { return };
    assert_syncs(&folder.join("genesis.json"), &file(&folder.join("chain.rlp"), usize::MAX), true).await;
}

#[tokio::test(start_paused = true)]
async fn a_chain_through_the_forks_of_proof_of_work() {
    let Some(folder) = vectors::archive("14") else { return };
    let folder = folder.join("core-geth-foundation-condense-state");
    assert_syncs(&folder.join("foundation.conf.json"), &file(&folder.join("export.rlp"), 300), false).await;
}

#[tokio::test(start_paused = true)]
async fn the_first_blocks_of_mainnet() {
    let Some(folder) = vectors::archive("12") else { return };
    let folder = folder.join("mainnet-0-999");
    let spec = Arc::new(ChainSpec::preset("mainnet").unwrap());
    assert_syncs_on(&spec, &file(&folder.join("blocks.rlp"), 1000), true).await;
}

#[tokio::test(start_paused = true)]
async fn a_clique_chain_that_besu_signed() {
    let Some(folder) = vectors::archive("12") else { return };
    let folder = folder.join("besu-clique-5-blocks");
    let blocks = file(&folder.join("clique.blocks"), usize::MAX);
    assert_syncs(&folder.join("clique_to_pos.json"), &blocks, true).await;
}

/// How fast a sync is against an import of the same chain. It takes real time, and asserts nothing of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement: it prints times and asserts none; with `--ignored --nocapture`"]
async fn rate_against_import() {
    for (name, options, count) in [
        ("full blocks", Options { transactions: 100, ..Options::benchmark(Network::Ethash) }, 300),
        ("nearly empty blocks", Options { transactions: 1, ..Options::small(Network::Ethash) }, 6000),
        ("nearly empty clique blocks", Options { transactions: 1, ..Options::small(Network::Clique) }, 6000),
    ] {
        let mut generator = Generator::new(options);
        let blocks: Vec<_> = (0..count).map(|_| generator.next_block()).collect();
        let blocks = whole_chain(generator.spec().genesis_block(), &blocks);
        for _ in 0..2 {
            let imported = Bare::temporary(generator.spec());
            let source = blocks.clone();
            let start = std::time::Instant::now();
            imported.import_all(&source, &BulkOptions::default()).unwrap();
            let import = start.elapsed();
            drop(source);
            let synced = Bare::temporary(generator.spec());
            let peer = SimPeer::new(1, &blocks).slow(Duration::from_millis(1));
            let net = SimNet::new([peer]);
            let start = std::time::Instant::now();
            let syncing = Syncing::with(&synced.chain, &net, SyncOptions::default());
            while synced.chain.head().block.number < count || syncing.sync.status().holds_mining() {
                assert!(start.elapsed() < LIMIT);
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            let sync = start.elapsed();
            syncing.stop().await;
            println!(
                "{name}: import {import:.2?}, sync {sync:.2?}: {:.0} %",
                100.0 * import.as_secs_f64() / sync.as_secs_f64()
            );
        }
    }
}
