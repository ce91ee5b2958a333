//! Values of the state after the overlay's base block, and what lies below it for good, in caches of bounded size.
//!
//! What must hold: a value in the cache is the one after the current base. When the base moves on, what the block
//! in between changed is written here before it leaves the index, so that a key is always in one of the two; and
//! a value that was read from the store at an older base is not put in. What lies below the base stays true while the
//! base moves on; a reorg that reaches beneath it empties everything.

use super::index::{SlotKey, slots};
use alloy_primitives::{Address, B256, U256};
use parking_lot::RwLock;
use quick_cache::sync::Cache;
use quintet_store::TransactionLocation;
use quintet_types::{Account, StateDiff};
use std::sync::atomic::{AtomicU64, Ordering};

/// How much an account's entry takes, roughly, in bytes.
const ACCOUNT_BYTES: u64 = 160;
/// How much a slot's entry takes, roughly, in bytes.
const SLOT_BYTES: u64 = 160;
/// How much the place of a block or a transaction takes, roughly, in bytes.
const PLACE_BYTES: u64 = 128;

/// The cache.
#[derive(Debug)]
pub(super) struct BaseCache {
    base: AtomicU64,
    /// Counts the bases: a reorg may put another block under the same number.
    stamp: AtomicU64,
    // Held for reading while a value is put in, for writing while the base moves.
    moving: RwLock<()>,
    accounts: Cache<Address, Option<Account>>,
    slots: Cache<SlotKey, U256>,
    /// Hashes of canonical blocks below the base.
    hashes: Cache<u64, B256>,
    /// Transactions of canonical blocks at or below the base.
    locations: Cache<B256, TransactionLocation>,
}

impl BaseCache {
    /// An empty cache of about `bytes`.
    pub(super) fn new(bytes: u64) -> Self {
        let entries = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX).max(1024);
        Self {
            base: AtomicU64::new(0),
            stamp: AtomicU64::new(0),
            moving: RwLock::new(()),
            accounts: Cache::new(entries(bytes / 4 / ACCOUNT_BYTES)),
            slots: Cache::new(entries(bytes / 2 / SLOT_BYTES)),
            hashes: Cache::new(entries(bytes / 8 / PLACE_BYTES)),
            locations: Cache::new(entries(bytes / 8 / PLACE_BYTES)),
        }
    }

    /// The base's number.
    pub(super) fn base(&self) -> u64 {
        self.base.load(Ordering::SeqCst)
    }

    /// Which base this is, among all that there have been.
    pub(super) fn stamp(&self) -> u64 {
        self.stamp.load(Ordering::SeqCst)
    }

    /// Empties it for another base; gives that base's stamp.
    pub(super) fn reset(&self, base: u64) -> u64 {
        let _moving = self.moving.write();
        let stamp = self.set_base(base);
        self.accounts.clear();
        self.slots.clear();
        self.hashes.clear();
        self.locations.clear();
        stamp
    }

    fn set_base(&self, base: u64) -> u64 {
        self.base.store(base, Ordering::SeqCst);
        self.stamp.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// Moves the base to `block`, which changed this; gives its stamp.
    pub(super) fn advance(&self, block: u64, diff: &StateDiff) -> u64 {
        let _moving = self.moving.write();
        let stamp = self.set_base(block);
        for (address, change) in &diff.accounts {
            self.accounts.insert(*address, change.after);
            for (key, value) in slots(address, change) {
                self.slots.insert(key, value);
            }
        }
        stamp
    }

    /// The account after the base, if it is here.
    pub(super) fn account(&self, address: &Address) -> Option<Option<Account>> {
        self.accounts.get(address)
    }

    /// The slot after the base, if it is here.
    pub(super) fn slot(&self, key: &SlotKey) -> Option<U256> {
        self.slots.get(key)
    }

    /// Puts in what was read from the store after the base of this stamp.
    pub(super) fn put_account(&self, stamp: u64, address: Address, account: Option<Account>) {
        let _still = self.moving.read();
        if self.stamp() == stamp {
            self.accounts.insert(address, account);
        }
    }

    /// Puts in what was read from the store after the base of this stamp.
    pub(super) fn put_slot(&self, stamp: u64, key: SlotKey, value: U256) {
        let _still = self.moving.read();
        if self.stamp() == stamp {
            self.slots.insert(key, value);
        }
    }

    /// The hash of a canonical block below the base, if it is here.
    pub(super) fn hash(&self, number: u64) -> Option<B256> {
        self.hashes.get(&number)
    }

    /// Puts in what was found below the base of this stamp.
    pub(super) fn put_hash(&self, stamp: u64, number: u64, hash: B256) {
        let _still = self.moving.read();
        if self.stamp() == stamp {
            self.hashes.insert(number, hash);
        }
    }

    /// Where a transaction at or below the base is, if that is here.
    pub(super) fn location(&self, transaction: &B256) -> Option<TransactionLocation> {
        self.locations.get(transaction)
    }

    /// Puts in what was found at or below the base of this stamp.
    pub(super) fn put_location(&self, stamp: u64, transaction: B256, location: TransactionLocation) {
        let _still = self.moving.read();
        if self.stamp() == stamp {
            self.locations.insert(transaction, location);
        }
    }
}
