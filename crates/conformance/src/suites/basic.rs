//! Basic tests: keys and their addresses, and the first signed transactions.

use super::json::{self, same};
use crate::runner::Sink;
use alloy_consensus::Transaction as _;
use alloy_primitives::{Address, B256, Bytes, U256, hex, keccak256};
use quintet_testkit::accounts::TestAccount;
use quintet_types::{decode_transaction, recover_sender};
use serde::Deserialize;

#[derive(Deserialize)]
struct KeyCase {
    seed: String,
    key: B256,
    addr: Address,
}

/// Keys and addresses. What the signatures beside them are of is not said, and is not the hash of nothing.
pub(super) fn run_keys(sink: &mut Sink<'_>) -> Result<(), String> {
    let cases: Vec<KeyCase> = json::read(&sink.bytes()?)?;
    for case in &cases {
        sink.check("", &case.seed, || {
            same("key", &keccak256(&case.seed), &case.key)?;
            same("address", &TestAccount::from_secret(case.key).address, &case.addr)
        });
    }
    Ok(())
}

#[derive(Deserialize)]
struct TransactionCase {
    key: B256,
    nonce: u64,
    gasprice: u128,
    startgas: u64,
    to: String,
    value: u64,
    data: Bytes,
    signed: Bytes,
}

pub(super) fn run_transactions(sink: &mut Sink<'_>) -> Result<(), String> {
    let cases: Vec<TransactionCase> = json::read(&sink.bytes()?)?;
    for (index, case) in cases.iter().enumerate() {
        sink.check("Frontier", &index.to_string(), || {
            let transaction = decode_transaction(&case.signed).map_err(|error| error.to_string())?;
            same("nonce", &transaction.nonce(), &case.nonce)?;
            same("gas price", &transaction.gas_price().unwrap_or_default(), &case.gasprice)?;
            same("gas", &transaction.gas_limit(), &case.startgas)?;
            let to = transaction.to().map(hex::encode).unwrap_or_default();
            same("recipient", &to, &case.to)?;
            same("value", &transaction.value(), &U256::from(case.value))?;
            same("data", transaction.input(), &case.data)?;
            let sender = recover_sender(&transaction, false).map_err(|error| error.to_string())?;
            same("sender", &sender, &TestAccount::from_secret(case.key).address)
        });
    }
    Ok(())
}
