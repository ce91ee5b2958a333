//! A store whose reads wait for a network, for threads that run async tasks: before a call waits, the thread hands its
//! other tasks over to another one.
//!
//! The embedded engine answers from memory, and is not wrapped.

use crate::{Commit, FetchedState, StateChanges, Store, StoreError, TableStats, TransactionLocation};
use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_trie::TrieAccount;
use quintet_types::{
    Account, BlockRef, Body, Header, Receipts, RecoveredBlock, StateDiff, StateError, StateReader,
};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::task::block_in_place;

/// The same store, for use on any thread of a multi-threaded runtime (on a single-threaded one a call would panic).
pub fn offloaded(store: Arc<dyn Store>) -> Arc<dyn Store> {
    if store.reads_block() { Arc::new(Offloaded(store)) } else { store }
}

/// Calls `read`, which may wait.
fn wait<T>(read: impl FnOnce() -> T) -> T {
    if Handle::try_current().is_ok() { block_in_place(read) } else { read() }
}

struct Offloaded(Arc<dyn Store>);

struct State(Box<dyn StateReader>);

/// Methods that wait for the same method of what is wrapped.
macro_rules! offloaded {
    ($($name:ident($($argument:ident: $type:ty),*) -> $result:ty;)*) => {
        $(fn $name(&self, $($argument: $type),*) -> $result {
            wait(|| self.0.$name($($argument),*))
        })*
    };
}

impl Store for Offloaded {
    offloaded! {
        head() -> Result<Option<BlockRef>, StoreError>;
        canonical_hash(number: u64) -> Result<Option<B256>, StoreError>;
        block_number(hash: &B256) -> Result<Option<u64>, StoreError>;
        header(hash: &B256) -> Result<Option<Header>, StoreError>;
        body(hash: &B256) -> Result<Option<Body>, StoreError>;
        senders(hash: &B256) -> Result<Option<Vec<Address>>, StoreError>;
        block(hash: &B256) -> Result<Option<RecoveredBlock>, StoreError>;
        total_difficulty(hash: &B256) -> Result<Option<U256>, StoreError>;
        receipts(hash: &B256) -> Result<Option<Receipts>, StoreError>;
        transaction_location(hash: &B256) -> Result<Option<TransactionLocation>, StoreError>;
        account_at(address: &Address, block: u64) -> Result<Option<Account>, StoreError>;
        storage_at(address: &Address, incarnation: u64, slot: &U256, block: u64) -> Result<U256, StoreError>;
        accounts_at(addresses: &[Address], block: u64) -> Result<Vec<Option<Account>>, StoreError>;
        slots_at(slots: &[(Address, u64, U256)], block: u64) -> Result<Vec<U256>, StoreError>;
        has_storage(address: &Address, incarnation: u64, block: u64) -> Result<bool, StoreError>;
        hashed_storage_at(
            address: &Address, incarnation: u64, block: u64
        ) -> Result<BTreeMap<B256, U256>, StoreError>;
        first_state() -> Result<u64, StoreError>;
        base_accounts(from: &B256, most: usize) -> Result<Vec<(B256, TrieAccount)>, StoreError>;
        base_slots(account: &B256, from: &B256, most: usize) -> Result<Vec<(B256, U256)>, StoreError>;
        code(hash: &B256) -> Result<Option<Bytes>, StoreError>;
        changes(block: u64) -> Result<StateChanges, StoreError>;
        diff(block: u64) -> Result<StateDiff, StoreError>;
        trie_node(key: &[u8]) -> Result<Option<Bytes>, StoreError>;
        trie_nodes(keys: &[Vec<u8>]) -> Result<Vec<Option<Bytes>>, StoreError>;
        trie_block() -> Result<Option<BlockRef>, StoreError>;
        meta(key: &str) -> Result<Option<Bytes>, StoreError>;
        commit(commit: Commit) -> Result<(), StoreError>;
        write_fetched(part: FetchedState) -> Result<(), StoreError>;
        sync() -> Result<(), StoreError>;
        for_each_account_version(
            block: u64, from: Address, visit: &mut dyn FnMut(Address, Option<Account>) -> ControlFlow<()>
        ) -> Result<(), StoreError>;
        for_each_slot_version(
            address: &Address, incarnation: u64, block: u64, from: U256,
            visit: &mut dyn FnMut(U256, U256) -> ControlFlow<()>
        ) -> Result<(), StoreError>;
        stats() -> Result<Vec<TableStats>, StoreError>;
    }

    fn state_at(&self, block: u64) -> Result<Box<dyn StateReader>, StoreError> {
        let state = wait(|| self.0.state_at(block))?;
        Ok(Box::new(State(state)))
    }

    fn reads_block(&self) -> bool {
        self.0.reads_block()
    }
}

impl StateReader for State {
    offloaded! {
        account(address: &Address) -> Result<Option<Account>, StateError>;
        storage(address: &Address, incarnation: u64, slot: &U256) -> Result<U256, StateError>;
        has_storage(address: &Address, incarnation: u64) -> Result<bool, StateError>;
        code(hash: &B256) -> Result<Option<Bytes>, StateError>;
        block_hash(number: u64) -> Result<Option<B256>, StateError>;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_may_wait_on_any_thread() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let other = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let other = other.handle().clone();
        let block = move || wait(|| other.block_on(async { 7 }));
        assert_eq!(block(), 7);
        assert_eq!(runtime.block_on(async { block() }), 7);
        let task = block.clone();
        assert_eq!(runtime.block_on(async { tokio::spawn(async move { task() }).await.unwrap() }), 7);
        assert_eq!(runtime.block_on(async { tokio::task::spawn_blocking(block).await.unwrap() }), 7);
    }
}
