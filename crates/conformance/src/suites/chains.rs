//! Chains that other clients made (archives 12, 14 and 20), imported with their seals checked, up to the heads
//! that are known.

use super::json::{self, same};
use crate::node::Node;
use crate::poststate;
use crate::refusal;
use crate::report::Outcome;
use crate::runner::{Refusals, Sink};
use alloy_primitives::{Address, B256, Bytes, U256, b256, keccak256};
use quintet_chainspec::{ChainSpec, Genesis};
use quintet_testkit::chain::decode_blocks;
use quintet_trie::FullRoot;
use quintet_types::Block;
use serde::Deserialize;
use std::collections::BTreeMap;

const MAINNET_999: B256 = b256!("c31b362e591aa07faa977dbc492ae43cd47eef291920435153bbbf3acaf2fc2f");
const BESU_4: B256 = b256!("ae48cf1ec1ba9ca96eb32fdac8b00ee22880e508fdb2aac93774b43a701aec1c");
const HIVE_3000: B256 = b256!("c95596f4707fb382554b660b4847c599eb5f8fdcf99be2c5654aaadd4ec97840");
const CORE_GETH_1310: B256 = b256!("8e8dfbabab379f2459d97ac3ec2c0ccfbbe920edc5c19043b89dc94f9ec2f707");

fn spec(json: Vec<u8>) -> Result<ChainSpec, String> {
    let text = String::from_utf8(json).map_err(|error| error.to_string())?;
    ChainSpec::from_json(&text).map_err(|error| error.to_string())
}

fn blocks(rlp: &[u8]) -> Result<Vec<Block>, String> {
    decode_blocks(rlp).map_err(|error| format!("{error:#}"))
}

/// A chain in a file, and where it ends.
struct Exported {
    spec: ChainSpec,
    blocks: Vec<Block>,
    number: u64,
    head: B256,
}

impl Exported {
    /// The blocks of a file; the first one may be genesis.
    fn read(spec: ChainSpec, rlp: &[u8], number: u64, head: B256) -> Result<Self, String> {
        let mut blocks = blocks(rlp)?;
        if let Some(first) = blocks.first().filter(|first| first.header.number == 0) {
            same("genesis of the file", &first.header.hash_slow(), &spec.genesis_hash())?;
            blocks.remove(0);
        }
        Ok(Self { spec, blocks, number, head })
    }

    /// Imports all blocks, each by itself.
    fn import(&self) -> Result<Node, String> {
        let node = Node::open(self.spec.clone(), true)?;
        for block in &self.blocks {
            let number = block.header.number;
            node.import(block.clone()).map_err(|why| format!("block {number}: {why}"))?;
        }
        self.check(&node)?;
        Ok(node)
    }

    /// Imports all blocks as `quintet import` does.
    fn import_bulk(&self) -> Result<(), String> {
        let node = Node::open(self.spec.clone(), true)?;
        node.import_bulk(self.blocks.clone())?;
        self.check(&node)
    }

    fn check(&self, node: &Node) -> Result<(), String> {
        let have = node.chain.head().block;
        same("number of the head", &have.number, &self.number)?;
        same("head", &have.hash, &self.head)
    }

    /// Both ways; gives the chain that was imported block by block.
    fn run(&self, sink: &mut Sink<'_>, fork: &str) -> Option<Node> {
        let mut node = None;
        sink.check(fork, &format!("{} blocks one by one", self.number), || {
            node = Some(self.import()?);
            Ok(())
        });
        sink.check(fork, &format!("{} blocks in bulk", self.number), || self.import_bulk());
        node
    }
}

/// The first thousand blocks of mainnet, with their uncles, and a block whose seal is wrong. The genesis file
/// leaves the configuration to the client.
pub(super) fn run_mainnet(sink: &mut Sink<'_>) -> Result<(), String> {
    let rlp = sink.bytes()?;
    let bad = blocks(&sink.sibling("badpow-block.rlp")?)?.pop().ok_or("no bad block")?;
    let text = String::from_utf8(sink.sibling("genesis.json")?).map_err(|error| error.to_string())?;
    let mut genesis = Genesis::from_json(&text).map_err(|error| error.to_string())?;
    let mainnet = ChainSpec::preset("mainnet").map_err(|error| error.to_string())?;
    genesis.config = Some(mainnet.config().clone());
    let node = Exported::read(json::spec(genesis)?, &rlp, 999, MAINNET_999)?.run(sink, "Mainnet");
    sink.case("Mainnet", "badpow-block", |refusals| match node {
        Some(node) => refuse(&node, bad, refusals).into(),
        None => Outcome::Failed("no chain to refuse it".to_owned()),
    });
    Ok(())
}

fn refuse(node: &Node, block: Block, refusals: &mut Refusals) -> Result<(), String> {
    let before = node.chain.head().block.hash;
    match node.import(block) {
        Ok(imported) => return Err(format!("not refused, but {imported:?}")),
        Err(why) => refusal::judge("badpow-block", &why, refusals)?,
    }
    same("head", &node.chain.head().block.hash, &before)
}

/// Five blocks of Besu's clique, up to the terminal total difficulty.
pub(super) fn run_besu_clique(sink: &mut Sink<'_>) -> Result<(), String> {
    let (rlp, spec) = (sink.bytes()?, spec(sink.sibling("clique_to_pos.json")?)?);
    Exported::read(spec, &rlp, 4, BESU_4)?.run(sink, "clique");
    Ok(())
}

/// Every fork from Frontier to Muir Glacier, with state tests' transactions.
pub(super) fn run_core_geth(sink: &mut Sink<'_>) -> Result<(), String> {
    let (rlp, spec) = (sink.bytes()?, spec(sink.sibling("foundation.conf.json")?)?);
    Exported::read(spec, &rlp, 1310, CORE_GETH_1310)?.run(sink, "Frontier to Muir Glacier");
    Ok(())
}

/// A clique network of geth 1.8.27, with votes and checkpoints. Its head is the last block of the file.
pub(super) fn run_geth_clique(sink: &mut Sink<'_>) -> Result<(), String> {
    let (rlp, spec) = (sink.bytes()?, spec(sink.sibling("genesis.json")?)?);
    let last = blocks(&rlp)?.pop().ok_or("no blocks")?.header;
    Exported::read(spec, &rlp, last.number, last.hash_slow())?.run(sink, "clique");
    Ok(())
}

#[derive(Deserialize)]
struct Dump {
    root: B256,
    accounts: BTreeMap<Address, Dumped>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Dumped {
    balance: String,
    nonce: u64,
    root: B256,
    code_hash: B256,
    key: Option<B256>,
    code: Option<Bytes>,
    storage: Option<BTreeMap<B256, String>>,
}

/// Three thousand blocks, and geth's dump of the state after them.
pub(super) fn run_hive(sink: &mut Sink<'_>) -> Result<(), String> {
    let (rlp, spec) = (sink.bytes()?, spec(sink.sibling("genesis.json")?)?);
    let dump: Dump = json::read(&sink.sibling("chain_poststate.json")?)?;
    let node = Exported::read(spec, &rlp, 3000, HIVE_3000)?.run(sink, "Byzantium");
    sink.check("Byzantium", "state after them", || {
        compare(node.as_ref().ok_or("no chain to compare with")?, &dump)
    });
    Ok(())
}

fn compare(node: &Node, dump: &Dump) -> Result<(), String> {
    let head = node.chain.head();
    let number = head.block.number;
    let store = node.store.as_ref();
    same("state root", &head.header.state_root, &dump.root)?;
    let accounts = poststate::accounts(store, number).map_err(|error| error.to_string())?;
    same("number of accounts", &accounts.len(), &dump.accounts.len())?;
    let mut full = FullRoot::new();
    for (address, want) in &dump.accounts {
        let account = accounts.get(address).ok_or_else(|| format!("account {address} is missing"))?;
        let of = |what: &str| format!("{what} of {address}");
        same(&of("balance"), &account.balance, &json::number(&want.balance)?)?;
        same(&of("nonce"), &account.nonce, &want.nonce)?;
        same(&of("code hash"), &account.code_hash, &want.code_hash)?;
        if let Some(key) = want.key {
            same(&of("key"), &keccak256(address), &key)?;
        }
        let code = store.code(&account.code_hash).map_err(|error| error.to_string())?;
        same(&of("code"), &code.unwrap_or_default(), &want.code.clone().unwrap_or_default())?;
        let slots = poststate::slots(store, address, account, number).map_err(|error| error.to_string())?;
        for (slot, digits) in want.storage.iter().flatten() {
            let have = slots.get(&U256::from_be_bytes(slot.0)).copied().unwrap_or_default();
            let want = U256::from_str_radix(digits, 16).map_err(|error| error.to_string())?;
            same(&of(&format!("slot {slot}")), &have, &want)?;
        }
        same(&of("slots"), &slots.len(), &want.storage.as_ref().map_or(0, BTreeMap::len))?;
        same(&of("storage root"), &full.add(address, account, slots), &want.root)?;
    }
    same("state root from scratch", &full.root(), &dump.root)
}
