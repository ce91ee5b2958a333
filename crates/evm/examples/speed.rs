//! What a transaction costs: `cargo run --release -p quintet-evm --example speed`. Blocks of transfers, of token
//! transfers and of storage writes are executed on a state in memory; what the importer computes of the result
//! beside is shown next to it.

#![allow(clippy::cast_precision_loss)] // The figures are small, and printed rounded.

use alloy_consensus::{Signed, TxLegacy};
use alloy_primitives::map::HashMap;
use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, Signature, TxKind, U256, hex, keccak256};
use quintet_chainspec::ChainSpec;
use quintet_evm::{PostStateRoot, execute_block, logs_bloom};
use quintet_types::{
    Account, Block, Body, Header, RecoveredBlock, StateDiff, StateError, StateReader, Transaction,
};
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const GENESIS: &str = r#"{"config": {"chainId": 1, "homesteadBlock": 0, "eip150Block": 0, "eip155Block": 0,
    "eip158Block": 0, "byzantiumBlock": 0, "constantinopleBlock": 0, "petersburgBlock": 0, "istanbulBlock": 0},
    "gasLimit": 1, "difficulty": 1, "alloc": {}}"#;

/// Takes `amount` of the caller's balance, adds it to `to`'s and logs `Transfer`.
const TOKEN: &[u8] = &hex!(
    "3360005260006020526040600020805460243580910390915560043560005260406000208054820190556000526004"
    "35337fddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef60206000a360016000526020"
    "6000f3"
);
/// Writes `value` (third word) to `count` (second) slots behind `first`.
const CHURN: &[u8] = &hex!("6000356020355b604035818301556001900380600657" "00");

const ACCOUNTS: u64 = 10_000;
const BLOCKS: u64 = 100;
const CHURN_SLOTS: u64 = 100;

/// A state in memory.
#[derive(Default)]
struct State {
    accounts: HashMap<Address, Account>,
    storage: HashMap<(Address, U256), U256>,
    code: HashMap<B256, Bytes>,
}

impl State {
    fn new() -> Self {
        let mut state = Self::default();
        for n in 0..ACCOUNTS {
            let account = Account { balance: U256::from(1) << 80, ..Account::new(0) };
            state.accounts.insert(address(n), account);
            state.storage.insert((token(), balance_slot(address(n))), U256::from(1) << 60);
        }
        for (address, code) in [(token(), TOKEN), (churn(), CHURN)] {
            let code_hash = keccak256(code);
            state.code.insert(code_hash, code.into());
            state.accounts.insert(address, Account { code_hash, nonce: 1, ..Account::new(0) });
        }
        state
    }

    fn apply(&mut self, diff: &StateDiff) {
        for (address, change) in &diff.accounts {
            self.accounts.extend(change.after.map(|account| (*address, account)));
            self.storage.extend(change.storage.iter().map(|(slot, value)| ((*address, *slot), *value)));
        }
    }
}

impl StateReader for State {
    fn account(&self, address: &Address) -> Result<Option<Account>, StateError> {
        Ok(self.accounts.get(address).copied())
    }
    fn storage(&self, address: &Address, _incarnation: u64, slot: &U256) -> Result<U256, StateError> {
        Ok(self.storage.get(&(*address, *slot)).copied().unwrap_or_default())
    }
    fn has_storage(&self, address: &Address, _incarnation: u64) -> Result<bool, StateError> {
        Ok(self.storage.keys().any(|(of, _)| of == address))
    }
    fn code(&self, hash: &B256) -> Result<Option<Bytes>, StateError> {
        Ok(self.code.get(hash).cloned())
    }
    fn block_hash(&self, _number: u64) -> Result<Option<B256>, StateError> {
        Ok(None)
    }
}

/// Never asked: the blocks are later than Byzantium.
struct NoRoots;

impl PostStateRoot for NoRoots {
    fn root(&mut self, _diff: &StateDiff) -> Result<B256, StateError> {
        Ok(KECCAK256_EMPTY)
    }
}

fn address(n: u64) -> Address {
    Address::from_word(keccak256(n.to_be_bytes()))
}

fn token() -> Address {
    Address::repeat_byte(0x70)
}

fn churn() -> Address {
    Address::repeat_byte(0xc4)
}

fn balance_slot(owner: Address) -> U256 {
    keccak256([owner.into_word(), B256::ZERO].concat()).into()
}

/// What transaction `n` of all is.
type Make = fn(n: u64) -> (Address, U256, Bytes, u64);

fn transfer(n: u64) -> (Address, U256, Bytes, u64) {
    (address(n * 7919 % ACCOUNTS), U256::from(n), Bytes::new(), 21_000)
}

fn token_transfer(n: u64) -> (Address, U256, Bytes, u64) {
    let words = [address(n * 7919 % ACCOUNTS).into_word(), B256::from(U256::from(n + 1))].concat();
    (token(), U256::ZERO, [&hex!("a9059cbb")[..], &words].concat().into(), 100_000)
}

fn storage_churn(n: u64) -> (Address, U256, Bytes, u64) {
    let words = [n % 1000 * CHURN_SLOTS, CHURN_SLOTS, n + 1].map(|word| B256::from(U256::from(word)));
    (churn(), U256::ZERO, words.concat().into(), 5_000_000)
}

/// Block `number` with its senders: each account sends in turn.
fn block(number: u64, count: u64, make: Make) -> RecoveredBlock {
    let first = (number - 1) * count;
    let transaction = |n: u64| {
        let (to, value, input, gas_limit) = make(n);
        let (nonce, to) = (n / ACCOUNTS, TxKind::Call(to));
        let legacy = TxLegacy { chain_id: None, nonce, gas_price: 1, gas_limit, to, value, input };
        // Nobody looks at the signature: the senders are given.
        Transaction::Legacy(Signed::new_unhashed(legacy, Signature::new(U256::ONE, U256::ONE, false)))
    };
    let transactions = (first..first + count).map(transaction).collect();
    let difficulty = U256::from(1);
    let header = Header { number, gas_limit: 1 << 40, difficulty, timestamp: number, ..Header::default() };
    let senders = (first..first + count).map(|n| address(n % ACCOUNTS)).collect();
    let body = Body { transactions, ..Body::default() };
    RecoveredBlock { hash: B256::ZERO, block: Block { header, body }, senders }
}

fn timed<T>(total: &mut Duration, run: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = run();
    *total += start.elapsed();
    result
}

fn measure(spec: &ChainSpec, what: &str, count: u64, make: Make) {
    let mut state = State::new();
    let mut times = [Duration::ZERO; 4];
    let mut gas = 0;
    for number in 1..=BLOCKS {
        let block = block(number, count, make);
        let [execution, receipts, bloom, transactions] = &mut times;
        let run = || execute_block(spec, &block, Address::repeat_byte(0xcb), &state, &mut NoRoots);
        let output = timed(execution, run).expect("the block is valid");
        assert!(output.receipts.iter().all(alloy_consensus::TxReceipt::status), "a transaction failed");
        timed(receipts, || alloy_consensus::proofs::calculate_receipt_root(&output.receipts));
        timed(bloom, || logs_bloom(&output.receipts));
        timed(transactions, || {
            alloy_consensus::proofs::calculate_transaction_root(&block.block.body.transactions)
        });
        gas += output.gas_used;
        state.apply(&output.diff);
    }
    let each = times.map(|time| time.as_secs_f64() * 1e6 / (BLOCKS * count) as f64);
    let rate = gas as f64 / times[0].as_secs_f64() / 1e6;
    let [execution, receipts, bloom, transactions] = each;
    println!(
        "{what:>15} | {execution:>9.2} {rate:>8.0} | {receipts:>13.2} {bloom:>6.2} {transactions:>17.2}"
    );
}

fn main() {
    let spec = ChainSpec::from_json(GENESIS).expect("the genesis is sound");
    println!("us a transaction | execution   Mgas/s | receipts root  bloom transactions root");
    measure(&spec, "transfers", 300, transfer);
    measure(&spec, "token transfers", 150, token_transfer);
    measure(&spec, "storage writes", 15, storage_churn);
}
