//! Between the passes: the trie's nodes from the accounts and slots that were fetched.

use super::progress::Progress;
use crate::error::ChainError;
use crate::sync::snap::answer::has_slots;
use alloy_primitives::{B256, Bytes};
use quintet_store::{FetchedState, Store, next_page};
use quintet_trie::{Builder, Owner, TrieAccount};
use tokio_util::sync::CancellationToken;

/// Entries that are read at once.
const PAGE: usize = 4096;
/// Bytes that are written at once.
const BATCH: usize = 8 << 20;

/// Computes the nodes of what is held, and their root. What was built by an earlier run that did not end is thrown away.
/// `None` when it was cancelled. Blocks the thread.
///
/// # Errors
/// The store's.
pub(crate) fn build(store: &dyn Store, token: &CancellationToken) -> Result<Option<B256>, ChainError> {
    let begin = Progress::Building.record();
    store.write_fetched(FetchedState {
        wiped_nodes: vec![(Vec::new(), None)],
        meta: vec![begin],
        ..FetchedState::default()
    })?;
    let mut batch = Batch { store, state: FetchedState::default(), weight: 0 };
    let mut accounts = Builder::new(Owner::State);
    let mut next = Some(B256::ZERO);
    while let Some(from) = next {
        let page = store.base_accounts(&from, PAGE)?;
        next = next_page(&page, PAGE);
        for (hash, mut account) in page {
            if token.is_cancelled() {
                return Ok(None);
            }
            if has_slots(&account) {
                let root = batch.storage(hash)?;
                if root != account.storage_root {
                    // Its slots are of another block than itself: the trie must be of what is held.
                    account.storage_root = root;
                    batch.state.accounts.push((hash, account));
                }
            }
            accounts.push(&hash, &encoded(&account), &mut |key, node| batch.add(key, node));
            batch.write_if_full()?;
        }
    }
    let root = accounts.finish(&mut |key, node| batch.add(key, node));
    batch.state.meta.push(Progress::Healing.record());
    batch.write()?;
    Ok(Some(root))
}

fn encoded(account: &TrieAccount) -> Vec<u8> {
    alloy_rlp::encode(account)
}

struct Batch<'a> {
    store: &'a dyn Store,
    state: FetchedState,
    weight: usize,
}

impl Batch<'_> {
    fn add(&mut self, key: Vec<u8>, node: Bytes) {
        self.weight = self.weight.saturating_add(key.len()).saturating_add(node.len());
        self.state.nodes.push((key, Some(node)));
    }

    /// The nodes of an account's storage; gives their root.
    fn storage(&mut self, account: B256) -> Result<B256, ChainError> {
        let mut slots = Builder::new(Owner::Storage(account));
        let mut next = Some(B256::ZERO);
        while let Some(from) = next {
            let page = self.store.base_slots(&account, &from, PAGE)?;
            next = next_page(&page, PAGE);
            for (hash, value) in page {
                slots.push(&hash, &alloy_rlp::encode(value), &mut |key, node| self.add(key, node));
            }
            self.write_if_full()?;
        }
        Ok(slots.finish(&mut |key, node| self.add(key, node)))
    }

    fn write_if_full(&mut self) -> Result<(), ChainError> {
        if self.weight < BATCH { Ok(()) } else { self.write() }
    }

    fn write(&mut self) -> Result<(), ChainError> {
        self.weight = 0;
        Ok(self.store.write_fetched(std::mem::take(&mut self.state))?)
    }
}
