//! Real chains: exported blocks, executed one after another into a temporary store.
//!
//! Every block must execute to what its header says: gas, receipts, bloom, requests, state root. Seals,
//! difficulties and the other rules of the consensus engines are not looked at: blocks without a real seal
//! are imported too.

use alloy_consensus::proofs::{
    calculate_ommers_root, calculate_receipt_root, calculate_transaction_root, calculate_withdrawals_root,
};
use alloy_primitives::{Address, B256, U256};
use alloy_rlp::Decodable;
use anyhow::{Context as _, Result, ensure};
use quintet_chainspec::ChainSpec;
use quintet_evm::{BlockOutput, PostStateRoot, execute_block, logs_bloom};
use quintet_store::{Commit, Store, TrieFlush};
use quintet_trie::{FullRoot, Layer, node_key, storage_prefix};
use quintet_types::{
    Block, BlockRef, ExecutedBlock, Header, RecoveredBlock, StateDiff, StateError, recover_senders,
};
use rayon::prelude::*;
use std::ops::ControlFlow;
use std::sync::Arc;

/// Who gets a block's fees: its header's beneficiary, except under clique, where it is the signer.
pub type Author = fn(&Header) -> Address;

/// An imported chain.
pub struct Chain {
    /// The network.
    pub spec: Arc<ChainSpec>,
    /// All blocks with their receipts and states, and the trie's nodes at the head.
    pub store: Arc<dyn Store>,
    /// The last block.
    pub head: BlockRef,
}

impl Chain {
    /// Imports blocks, as geth's `export` writes them, on a `genesis.json`.
    ///
    /// # Errors
    /// Names the first block that does not execute to what its header says.
    pub fn import(genesis_json: &str, chain_rlp: &[u8]) -> Result<Self> {
        let spec = ChainSpec::from_json(genesis_json).context("genesis.json")?;
        Self::import_blocks(spec, decode_blocks(chain_rlp)?, |header| header.beneficiary)
    }

    /// Imports blocks, in order, on the genesis of `spec`. A genesis block among them must be that one.
    ///
    /// # Errors
    /// Names the first block that does not execute to what its header says.
    pub fn import_blocks(spec: ChainSpec, blocks: Vec<Block>, author: Author) -> Result<Self> {
        quintet_types::install_crypto();
        let mut import = Import::new(spec, author)?;
        let recovered: Result<Vec<_>> =
            blocks.into_par_iter().map(|block| recover(&import.spec, block)).collect();
        for block in recovered? {
            let (number, hash) = (block.header().number, block.hash);
            if number == 0 {
                ensure!(hash == import.spec.genesis_hash(), "genesis {hash} is not that of genesis.json");
                continue;
            }
            import.extend(block).with_context(|| format!("block {number} {hash}"))?;
        }
        import.finish()
    }

    /// The header of a canonical block.
    ///
    /// # Errors
    /// When there is no such block.
    pub fn header(&self, number: u64) -> Result<Header> {
        let hash = self.store.canonical_hash(number)?.with_context(|| format!("no block {number}"))?;
        self.store.header(&hash)?.with_context(|| format!("no header of block {number}"))
    }

    /// The state root after a canonical block, computed from every account and slot that the store has at it.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn root_from_scratch(&self, number: u64) -> Result<B256> {
        let mut accounts = Vec::new();
        self.store.for_each_account(number, Address::ZERO, &mut |address, account| {
            accounts.push((address, account));
            ControlFlow::Continue(())
        })?;
        let mut full = FullRoot::new();
        for (address, account) in accounts {
            let mut slots = Vec::new();
            let mut visit = |slot, value| {
                slots.push((slot, value));
                ControlFlow::Continue(())
            };
            self.store.for_each_storage(&address, account.incarnation, number, U256::ZERO, &mut visit)?;
            full.add(&address, &account, slots);
        }
        Ok(full.root())
    }
}

/// Decodes blocks that follow each other without anything between.
///
/// # Errors
/// Names the first block that cannot be decoded.
pub fn decode_blocks(mut rlp: &[u8]) -> Result<Vec<Block>> {
    let mut blocks = Vec::new();
    while !rlp.is_empty() {
        let block = Block::decode(&mut rlp).with_context(|| format!("block {} of the file", blocks.len()))?;
        blocks.push(block);
    }
    Ok(blocks)
}

fn recover(spec: &ChainSpec, block: Block) -> Result<RecoveredBlock> {
    let low_s = spec.is_homestead_active(block.header.number);
    let senders = recover_senders(&block.body.transactions, low_s)
        .with_context(|| format!("block {}", block.header.number))?;
    Ok(RecoveredBlock { hash: block.header.hash_slow(), block, senders })
}

/// A chain on its way in.
struct Import {
    spec: Arc<ChainSpec>,
    author: Author,
    store: Arc<dyn Store>,
    trie: Layer,
    head: BlockRef,
    total_difficulty: U256,
}

impl Import {
    fn new(spec: ChainSpec, author: Author) -> Result<Self> {
        let block = spec.genesis_block();
        let genesis = RecoveredBlock { hash: spec.genesis_hash(), block, senders: Vec::new() };
        let mut import = Self {
            spec: Arc::new(spec),
            author,
            store: quintet_store::open_temporary()?,
            trie: Layer::new(),
            head: genesis.block_ref(),
            total_difficulty: U256::ZERO,
        };
        let output = BlockOutput {
            receipts: Vec::new(),
            requests: alloy_eips::eip7685::Requests::default(),
            gas_used: 0,
            blob_gas_used: 0,
            diff: import.spec.genesis_state(),
        };
        import.commit(genesis, output).context("genesis")?;
        Ok(import)
    }

    fn extend(&mut self, block: RecoveredBlock) -> Result<()> {
        let header = block.header();
        ensure!(header.parent_hash == self.head.hash, "parent is {}, not the head", header.parent_hash);
        check_body(&block.block)?;
        let state = self.store.state_at(self.head.number)?;
        let beneficiary = (self.author)(block.header());
        let output = execute_block(&self.spec, &block, beneficiary, &state, &mut Roots(&self.trie))?;
        check_output(block.header(), &output)?;
        self.commit(block, output)
    }

    /// Commits a block whose state root is the header's.
    fn commit(&mut self, block: RecoveredBlock, output: BlockOutput) -> Result<()> {
        let (root, update) = quintet_trie::update(&self.trie, &output.diff)?;
        let expected = block.header().state_root;
        ensure!(root == expected, "state root is {root}, the header's {expected}");
        self.trie.apply(update);
        self.head = block.block_ref();
        self.total_difficulty += block.header().difficulty;
        let executed = ExecutedBlock {
            block: Arc::new(block),
            receipts: Arc::new(output.receipts),
            diff: Arc::new(output.diff),
            total_difficulty: self.total_difficulty,
        };
        Ok(self.store.commit(Commit { blocks: vec![executed], ..Commit::default() })?)
    }

    /// Writes the trie, which was in memory so far.
    fn finish(self) -> Result<Chain> {
        let update = self.trie.to_update();
        let nodes = update.nodes.into_iter().map(|((owner, path), node)| (node_key(&owner, &path), node));
        let flush = TrieFlush {
            block: self.head,
            wiped_prefixes: update.wiped.iter().map(|hashed| storage_prefix(hashed).to_vec()).collect(),
            nodes: nodes.collect(),
        };
        self.store.commit(Commit { trie: Some(flush), ..Commit::default() })?;
        Ok(Chain { spec: self.spec, store: self.store, head: self.head })
    }
}

/// Roots for the receipts of blocks before Byzantium.
struct Roots<'a>(&'a Layer);

impl PostStateRoot for Roots<'_> {
    fn root(&mut self, diff: &StateDiff) -> Result<B256, StateError> {
        quintet_trie::update(self.0, diff).map(|(root, _)| root).map_err(StateError::new)
    }
}

/// That the body is the header's, so that a mistake in decoding does not look like one in execution.
fn check_body(block: &Block) -> Result<()> {
    let (header, body) = (&block.header, &block.body);
    ensure!(calculate_transaction_root(&body.transactions) == header.transactions_root, "transactions root");
    ensure!(calculate_ommers_root(&body.ommers) == header.ommers_hash, "uncles hash");
    let withdrawals = body.withdrawals.as_ref().map(|list| calculate_withdrawals_root(list));
    ensure!(withdrawals == header.withdrawals_root, "withdrawals root");
    Ok(())
}

fn check_output(header: &Header, output: &BlockOutput) -> Result<()> {
    let executed = Header {
        gas_used: output.gas_used,
        receipts_root: calculate_receipt_root(&output.receipts),
        logs_bloom: logs_bloom(&output.receipts),
        blob_gas_used: header.blob_gas_used.map(|_| output.blob_gas_used),
        requests_hash: header.requests_hash.map(|_| output.requests.requests_hash()),
        ..header.clone()
    };
    ensure!(
        executed == *header,
        "executed to {executed:?}\ninstead of {header:?}\nreceipts {:?}",
        output.receipts
    );
    Ok(())
}
