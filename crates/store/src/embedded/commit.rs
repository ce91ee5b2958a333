//! Writing: one commit as one transaction.
//!
//! Rows are gathered for all blocks of the commit, sorted by key, and written table by table, so that
//! neighbours land on the same page; rows behind a table's last one are appended, which fills pages.

use super::keys;
use super::tables::{Place, Table, Tables};
use super::view::{TRIE_BLOCK_KEY, View, bad_record};
use crate::codec;
use crate::receipts;
use crate::{AccountChange, Commit, StateChanges, StoreError, TrieFlush};
use alloy_primitives::{Bytes, U256};
use alloy_rlp::Encodable;
use quintet_types::{BlockRef, ExecutedBlock, RecoveredBlock};
use signet_libmdbx::tx::aliases::{RwCursorUnsync, RwTxUnsync};
use signet_libmdbx::{Rw, WriteFlags};

/// Longest value, in bytes: far below what makes the engine abort, far above any block.
const MAX_VALUE: usize = 1 << 30;
/// Longest name of a small value, in bytes.
pub(super) const MAX_NAME: usize = 256;

/// Checks the commit and writes it into `tx`. Returns whether canonical blocks were taken away.
pub(super) fn write(
    tx: &RwTxUnsync,
    tables: &Tables,
    place: &Place,
    commit: Commit,
) -> Result<bool, StoreError> {
    let writer = Writer { view: View { tx, tables, place } };
    let unwound = match commit.unwind_to {
        Some(target) => writer.unwind(target)?,
        None => false,
    };
    writer.blocks(&commit.blocks)?;
    writer.side_blocks(&commit.side_blocks)?;
    if let Some(flush) = commit.trie {
        writer.trie(flush)?;
    }
    writer.check_trie_block()?;
    writer.meta(commit.meta)?;
    Ok(unwound)
}

struct Writer<'a> {
    view: View<'a, Rw>,
}

impl<'a> Writer<'a> {
    fn cursor(&self, table: Table) -> Result<RwCursorUnsync<'a>, StoreError> {
        self.view.tx.cursor(table.db).map_err(|error| self.view.place.error("open a cursor", error))
    }

    fn put(&self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        within("record", value.len(), MAX_VALUE)?;
        let put = self.view.tx.put(table.db, key, value, WriteFlags::UPSERT);
        put.map_err(|error| self.view.place.error("write", error))
    }

    fn delete(&self, table: Table, key: &[u8]) -> Result<(), StoreError> {
        let deleted = self.view.tx.del(table.db, key, None);
        deleted.map(drop).map_err(|error| self.view.place.error("delete", error))
    }

    /// Takes away all canonical blocks above `target`.
    fn unwind(&self, target: u64) -> Result<bool, StoreError> {
        self.view.canonical(target)?;
        let head = self.view.head()?.ok_or(StoreError::UnknownBlock { number: target })?;
        for number in (target.saturating_add(1)..=head.number).rev() {
            self.unwind_block(number)?;
        }
        Ok(head.number > target)
    }

    fn unwind_block(&self, number: u64) -> Result<(), StoreError> {
        let tables = self.view.tables;
        let block = self.view.canonical(number)?;
        for change in self.view.changes(number)?.accounts {
            self.delete(tables.accounts, &keys::account(&change.address, number))?;
            for slot in &change.slots {
                let key = keys::storage(&change.address, change.incarnation, slot, number);
                self.delete(tables.storage, &key)?;
            }
        }
        let body = self.view.body(&block.hash)?;
        let body = body.ok_or_else(|| {
            bad_record(tables.bodies, block.hash.as_slice(), "a canonical block has none".to_owned())
        })?;
        for transaction in &body.transactions {
            self.delete(tables.transactions, transaction.tx_hash().as_slice())?;
        }
        self.delete(tables.changes, &number.to_be_bytes())?;
        self.delete(tables.canonical, &number.to_be_bytes())
    }

    fn blocks(&self, blocks: &[ExecutedBlock]) -> Result<(), StoreError> {
        let mut head = self.view.head()?;
        let mut rows = BlockRows::default();
        for executed in blocks {
            let block = executed.block.block_ref();
            let parent_hash = executed.block.header().parent_hash;
            let follows = head.is_none_or(|head| {
                head.number.checked_add(1) == Some(block.number) && head.hash == parent_hash
            });
            if !follows {
                return Err(StoreError::NotChained { block, head });
            }
            rows.add(executed)?;
            head = Some(block);
        }
        rows.write(self)
    }

    fn side_blocks(&self, blocks: &[(std::sync::Arc<RecoveredBlock>, U256)]) -> Result<(), StoreError> {
        let mut rows = BlockRows::default();
        for (block, total_difficulty) in blocks {
            rows.add_block(block, total_difficulty)?;
        }
        rows.write(self)
    }

    fn trie(&self, mut flush: TrieFlush) -> Result<(), StoreError> {
        let table = self.view.tables.trie;
        for prefix in &flush.wiped_prefixes {
            within("trie prefix", prefix.len(), TrieFlush::MAX_KEY)?;
            self.wipe(table, prefix)?;
        }
        flush.nodes.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let mut writes = Sink::new(self, table)?;
        for (key, node) in &flush.nodes {
            within("trie key", key.len(), TrieFlush::MAX_KEY)?;
            match node {
                Some(node) => writes.put(key, node)?,
                None => self.delete(table, key)?,
            }
        }
        let record = keys::block(flush.block.number, &flush.block.hash);
        self.put(self.view.tables.system, TRIE_BLOCK_KEY, &record)
    }

    /// Deletes all rows whose key begins with `prefix`.
    fn wipe(&self, table: Table, prefix: &[u8]) -> Result<(), StoreError> {
        let place = self.view.place;
        if prefix.is_empty() {
            return self.view.tx.clear_db(table.db).map_err(|error| place.error("clear", error));
        }
        let mut cursor = self.cursor(table)?;
        let mut row: Option<(Vec<u8>, ())> =
            cursor.set_range(prefix).map_err(|error| place.read_error(table, error))?;
        while row.as_ref().is_some_and(|(key, ())| key.starts_with(prefix)) {
            cursor.del().map_err(|error| place.error("delete", error))?;
            row = cursor.set_range(prefix).map_err(|error| place.read_error(table, error))?;
        }
        Ok(())
    }

    /// The trie can be moved along the canonical chain only, so its block must be on it.
    fn check_trie_block(&self) -> Result<(), StoreError> {
        match self.view.trie_block()? {
            Some(block) if self.view.canonical_hash(block.number)? != Some(block.hash) => {
                Err(StoreError::TrieLeftBehind { block })
            }
            _ => Ok(()),
        }
    }

    fn meta(&self, values: Vec<(String, Option<Bytes>)>) -> Result<(), StoreError> {
        let table = self.view.tables.meta;
        for (name, value) in values {
            within("name", name.len(), MAX_NAME)?;
            match value {
                Some(value) => self.put(table, name.as_bytes(), &value)?,
                None => self.delete(table, name.as_bytes())?,
            }
        }
        Ok(())
    }
}

/// Writes rows in the order of their keys into one table.
struct Sink<'w, 'a> {
    writer: &'w Writer<'a>,
    cursor: RwCursorUnsync<'a>,
    /// The table's last key: only what lies behind it can be appended.
    last: Vec<u8>,
}

impl<'w, 'a> Sink<'w, 'a> {
    fn new(writer: &'w Writer<'a>, table: Table) -> Result<Self, StoreError> {
        let last = writer.view.last(table)?.map(|(key, _)| key.into_owned());
        Ok(Self { writer, cursor: writer.cursor(table)?, last: last.unwrap_or_default() })
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        within("record", value.len(), MAX_VALUE)?;
        let mut flags = WriteFlags::UPSERT;
        if key > self.last.as_slice() {
            flags = WriteFlags::APPEND;
            self.last.clear();
            self.last.extend_from_slice(key);
        }
        let put = self.cursor.put(key, value, flags);
        put.map_err(|error| self.writer.view.place.error("write", error))
    }
}

/// Rows of one table, gathered for one commit; their values lie in one buffer.
struct Rows<const N: usize> {
    keys: Vec<([u8; N], usize, usize)>,
    values: Vec<u8>,
}

impl<const N: usize> Default for Rows<N> {
    fn default() -> Self {
        Self { keys: Vec::new(), values: Vec::new() }
    }
}

impl<const N: usize> Rows<N> {
    /// Adds a row, whose value `encode` appends.
    fn add(&mut self, key: [u8; N], encode: impl FnOnce(&mut Vec<u8>)) {
        let start = self.values.len();
        encode(&mut self.values);
        self.keys.push((key, start, self.values.len()));
    }

    fn write(mut self, writer: &Writer<'_>, table: Table) -> Result<(), StoreError> {
        if self.keys.is_empty() {
            return Ok(());
        }
        self.keys.sort_unstable();
        let mut sink = Sink::new(writer, table)?;
        for (key, start, end) in &self.keys {
            sink.put(key, self.values.get(*start..*end).unwrap_or_default())?;
        }
        Ok(())
    }
}

/// The rows of a commit's blocks.
#[derive(Default)]
struct BlockRows {
    canonical: Rows<8>,
    numbers: Rows<32>,
    headers: Rows<{ keys::BLOCK }>,
    bodies: Rows<{ keys::BLOCK }>,
    senders: Rows<{ keys::BLOCK }>,
    receipts: Rows<{ keys::BLOCK }>,
    transactions: Rows<32>,
    accounts: Rows<{ keys::ACCOUNT }>,
    storage: Rows<{ keys::STORAGE }>,
    code: Rows<32>,
    changes: Rows<8>,
}

impl BlockRows {
    /// What every block has, canonical or not.
    fn add_block(&mut self, block: &RecoveredBlock, total_difficulty: &U256) -> Result<(), StoreError> {
        let BlockRef { number, hash } = block.block_ref();
        let body = &block.block.body;
        if body.transactions.len() != block.senders.len() {
            let detail = "it has not one sender for each transaction";
            return Err(StoreError::Malformed { block: block.block_ref(), detail });
        }
        let key = keys::block(number, &hash);
        self.numbers.add(hash.0, |out| out.extend_from_slice(&number.to_be_bytes()));
        self.headers.add(key, |out| {
            codec::put_difficulty(total_difficulty, out);
            block.header().encode(out);
        });
        self.bodies.add(key, |out| body.encode(out));
        self.senders.add(key, |out| out.extend(block.senders.iter().flatten()));
        Ok(())
    }

    fn add(&mut self, executed: &ExecutedBlock) -> Result<(), StoreError> {
        let block = &executed.block;
        let BlockRef { number, hash } = block.block_ref();
        self.add_block(block, &executed.total_difficulty)?;
        self.canonical.add(number.to_be_bytes(), |out| out.extend_from_slice(hash.as_slice()));
        self.receipts.add(keys::block(number, &hash), |out| receipts::put(&executed.receipts, out));
        for (index, transaction) in (0_u32..).zip(&block.block.body.transactions) {
            self.transactions.add(transaction.tx_hash().0, |out| {
                out.extend_from_slice(&number.to_be_bytes());
                out.extend_from_slice(&index.to_be_bytes());
            });
        }
        self.add_state(executed)
    }

    fn add_state(&mut self, executed: &ExecutedBlock) -> Result<(), StoreError> {
        let block = executed.block.block_ref();
        let mut changes = StateChanges::default();
        for (address, change) in &executed.diff.accounts {
            let incarnation = match &change.after {
                Some(after) if !change.storage.is_empty() => after.incarnation,
                None if !change.storage.is_empty() => {
                    let detail = "its diff has storage of an account that does not exist";
                    return Err(StoreError::Malformed { block, detail });
                }
                _ => 0,
            };
            if change.before != change.after {
                let key = keys::account(address, block.number);
                self.accounts.add(key, |out| codec::put_account(change.after.as_ref(), out));
            }
            for (slot, value) in &change.storage {
                let key = keys::storage(address, incarnation, slot, block.number);
                self.storage.add(key, |out| codec::put_uint(value, out));
            }
            let slots = change.storage.keys().copied().collect();
            changes.accounts.push(AccountChange { address: *address, incarnation, slots });
        }
        for (hash, code) in &executed.diff.code {
            self.code.add(hash.0, |out| out.extend_from_slice(code));
            changes.code.push(*hash);
        }
        self.changes.add(block.number.to_be_bytes(), |out| codec::put_changes(&changes, out));
        Ok(())
    }

    fn write(self, writer: &Writer<'_>) -> Result<(), StoreError> {
        let tables = writer.view.tables;
        self.canonical.write(writer, tables.canonical)?;
        self.numbers.write(writer, tables.numbers)?;
        self.headers.write(writer, tables.headers)?;
        self.bodies.write(writer, tables.bodies)?;
        self.senders.write(writer, tables.senders)?;
        self.receipts.write(writer, tables.receipts)?;
        self.transactions.write(writer, tables.transactions)?;
        self.accounts.write(writer, tables.accounts)?;
        self.storage.write(writer, tables.storage)?;
        self.code.write(writer, tables.code)?;
        self.changes.write(writer, tables.changes)
    }
}

fn within(what: &'static str, length: usize, limit: usize) -> Result<(), StoreError> {
    if length <= limit { Ok(()) } else { Err(StoreError::TooLong { what, length, limit }) }
}
