//! A receipt's object.

use super::log::{LogPlace, write_log};
use crate::json::{self, Object};
use alloy_consensus::{Eip658Value, Transaction as _, TxReceipt};
use alloy_eips::Typed2718;
use alloy_primitives::Address;
use quintet_types::{Receipt, RecoveredBlock, Transaction};

/// What a receipt's object needs from its block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReceiptPlace<'a> {
    /// The block.
    pub(crate) block: &'a RecoveredBlock,
    /// Wei per blob gas in that block, from Cancun on.
    pub(crate) blob_base_fee: Option<u128>,
    /// The transaction's index.
    pub(crate) index: u64,
    /// Gas that the block had used before this transaction.
    pub(crate) gas_before: u64,
    /// Logs that the block had before this transaction's.
    pub(crate) logs_before: u64,
}

/// All receipts of a block.
pub(crate) fn write_receipts(
    out: &mut Vec<u8>,
    block: &RecoveredBlock,
    receipts: &[Receipt],
    blob_base_fee: Option<u128>,
) {
    let mut place = ReceiptPlace { block, blob_base_fee, index: 0, gas_before: 0, logs_before: 0 };
    json::array(out, block.transactions().zip(receipts), |out, ((transaction, sender), receipt)| {
        write_receipt(out, transaction, sender, receipt, place);
        place.index += 1;
        place.gas_before = receipt.cumulative_gas_used();
        place.logs_before += receipt.logs().len() as u64;
    });
}

/// One receipt.
pub(crate) fn write_receipt(
    out: &mut Vec<u8>,
    transaction: &Transaction,
    sender: Address,
    receipt: &Receipt,
    place: ReceiptPlace<'_>,
) {
    let header = place.block.header();
    let cumulative = receipt.cumulative_gas_used();
    let mut object = Object::new(out);
    object.data("blockHash", place.block.hash.as_slice());
    object.quantity("blockNumber", header.number);
    let contract = transaction.is_create().then(|| sender.create(transaction.nonce()));
    object.nullable_data("contractAddress", contract);
    object.quantity("cumulativeGasUsed", cumulative);
    object.quantity("effectiveGasPrice", transaction.effective_gas_price(header.base_fee_per_gas));
    object.data("from", sender.as_slice());
    object.quantity("gasUsed", cumulative.saturating_sub(place.gas_before));
    if let Some(gas) = transaction.blob_gas_used() {
        object.quantity("blobGasUsed", gas);
        object.quantity("blobGasPrice", place.blob_base_fee.unwrap_or_default());
    }
    write_logs(&mut object, transaction, receipt, place);
    object.data("logsBloom", receipt.logs_bloom().as_slice());
    // Before Byzantium a receipt has the state's root in place of a status (EIP-658).
    match receipt.status_or_post_state() {
        Eip658Value::Eip658(success) => object.quantity("status", success),
        Eip658Value::PostState(root) => object.data("root", root.as_slice()),
    }
    object.nullable_data("to", transaction.to());
    object.data("transactionHash", transaction.tx_hash().as_slice());
    object.quantity("transactionIndex", place.index);
    object.quantity("type", transaction.ty());
    object.end();
}

fn write_logs(
    object: &mut Object<'_>,
    transaction: &Transaction,
    receipt: &Receipt,
    place: ReceiptPlace<'_>,
) {
    let header = place.block.header();
    let mut log_place = LogPlace {
        block_number: header.number,
        block_hash: place.block.hash,
        timestamp: header.timestamp,
        transaction_hash: *transaction.tx_hash(),
        transaction_index: place.index,
        log_index: place.logs_before,
        removed: false,
    };
    json::array(object.key("logs"), receipt.logs(), |out, log| {
        write_log(out, log, &log_place);
        log_place.log_index += 1;
    });
}
