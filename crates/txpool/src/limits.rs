//! The pool's bounds: what leaves when there are too many transactions, when they wait too long, and when
//! the least tip rises.

use crate::account::PoolAccount;
use crate::pool::Event;
use crate::{DropReason, Pool};
use alloy_primitives::Address;
use std::cmp::Ordering;
use std::time::Duration;

impl Pool {
    /// Drops queued transactions of remote accounts whose queue made no progress within the lifetime. Call
    /// it about once a minute.
    pub fn tick(&mut self, now: Duration) -> Vec<Event> {
        self.index.now = self.index.now.max(now);
        while let Some((beat, address)) = self.ranks.beats.first().copied() {
            if now.saturating_sub(beat) <= self.config.lifetime {
                break;
            }
            self.edit(address, |account, index| {
                for entry in std::mem::take(&mut account.queued).into_values() {
                    index.drop(entry, DropReason::Lifetime);
                }
            });
        }
        self.take_events()
    }

    /// Sets the least tip per gas of remote transactions, in wei, and drops those below it.
    pub fn set_min_tip(&mut self, min_tip: u128) -> Vec<Event> {
        let raised = min_tip > self.validator.min_tip;
        self.validator.min_tip = min_tip;
        if raised {
            let remote = self.accounts.values().filter(|account| !account.local);
            let below = remote.flat_map(PoolAccount::entries).filter(|entry| entry.tip_cap < min_tip);
            let hashes: Vec<_> = below.map(|entry| entry.hash()).collect();
            for hash in hashes {
                self.remove(&hash, DropReason::BelowMinTip);
            }
            self.enforce_limits();
        }
        self.take_events()
    }

    /// Brings the pool back within its bounds.
    pub(crate) fn enforce_limits(&mut self) {
        self.trim_slots();
        self.truncate_pending();
        self.truncate_queue();
        self.trim_blobs();
    }

    /// Reorgs put transactions back whether or not there is room; the cheapest remote ones make it.
    fn trim_slots(&mut self) {
        let over = self.index.slots.saturating_sub(self.config.total_slots());
        if over == 0 {
            return;
        }
        let (worst, _) = self.index.prices.take_worst(over);
        for hash in &worst {
            self.remove(hash, DropReason::Underpriced);
        }
    }

    /// Cuts the accounts with the most pending transactions, down to what every account may keep.
    fn truncate_pending(&mut self) {
        while self.ranks.pending.saturating_sub(self.ranks.pending_blobs) > self.config.global_slots {
            let Some((_, address)) = self.ranks.large.last().copied() else { return };
            self.drop_last_pending(address, DropReason::PendingLimit);
        }
    }

    /// Drops queued transactions, first of the accounts that made no progress for longest.
    fn truncate_queue(&mut self) {
        while self.ranks.queued > self.config.global_queue {
            let Some((_, address)) = self.ranks.beats.first().copied() else { return };
            self.edit(address, |account, index| {
                if let Some((_, entry)) = account.queued.pop_last() {
                    index.drop(entry, DropReason::GlobalQueue);
                }
            });
        }
    }

    /// Drops blob transactions of the accounts that are furthest from getting theirs mined.
    fn trim_blobs(&mut self) {
        while self.index.blob_bytes > self.config.blob_data_cap {
            let blobs = self.accounts.iter().filter(|(_, account)| account.is_blob);
            let ranked = blobs.map(|(address, account)| (self.blob_priority(account), *address));
            let worst = ranked.min_by(|(left, a), (right, b)| left.order(right).then(a.cmp(b)));
            let Some((_, address)) = worst else { return };
            self.drop_last_pending(address, DropReason::Underpriced);
        }
    }

    fn drop_last_pending(&mut self, address: Address, reason: DropReason) {
        self.edit(address, |account, index| {
            if let Some(entry) = account.pop_pending() {
                index.drop(entry, reason);
            }
        });
    }

    /// How far the account's worst blob transaction is from the next block.
    fn blob_priority(&self, account: &PoolAccount) -> BlobPriority {
        let least = |fee: fn(&crate::entry::Entry) -> u128| {
            account.pending().iter().map(|entry| fee(entry)).min().unwrap_or(0)
        };
        let head = &self.validator.head;
        let gas_jumps = fee_jumps(least(|entry| entry.fee_cap), head.base_fee.into(), 1.125_f64.ln());
        let blob_log = 1.125_f64.ln() * 4.0 / 3.0;
        let blob_jumps = fee_jumps(least(|entry| entry.blob_fee_cap), head.blob_base_fee, blob_log);
        BlobPriority { jumps: gas_jumps.min(blob_jumps).min(0.0), tip: least(|entry| entry.tip_cap) }
    }
}

/// geth's eviction order of accounts with blob transactions: by how many blocks the fees must fall before
/// they can be mined (zero when they can), then by tip.
struct BlobPriority {
    jumps: f64,
    tip: u128,
}

impl BlobPriority {
    fn order(&self, other: &Self) -> Ordering {
        self.jumps.total_cmp(&other.jumps).then(self.tip.cmp(&other.tip))
    }
}

/// The number of whole blocks, negative, that a fee must fall at full speed (`log` is that of one step)
/// until `cap` covers it.
#[allow(clippy::cast_precision_loss, reason = "an order of magnitude is wanted")]
fn fee_jumps(cap: u128, fee: u128, log: f64) -> f64 {
    ((cap.max(1) as f64).ln() / log - (fee.max(1) as f64).ln() / log).floor()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jumps_count_blocks_of_falling_fees() {
        let log = 1.125_f64.ln();
        assert!((fee_jumps(1000, 1126, log) - -2.0).abs() < f64::EPSILON);
        assert!((fee_jumps(1000, 1100, log) - -1.0).abs() < f64::EPSILON);
        assert!(fee_jumps(1000, 999, log) >= 0.0);
        assert!((fee_jumps(0, 0, log)).abs() < f64::EPSILON);
    }
}
