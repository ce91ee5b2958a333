//! Reads from the store what block deltas would have told.
//!
//! Nothing is changed here: what is found is applied by the follower, so that a look that hangs can be given up.

use super::base::BaseCache;
use super::stored::StoredState;
use super::view::View;
use crate::error::RpcError;
use alloy_primitives::U256;
use quintet_store::{Store, StoreError};
use quintet_types::{BlockRef, ExecutedBlock, Receipts, RecoveredBlock};
use std::sync::Arc;

/// How the store's chain lies to that of a view.
pub(super) enum Found {
    /// They have the same head.
    Same,
    /// The store's head is a block below the view's: the store lags, or the chain was rewound.
    Behind {
        /// How many of the view's blocks are above it.
        above: usize,
        /// The store's head.
        head: Box<Fresh>,
    },
    /// These lead from the view to the store's head.
    Ahead {
        /// How many of the view's blocks left the chain.
        reverted: usize,
        /// What comes on top of the rest.
        blocks: Vec<Arc<ExecutedBlock>>,
    },
    /// They have too little in common: the store's head alone.
    Apart(Box<Fresh>),
}

impl Found {
    /// Compares; at most `most` blocks are read one by one.
    pub(super) fn look(store: &dyn Store, view: &View, most: usize) -> Result<Self, RpcError> {
        let head = store.head()?.ok_or_else(no_chain)?;
        if head == view.head() {
            return Ok(Self::Same);
        }
        let Some((common, above)) = common(store, view, head)? else { return Self::apart(store) };
        if common == head {
            return Ok(Self::Behind { above, head: Box::new(Fresh::read_at(store, head)?) });
        }
        if head.number - common.number > most as u64 {
            return Self::apart(store);
        }
        if common.number < store.first_state()? {
            // The chain was begun anew with the state of a later block: what lies between has no diffs.
            return Self::apart(store);
        }
        let mut blocks = Vec::new();
        let mut parent = common;
        for number in common.number + 1..=head.number {
            let executed = executed(store, number)?;
            if executed.block.header().parent_hash != parent.hash {
                return Err(RpcError::ChainChanged);
            }
            parent = executed.block.block_ref();
            blocks.push(Arc::new(executed));
        }
        Ok(Self::Ahead { reverted: above, blocks })
    }

    fn apart(store: &dyn Store) -> Result<Self, RpcError> {
        Ok(Self::Apart(Box::new(Fresh::read(store)?)))
    }
}

/// The newest block of the view that the store's chain has too, and how many of the view's are above it. `None` when
/// that would be beneath the view's base.
fn common(store: &dyn Store, view: &View, head: BlockRef) -> Result<Option<(BlockRef, usize)>, StoreError> {
    for (above, number) in (view.base.number..=view.head().number).rev().enumerate() {
        let Some(hash) = view.known_hash(number) else { return Ok(None) };
        if number <= head.number && store.canonical_hash(number)? == Some(hash) {
            return Ok(Some((BlockRef { number, hash }, above)));
        }
    }
    Ok(None)
}

/// A canonical block with all that its delta would hold.
fn executed(store: &dyn Store, number: u64) -> Result<ExecutedBlock, RpcError> {
    let hash = store.canonical_hash(number)?.ok_or(RpcError::ChainChanged)?;
    let block = store.block(&hash)?.ok_or(RpcError::ChainChanged)?;
    let receipts = store.receipts(&hash)?.ok_or(RpcError::ChainChanged)?;
    let total_difficulty = store.total_difficulty(&hash)?.ok_or(RpcError::ChainChanged)?;
    let diff = store.diff(number)?;
    // What was read by number belongs to this block, if it still does.
    if store.canonical_hash(number)? != Some(hash) {
        return Err(RpcError::ChainChanged);
    }
    Ok(ExecutedBlock {
        block: Arc::new(block),
        receipts: Arc::new(receipts),
        diff: Arc::new(diff),
        total_difficulty,
    })
}

fn no_chain() -> RpcError {
    RpcError::Unavailable("the chain has no genesis block yet".to_owned())
}

/// The store's head, without any overlay.
pub(super) struct Fresh {
    block: RecoveredBlock,
    receipts: Receipts,
    total_difficulty: U256,
}

impl Fresh {
    /// Reads it.
    pub(super) fn read(store: &dyn Store) -> Result<Self, RpcError> {
        Self::read_at(store, store.head()?.ok_or_else(no_chain)?)
    }

    /// The block.
    pub(super) fn block_ref(&self) -> BlockRef {
        self.block.block_ref()
    }

    fn read_at(store: &dyn Store, head: BlockRef) -> Result<Self, RpcError> {
        Ok(Self {
            block: store.block(&head.hash)?.ok_or(StoreError::Reverted { block: head })?,
            receipts: store.receipts(&head.hash)?.unwrap_or_default(),
            total_difficulty: store.total_difficulty(&head.hash)?.unwrap_or_default(),
        })
    }

    /// The view of it, whose base it is.
    pub(super) fn into_view(self, store: &Arc<dyn Store>, cache: &BaseCache, epoch: u64) -> View {
        let base = self.block.block_ref();
        View {
            head: Arc::new(self.block),
            head_receipts: Arc::new(self.receipts),
            total_difficulty: self.total_difficulty,
            recent: Vec::new(),
            base,
            base_stamp: cache.reset(base.number),
            base_state: Arc::new(StoredState::new(Arc::clone(store), base)),
            epoch,
        }
    }
}
