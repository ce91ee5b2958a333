//! Which transaction leaves first when the pool is full.
//!
//! As in geth, remote transactions stand in two orders: *urgent* by the tip they pay in the next block, and
//! *floating*, the worst fifth of them, by fee cap. The first judges well while blocks are full, the second
//! at the top of a base fee wave. What leaves comes out of the floating one, which is refilled from the
//! urgent one's bottom.

use crate::entry::Entry;
use alloy_primitives::B256;
use std::cmp::Reverse;
use std::collections::BTreeSet;

/// Share of the urgent order to the floating one.
const URGENT_RATIO: usize = 4;

/// A place in an order, worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    /// Tip in the next block, negative when the fee cap is below its base fee; zero in the floating order.
    tip: i128,
    fee_cap: u128,
    tip_cap: u128,
    nonce: Reverse<u64>,
    seq: Reverse<u64>,
    hash: B256,
    slots: usize,
}

impl Key {
    fn floating(entry: &Entry) -> Self {
        Self {
            tip: 0,
            fee_cap: entry.fee_cap,
            tip_cap: entry.tip_cap,
            nonce: Reverse(entry.nonce),
            seq: Reverse(entry.seq),
            hash: entry.hash(),
            slots: entry.slots(),
        }
    }

    fn urgent(entry: &Entry, base_fee: u64) -> Self {
        Self { tip: signed_tip(entry.fee_cap, entry.tip_cap, base_fee), ..Self::floating(entry) }
    }

    const fn price(&self) -> (i128, u128, u128) {
        (self.tip, self.fee_cap, self.tip_cap)
    }
}

fn signed_tip(fee_cap: u128, tip_cap: u128, base_fee: u64) -> i128 {
    let signed = |value: u128| i128::try_from(value).unwrap_or(i128::MAX);
    signed(fee_cap).saturating_sub(i128::from(base_fee)).min(signed(tip_cap))
}

/// The remote transactions by price.
#[derive(Debug, Default)]
pub(crate) struct PriceIndex {
    base_fee: u64,
    urgent: BTreeSet<Key>,
    floating: BTreeSet<Key>,
}

impl PriceIndex {
    pub(crate) fn insert(&mut self, entry: &Entry) {
        self.urgent.insert(Key::urgent(entry, self.base_fee));
    }

    pub(crate) fn remove(&mut self, entry: &Entry) {
        if !self.urgent.remove(&Key::urgent(entry, self.base_fee)) {
            self.floating.remove(&Key::floating(entry));
        }
    }

    pub(crate) const fn base_fee(&self) -> u64 {
        self.base_fee
    }

    /// Orders `entries` anew, for a new base fee.
    pub(crate) fn rebuild<'a>(&mut self, base_fee: u64, entries: impl Iterator<Item = &'a Entry>) {
        self.base_fee = base_fee;
        let mut sorted: Vec<_> = entries.map(|entry| (Key::urgent(entry, base_fee), entry)).collect();
        sorted.sort_unstable_by_key(|(key, _)| *key);
        let worst = sorted.len() / (URGENT_RATIO + 1);
        self.floating = sorted.iter().take(worst).map(|(_, entry)| Key::floating(entry)).collect();
        self.urgent = sorted.iter().skip(worst).map(|(key, _)| *key).collect();
    }

    /// Whether `entry` pays no more than the worst of both orders.
    pub(crate) fn underpriced(&self, entry: &Entry) -> bool {
        if self.urgent.is_empty() && self.floating.is_empty() {
            return false;
        }
        let urgent = Key::urgent(entry, self.base_fee).price();
        let floating = Key::floating(entry).price();
        self.urgent.first().is_none_or(|worst| worst.price() >= urgent)
            && self.floating.first().is_none_or(|worst| worst.price() >= floating)
    }

    /// Takes the worst transactions out until they free `slots`, and says whether that many could be had.
    pub(crate) fn take_worst(&mut self, slots: usize) -> (Vec<B256>, bool) {
        let (mut taken, mut freed) = (Vec::new(), 0_usize);
        while freed < slots {
            if self.urgent.len() > self.floating.len().saturating_mul(URGENT_RATIO) {
                if let Some(key) = self.urgent.pop_first() {
                    self.floating.insert(Key { tip: 0, ..key });
                }
            } else if let Some(key) = self.floating.pop_first() {
                freed = freed.saturating_add(key.slots);
                taken.push(key.hash);
            } else {
                return (taken, false);
            }
        }
        (taken, true)
    }
}
