//! Typed reads of one transaction, read-only or writing.

use super::keys;
use super::tables::{Place, Table, Tables};
use crate::codec;
use crate::{StateChanges, StoreError, TableStats, TransactionLocation};
use alloy_primitives::{Address, B256, Bytes, U256, hex};
use quintet_types::{Account, AccountDiff, BlockRef, Body, Header, StateDiff};
use signet_libmdbx::TransactionKind;
use signet_libmdbx::tx::{PtrUnsync, Tx};
use std::borrow::Cow;

/// What the store itself keeps under names.
pub(super) const SCHEMA_KEY: &[u8] = b"schema";
pub(super) const TRIE_BLOCK_KEY: &[u8] = b"trie block";
/// The block of the adopted state, where one was.
pub(super) const FLOOR_KEY: &[u8] = b"state floor";

/// One transaction with the tables.
#[derive(Clone, Copy)]
pub(super) struct View<'a, K: TransactionKind<Access = PtrUnsync>> {
    pub(super) tx: &'a Tx<K>,
    pub(super) tables: &'a Tables,
    pub(super) place: &'a Place,
    /// The first block whose state is held: zero unless a state was adopted.
    pub(super) floor: u64,
}

pub(super) type Row<'a> = (Cow<'a, [u8]>, Cow<'a, [u8]>);

impl<'a, K: TransactionKind<Access = PtrUnsync>> View<'a, K> {
    /// The row under `key`.
    pub(super) fn get(&self, table: Table, key: &[u8]) -> Result<Option<Cow<'a, [u8]>>, StoreError> {
        self.tx.get(table.db.dbi(), key).map_err(|error| self.place.read_error(table, error))
    }

    /// The first row at or after `key`.
    pub(super) fn seek(&self, table: Table, key: &[u8]) -> Result<Option<Row<'a>>, StoreError> {
        let mut cursor =
            self.tx.cursor(table.db).map_err(|error| self.place.error("open a cursor", error))?;
        cursor.set_range(key).map_err(|error| self.place.read_error(table, error))
    }

    /// The table's last row.
    pub(super) fn last(&self, table: Table) -> Result<Option<Row<'a>>, StoreError> {
        let mut cursor =
            self.tx.cursor(table.db).map_err(|error| self.place.error("open a cursor", error))?;
        cursor.last().map_err(|error| self.place.read_error(table, error))
    }

    /// The newest version of an entry, given the key of the wanted version: the first row at or after it, if
    /// it is of the same entry.
    fn version(&self, table: Table, key: &[u8]) -> Result<Option<Cow<'a, [u8]>>, StoreError> {
        let entry = key.get(..key.len().saturating_sub(8));
        let row = self.seek(table, key)?;
        Ok(row.and_then(|(found, value)| {
            (found.get(..found.len().saturating_sub(8)) == entry).then_some(value)
        }))
    }

    /// The last canonical block.
    pub(super) fn head(&self) -> Result<Option<BlockRef>, StoreError> {
        let table = self.tables.canonical;
        let Some((key, value)) = self.last(table)? else { return Ok(None) };
        let number = checked(table, &key, keys::number(&key))?;
        Ok(Some(BlockRef { number, hash: checked(table, &key, hash(&value))? }))
    }

    /// The canonical block with this number.
    pub(super) fn canonical_hash(&self, number: u64) -> Result<Option<B256>, StoreError> {
        let table = self.tables.canonical;
        let key = number.to_be_bytes();
        self.get(table, &key)?.map(|value| checked(table, &key, hash(&value))).transpose()
    }

    /// The same, as a reference, or an error when there is none.
    pub(super) fn canonical(&self, number: u64) -> Result<BlockRef, StoreError> {
        let hash = self.canonical_hash(number)?.ok_or(StoreError::UnknownBlock { number })?;
        Ok(BlockRef { number, hash })
    }

    /// The number of any block held.
    pub(super) fn block_number(&self, hash: &B256) -> Result<Option<u64>, StoreError> {
        let table = self.tables.numbers;
        let value = self.get(table, hash.as_slice())?;
        value.map(|value| checked(table, hash.as_slice(), keys::number(&value))).transpose()
    }

    /// The record that `table` holds for a block.
    pub(super) fn of_block(&self, table: Table, hash: &B256) -> Result<Option<Cow<'a, [u8]>>, StoreError> {
        match self.block_number(hash)? {
            Some(number) => self.get(table, &keys::block(number, hash)),
            None => Ok(None),
        }
    }

    /// A block's total difficulty and header.
    pub(super) fn header(&self, hash: &B256) -> Result<Option<(U256, Header)>, StoreError> {
        let table = self.tables.headers;
        let Some(record) = self.of_block(table, hash)? else { return Ok(None) };
        let (total, header) = checked(table, hash.as_slice(), codec::difficulty(&record))?;
        Ok(Some((total, decoded(table, hash, alloy_rlp::decode_exact(header))?)))
    }

    /// A block's body.
    pub(super) fn body(&self, hash: &B256) -> Result<Option<Body>, StoreError> {
        let table = self.tables.bodies;
        self.of_block(table, hash)?
            .map(|record| decoded(table, hash, alloy_rlp::decode_exact(&record)))
            .transpose()
    }

    /// The senders of a block's transactions.
    pub(super) fn senders(&self, hash: &B256) -> Result<Option<Vec<Address>>, StoreError> {
        let table = self.tables.senders;
        let Some(record) = self.of_block(table, hash)? else { return Ok(None) };
        let (senders, rest) = record.as_chunks::<20>();
        checked(table, hash.as_slice(), rest.is_empty().then_some(()))?;
        Ok(Some(senders.iter().map(Address::from).collect()))
    }

    /// The account after `block`: its newest version at or below that, or what the base has.
    pub(super) fn account(&self, address: &Address, block: u64) -> Result<Option<Account>, StoreError> {
        self.held(block)?;
        let table = self.tables.accounts;
        let key = keys::account(address, block);
        match self.version(table, &key)? {
            Some(value) if !value.is_empty() => checked(table, &key, codec::account(&value)).map(Some),
            None if self.floor > 0 => self.base_account(address),
            _ => Ok(None),
        }
    }

    /// The slot after `block`: its newest version at or below that, or what the base has.
    pub(super) fn storage(
        &self,
        address: &Address,
        incarnation: u64,
        slot: &U256,
        block: u64,
    ) -> Result<U256, StoreError> {
        self.held(block)?;
        let table = self.tables.storage;
        let key = keys::storage(address, incarnation, slot, block);
        match self.version(table, &key)? {
            Some(value) => checked(table, &key, codec::uint(&value)),
            None if self.has_base(incarnation) => self.base_slot(address, slot),
            None => Ok(U256::ZERO),
        }
    }

    /// What a canonical block changed.
    pub(super) fn changes(&self, block: u64) -> Result<StateChanges, StoreError> {
        if self.floor > 0 {
            self.canonical(block)?;
            // The base has what the block left, but not what it found.
            self.held(block.saturating_sub(1))?;
        }
        let table = self.tables.changes;
        let key = block.to_be_bytes();
        let record = self.get(table, &key)?.ok_or(StoreError::UnknownBlock { number: block })?;
        checked(table, &key, codec::changes(&record))
    }

    /// A canonical block's diff, rebuilt.
    pub(super) fn diff(&self, block: u64) -> Result<StateDiff, StoreError> {
        let changes = self.changes(block)?;
        let mut diff = StateDiff::default();
        for change in &changes.accounts {
            let before = match block.checked_sub(1) {
                Some(parent) => self.account(&change.address, parent)?,
                None => None,
            };
            let after = self.account(&change.address, block)?;
            let mut entry = AccountDiff { before, after, ..AccountDiff::default() };
            for slot in &change.slots {
                let value = self.storage(&change.address, change.incarnation, slot, block)?;
                entry.storage.insert(*slot, value);
            }
            diff.accounts.insert(change.address, entry);
        }
        for hash in &changes.code {
            let table = self.tables.code;
            let code = self.get(table, hash.as_slice())?;
            let code = checked(table, hash.as_slice(), code)?;
            diff.code.insert(*hash, code.into_owned().into());
        }
        Ok(diff)
    }

    /// Where the canonical chain holds a transaction.
    pub(super) fn transaction_location(
        &self,
        hash: &B256,
    ) -> Result<Option<TransactionLocation>, StoreError> {
        let table = self.tables.transactions;
        let Some(record) = self.get(table, hash.as_slice())? else { return Ok(None) };
        let (number, index, prefix) = checked(table, hash.as_slice(), place(&record))?;
        // History may be of a chain that was given up, or not be canonical yet.
        let block = match self.canonical_hash(number)? {
            Some(hash) if hash.starts_with(prefix) => BlockRef { number, hash },
            _ => return Ok(None),
        };
        Ok(Some(TransactionLocation { block, index }))
    }

    /// The row under `key`, as bytes of its own.
    pub(super) fn bytes(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.get(table, key)?.map(|value| value.into_owned().into()))
    }

    /// How much a table holds.
    pub(super) fn stats(&self, table: Table) -> Result<TableStats, StoreError> {
        let stat = self.tx.db_stat(&table.db).map_err(|error| self.place.error("measure", error))?;
        let pages = stat.branch_pages() + stat.leaf_pages() + stat.overflow_pages();
        Ok(TableStats {
            name: table.name,
            entries: stat.entries() as u64,
            bytes: pages as u64 * u64::from(stat.page_size()),
        })
    }

    /// The block that the trie's nodes belong to.
    pub(super) fn trie_block(&self) -> Result<Option<BlockRef>, StoreError> {
        let table = self.tables.system;
        let Some(record) = self.get(table, TRIE_BLOCK_KEY)? else { return Ok(None) };
        checked(table, TRIE_BLOCK_KEY, block_ref(&record)).map(Some)
    }
}

/// `value`, or the complaint that the record under `key` is not one.
pub(super) fn checked<T>(table: Table, key: &[u8], value: Option<T>) -> Result<T, StoreError> {
    value.ok_or_else(|| bad_record(table, key, "it cannot be decoded".to_owned()))
}

/// What was decoded of a record that belongs to a block, or the complaint that it cannot be.
pub(super) fn decoded<T>(
    table: Table,
    hash: &B256,
    record: Result<T, alloy_rlp::Error>,
) -> Result<T, StoreError> {
    record.map_err(|error| bad_record(table, hash.as_slice(), error.to_string()))
}

pub(super) fn bad_record(table: Table, key: &[u8], detail: String) -> StoreError {
    StoreError::BadRecord { table: table.name, key: hex::encode(key), detail }
}

/// A transaction's place: block, index, and the beginning of the block's hash where it is kept.
fn place(record: &[u8]) -> Option<(u64, u32, &[u8])> {
    let (number, rest) = record.split_at_checked(8)?;
    let (index, prefix) = rest.split_at_checked(4)?;
    Some((keys::number(number)?, u32::from_be_bytes(index.try_into().ok()?), prefix))
}

/// A hash; `None` if the bytes are not 32.
pub(super) fn hash(bytes: &[u8]) -> Option<B256> {
    B256::try_from(bytes).ok()
}

/// A number followed by a hash.
pub(super) fn block_ref(bytes: &[u8]) -> Option<BlockRef> {
    let (number, rest) = bytes.split_at_checked(8)?;
    Some(BlockRef { number: keys::number(number)?, hash: hash(rest)? })
}
