//! Writing: one commit as one transaction.

use super::base;
use super::keys;
use super::rows::{BlockRows, Sink};
use super::tables::{Place, Table, Tables};
use super::view::{TRIE_BLOCK_KEY, View, bad_record};
use crate::{Commit, HistoricBlock, NOT_AT_GENESIS, StoreError, TrieFlush};
use alloy_primitives::{Bytes, U256};
use quintet_types::{BlockRef, ExecutedBlock, RecoveredBlock};
use signet_libmdbx::tx::aliases::{RwCursorUnsync, RwTxUnsync};
use signet_libmdbx::{Rw, WriteFlags};

/// Longest value, in bytes: far below what makes the engine abort, far above any block.
pub(super) const MAX_VALUE: usize = 1 << 30;
/// Longest name of a small value, in bytes.
pub(super) const MAX_NAME: usize = 256;

/// Checks the commit and writes it into `tx`. Returns whether canonical blocks were taken away.
pub(super) fn write(writer: &Writer<'_>, commit: Commit) -> Result<bool, StoreError> {
    let unwound = match commit.unwind_to {
        Some(target) => writer.unwind(target)?,
        None => false,
    };
    writer.blocks(&commit.blocks)?;
    writer.side_blocks(&commit.side_blocks)?;
    writer.history(&commit.history)?;
    if let Some(block) = commit.adopt {
        writer.adopt(block)?;
    }
    if let Some(flush) = commit.trie {
        writer.trie(flush)?;
    }
    writer.check_trie_block()?;
    writer.meta(commit.meta)?;
    Ok(unwound)
}

/// A transaction that writes.
pub(super) struct Writer<'a> {
    pub(super) view: View<'a, Rw>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(tx: &'a RwTxUnsync, tables: &'a Tables, place: &'a Place) -> Result<Self, StoreError> {
        let floor = base::floor(tx, tables.system, place)?.map_or(0, |block| block.number);
        Ok(Self { view: View { tx, tables, place, floor } })
    }

    pub(super) fn cursor(&self, table: Table) -> Result<RwCursorUnsync<'a>, StoreError> {
        self.view.tx.cursor(table.db).map_err(|error| self.view.place.error("open a cursor", error))
    }

    pub(super) fn put(&self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        within("record", value.len(), MAX_VALUE)?;
        let put = self.view.tx.put(table.db, key, value, WriteFlags::UPSERT);
        put.map_err(|error| self.view.place.error("write", error))
    }

    pub(super) fn delete(&self, table: Table, key: &[u8]) -> Result<(), StoreError> {
        let deleted = self.view.tx.del(table.db, key, None);
        deleted.map(drop).map_err(|error| self.view.place.error("delete", error))
    }

    /// Takes away all canonical blocks above `target`.
    fn unwind(&self, target: u64) -> Result<bool, StoreError> {
        self.view.canonical(target)?;
        self.view.held(target)?;
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
            rows.add(executed, self.view.floor)?;
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

    fn history(&self, blocks: &[HistoricBlock]) -> Result<(), StoreError> {
        let Some(first) = blocks.first() else { return Ok(()) };
        self.check_at_genesis(first.block.block_ref())?;
        let mut rows = BlockRows::default();
        for block in blocks {
            rows.add_history(block)?;
        }
        rows.write(self)
    }

    /// Fails unless the head is the genesis block, to which `block` is to be joined without being executed.
    pub(super) fn check_at_genesis(&self, block: BlockRef) -> Result<BlockRef, StoreError> {
        match self.view.head()? {
            Some(head) if head.number == 0 => Ok(head),
            _ => Err(StoreError::Malformed { block, detail: NOT_AT_GENESIS }),
        }
    }

    fn trie(&self, mut flush: TrieFlush) -> Result<(), StoreError> {
        let table = self.view.tables.trie;
        for prefix in &flush.wiped_prefixes {
            within("trie prefix", prefix.len(), TrieFlush::MAX_KEY)?;
            self.wipe(table, prefix)?;
        }
        self.nodes(&mut flush.nodes)?;
        let record = keys::block(flush.block.number, &flush.block.hash);
        self.put(self.view.tables.system, TRIE_BLOCK_KEY, &record)
    }

    /// Writes and deletes trie nodes.
    pub(super) fn nodes(&self, nodes: &mut [(Vec<u8>, Option<Bytes>)]) -> Result<(), StoreError> {
        let table = self.view.tables.trie;
        nodes.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let mut writes = Sink::new(self, table)?;
        for (key, node) in nodes.iter() {
            within("trie key", key.len(), TrieFlush::MAX_KEY)?;
            match node {
                Some(node) => writes.put(key, node)?,
                None => self.delete(table, key)?,
            }
        }
        Ok(())
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

    pub(super) fn meta(&self, values: Vec<(String, Option<Bytes>)>) -> Result<(), StoreError> {
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

pub(super) fn within(what: &'static str, length: usize, limit: usize) -> Result<(), StoreError> {
    if length <= limit { Ok(()) } else { Err(StoreError::TooLong { what, length, limit }) }
}
