//! Checks that the chain events a consumer got form one chain, by parent hash. No IO.

use crate::HISTORY;
use alloy_primitives::B256;
use quintet_types::{BlockRef, ChainEvent};
use std::collections::VecDeque;

/// What a chain event means to a consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The block extends the head: apply its delta.
    Extend,
    /// Blocks that the consumer holds left the chain: drop everything above `to`, which is the head now.
    Revert {
        /// The common ancestor.
        to: BlockRef,
    },
    /// Nothing new: the event was older than what the consumer holds.
    Known,
    /// Something is missing: resync from the store, then [`Follower::reset`]. The follower stays where it was.
    Gap,
}

/// A consumer's idea of the canonical chain: its head and up to [`HISTORY`] blocks below.
#[derive(Clone, Debug)]
pub struct Follower {
    // Oldest first, each the parent of the next; never empty.
    blocks: VecDeque<BlockRef>,
    head: BlockRef,
}

impl Follower {
    /// Follows on from `head`, which the consumer read from the store.
    pub fn new(head: BlockRef) -> Self {
        Self { blocks: VecDeque::from([head]), head }
    }

    /// The newest block held.
    pub const fn head(&self) -> BlockRef {
        self.head
    }

    /// Starts again from `head`, after a resync.
    pub fn reset(&mut self, head: BlockRef) {
        *self = Self::new(head);
    }

    /// Whether this block is held as canonical.
    pub fn holds(&self, block: BlockRef) -> bool {
        self.blocks.contains(&block)
    }

    /// Takes one event, and says what the consumer has to do.
    pub fn apply(&mut self, event: &ChainEvent) -> Step {
        match event {
            ChainEvent::Block(delta) => {
                self.extend(delta.block_ref(), delta.executed.block.header().parent_hash)
            }
            ChainEvent::Reverted(blocks) => self.revert(blocks),
        }
    }

    /// As [`Follower::apply`], for a block of which only this is at hand.
    pub fn extend(&mut self, block: BlockRef, parent_hash: B256) -> Step {
        if parent_hash == self.head.hash {
            self.blocks.push_back(block);
            if self.blocks.len() > HISTORY {
                self.blocks.pop_front();
            }
            self.head = block;
            return Step::Extend;
        }
        // A consumer reads the store after it subscribed, so the first events may be in the store already. An
        // old block that left the chain is caught by its revert.
        let old = self.blocks.front().is_some_and(|oldest| block.number < oldest.number);
        if old || self.holds(block) { Step::Known } else { Step::Gap }
    }

    /// As [`Follower::apply`], for blocks that left the chain.
    pub fn revert(&mut self, reverted: &[BlockRef]) -> Step {
        let kept = self.blocks.iter().rposition(|block| !reverted.contains(block));
        match kept.and_then(|index| Some((index, *self.blocks.get(index)?))) {
            Some((_, to)) if to == self.head => Step::Known,
            Some((index, to)) => {
                self.blocks.truncate(index + 1);
                self.head = to;
                Step::Revert { to }
            }
            None => Step::Gap,
        }
    }
}
