//! Blockchain tests (archives 03, 04, 05 and 19): blocks, valid and not, go into a chain as in the node; those
//! that break a rule must be refused and leave the head where it is, and the head and its state must be the
//! test's at the end.

use super::json::{self, State, same};
use crate::node::Node;
use crate::poststate;
use crate::refusal;
use crate::runner::{Refusals, Sink};
use alloy_primitives::{B256, Bytes, U64};
use alloy_rlp::Decodable;
use quintet_chainspec::{BlobParams, ChainSpec, Genesis, GenesisAccount};
use quintet_types::Block;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Test {
    network: String,
    pre: State,
    #[serde(rename = "genesisRLP")]
    genesis_rlp: Bytes,
    blocks: Vec<TestBlock>,
    lastblockhash: B256,
    post_state: Option<State>,
    post_state_hash: Option<B256>,
    seal_engine: Option<String>,
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

/// A block; a valid one has its header listed, and the older vectors name no exception for others.
#[derive(Default)]
struct TestBlock {
    rlp: Bytes,
    is_valid: bool,
    /// By the networks that they are for; empty or `ALL` for every one.
    exceptions: BTreeMap<String, String>,
}

impl TestBlock {
    /// What the block must be refused for; empty where the vectors do not say.
    fn exception(&self, network: &str) -> &str {
        let names = ["", "ALL", network];
        let named = names.iter().find_map(|name| self.exceptions.get(*name));
        named.or_else(|| self.exceptions.values().next()).map_or("", String::as_str)
    }
}

impl<'de> Deserialize<'de> for TestBlock {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(BlockVisitor)
    }
}

struct BlockVisitor;

impl<'de> Visitor<'de> for BlockVisitor {
    type Value = TestBlock;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a block")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<TestBlock, A::Error> {
        let mut block = TestBlock::default();
        let mut rlp = None;
        while let Some(key) = map.next_key::<String>()? {
            if key == "rlp" {
                rlp = Some(map.next_value()?);
            } else if key == "blockHeader" {
                block.is_valid = true;
                map.next_value::<IgnoredAny>()?;
            } else if let Some(network) = key.strip_prefix("expectException") {
                block.exceptions.insert(network.to_owned(), map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        block.rlp = rlp.ok_or_else(|| serde::de::Error::missing_field("rlp"))?;
        Ok(block)
    }
}

pub(super) fn run(sink: &mut Sink<'_>) -> Result<(), String> {
    let bytes = sink.bytes()?;
    for (name, text) in json::tests(&bytes)? {
        if !sink.samples(&name) {
            continue;
        }
        let test: Test = json::read(text.get().as_bytes())?;
        sink.case(&test.network, &name, |refusals| run_chain(&test, refusals).into());
    }
    Ok(())
}

fn run_chain(test: &Test, refusals: &mut Refusals) -> Result<(), String> {
    let check_work = test.seal_engine.as_deref() != Some("NoProof");
    let node = Node::open(spec(test)?, check_work)?;
    for (index, block) in test.blocks.iter().enumerate() {
        let before = node.chain.head().block;
        let result = node.import_rlp(&block.rlp);
        let place = |why: String| format!("block {index}: {why}");
        if block.is_valid {
            result.map_err(|why| place(format!("refused: {why}")))?;
            continue;
        }
        let expected = block.exception(&test.network);
        match result {
            Ok(imported) => return Err(place(format!("not refused, but {imported:?}: {expected}"))),
            Err(why) => refusal::judge(expected, &why, refusals).map_err(place)?,
        }
        let after = node.chain.head().block;
        same("head after a refused block", &after.hash, &before.hash)?;
    }
    let head = node.chain.head();
    same("head", &head.block.hash, &test.lastblockhash)?;
    match (&test.post_state, test.post_state_hash) {
        (Some(want), _) => poststate::compare(node.store.as_ref(), head.block.number, want),
        (None, Some(want)) => same("state root", &head.header.state_root, &want),
        (None, None) => Err("the test lists no state to compare".to_owned()),
    }
}

/// The test's network with the test's genesis block.
fn spec(test: &Test) -> Result<ChainSpec, String> {
    let mut config = json::network_config(&test.network)?;
    for (fork, blobs) in &test.config.blob_schedule {
        let params = BlobParams {
            target_blob_count: blobs.target.to(),
            max_blob_count: blobs.max.to(),
            max_blobs_per_tx: blobs.max.to(),
            update_fraction: blobs.base_fee_update_fraction.to(),
            ..BlobParams::cancun()
        };
        config.blob_schedule.insert(fork.to_lowercase(), params);
    }
    let block = Block::decode(&mut &test.genesis_rlp[..]).map_err(|error| format!("genesis: {error}"))?;
    let header = block.header;
    let hash = header.hash_slow();
    let account = |account: &json::Account| GenesisAccount {
        nonce: Some(account.nonce.to()),
        balance: account.balance,
        code: Some(account.code.clone()),
        storage: Some(
            account.storage.iter().map(|(slot, value)| ((*slot).into(), (*value).into())).collect(),
        ),
        ..GenesisAccount::default()
    };
    let spec = json::spec(Genesis {
        config: Some(config),
        nonce: header.nonce.into(),
        timestamp: header.timestamp,
        extra_data: header.extra_data,
        gas_limit: header.gas_limit,
        difficulty: Some(header.difficulty),
        mix_hash: header.mix_hash,
        coinbase: header.beneficiary,
        alloc: test.pre.iter().map(|(address, pre)| (*address, account(pre))).collect(),
        number: header.number,
        gas_used: header.gas_used,
        parent_hash: header.parent_hash,
        base_fee_per_gas: header.base_fee_per_gas,
        excess_blob_gas: header.excess_blob_gas,
        blob_gas_used: header.blob_gas_used,
    })?;
    same("genesis", &spec.genesis_hash(), &hash)?;
    Ok(spec)
}
