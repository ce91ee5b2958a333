//! Executes blocks beside the canonical chain when they come, so that a bad one is refused at once and not when
//! its branch is about to win.
//!
//! It is done on a state and a trie that are thrown away: the canonical state at the fork with the branch's diffs
//! on top, and over the head's trie the nodes that differ from it. What must hold: neither the store's state nor
//! the head's trie changes.

use crate::bulk::state::{Caches, HeadState};
use crate::bulk::weight;
use crate::chain::{Chain, Executed, Head};
use crate::error::ChainError;
use crate::reorg::Branch;
use crate::trie::HeadTrie;
use crate::verify::StateTrie;
use alloy_primitives::B256;
use parking_lot::Mutex;
use quick_cache::Weighter;
use quick_cache::unsync::Cache;
use quintet_trie::{Layer, TrieChanges, TrieUpdate};
use quintet_types::{BlockRef, ExecutedBlock, RecoveredBlock, StateDiff};
use std::sync::Arc;

/// Most blocks from the fork up to the head, and most from the fork up to the block: geth keeps the states of as
/// many blocks, and what lies deeper it does not execute either.
const MOST_BLOCKS: u64 = 128;
/// Bytes of executed blocks that are kept for their children and for reorgs.
const EXECUTED_BYTES: u64 = 64 << 20;
/// Executed blocks that are kept, about: the branches of two forks.
const EXECUTED_BLOCKS: usize = 256;
/// Bytes of trie nodes that are kept for the next block.
const NODE_BYTES: usize = 64 << 20;
/// Bytes of cached state below a branch.
const CACHE_BYTES: u64 = 4 << 20;

#[derive(Clone)]
struct BlockSize;

impl Weighter<B256, ExecutedBlock> for BlockSize {
    fn weight(&self, _: &B256, block: &ExecutedBlock) -> u64 {
        weight::of_executed(block) as u64
    }
}

/// What was computed for blocks beside the canonical chain. It can all be computed again.
pub(crate) struct Sides {
    executed: Mutex<Cache<B256, ExecutedBlock, BlockSize>>,
    standing: Mutex<Option<Standing>>,
}

impl Sides {
    /// Nothing.
    pub(crate) fn new() -> Self {
        let executed = Cache::with_weighter(EXECUTED_BLOCKS, EXECUTED_BYTES, BlockSize);
        Self { executed: Mutex::new(executed), standing: Mutex::default() }
    }

    /// Forgets everything.
    pub(crate) fn clear(&self) {
        self.executed.lock().clear();
        *self.standing.lock() = None;
    }

    /// A block that was executed when it was put aside, if it is still there.
    pub(crate) fn executed(&self, hash: &B256) -> Option<ExecutedBlock> {
        self.executed.lock().get(hash).cloned()
    }
}

/// The state after a block beside the canonical chain, or after the canonical block that it forks from.
struct Standing {
    /// Where the canonical chain was then.
    head: BlockRef,
    ancestor: BlockRef,
    tip: Head,
    state: HeadState,
    /// Nodes that differ from those of the head's trie.
    nodes: Layer,
}

impl Standing {
    fn push(&mut self, executed: &ExecutedBlock, update: TrieUpdate) {
        self.tip = Head::of(executed);
        self.state.push_block(executed);
        self.nodes.apply(update);
    }
}

/// The head's trie with other nodes over it.
struct SideTrie<'a> {
    head: &'a HeadTrie,
    nodes: &'a Layer,
}

impl StateTrie for SideTrie<'_> {
    fn update(&self, diff: &StateDiff) -> Result<(B256, TrieUpdate), ChainError> {
        self.head.update_beside(self.nodes, diff)
    }
}

impl Chain {
    /// Executes a block that is to be kept beside the canonical chain, and those between it and the fork that
    /// have not been executed. It does nothing where the fork is too far away.
    ///
    /// # Errors
    /// When one of them is not valid, or the node failed.
    pub(crate) fn execute_aside(&self, block: &Arc<RecoveredBlock>) -> Result<(), ChainError> {
        let number = block.header().number;
        let trie = self.trie.read();
        let floor = trie.head().number.max(number).saturating_sub(MOST_BLOCKS).max(self.store.first_state()?);
        let parent = BlockRef { number: number.saturating_sub(1), hash: block.header().parent_hash };
        let mut place = self.sides.standing.lock();
        // The state of the parent is often the one that was left here.
        let fits = |standing: &mut Standing| {
            (standing.head, standing.tip.block) == (trie.head(), parent) && standing.ancestor.number >= floor
        };
        let standing = match place.take_if(fits) {
            Some(standing) => Some(standing),
            None => self.stand_on(parent, floor, &trie)?,
        };
        let Some(mut standing) = standing else { return Ok(()) };
        let executed = self.step(&mut standing, &trie, Arc::clone(block));
        *place = Some(standing).filter(|standing| standing.nodes.size() <= NODE_BYTES);
        executed
    }

    /// The state after a block beside the canonical chain, if its fork is not below block `floor`.
    fn stand_on(
        &self,
        newest: BlockRef,
        floor: u64,
        trie: &HeadTrie,
    ) -> Result<Option<Standing>, ChainError> {
        let Some(Branch { ancestor, blocks, .. }) = self.branch_above(newest, floor)? else {
            return Ok(None);
        };
        let known: Vec<_> = blocks.iter().map_while(|hash| self.sides.executed(hash)).collect();
        let mut standing = self.stand_after(ancestor, &known, trie)?;
        for hash in blocks.iter().skip(known.len()) {
            let block = self.store.block(hash)?.ok_or(ChainError::NotFound("block of a branch"))?;
            self.step(&mut standing, trie, Arc::new(block))?;
        }
        Ok(Some(standing))
    }

    /// The state after executed blocks on a canonical one.
    fn stand_after(
        &self,
        ancestor: BlockRef,
        blocks: &[ExecutedBlock],
        trie: &HeadTrie,
    ) -> Result<Standing, ChainError> {
        let caches = Arc::new(Caches::new(CACHE_BYTES));
        let mut state = HeadState::new(Arc::clone(&self.store), ancestor.number, caches);
        let mut changes = trie.changes_back_to(ancestor.number)?;
        for executed in blocks {
            state.push_block(executed);
            changes.extend(TrieChanges::from(executed.diff.as_ref()));
        }
        let tip = match blocks.last() {
            Some(newest) => Head::of(newest),
            None => self.stored_head(ancestor)?,
        };
        let (root, nodes) = trie.beside(&changes)?;
        if root != tip.header.state_root {
            return Err(ChainError::TrieMismatch { header: tip.header.state_root, state: root });
        }
        Ok(Standing { head: trie.head(), ancestor, tip, state, nodes })
    }

    /// Executes the next block.
    fn step(
        &self,
        standing: &mut Standing,
        trie: &HeadTrie,
        block: Arc<RecoveredBlock>,
    ) -> Result<(), ChainError> {
        metrics::counter!("quintet_chain_side_executions_total").increment(1);
        let over = SideTrie { head: trie, nodes: &standing.nodes };
        let Executed { block: executed, trie: update } =
            self.execute_on(&standing.tip, block, &standing.state, &over)?;
        standing.push(&executed, update);
        self.sides.executed.lock().insert(executed.block.hash, executed);
        Ok(())
    }
}
