//! The blocks below a state that is fetched whole: checked like any others, but not executed.
//!
//! What must hold:
//! - Each is checked as an import would check it, seal, uncles and clique's signers included, and its receipts are those
//!   that its header promises. Only what takes the state before it is left out.
//! - They are written in order, each on its parent. So a block that is held with its receipts has all its ancestors held
//!   with theirs.
//! - Nothing that readers see moves: not the head, the pool or the trie, and no event is published.

use crate::bulk::{BulkOptions, ImportError, Progress, Summary};
use crate::chain::{Chain, Head};
use crate::error::ChainError;
use alloy_consensus::EMPTY_ROOT_HASH;
use alloy_consensus::proofs::calculate_receipt_root;
use alloy_primitives::{B256, Bytes};
use quintet_store::Store;
use quintet_types::{Block, BlockRef, Receipts};

/// Where the store keeps the newest block that was imported as history: its number in eight bytes, big-endian, and its
/// hash. Written in the block's own commit.
pub(crate) const HISTORY_KEY: &str = "history_tip";

/// A block's receipts with the root of their trie: computed once, wherever there is time for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootedReceipts {
    receipts: Receipts,
    root: B256,
}

impl RootedReceipts {
    /// Receipts with their blooms, in the order of the block's transactions. Computes the root.
    pub fn new(receipts: Receipts) -> Self {
        let root = calculate_receipt_root(&receipts);
        Self { receipts, root }
    }

    /// Those of a block without transactions.
    pub const fn none() -> Self {
        Self { receipts: Vec::new(), root: EMPTY_ROOT_HASH }
    }

    /// What a header must have.
    pub const fn root(&self) -> B256 {
        self.root
    }

    /// The receipts.
    pub fn receipts(&self) -> &Receipts {
        &self.receipts
    }

    /// The receipts.
    pub fn into_receipts(self) -> Receipts {
        self.receipts
    }
}

impl Chain {
    /// Imports blocks in order, the first on `parent`, without executing them: see the module. Batches are bounded by
    /// [`BulkOptions::batch_blocks`] and [`BulkOptions::batch_bytes`]. `progress` is called after every commit, on this
    /// thread. No other block is imported meanwhile.
    ///
    /// # Errors
    /// What ended the import: a block that is not valid or does not follow the one before, or a failure of the node.
    /// Blocks before it are committed. [`ChainError::NotAtGenesis`] when there are executed blocks.
    #[tracing::instrument(name = "import history", skip_all)]
    pub fn import_history<E: Send>(
        &self,
        parent: BlockRef,
        blocks: impl Iterator<Item = Result<(Block, RootedReceipts), E>> + Send,
        options: &BulkOptions,
        progress: &dyn Fn(&Progress),
    ) -> Result<Summary, ImportError<E>> {
        let _writer = self.writer.lock();
        self.settle()?;
        self.at_genesis()?;
        let tip = self.held(parent)?;
        self.run_history(tip, blocks, options, progress)
    }

    /// The newest block that was imported as history, since the last state was adopted.
    ///
    /// # Errors
    /// When the store cannot be read, or the record is damaged.
    pub fn history_tip(&self) -> Result<Option<BlockRef>, ChainError> {
        stored_tip(self.store.as_ref())
    }

    /// Whether a block is held with its receipts, and so are all its ancestors.
    pub(crate) fn is_history(&self, hash: &B256) -> Result<bool, ChainError> {
        Ok(*hash == self.spec.genesis_hash() || self.store.receipts(hash)?.is_some())
    }

    /// That no block was executed but genesis.
    pub(crate) fn at_genesis(&self) -> Result<(), ChainError> {
        let head = self.head().block;
        if head.number == 0 { Ok(()) } else { Err(ChainError::NotAtGenesis { head: head.number }) }
    }

    /// A block that is held, as what the next one follows.
    pub(crate) fn held(&self, block: BlockRef) -> Result<Head, ChainError> {
        let BlockRef { number, hash } = block;
        if self.store.block_number(&hash)? != Some(number) {
            return Err(ChainError::UnknownAncestor { number: number.saturating_add(1), hash });
        }
        self.stored_head(block)
    }
}

/// The record of the newest block.
pub(crate) fn tip_entry(tip: BlockRef) -> (String, Option<Bytes>) {
    let bytes = [tip.number.to_be_bytes().as_slice(), tip.hash.as_slice()].concat();
    (HISTORY_KEY.to_owned(), Some(bytes.into()))
}

fn stored_tip(store: &dyn Store) -> Result<Option<BlockRef>, ChainError> {
    let Some(bytes) = store.meta(HISTORY_KEY)? else { return Ok(None) };
    let damaged = || ChainError::BadRecord(HISTORY_KEY);
    let (number, hash) = bytes.split_first_chunk::<8>().ok_or_else(damaged)?;
    let hash = B256::try_from(hash).map_err(|_| damaged())?;
    Ok(Some(BlockRef { number: u64::from_be_bytes(*number), hash }))
}
