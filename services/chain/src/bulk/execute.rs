//! The third stage: blocks are checked on their parents and executed, one after another.

use super::prepare::Prepared;
use super::queue::{Closed, Ends};
use super::state::HeadState;
use super::{Pipeline, Stage, Stop};
use crate::chain::Head;
use crate::error::ChainError;
use crate::import::{Imported, check_clock};
use crate::verify::{TrieRoots, invalid, judged};
use alloy_primitives::{B256, U256};
use quintet_consensus::Parent;
use quintet_evm::{BlockOutput, PostStateRoot};
use quintet_types::{BlockRef, RecoveredBlock, StateDiff, StateError};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, sync_channel};

/// What the next stage is to do.
pub(super) enum Task {
    Block(Box<Done>),
    /// Commit everything before this, then say so.
    Drain(SyncSender<()>),
    Stop(Stop),
}

/// A block that was executed, and is yet to be compared with its header.
pub(super) struct Done {
    pub(super) block: Arc<RecoveredBlock>,
    pub(super) total_difficulty: U256,
    /// Its `diff` has moved to the other field.
    pub(super) output: BlockOutput,
    pub(super) diff: Arc<StateDiff>,
}

/// Why this stage ends.
enum Halt {
    Closed,
    Stop(Stop),
}

impl From<Closed> for Halt {
    fn from(Closed: Closed) -> Self {
        Self::Closed
    }
}

/// Where the stage stands.
struct Tip {
    head: Head,
    state: HeadState,
}

impl Pipeline<'_> {
    /// Executes blocks in order.
    pub(super) fn execute(&self) {
        let input = if self.reads_ahead { &self.ready } else { &self.prepared };
        let _ends = Ends { input: Some(input), output: Some(&self.executed) };
        let mut tip = self.tip();
        while let Some(step) = input.pop() {
            let halt = match step {
                Ok(prepared) => self.execute_next(&mut tip, prepared).err(),
                Err(stop) => Some(Halt::Stop(stop)),
            };
            match halt {
                None => {}
                Some(Halt::Closed) => return,
                Some(Halt::Stop(stop)) => {
                    // Who is gone has an error of its own.
                    let _ = self.executed.push(Task::Stop(stop), 0);
                    return;
                }
            }
        }
    }

    /// The chain's head, all of which is committed.
    fn tip(&self) -> Tip {
        let head = Head::clone(&self.chain.head());
        let store = Arc::clone(&self.chain.store);
        let state = HeadState::new(store, head.block.number, Arc::clone(&self.caches));
        Tip { head, state }
    }

    fn execute_next(&self, tip: &mut Tip, prepared: Prepared) -> Result<(), Halt> {
        if prepared.block.header().parent_hash != tip.head.block.hash {
            return self.detour(tip, prepared);
        }
        let weight = prepared.weight;
        let done = self.clock.time(Stage::Execute, || self.execute_block(tip, prepared));
        self.executed.push(Task::Block(Box::new(done.map_err(Halt::Stop)?)), weight)?;
        Ok(())
    }

    fn execute_block(&self, tip: &mut Tip, prepared: Prepared) -> Result<Done, Stop> {
        let chain = self.chain;
        let Prepared { block, flaw, ahead, reorgs, .. } = prepared;
        chain.bad.check(&block).map_err(Stop::passing)?;
        let header = block.header();
        let rules = chain.engine_for(self.options.seals).after(tip.head.total_difficulty);
        check_clock(rules, &block).map_err(Stop::passing)?;
        let parent = Parent {
            header: &tip.head.header,
            hash: tip.head.block.hash,
            total_difficulty: tip.head.total_difficulty,
        };
        let judge = |error| Stop::lasting(judged(&block, error));
        rules.check_header(header, &parent, &chain.ancestors).map_err(judge)?;
        if let Some(flaw) = flaw {
            return Err(flaw);
        }
        rules.check_uncles(&block.block, &chain.ancestors).map_err(judge)?;
        let author = rules.author(header).map_err(judge)?;
        if reorgs == self.reorgs.load(Ordering::Relaxed) {
            tip.state.absorb(ahead);
        }
        let mut roots = WhenRooted { pipeline: self, parent: tip.head.block };
        let output = quintet_evm::execute_block(&chain.spec, &block, author, &tip.state, &mut roots);
        let mut output = output.map_err(|error| {
            if error.is_invalid_block() {
                Stop::lasting(invalid(&block, &error))
            } else {
                Stop::passing(ChainError::Execution(error))
            }
        })?;
        let diff = Arc::new(std::mem::take(&mut output.diff));
        tip.state.push(header.number, block.hash, &diff);
        chain.ancestors.push(&block);
        let total_difficulty = tip.head.total_difficulty.saturating_add(header.difficulty);
        tip.head = Head { block: block.block_ref(), header: header.clone(), total_difficulty };
        Ok(Done { block, total_difficulty, output, diff })
    }

    /// Imports a block that does not extend the head by itself, once everything before it is committed.
    fn detour(&self, tip: &mut Tip, prepared: Prepared) -> Result<(), Halt> {
        let (drained, wait) = sync_channel(1);
        self.executed.push(Task::Drain(drained), 0)?;
        if wait.recv().is_err() {
            return Err(Halt::Closed);
        }
        let block = prepared.block;
        if let Some(flaw) =
            prepared.flaw.filter(|_| block.senders.len() != block.block.body.transactions.len())
        {
            return Err(Halt::Stop(flaw));
        }
        let (transactions, gas) = (block.senders.len() as u64, block.header().gas_used);
        let before = self.chain.head().block;
        let imported = self.chain.import_one(Arc::unwrap_or_clone(block), self.options.seals);
        match imported.map_err(|error| Halt::Stop(Stop::passing(error)))? {
            Imported::Known { .. } => {
                self.counts.skipped.fetch_add(1, Ordering::Relaxed);
            }
            Imported::Head | Imported::Side => self.count(1, transactions, gas),
        }
        let head = self.chain.head().block;
        if head != before {
            // What was read ahead may be of the other branch.
            self.committed.store(head.number, Ordering::Release);
            self.reorgs.fetch_add(1, Ordering::Release);
            self.rooted.set(head);
            tip.head = Head::clone(&self.chain.head());
            tip.state.reset(head.number);
        }
        Ok(())
    }

    pub(super) fn count(&self, blocks: u64, transactions: u64, gas: u64) {
        self.counts.blocks.fetch_add(blocks, Ordering::Relaxed);
        self.counts.transactions.fetch_add(transactions, Ordering::Relaxed);
        self.counts.gas.fetch_add(gas, Ordering::Relaxed);
    }
}

/// Roots in the middle of a block, for receipts before Byzantium: they need the trie of the parent, which the
/// next stage may be behind with.
struct WhenRooted<'a, 'b> {
    pipeline: &'a Pipeline<'b>,
    parent: BlockRef,
}

/// The import ends while a block waits for its parent's trie. Nobody sees this error: what ended the import
/// has come first.
#[derive(Debug, thiserror::Error)]
#[error("the import has ended")]
struct Ended;

impl PostStateRoot for WhenRooted<'_, '_> {
    fn root(&mut self, diff: &StateDiff) -> Result<B256, StateError> {
        if !self.pipeline.rooted.wait_for(self.parent) {
            return Err(StateError::new(Ended));
        }
        TrieRoots(&self.pipeline.chain.trie.read()).root(diff)
    }
}
