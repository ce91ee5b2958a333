//! The chain: its head, and the one path by which blocks are committed.

use crate::config::Config;
use crate::error::ChainError;
use crate::pool::TransactionPool;
use crate::trie::HeadTrie;
use alloy_primitives::{Address, B256, U256};
use arc_swap::ArcSwap;
use parking_lot::{Mutex, RwLock};
use quintet_chainspec::ChainSpec;
use quintet_events::EventBus;
use quintet_store::{Commit, Store};
use quintet_trie::TrieUpdate;
use quintet_types::{BlockRef, ExecutedBlock, Header};
use std::collections::VecDeque;
use std::sync::Arc;

/// Blocks that were built and may come back sealed.
const BUILT_BLOCKS: usize = 8;
/// Under instant finality, a block in this many is final, as in a beacon chain's epochs.
const FINALITY_EPOCH: u64 = 32;

/// Where the chain stands.
#[derive(Clone, Debug)]
pub struct Head {
    /// The block.
    pub block: BlockRef,
    /// Its header.
    pub header: Header,
    /// Sum of the difficulties up to it.
    pub total_difficulty: U256,
}

/// A block that was executed, with the trie nodes that it changes.
#[derive(Clone, Debug)]
pub(crate) struct Executed {
    pub(crate) block: ExecutedBlock,
    pub(crate) trie: TrieUpdate,
}

/// The chain. Blocking: callers on an async thread go through `spawn_blocking`.
pub struct Chain {
    pub(crate) spec: Arc<ChainSpec>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) bus: Arc<dyn EventBus>,
    pub(crate) pool: Arc<TransactionPool>,
    pub(crate) config: Config,
    pub(crate) head: ArcSwap<Head>,
    pub(crate) trie: RwLock<HeadTrie>,
    /// Held while the canonical chain changes: one writer. Guards the newest fencing token.
    pub(crate) writer: Mutex<u64>,
    /// Blocks built here, by their seal hash, newest last.
    pub(crate) built: Mutex<VecDeque<(B256, Executed)>>,
}

impl Chain {
    /// The chain in `store`, whose genesis block must be there ([`crate::genesis::init`]).
    ///
    /// # Errors
    /// When the store cannot be read, or the journal is damaged.
    pub fn open(
        spec: Arc<ChainSpec>,
        store: Arc<dyn Store>,
        bus: Arc<dyn EventBus>,
        config: Config,
    ) -> Result<Self, ChainError> {
        let head = stored_head(store.as_ref())?;
        let trie = HeadTrie::open(Arc::clone(&store), head.block, head.header.state_root)?;
        let pool = TransactionPool::open(&config, &spec, Arc::clone(&store), &head)?;
        Ok(Self {
            spec,
            store,
            bus,
            pool,
            config,
            head: ArcSwap::from_pointee(head),
            trie: RwLock::new(trie),
            writer: Mutex::new(0),
            built: Mutex::default(),
        })
    }

    /// The head.
    pub fn head(&self) -> Arc<Head> {
        self.head.load_full()
    }

    /// The safe and the finalized block, where the network has such.
    pub fn finality(&self) -> Result<(Option<BlockRef>, Option<BlockRef>), ChainError> {
        if !self.config.instant_finality {
            return Ok((None, None));
        }
        let head = self.head().block;
        let number = head.number - head.number % FINALITY_EPOCH;
        let hash = self.store.canonical_hash(number)?;
        Ok((Some(head), hash.map(|hash| BlockRef { number, hash })))
    }

    /// Remembers a built block until it comes back sealed.
    pub(crate) fn remember(&self, seal_hash: B256, executed: Executed) {
        let mut built = self.built.lock();
        if built.len() == BUILT_BLOCKS {
            built.pop_front();
        }
        built.push_back((seal_hash, executed));
    }

    /// The senders of a block that was built here, if `seal_hash` names one.
    pub(crate) fn built_senders(&self, seal_hash: &B256) -> Option<Vec<Address>> {
        let built = self.built.lock();
        let (_, executed) = built.iter().find(|(hash, _)| hash == seal_hash)?;
        Some(executed.block.block.senders.clone())
    }

    /// Takes out a block that was built here. Should its import fail, it is executed like any other next time.
    pub(crate) fn take_built(&self, seal_hash: &B256) -> Option<Executed> {
        let mut built = self.built.lock();
        let index = built.iter().position(|(hash, _)| hash == seal_hash)?;
        built.remove(index).map(|(_, executed)| executed)
    }

    /// Commits blocks on top of `ancestor`, which is the head unless this is a reorg, and makes the last one
    /// the head. The trie moves with the commit.
    #[tracing::instrument(name = "commit", skip_all, fields(blocks = blocks.len().cast_signed()))]
    pub(crate) fn commit(
        &self,
        trie: &mut HeadTrie,
        ancestor: Option<BlockRef>,
        blocks: &[ExecutedBlock],
    ) -> Result<(), ChainError> {
        let behind = ancestor.is_some_and(|ancestor| ancestor.number < trie.base().number);
        let flush = trie.flush(behind);
        let flushed = flush.is_some();
        self.store.commit(Commit {
            unwind_to: ancestor.map(|ancestor| ancestor.number),
            blocks: blocks.to_vec(),
            trie: flush,
            ..Commit::default()
        })?;
        if flushed {
            trie.flushed();
        }
        Ok(())
    }

    /// Makes the committed block the head that readers see.
    pub(crate) fn set_head(&self, executed: &ExecutedBlock) {
        let block = &executed.block;
        metrics::gauge!("quintet_chain_head_number").set(block.header().number as f64);
        self.head.store(Arc::new(Head {
            block: block.block_ref(),
            header: block.header().clone(),
            total_difficulty: executed.total_difficulty,
        }));
    }

    /// Writes the trie's dirty nodes, so that the next start has nothing to compute again.
    ///
    /// # Errors
    /// When the store cannot be written; nothing is lost then.
    pub fn close(&self) -> Result<(), ChainError> {
        let _writer = self.writer.lock();
        let mut trie = self.trie.write();
        let Some(flush) = trie.flush(true) else { return Ok(()) };
        self.store.commit(Commit { trie: Some(flush), ..Commit::default() })?;
        trie.flushed();
        Ok(())
    }
}

fn stored_head(store: &dyn Store) -> Result<Head, ChainError> {
    let block = store.head()?.ok_or(ChainError::Uninitialised)?;
    let header = store.header(&block.hash)?.ok_or(ChainError::NotFound("head"))?;
    let total_difficulty =
        store.total_difficulty(&block.hash)?.ok_or(ChainError::NotFound("total difficulty of the head"))?;
    Ok(Head { block, header, total_difficulty })
}
