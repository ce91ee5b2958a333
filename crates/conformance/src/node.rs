//! A chain on a store of its own, into which blocks go as they do in the node.

use alloy_rlp::Decodable;
use quintet_chain::{BulkOptions, Chain, Config, Imported, genesis};
use quintet_chainspec::ChainSpec;
use quintet_events::LocalBus;
use quintet_store::{Durability, Options, Store};
use quintet_types::{Block, RecoveredBlock, recover_senders};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

/// Upper limit of a store's data file, as address space.
const MAX_STORE: usize = 4 << 30;
/// Where files live in memory, if the system has that.
const MEMORY: &str = "/dev/shm";

/// A chain, gone when dropped.
pub(crate) struct Node {
    pub(crate) chain: Chain,
    pub(crate) store: Arc<dyn Store>,
    spec: Arc<ChainSpec>,
    /// Dropped last.
    _directory: TempDir,
}

impl Node {
    /// A chain with its genesis block. Without `check_work`, seals of proof of work are not looked at.
    ///
    /// # Errors
    /// When the chain refuses the genesis, or has no place for its files.
    pub(crate) fn open(spec: ChainSpec, check_work: bool) -> Result<Self, String> {
        let directory = directory().map_err(|error| format!("no place for a store: {error}"))?;
        let options = Options { durability: Durability::None, create: true, max_size: MAX_STORE };
        let store = quintet_store::open(directory.path(), &options).map_err(|error| error.to_string())?;
        let spec = Arc::new(spec);
        genesis::init(store.as_ref(), &spec).map_err(|error| error.to_string())?;
        let config = Config { check_work, ethash_directory: Some(ethash_directory()), ..Config::of(&spec) };
        let bus = Arc::new(LocalBus::default());
        let chain = Chain::open(Arc::clone(&spec), Arc::clone(&store), bus, config)
            .map_err(|error| error.to_string())?;
        Ok(Self { chain, store, spec, _directory: directory })
    }

    /// Decodes and imports a block.
    ///
    /// # Errors
    /// Why the chain refuses it, in words that name the rule.
    pub(crate) fn import_rlp(&self, mut rlp: &[u8]) -> Result<Imported, String> {
        let block = Block::decode(&mut rlp).map_err(|error| format!("undecodable block: {error}"))?;
        if rlp.is_empty() { self.import(block) } else { Err("undecodable block: too long".to_owned()) }
    }

    /// Imports blocks as a file of them is imported: all stages at once.
    ///
    /// # Errors
    /// Why the chain refuses one of them.
    pub(crate) fn import_bulk(&self, blocks: Vec<Block>) -> Result<(), String> {
        let blocks = blocks.into_iter().map(Ok::<_, String>);
        let result = self.chain.import_chain(blocks, &BulkOptions::default(), &|_| ());
        result.map(drop).map_err(|error| error.to_string())
    }

    /// Imports a block.
    ///
    /// # Errors
    /// Why the chain refuses it.
    pub(crate) fn import(&self, block: Block) -> Result<Imported, String> {
        let low_s = self.spec.is_homestead_active(block.header.number);
        let senders = recover_senders(&block.body.transactions, low_s).map_err(|error| error.to_string())?;
        let block = RecoveredBlock { hash: block.header.hash_slow(), block, senders };
        self.chain.import(block, 0).map_err(|error| error.to_string())
    }
}

fn directory() -> std::io::Result<TempDir> {
    let builder = &mut tempfile::Builder::new();
    let builder = builder.prefix("quintet-conformance-");
    let memory = Path::new(MEMORY);
    if memory.is_dir() { builder.tempdir_in(memory) } else { builder.tempdir() }
}

/// Where caches of proof of work are kept from run to run.
fn ethash_directory() -> PathBuf {
    std::env::temp_dir().join("quintet-conformance-ethash")
}
