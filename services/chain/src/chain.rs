//! The chain: its head, and the one path by which blocks are committed.

use crate::adopt;
use crate::ancestry::{Ancestors, StoredSnapshots};
use crate::bad::BadBlocks;
use crate::config::Config;
use crate::error::ChainError;
use crate::import::Seals;
use crate::pool::TransactionPool;
use crate::side::Sides;
use crate::stage::timed;
use crate::trie::{Flushing, HeadTrie};
use alloy_primitives::{Address, B256, U256};
use arc_swap::ArcSwap;
use parking_lot::{Mutex, RwLock};
use quintet_chainspec::ChainSpec;
use quintet_consensus::{Consensus, Engine, Options, Weight};
use quintet_events::EventBus;
use quintet_store::{Commit, Store};
use quintet_trie::TrieUpdate;
use quintet_types::{Block, BlockRef, ExecutedBlock, Header, RecoveredBlock};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tokio::sync::watch;
use tracing::info_span;

/// Blocks that were built and may come back sealed.
const BUILT_BLOCKS: usize = 8;
/// Bytes of executed blocks that a reorg commits at once. A longer branch takes the head in several steps.
const REORG_WINDOW: usize = 256 << 20;
/// Where the store keeps the newest fencing token of miners: eight bytes, big-endian.
const FENCING_KEY: &str = "fencing_token";
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

impl Head {
    /// That a block is, once it is committed.
    pub(crate) fn of(executed: &ExecutedBlock) -> Self {
        Self {
            block: executed.block.block_ref(),
            header: executed.block.header().clone(),
            total_difficulty: executed.total_difficulty,
        }
    }

    /// What fork choice looks at.
    pub(crate) fn weight(&self) -> Weight {
        Weight::new(&self.header, self.total_difficulty)
    }
}

/// A block that was executed, with the trie nodes that it changes.
#[derive(Clone, Debug)]
pub(crate) struct Executed {
    pub(crate) block: ExecutedBlock,
    pub(crate) trie: TrieUpdate,
}

/// A block that was built here, and may come back sealed.
#[derive(Debug)]
pub(crate) struct Built {
    /// What its seal is over.
    pub(crate) seal_hash: B256,
    /// Who gets its fees.
    pub(crate) author: Address,
    pub(crate) executed: Executed,
}

/// The chain. Blocking: callers on an async thread go through `spawn_blocking`.
pub struct Chain {
    pub(crate) spec: Arc<ChainSpec>,
    pub(crate) engine: Engine,
    /// The same rules, with proofs of work taken for valid.
    trusting: Engine,
    pub(crate) ancestors: Ancestors,
    pub(crate) bad: BadBlocks,
    pub(crate) sides: Sides,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) bus: Arc<dyn EventBus>,
    pub(crate) pool: Arc<TransactionPool>,
    pub(crate) config: Config,
    pub(crate) head: ArcSwap<Head>,
    /// Tells that there is another head.
    heads: watch::Sender<BlockRef>,
    pub(crate) trie: RwLock<HeadTrie>,
    /// Held while the canonical chain changes: one writer. Guards the newest fencing token.
    pub(crate) writer: Mutex<u64>,
    /// Bytes of executed blocks that a reorg commits at once.
    pub(crate) reorg_window: usize,
    /// Whether a commit failed, so that the store's head may be another than this one's.
    pub(crate) unsettled: AtomicBool,
    /// Blocks built here, newest last.
    pub(crate) built: Mutex<VecDeque<Built>>,
    /// Whether a state is on its way in from peers: what of the trie is in the store is then of no block.
    pub(crate) fetching: AtomicBool,
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
        let head = store.head()?.ok_or(ChainError::Uninitialised)?;
        let head = stored_head(store.as_ref(), head)?;
        let options = Options {
            check_work: config.check_work,
            ethash_directory: config.ethash_directory.clone(),
            snapshots: Arc::new(StoredSnapshots(Arc::clone(&store))),
        };
        let newest_token = stored_token(store.as_ref())?;
        let fetching = store.meta(adopt::FETCHING_KEY)?.is_some();
        let trie = HeadTrie::open(Arc::clone(&store), head.block, head.header.state_root)?;
        let pool = TransactionPool::open(&config, &spec, Arc::clone(&store), &head)?;
        Ok(Self {
            trusting: Engine::new(Arc::clone(&spec), Options { check_work: false, ..options.clone() }),
            engine: Engine::new(Arc::clone(&spec), options),
            ancestors: Ancestors::new(Arc::clone(&store)),
            bad: BadBlocks::default(),
            sides: Sides::new(),
            spec,
            store,
            bus,
            pool,
            config,
            heads: watch::Sender::new(head.block),
            head: ArcSwap::from_pointee(head),
            trie: RwLock::new(trie),
            writer: Mutex::new(newest_token),
            reorg_window: REORG_WINDOW,
            unsettled: AtomicBool::new(false),
            built: Mutex::default(),
            fetching: AtomicBool::new(fetching),
        })
    }

    /// The rules that a block is judged by.
    pub(crate) const fn engine_for(&self, seals: Seals) -> &Engine {
        match seals {
            Seals::Checked => &self.engine,
            Seals::Trusted => &self.trusting,
        }
    }

    /// The head.
    pub fn head(&self) -> Arc<Head> {
        self.head.load_full()
    }

    /// Tells of each new head; of those that follow each other quickly perhaps only the last.
    pub(crate) fn heads(&self) -> watch::Receiver<BlockRef> {
        self.heads.subscribe()
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
    pub(crate) fn remember(&self, block: Built) {
        let mut built = self.built.lock();
        if built.len() == BUILT_BLOCKS {
            built.pop_front();
        }
        built.push_back(block);
    }

    /// The senders of a block that was built here, if `header` is its header, sealed.
    pub(crate) fn built_senders(&self, header: &Header) -> Option<Vec<Address>> {
        let built = self.built.lock();
        if built.is_empty() {
            return None;
        }
        let seal_hash = self.engine.claimed(header).seal_hash(header);
        let found = built.iter().find(|built| built.seal_hash == seal_hash)?;
        Some(found.executed.block.block.senders.clone())
    }

    /// Takes out a block that was built here, under the header that it came back with. Should its import fail,
    /// it is executed like any other next time.
    pub(crate) fn take_built(&self, rules: &dyn Consensus, block: &RecoveredBlock) -> Option<Executed> {
        let header = block.header();
        let mut built = self.built.lock();
        if built.is_empty() {
            return None;
        }
        let seal_hash = rules.seal_hash(header);
        let index = built.iter().position(|built| built.seal_hash == seal_hash)?;
        let Built { author, mut executed, .. } = built.remove(index)?;
        if executed.block.block.hash == block.hash {
            return Some(executed);
        }
        // Under proof of authority the seal says who gets the fees.
        if rules.author(header).ok()? != author {
            return None;
        }
        let RecoveredBlock { block: Block { body, .. }, senders, .. } =
            Arc::unwrap_or_clone(executed.block.block);
        let sealed = Block { header: header.clone(), body };
        executed.block.block = Arc::new(RecoveredBlock { hash: block.hash, block: sealed, senders });
        Some(executed)
    }

    /// Commits blocks on top of `ancestor`, which is the head unless this is a reorg, and makes the last one
    /// the head. The trie moves with the commit.
    pub(crate) fn commit(
        &self,
        trie: &mut HeadTrie,
        ancestor: Option<BlockRef>,
        blocks: &[ExecutedBlock],
    ) -> Result<(), ChainError> {
        let behind = ancestor.is_some_and(|ancestor| ancestor.number < trie.base().number);
        let flushing = trie.freeze(behind);
        let commit = Commit {
            unwind_to: ancestor.map(|ancestor| ancestor.number),
            blocks: blocks.to_vec(),
            trie: flushing.as_ref().map(Flushing::to_flush),
            ..Commit::default()
        };
        let span = info_span!("commit", blocks = blocks.len().cast_signed());
        timed("commit", &span, || self.write(commit))?;
        for block in blocks.iter().map(|executed| &executed.block) {
            tracing::debug!(number = block.header().number, hash = %block.hash, "Committed");
        }
        if flushing.is_some() {
            trie.flushed();
        }
        Ok(())
    }

    /// Makes a committed block the head that readers see.
    pub(crate) fn set_head(&self, head: Head) {
        metrics::gauge!("quintet_chain_head_number").set(head.block.number as f64);
        metrics::gauge!("quintet_chain_head_timestamp_seconds").set(head.header.timestamp as f64);
        let block = head.block;
        self.head.store(Arc::new(head));
        self.heads.send_replace(block);
    }

    /// What the head would be if a block of the store were it.
    pub(crate) fn stored_head(&self, block: BlockRef) -> Result<Head, ChainError> {
        stored_head(self.store.as_ref(), block)
    }

    /// Takes note of a miner's fencing token, and refuses one that is older than the newest. The newest is in the
    /// store before anything is done under it, so that it holds after a restart too.
    pub(crate) fn fence(&self, newest: &mut u64, token: u64) -> Result<(), ChainError> {
        if token == 0 || token == *newest {
            return Ok(());
        }
        if token < *newest {
            return Err(ChainError::Fenced { token, newest: *newest });
        }
        let meta = vec![(FENCING_KEY.to_owned(), Some(token.to_be_bytes().to_vec().into()))];
        self.write(Commit { meta, ..Commit::default() })?;
        *newest = token;
        Ok(())
    }

    /// Writes the trie's dirty nodes, so that the next start has nothing to compute again.
    ///
    /// # Errors
    /// When the store cannot be written; nothing is lost then.
    pub fn close(&self) -> Result<(), ChainError> {
        let _writer = self.writer.lock();
        self.settle()?;
        self.trie.write().write()
    }
}

/// The newest fencing token that was used; 0 if there was none.
fn stored_token(store: &dyn Store) -> Result<u64, ChainError> {
    let Some(bytes) = store.meta(FENCING_KEY)? else { return Ok(0) };
    let token = bytes.as_ref().try_into().map(u64::from_be_bytes);
    token.map_err(|_| ChainError::BadRecord(FENCING_KEY))
}

fn stored_head(store: &dyn Store, block: BlockRef) -> Result<Head, ChainError> {
    let header = store.header(&block.hash)?.ok_or(ChainError::NotFound("header of the head"))?;
    let total_difficulty =
        store.total_difficulty(&block.hash)?.ok_or(ChainError::NotFound("total difficulty of the head"))?;
    Ok(Head { block, header, total_difficulty })
}
