//! The binary under test, transactions for it, and what tests ask of it time and again.

use alloy_consensus::{Transaction as _, TxEip1559, TxEnvelope};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Address, B256, Bytes, TxKind, U256, address, bytes, hex};
use quintet_testkit::accounts::{TestAccount, dev_account};
use quintet_testkit::process::Program;
use quintet_testkit::rpc::{CallError, HttpClient};
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};

/// The chain id of `quintet dev`.
pub(crate) const CHAIN_ID: u64 = 1337;
/// How long something that must happen may take.
const DEADLINE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);

/// Deploys a contract that adds one to slot 0 with every call, and logs the new count.
pub(crate) const COUNTER: Bytes = bytes!("6013600c60003960136000f36000546001018060005560005260206000a000");
/// Where [`COUNTER`] is when the first development account deploys it with its first transaction.
pub(crate) const COUNTER_ADDRESS: Address = address!("5FbDB2315678afecb367f032d93F642f64180aa3");

/// The node's binary with a command.
pub(crate) fn quintet(command: &str) -> Program {
    Program::new(env!("CARGO_BIN_EXE_quintet")).arg(command)
}

/// The node's binary with a command on a data directory.
pub(crate) fn quintet_on(command: &str, datadir: &Path) -> Program {
    quintet(command).arg("--datadir").arg(datadir)
}

/// A transaction of a development account that pays enough at any time.
pub(crate) fn transaction(nonce: u64, to: TxKind, value: u64, input: Bytes) -> TxEip1559 {
    TxEip1559 {
        chain_id: CHAIN_ID,
        nonce,
        gas_limit: if input.is_empty() && to != TxKind::Call(COUNTER_ADDRESS) { 21_000 } else { 200_000 },
        max_fee_per_gas: 100_000_000_000,
        max_priority_fee_per_gas: 1_000_000_000,
        to,
        value: U256::from(value),
        input,
        ..TxEip1559::default()
    }
}

/// A signed transfer of some wei.
pub(crate) fn transfer(from: &TestAccount, nonce: u64, to: Address, value: u64) -> TxEnvelope {
    from.sign(transaction(nonce, to.into(), value, Bytes::new())).into()
}

/// The first account's first transaction: deploys [`COUNTER`].
pub(crate) fn deploy_counter() -> TxEnvelope {
    let account = dev_account(0);
    let deployment = transaction(0, TxKind::Create, 0, COUNTER);
    assert_eq!(account.address.create(deployment.nonce()), COUNTER_ADDRESS);
    account.sign(deployment).into()
}

/// A signed call of [`COUNTER`].
pub(crate) fn count(from: &TestAccount, nonce: u64) -> TxEnvelope {
    from.sign(transaction(nonce, COUNTER_ADDRESS.into(), 0, Bytes::new())).into()
}

/// Sends a transaction.
pub(crate) async fn try_send(rpc: &HttpClient, transaction: &TxEnvelope) -> Result<B256, CallError> {
    let raw = hex::encode_prefixed(transaction.encoded_2718());
    let hash = rpc.call("eth_sendRawTransaction", json!([raw])).await?;
    assert_eq!(to_hash(&hash), *transaction.tx_hash());
    Ok(*transaction.tx_hash())
}

/// Sends a transaction that must be taken, and waits for its receipt, which must tell of success.
pub(crate) async fn send_and_wait(rpc: &HttpClient, transaction: &TxEnvelope) -> Value {
    let hash = try_send(rpc, transaction).await.expect("taken");
    let receipt = until("a receipt", async || {
        let receipt = call(rpc, "eth_getTransactionReceipt", json!([hash])).await;
        (!receipt.is_null()).then_some(receipt)
    });
    let receipt = receipt.await;
    assert_eq!(receipt["status"], "0x1", "{receipt}");
    receipt
}

/// Calls a method that must succeed.
pub(crate) async fn call(rpc: &HttpClient, method: &str, params: Value) -> Value {
    rpc.call(method, params).await.unwrap_or_else(|error| panic!("{method}: {error}"))
}

/// Calls a method that answers with a number.
pub(crate) async fn quantity(rpc: &HttpClient, method: &str, params: Value) -> U256 {
    to_quantity(&call(rpc, method, params).await)
}

/// Looks again and again until `look` finds something.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(start.elapsed() < DEADLINE, "no {what} in {DEADLINE:?}");
        tokio::time::sleep(POLL).await;
    }
}

/// A number of JSON-RPC.
pub(crate) fn to_quantity(value: &Value) -> U256 {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("no quantity: {value}"))
}

/// A number of JSON-RPC that fits 64 bits, such as a block's.
pub(crate) fn to_u64(value: &Value) -> u64 {
    to_quantity(value).to()
}

/// A hash of JSON-RPC.
pub(crate) fn to_hash(value: &Value) -> B256 {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("no hash: {value}"))
}
