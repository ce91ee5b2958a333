//! Chains that others made: real seals of proof of work and of proof of authority.

use crate::fixture::{Bare, small_batches};
use alloy_rlp::Decodable;
use quintet_chain::{BulkOptions, ChainError};
use quintet_chainspec::ChainSpec;
use quintet_testkit::generate::{Generator, Network, Options};
use quintet_testkit::vectors;
use quintet_types::{Block, RecoveredBlock, recover_senders};
use std::fs;
use std::path::Path;
use std::sync::Arc;

fn network(genesis: &Path) -> Arc<ChainSpec> {
    Arc::new(ChainSpec::from_json(&fs::read_to_string(genesis).unwrap()).unwrap())
}

fn blocks(file: &Path, most: usize) -> Vec<Block> {
    let bytes = fs::read(file).unwrap();
    let mut rest = bytes.as_slice();
    let mut blocks = Vec::new();
    while !rest.is_empty() && blocks.len() < most {
        blocks.push(Block::decode(&mut rest).unwrap());
    }
    blocks
}

fn node(spec: &Arc<ChainSpec>, check_work: bool) -> Bare {
    Bare::on(quintet_store::open_temporary().unwrap(), spec, check_work)
}

fn recovered(block: &Block) -> RecoveredBlock {
    let senders = recover_senders(&block.body.transactions, false).unwrap();
    RecoveredBlock { hash: block.header.hash_slow(), block: block.clone(), senders }
}

/// A real chain comes in block by block and in bulk; with another nonce its last block does not.
fn assert_imports(spec: &Arc<ChainSpec>, blocks: &[Block]) {
    let last = blocks.last().unwrap();
    let bulk = node(spec, true);
    let summary = bulk.import_all(blocks, &small_batches()).unwrap();
    assert_eq!(summary.head.hash, last.header.hash_slow());
    bulk.assert_whole();
    let single = node(spec, true);
    for block in blocks.iter().filter(|block| block.header.number > 0) {
        single.chain.import(recovered(block), 0).unwrap();
    }
    assert_eq!(single.store.head().unwrap(), bulk.store.head().unwrap());
}

#[test]
fn proof_of_work_with_real_seals() {
    let Some(folder) = vectors::archive("14") else { return };
    let folder = folder.join("hive-simplechain");
    let spec = network(&folder.join("genesis.json"));
    let blocks = blocks(&folder.join("chain.rlp"), 200);
    assert_eq!(blocks.len(), 200);
    assert_imports(&spec, &blocks);

    let mut forged = recovered(blocks.last().unwrap());
    forged.block.header.nonce = alloy_primitives::B64::repeat_byte(0x5a);
    forged.hash = forged.block.header.hash_slow();
    let strict = node(&spec, true);
    strict.import_all(&blocks[..blocks.len() - 1], &small_batches()).unwrap();
    let refused = strict.chain.import(forged.clone(), 0).unwrap_err();
    assert!(matches!(refused, ChainError::InvalidBlock { .. }), "{refused}");
    let in_bulk = strict.import_all(std::slice::from_ref(&forged.block), &small_batches()).unwrap_err();
    assert_eq!(in_bulk.to_string(), refused.to_string());
    let lax = node(&spec, false);
    lax.import_all(&blocks[..blocks.len() - 1], &small_batches()).unwrap();
    lax.chain.import(forged, 0).unwrap();
}

/// Receipts of these rules hold the root after each transaction.
#[test]
fn proof_of_work_on_frontier() {
    let Some(folder) = vectors::archive("11") else { return };
    let folder = folder.join("chain-data");
    let genesis = folder.join("testGenesis.json");
    assert_imports(&network(&genesis), &blocks(&folder.join("testBlockchain.blocks"), usize::MAX));
}

/// A chain through all forks of proof of work, made by another client; most of its blocks are full.
#[test]
fn proof_of_work_through_the_forks() {
    let Some(folder) = vectors::archive("14") else { return };
    let folder = folder.join("core-geth-foundation-condense-state");
    let spec = network(&folder.join("foundation.conf.json"));
    let blocks = blocks(&folder.join("export.rlp"), 500);
    let node = node(&spec, false);
    let summary = node.import_all(&blocks, &BulkOptions::default()).unwrap();
    assert_eq!(summary.head.hash, blocks.last().unwrap().header.hash_slow());
    node.assert_whole();
}

#[test]
fn proof_of_authority_signed_by_others() {
    let Some(folder) = vectors::archive("20") else { return };
    let spec = network(&folder.join("genesis.json"));
    assert_imports(&spec, &blocks(&folder.join("chain.rlp"), usize::MAX));
}

#[test]
fn proof_of_authority_with_many_signers() {
    let mut generator = Generator::new(Options::small(Network::Clique));
    let blocks: Vec<Block> = (0..24).map(|_| generator.next_block().block.block.clone()).collect();
    assert_imports(generator.spec(), &blocks);
}

#[test]
fn a_block_from_the_future_is_refused_and_not_remembered() {
    let mut generator = Generator::new(Options::small(Network::Ethash));
    let node = Bare::temporary(generator.spec());
    let mut block = RecoveredBlock::clone(&generator.next_block().block);
    block.block.header.timestamp = u64::MAX;
    block.hash = block.block.header.hash_slow();
    for _ in 0..2 {
        let refused = node.chain.import(block.clone(), 0).unwrap_err().to_string();
        assert!(refused.ends_with("block in the future"), "{refused}");
    }
}
