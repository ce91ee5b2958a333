//! A transaction's object.

use crate::json::{self, Object};
use alloy_consensus::transaction::RlpEcdsaEncodableTx;
use alloy_consensus::{EthereumTxEnvelope, Transaction as _};
use alloy_eips::Typed2718;
use alloy_eips::eip2930::AccessList;
use alloy_eips::eip7702::SignedAuthorization;
use alloy_primitives::{Address, B256};
use quintet_types::Header;

/// Where a block holds a transaction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TransactionPlace<'a> {
    /// The block's hash; `None` for the pending block, which has none yet.
    pub(crate) block_hash: Option<B256>,
    /// The block's header.
    pub(crate) header: &'a Header,
    /// The transaction's index in the block.
    pub(crate) index: u64,
}

/// A transaction of a block.
pub(crate) fn write_transaction<T>(
    out: &mut Vec<u8>,
    transaction: &EthereumTxEnvelope<T>,
    sender: Address,
    place: TransactionPlace<'_>,
) where
    T: RlpEcdsaEncodableTx + alloy_consensus::Transaction,
{
    write(out, transaction, sender, Some(place));
}

/// A transaction of the pool.
pub(crate) fn write_pending<T>(out: &mut Vec<u8>, transaction: &EthereumTxEnvelope<T>, sender: Address)
where
    T: RlpEcdsaEncodableTx + alloy_consensus::Transaction,
{
    write(out, transaction, sender, None);
}

fn write<T>(
    out: &mut Vec<u8>,
    transaction: &EthereumTxEnvelope<T>,
    sender: Address,
    place: Option<TransactionPlace<'_>>,
) where
    T: RlpEcdsaEncodableTx + alloy_consensus::Transaction,
{
    let mut object = Object::new(out);
    write_place(&mut object, place);
    object.data("from", sender.as_slice());
    object.quantity("gas", transaction.gas_limit());
    let price = match place {
        Some(place) => transaction.effective_gas_price(place.header.base_fee_per_gas),
        None => transaction.max_fee_per_gas(),
    };
    object.quantity("gasPrice", price);
    if transaction.is_dynamic_fee() {
        object.quantity("maxFeePerGas", transaction.max_fee_per_gas());
        object.quantity("maxPriorityFeePerGas", transaction.max_priority_fee_per_gas().unwrap_or_default());
    }
    object.optional_quantity("maxFeePerBlobGas", transaction.max_fee_per_blob_gas());
    object.data("hash", transaction.tx_hash().as_slice());
    object.data("input", transaction.input());
    object.quantity("nonce", transaction.nonce());
    object.nullable_data("to", transaction.to());
    write_index(&mut object, place);
    object.quantity256("value", &transaction.value());
    object.quantity("type", transaction.ty());
    if let Some(list) = transaction.access_list() {
        write_access_list(object.key("accessList"), list);
    }
    object.optional_quantity("chainId", transaction.chain_id());
    if let Some(hashes) = transaction.blob_versioned_hashes() {
        json::array(object.key("blobVersionedHashes"), hashes, |out, hash| json::data(out, hash.as_slice()));
    }
    if let Some(list) = transaction.authorization_list() {
        json::array(object.key("authorizationList"), list, write_authorization);
    }
    write_signature(&mut object, transaction);
    object.end();
}

fn write_place(object: &mut Object<'_>, place: Option<TransactionPlace<'_>>) {
    let hash = place.and_then(|place| place.block_hash);
    object.nullable_data("blockHash", hash);
    if let Some(place) = place {
        object.quantity("blockNumber", place.header.number);
        object.quantity("blockTimestamp", place.header.timestamp);
    } else {
        json::null(object.key("blockNumber"));
        json::null(object.key("blockTimestamp"));
    }
}

fn write_index(object: &mut Object<'_>, place: Option<TransactionPlace<'_>>) {
    match place {
        Some(place) => object.quantity("transactionIndex", place.index),
        None => json::null(object.key("transactionIndex")),
    }
}

fn write_signature<T>(object: &mut Object<'_>, transaction: &EthereumTxEnvelope<T>)
where
    T: RlpEcdsaEncodableTx + alloy_consensus::Transaction,
{
    let signature = transaction.signature();
    let parity = u128::from(signature.v());
    // A legacy signature says its parity as 27 or 28, or with the chain's id in it (EIP-155).
    let v = match (transaction.is_legacy(), transaction.chain_id()) {
        (true, Some(chain_id)) => 35 + u128::from(chain_id) * 2 + parity,
        (true, None) => 27 + parity,
        (false, _) => parity,
    };
    object.quantity("v", v);
    object.quantity256("r", &signature.r());
    object.quantity256("s", &signature.s());
    if !transaction.is_legacy() {
        object.quantity("yParity", parity);
    }
}

/// An access list (EIP-2930).
pub(crate) fn write_access_list(out: &mut Vec<u8>, list: &AccessList) {
    json::array(out, list.iter(), |out, item| {
        let mut object = Object::new(out);
        object.data("address", item.address.as_slice());
        json::array(object.key("storageKeys"), &item.storage_keys, |out, key| {
            json::data(out, key.as_slice());
        });
        object.end();
    });
}

/// An authorization (EIP-7702).
fn write_authorization(out: &mut Vec<u8>, authorization: &SignedAuthorization) {
    let mut object = Object::new(out);
    object.quantity256("chainId", authorization.chain_id());
    object.data("address", authorization.address.as_slice());
    object.quantity("nonce", authorization.nonce);
    object.quantity("yParity", authorization.y_parity());
    object.quantity256("r", &authorization.r());
    object.quantity256("s", &authorization.s());
    object.end();
}
