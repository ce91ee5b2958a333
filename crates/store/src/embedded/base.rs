//! Reads of the base: a state that was fetched from peers, by the hashes of addresses and slots.

use super::keys;
use super::tables::{Place, Table};
use super::view::{FLOOR_KEY, Row, View, block_ref, checked};
use crate::StoreError;
use crate::codec;
use alloy_primitives::{Address, B256, U256, keccak256};
use alloy_trie::TrieAccount;
use quintet_types::{Account, BlockRef};
use signet_libmdbx::TransactionKind;
use signet_libmdbx::tx::{PtrUnsync, Tx};
use std::borrow::Cow;

/// The block whose state is the base, as a transaction sees it; `None` unless one was adopted.
pub(super) fn floor<K: TransactionKind<Access = PtrUnsync>>(
    tx: &Tx<K>,
    system: Table,
    place: &Place,
) -> Result<Option<BlockRef>, StoreError> {
    let record: Option<Cow<'_, [u8]>> =
        tx.get(system.db.dbi(), FLOOR_KEY).map_err(|error| place.read_error(system, error))?;
    record.map(|record| checked(system, FLOOR_KEY, block_ref(&record))).transpose()
}

impl<K: TransactionKind<Access = PtrUnsync>> View<'_, K> {
    /// Fails if the state after `block` is not held.
    pub(super) const fn held(&self, block: u64) -> Result<(), StoreError> {
        if block < self.floor {
            return Err(StoreError::StateNotHeld { block, first: self.floor });
        }
        Ok(())
    }

    /// Whether a storage that began in block `incarnation` is that of an account of the base.
    pub(super) const fn has_base(&self, incarnation: u64) -> bool {
        self.floor > 0 && incarnation == self.floor
    }

    pub(super) fn base_account(&self, address: &Address) -> Result<Option<Account>, StoreError> {
        let table = self.tables.base_accounts;
        let key = keccak256(address);
        let Some(record) = self.get(table, key.as_slice())? else { return Ok(None) };
        let account = checked(table, key.as_slice(), codec::base_account(&record))?;
        Ok(Some(codec::versioned(&account, self.floor)))
    }

    pub(super) fn base_slot(&self, address: &Address, slot: &U256) -> Result<U256, StoreError> {
        let table = self.tables.base_storage;
        let key = keys::base_slot(&keccak256(address), &keccak256(slot.to_be_bytes::<32>()));
        let record = self.get(table, &key)?;
        record.map_or(Ok(U256::ZERO), |record| checked(table, &key, codec::uint(&record)))
    }

    /// Whether the base has any slot of an account.
    pub(super) fn has_base_slots(&self, address: &Address) -> Result<bool, StoreError> {
        let account = keccak256(address);
        let row = self.seek(self.tables.base_storage, account.as_slice())?;
        Ok(row.is_some_and(|(key, _)| key.starts_with(account.as_slice())))
    }

    /// Accounts from `from` on, at most `most`.
    pub(super) fn base_accounts(
        &self,
        from: &B256,
        most: usize,
    ) -> Result<Vec<(B256, TrieAccount)>, StoreError> {
        let table = self.tables.base_accounts;
        let mut found = Vec::new();
        self.rows(table, from.as_slice(), most, |key, value| {
            let hash = checked(table, key, super::view::hash(key))?;
            found.push((hash, checked(table, key, codec::base_account(value))?));
            Ok(true)
        })?;
        Ok(found)
    }

    /// Slots of one account from `from` on, at most `most`.
    pub(super) fn base_slots(
        &self,
        account: &B256,
        from: &B256,
        most: usize,
    ) -> Result<Vec<(B256, U256)>, StoreError> {
        let table = self.tables.base_storage;
        let mut found = Vec::new();
        self.rows(table, &keys::base_slot(account, from), most, |key, value| {
            let Some(slot) = key.strip_prefix(account.as_slice()) else { return Ok(false) };
            let slot = checked(table, key, super::view::hash(slot))?;
            found.push((slot, checked(table, key, codec::uint(value))?));
            Ok(true)
        })?;
        Ok(found)
    }

    /// Calls `each` with at most `most` rows from `from` on, until it says that there are no more.
    fn rows(
        &self,
        table: Table,
        from: &[u8],
        most: usize,
        mut each: impl FnMut(&[u8], &[u8]) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        let failed = |error| self.place.read_error(table, error);
        if most == 0 {
            return Ok(());
        }
        let mut cursor =
            self.tx.cursor(table.db).map_err(|error| self.place.error("open a cursor", error))?;
        let mut row: Option<Row<'_>> = cursor.set_range(from).map_err(failed)?;
        let mut left = most;
        while let Some((key, value)) = row {
            left -= 1;
            if !each(&key, &value)? || left == 0 {
                return Ok(());
            }
            row = cursor.next().map_err(failed)?;
        }
        Ok(())
    }
}
