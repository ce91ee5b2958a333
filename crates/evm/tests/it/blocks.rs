//! Building a block and executing it are one thing: the same receipts, the same diff, the same roots. And what
//! a block does beside its transactions.

use crate::specs::spec;
use alloy_consensus::{Eip658Value, Signed, TxEip1559, TxEip4844, TxLegacy, TxReceipt};
use alloy_eips::eip2935::{HISTORY_STORAGE_ADDRESS, HISTORY_STORAGE_CODE};
use alloy_eips::eip4788::{BEACON_ROOTS_ADDRESS, BEACON_ROOTS_CODE};
use alloy_eips::eip4895::Withdrawal;
use alloy_eips::eip7002::{WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS, WITHDRAWAL_REQUEST_PREDEPLOY_CODE};
use alloy_eips::eip7251::{CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS, CONSOLIDATION_REQUEST_PREDEPLOY_CODE};
use alloy_primitives::{Address, B256, Bytes, Signature, TxKind, U256, address, bytes, hex};
use quintet_chainspec::ChainSpec;
use quintet_evm::test_utils::MemoryState;
use quintet_evm::{
    BlockAttributes, BlockBuilder, BlockOutput, BuildError, BuiltBlock, ExecutionError, Remedy, TxError,
    execute_block,
};
use quintet_types::{Header, RecoveredBlock, StateReader, Transaction};

const ALICE: Address = address!("0xa11ce00000000000000000000000000000000001");
const BOB: Address = address!("0xb0b0000000000000000000000000000000000002");
const MINER: Address = address!("0xc0ffee0000000000000000000000000000000003");
const ETHER: u128 = 1_000_000_000_000_000_000;
const GWEI: u128 = 1_000_000_000;
const PARENT_HASH: B256 = B256::repeat_byte(0x77);

fn genesis_state() -> MemoryState {
    let mut state = MemoryState::default();
    state.insert(ALICE, 0, U256::from(100 * ETHER), Bytes::new(), []);
    for (address, code) in [
        (BEACON_ROOTS_ADDRESS, &BEACON_ROOTS_CODE),
        (HISTORY_STORAGE_ADDRESS, &HISTORY_STORAGE_CODE),
        (WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS, &WITHDRAWAL_REQUEST_PREDEPLOY_CODE),
        (CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS, &CONSOLIDATION_REQUEST_PREDEPLOY_CODE),
    ] {
        state.insert(address, 1, U256::ZERO, code.clone(), []);
    }
    state
}

fn parent(number: u64) -> Header {
    Header {
        number,
        timestamp: 1000,
        gas_limit: 30_000_000,
        gas_used: 15_000_000,
        base_fee_per_gas: Some(7),
        ..Header::default()
    }
}

fn attributes(fork: &str) -> BlockAttributes {
    let merged = matches!(fork, "Paris" | "Shanghai" | "Cancun" | "Prague" | "Osaka");
    BlockAttributes {
        timestamp: 1012,
        coinbase: MINER,
        fee_recipient: MINER,
        gas_limit: 30_000_000,
        difficulty: if merged { U256::ZERO } else { U256::from(131_072) },
        mix_hash: B256::repeat_byte(1),
        parent_beacon_block_root: Some(B256::repeat_byte(0xbe)),
        ..BlockAttributes::default()
    }
}

fn legacy(nonce: u64, to: TxKind, value: u128, input: Bytes) -> Transaction {
    let (gas_price, gas_limit) = (20 * GWEI, 200_000);
    let value = U256::from(value);
    let tx = TxLegacy { chain_id: None, nonce, gas_price, gas_limit, to, value, input };
    // Nobody here looks at the signature.
    Transaction::Legacy(Signed::new_unhashed(tx, Signature::new(U256::ONE, U256::ONE, false)))
}

/// A contract that logs, counts its calls in slot 0, and destroys itself when called with value.
const COUNTER: &[u8] = &hex!("34 6010 57 5f5f a0 5f54 6001 01 5f55 00 00 5b 33 ff");

/// The same without `PUSH0`, for forks before Shanghai.
const OLD_COUNTER: &[u8] = &hex!("34 6015 57 6000 6000 a0 6000 54 6001 01 6000 55 00 00 00 5b 33 ff");

/// Init code that returns `runtime`.
fn init_code(runtime: &[u8]) -> Bytes {
    let length = u8::try_from(runtime.len()).unwrap();
    let mut code = vec![0x60, length, 0x60, 12, 0x60, 0, 0x39, 0x60, length, 0x60, 0, 0xf3];
    code.extend_from_slice(runtime);
    code.into()
}

fn counter(fork: &str) -> Bytes {
    let push0 = matches!(fork, "Shanghai" | "Cancun" | "Prague" | "Osaka");
    init_code(if push0 { COUNTER } else { OLD_COUNTER })
}

/// A transfer, a contract, two calls of it, and a call that runs out of gas.
fn transactions(fork: &str) -> Vec<Transaction> {
    let contract = TxKind::Call(ALICE.create(1));
    let mut list = vec![
        legacy(0, TxKind::Call(BOB), ETHER, Bytes::new()),
        legacy(1, TxKind::Create, 0, counter(fork)),
        legacy(2, contract, 0, Bytes::new()),
        legacy(3, contract, 0, Bytes::new()),
        legacy(4, TxKind::Create, 0, bytes!("fe")),
    ];
    if !matches!(fork, "Frontier" | "Homestead" | "Byzantium" | "Constantinople" | "Istanbul" | "Berlin") {
        let tx = TxEip1559 {
            chain_id: 1,
            nonce: 5,
            gas_limit: 21_000,
            max_fee_per_gas: 3 * GWEI,
            max_priority_fee_per_gas: GWEI,
            to: TxKind::Call(BOB),
            value: U256::from(1),
            ..TxEip1559::default()
        };
        let signature = Signature::new(U256::ONE, U256::ONE, false);
        list.push(Transaction::Eip1559(Signed::new_unhashed(tx, signature)));
    }
    list
}

fn build(
    spec: &ChainSpec,
    attributes: BlockAttributes,
    state: &MemoryState,
    transactions: &[Transaction],
) -> BuiltBlock {
    let mut roots = state;
    let parent = parent(9);
    let mut builder = BlockBuilder::start(spec, &parent, PARENT_HASH, attributes, state, &mut roots).unwrap();
    for transaction in transactions {
        builder.try_transaction(transaction, ALICE).unwrap();
    }
    builder.finish().unwrap()
}

fn execute(spec: &ChainSpec, built: &BuiltBlock, state: &MemoryState) -> Result<BlockOutput, ExecutionError> {
    let hash = built.block.header.hash_slow();
    let block = RecoveredBlock { hash, block: built.block.clone(), senders: built.senders.clone() };
    execute_block(spec, &block, MINER, state, &mut &*state)
}

#[test]
fn what_is_built_executes_to_the_same() {
    for fork in [
        "Frontier",
        "Homestead",
        "Byzantium",
        "Constantinople",
        "Istanbul",
        "Berlin",
        "London",
        "Paris",
        "Shanghai",
        "Cancun",
        "Prague",
        "Osaka",
    ] {
        let (spec, state) = (spec(fork), genesis_state());
        let transactions = transactions(fork);
        let built = build(&spec, attributes(fork), &state, &transactions);
        assert_eq!(built.receipts.len(), transactions.len(), "{fork}");
        let output = execute(&spec, &built, &state).unwrap();
        assert_eq!(output.receipts, built.receipts, "{fork}");
        assert_eq!(output.diff, built.diff, "{fork}");
        assert_eq!(output.requests, built.requests, "{fork}");
        assert_eq!(output.gas_used, built.block.header.gas_used, "{fork}");

        let mut after = state.clone();
        after.apply(&built.diff);
        let contract = after.account(&ALICE.create(1)).unwrap().unwrap();
        assert_eq!(contract.incarnation, 10, "{fork}");
        assert_eq!(after.storage(&ALICE.create(1), 10, &U256::ZERO).unwrap(), U256::from(2), "{fork}");
        assert_eq!(built.receipts[2].logs().len(), 1, "{fork}");
        assert_eq!(built.block.header.logs_bloom, built.receipts[2].bloom(), "{fork}");
    }
}

#[test]
fn receipts_before_byzantium_carry_the_root_after_each_transaction() {
    let (spec, state) = (spec("Homestead"), genesis_state());
    let list = transactions("Homestead");
    let whole = build(&spec, attributes("Homestead"), &state, &list);
    for count in 1..=list.len() {
        let part = build(&spec, attributes("Homestead"), &state, &list[..count]);
        let mut after = state.clone();
        after.apply(&part.diff);
        // The block's reward is not yet paid when its last receipt is made.
        let mut reward = after.clone();
        let miner = after.account(&MINER).unwrap().unwrap();
        reward.insert(MINER, 0, miner.balance - U256::from(5 * ETHER), Bytes::new(), []);
        let status = whole.receipts[count - 1].status_or_post_state();
        assert_eq!(status, Eip658Value::PostState(reward.root()), "after {count}");
    }
    let status = build(&crate::specs::spec("Byzantium"), attributes("Byzantium"), &state, &list).receipts;
    assert_eq!(status[3].status_or_post_state(), Eip658Value::Eip658(true));
    assert_eq!(status[4].status_or_post_state(), Eip658Value::Eip658(false));
}

#[test]
fn a_rejected_transaction_leaves_no_trace() {
    let (spec, state) = (spec("Osaka"), genesis_state());
    let good = transactions("Osaka");
    let clean = build(&spec, attributes("Osaka"), &state, &good);

    let stale = legacy(0, TxKind::Call(BOB), 1, Bytes::new());
    let early = legacy(99, TxKind::Call(BOB), 1, Bytes::new());
    let rich = legacy(1, TxKind::Call(BOB), 1000 * ETHER, Bytes::new());
    let large = legacy(1, TxKind::Create, 0, vec![0; 50_000].into());
    let other_chain = {
        let tx = TxEip1559 { chain_id: 2, nonce: 1, gas_limit: 21_000, ..TxEip1559::default() };
        let signature = Signature::new(U256::ONE, U256::ONE, false);
        Transaction::Eip1559(Signed::new_unhashed(tx, signature))
    };
    let blob = {
        let tx = TxEip4844 { chain_id: 1, nonce: 1, gas_limit: 21_000, to: BOB, ..TxEip4844::default() };
        let tx = TxEip4844 { max_fee_per_gas: GWEI, max_fee_per_blob_gas: 1, ..tx };
        let signature = Signature::new(U256::ONE, U256::ONE, false);
        Transaction::Eip4844(Signed::new_unhashed(tx, signature))
    };
    let parent = parent(9);
    let mut roots = &state;
    let mut builder =
        BlockBuilder::start(&spec, &parent, PARENT_HASH, attributes("Osaka"), &state, &mut roots).unwrap();
    builder.try_transaction(&good[0], ALICE).unwrap();
    let mut remedy = |transaction: &Transaction, sender| {
        let Err(BuildError::Rejected(error)) = builder.try_transaction(transaction, sender) else {
            panic!("not rejected")
        };
        error.remedy()
    };
    assert_eq!(remedy(&stale, ALICE), Remedy::Stale);
    assert_eq!(remedy(&early, ALICE), Remedy::SkipSender);
    assert_eq!(remedy(&rich, ALICE), Remedy::SkipSender);
    assert_eq!(remedy(&large, ALICE), Remedy::Never);
    assert_eq!(remedy(&other_chain, ALICE), Remedy::Never);
    assert_eq!(remedy(&blob, ALICE), Remedy::Never);
    assert_eq!(remedy(&good[0], BOB), Remedy::SkipSender);
    for transaction in &good[1..] {
        builder.try_transaction(transaction, ALICE).unwrap();
    }
    let built = builder.finish().unwrap();
    assert_eq!(built.block, clean.block);
    assert_eq!(built.diff, clean.diff);
}

#[test]
fn a_full_block_takes_no_more() {
    let (spec, state) = (spec("Osaka"), genesis_state());
    let attributes = BlockAttributes { gas_limit: 210_000, ..attributes("Osaka") };
    let parent = parent(9);
    let mut roots = &state;
    let mut builder =
        BlockBuilder::start(&spec, &parent, PARENT_HASH, attributes, &state, &mut roots).unwrap();
    let included = builder.try_transaction(&legacy(0, TxKind::Call(BOB), 1, Bytes::new()), ALICE).unwrap();
    assert_eq!(included.gas_used, 21_000);
    assert_eq!(included.tip, 20 * GWEI - 7);
    assert_eq!(builder.gas_left(), 189_000);
    let Err(BuildError::Rejected(error)) =
        builder.try_transaction(&legacy(1, TxKind::Call(BOB), 1, Bytes::new()), ALICE)
    else {
        panic!()
    };
    assert_eq!(error, TxError::GasLimitReached);
    assert_eq!(error.remedy(), Remedy::BlockFull);
}

#[test]
fn a_bad_block_names_its_transaction() {
    let (spec, state) = (spec("London"), genesis_state());
    let mut built = build(&spec, attributes("London"), &state, &transactions("London"));
    let again = built.block.body.transactions[0].clone();
    let hash = *again.tx_hash();
    built.block.body.transactions.insert(2, again);
    built.senders.push(ALICE);
    let error = execute(&spec, &built, &state).unwrap_err();
    assert!(error.is_invalid_block());
    let expected = format!("could not apply tx 2 [{hash}]: nonce too low: address {ALICE}, tx: 0 state: 2");
    assert_eq!(error.to_string(), expected);
    built.senders.pop();
    assert!(matches!(execute(&spec, &built, &state), Err(ExecutionError::Senders { .. })));
}

#[test]
fn miners_and_uncles_are_paid_until_the_merge() {
    let balance_after = |fork: &str, uncles: Vec<Header>| {
        let attributes = BlockAttributes { uncles, ..attributes(fork) };
        let state = genesis_state();
        let built = build(&spec(fork), attributes, &state, &[]);
        let mut after = state.clone();
        after.apply(&built.diff);
        move |address: Address| {
            after.account(&address).unwrap().map(|account| account.balance.to::<u128>()).unwrap_or_default()
        }
    };
    let uncle = |number| Header { number, beneficiary: BOB, ..Header::default() };
    for (fork, reward) in [("Frontier", 5 * ETHER), ("Byzantium", 3 * ETHER), ("London", 2 * ETHER)] {
        let balance = balance_after(fork, vec![uncle(9), uncle(4)]);
        assert_eq!(balance(MINER), reward + reward / 32 * 2, "{fork}");
        assert_eq!(balance(BOB), reward / 8 * 7 + reward / 8 * 2, "{fork}");
    }
    assert_eq!(balance_after("Paris", vec![])(MINER), 0);

    let attributes = BlockAttributes { uncles: vec![uncle(10)], ..attributes("London") };
    let (spec, state, parent) = (spec("London"), genesis_state(), parent(9));
    let mut roots = &state;
    let builder = BlockBuilder::start(&spec, &parent, PARENT_HASH, attributes, &state, &mut roots).unwrap();
    assert!(matches!(builder.finish(), Err(ExecutionError::UncleNumber { uncle: 10, block: 10 })));
}

#[test]
fn clique_pays_fees_to_the_signer_and_no_reward() {
    let genesis = serde_json::json!({
        "config": {
            "chainId": 1, "homesteadBlock": 0, "eip150Block": 0, "eip155Block": 0, "eip158Block": 0,
            "byzantiumBlock": 0, "constantinopleBlock": 0, "petersburgBlock": 0, "istanbulBlock": 0,
            "clique": { "period": 5, "epoch": 30000 },
        },
        "difficulty": "0x1", "gasLimit": "0x1c9c380", "alloc": {},
        "extraData": format!("0x{}", "00".repeat(32 + 20 + 65)),
    });
    let spec = ChainSpec::from_json(&genesis.to_string()).unwrap();
    let attributes = BlockAttributes { coinbase: Address::ZERO, ..attributes("Istanbul") };
    let state = genesis_state();
    let built = build(&spec, attributes, &state, &transactions("Istanbul")[..1]);
    assert_eq!(built.block.header.beneficiary, Address::ZERO);
    let miner = built.diff.accounts[&MINER].after.unwrap();
    assert_eq!(miner.balance, U256::from(21_000 * 20 * GWEI));
    assert_eq!(execute(&spec, &built, &state).unwrap().diff, built.diff);
}

#[test]
fn withdrawals_and_system_contracts() {
    let (spec, state) = (spec("Osaka"), genesis_state());
    let withdrawal = |amount| Withdrawal { address: BOB, amount, ..Withdrawal::default() };
    let withdrawals = vec![withdrawal(3), withdrawal(0), Withdrawal { address: MINER, ..withdrawal(0) }];
    let attributes = BlockAttributes { withdrawals, ..attributes("Osaka") };
    let built = build(&spec, attributes, &state, &[]);
    assert_eq!(built.diff.accounts[&BOB].after.unwrap().balance, U256::from(3 * GWEI));
    assert!(!built.diff.accounts.contains_key(&MINER));
    // EIP-4788: the time at its index, the root 8191 slots on; EIP-2935: the parent's hash at its number.
    let beacon = &built.diff.accounts[&BEACON_ROOTS_ADDRESS].storage;
    assert_eq!(beacon[&U256::from(1012)], U256::from(1012));
    assert_eq!(beacon[&U256::from(1012 + 8191)], U256::from_be_bytes([0xbe; 32]));
    let history = &built.diff.accounts[&HISTORY_STORAGE_ADDRESS].storage;
    assert_eq!(history[&U256::from(9)], U256::from_be_bytes(PARENT_HASH.0));
    assert!(built.requests.is_empty());
    let header = &built.block.header;
    assert_eq!(header.requests_hash, Some(built.requests.requests_hash()));
    assert!(header.withdrawals_root.is_some() && header.blob_gas_used == Some(0));
    assert_eq!(execute(&spec, &built, &state).unwrap().diff, built.diff);

    let bare = MemoryState::default();
    let error = execute(&spec, &built, &bare).unwrap_err();
    assert!(matches!(error, ExecutionError::SystemContractMissing(_)), "{error}");
    assert!(error.is_invalid_block());
}

#[test]
fn a_contract_destroyed_and_made_again_begins_a_new_life() {
    let (spec, mut state) = (spec("Istanbul"), genesis_state());
    // A factory that CREATE2s its calldata with salt 0.
    let factory = bytes!("36 6000 6000 37 6000 36 6000 34 f5 00");
    state.insert(BOB, 1, U256::ZERO, factory, []);
    let init = counter("Istanbul");
    let contract = BOB.create2_from_code(B256::ZERO, &init);
    let make = |nonce| legacy(nonce, TxKind::Call(BOB), 0, init.clone());
    let count = |nonce| legacy(nonce, TxKind::Call(contract), 0, Bytes::new());
    let destroy = |nonce| legacy(nonce, TxKind::Call(contract), 1, Bytes::new());

    let first = build(&spec, attributes("Istanbul"), &state, &[make(0), count(1), count(2)]);
    state.apply(&first.diff);
    assert_eq!(first.diff.accounts[&contract].storage[&U256::ZERO], U256::from(2));

    // One block on: destroyed, made again, and counted once.
    let mut roots = &state;
    let parent = parent(10);
    let mut builder =
        BlockBuilder::start(&spec, &parent, PARENT_HASH, attributes("Istanbul"), &state, &mut roots).unwrap();
    for transaction in [destroy(3), make(4), count(5)] {
        builder.try_transaction(&transaction, ALICE).unwrap();
    }
    let second = builder.finish().unwrap();
    let change = &second.diff.accounts[&contract];
    assert!(change.storage_wiped());
    assert_eq!((change.before.unwrap().incarnation, change.after.unwrap().incarnation), (10, 11));
    assert_eq!(change.storage[&U256::ZERO], U256::from(1));
    state.apply(&second.diff);

    // Destroyed for good.
    let mut roots = &state;
    let parent = self::parent(11);
    let mut builder =
        BlockBuilder::start(&spec, &parent, PARENT_HASH, attributes("Istanbul"), &state, &mut roots).unwrap();
    builder.try_transaction(&destroy(6), ALICE).unwrap();
    let third = builder.finish().unwrap();
    let change = &third.diff.accounts[&contract];
    assert_eq!(change.after, None);
    assert!(change.storage.is_empty() && change.storage_wiped());
}
