//! Ethereum's state tests (archives 01 and 02): one transaction on a small state, at every fork, compared by
//! state root and logs. A deterministic sample in `cargo test`; all with `QUINTET_FULL=1`.

use crate::archive::{Report, run_archive};
use crate::specs::spec;
use alloy_consensus::{Signed, TxLegacy};
use alloy_primitives::{Address, B256, Bytes, Signature, TxKind, U256, keccak256};
use quintet_chainspec::ChainSpec;
use quintet_evm::TxError;
use quintet_evm::test_utils::{AppliedTransaction, MemoryState, apply_transaction};
use quintet_types::{Header, Transaction, decode_transaction};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

#[derive(Deserialize)]
struct StateTest {
    env: Env,
    pre: BTreeMap<Address, PreAccount>,
    transaction: TestTransaction,
    post: BTreeMap<String, Vec<Post>>,
}

#[derive(Deserialize)]
struct Env {
    #[serde(rename = "currentCoinbase")]
    coinbase: Address,
    #[serde(rename = "currentDifficulty")]
    difficulty: U256,
    #[serde(rename = "currentGasLimit")]
    gas_limit: U256,
    #[serde(rename = "currentNumber")]
    number: U256,
    #[serde(rename = "currentTimestamp")]
    timestamp: U256,
    #[serde(rename = "currentBaseFee")]
    base_fee: Option<U256>,
    #[serde(rename = "currentRandom")]
    random: Option<B256>,
    #[serde(rename = "currentExcessBlobGas")]
    excess_blob_gas: Option<U256>,
}

#[derive(Deserialize)]
pub(crate) struct PreAccount {
    nonce: U256,
    balance: U256,
    code: Bytes,
    storage: BTreeMap<U256, U256>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TestTransaction {
    nonce: U256,
    sender: Address,
    to: String,
    data: Vec<Bytes>,
    gas_limit: Vec<U256>,
    value: Vec<String>,
    gas_price: Option<U256>,
}

#[derive(Deserialize)]
struct Post {
    hash: B256,
    logs: B256,
    indexes: Indexes,
    txbytes: Option<Bytes>,
    #[serde(rename = "expectException")]
    exception: Option<String>,
}

#[derive(Deserialize)]
struct Indexes {
    data: usize,
    gas: usize,
    value: usize,
}

/// Filled by geth, which touched the beneficiary of a transaction that could not run too.
#[test]
fn state_tests_frontier_to_cancun() {
    run_archive("01", 20, |file| run_file(file, true));
}

#[test]
fn state_tests_of_execution_spec_tests() {
    run_archive("02", 20, |file| run_file(file, false));
}

fn run_file(file: &Path, touch_anyway: bool) -> Report {
    let mut report = Report::default();
    let tests: BTreeMap<String, StateTest> = match serde_json::from_slice(&std::fs::read(file).unwrap()) {
        Ok(tests) => tests,
        Err(error) => {
            report.failed.push(format!("{}: unreadable: {error}", file.display()));
            return report;
        }
    };
    for (name, test) in &tests {
        let state = pre_state(test);
        for (fork, posts) in &test.post {
            let spec = spec(fork);
            for post in posts {
                match run_case(&spec, fork, test, &state, post, touch_anyway) {
                    Ok(()) => report.pass(fork),
                    Err(why) => {
                        let Indexes { data, gas, value } = &post.indexes;
                        let file = file.file_name().unwrap().display();
                        report.failed.push(format!("{file} {name} {fork} d{data}g{gas}v{value}: {why}"));
                    }
                }
            }
        }
    }
    report
}

pub(crate) fn insert_all(state: &mut MemoryState, accounts: &BTreeMap<Address, PreAccount>) {
    for (address, account) in accounts {
        let storage = account.storage.iter().map(|(slot, value)| (*slot, *value));
        state.insert(*address, account.nonce.to(), account.balance, account.code.clone(), storage);
    }
}

fn pre_state(test: &StateTest) -> MemoryState {
    let mut state = MemoryState::default();
    insert_all(&mut state, &test.pre);
    // As geth's test runner has it: the hash of a block is that of its number in decimal.
    let number: u64 = test.env.number.saturating_to();
    for ancestor in number.saturating_sub(257)..number {
        state.insert_block_hash(ancestor, keccak256(ancestor.to_string()));
    }
    state
}

fn run_case(
    spec: &ChainSpec,
    fork: &str,
    test: &StateTest,
    pre: &MemoryState,
    post: &Post,
    touch_anyway: bool,
) -> Result<(), String> {
    let expects_error = post.exception.is_some();
    let transaction = match transaction(test, post) {
        Ok(transaction) => transaction,
        Err(_) if expects_error => return Ok(()),
        Err(why) => return Err(why),
    };
    let header = header(&test.env, fork);
    let applied = apply_transaction(spec, &header, pre, &transaction, test.transaction.sender, touch_anyway)
        .map_err(|error| error.to_string())?;
    let AppliedTransaction { diff, logs, rejected } = applied;
    check_rejection(rejected, post.exception.as_deref())?;
    let mut state = pre.clone();
    state.apply(&diff);
    if state.root() != post.hash {
        return Err(format!("state root {} instead of {}", state.root(), post.hash));
    }
    let logs_hash = keccak256(alloy_rlp::encode(&logs));
    if logs_hash != post.logs {
        return Err(format!("logs hash {logs_hash} instead of {}", post.logs));
    }
    Ok(())
}

fn check_rejection(rejected: Option<TxError>, expected: Option<&str>) -> Result<(), String> {
    match (rejected, expected) {
        (None, None) => Ok(()),
        (Some(error), Some(expected)) if expected.split('|').any(|class| is_of_class(&error, class)) => {
            Ok(())
        }
        (Some(error), Some(expected)) => Err(format!("rejected for another reason: {error}, not {expected}")),
        (Some(error), None) => Err(format!("rejected: {error}")),
        (None, Some(expected)) => Err(format!("not rejected: {expected}")),
    }
}

/// Whether the error is what the vectors call `class`, in either of their two languages.
fn is_of_class(error: &TxError, class: &str) -> bool {
    match class.strip_prefix("TransactionException.").unwrap_or(class) {
        "TR_TypeNotSupported" | "TYPE_1_TX_PRE_FORK" => matches!(error, TxError::TypeNotSupported),
        "SenderNotEOA" | "SENDER_NOT_EOA" => matches!(error, TxError::SenderNotEoa { .. }),
        "TR_NoFunds" | "INSUFFICIENT_ACCOUNT_FUNDS" => {
            matches!(error, TxError::InsufficientFunds { .. } | TxError::CostOverflow(_))
        }
        "TR_NoFundsOrGas" => {
            matches!(error, TxError::InsufficientFunds { .. } | TxError::IntrinsicGas { .. })
        }
        "INTRINSIC_GAS_TOO_LOW" | "IntrinsicGas" | "TR_IntrinsicGas" => {
            matches!(error, TxError::IntrinsicGas { .. } | TxError::FloorDataGas { .. })
        }
        "INTRINSIC_GAS_BELOW_FLOOR_GAS_COST" => matches!(error, TxError::FloorDataGas { .. }),
        "INITCODE_SIZE_EXCEEDED" | "TR_InitCodeLimitExceeded" => {
            matches!(error, TxError::InitCodeTooLarge { .. })
        }
        "TR_NonceHasMaxValue" | "NONCE_IS_MAX" => matches!(error, TxError::NonceMax { .. }),
        "GAS_LIMIT_EXCEEDS_MAXIMUM" => matches!(error, TxError::GasLimitTooHigh { .. }),
        "TR_TipGtFeeCap" | "PRIORITY_GREATER_THAN_MAX_FEE_PER_GAS" => {
            matches!(error, TxError::TipAboveFeeCap { .. })
        }
        "TYPE_3_TX_INVALID_BLOB_VERSIONED_HASH" | "TR_BLOBVERSION_INVALID" => {
            matches!(error, TxError::BlobHashVersion { .. })
        }
        "TYPE_3_TX_BLOB_COUNT_EXCEEDED"
        | "TYPE_3_TX_MAX_BLOB_GAS_ALLOWANCE_EXCEEDED"
        | "TR_BLOBLIST_OVERSIZE" => {
            matches!(error, TxError::TooManyBlobs | TxError::BlobGasLimitReached { .. })
        }
        "TYPE_4_TX_CONTRACT_CREATION" => matches!(error, TxError::SetCodeCreate(_)),
        _ => false,
    }
}

fn transaction(test: &StateTest, post: &Post) -> Result<Transaction, String> {
    if let Some(bytes) = &post.txbytes {
        return decode_transaction(bytes).map_err(|error| format!("transaction: {error}"));
    }
    let transaction = &test.transaction;
    let Indexes { data, gas, value } = &post.indexes;
    let legacy = TxLegacy {
        chain_id: None,
        nonce: transaction.nonce.to(),
        gas_price: transaction.gas_price.ok_or("no gas price")?.to(),
        gas_limit: transaction.gas_limit[*gas].to(),
        to: match transaction.to.as_str() {
            "" => TxKind::Create,
            to => TxKind::Call(to.parse().map_err(|_| "bad recipient")?),
        },
        value: transaction.value[*value].parse().map_err(|_| "bad value")?,
        input: transaction.data[*data].clone(),
    };
    // Nobody looks at the signature: the test names the sender.
    let signature = Signature::new(U256::ONE, U256::ONE, false);
    Ok(Transaction::Legacy(Signed::new_unhashed(legacy, signature)))
}

fn header(env: &Env, fork: &str) -> Header {
    let merged = matches!(fork, "Paris" | "Shanghai" | "Cancun" | "Prague" | "Osaka");
    let cancun = matches!(fork, "Cancun" | "Prague" | "Osaka");
    let london = merged || fork == "London";
    let excess_blob_gas = env.excess_blob_gas.unwrap_or_default();
    Header {
        beneficiary: env.coinbase,
        difficulty: if merged { U256::ZERO } else { env.difficulty },
        mix_hash: env.random.unwrap_or_default(),
        gas_limit: env.gas_limit.saturating_to(),
        number: env.number.saturating_to(),
        timestamp: env.timestamp.saturating_to(),
        base_fee_per_gas: london.then(|| env.base_fee.unwrap_or(U256::from(10)).to()),
        excess_blob_gas: cancun.then(|| excess_blob_gas.to()),
        ..Header::default()
    }
}
