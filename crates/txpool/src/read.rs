//! Looking into the pool.

use crate::account::PoolAccount;
use crate::entry::Entry;
use crate::{HeadInfo, Pool, Validator};
use alloy_primitives::{Address, B256};
use quintet_types::PoolTransaction;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How many transactions the pool holds (`txpool_status`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Executable ones.
    pub pending: usize,
    /// Ones that wait for something.
    pub queued: usize,
}

/// Where a transaction stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TxStatus {
    /// Executable on the head.
    Pending,
    /// Waiting for an earlier nonce.
    Queued,
}

/// The pool's transactions by account, each account's by nonce (`txpool_content`).
#[derive(Clone, Debug, Default)]
pub struct Content {
    /// Executable ones.
    pub pending: BTreeMap<Address, Vec<Arc<PoolTransaction>>>,
    /// Ones that wait for something.
    pub queued: BTreeMap<Address, Vec<Arc<PoolTransaction>>>,
}

type Transactions = Vec<Arc<PoolTransaction>>;

impl Pool {
    /// The transaction with this hash.
    pub fn get(&self, hash: &B256) -> Option<Arc<PoolTransaction>> {
        self.index.by_hash.get(hash).map(transaction)
    }

    /// Whether the pool holds this transaction.
    pub fn contains(&self, hash: &B256) -> bool {
        self.index.by_hash.contains_key(hash)
    }

    /// Where this transaction stands, if the pool holds it.
    pub fn tx_status(&self, hash: &B256) -> Option<TxStatus> {
        self.contains(hash).then(|| if self.is_pending(hash) { TxStatus::Pending } else { TxStatus::Queued })
    }

    /// How many transactions there are.
    pub const fn status(&self) -> Status {
        Status { pending: self.ranks.pending, queued: self.ranks.queued }
    }

    /// Everything.
    pub fn content(&self) -> Content {
        let mut content = Content::default();
        for (address, account) in &self.accounts {
            let (pending, queued) = lists(account);
            if !pending.is_empty() {
                content.pending.insert(*address, pending);
            }
            if !queued.is_empty() {
                content.queued.insert(*address, queued);
            }
        }
        content
    }

    /// One account's pending and queued transactions.
    pub fn content_from(&self, address: &Address) -> (Transactions, Transactions) {
        self.accounts.get(address).map(lists).unwrap_or_default()
    }

    /// The nonce after the account's pending transactions; `None` if it has none in the pool, and the
    /// state's nonce is it.
    pub fn pending_nonce(&self, address: &Address) -> Option<u64> {
        self.accounts.get(address).map(PoolAccount::next_nonce)
    }

    /// Executable transactions, in no particular order.
    pub fn pending(&self) -> impl Iterator<Item = &Arc<PoolTransaction>> {
        self.accounts.values().flat_map(|account| account.pending().iter()).map(|entry| &entry.tx)
    }

    /// Transactions of local accounts, each account's by nonce: what the journal is rewritten with.
    pub fn local_transactions(&self) -> impl Iterator<Item = &Arc<PoolTransaction>> {
        let local = self.accounts.values().filter(|account| account.local);
        local.flat_map(PoolAccount::entries).map(|entry| &entry.tx)
    }

    /// Accounts with transactions in the pool.
    pub fn senders(&self) -> impl ExactSizeIterator<Item = &Address> {
        self.accounts.keys()
    }

    /// Whether the account has transactions in the pool, so that its changes matter to
    /// [`Pool::set_head`].
    pub fn tracks(&self, address: &Address) -> bool {
        self.accounts.contains_key(address)
    }

    /// Whether the account's transactions count as local.
    pub fn is_local(&self, address: &Address) -> bool {
        self.validator.is_local(address)
    }

    /// A number that is another one after every change to the pending transactions.
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// The head that the pool is on.
    pub const fn head(&self) -> &HeadInfo {
        &self.validator.head
    }

    /// The checks that need no account as they are now, to run outside the lock that guards the pool.
    pub fn validator(&self) -> Validator {
        self.validator.clone()
    }

    /// The least tip per gas of remote transactions, in wei.
    pub const fn min_tip(&self) -> u128 {
        self.validator.min_tip
    }

    /// Slots of 32 KiB in use by transactions without blobs.
    pub const fn slots(&self) -> usize {
        self.index.slots
    }

    /// Bytes in use by blob transactions, those kept after they were mined left aside.
    pub const fn blob_bytes(&self) -> u64 {
        self.index.blob_bytes
    }

    pub(crate) fn is_pending(&self, hash: &B256) -> bool {
        self.index.by_hash.get(hash).is_some_and(|entry| {
            let account = self.accounts.get(&entry.sender());
            let pending = account.and_then(|account| account.pending_at(entry.nonce));
            pending.is_some_and(|held| held.hash() == *hash)
        })
    }
}

fn transaction(entry: &Arc<Entry>) -> Arc<PoolTransaction> {
    Arc::clone(&entry.tx)
}

fn lists(account: &PoolAccount) -> (Transactions, Transactions) {
    (account.pending().iter().map(transaction).collect(), account.queued.values().map(transaction).collect())
}
