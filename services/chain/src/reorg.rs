//! Moves the head to another branch, or back. Memory is bounded by the blocks that come, not by those that go:
//! the trie is written on its way down, and a branch is committed in windows when it is long.

use crate::bulk::state::{Caches, HeadState};
use crate::bulk::weight;
use crate::chain::{Chain, Executed, Head};
use crate::error::ChainError;
use crate::trie::HeadTrie;
use crate::verify::{self, StateTrie, check_root, judged};
use alloy_primitives::{Address, B256};
use quintet_consensus::prefers;
use quintet_types::{BlockRef, ChainEvent, ExecutedBlock, RecoveredBlock, Transaction};
use std::collections::VecDeque;
use std::sync::Arc;

/// Blocks that one step of a rewind takes away.
const REWIND_STEP: u64 = 1024;
/// Transactions of dropped blocks that go back to the pool, which holds about as many.
const REINJECTED: usize = 8192;
/// Bytes of cached state while a branch is executed.
const CACHE_BYTES: u64 = 16 << 20;

/// What leaves the canonical chain.
#[derive(Default)]
struct Dropped {
    /// Blocks, newest first.
    blocks: Vec<BlockRef>,
    /// The oldest of their transactions, oldest first.
    transactions: VecDeque<(Transaction, Address)>,
}

/// A branch on its way to be canonical.
pub(crate) struct Branch {
    /// The canonical block that it forks from.
    pub(crate) ancestor: BlockRef,
    /// The blocks above the ancestor, oldest first.
    pub(crate) blocks: Vec<B256>,
    /// The last of them, if the store does not hold it.
    tip: Option<Arc<RecoveredBlock>>,
}

impl Chain {
    /// Makes a block off the canonical chain the head, with all its ancestors down to the fork.
    ///
    /// When a block of the branch is not valid, the best valid chain has the head afterwards.
    #[tracing::instrument(name = "reorg", skip_all)]
    pub(crate) fn reorganise(&self, block: RecoveredBlock) -> Result<(), ChainError> {
        let branch = self.branch_to(Arc::new(block))?;
        let old_head = self.head();
        let mut trie = self.trie.write();
        let Err(error) = self.switch(&mut trie, &branch) else { return Ok(()) };
        if !trie.is_settled_at(self.head().block) {
            self.reset_trie(&mut trie)?;
        }
        let lost = prefers(&old_head.weight(), &self.head().weight());
        if lost && self.head().block != old_head.block {
            tracing::warn!(number = old_head.block.number, hash = %old_head.block.hash, "Going back to the old head");
            let old = self.stored_branch(old_head.block)?;
            self.switch(&mut trie, &old)?;
        }
        self.bad.learn(Err(error))
    }

    /// The blocks from the fork (exclusive) to `block`.
    fn branch_to(&self, block: Arc<RecoveredBlock>) -> Result<Branch, ChainError> {
        let number = block.header().number;
        let unknown = || ChainError::UnknownAncestor { number, hash: block.hash };
        let parent =
            BlockRef { number: number.checked_sub(1).ok_or_else(unknown)?, hash: block.header().parent_hash };
        let mut branch = self.stored_branch(parent)?;
        branch.blocks.push(block.hash);
        branch.tip = Some(block);
        Ok(branch)
    }

    /// The blocks from the fork (exclusive) to a block of the store.
    fn stored_branch(&self, newest: BlockRef) -> Result<Branch, ChainError> {
        let BlockRef { number, hash } = newest;
        // To go back below a fetched state is refused, as in geth.
        let first = self.store.first_state()?;
        match self.branch_above(newest, first)? {
            Some(branch) => Ok(branch),
            None if first > 0 => Err(ChainError::BelowFetchedState { first }),
            None => Err(ChainError::UnknownAncestor { number, hash }),
        }
    }

    /// The same, if the fork is not below block `floor`.
    pub(crate) fn branch_above(&self, newest: BlockRef, floor: u64) -> Result<Option<Branch>, ChainError> {
        let (mut at, mut blocks) = (newest, Vec::new());
        while at.number < floor || self.store.canonical_hash(at.number)? != Some(at.hash) {
            if at.number <= floor {
                return Ok(None);
            }
            let unknown = || ChainError::UnknownAncestor { number: at.number, hash: at.hash };
            let header = self.store.header(&at.hash)?.ok_or_else(unknown)?;
            blocks.push(at.hash);
            at = BlockRef { number: at.number - 1, hash: header.parent_hash };
        }
        blocks.reverse();
        Ok(Some(Branch { ancestor: at, blocks, tip: None }))
    }

    /// Executes a branch and makes it canonical: in one transaction, unless it is too long for that. On an
    /// error the chain stands at the old head, or where the last window ended.
    fn switch(&self, trie: &mut HeadTrie, branch: &Branch) -> Result<(), ChainError> {
        let mut dropped = self.dropped_above(branch.ancestor)?;
        trie.retreat(branch.ancestor)?;
        let mut state = HeadState::new(
            Arc::clone(&self.store),
            branch.ancestor.number,
            Arc::new(Caches::new(CACHE_BYTES)),
        );
        let mut window = Window { ancestor: Some(branch.ancestor), blocks: Vec::new(), weight: 0 };
        let mut parent = self.stored_head(branch.ancestor)?;
        for hash in &branch.blocks {
            let executed = match self.execute_in(branch, hash, &parent, &state, trie) {
                Ok(Executed { block, trie: update }) => {
                    trie.advance(block.block.block_ref(), update);
                    block
                }
                Err(error) => {
                    // What came before may be the best chain there is.
                    if !window.blocks.is_empty() && prefers(&parent.weight(), &self.head().weight()) {
                        self.commit_window(trie, &mut window, &mut dropped)?;
                    }
                    return Err(error);
                }
            };
            parent = Head::of(&executed);
            state.push_block(&executed);
            window.push(executed);
            if window.weight >= self.reorg_window {
                self.commit_window(trie, &mut window, &mut dropped)?;
                state.settle(parent.block.number);
            }
        }
        self.commit_window(trie, &mut window, &mut dropped)
    }

    fn branch_block(&self, branch: &Branch, hash: &B256) -> Result<Arc<RecoveredBlock>, ChainError> {
        match &branch.tip {
            Some(tip) if tip.hash == *hash => Ok(Arc::clone(tip)),
            _ => Ok(Arc::new(self.store.block(hash)?.ok_or(ChainError::NotFound("block of a branch"))?)),
        }
    }

    /// Executes a block of the branch, unless that was done when it was put aside.
    fn execute_in(
        &self,
        branch: &Branch,
        hash: &B256,
        parent: &Head,
        state: &HeadState,
        trie: &HeadTrie,
    ) -> Result<Executed, ChainError> {
        let Some(block) = self.sides.executed(hash) else {
            return self.execute_on(parent, self.branch_block(branch, hash)?, state, trie);
        };
        let (root, update) = trie.update(&block.diff)?;
        check_root(&block.block, root)?;
        Ok(Executed { block, trie: update })
    }

    /// Executes a block on its parent, which is `state`'s and `trie`'s.
    pub(crate) fn execute_on(
        &self,
        parent: &Head,
        block: Arc<RecoveredBlock>,
        state: &HeadState,
        trie: &dyn StateTrie,
    ) -> Result<Executed, ChainError> {
        let rules = self.engine.after(parent.total_difficulty);
        let author = rules.author(block.header()).map_err(|error| judged(&block, error))?;
        let total_difficulty = parent.total_difficulty.saturating_add(block.header().difficulty);
        verify::execute(self, block, (total_difficulty, author), state, trie)
    }

    /// Commits the blocks of a window, and tells the pool and the bus.
    fn commit_window(
        &self,
        trie: &mut HeadTrie,
        window: &mut Window,
        dropped: &mut Dropped,
    ) -> Result<(), ChainError> {
        let ancestor = window.ancestor.take();
        let blocks = std::mem::take(&mut window.blocks);
        window.weight = 0;
        let Some(newest) = blocks.last() else { return Ok(()) };
        self.commit(trie, ancestor, &blocks)?;
        self.set_head(Head::of(newest));
        let Dropped { blocks: gone, transactions } = std::mem::take(dropped);
        if let Some(ancestor) = ancestor.filter(|_| !gone.is_empty()) {
            tracing::warn!(
                number = ancestor.number, hash = %ancestor.hash, drop = gone.len(), add = blocks.len(),
                "Chain reorg detected"
            );
            self.publish_event(ChainEvent::Reverted(gone.into()));
        }
        self.pool.reset(&self.spec, &self.head(), &blocks, transactions.into());
        for block in blocks {
            self.publish(block);
        }
        Ok(())
    }

    /// The canonical blocks above `ancestor`, and the transactions that return to the pool.
    fn dropped_above(&self, ancestor: BlockRef) -> Result<Dropped, ChainError> {
        let missing = || ChainError::NotFound("canonical block");
        let mut dropped = Dropped::default();
        for number in (ancestor.number + 1..=self.head().block.number).rev() {
            let hash = self.store.canonical_hash(number)?.ok_or_else(missing)?;
            dropped.blocks.push(BlockRef { number, hash });
        }
        for block in dropped.blocks.iter().rev() {
            if dropped.transactions.len() >= REINJECTED {
                break;
            }
            let block = self.store.block(&block.hash)?.ok_or_else(missing)?;
            let transactions = block.block.body.transactions.into_iter().zip(block.senders);
            dropped.transactions.extend(transactions);
        }
        Ok(dropped)
    }

    /// Makes an earlier canonical block the head.
    ///
    /// # Errors
    /// When the canonical chain has no such block, or its state is not held. When the node fails halfway, the head is a block between.
    pub fn rewind(&self, number: u64) -> Result<BlockRef, ChainError> {
        let _writer = self.writer.lock();
        self.takes_blocks()?;
        self.settle()?;
        let target = self.canonical(number)?;
        let first = self.store.first_state()?;
        if number < first {
            return Err(ChainError::BelowFetchedState { first });
        }
        let dropped = self.dropped_above(target)?;
        let mut trie = self.trie.write();
        while self.head().block.number > number {
            let step = self.canonical(self.head().block.number.saturating_sub(REWIND_STEP).max(number))?;
            self.step_back(&mut trie, step)?;
        }
        drop(trie);
        self.pool.reset(&self.spec, &self.head(), &[], dropped.transactions.into());
        self.publish_event(ChainEvent::Reverted(dropped.blocks.into()));
        Ok(target)
    }

    fn step_back(&self, trie: &mut HeadTrie, target: BlockRef) -> Result<(), ChainError> {
        let head = self.stored_head(target)?;
        let moved = trie.retreat(target).and_then(|()| self.commit(trie, Some(target), &[]));
        if let Err(error) = moved {
            self.reset_trie(trie)?;
            return Err(error);
        }
        self.set_head(head);
        Ok(())
    }

    fn canonical(&self, number: u64) -> Result<BlockRef, ChainError> {
        let hash = self.store.canonical_hash(number)?.ok_or(ChainError::NotFound("canonical block"))?;
        Ok(BlockRef { number, hash })
    }

    /// Makes sure that the trie is at the head: it is not when a failure of the store left it ahead.
    pub(crate) fn settle_trie(&self) -> Result<(), ChainError> {
        let settled = self.trie.read().is_settled_at(self.head().block);
        if settled { Ok(()) } else { self.reset_trie(&mut self.trie.write()) }
    }

    /// Brings the trie back to the head after what failed: it is derived data, so it is read afresh.
    pub(crate) fn reset_trie(&self, trie: &mut HeadTrie) -> Result<(), ChainError> {
        let head = self.head();
        *trie = trie.reopened(head.block, head.header.state_root)?;
        Ok(())
    }
}

/// Executed blocks that are committed together.
struct Window {
    /// Where the canonical chain is cut first.
    ancestor: Option<BlockRef>,
    blocks: Vec<ExecutedBlock>,
    weight: usize,
}

impl Window {
    fn push(&mut self, executed: ExecutedBlock) {
        self.weight = self.weight.saturating_add(weight::of_executed(&executed));
        self.blocks.push(executed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Config, genesis};
    use quintet_events::LocalBus;
    use quintet_testkit::generate::{BlockPlan, Generator, Network, Options};

    /// A chain whose reorgs commit every block by itself, with two branches for it; the second is heavier.
    fn chain() -> (Chain, Vec<ExecutedBlock>, Vec<ExecutedBlock>) {
        let start = Generator::new(Options::small(Network::Ethash));
        let grow = |seed, interval| {
            let mut generator = start.branch(seed);
            let plan = BlockPlan { interval, ..BlockPlan::default() };
            (0..12).map(|_| generator.next_block_with(&plan)).collect()
        };
        let store = quintet_store::open_temporary().unwrap();
        genesis::init(store.as_ref(), start.spec()).unwrap();
        let config = Config { check_work: false, ..Config::of(start.spec()) };
        let bus = Arc::new(LocalBus::new());
        let mut chain = Chain::open(Arc::clone(start.spec()), store, bus, config).unwrap();
        chain.reorg_window = 1;
        (chain, grow(1, 60), grow(2, 3))
    }

    fn import(chain: &Chain, block: &RecoveredBlock) -> Result<(), ChainError> {
        chain.import(block.clone(), 0).map(drop)
    }

    fn assert_at(chain: &Chain, newest: &ExecutedBlock) {
        let head = newest.block.block_ref();
        assert_eq!((chain.head().block, chain.store.head().unwrap()), (head, Some(head)));
        let root = newest.block.header().state_root;
        let stored = HeadTrie::open(Arc::clone(&chain.store), head, root).unwrap();
        for trie in [&stored, &chain.trie.read()] {
            assert_eq!(trie.update(&quintet_types::StateDiff::default()).unwrap().0, root);
        }
    }

    #[test]
    fn a_long_branch_takes_the_head_in_steps() {
        let (chain, old, new) = chain();
        for executed in old.iter().chain(&new) {
            import(&chain, &executed.block).unwrap();
        }
        assert_at(&chain, new.last().unwrap());
    }

    #[test]
    fn a_long_branch_that_turns_out_bad_gives_the_head_back() {
        let (chain, old, new) = chain();
        for executed in &old {
            import(&chain, &executed.block).unwrap();
        }
        let heavier = new.iter().position(|new| new.total_difficulty > old[11].total_difficulty).unwrap();
        for executed in &new[..heavier] {
            import(&chain, &executed.block).unwrap();
        }
        assert_at(&chain, old.last().unwrap());
        let mut bad = RecoveredBlock::clone(&new[heavier].block);
        bad.block.header.state_root = B256::repeat_byte(1);
        bad.hash = bad.block.header.hash_slow();
        let refused = import(&chain, &bad).unwrap_err().to_string();
        assert!(refused.contains("invalid merkle root"), "{refused}");
        assert_at(&chain, old.last().unwrap());
        import(&chain, &new[heavier].block).unwrap();
        assert_at(&chain, &new[heavier]);
    }
}
