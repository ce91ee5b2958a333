//! The rows that blocks become.
//!
//! Rows are gathered for all blocks of a commit, sorted by key, and written table by table, so that
//! neighbours land on the same page; rows behind a table's last one are appended, which fills pages.

use super::commit::{MAX_VALUE, Writer, within};
use super::keys;
use super::tables::Table;
use crate::codec;
use crate::receipts;
use crate::{AccountChange, HistoricBlock, StateChanges, StoreError, placed};
use alloy_primitives::U256;
use alloy_rlp::Encodable;
use quintet_types::{BlockRef, Body, ExecutedBlock, RecoveredBlock};
use signet_libmdbx::WriteFlags;
use signet_libmdbx::tx::aliases::RwCursorUnsync;

/// Bytes of a block's hash in the place of a transaction of history.
const HASH_PREFIX: usize = 8;

/// Writes rows in the order of their keys into one table.
pub(super) struct Sink<'w, 'a> {
    writer: &'w Writer<'a>,
    cursor: RwCursorUnsync<'a>,
    /// The table's last key: only what lies behind it can be appended.
    last: Vec<u8>,
}

impl<'w, 'a> Sink<'w, 'a> {
    pub(super) fn new(writer: &'w Writer<'a>, table: Table) -> Result<Self, StoreError> {
        let last = writer.view.last(table)?.map(|(key, _)| key.into_owned());
        Ok(Self { writer, cursor: writer.cursor(table)?, last: last.unwrap_or_default() })
    }

    pub(super) fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
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
pub(super) struct Rows<const N: usize> {
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
    pub(super) fn add(&mut self, key: [u8; N], encode: impl FnOnce(&mut Vec<u8>)) {
        let start = self.values.len();
        encode(&mut self.values);
        self.keys.push((key, start, self.values.len()));
    }

    pub(super) fn write(mut self, writer: &Writer<'_>, table: Table) -> Result<(), StoreError> {
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
pub(super) struct BlockRows {
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
    pub(super) fn add_block(
        &mut self,
        block: &RecoveredBlock,
        total_difficulty: &U256,
    ) -> Result<(), StoreError> {
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

    /// A canonical block; `floor` is the first block whose state is held.
    pub(super) fn add(&mut self, executed: &ExecutedBlock, floor: u64) -> Result<(), StoreError> {
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
        self.add_state(executed, floor)
    }

    /// A block that is not executed: without a canonical marker, and without any state.
    pub(super) fn add_history(&mut self, historic: &HistoricBlock) -> Result<(), StoreError> {
        let block = &historic.block;
        let BlockRef { number, hash } = block.block_ref();
        if historic.receipts.len() != block.block.body.transactions.len() {
            let detail = "it has not one receipt for each transaction";
            return Err(StoreError::Malformed { block: block.block_ref(), detail });
        }
        self.add_block(block, &historic.total_difficulty)?;
        self.receipts.add(keys::block(number, &hash), |out| receipts::put(&historic.receipts, out));
        add_historic_places(&mut self.transactions, block.block_ref(), &block.block.body);
        Ok(())
    }

    fn add_state(&mut self, executed: &ExecutedBlock, floor: u64) -> Result<(), StoreError> {
        let block = executed.block.block_ref();
        let mut changes = StateChanges::default();
        for (address, change) in &executed.diff.accounts {
            let (incarnation, has_version) = placed(block, change, floor)?;
            if has_version {
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

    pub(super) fn write(self, writer: &Writer<'_>) -> Result<(), StoreError> {
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

/// The places of a historic block's transactions. They name the block, since the chain that it is of may be given up.
pub(super) fn add_historic_places(rows: &mut Rows<32>, block: BlockRef, body: &Body) {
    for (index, transaction) in (0_u32..).zip(&body.transactions) {
        rows.add(transaction.tx_hash().0, |out| {
            out.extend_from_slice(&block.number.to_be_bytes());
            out.extend_from_slice(&index.to_be_bytes());
            out.extend_from_slice(block.hash.get(..HASH_PREFIX).unwrap_or_default());
        });
    }
}
