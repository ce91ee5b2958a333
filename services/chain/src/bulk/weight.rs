//! About how much memory blocks take, by which queues and batches are bounded.

use alloy_consensus::{Transaction as _, TxReceipt};
use quintet_types::{Block, Body, ExecutedBlock, Receipt};

/// A header with what surrounds a block.
const HEADER: usize = 1024;
/// A transaction with its sender, without its input.
const TRANSACTION: usize = 512;
/// A receipt with its bloom, without its logs.
const RECEIPT: usize = 384;
/// A log, without its data.
const LOG: usize = 256;
/// A changed account, before and after.
const ACCOUNT: usize = 320;
/// A changed slot.
const SLOT: usize = 128;

/// Bytes of a decoded block.
pub(crate) fn of_block(block: &Block) -> usize {
    of_body(&block.body)
}

/// Bytes of a body, with what surrounds it.
pub(crate) fn of_body(body: &Body) -> usize {
    let inputs: usize = body.transactions.iter().map(|transaction| transaction.input().len()).sum();
    HEADER * (1 + body.ommers.len()) + TRANSACTION * body.transactions.len() + inputs
}

/// Bytes of a block's receipts.
pub(crate) fn of_receipts(receipts: &[Receipt]) -> usize {
    let logs = receipts.iter().flat_map(TxReceipt::logs).map(|log| LOG + log.data.data.len());
    RECEIPT * receipts.len() + logs.sum::<usize>()
}

/// Bytes of an executed block.
pub(crate) fn of_executed(executed: &ExecutedBlock) -> usize {
    let slots: usize = executed.diff.accounts.values().map(|change| change.storage.len()).sum();
    let code: usize = executed.diff.code.values().map(|code| code.len()).sum();
    of_block(&executed.block.block)
        + of_receipts(&executed.receipts)
        + ACCOUNT * executed.diff.accounts.len()
        + SLOT * slots
        + code
}
