//! The base: a state that was fetched from peers, by the hashes of addresses and slots.
//!
//! Whether there is one changes once in a store's life, perhaps by another process. So it is remembered, and every
//! statement tells how it is: one that was asked without the hashes which the base needs is asked again.

use super::Engine;
use super::numeric::Wei;
use super::read::{Params, bad, column, hash_of};
use crate::{StoreError, codec};
use alloy_primitives::{Address, B256, KECCAK256_EMPTY, U256, keccak256};
use alloy_trie::{EMPTY_ROOT_HASH, TrieAccount};
use std::sync::atomic::Ordering;
use tokio_postgres::Row;

const FIRST_STATE: &str = "SELECT first_state FROM store_state";
const ACCOUNTS: &str = "SELECT hash, nonce, balance, storage_root, code_hash FROM base_accounts \
     WHERE hash >= $1 ORDER BY hash LIMIT $2";
const SLOTS: &str = "SELECT slot, value FROM base_storage \
     WHERE account = $1 AND slot >= $2 ORDER BY slot LIMIT $3";

/// An account's key in the base, which is in force from block `floor` on; `None` where there is no base.
pub(super) fn account_hash(address: &Address, floor: u64) -> Option<Vec<u8>> {
    (floor > 0).then(|| keccak256(address).to_vec())
}

/// A slot's key in the base.
#[derive(Default)]
pub(super) struct SlotHashes {
    pub(super) account: Option<Vec<u8>>,
    pub(super) slot: Option<Vec<u8>>,
}

/// A slot's key in the base; nothing where the storage that began in block `incarnation` is not of the base.
pub(super) fn slot_hashes(address: &Address, incarnation: u64, slot: &U256, floor: u64) -> SlotHashes {
    if floor == 0 || incarnation != floor {
        return SlotHashes::default();
    }
    let slot = keccak256(slot.to_be_bytes::<32>()).to_vec();
    SlotHashes { account: account_hash(address, floor), slot: Some(slot) }
}

impl Engine {
    /// Reads the state after `block` with `read`, which is told the first block whose state is held, and tells which
    /// one it found.
    pub(super) fn over_base<T>(
        &self,
        block: u64,
        read: impl Fn(u64) -> Result<(u64, T), StoreError>,
    ) -> Result<T, StoreError> {
        let mut floor = self.floor.load(Ordering::Acquire);
        loop {
            let (found, value) = read(floor)?;
            if block < found {
                return Err(StoreError::StateNotHeld { block, first: found });
            }
            if found == floor {
                return Ok(value);
            }
            self.floor.store(found, Ordering::Release);
            floor = found;
        }
    }

    /// The first block whose state is held, in the first column of a row.
    pub(super) fn floor_of(&self, row: &Row) -> Result<u64, StoreError> {
        Ok(column::<i64>(&self.database, row, 0)?.cast_unsigned())
    }

    pub(super) fn first_state(&self) -> Result<u64, StoreError> {
        self.row(FIRST_STATE, &[])?.map_or(Ok(0), |row| self.floor_of(&row))
    }

    pub(super) fn base_accounts(
        &self,
        from: &B256,
        most: usize,
    ) -> Result<Vec<(B256, TrieAccount)>, StoreError> {
        let rows = self.rows(ACCOUNTS, &[&from.as_slice(), &limit(most)])?;
        rows.iter().map(|row| Ok((hash_of(&self.database, row, 0)?, self.trie_account(row)?))).collect()
    }

    pub(super) fn base_slots(
        &self,
        account: &B256,
        from: &B256,
        most: usize,
    ) -> Result<Vec<(B256, U256)>, StoreError> {
        let params: Params<'_> = &[&account.as_slice(), &from.as_slice(), &limit(most)];
        let slot = |row: &Row| {
            let value: &[u8] = column(&self.database, row, 1)?;
            let value = codec::uint(value).ok_or_else(|| bad("base_storage", value, &"not a value"))?;
            Ok((hash_of(&self.database, row, 0)?, value))
        };
        self.rows(SLOTS, params)?.iter().map(slot).collect()
    }

    fn trie_account(&self, row: &Row) -> Result<TrieAccount, StoreError> {
        let hash = |index, empty| {
            let bytes: Option<&[u8]> = column(&self.database, row, index)?;
            bytes.map_or(Ok(empty), |bytes| {
                B256::try_from(bytes).map_err(|_| bad("base_accounts", bytes, &"not a hash"))
            })
        };
        let nonce = column::<i64>(&self.database, row, 1)?.cast_unsigned();
        let Wei(balance) = column(&self.database, row, 2)?;
        let (storage_root, code_hash) = (hash(3, EMPTY_ROOT_HASH)?, hash(4, KECCAK256_EMPTY)?);
        Ok(TrieAccount { nonce, balance, storage_root, code_hash })
    }
}

fn limit(most: usize) -> i64 {
    i64::try_from(most).unwrap_or(i64::MAX)
}
