//! The rows that blocks become, encoded on all cores before the transaction begins.

use super::copy::Rows;
use crate::{AccountChange, Commit, HistoricBlock, StateChanges, StoreError, codec, placed, receipts};
use alloy_consensus::{Transaction as _, Typed2718};
use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_rlp::Encodable;
use quintet_types::{BlockRef, ExecutedBlock, Receipt, RecoveredBlock};
use rayon::prelude::*;
use std::collections::{BTreeMap, HashSet};

/// Longest value, in bytes: PostgreSQL takes half as much again, in a message that is not longer than 1 GiB.
pub(super) const MAX_VALUE: usize = 512 << 20;

/// One block's rows that lie in a partition, and what its row in `block_numbers` and `canonical` need.
pub(super) struct BlockRows {
    pub(super) block: BlockRef,
    /// Its row in `blocks`.
    pub(super) row: Rows,
    /// Total difficulty, receipts and changes, as far as they are known: what may be news of a block that is held.
    pub(super) update: Update,
    pub(super) transactions: Rows,
    pub(super) logs: Rows,
}

/// What a block that is held already may learn.
#[derive(Default)]
pub(super) struct Update {
    pub(super) total_difficulty: U256,
    /// Of a block that was executed, or is history.
    pub(super) receipts: Option<Vec<u8>>,
    /// Of a block that was executed.
    pub(super) changes: Option<Vec<u8>>,
}

/// All rows of a commit.
#[derive(Default)]
pub(super) struct Batch {
    /// Canonical blocks, in order.
    pub(super) blocks: Vec<BlockRows>,
    /// Blocks off the canonical chain, none of which is among [`Self::blocks`], and each once.
    pub(super) side_blocks: Vec<BlockRows>,
    /// Blocks that are not executed, none of which is in the other lists, and each once.
    pub(super) history: Vec<BlockRows>,
    /// Rows of `accounts`, in the order of their keys.
    pub(super) accounts: Bytes,
    /// Rows of `storage`, in the order of their keys.
    pub(super) storage: Bytes,
    /// Deployed code by hash.
    pub(super) code: BTreeMap<B256, Bytes>,
}

/// Encodes the rows of a commit's blocks; `floor` is the first block whose state is held.
pub(super) fn build(commit: &Commit, floor: u64) -> Result<Batch, StoreError> {
    let blocks = &commit.blocks;
    let built: Result<Vec<_>, _> = blocks.par_iter().map(|block| executed_block(block, floor)).collect();
    let mut batch = Batch { history: history(&commit.history)?, ..Batch::default() };
    let mut states = Vec::new();
    for (rows, state) in built? {
        batch.blocks.push(rows);
        states.push(state);
    }
    for block in blocks {
        batch.code.extend(block.diff.code.iter().map(|(hash, code)| (*hash, code.clone())));
    }
    batch.accounts = sorted(states.iter().map(|state| (&state.accounts, &state.account_rows)));
    batch.storage = sorted(states.iter().map(|state| (&state.slots, &state.slot_rows)));
    let fuller: HashSet<B256> =
        batch.blocks.iter().chain(&batch.history).map(|rows| rows.block.hash).collect();
    let mut side = BTreeMap::new();
    for (block, total_difficulty) in &commit.side_blocks {
        if !fuller.contains(&block.hash) {
            let update = Update { total_difficulty: *total_difficulty, ..Update::default() };
            side.insert(block.hash, side_block(block, update)?);
        }
    }
    batch.side_blocks = side.into_values().collect();
    Ok(batch)
}

/// The rows of blocks that are not executed. Of several with one number, the last one has the transactions and logs.
fn history(blocks: &[HistoricBlock]) -> Result<Vec<BlockRows>, StoreError> {
    let built: Result<Vec<_>, _> = blocks.par_iter().map(historic_block).collect();
    let mut by_hash = BTreeMap::new();
    let mut last = BTreeMap::new();
    for rows in built? {
        last.insert(rows.block.number, rows.block.hash);
        by_hash.insert(rows.block.hash, rows);
    }
    for rows in by_hash.values_mut().filter(|rows| last.get(&rows.block.number) != Some(&rows.block.hash)) {
        (rows.transactions, rows.logs) = (Rows::default(), Rows::default());
    }
    let mut history: Vec<_> = by_hash.into_values().collect();
    history.sort_unstable_by_key(|rows| rows.block.number);
    Ok(history)
}

fn historic_block(historic: &HistoricBlock) -> Result<BlockRows, StoreError> {
    let mut update = Update { total_difficulty: historic.total_difficulty, ..Update::default() };
    receipts::put(&historic.receipts, update.receipts.insert(Vec::new()));
    whole_block(&historic.block, &historic.receipts, update)
}

/// One block's state versions: keys, each with where its row lies.
#[derive(Default)]
struct StateRows {
    accounts: Vec<(Address, usize, usize)>,
    account_rows: Rows,
    slots: Vec<([u8; 60], usize, usize)>,
    slot_rows: Rows,
}

/// The rows of all blocks in the order of their keys: neighbours in the index are then written together.
fn sorted<'a, K: Ord + Copy + Send + 'a>(
    blocks: impl Iterator<Item = (&'a Vec<(K, usize, usize)>, &'a Rows)>,
) -> Bytes {
    let mut rows = Vec::new();
    let mut length = 0;
    for (keys, block) in blocks {
        length += block.0.len();
        rows.extend(
            keys.iter().map(|(key, start, end)| (*key, block.0.get(*start..*end).unwrap_or_default())),
        );
    }
    // Stable: the versions of one key stay in the order of their blocks.
    rows.par_sort_by_key(|(key, _)| *key);
    let mut out = Vec::with_capacity(length);
    for (_, row) in rows {
        out.extend_from_slice(row);
    }
    out.into()
}

fn executed_block(executed: &ExecutedBlock, floor: u64) -> Result<(BlockRows, StateRows), StoreError> {
    let block = &executed.block;
    let (state, changes) = state_rows(executed, floor)?;
    let mut update = Update { total_difficulty: executed.total_difficulty, ..Update::default() };
    receipts::put(&executed.receipts, update.receipts.insert(Vec::new()));
    codec::put_changes(&changes, update.changes.insert(Vec::new()));
    Ok((whole_block(block, &executed.receipts, update)?, state))
}

/// A block's rows with its transactions and logs.
fn whole_block(
    block: &RecoveredBlock,
    receipts: &[Receipt],
    update: Update,
) -> Result<BlockRows, StoreError> {
    let mut rows = side_block(block, update)?;
    if receipts.len() != block.senders.len() {
        let detail = "it has not one receipt for each transaction";
        return Err(StoreError::Malformed { block: block.block_ref(), detail });
    }
    transaction_rows(block, receipts, &mut rows.transactions);
    log_rows(rows.block.number, receipts, &mut rows.logs);
    Ok(rows)
}

/// A block's row in `blocks` alone.
fn side_block(block: &RecoveredBlock, update: Update) -> Result<BlockRows, StoreError> {
    let reference = block.block_ref();
    let malformed = |detail| StoreError::Malformed { block: reference, detail };
    if block.block.body.transactions.len() != block.senders.len() {
        return Err(malformed("it has not one sender for each transaction"));
    }
    if i64::try_from(reference.number).is_err() {
        return Err(malformed("its number is above what PostgreSQL can hold"));
    }
    let mut row = Rows::default();
    block_row(block, &update, &mut row);
    super::commit::within("block", row.0.len(), MAX_VALUE)?;
    Ok(BlockRows { block: reference, row, update, transactions: Rows::default(), logs: Rows::default() })
}

fn block_row(block: &RecoveredBlock, update: &Update, rows: &mut Rows) {
    let (header, body) = (block.header(), &block.block.body);
    rows.row(19);
    rows.u64(header.number);
    rows.u64(header.timestamp);
    rows.u64(header.gas_limit);
    rows.u64(header.gas_used);
    rows.u32(count(body.transactions.len()));
    rows.u32(count(body.ommers.len()));
    rows.bytes(block.hash.as_slice());
    rows.bytes(header.parent_hash.as_slice());
    rows.bytes(header.beneficiary.as_slice());
    rows.bytes(header.state_root.as_slice());
    rows.numeric(&header.difficulty);
    rows.numeric(&update.total_difficulty);
    match header.base_fee_per_gas {
        Some(base_fee) => rows.numeric(&U256::from(base_fee)),
        None => rows.null(),
    }
    rows.bytes(&header.extra_data);
    rows.encoded(|out| header.encode(out));
    rows.encoded(|out| body.encode(out));
    rows.encoded(|out| out.extend(block.senders.iter().flatten()));
    rows.optional_bytes(update.receipts.as_deref());
    rows.optional_bytes(update.changes.as_deref());
}

pub(super) fn transaction_rows(block: &RecoveredBlock, receipts: &[Receipt], rows: &mut Rows) {
    let header = block.header();
    let mut gas_before = 0;
    for (index, ((transaction, sender), receipt)) in (0_u32..).zip(block.transactions().zip(receipts)) {
        let cumulative = receipt.cumulative_gas_used();
        rows.row(15);
        rows.u64(header.number);
        rows.u64(transaction.nonce());
        rows.u64(transaction.gas_limit());
        rows.u64(cumulative.saturating_sub(gas_before));
        rows.u64(cumulative);
        rows.u32(index);
        rows.u8_as_smallint(transaction.ty());
        match receipt.as_receipt().and_then(|fields| fields.status.as_eip658()) {
            Some(succeeded) => rows.u8_as_smallint(u8::from(succeeded)),
            None => rows.null(),
        }
        rows.bytes(transaction.tx_hash().as_slice());
        rows.bytes(sender.as_slice());
        if let Some(recipient) = transaction.to() {
            rows.bytes(recipient.as_slice());
            rows.null();
        } else {
            rows.null();
            rows.bytes(sender.create(transaction.nonce()).as_slice());
        }
        rows.numeric(&transaction.value());
        rows.numeric(&U256::from(transaction.effective_gas_price(header.base_fee_per_gas)));
        rows.bytes(transaction.input());
        gas_before = cumulative;
    }
}

pub(super) fn log_rows(block: u64, receipts: &[Receipt], rows: &mut Rows) {
    let mut log_index = 0_u32;
    for (transaction, receipt) in (0_u32..).zip(receipts) {
        for log in receipt.logs() {
            rows.row(9);
            rows.u64(block);
            rows.u32(transaction);
            rows.u32(log_index);
            rows.bytes(log.address.as_slice());
            for topic in 0..4 {
                rows.optional_bytes(log.topics().get(topic).map(B256::as_slice));
            }
            rows.bytes(&log.data.data);
            log_index += 1;
        }
    }
}

fn state_rows(executed: &ExecutedBlock, floor: u64) -> Result<(StateRows, StateChanges), StoreError> {
    let block = executed.block.block_ref();
    let mut rows = StateRows::default();
    let mut changes = StateChanges::default();
    for (address, change) in &executed.diff.accounts {
        let (incarnation, has_version) = placed(block, change, floor)?;
        if has_version {
            let start = rows.account_rows.0.len();
            account_row(block.number, address, change.after.as_ref(), &mut rows.account_rows);
            rows.accounts.push((*address, start, rows.account_rows.0.len()));
        }
        for (slot, value) in &change.storage {
            let start = rows.slot_rows.0.len();
            let slot = slot.to_be_bytes::<32>();
            rows.slot_rows.row(5);
            rows.slot_rows.u64(block.number);
            rows.slot_rows.u64(incarnation);
            rows.slot_rows.bytes(address.as_slice());
            rows.slot_rows.bytes(&slot);
            rows.slot_rows.encoded(|out| codec::put_uint(value, out));
            let key = slot_key(address, incarnation, &slot);
            rows.slots.push((key, start, rows.slot_rows.0.len()));
        }
        let slots = change.storage.keys().copied().collect();
        changes.accounts.push(AccountChange { address: *address, incarnation, slots });
    }
    changes.code.extend(executed.diff.code.keys());
    Ok((rows, changes))
}

fn account_row(block: u64, address: &Address, account: Option<&quintet_types::Account>, rows: &mut Rows) {
    rows.row(6);
    rows.u64(block);
    let Some(account) = account else {
        rows.null();
        rows.null();
        rows.bytes(address.as_slice());
        rows.null();
        rows.null();
        return;
    };
    rows.u64(account.nonce);
    rows.u64(account.incarnation);
    rows.bytes(address.as_slice());
    rows.numeric(&account.balance);
    rows.optional_bytes(account.has_code().then(|| account.code_hash.as_slice()));
}

fn slot_key(address: &Address, incarnation: u64, slot: &[u8; 32]) -> [u8; 60] {
    let mut key = [0; 60];
    let (head, rest) = key.split_at_mut(20);
    let (middle, tail) = rest.split_at_mut(8);
    head.copy_from_slice(address.as_slice());
    middle.copy_from_slice(&incarnation.to_be_bytes());
    tail.copy_from_slice(slot);
    key
}

/// How many there are, as an `integer`.
fn count(items: usize) -> u32 {
    u32::try_from(items).unwrap_or(u32::MAX)
}
