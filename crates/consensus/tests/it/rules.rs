//! One field of a good block broken at a time: the rule that refuses it says so.

use crate::chain::{Verified, blocks_of, vectors};
use alloy_consensus::constants::EMPTY_OMMER_ROOT_HASH;
use alloy_primitives::{B64, B256, U256};
use quintet_chainspec::ChainSpec;
use quintet_types::Block;

/// The chain up to a block, and the block.
fn before(number: &str, genesis: &str, blocks: &str, last: u64) -> Option<(Verified, Block)> {
    let (genesis, blocks) = vectors(number, genesis, blocks)?;
    Some(up_to(Verified::new(&genesis, false), blocks, last))
}

fn up_to(mut chain: Verified, blocks: Vec<Block>, last: u64) -> (Verified, Block) {
    for block in blocks {
        if block.header.number == last {
            chain.check(&block).unwrap();
            return (chain, block);
        }
        chain.push(block);
    }
    panic!("no block {last}");
}

fn osaka(last: u64) -> Option<(Verified, Block)> {
    let folder = "tests-50d1e5e0-osaka";
    before("10", &format!("{folder}/genesis.json"), &format!("{folder}/chain.rlp"), last)
}

/// Asserts what refuses the block once `change` was made to it.
fn refused(chain: &Verified, block: &Block, change: impl FnOnce(&mut Block), want: &str) {
    let mut changed = block.clone();
    change(&mut changed);
    let refusal = chain.refusal(&changed);
    assert!(refusal.starts_with(want), "{refusal:?} instead of {want:?}");
}

#[test]
fn proof_of_work() {
    let genesis = "chain-data/testGenesis.json";
    let Some((chain, block)) = before("11", genesis, "chain-data/testBlockchain.blocks", 20) else { return };
    let refused = |change: fn(&mut Block), want: &str| refused(&chain, &block, change, want);
    refused(|block| block.header.extra_data = vec![0; 33].into(), "extra-data too long: 33 > 32");
    refused(|block| block.header.timestamp = 1, "timestamp older than parent");
    refused(|block| block.header.difficulty += U256::ONE, "invalid difficulty: have ");
    refused(|block| block.header.difficulty = U256::ZERO, "invalid difficulty: have 0, want ");
    refused(|block| block.header.gas_limit = 1 << 63, "invalid gasLimit: have 9223372036854775808, max ");
    refused(|block| block.header.gas_limit *= 2, "invalid gas limit: have ");
    refused(|block| block.header.gas_used = block.header.gas_limit + 1, "invalid gasUsed: have ");
    refused(|block| block.header.number += 1, "invalid block number: have 21, want 20");
    refused(|block| block.header.base_fee_per_gas = Some(7), "invalid baseFee: have 7, expected 'nil'");
    refused(|block| block.header.withdrawals_root = Some(B256::ZERO), "invalid withdrawalsHash: have ");
    refused(|block| block.header.ommers_hash = B256::ZERO, "uncle root hash mismatch (header value 0x00");
    refused(|block| block.header.transactions_root = B256::ZERO, "transaction root hash mismatch (header ");
    refused(|block| block.body.withdrawals = Some(Vec::new().into()), "withdrawals present in block body");
}

#[test]
fn uncles() {
    let Some(all) = blocks_of("12", "mainnet-0-999/blocks.rlp") else { return };
    let with_uncle = all.iter().find(|block| block.header.number > 20 && !block.body.ommers.is_empty());
    let number = with_uncle.unwrap().header.number;
    let mainnet = Verified::of(ChainSpec::preset("mainnet").unwrap(), false);
    let (chain, block) = up_to(mainnet, all.clone(), number);
    let refused = |change: &dyn Fn(&mut Block), want: &str| {
        let change = |block: &mut Block| {
            change(block);
            block.header.ommers_hash = alloy_consensus::proofs::calculate_ommers_root(&block.body.ommers);
        };
        refused(&chain, &block, change, want);
    };
    let ancestor = |back: usize| {
        let parent = all.iter().position(|other| other.header.number == block.header.number - 1).unwrap();
        all[parent + 1 - back].header.clone()
    };
    let uncle = block.body.ommers[0].clone();
    refused(&|block| block.body.ommers = vec![uncle.clone(); 3], "too many uncles");
    refused(&|block| block.body.ommers = vec![uncle.clone(); 2], "duplicate uncle");
    refused(&|block| block.body.ommers[0] = ancestor(2), "uncle is ancestor");
    refused(
        &|block| block.body.ommers[0].parent_hash = ancestor(9).hash_slow(),
        "uncle's parent is not ancestor",
    );
    refused(
        &|block| block.body.ommers[0].parent_hash = ancestor(1).hash_slow(),
        "uncle's parent is not ancestor",
    );
    refused(&|block| block.body.ommers[0].gas_limit = 4999, "invalid uncle 0x");
    refused(&|block| block.body.ommers[0].difficulty = U256::ONE, "invalid uncle 0x");
}

#[test]
fn seals() {
    let genesis = "chain-data/testGenesis.json";
    let Some((genesis, blocks)) = vectors("11", genesis, "chain-data/testBlockchain.blocks") else { return };
    let chain = Verified::new(&genesis, true);
    refused(&chain, &blocks[0], |block| block.header.nonce = B64::ZERO, "invalid mix digest");
    refused(&chain, &blocks[0], |block| block.header.mix_hash = B256::ZERO, "invalid mix digest");
}

#[test]
fn proof_of_stake() {
    let Some((chain, block)) = osaka(54) else { return };
    let refused = |change: fn(&mut Block), want: &str| refused(&chain, &block, change, want);
    refused(|block| block.header.extra_data = vec![0; 33].into(), "extra-data too long: 33 > 32");
    refused(|block| block.header.nonce = B64::repeat_byte(1), "invalid nonce");
    refused(|block| block.header.ommers_hash = B256::ZERO, "invalid uncle hash");
    refused(|block| block.header.timestamp = 1, "timestamp older than parent");
    refused(|block| block.header.difficulty = U256::ONE, "invalid difficulty: have 1, want 0");
    refused(|block| block.header.gas_limit += block.header.gas_limit / 1024, "invalid gas limit: have ");
    refused(|block| block.header.base_fee_per_gas = None, "header is missing baseFee");
    refused(|block| block.header.base_fee_per_gas = Some(1), "invalid baseFee: have 1, want ");
    refused(|block| block.header.withdrawals_root = None, "header is missing withdrawalsHash");
    refused(|block| block.header.blob_gas_used = None, "header is missing blobGasUsed");
    refused(|block| block.header.blob_gas_used = Some(1), "blob gas used 1 not a multiple of");
    refused(
        |block| block.header.blob_gas_used = Some(1 << 40),
        "blob gas used 1099511627776 exceeds maximum",
    );
    refused(|block| block.header.blob_gas_used = Some(1 << 17), "blob gas used mismatch (header 131072");
    refused(|block| block.header.excess_blob_gas = Some(1), "invalid excessBlobGas: have 1, want ");
    refused(|block| block.header.parent_beacon_block_root = None, "header is missing beaconRoot");
    refused(|block| block.header.requests_hash = None, "header is missing requestsHash");
    refused(|block| block.body.withdrawals = None, "missing withdrawals in block body");
    refused(
        |block| block.header.withdrawals_root = Some(B256::ZERO),
        "withdrawals root hash mismatch (header",
    );
    let uncle = |block: &mut Block| block.body.ommers = vec![block.header.clone()];
    refused(uncle, "uncle root hash mismatch (header value 0x1dcc4de8");
}

#[test]
fn the_merge_comes_at_its_total_difficulty_and_not_before() {
    let folder = "tests-50d1e5e0-osaka";
    let (genesis, file) = (format!("{folder}/genesis.json"), format!("{folder}/chain.rlp"));
    let Some((_, blocks)) = vectors("10", &genesis, &file) else { return };
    let Some(first) = blocks.iter().find(|block| block.header.difficulty.is_zero()) else {
        panic!("no merge")
    };
    // A block of work after the terminal one.
    let Some((chain, block)) = osaka(first.header.number) else { return };
    refused(
        &chain,
        &block,
        |block| block.header.difficulty = U256::from(131_072),
        "invalid difficulty: have 131072, want 0",
    );
    // A block of proof of stake before it.
    let Some((chain, block)) = osaka(first.header.number - 1) else { return };
    let stake = |block: &mut Block| {
        block.header.difficulty = U256::ZERO;
        block.header.nonce = B64::ZERO;
        block.header.ommers_hash = EMPTY_OMMER_ROOT_HASH;
    };
    refused(&chain, &block, stake, "invalid difficulty: have 0, want 13");
}

#[test]
fn proof_of_authority() {
    let Some((chain, block)) = before("20", "genesis.json", "chain.rlp", 15) else { return };
    let refused = |change: fn(&mut Block), want: &str| refused(&chain, &block, change, want);
    refused(|block| block.header.number = 16, "invalid block number: have 16, want 15");
    refused(|block| block.header.nonce = B64::repeat_byte(1), "vote nonce not 0x00..0 or 0xff..f");
    refused(|block| block.header.mix_hash = B256::repeat_byte(1), "non-zero mix digest");
    refused(|block| block.header.ommers_hash = B256::ZERO, "non empty uncle hash");
    refused(|block| block.header.difficulty = U256::from(3), "invalid difficulty");
    refused(|block| block.header.timestamp = 1, "invalid timestamp");
    refused(|block| block.header.gas_limit *= 2, "invalid gas limit: have ");
    refused(|block| block.header.gas_used = u64::MAX, "invalid gasUsed: have ");
    refused(|block| block.header.extra_data = Vec::new().into(), "extra-data 32 byte vanity prefix missing");
    // Any other change makes the signature another one's.
    refused(|block| block.header.state_root = B256::ZERO, "unauthorized signer");
}
