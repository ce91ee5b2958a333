//! A store that fails on demand.

use alloy_primitives::{Address, B256, Bytes, U256};
use quintet_store::{
    Commit, FetchedState, StateChanges, Store, StoreError, TableStats, TransactionLocation, TrieAccount,
};
use quintet_types::{Account, BlockRef, Body, Header, Receipts, RecoveredBlock, StateDiff, StateReader};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

/// What no caller of the service may learn.
pub(crate) const SECRET_URL: &str = "postgres://quintet@db.internal/chain";

/// Passes everything on, until its commits are used up.
pub(crate) struct Failing {
    inner: Arc<dyn Store>,
    commits: AtomicI64,
    loses_answers: AtomicBool,
}

impl Failing {
    pub(crate) fn over(inner: Arc<dyn Store>) -> Arc<Self> {
        Arc::new(Self { inner, commits: AtomicI64::new(i64::MAX), loses_answers: AtomicBool::new(false) })
    }

    /// Whether commits are done, and then fail all the same, as when the connection is lost at the wrong time.
    pub(crate) fn lose_answers(&self, lose: bool) {
        self.loses_answers.store(lose, Ordering::SeqCst);
    }

    /// From now on, only so many commits and parts of states succeed.
    pub(crate) fn allow(&self, commits: i64) {
        self.commits.store(commits, Ordering::SeqCst);
    }

    fn write(&self, write: impl FnOnce(&dyn Store) -> Result<(), StoreError>) -> Result<(), StoreError> {
        if self.commits.fetch_sub(1, Ordering::SeqCst) <= 0 {
            return Err(StoreError::Engine { action: "commit", detail: "no more of them".to_owned() });
        }
        write(&*self.inner)?;
        if self.loses_answers.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable {
                url: SECRET_URL.to_owned(),
                detail: "no answer".to_owned(),
            });
        }
        Ok(())
    }
}

impl Store for Failing {
    fn head(&self) -> Result<Option<BlockRef>, StoreError> {
        self.inner.head()
    }
    fn canonical_hash(&self, number: u64) -> Result<Option<B256>, StoreError> {
        self.inner.canonical_hash(number)
    }
    fn block_number(&self, hash: &B256) -> Result<Option<u64>, StoreError> {
        self.inner.block_number(hash)
    }
    fn header(&self, hash: &B256) -> Result<Option<Header>, StoreError> {
        self.inner.header(hash)
    }
    fn body(&self, hash: &B256) -> Result<Option<Body>, StoreError> {
        self.inner.body(hash)
    }
    fn senders(&self, hash: &B256) -> Result<Option<Vec<Address>>, StoreError> {
        self.inner.senders(hash)
    }
    fn block(&self, hash: &B256) -> Result<Option<RecoveredBlock>, StoreError> {
        self.inner.block(hash)
    }
    fn total_difficulty(&self, hash: &B256) -> Result<Option<U256>, StoreError> {
        self.inner.total_difficulty(hash)
    }
    fn receipts(&self, hash: &B256) -> Result<Option<Receipts>, StoreError> {
        self.inner.receipts(hash)
    }
    fn transaction_location(&self, hash: &B256) -> Result<Option<TransactionLocation>, StoreError> {
        self.inner.transaction_location(hash)
    }
    fn account_at(&self, address: &Address, block: u64) -> Result<Option<Account>, StoreError> {
        self.inner.account_at(address, block)
    }
    fn storage_at(
        &self,
        address: &Address,
        incarnation: u64,
        slot: &U256,
        block: u64,
    ) -> Result<U256, StoreError> {
        self.inner.storage_at(address, incarnation, slot, block)
    }
    fn code(&self, hash: &B256) -> Result<Option<Bytes>, StoreError> {
        self.inner.code(hash)
    }
    fn state_at(&self, block: u64) -> Result<Box<dyn StateReader>, StoreError> {
        self.inner.state_at(block)
    }
    fn changes(&self, block: u64) -> Result<StateChanges, StoreError> {
        self.inner.changes(block)
    }
    fn diff(&self, block: u64) -> Result<StateDiff, StoreError> {
        self.inner.diff(block)
    }
    fn trie_node(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.inner.trie_node(key)
    }
    fn trie_block(&self) -> Result<Option<BlockRef>, StoreError> {
        self.inner.trie_block()
    }
    fn meta(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        self.inner.meta(key)
    }
    fn first_state(&self) -> Result<u64, StoreError> {
        self.inner.first_state()
    }
    fn base_accounts(&self, from: &B256, most: usize) -> Result<Vec<(B256, TrieAccount)>, StoreError> {
        self.inner.base_accounts(from, most)
    }
    fn base_slots(&self, account: &B256, from: &B256, most: usize) -> Result<Vec<(B256, U256)>, StoreError> {
        self.inner.base_slots(account, from, most)
    }
    fn commit(&self, commit: Commit) -> Result<(), StoreError> {
        self.write(|store| store.commit(commit))
    }
    fn write_fetched(&self, part: FetchedState) -> Result<(), StoreError> {
        self.write(|store| store.write_fetched(part))
    }
    fn sync(&self) -> Result<(), StoreError> {
        self.inner.sync()
    }
    fn for_each_account_version(
        &self,
        block: u64,
        from: Address,
        visit: &mut dyn FnMut(Address, Option<Account>) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.inner.for_each_account_version(block, from, visit)
    }
    fn for_each_slot_version(
        &self,
        address: &Address,
        incarnation: u64,
        block: u64,
        from: U256,
        visit: &mut dyn FnMut(U256, U256) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.inner.for_each_slot_version(address, incarnation, block, from, visit)
    }
    fn stats(&self) -> Result<Vec<TableStats>, StoreError> {
        self.inner.stats()
    }
    fn reads_block(&self) -> bool {
        // So that what only a store behind a network makes happen is tested too.
        true
    }
}
