//! The chain as the gateway holds it at one moment: immutable, replaced as a whole when a block comes.

use super::stored::StoredState;
use alloy_primitives::{B256, U256};
use quintet_types::{BlockRef, ExecutedBlock, Header, Receipts, RecoveredBlock};
use std::sync::Arc;

/// The head, the recent blocks below it, and the state that they were built on.
#[derive(Clone)]
pub(crate) struct View {
    /// The head's block.
    pub(super) head: Arc<RecoveredBlock>,
    /// The head's receipts.
    pub(super) head_receipts: Arc<Receipts>,
    /// Sum of the difficulties up to and with the head.
    pub(super) total_difficulty: U256,
    /// The blocks above the base, oldest first; the last one is the head. Empty right after a start.
    pub(super) recent: Vec<Arc<ExecutedBlock>>,
    /// The newest block that is not in `recent`.
    pub(super) base: BlockRef,
    /// Which of the cache's bases that is.
    pub(super) base_stamp: u64,
    /// The store's state after the base.
    pub(super) base_state: Arc<StoredState>,
    /// The epoch of the index that this view may read.
    pub(super) epoch: u64,
}

impl View {
    /// The head.
    pub(crate) fn head(&self) -> BlockRef {
        self.head.block_ref()
    }

    /// The head's header.
    pub(crate) fn header(&self) -> &Header {
        self.head.header()
    }

    /// The canonical block of this number, if it is one of the recent.
    pub(crate) fn recent(&self, number: u64) -> Option<&Arc<ExecutedBlock>> {
        let index = number.checked_sub(self.base.number)?.checked_sub(1)?;
        self.recent.get(usize::try_from(index).ok()?)
    }

    /// The recent block of this hash.
    pub(crate) fn recent_by_hash(&self, hash: &B256) -> Option<&Arc<ExecutedBlock>> {
        self.recent.iter().rev().find(|executed| executed.block.hash == *hash)
    }

    /// The hash of a canonical block that the view itself knows.
    pub(crate) fn known_hash(&self, number: u64) -> Option<B256> {
        if number == self.head.header().number {
            return Some(self.head.hash);
        }
        if number == self.base.number {
            return Some(self.base.hash);
        }
        self.recent(number).map(|executed| executed.block.hash)
    }
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View").field("head", &self.head()).field("base", &self.base).finish_non_exhaustive()
    }
}
