//! State tests (archives 01 and 02): one transaction on a small state, at every fork, compared by state root
//! and logs. The root is computed by the node's own trie, over the trie of the state before.

use super::json::{self, State, network};
use crate::refusal;
use crate::runner::{Refusals, Sink};
use alloy_consensus::{Signed, TxLegacy};
use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, Signature, TxKind, U256, keccak256};
use quintet_chainspec::ChainSpec;
use quintet_evm::test_utils::{AppliedTransaction, MemoryState, apply_transaction};
use quintet_trie::Layer;
use quintet_types::{Account, AccountDiff, Header, StateDiff, Transaction, decode_transaction};
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Deserialize)]
struct StateTest {
    env: Env,
    pre: State,
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

/// What all cases of a test begin with.
struct Before {
    state: MemoryState,
    trie: Layer,
}

/// Archive 01: filled by geth, which touched the beneficiary of a transaction that could not run too.
pub(super) fn run_legacy(sink: &mut Sink<'_>) -> Result<(), String> {
    run_file(sink, true)
}

/// Archive 02.
pub(super) fn run(sink: &mut Sink<'_>) -> Result<(), String> {
    run_file(sink, false)
}

fn run_file(sink: &mut Sink<'_>, touch_anyway: bool) -> Result<(), String> {
    let bytes = sink.bytes()?;
    for (name, text) in json::tests(&bytes)? {
        if !sink.samples(&name) {
            continue;
        }
        let test: StateTest = json::read(text.get().as_bytes())?;
        let before = before(&test)?;
        for (fork, posts) in &test.post {
            let spec = network(fork)?;
            for post in posts {
                let Indexes { data, gas, value } = &post.indexes;
                sink.case(fork, &format!("{name} d{data}g{gas}v{value}"), |refusals| {
                    run_case(&spec, fork, &test, &before, post, touch_anyway, refusals).into()
                });
            }
        }
    }
    Ok(())
}

fn before(test: &StateTest) -> Result<Before, String> {
    let mut state = MemoryState::default();
    let mut diff = StateDiff::default();
    for (address, account) in &test.pre {
        let nonce = account.nonce.to();
        let storage: BTreeMap<U256, U256> =
            account.storage.iter().filter(|(_, value)| !value.is_zero()).map(|(k, v)| (*k, *v)).collect();
        let code_hash = if account.code.is_empty() { KECCAK256_EMPTY } else { keccak256(&account.code) };
        let after = Some(Account { nonce, balance: account.balance, code_hash, incarnation: 0 });
        state.insert(*address, nonce, account.balance, account.code.clone(), storage.clone());
        diff.accounts.insert(*address, AccountDiff { before: None, after, storage });
    }
    // As geth's test runner has it: the hash of a block is that of its number in decimal.
    let number: u64 = test.env.number.saturating_to();
    for ancestor in number.saturating_sub(257)..number {
        state.insert_block_hash(ancestor, keccak256(ancestor.to_string()));
    }
    let mut trie = Layer::new();
    let (_, update) = quintet_trie::update(&trie, &diff).map_err(|error| error.to_string())?;
    trie.apply(update);
    Ok(Before { state, trie })
}

fn run_case(
    spec: &ChainSpec,
    fork: &str,
    test: &StateTest,
    before: &Before,
    post: &Post,
    touch_anyway: bool,
    refusals: &mut Refusals,
) -> Result<(), String> {
    let transaction = match (transaction(test, post), &post.exception) {
        (Ok(transaction), _) => transaction,
        (Err(why), Some(expected)) => return refusal::judge(expected, &why, refusals),
        (Err(why), None) => return Err(why),
    };
    let header = header(&test.env, fork);
    let sender = test.transaction.sender;
    let applied = apply_transaction(spec, &header, &before.state, &transaction, sender, touch_anyway)
        .map_err(|error| error.to_string())?;
    let AppliedTransaction { diff, logs, rejected } = applied;
    match (rejected, &post.exception) {
        (None, None) => {}
        (Some(error), Some(expected)) => refusal::judge(expected, &error.to_string(), refusals)?,
        (Some(error), None) => return Err(format!("rejected: {error}")),
        (None, Some(expected)) => return Err(format!("not rejected: {expected}")),
    }
    let (root, _) = quintet_trie::update(&before.trie, &diff).map_err(|error| error.to_string())?;
    json::same("state root", &root, &post.hash)?;
    json::same("logs hash", &keccak256(alloy_rlp::encode(&logs)), &post.logs)
}

fn transaction(test: &StateTest, post: &Post) -> Result<Transaction, String> {
    if let Some(bytes) = &post.txbytes {
        return decode_transaction(bytes).map_err(|error| format!("undecodable transaction: {error}"));
    }
    let transaction = &test.transaction;
    let Indexes { data, gas, value } = &post.indexes;
    let value = transaction.value.get(*value).ok_or("no such value")?;
    let legacy = TxLegacy {
        chain_id: None,
        nonce: transaction.nonce.to(),
        gas_price: transaction.gas_price.ok_or("no gas price")?.to(),
        gas_limit: transaction.gas_limit.get(*gas).ok_or("no such gas limit")?.to(),
        to: match transaction.to.as_str() {
            "" => TxKind::Create,
            to => TxKind::Call(to.parse().map_err(|_| format!("bad recipient {to}"))?),
        },
        value: value.parse().map_err(|_| format!("undecodable transaction: value {value}"))?,
        input: transaction.data.get(*data).ok_or("no such data")?.clone(),
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
