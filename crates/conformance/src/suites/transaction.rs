//! Transaction tests: whether bytes are a transaction that a fork takes; its hash, sender and intrinsic gas.

use super::json::{self, same};
use crate::refusal;
use crate::report::Outcome;
use crate::runner::{Refusals, Sink};
use alloy_consensus::{Signed, Transaction as _};
use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_rlp::Header as Rlp;
use quintet_chainspec::ChainSpec;
use quintet_evm::TxError;
use quintet_evm::test_utils::{MemoryState, apply_transaction};
use quintet_types::{Header, Transaction, decode_transaction, recover_sender};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Alloy's transactions have prices of 128 bits, and so have the node's.
const PRICE: &str = "a gas price of 2^128 wei or more, which no supply of ether pays";

#[derive(Deserialize)]
struct Test {
    result: BTreeMap<String, Expected>,
    txbytes: Bytes,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Expected {
    hash: Option<B256>,
    sender: Option<Address>,
    intrinsic_gas: Option<U256>,
    exception: Option<String>,
}

pub(super) fn run(sink: &mut Sink<'_>) -> Result<(), String> {
    let tests: BTreeMap<String, Test> = json::read(&sink.bytes()?)?;
    for (name, test) in &tests {
        for (fork, expected) in &test.result {
            sink.case(fork, name, |refusals| {
                if expected.exception.is_none() && is_priced_above_u128(&test.txbytes) {
                    return Outcome::Skipped(PRICE.into());
                }
                run_case(fork, &test.txbytes, expected, refusals).into()
            });
        }
    }
    Ok(())
}

/// Whether a legacy transaction, which begins with nonce and gas price, has a price of more than 16 bytes.
fn is_priced_above_u128(mut bytes: &[u8]) -> bool {
    let mut price = || {
        let mut fields = Rlp::decode_bytes(&mut bytes, true)?;
        Rlp::decode_bytes(&mut fields, false)?;
        Rlp::decode_bytes(&mut fields, false)
    };
    price().is_ok_and(|price: &[u8]| price.len() > 16)
}

fn run_case(fork: &str, bytes: &[u8], expected: &Expected, refusals: &mut Refusals) -> Result<(), String> {
    let merged = matches!(fork, "Paris" | "Shanghai" | "Cancun");
    match (judge(&json::network(fork)?, merged, bytes), &expected.exception) {
        (Ok(_), Some(class)) => Err(format!("not rejected: {class}")),
        (Err(why), Some(class)) => refusal::judge(class, &why, refusals),
        (Err(why), None) => Err(format!("rejected: {why}")),
        (Ok(found), None) => {
            same("hash", &found.hash, &expected.hash.ok_or("no hash to compare")?)?;
            same("sender", &found.sender, &expected.sender.ok_or("no sender to compare")?)?;
            let gas = expected.intrinsic_gas.ok_or("no gas to compare")?;
            same("intrinsic gas", &U256::from(found.intrinsic_gas), &gas)
        }
    }
}

/// What a fork finds in a transaction.
struct Found {
    hash: B256,
    sender: Address,
    intrinsic_gas: u64,
}

fn judge(spec: &ChainSpec, merged: bool, bytes: &[u8]) -> Result<Found, String> {
    let transaction =
        decode_transaction(bytes).map_err(|error| format!("undecodable transaction: {error}"))?;
    let sender = recover_sender(&transaction, spec.is_homestead_active(1))
        .map_err(|error| format!("invalid signature: {error}"))?;
    let hash = *transaction.tx_hash();
    same("hash", &hash, &keccak256(bytes))?;
    // What its value needs is a matter of the state, which is not judged here.
    let gas_limit = transaction.gas_limit();
    if let Some(error) = rejection(spec, merged, &altered(&transaction, gas_limit)?, sender)? {
        return Err(error.to_string());
    }
    match rejection(spec, merged, &altered(&transaction, 0)?, sender)? {
        Some(TxError::IntrinsicGas { want, .. }) => Ok(Found { hash, sender, intrinsic_gas: want }),
        other => Err(format!("runs without gas: {other:?}")),
    }
}

/// The transaction without a value, and with this gas limit.
fn altered(transaction: &Transaction, gas_limit: u64) -> Result<Transaction, String> {
    let (signature, hash) = (*transaction.signature(), *transaction.tx_hash());
    Ok(match transaction {
        Transaction::Legacy(signed) => {
            let tx = alloy_consensus::TxLegacy { gas_limit, value: U256::ZERO, ..signed.tx().clone() };
            Transaction::Legacy(Signed::new_unchecked(tx, signature, hash))
        }
        Transaction::Eip2930(signed) => {
            let tx = alloy_consensus::TxEip2930 { gas_limit, value: U256::ZERO, ..signed.tx().clone() };
            Transaction::Eip2930(Signed::new_unchecked(tx, signature, hash))
        }
        Transaction::Eip1559(signed) => {
            let tx = alloy_consensus::TxEip1559 { gas_limit, value: U256::ZERO, ..signed.tx().clone() };
            Transaction::Eip1559(Signed::new_unchecked(tx, signature, hash))
        }
        other => return Err(format!("transactions of type {} are not expected here", other.tx_type())),
    })
}

/// Why the transaction may not run for a sender that is as rich as can be.
fn rejection(
    spec: &ChainSpec,
    merged: bool,
    transaction: &Transaction,
    sender: Address,
) -> Result<Option<TxError>, String> {
    let mut state = MemoryState::default();
    state.insert(sender, transaction.nonce(), U256::MAX, Bytes::new(), []);
    let header = Header {
        number: 1,
        timestamp: 1,
        difficulty: if merged { U256::ZERO } else { U256::ONE },
        gas_limit: u64::MAX,
        base_fee_per_gas: Some(0),
        excess_blob_gas: Some(0),
        ..Header::default()
    };
    apply_transaction(spec, &header, &state, transaction, sender, false)
        .map(|applied| applied.rejected)
        .map_err(|error| error.to_string())
}
