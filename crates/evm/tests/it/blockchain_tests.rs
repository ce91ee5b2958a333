//! The valid blocks of Ethereum's blockchain tests (archives 03, 04, 05 and 19), executed on their parents' states:
//! receipts, gas, requests and the state root must be what their headers say. Headers that break a rule are
//! the consensus engines' tests. A deterministic sample in `cargo test`; all with `QUINTET_FULL=1`.

use crate::archive::{Report, run_archive};
use crate::specs::network;
use crate::state_tests::{PreAccount, insert_all};
use alloy_consensus::proofs::calculate_receipt_root;
use alloy_eips::eip7840::BlobParams;
use alloy_primitives::{Address, B256, Bytes, U64, U256};
use alloy_rlp::Decodable;
use quintet_chainspec::ChainSpec;
use quintet_evm::test_utils::MemoryState;
use quintet_evm::{execute_block, logs_bloom};
use quintet_types::{Block, Header, RecoveredBlock, recover_senders};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BlockchainTest {
    network: String,
    pre: BTreeMap<Address, PreAccount>,
    #[serde(rename = "genesisRLP")]
    genesis_rlp: Bytes,
    blocks: Vec<TestBlock>,
    #[serde(default)]
    config: Config,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    #[serde(default)]
    blob_schedule: BTreeMap<String, Blobs>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Blobs {
    target: U64,
    max: U64,
    base_fee_update_fraction: U64,
}

#[derive(Deserialize)]
struct TestBlock {
    rlp: Bytes,
    #[serde(flatten)]
    more: BTreeMap<String, serde_json::Value>,
}

impl TestBlock {
    fn is_valid(&self) -> bool {
        // The older vectors name no exception: they leave the header out.
        self.more.contains_key("blockHeader")
            && !self.more.keys().any(|key| key.starts_with("expectException"))
    }
}

#[test]
fn blockchain_tests_proof_of_work() {
    run_archive("03", 20, run_file);
}

#[test]
fn blockchain_tests_istanbul_to_cancun() {
    run_archive("04", 20, run_file);
}

#[test]
fn blockchain_tests_of_execution_spec_tests() {
    run_archive("05", 40, run_file);
}

#[test]
fn blockchain_tests_made_of_state_tests() {
    run_archive("19", 40, run_file);
}

fn run_file(file: &Path) -> Report {
    let mut report = Report::default();
    let tests: BTreeMap<String, BlockchainTest> = match serde_json::from_slice(&std::fs::read(file).unwrap())
    {
        Ok(tests) => tests,
        Err(error) => {
            report.failed.push(format!("{}: unreadable: {error}", file.display()));
            return report;
        }
    };
    for (name, test) in &tests {
        if let Err(why) = run_chain(test, &mut report) {
            report.failed.push(format!("{} {name}: {why}", file.file_name().unwrap().display()));
        }
    }
    report
}

fn run_chain(test: &BlockchainTest, report: &mut Report) -> Result<(), String> {
    let spec = chain_spec(test);
    let genesis = Block::decode(&mut &test.genesis_rlp[..]).map_err(|error| error.to_string())?;
    let mut state = MemoryState::default();
    insert_all(&mut state, &test.pre);
    let hash = genesis.header.hash_slow();
    state.insert_block_hash(0, hash);
    let mut blocks = Vec::new();
    for block in &test.blocks {
        if block.is_valid() {
            blocks.push(Block::decode(&mut &block.rlp[..]).map_err(|error| error.to_string())?);
        } else {
            report.skip("invalid blocks are the consensus engines' tests");
        }
    }
    // Chains fork: a state is kept until the last child of its block has been executed.
    let mut children: BTreeMap<B256, usize> = BTreeMap::new();
    for block in &blocks {
        *children.entry(block.header.parent_hash).or_default() += 1;
    }
    let mut states = BTreeMap::from([(hash, state)]);
    for (index, block) in blocks.into_iter().enumerate() {
        let parent_hash = block.header.parent_hash;
        let left = children.get_mut(&parent_hash).ok_or("no such child")?;
        *left -= 1;
        let parent = if *left == 0 { states.remove(&parent_hash) } else { states.get(&parent_hash).cloned() };
        match run_block(&spec, block, parent.ok_or("unknown parent")?) {
            Ok((hash, state)) => {
                states.insert(hash, state);
                report.pass(&test.network);
            }
            Err(why) => return Err(format!("block {index} of {}: {why}", test.network)),
        }
    }
    Ok(())
}

fn run_block(spec: &ChainSpec, block: Block, mut state: MemoryState) -> Result<(B256, MemoryState), String> {
    let low_s = spec.is_homestead_active(block.header.number);
    let senders = recover_senders(&block.body.transactions, low_s).map_err(|error| error.to_string())?;
    let block = RecoveredBlock { hash: block.header.hash_slow(), block, senders };
    let header = block.header();
    let output = execute_block(spec, &block, header.beneficiary, &state, &mut &state)
        .map_err(|error| error.to_string())?;
    state.apply(&output.diff);
    state.insert_block_hash(header.number, block.hash);
    let expected = Header {
        state_root: state.root(),
        receipts_root: calculate_receipt_root(&output.receipts),
        logs_bloom: logs_bloom(&output.receipts),
        gas_used: output.gas_used,
        blob_gas_used: header.blob_gas_used.map(|_| output.blob_gas_used),
        requests_hash: header.requests_hash.map(|_| output.requests.requests_hash()),
        ..header.clone()
    };
    if expected != *header {
        return Err(format!("executed to {expected:?}\ninstead of {header:?}"));
    }
    Ok((block.hash, state))
}

fn chain_spec(test: &BlockchainTest) -> ChainSpec {
    network(&test.network, |config| {
        for (fork, blobs) in &test.config.blob_schedule {
            let params = BlobParams {
                target_blob_count: blobs.target.to(),
                max_blob_count: blobs.max.to(),
                max_blobs_per_tx: blobs.max.to(),
                update_fraction: U256::from(blobs.base_fee_update_fraction).to(),
                ..BlobParams::cancun()
            };
            config.blob_schedule.insert(fork.to_lowercase(), params);
        }
    })
}
