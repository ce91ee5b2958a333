//! About how much memory blocks take, by which queues and batches are bounded.

use alloy_consensus::{Transaction as _, TxReceipt};
use quintet_types::{Block, ExecutedBlock};

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
    let inputs: usize = block.body.transactions.iter().map(|transaction| transaction.input().len()).sum();
    HEADER * (1 + block.body.ommers.len()) + TRANSACTION * block.body.transactions.len() + inputs
}

/// Bytes of an executed block.
pub(crate) fn of_executed(executed: &ExecutedBlock) -> usize {
    let logs = executed.receipts.iter().flat_map(TxReceipt::logs).map(|log| LOG + log.data.data.len());
    let slots: usize = executed.diff.accounts.values().map(|change| change.storage.len()).sum();
    let code: usize = executed.diff.code.values().map(|code| code.len()).sum();
    of_block(&executed.block.block)
        + RECEIPT * executed.receipts.len()
        + logs.sum::<usize>()
        + ACCOUNT * executed.diff.accounts.len()
        + SLOT * slots
        + code
}
