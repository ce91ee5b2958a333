//! A state that comes whole from peers: the chain waits for it, goes on from its block, or goes back to genesis.
//!
//! What must hold:
//! - While a state is on its way in, the chain stands at genesis and takes no blocks but history, since what the store
//!   has of the trie is of no block then. A record says so, so that it holds after a restart too.
//! - A state is adopted only if the trie's root in the store is its block's. That everything below the root is there is
//!   for who fetched it to see to.

use crate::chain::{Chain, Head};
use crate::error::ChainError;
use crate::genesis;
use crate::history::HISTORY_KEY;
use alloy_primitives::{B256, keccak256};
use quintet_store::{Commit, FetchedState};
use quintet_trie::{EMPTY_ROOT_HASH, Nibbles, Owner, node_key};
use quintet_types::{BlockRef, ExecutedBlock};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The record that a state is on its way in. Its value is empty.
pub(crate) const FETCHING_KEY: &str = "state_fetch";
/// Where the store keeps how far the state is.
pub(crate) const PROGRESS_KEY: &str = "state_fetch_progress";
/// Where it keeps what was written of it.
pub(crate) const COUNTS_KEY: &str = "state_fetch_counts";

impl Chain {
    /// A state is on its way in from now on: the chain takes no blocks until it is adopted or abandoned. To be called
    /// before anything of the state is written. Does nothing the second time.
    ///
    /// # Errors
    /// [`ChainError::NotAtGenesis`], or when the store fails.
    pub fn begin_fetching_state(&self) -> Result<(), ChainError> {
        let _writer = self.writer.lock();
        self.settle()?;
        self.at_genesis()?;
        if self.is_fetching_state() {
            return Ok(());
        }
        let meta = vec![(FETCHING_KEY.to_owned(), Some(alloy_primitives::Bytes::new()))];
        self.write(Commit { meta, ..Commit::default() })?;
        self.fetching.store(true, Ordering::Release);
        Ok(())
    }

    /// Whether a state is on its way in: since [`Chain::begin_fetching_state`], also by an earlier process.
    pub fn is_fetching_state(&self) -> bool {
        self.fetching.load(Ordering::Acquire)
    }

    /// That blocks are taken.
    pub(crate) fn takes_blocks(&self) -> Result<(), ChainError> {
        if self.is_fetching_state() { Err(ChainError::FetchingState) } else { Ok(()) }
    }

    /// Makes `pivot` the head: a block that is held as history, whose state was fetched. The fetching ends, and with it
    /// go its records.
    ///
    /// # Errors
    /// [`ChainError::NotThatState`] when the store's trie has another root, [`ChainError::NotAtGenesis`], or when
    /// history is not held up to the block, or the store fails. Nothing changed then.
    pub fn adopt_snapshot(&self, pivot: BlockRef) -> Result<(), ChainError> {
        let _writer = self.writer.lock();
        self.settle()?;
        if self.head().block == pivot {
            // The answer to the commit was lost, and `settle` found it done.
            return Ok(());
        }
        self.at_genesis()?;
        let head = self.held(pivot)?;
        self.has_root(&head)?;
        let keys = [FETCHING_KEY, PROGRESS_KEY, COUNTS_KEY, HISTORY_KEY];
        let meta = keys.into_iter().map(|key| (key.to_owned(), None)).collect();
        self.write(Commit { adopt: Some(pivot), meta, ..Commit::default() })?;
        self.stand_on_adopted(head)
    }

    /// That the nodes in the store have the root of a block's state.
    fn has_root(&self, head: &Head) -> Result<(), ChainError> {
        let node = self.store.trie_node(&node_key(&Owner::State, &Nibbles::new()))?;
        let found = node.map_or(EMPTY_ROOT_HASH, keccak256);
        let (BlockRef { number, hash }, wanted) = (head.block, head.header.state_root);
        if found == wanted { Ok(()) } else { Err(ChainError::NotThatState { number, hash, wanted, found }) }
    }

    /// Goes on from a block that the store has adopted.
    pub(crate) fn stand_on_adopted(&self, head: Head) -> Result<(), ChainError> {
        let BlockRef { number, hash } = head.block;
        {
            let mut trie = self.trie.write();
            *trie = trie.reopened(head.block, head.header.state_root)?;
        }
        self.sides.clear();
        self.built.lock().clear();
        self.set_head(head);
        self.pool.reset(&self.spec, &self.head(), &[], Vec::new());
        self.fetching.store(false, Ordering::Release);
        tracing::info!(number, %hash, "Going on from the state that was fetched");
        self.tell_of_adopted()
    }

    /// Publishes the head without what it changed. Nobody takes it for the next block: consumers stand at genesis, see
    /// that they have missed something, and read the store. Where its parent is genesis they could, so nothing is
    /// published then, and they find it when they look.
    fn tell_of_adopted(&self) -> Result<(), ChainError> {
        let head = self.head();
        if head.header.parent_hash == self.spec.genesis_hash() {
            return Ok(());
        }
        let missing = || ChainError::NotFound("adopted block");
        let hash = &head.block.hash;
        let executed = ExecutedBlock {
            block: Arc::new(self.store.block(hash)?.ok_or_else(missing)?),
            receipts: Arc::new(self.store.receipts(hash)?.ok_or_else(missing)?),
            diff: Arc::default(),
            total_difficulty: head.total_difficulty,
        };
        self.publish(executed);
        Ok(())
    }

    /// Gives up a state on its way in: all of it goes, and the chain takes blocks from genesis on. History stays, to be
    /// gone on with should a state be fetched again. Does nothing when none is.
    ///
    /// # Errors
    /// When the store fails. Nothing changed then.
    pub fn abandon_fetched_state(&self) -> Result<(), ChainError> {
        let _writer = self.writer.lock();
        self.settle()?;
        if !self.is_fetching_state() {
            return Ok(());
        }
        self.at_genesis()?;
        let keys = [FETCHING_KEY, PROGRESS_KEY, COUNTS_KEY];
        let root = self.head().header.state_root;
        self.store.write_fetched(FetchedState {
            wiped_nodes: vec![(Vec::new(), None)],
            wiped_accounts: vec![(B256::ZERO, B256::repeat_byte(0xff))],
            nodes: genesis::trie_nodes(&self.spec.genesis_state(), root)?,
            meta: keys.into_iter().map(|key| (key.to_owned(), None)).collect(),
            ..FetchedState::default()
        })?;
        self.reset_trie(&mut self.trie.write())?;
        self.fetching.store(false, Ordering::Release);
        tracing::info!("What was fetched of a state is gone: the chain goes on from genesis");
        Ok(())
    }
}
