//! What the recent blocks changed, key by key: finding the newest version at or below a block is one lookup,
//! however many blocks there are.
//!
//! One writer (the follower), many readers. Adding a block never changes what a reader at an older block
//! sees. Taking one away does, so each such change is announced before it is made: readers look at [`Index::epoch`]
//! and at the base after they have read.

use alloy_primitives::map::{DefaultHashBuilder, HashMap};
use alloy_primitives::{Address, B256, U256};
use parking_lot::RwLock;
use quintet_store::TransactionLocation;
use quintet_types::{Account, ExecutedBlock};
use std::hash::{BuildHasher, Hash};
use std::sync::atomic::{AtomicU64, Ordering};

/// A storage slot in one life of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct SlotKey {
    pub(super) address: Address,
    pub(super) incarnation: u64,
    pub(super) slot: U256,
}

/// Versions of accounts and slots by the block that wrote them.
#[derive(Default)]
pub(super) struct Index {
    accounts: Versions<Address, Option<Account>>,
    slots: Versions<SlotKey, U256>,
    transactions: Versions<B256, TransactionLocation>,
    epoch: AtomicU64,
}

impl Index {
    /// The newest version of the account at or below `block`.
    pub(super) fn account(&self, address: &Address, block: u64) -> Option<Option<Account>> {
        self.accounts.get(address, block)
    }

    /// The newest version of the slot at or below `block`.
    pub(super) fn slot(&self, key: &SlotKey, block: u64) -> Option<U256> {
        self.slots.get(key, block)
    }

    /// Where a recent block at or below `block` has the transaction.
    pub(super) fn transaction(&self, hash: &B256, block: u64) -> Option<TransactionLocation> {
        self.transactions.get(hash, block)
    }

    /// Counts up before versions of a block leave because the block left the chain.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::SeqCst)
    }

    /// Makes every reader of the current chain fail from now on; gives the new epoch.
    pub(super) fn begin_epoch(&self) -> u64 {
        self.epoch.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// Adds a block's changes and transactions.
    pub(super) fn add(&self, executed: &ExecutedBlock) {
        let block = executed.block.block_ref();
        for (address, change) in &executed.diff.accounts {
            self.accounts.add(*address, block.number, change.after);
            for (key, value) in slots(address, change) {
                self.slots.add(key, block.number, value);
            }
        }
        for (index, transaction) in (0..).zip(&executed.block.block.body.transactions) {
            self.transactions.add(*transaction.tx_hash(), block.number, TransactionLocation { block, index });
        }
    }

    /// Takes a block's changes and transactions away.
    pub(super) fn remove(&self, executed: &ExecutedBlock) {
        let number = executed.block.header().number;
        for (address, change) in &executed.diff.accounts {
            self.accounts.remove(address, number);
            for (key, _) in slots(address, change) {
                self.slots.remove(&key, number);
            }
        }
        for transaction in &executed.block.block.body.transactions {
            self.transactions.remove(transaction.tx_hash(), number);
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&self) {
        self.accounts.clear();
        self.slots.clear();
        self.transactions.clear();
    }
}

/// The slots that a change wrote, under the incarnation that they live in.
pub(super) fn slots<'a>(
    address: &'a Address,
    change: &'a quintet_types::AccountDiff,
) -> impl Iterator<Item = (SlotKey, U256)> + 'a {
    change.after.iter().flat_map(move |after| {
        change.storage.iter().map(move |(slot, value)| {
            (SlotKey { address: *address, incarnation: after.incarnation, slot: *slot }, *value)
        })
    })
}

const SHARDS: usize = 64;

/// A key's versions, oldest first.
type List<V> = Vec<(u64, V)>;
/// Some of the keys.
type Shard<K, V> = RwLock<HashMap<K, List<V>>>;

/// Versions by key, spread over locks so that readers rarely meet.
struct Versions<K, V> {
    shards: Vec<Shard<K, V>>,
    hasher: DefaultHashBuilder,
}

impl<K, V> Default for Versions<K, V> {
    fn default() -> Self {
        let shards = (0..SHARDS).map(|_| RwLock::default()).collect();
        Self { shards, hasher: DefaultHashBuilder::default() }
    }
}

impl<K: Hash + Eq, V: Copy> Versions<K, V> {
    fn shard(&self, key: &K) -> Option<&Shard<K, V>> {
        // The upper half: the lower is what the map in the shard goes by.
        let hash = self.hasher.hash_one(key) >> 32;
        self.shards.get(usize::try_from(hash).unwrap_or_default() % SHARDS)
    }

    fn get(&self, key: &K, block: u64) -> Option<V> {
        let shard = self.shard(key)?.read();
        let versions = shard.get(key)?;
        versions.iter().rev().find(|(at, _)| *at <= block).map(|(_, value)| *value)
    }

    fn add(&self, key: K, block: u64, value: V) {
        if let Some(shard) = self.shard(&key) {
            shard.write().entry(key).or_default().push((block, value));
        }
    }

    fn remove(&self, key: &K, block: u64) {
        let Some(shard) = self.shard(key) else { return };
        let mut shard = shard.write();
        if let Some(versions) = shard.get_mut(key) {
            versions.retain(|(at, _)| *at != block);
            if versions.is_empty() {
                shard.remove(key);
            }
        }
    }

    fn clear(&self) {
        for shard in &self.shards {
            shard.write().clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quintet_types::{AccountDiff, RecoveredBlock, StateDiff};
    use std::sync::Arc;

    fn executed(number: u64, nonce: u64, slot_value: u64) -> ExecutedBlock {
        let after = Account { nonce, ..Account::new(7) };
        let storage = [(U256::from(1), U256::from(slot_value))].into();
        let change = AccountDiff { before: None, after: Some(after), storage };
        let diff = StateDiff { accounts: [(Address::ZERO, change)].into(), ..StateDiff::default() };
        let mut block = quintet_types::Block::default();
        block.header.number = number;
        let block = RecoveredBlock { hash: B256::with_last_byte(1), block, senders: Vec::new() };
        ExecutedBlock {
            block: Arc::new(block),
            receipts: Arc::default(),
            diff: Arc::new(diff),
            total_difficulty: U256::ZERO,
        }
    }

    #[test]
    fn the_newest_version_at_or_below_is_found() {
        let index = Index::default();
        let key = SlotKey { address: Address::ZERO, incarnation: 7, slot: U256::from(1) };
        index.add(&executed(10, 1, 100));
        index.add(&executed(12, 2, 200));
        let nonce = |block| index.account(&Address::ZERO, block).flatten().map(|account| account.nonce);
        assert_eq!(
            (nonce(9), nonce(10), nonce(11), nonce(12), nonce(99)),
            (None, Some(1), Some(1), Some(2), Some(2))
        );
        assert_eq!(index.slot(&key, 11), Some(U256::from(100)));
        assert_eq!(index.slot(&SlotKey { incarnation: 8, ..key }, 11), None);
        index.remove(&executed(12, 2, 200));
        assert_eq!((nonce(99), index.slot(&key, 99)), (Some(1), Some(U256::from(100))));
        index.remove(&executed(10, 1, 100));
        assert_eq!((nonce(99), index.slot(&key, 99)), (None, None));
    }
}
