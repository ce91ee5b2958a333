//! What the pool keeps about all transactions together, and the rankings of accounts that its limits need.

use crate::account::Standing;
use crate::entry::Entry;
use crate::limbo::Limbo;
use crate::price::PriceIndex;
use crate::{DropReason, Event};
use alloy_primitives::map::{AddressMap, B256Map, B256Set};
use alloy_primitives::{Address, B256};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// All transactions, and what happened to them since the caller last asked.
#[derive(Debug)]
pub(crate) struct Index {
    pub(crate) by_hash: B256Map<Arc<Entry>>,
    pub(crate) prices: PriceIndex,
    /// Slots of 32 KiB that the transactions without blobs take.
    pub(crate) slots: usize,
    /// Bytes of the blob transactions.
    pub(crate) blob_bytes: u64,
    /// In how many pooled transactions an account authorises (EIP-7702).
    authorities: AddressMap<usize>,
    /// No pooled transaction asks for more gas than this.
    pub(crate) gas_cap: u64,
    pub(crate) limbo: Limbo,
    /// The transactions of the blocks that a new head brings, while it is being applied.
    pub(crate) mined: B256Set,
    pub(crate) events: Vec<Event>,
    pub(crate) now: Duration,
    seq: u64,
}

impl Index {
    pub(crate) fn new(limbo: Limbo) -> Self {
        Self {
            by_hash: B256Map::default(),
            prices: PriceIndex::default(),
            slots: 0,
            blob_bytes: 0,
            authorities: AddressMap::default(),
            gas_cap: 0,
            limbo,
            mined: B256Set::default(),
            events: Vec::new(),
            now: Duration::ZERO,
            seq: 0,
        }
    }

    pub(crate) const fn next_seq(&mut self) -> u64 {
        self.seq = self.seq.saturating_add(1);
        self.seq
    }

    pub(crate) fn insert(&mut self, entry: &Arc<Entry>, local: bool) {
        if entry.is_blob {
            self.blob_bytes = self.blob_bytes.saturating_add(entry.size as u64);
        } else {
            self.slots = self.slots.saturating_add(entry.slots());
            if !local {
                self.prices.insert(entry);
            }
        }
        for authority in &entry.authorities {
            let count = self.authorities.entry(*authority).or_default();
            *count = count.saturating_add(1);
        }
        self.gas_cap = self.gas_cap.max(entry.gas);
        self.by_hash.insert(entry.hash(), Arc::clone(entry));
    }

    /// Forgets `entry` and reports why.
    pub(crate) fn drop(&mut self, entry: Arc<Entry>, reason: DropReason) {
        if self.by_hash.remove(&entry.hash()).is_none() {
            return;
        }
        if entry.is_blob {
            self.blob_bytes = self.blob_bytes.saturating_sub(entry.size as u64);
        } else {
            self.slots = self.slots.saturating_sub(entry.slots());
            self.prices.remove(&entry);
        }
        for authority in &entry.authorities {
            if let Some(count) = self.authorities.get_mut(authority) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    self.authorities.remove(authority);
                }
            }
        }
        self.events.push(Event::Dropped { transaction: Arc::clone(&entry.tx), reason });
        if entry.is_blob && reason == DropReason::Mined {
            self.limbo.insert(entry);
        }
    }

    pub(crate) fn announce(&mut self, entry: &Entry) {
        self.events.push(Event::Pending(Arc::clone(&entry.tx)));
    }

    pub(crate) fn authorises(&self, address: &Address) -> bool {
        self.authorities.contains_key(address)
    }

    /// Why a transaction whose nonce is used up leaves.
    pub(crate) fn stale_reason(&self, hash: &B256) -> DropReason {
        if self.mined.contains(hash) { DropReason::Mined } else { DropReason::NonceTooLow }
    }
}

/// Counts over all accounts, and the accounts that limits turn to first.
#[derive(Debug)]
pub(crate) struct Ranks {
    account_slots: usize,
    pub(crate) pending: usize,
    pub(crate) queued: usize,
    /// How many of the pending transactions carry blobs: they have a limit of their own.
    pub(crate) pending_blobs: usize,
    /// Remote accounts with more pending transactions than every account may keep, by how many.
    pub(crate) large: BTreeSet<(usize, Address)>,
    /// Remote accounts with queued transactions, by how long they have made no progress.
    pub(crate) beats: BTreeSet<(Duration, Address)>,
}

impl Ranks {
    pub(crate) const fn new(account_slots: usize) -> Self {
        Self {
            account_slots,
            pending: 0,
            queued: 0,
            pending_blobs: 0,
            large: BTreeSet::new(),
            beats: BTreeSet::new(),
        }
    }

    pub(crate) fn update(&mut self, address: Address, before: Standing, after: Standing) {
        if before == after {
            return;
        }
        self.pending = self.pending.saturating_sub(before.pending).saturating_add(after.pending);
        self.queued = self.queued.saturating_sub(before.queued).saturating_add(after.queued);
        let (blobs_before, blobs_after) = (blob_count(before), blob_count(after));
        self.pending_blobs = self.pending_blobs.saturating_sub(blobs_before).saturating_add(blobs_after);
        let (large_before, large_after) = (self.large_key(before), self.large_key(after));
        if large_before != large_after {
            large_before.map(|count| self.large.remove(&(count, address)));
            large_after.map(|count| self.large.insert((count, address)));
        }
        let (beat_before, beat_after) = (beat_key(before), beat_key(after));
        if beat_before != beat_after {
            beat_before.map(|beat| self.beats.remove(&(beat, address)));
            beat_after.map(|beat| self.beats.insert((beat, address)));
        }
    }

    fn large_key(&self, standing: Standing) -> Option<usize> {
        (!standing.local && !standing.is_blob && standing.pending > self.account_slots)
            .then_some(standing.pending)
    }
}

const fn blob_count(standing: Standing) -> usize {
    if standing.is_blob { standing.pending } else { 0 }
}

fn beat_key(standing: Standing) -> Option<Duration> {
    standing.beat.filter(|_| !standing.local)
}
