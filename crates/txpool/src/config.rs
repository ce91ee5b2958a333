//! The pool's settings, with geth's names (`--txpool.*`, `--blobpool.*`) and defaults.

use alloy_primitives::Address;
use std::time::Duration;

/// Settings of the pool. A zero where zero makes no sense is read as the default, as geth does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `txpool.pricelimit`: the least tip per gas of a remote transaction, in wei.
    pub price_limit: u128,
    /// `txpool.pricebump`: by how many percent a replacement must raise both fee cap and tip.
    pub price_bump: u64,
    /// `txpool.accountslots`: pending transactions that every account may keep when the pool is crowded.
    pub account_slots: usize,
    /// `txpool.globalslots`: pending transactions of all accounts.
    pub global_slots: usize,
    /// `txpool.accountqueue`: queued transactions of one account.
    pub account_queue: usize,
    /// `txpool.globalqueue`: queued transactions of all accounts.
    pub global_queue: usize,
    /// `txpool.lifetime`: how long an account's queue may go without progress.
    pub lifetime: Duration,
    /// `txpool.nolocals`: treat every transaction as remote.
    pub no_locals: bool,
    /// `txpool.locals`: accounts whose transactions are local wherever they come from. A local account is
    /// exempt from the price limit, from eviction and from every limit on counts.
    pub locals: Vec<Address>,
    /// `blobpool.pricebump`: by how many percent a replacement of a blob transaction must raise all its fees.
    pub blob_price_bump: u64,
    /// Most bytes of blob transactions held, sidecars included, and as many again for the sidecars of mined
    /// ones, kept in case of a reorg. geth keeps them on disk (`blobpool.datacap`, 2.5 GiB); this pool
    /// keeps them in memory, hence the lower default.
    pub blob_data_cap: u64,
    /// Pending blob transactions of one account.
    pub blob_account_slots: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            price_limit: 1,
            price_bump: 10,
            account_slots: 16,
            global_slots: 4096 + 1024,
            account_queue: 64,
            global_queue: 1024,
            lifetime: Duration::from_hours(3),
            no_locals: false,
            locals: Vec::new(),
            blob_price_bump: 100,
            blob_data_cap: 256 * 1024 * 1024,
            blob_account_slots: 16,
        }
    }
}

impl Config {
    /// Replaces what makes no sense (zeros) by the default.
    #[must_use]
    pub fn sanitized(mut self) -> Self {
        fn or_default<T: Default + PartialEq>(value: &mut T, default: T) {
            if *value == T::default() {
                *value = default;
            }
        }
        let default = Self::default();
        or_default(&mut self.price_limit, default.price_limit);
        or_default(&mut self.price_bump, default.price_bump);
        or_default(&mut self.account_slots, default.account_slots);
        or_default(&mut self.global_slots, default.global_slots);
        or_default(&mut self.account_queue, default.account_queue);
        or_default(&mut self.global_queue, default.global_queue);
        or_default(&mut self.lifetime, default.lifetime);
        or_default(&mut self.blob_price_bump, default.blob_price_bump);
        or_default(&mut self.blob_data_cap, default.blob_data_cap);
        or_default(&mut self.blob_account_slots, default.blob_account_slots);
        self
    }

    /// Slots of 32 KiB that all transactions but blob ones may take together.
    pub(crate) const fn total_slots(&self) -> usize {
        self.global_slots.saturating_add(self.global_queue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_become_defaults_and_the_rest_stays() {
        let zeros = Config {
            price_limit: 0,
            price_bump: 0,
            account_slots: 0,
            global_slots: 0,
            account_queue: 0,
            global_queue: 0,
            lifetime: Duration::ZERO,
            blob_price_bump: 0,
            blob_data_cap: 0,
            blob_account_slots: 0,
            ..Config::default()
        };
        assert_eq!(zeros.sanitized(), Config::default());
        let own = Config { price_limit: 7, account_queue: 1, ..Config::default() };
        assert_eq!(own.clone().sanitized(), own);
    }
}
