//! Peers that lie, stall and break rules: each pays for it with its reputation, and sync ends with the honest chain.

use crate::fixture::Bare;
use crate::sync_full::{LIMIT, chain_of, file, grow, last_hash};
use crate::sync_net::{SimNet, SimPeer, Syncing};
use alloy_primitives::{B256, U256};
use quintet_chain::BulkOptions;
use quintet_chain::sync::{Fault, Start};
use quintet_chainspec::ChainSpec;
use quintet_testkit::generate::{Generator, Network, Options};
use quintet_testkit::vectors;
use quintet_types::{Block, Header};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Syncs from the peers, of which the second is the honest one. What the first was blamed for.
async fn faults_while_syncing(spec_of: &Bare, blocks: &[Block], hostile: SimPeer) -> Vec<Fault> {
    let net = SimNet::new([hostile, SimPeer::new(2, blocks)]);
    let syncing = Syncing::start(&spec_of.chain, &net);
    syncing.until_head(LIMIT, last_hash(blocks)).await;
    // Who was not needed is found out at the next look.
    syncing.until(LIMIT, "a fault", |_| !net.faults_of(1).is_empty()).await;
    syncing.stop().await;
    assert_eq!(net.faults_of(2), [], "the honest peer is blameless");
    spec_of.assert_whole();
    net.faults_of(1)
}

/// More than the honest peer can say.
fn boast(blocks: &[Block]) -> U256 {
    blocks.iter().map(|block| block.header.difficulty).sum::<U256>() + U256::from(1_000_000_000)
}

/// The same chain with another block in the place of one, and all behind it on that.
fn with_flaw(blocks: &[Block], place: usize, spoil: impl Fn(&mut Header)) -> Vec<Block> {
    let mut flawed = blocks.to_vec();
    spoil(&mut flawed[place].header);
    for next in place + 1..flawed.len() {
        flawed[next].header.parent_hash = flawed[next - 1].header.hash_slow();
    }
    flawed
}

#[tokio::test(start_paused = true)]
async fn headers_that_do_not_link() {
    let (spec, blocks) = chain_of(Network::Ethash, 500);
    // Whether it is the master or only helps.
    for claim in [boast(&blocks), U256::from(1)] {
        let node = Bare::temporary(&spec);
        let hostile = SimPeer::new(1, &blocks).claiming(claim).with_headers(|request, mut headers| {
            if request.limit > 1 && request.skip == 0 && headers.len() > 3 {
                headers.swap(1, 2);
            }
            Some(headers)
        });
        let faults = faults_while_syncing(&node, &blocks, hostile).await;
        assert_eq!(faults, [Fault::Unlinked]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_skeleton_of_two_branches() {
    let mut trunk = Generator::new(Options::small(Network::Ethash));
    let blocks = grow(&mut trunk, 450, 0);
    let other = grow(&mut Generator::new(Options::small(Network::Ethash).with_seed(9)), 450, 0);
    let node = Bare::temporary(trunk.spec());
    let hostile =
        SimPeer::new(1, &blocks).claiming(boast(&blocks)).with_headers(move |request, mut headers| {
            if request.skip == 191 && headers.len() > 1 {
                headers[1] = other[384].header.clone();
            }
            Some(headers)
        });
    // Nobody can fill the second segment, and what the peer has behind it does not link.
    let faults = faults_while_syncing(&node, &blocks, hostile).await;
    assert!(matches!(faults.as_slice(), [Fault::Stalling | Fault::Unsteady]), "{faults:?}");
}

#[tokio::test(start_paused = true)]
async fn headers_that_were_not_asked_for() {
    let (spec, blocks) = chain_of(Network::Ethash, 300);
    let node = Bare::temporary(&spec);
    let elsewhere = blocks[7].header.clone();
    let hostile = SimPeer::new(1, &blocks).claiming(boast(&blocks)).with_headers(move |request, headers| {
        let by_number = matches!(request.start, Start::Number(_));
        Some(if by_number { vec![elsewhere.clone()] } else { headers })
    });
    let faults = faults_while_syncing(&node, &blocks, hostile).await;
    assert_eq!(faults, [Fault::WrongHeaders]);
}

#[tokio::test(start_paused = true)]
async fn a_head_that_nobody_has() {
    let (spec, blocks) = chain_of(Network::Ethash, 300);
    let node = Bare::temporary(&spec);
    let mut hostile = SimPeer::new(1, &blocks).claiming(boast(&blocks));
    hostile.head.hash = B256::repeat_byte(0xdd);
    let faults = faults_while_syncing(&node, &blocks, hostile).await;
    assert_eq!(faults, [Fault::NoHead]);
}

#[tokio::test(start_paused = true)]
async fn bodies_that_do_not_match() {
    let (spec, blocks) = chain_of(Network::Ethash, 400);
    for claim in [boast(&blocks), U256::from(1)] {
        let node = Bare::temporary(&spec);
        let hostile = SimPeer::new(1, &blocks).claiming(claim).with_bodies(|_, mut bodies| {
            if let Some(body) = bodies.last_mut() {
                body.transactions.pop();
            }
            Some(bodies)
        });
        let faults = faults_while_syncing(&node, &blocks, hostile).await;
        assert_eq!(faults, [Fault::WrongBodies]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_chain_without_bodies() {
    let (spec, blocks) = chain_of(Network::Ethash, 300);
    let node = Bare::temporary(&spec);
    // Nobody else has the end of its chain.
    let hostile = SimPeer::new(1, &blocks).with_bodies(|_, _| Some(Vec::new()));
    let net = SimNet::new([hostile, SimPeer::new(2, &blocks[..250])]);
    let syncing = Syncing::start(&node.chain, &net);
    syncing.until_head(LIMIT, blocks[249].header.hash_slow()).await;
    syncing.until(LIMIT, "a fault", |_| !net.faults_of(1).is_empty()).await;
    syncing.stop().await;
    assert!(net.faults_of(1).iter().all(|fault| *fault == Fault::Stalling));
    assert_eq!(net.faults_of(2), []);
    node.assert_whole();
}

/// A heavier branch that nobody gives the bodies of, the peer that told of it included.
#[tokio::test(start_paused = true)]
async fn a_branch_without_bodies_costs_seconds() {
    let mut trunk = Generator::new(Options::small(Network::Ethash));
    let common = grow(&mut trunk, 2, 0);
    let (mut one, mut other) = (trunk.branch(1), trunk.branch(2));
    let honest = [&common[..], &grow(&mut one, 48, 0)[1..]].concat();
    let hidden = [&common[..], &grow(&mut other, 120, 0)[1..]].concat();
    // As of a peer that gave none before, one is asked for at a time.
    let meagre = |mut peer: SimPeer| {
        peer.capacity = 1;
        peer
    };
    for bodies in [Some(Vec::new()), None] {
        let node = Bare::temporary(trunk.spec());
        let hostile =
            SimPeer::new(1, &hidden).claiming(boast(&honest)).with_bodies(move |_, _| bodies.clone());
        let net = SimNet::new([meagre(hostile), meagre(SimPeer::new(2, &honest))]);
        let syncing = Syncing::start(&node.chain, &net);
        syncing.until_head(Duration::from_secs(30), last_hash(&honest)).await;
        syncing.stop().await;
        assert_eq!(net.faults_of(1), [Fault::Stalling]);
        assert_eq!(net.faults_of(2), [], "the honest peer is blameless");
    }
}

/// The master gives every 192nd header of it, and nobody those between.
#[tokio::test(start_paused = true)]
async fn a_branch_without_headers_costs_seconds() {
    let (spec, blocks) = chain_of(Network::Ethash, 900);
    let node = Bare::temporary(&spec);
    let hostile = SimPeer::new(1, &blocks).with_headers(|request, headers| {
        let between = request.skip == 0 && request.limit > 1;
        Some(if between { Vec::new() } else { headers })
    });
    let net = SimNet::new([hostile, SimPeer::new(2, &blocks[..100])]);
    let syncing = Syncing::start(&node.chain, &net);
    syncing.until_head(Duration::from_secs(5), blocks[99].header.hash_slow()).await;
    syncing.stop().await;
    assert_eq!(net.faults_of(1), [Fault::Stalling]);
    assert_eq!(net.faults_of(2), []);
}

/// A peer that says nothing any more after so many answers.
fn silent_after(answers: usize, blocks: &[Block]) -> SimPeer {
    let counter = Arc::new(AtomicUsize::new(0));
    let (headers, bodies) = (Arc::clone(&counter), counter);
    let talks = move |counter: &AtomicUsize| counter.fetch_add(1, Ordering::Relaxed) < answers;
    SimPeer::new(1, blocks)
        .claiming(boast(blocks))
        .with_headers(move |_, answer| talks(&headers).then_some(answer))
        .with_bodies(move |_, answer| talks(&bodies).then_some(answer))
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_costs_seconds() {
    let (spec, blocks) = chain_of(Network::Ethash, 300);
    for answers in [0, 1, 2, 5] {
        let node = Bare::temporary(&spec);
        let hostile = silent_after(answers, &blocks);
        let net = SimNet::new([hostile, SimPeer::new(2, &blocks)]);
        let syncing = Syncing::start(&node.chain, &net);
        syncing.until_head(Duration::from_secs(25), last_hash(&blocks)).await;
        syncing.stop().await;
        assert_eq!(net.faults_of(2), []);
    }
}

/// It was wrong once, and there is nobody else.
#[tokio::test(start_paused = true)]
async fn the_only_peer_is_tried_again_after_a_fault() {
    let (spec, blocks) = chain_of(Network::Ethash, 100);
    let node = Bare::temporary(&spec);
    let foreign = blocks[7].header.clone();
    let net = SimNet::new([SimPeer::new(1, &blocks).with_headers(move |request, headers| {
        let by_number = matches!(request.start, Start::Number(_));
        Some(if by_number { vec![foreign.clone()] } else { headers })
    })]);
    let syncing = Syncing::start(&node.chain, &net);
    syncing.until(LIMIT, "a fault", |_| net.faults_of(1) == [Fault::WrongHeaders]).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    net.join(SimPeer::new(1, &blocks));
    syncing.until_head(Duration::from_mins(1), last_hash(&blocks)).await;
    syncing.stop().await;
}

#[tokio::test(start_paused = true)]
async fn lying_difficulties() {
    let (spec, blocks) = chain_of(Network::Ethash, 300);
    for length in [1, 100, 301] {
        let node = Bare::temporary(&spec);
        let hostile = SimPeer::new(1, &blocks[..length]).claiming(boast(&blocks));
        let faults = faults_while_syncing(&node, &blocks, hostile).await;
        assert!(matches!(faults.as_slice(), [Fault::LyingDifficulty { .. }]), "{length}: {faults:?}");
    }
}

/// A branch with less work than ours, said to have more: it does not become canonical.
#[tokio::test(start_paused = true)]
async fn a_light_branch_that_is_said_to_be_heavy() {
    let mut trunk = Generator::new(Options::small(Network::Ethash));
    let common = grow(&mut trunk, 30, 0);
    let (mut slow, mut fast) = (trunk.branch(1), trunk.branch(2));
    let light = [&common[..], &grow(&mut slow, 50, 60)[1..]].concat();
    let heavy = [&common[..], &grow(&mut fast, 60, 3)[1..]].concat();
    let node = Bare::temporary(trunk.spec());
    node.import_all(&heavy[..80], &BulkOptions::default()).unwrap();
    let hostile = SimPeer::new(1, &light).claiming(boast(&heavy));
    let faults = faults_while_syncing(&node, &heavy, hostile).await;
    assert!(matches!(faults.as_slice(), [Fault::LyingDifficulty { .. }]), "{faults:?}");
}

#[tokio::test(start_paused = true)]
async fn peers_that_fall_silent() {
    let (spec, blocks) = chain_of(Network::Ethash, 500);
    // From the beginning, in the search for the ancestor, and in the middle.
    for answers in [0, 1, 2, 5] {
        let node = Bare::temporary(&spec);
        let hostile = silent_after(answers, &blocks);
        let faults = faults_while_syncing(&node, &blocks, hostile).await;
        assert_eq!(faults.first(), Some(&Fault::Stalling), "after {answers} answers");
    }
}

/// It answers, but for bodies; the others give them.
#[tokio::test(start_paused = true)]
async fn a_helper_that_never_gives_what_it_is_asked_for() {
    let (spec, blocks) = chain_of(Network::Ethash, 500);
    let node = Bare::temporary(&spec);
    let hostile = SimPeer::new(1, &blocks).claiming(U256::from(1)).with_bodies(|_, _| None);
    let net = SimNet::new([hostile, SimPeer::new(2, &blocks)]);
    let syncing = Syncing::start(&node.chain, &net);
    syncing.until_head(LIMIT, last_hash(&blocks)).await;
    syncing.stop().await;
    assert!(net.faults_of(1).iter().all(|fault| *fault == Fault::Stalling));
    assert_eq!(net.faults_of(2), []);
    node.assert_whole();
}

#[tokio::test(start_paused = true)]
async fn an_invalid_block_in_the_middle_of_a_good_chain() {
    let (spec, blocks) = chain_of(Network::Ethash, 400);
    let flaws: [fn(&mut Header); 2] = [
        |header| header.state_root = B256::repeat_byte(1),
        |header| header.receipts_root = B256::repeat_byte(1),
    ];
    for flaw in flaws {
        let node = Bare::temporary(&spec);
        let flawed = with_flaw(&blocks, 210, flaw);
        let net = SimNet::new([
            SimPeer::new(1, &flawed).claiming(boast(&blocks)),
            SimPeer::new(2, &blocks),
            // The same lie again is known by its header.
            SimPeer::new(3, &flawed).claiming(boast(&blocks) + U256::from(1)),
        ]);
        let syncing = Syncing::start(&node.chain, &net);
        syncing.until_head(LIMIT, last_hash(&blocks)).await;
        syncing.stop().await;
        assert_eq!(net.faults_of(2), []);
        let bad = flawed[210].header.hash_slow();
        let named = |fault: &Fault| match fault {
            Fault::InvalidBlock { number, hash, .. } | Fault::InvalidHeader { number, hash, .. } => {
                (*number, *hash) == (210, bad)
            }
            _ => false,
        };
        for id in [1, 3] {
            let faults = net.faults_of(id);
            assert!(faults.len() == 1 && faults.iter().all(named), "{id}: {faults:?}");
        }
        node.assert_whole();
    }
}

/// Found before anybody is asked for bodies.
#[tokio::test(start_paused = true)]
async fn an_invalid_header_in_the_middle_of_a_good_chain() {
    let (spec, blocks) = chain_of(Network::Ethash, 400);
    let node = Bare::temporary(&spec);
    let flawed = with_flaw(&blocks, 210, |header| header.difficulty += U256::from(1));
    let hostile = SimPeer::new(1, &flawed).claiming(boast(&blocks));
    let faults = faults_while_syncing(&node, &blocks, hostile).await;
    let [Fault::InvalidHeader { number: 210, reason, .. }] = faults.as_slice() else { panic!("{faults:?}") };
    assert!(reason.contains("invalid difficulty"), "{reason}");
}

/// A valid header chain without the work: the samples, or the import, find out.
#[tokio::test(start_paused = true)]
async fn a_chain_that_nobody_worked_for() {
    let (spec, blocks) = chain_of(Network::Ethash, 250);
    let store = quintet_store::open_temporary().unwrap();
    let node = Bare::on(store, &spec, true);
    let net = SimNet::new([SimPeer::new(1, &blocks)]);
    let syncing = Syncing::start(&node.chain, &net);
    syncing.until(LIMIT, "a fault", |_| !net.faults_of(1).is_empty()).await;
    syncing.stop().await;
    assert!(matches!(net.faults_of(1).as_slice(), [Fault::InvalidHeader { .. }]), "{:?}", net.faults_of(1));
    assert_eq!(node.chain.head().block.number, 0);
}

/// Mainnet's beginning, with another nonce in its last block.
#[tokio::test(start_paused = true)]
async fn a_mainnet_block_with_a_false_seal() {
    let Some(folder) = vectors::archive("12") else { return };
    let spec = Arc::new(ChainSpec::preset("mainnet").unwrap());
    let mut blocks = file(&folder.join("mainnet-0-999/blocks.rlp"), 401);
    assert_eq!(blocks[0], spec.genesis_block());
    let mut forged = blocks[..=300].to_vec();
    forged[300].header.nonce = alloy_primitives::B64::repeat_byte(0x5a);
    blocks.truncate(400);
    let node = Bare::on(quintet_store::open_temporary().unwrap(), &spec, true);
    let hostile = SimPeer::new(1, &forged).claiming(boast(&blocks));
    let faults = faults_while_syncing(&node, &blocks, hostile).await;
    let [Fault::InvalidHeader { number: 300, .. }] = faults.as_slice() else { panic!("{faults:?}") };
}

/// Its chain is another one at each look: it is left alone in the end.
#[tokio::test(start_paused = true)]
async fn a_chain_that_changes_all_the_time() {
    let (spec, blocks) = chain_of(Network::Ethash, 300);
    let node = Bare::temporary(&spec);
    let hostile = SimPeer::new(1, &blocks).claiming(boast(&blocks)).with_headers(|request, mut headers| {
        if request.skip == 0 && request.limit == 192 {
            for header in &mut headers {
                header.parent_hash = B256::repeat_byte(3);
            }
            headers.truncate(1);
        }
        Some(headers)
    });
    let faults = faults_while_syncing(&node, &blocks, hostile).await;
    assert!(matches!(faults.first(), Some(Fault::Unsteady | Fault::Stalling)), "{faults:?}");
}

/// Everything at once, one honest peer among eight.
#[tokio::test(start_paused = true)]
async fn one_honest_peer_among_many_hostile_ones() {
    let (spec, blocks) = chain_of(Network::Ethash, 500);
    let node = Bare::temporary(&spec);
    let flawed = with_flaw(&blocks, 300, |header| header.state_root = B256::repeat_byte(1));
    let net = SimNet::new([
        SimPeer::new(1, &flawed).claiming(boast(&blocks)),
        SimPeer::new(2, &blocks).slow(Duration::from_millis(300)),
        SimPeer::new(3, &blocks).with_bodies(|_, _| None),
        SimPeer::new(4, &blocks).with_bodies(|_, mut bodies| {
            bodies.reverse();
            Some(bodies)
        }),
        SimPeer::new(5, &blocks).with_headers(|_, mut headers| {
            headers.reverse();
            Some(headers)
        }),
        SimPeer::new(6, &blocks[..200]).claiming(boast(&blocks)),
        SimPeer::new(7, &blocks).slow(Duration::from_hours(1)),
        SimPeer::new(8, &blocks).with_headers(|_, _| Some(Vec::new())),
    ]);
    let syncing = Syncing::start(&node.chain, &net);
    syncing.until_head(LIMIT, last_hash(&blocks)).await;
    syncing.stop().await;
    assert_eq!(net.faults_of(2), []);
    node.assert_whole();
}
