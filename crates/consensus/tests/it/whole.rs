//! Every header, seal, body and uncle of whole chains.

use crate::chain::{Verified, blocks_of, vectors};
use quintet_chainspec::ChainSpec;
use quintet_types::Block;

fn verify(number: &str, genesis: &str, blocks: &str, check_work: bool, most: usize) {
    let Some((genesis, blocks)) = vectors(number, genesis, blocks) else { return };
    follow(Verified::new(&genesis, check_work), blocks, most);
}

fn follow(mut chain: Verified, blocks: Vec<Block>, most: usize) {
    for block in blocks.into_iter().take(most) {
        let number = block.header.number;
        chain.check(&block).unwrap_or_else(|error| panic!("block {number}: {error}"));
        chain.push(block);
    }
}

#[test]
fn proof_of_work_with_uncles_and_seals() {
    verify("11", "chain-data/testGenesis.json", "chain-data/testBlockchain.blocks", true, usize::MAX);
}

#[test]
fn mainnet_begins_with_many_uncles() {
    let Some(blocks) = blocks_of("12", "mainnet-0-999/blocks.rlp") else { return };
    let mainnet = || ChainSpec::preset("mainnet").unwrap();
    follow(Verified::of(mainnet(), true), blocks.clone(), 100);
    follow(Verified::of(mainnet(), false), blocks, usize::MAX);
}

#[test]
fn every_fork_of_proof_of_work() {
    let folder = "core-geth-foundation-condense-state";
    verify(
        "14",
        &format!("{folder}/foundation.conf.json"),
        &format!("{folder}/export.rlp"),
        false,
        usize::MAX,
    );
    verify("14", "hive-simplechain/genesis.json", "hive-simplechain/chain.rlp", false, usize::MAX);
}

#[test]
fn proof_of_authority() {
    verify("20", "genesis.json", "chain.rlp", true, usize::MAX);
    let folder = "besu-clique-5-blocks";
    verify(
        "12",
        &format!("{folder}/clique_to_pos.json"),
        &format!("{folder}/clique.blocks"),
        true,
        usize::MAX,
    );
}

#[test]
fn from_frontier_through_the_merge_to_the_newest_fork() {
    let folder = "tests-50d1e5e0-osaka";
    verify("10", &format!("{folder}/genesis.json"), &format!("{folder}/chain.rlp"), false, usize::MAX);
}
