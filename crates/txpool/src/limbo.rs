//! Mined blob transactions, kept with their sidecars for as long as reorgs normally reach: blocks do not
//! carry sidecars, so one that comes back could not be mined again without.

use crate::entry::Entry;
use alloy_primitives::B256;
use alloy_primitives::map::B256Map;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How many blocks a mined blob transaction is kept for: two epochs, as far as proof of stake reorgs.
const DEPTH: u64 = 64;

/// Mined blob transactions by the head at which they left the pool, within a bound of bytes.
#[derive(Debug)]
pub(crate) struct Limbo {
    cap: u64,
    head: u64,
    bytes: u64,
    next: u64,
    by_age: BTreeMap<(u64, u64), Arc<Entry>>,
    by_hash: B256Map<(u64, u64)>,
}

impl Limbo {
    pub(crate) fn new(cap: u64) -> Self {
        Self { cap, head: 0, bytes: 0, next: 0, by_age: BTreeMap::new(), by_hash: B256Map::default() }
    }

    pub(crate) fn insert(&mut self, entry: Arc<Entry>) {
        self.next = self.next.saturating_add(1);
        let key = (self.head, self.next);
        self.take(&entry.hash());
        self.by_hash.insert(entry.hash(), key);
        self.bytes = self.bytes.saturating_add(entry.size as u64);
        self.by_age.insert(key, entry);
        while self.bytes > self.cap && self.drop_oldest() {}
    }

    pub(crate) fn take(&mut self, hash: &B256) -> Option<Arc<Entry>> {
        let entry = self.by_age.remove(&self.by_hash.remove(hash)?)?;
        self.bytes = self.bytes.saturating_sub(entry.size as u64);
        Some(entry)
    }

    /// The head is `number` now: what is too old goes.
    pub(crate) fn advance(&mut self, number: u64) {
        self.head = number;
        let oldest = number.saturating_sub(DEPTH);
        while self.by_age.first_key_value().is_some_and(|((head, _), _)| *head < oldest) {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) -> bool {
        let Some((_, entry)) = self.by_age.pop_first() else { return false };
        self.by_hash.remove(&entry.hash());
        self.bytes = self.bytes.saturating_sub(entry.size as u64);
        true
    }
}
