//! The pool itself: its parts, and the moves that all its rules are made of.

use crate::account::PoolAccount;
use crate::entry::Entry;
use crate::index::{Index, Ranks};
use crate::limbo::Limbo;
use crate::{Config, DropReason, HeadInfo, Validator};
use alloy_primitives::map::AddressMap;
use alloy_primitives::{Address, B256};
use quintet_types::PoolTransaction;
use std::collections::VecDeque;
use std::sync::Arc;

/// Something that happened to a transaction in the pool.
#[derive(Clone, Debug)]
pub enum Event {
    /// It became executable on the head.
    Pending(Arc<PoolTransaction>),
    /// It left.
    Dropped {
        /// The transaction.
        transaction: Arc<PoolTransaction>,
        /// Why.
        reason: DropReason,
    },
}

/// The transaction pool. See the crate's documentation for what holds of it.
#[derive(Debug)]
pub struct Pool {
    pub(crate) config: Config,
    pub(crate) validator: Validator,
    pub(crate) accounts: AddressMap<PoolAccount>,
    pub(crate) index: Index,
    pub(crate) ranks: Ranks,
    pub(crate) version: u64,
}

impl Pool {
    /// An empty pool on `head`.
    pub fn new(config: Config, head: HeadInfo) -> Self {
        let config = config.sanitized();
        let mut index = Index::new(Limbo::new(config.blob_data_cap));
        index.prices.rebuild(head.base_fee, std::iter::empty());
        Self {
            validator: Validator {
                head,
                min_tip: config.price_limit,
                no_locals: config.no_locals,
                locals: Arc::new(config.locals.iter().copied().collect()),
            },
            accounts: AddressMap::default(),
            index,
            ranks: Ranks::new(config.account_slots),
            version: 0,
            config,
        }
    }

    /// What happened since the last call that returned events. Only calls that fail leave anything here: an
    /// [`Pool::add`] may have made room before it found that there is still none.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.index.events)
    }

    /// Changes an account and brings the pool's counts and rankings in line. `None` if it is not in the pool.
    pub(crate) fn edit<R>(
        &mut self,
        address: Address,
        change: impl FnOnce(&mut PoolAccount, &mut Index) -> R,
    ) -> Option<R> {
        let account = self.accounts.get_mut(&address)?;
        let before = account.standing();
        let result = change(account, &mut self.index);
        if account.queued.is_empty() {
            account.beat = None;
        }
        let after = account.standing();
        if std::mem::take(&mut account.changed) {
            self.version = self.version.wrapping_add(1);
        }
        if account.is_empty() {
            self.accounts.remove(&address);
        }
        self.ranks.update(address, before, after);
        Some(result)
    }

    /// Takes a transaction out. The sender's later pending ones are queued, or dropped if they carry blobs.
    pub(crate) fn remove(&mut self, hash: &B256, reason: DropReason) {
        let Some(entry) = self.index.by_hash.get(hash).cloned() else { return };
        let account_queue = self.config.account_queue;
        self.edit(entry.sender(), |account, index| {
            if !account.holds(&entry) {
                return;
            }
            let mut tail = account.cut_pending(entry.nonce);
            if tail.pop_front().is_none() {
                account.queued.remove(&entry.nonce);
            }
            index.drop(entry, reason);
            demote(account, index, tail);
            cap_queue(account, index, account_queue);
        });
    }
}

/// Queues transactions that are no longer executable; ones with blobs are dropped, they are never queued.
pub(crate) fn demote(account: &mut PoolAccount, index: &mut Index, entries: VecDeque<Arc<Entry>>) {
    for entry in entries {
        if account.is_blob {
            index.drop(entry, DropReason::NonceGap);
        } else {
            enqueue(account, index, entry);
        }
    }
}

/// Queues a transaction; one that it replaces is dropped.
pub(crate) fn enqueue(account: &mut PoolAccount, index: &mut Index, entry: Arc<Entry>) -> Option<B256> {
    account.beat.get_or_insert(index.now);
    let hash = entry.hash();
    let old = account.queued.insert(entry.nonce, entry)?;
    let replaced = old.hash();
    index.drop(old, DropReason::Replaced(hash));
    Some(replaced)
}

/// Moves queued transactions without a gap to the pending ones.
pub(crate) fn promote(account: &mut PoolAccount, index: &mut Index) {
    while let Some(entry) = account.queued.remove(&account.next_nonce()) {
        index.announce(&entry);
        account.push_pending(entry);
        account.beat = account.beat.map(|_| index.now);
    }
}

/// Drops what a remote account has queued beyond the limit, highest nonces first. Blob transactions still
/// queued after promotion lie beyond a gap, and go.
pub(crate) fn cap_queue(account: &mut PoolAccount, index: &mut Index, limit: usize) {
    let (limit, reason) = match (account.is_blob, account.local) {
        (true, _) => (0, DropReason::NonceGap),
        (false, true) => return,
        (false, false) => (limit, DropReason::AccountQueue),
    };
    while account.queued.len() > limit {
        let Some((_, entry)) = account.queued.pop_last() else { return };
        index.drop(entry, reason);
    }
}
