//! One sender's transactions: pending ones without a gap from its state nonce on, queued ones beyond.

use crate::AccountView;
use crate::entry::Entry;
use alloy_primitives::U256;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// Pending transactions in the order of their nonces, without gaps. Shared with the iterators over the
/// pool's best transactions, copied when it changes under one.
pub(crate) type PendingList = Arc<VecDeque<Arc<Entry>>>;

/// A sender in the pool.
#[derive(Debug)]
pub(crate) struct PoolAccount {
    pub(crate) view: AccountView,
    pub(crate) is_blob: bool,
    pub(crate) local: bool,
    pub(crate) queued: BTreeMap<u64, Arc<Entry>>,
    /// When its queue last made progress; `None` while nothing is queued.
    pub(crate) beat: Option<Duration>,
    pending: PendingList,
    pending_cost: U256,
    /// Whether the pending transactions changed since the pool last looked.
    pub(crate) changed: bool,
}

/// What the pool's rankings need of an account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) pending: usize,
    pub(crate) queued: usize,
    pub(crate) beat: Option<Duration>,
    pub(crate) local: bool,
    pub(crate) is_blob: bool,
}

impl PoolAccount {
    pub(crate) fn new(view: AccountView, is_blob: bool, local: bool) -> Self {
        Self {
            view,
            is_blob,
            local,
            queued: BTreeMap::new(),
            beat: None,
            pending: PendingList::default(),
            pending_cost: U256::ZERO,
            changed: false,
        }
    }

    pub(crate) fn standing(&self) -> Standing {
        Standing {
            pending: self.pending.len(),
            queued: self.queued.len(),
            beat: self.beat,
            local: self.local,
            is_blob: self.is_blob,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pending.is_empty() && self.queued.is_empty()
    }

    pub(crate) const fn pending(&self) -> &PendingList {
        &self.pending
    }

    pub(crate) const fn pending_cost(&self) -> U256 {
        self.pending_cost
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.pending.iter().chain(self.queued.values())
    }

    /// The nonce that the next executable transaction must have.
    pub(crate) fn next_nonce(&self) -> u64 {
        self.pending.back().map_or(self.view.nonce, |last| last.nonce.saturating_add(1))
    }

    pub(crate) fn pending_at(&self, nonce: u64) -> Option<&Arc<Entry>> {
        self.pending.get(self.position(nonce)?)
    }

    /// The transaction with this nonce, pending or queued.
    pub(crate) fn at(&self, nonce: u64) -> Option<&Arc<Entry>> {
        self.pending_at(nonce).or_else(|| self.queued.get(&nonce))
    }

    pub(crate) fn holds(&self, entry: &Entry) -> bool {
        self.at(entry.nonce).is_some_and(|held| held.hash() == entry.hash())
    }

    /// Appends; the nonce must be [`Self::next_nonce`].
    pub(crate) fn push_pending(&mut self, entry: Arc<Entry>) {
        self.pending_cost = self.pending_cost.saturating_add(entry.cost);
        self.list().push_back(entry);
    }

    /// Puts `entry` before the first pending transaction; its nonce must be one less.
    pub(crate) fn push_pending_front(&mut self, entry: Arc<Entry>) {
        self.pending_cost = self.pending_cost.saturating_add(entry.cost);
        self.list().push_front(entry);
    }

    /// Puts `entry` in the place of the pending transaction with its nonce, if there is one, and returns that.
    pub(crate) fn replace_pending(&mut self, entry: &Arc<Entry>) -> Option<Arc<Entry>> {
        let position = self.position(entry.nonce)?;
        let slot = self.list().get_mut(position)?;
        let old = std::mem::replace(slot, Arc::clone(entry));
        self.pending_cost = self.pending_cost.saturating_sub(old.cost).saturating_add(entry.cost);
        Some(old)
    }

    /// Takes out the pending transactions from `nonce` on.
    pub(crate) fn cut_pending(&mut self, nonce: u64) -> VecDeque<Arc<Entry>> {
        let Some(position) = self.position(nonce) else { return VecDeque::new() };
        let tail = self.list().split_off(position);
        self.subtract(&tail);
        tail
    }

    pub(crate) fn pop_pending(&mut self) -> Option<Arc<Entry>> {
        let entry = self.list().pop_back()?;
        self.pending_cost = self.pending_cost.saturating_sub(entry.cost);
        Some(entry)
    }

    /// Takes out every transaction with a nonce below the state's.
    pub(crate) fn cut_stale(&mut self) -> Vec<Arc<Entry>> {
        let nonce = self.view.nonce;
        let mut stale = Vec::new();
        while self.pending.front().is_some_and(|first| first.nonce < nonce) {
            if let Some(first) = self.list().pop_front() {
                self.pending_cost = self.pending_cost.saturating_sub(first.cost);
                stale.push(first);
            }
        }
        while let Some(first) = self.queued.first_entry()
            && *first.key() < nonce
        {
            stale.push(first.remove());
        }
        stale
    }

    fn subtract(&mut self, entries: &VecDeque<Arc<Entry>>) {
        for entry in entries {
            self.pending_cost = self.pending_cost.saturating_sub(entry.cost);
        }
    }

    fn position(&self, nonce: u64) -> Option<usize> {
        let offset = nonce.checked_sub(self.pending.front()?.nonce)?;
        let position = usize::try_from(offset).ok()?;
        (position < self.pending.len()).then_some(position)
    }

    fn list(&mut self) -> &mut VecDeque<Arc<Entry>> {
        self.changed = true;
        Arc::make_mut(&mut self.pending)
    }
}
