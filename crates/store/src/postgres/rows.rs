//! The rows that blocks become, encoded on all cores before the transaction begins.

use super::copy::Rows;
use crate::{AccountChange, StateChanges, StoreError, codec, receipts};
use alloy_consensus::{Transaction as _, Typed2718};
use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_rlp::Encodable;
use quintet_types::{BlockRef, ExecutedBlock, Receipt, RecoveredBlock};
use rayon::prelude::*;
use std::collections::BTreeMap;

/// Longest value, in bytes: PostgreSQL takes half as much again, in a message that is not longer than 1 GiB.
pub(super) const MAX_VALUE: usize = 512 << 20;

/// One block's rows that lie in a partition, and what its row in `block_numbers` and `canonical` need.
pub(super) struct BlockRows {
    pub(super) block: BlockRef,
    /// Its row in `blocks`.
    pub(super) row: Rows,
    /// Total difficulty, and receipts and changes if it was executed: what may be news of a block that is
    /// held.
    pub(super) update: Update,
    pub(super) transactions: Rows,
    pub(super) logs: Rows,
}

/// What a block that is held already may learn.
pub(super) struct Update {
    pub(super) total_difficulty: U256,
    pub(super) executed: Option<Executed>,
}

/// A block's records that only execution gives.
pub(super) struct Executed {
    pub(super) receipts: Vec<u8>,
    pub(super) changes: Vec<u8>,
}

/// All rows of a commit.
#[derive(Default)]
pub(super) struct Batch {
    /// Canonical blocks, in order.
    pub(super) blocks: Vec<BlockRows>,
    /// Blocks off the canonical chain, none of which is among [`Self::blocks`], and each once.
    pub(super) side_blocks: Vec<BlockRows>,
    /// Rows of `accounts`, in the order of their keys.
    pub(super) accounts: Bytes,
    /// Rows of `storage`, in the order of their keys.
    pub(super) storage: Bytes,
    /// Deployed code by hash.
    pub(super) code: BTreeMap<B256, Bytes>,
}

/// Encodes the rows of canonical and side blocks.
pub(super) fn build(
    blocks: &[ExecutedBlock],
    side_blocks: &[(std::sync::Arc<RecoveredBlock>, U256)],
) -> Result<Batch, StoreError> {
    let built: Result<Vec<_>, _> = blocks.par_iter().map(executed_block).collect();
    let mut batch = Batch::default();
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
    let mut side = BTreeMap::new();
    for (block, total_difficulty) in side_blocks {
        if !blocks.iter().any(|canonical| canonical.block.hash == block.hash) {
            let update = Update { total_difficulty: *total_difficulty, executed: None };
            side.insert(block.hash, side_block(block, update)?);
        }
    }
    batch.side_blocks = side.into_values().collect();
    Ok(batch)
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

fn executed_block(executed: &ExecutedBlock) -> Result<(BlockRows, StateRows), StoreError> {
    let block = &executed.block;
    let (state, changes) = state_rows(executed)?;
    let mut records = Executed { receipts: Vec::new(), changes: Vec::new() };
    receipts::put(&executed.receipts, &mut records.receipts);
    codec::put_changes(&changes, &mut records.changes);
    let update = Update { total_difficulty: executed.total_difficulty, executed: Some(records) };
    let mut rows = side_block(block, update)?;
    if executed.receipts.len() != block.senders.len() {
        let detail = "it has not one receipt for each transaction";
        return Err(StoreError::Malformed { block: block.block_ref(), detail });
    }
    transaction_rows(block, &executed.receipts, &mut rows.transactions);
    log_rows(rows.block.number, &executed.receipts, &mut rows.logs);
    Ok((rows, state))
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
    rows.optional_bytes(update.executed.as_ref().map(|executed| executed.receipts.as_slice()));
    rows.optional_bytes(update.executed.as_ref().map(|executed| executed.changes.as_slice()));
}

fn transaction_rows(block: &RecoveredBlock, receipts: &[Receipt], rows: &mut Rows) {
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

fn log_rows(block: u64, receipts: &[Receipt], rows: &mut Rows) {
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

fn state_rows(executed: &ExecutedBlock) -> Result<(StateRows, StateChanges), StoreError> {
    let block = executed.block.block_ref();
    let mut rows = StateRows::default();
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
