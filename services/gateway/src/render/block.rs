//! A block's and a header's object.

use super::transaction::{TransactionPlace, write_transaction};
use crate::json::{self, Object};
use alloy_eips::eip4895::Withdrawal;
use alloy_primitives::{B256, U256};
use alloy_rlp::Encodable;
use quintet_types::{Header, RecoveredBlock};

/// A block, with its transactions whole (`full`) or as hashes. A `pending` block has no hash, nonce and miner
/// yet: these are `null`.
pub(crate) fn write_block(
    out: &mut Vec<u8>,
    block: &RecoveredBlock,
    total_difficulty: Option<&U256>,
    full: bool,
    pending: bool,
) {
    let hash = (!pending).then_some(block.hash);
    let body = &block.block.body;
    let mut object = Object::new(out);
    write_header(&mut object, block.header(), hash, pending);
    object.quantity("size", block.block.length() as u64);
    if let Some(total_difficulty) = total_difficulty {
        object.quantity256("totalDifficulty", total_difficulty);
    }
    let transactions = object.key("transactions");
    if full {
        json::array(transactions, block.transactions().enumerate(), |out, (index, (transaction, sender))| {
            let place = TransactionPlace { block_hash: hash, header: block.header(), index: index as u64 };
            write_transaction(out, transaction, sender, place);
        });
    } else {
        json::array(transactions, &body.transactions, |out, transaction| {
            json::data(out, transaction.tx_hash().as_slice());
        });
    }
    json::array(object.key("uncles"), &body.ommers, |out, uncle| {
        json::data(out, uncle.hash_slow().as_slice());
    });
    if let Some(withdrawals) = &body.withdrawals {
        json::array(object.key("withdrawals"), withdrawals.iter(), write_withdrawal);
    }
    object.end();
}

/// An uncle: a block without transactions of which only the header is known.
pub(crate) fn write_uncle(out: &mut Vec<u8>, header: &Header) {
    let mut object = Object::new(out);
    write_header(&mut object, header, Some(header.hash_slow()), false);
    // The size of the block made of the header alone: a list of it and two empty lists.
    let payload = header.length() + 2;
    let size = payload + alloy_rlp::length_of_length(payload);
    object.quantity("size", size as u64);
    json::array(object.key("uncles"), [(); 0], |_, ()| {});
    object.end();
}

/// A header alone, as `newHeads` and `eth_getHeaderBy…` have it.
pub(crate) fn write_header_object(out: &mut Vec<u8>, header: &Header, hash: B256) {
    let mut object = Object::new(out);
    write_header(&mut object, header, Some(hash), false);
    object.end();
}

fn write_header(object: &mut Object<'_>, header: &Header, hash: Option<B256>, pending: bool) {
    object.optional_quantity("baseFeePerGas", header.base_fee_per_gas);
    object.optional_quantity("blobGasUsed", header.blob_gas_used);
    object.quantity256("difficulty", &header.difficulty);
    object.optional_quantity("excessBlobGas", header.excess_blob_gas);
    object.data("extraData", &header.extra_data);
    object.quantity("gasLimit", header.gas_limit);
    object.quantity("gasUsed", header.gas_used);
    object.nullable_data("hash", hash);
    object.data("logsBloom", header.logs_bloom.as_slice());
    object.nullable_data("miner", (!pending).then_some(header.beneficiary.as_slice()));
    object.data("mixHash", header.mix_hash.as_slice());
    object.nullable_data("nonce", (!pending).then_some(header.nonce.as_slice()));
    object.quantity("number", header.number);
    object.optional_data("parentBeaconBlockRoot", header.parent_beacon_block_root);
    object.data("parentHash", header.parent_hash.as_slice());
    object.data("receiptsRoot", header.receipts_root.as_slice());
    object.optional_data("requestsHash", header.requests_hash);
    object.data("sha3Uncles", header.ommers_hash.as_slice());
    object.data("stateRoot", header.state_root.as_slice());
    object.quantity("timestamp", header.timestamp);
    object.data("transactionsRoot", header.transactions_root.as_slice());
    object.optional_data("withdrawalsRoot", header.withdrawals_root);
}

/// A withdrawal (EIP-4895); its amount is in gwei.
fn write_withdrawal(out: &mut Vec<u8>, withdrawal: &Withdrawal) {
    let mut object = Object::new(out);
    object.quantity("index", withdrawal.index);
    object.quantity("validatorIndex", withdrawal.validator_index);
    object.data("address", withdrawal.address.as_slice());
    object.quantity("amount", withdrawal.amount);
    object.end();
}
