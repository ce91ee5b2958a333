//! What follows a failure of the store, which may be behind a network: PostgreSQL stops and starts, and the process
//! goes on.
//!
//! What must hold: a commit that failed may all the same have been done, where its answer was lost. So after one the
//! store is asked where it stands before anything else is written, and the chain goes on from there.

use crate::chain::{Chain, Head};
use crate::error::ChainError;
use alloy_primitives::B256;
use quintet_store::{Commit, StoreError};
use quintet_types::{BlockRef, ExecutedBlock};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Blocks of a commit of unknown outcome that are told of one by one. Of more, consumers read all but the last from
/// the store.
const TOLD: usize = 64;

impl Chain {
    /// Commits, and takes note when that failed.
    pub(crate) fn write(&self, commit: Commit) -> Result<(), StoreError> {
        let written = self.store.commit(commit);
        if written.is_err() {
            self.unsettled.store(true, Ordering::Release);
        }
        written
    }

    /// Brings the chain in line with the store after a failure. Called by who holds the writer's lock, before it
    /// writes.
    pub(crate) fn settle(&self) -> Result<(), ChainError> {
        if self.unsettled.load(Ordering::Acquire) {
            self.adopt_stored_head()?;
            self.unsettled.store(false, Ordering::Release);
        }
        self.settle_trie()
    }

    /// Whether the store answers, and, when the last commit failed, whether it can be written again: if so, the chain
    /// is brought in line with it.
    ///
    /// # Errors
    /// The store's.
    pub fn probe(&self) -> Result<(), ChainError> {
        self.store.head()?;
        if self.unsettled.load(Ordering::Acquire)
            && let Some(_writer) = self.writer.try_lock()
        {
            // Goes over the writer's own connection, which a read says nothing of.
            self.store.sync()?;
            self.settle()?;
        }
        Ok(())
    }

    /// Goes on from the store's head, where a commit was done whose answer was lost.
    fn adopt_stored_head(&self) -> Result<(), ChainError> {
        let before = self.head();
        let stored = self.store.head()?.ok_or(ChainError::Uninitialised)?;
        if stored == before.block {
            return Ok(());
        }
        let head = self.stored_head(stored)?;
        if self.store.first_state()? > before.block.number {
            return self.stand_on_adopted(head);
        }
        let added = self.added_since(&before, &head)?;
        tracing::warn!(
            number = stored.number, hash = %stored.hash,
            "a commit whose answer was lost had been done: going on from the store's head"
        );
        self.set_head(head);
        self.settle_trie()?;
        self.pool.reset(&self.spec, &self.head(), &added, Vec::new());
        for executed in added {
            self.publish(executed);
        }
        Ok(())
    }

    /// The blocks from `before` on to `head`, oldest first; the last alone if they are many, or do not follow it.
    fn added_since(&self, before: &Head, head: &Head) -> Result<Vec<ExecutedBlock>, ChainError> {
        let mut added = VecDeque::new();
        let mut next = head.block;
        while next.hash != before.block.hash {
            if added.len() == TOLD || next.number <= before.block.number {
                added.drain(..added.len().saturating_sub(1));
                break;
            }
            let executed = self.executed(next)?;
            let (parent, number): (B256, u64) = (executed.block.header().parent_hash, next.number - 1);
            added.push_front(executed);
            next = BlockRef { number, hash: parent };
        }
        if added.is_empty() {
            added.push_back(self.executed(head.block)?);
        }
        Ok(added.into())
    }

    fn executed(&self, block: BlockRef) -> Result<ExecutedBlock, ChainError> {
        let missing = || ChainError::NotFound("block of the store's head");
        Ok(ExecutedBlock {
            block: Arc::new(self.store.block(&block.hash)?.ok_or_else(missing)?),
            receipts: Arc::new(self.store.receipts(&block.hash)?.ok_or_else(missing)?),
            diff: Arc::new(self.store.diff(block.number)?),
            total_difficulty: self.store.total_difficulty(&block.hash)?.ok_or_else(missing)?,
        })
    }
}
