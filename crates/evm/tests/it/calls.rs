//! `eth_call`, `eth_estimateGas` and `eth_createAccessList` as geth answers them.

use crate::specs::spec;
use alloy_primitives::{Address, B256, Bytes, TxKind, U256, address, bytes, keccak256};
use quintet_chainspec::ChainSpec;
use quintet_evm::test_utils::MemoryState;
use quintet_evm::{
    AccountOverride, BlockOverrides, CallError, CallLimits, CallOutcome, CallRequest, CreatedAccessList,
    Simulation, StateOverrides,
};
use quintet_types::{Header, StateReader};
use revm::bytecode::Bytecode;
use revm::context::{Context, TxEnv};
use revm::database::{CacheDB, EmptyDB};
use revm::state::AccountInfo;
use revm::{ExecuteEvm, MainBuilder, MainContext};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const RICH: Address = address!("0x1000000000000000000000000000000000000001");
const CONTRACT: Address = address!("0x2000000000000000000000000000000000000002");
const OTHER: Address = address!("0x3000000000000000000000000000000000000003");
const ETHER: u64 = 1_000_000_000_000_000_000;
const GAS_CAP: u64 = 50_000_000;

fn state(code: Bytes) -> MemoryState {
    let mut state = MemoryState::default();
    state.insert(RICH, 5, U256::from(ETHER), Bytes::new(), []);
    state.insert(CONTRACT, 1, U256::ZERO, code, [(U256::from(1), U256::from(0x2a))]);
    state
}

fn header() -> Header {
    Header {
        number: 1000,
        timestamp: 1_000_000,
        gas_limit: 36_000_000,
        base_fee_per_gas: Some(7),
        excess_blob_gas: Some(0),
        mix_hash: B256::repeat_byte(9),
        ..Header::default()
    }
}

/// Everything that a simulation borrows.
struct Bench {
    spec: ChainSpec,
    header: Header,
    state: MemoryState,
    state_overrides: StateOverrides,
    block_overrides: BlockOverrides,
    gas_cap: u64,
}

impl Bench {
    fn new(code: Bytes) -> Self {
        Self {
            spec: spec("Osaka"),
            header: header(),
            state: state(code),
            state_overrides: StateOverrides::new(),
            block_overrides: BlockOverrides::default(),
            gas_cap: GAS_CAP,
        }
    }

    fn simulation<'a>(&'a self, cancel: Option<&'a AtomicBool>) -> Simulation<'a> {
        Simulation {
            spec: &self.spec,
            header: &self.header,
            beneficiary: self.header.beneficiary,
            state: &self.state,
            state_overrides: &self.state_overrides,
            block_overrides: &self.block_overrides,
            limits: CallLimits { gas_cap: self.gas_cap, cancel },
        }
    }

    fn call(&self, request: &CallRequest) -> Result<CallOutcome, CallError> {
        self.simulation(None).call(request)
    }

    fn estimate(&self, request: &CallRequest) -> Result<u64, CallError> {
        self.simulation(None).estimate_gas(request)
    }
}

fn to_contract() -> CallRequest {
    CallRequest { to: Some(CONTRACT), ..CallRequest::default() }
}

fn word(outcome: &CallOutcome) -> U256 {
    match outcome {
        CallOutcome::Success { output, .. } => U256::from_be_slice(output),
        other => panic!("{other:?}"),
    }
}

/// Runs `code` and returns geth's error.
fn error_of(code: Bytes) -> String {
    let outcome = Bench::new(code).call(&to_contract()).unwrap();
    outcome.error().expect("a failure").to_owned()
}

#[test]
fn reads_state() {
    // PUSH1 1 SLOAD PUSH0 MSTORE PUSH1 32 PUSH0 RETURN
    let bench = Bench::new(bytes!("6001545f5260205ff3"));
    let outcome = bench.call(&to_contract()).unwrap();
    assert_eq!(word(&outcome), U256::from(0x2a));
    assert_eq!(outcome.gas_used(), 21_000 + 2100 + 3 + 2 + 3 + 3 + 3 + 2);
}

#[test]
fn words_failures_as_geth() {
    assert_eq!(error_of(bytes!("01")), "stack underflow (0 <=> 2)");
    assert_eq!(error_of(bytes!("600150fe")), "invalid opcode: INVALID");
    assert_eq!(error_of(bytes!("0c")), "invalid opcode: opcode 0xc not defined");
    assert_eq!(error_of(bytes!("600456")), "invalid jump destination");
    assert_eq!(error_of(bytes!("5b5f56")), "out of gas");
    assert_eq!(error_of(bytes!("5b5f5f56")), "stack limit reached 1024 (1023)");
    assert_eq!(error_of(bytes!("5f5ffd")), "execution reverted");
    assert_eq!(error_of(bytes!("60015f5f3e")), "return data out of bounds");
}

#[test]
fn failure_inside_is_only_a_zero() {
    // CALLs itself in a way that fails at depth one: the outer frame returns the zero.
    // CALLDATASIZE PUSH1 0x14 JUMPI ; PUSH0*5 ADDRESS GAS CALL ... with one byte of input
    let code = bytes!("36601557 5f5f60015f5f305af1 5f5260205ff3 5b fe");
    let outcome = Bench::new(code).call(&to_contract()).unwrap();
    assert_eq!(word(&outcome), U256::ZERO);
}

#[test]
fn reverts_with_data() {
    // MSTORE(0, 0x2a) REVERT(0, 32)
    let outcome = Bench::new(bytes!("602a5f5260205ffd")).call(&to_contract()).unwrap();
    let CallOutcome::Revert { output, .. } = outcome else { panic!("{outcome:?}") };
    assert_eq!(U256::from_be_slice(&output), U256::from(0x2a));
}

#[test]
fn price_decides_what_is_checked() {
    // BASEFEE PUSH0 MSTORE PUSH1 32 PUSH0 RETURN
    let bench = Bench::new(bytes!("485f5260205ff3"));
    assert_eq!(word(&bench.call(&to_contract()).unwrap()), U256::ZERO);

    let priced = CallRequest { gas_price: Some(10), from: Some(RICH), ..to_contract() };
    assert_eq!(word(&bench.call(&priced).unwrap()), U256::from(7));

    let error = bench.call(&CallRequest { gas_price: Some(6), ..priced.clone() }).unwrap_err();
    let expected = format!(
        "err: max fee per gas less than block base fee: address {RICH}, maxFeePerGas: 6, baseFee: 7 \
         (supplied gas {GAS_CAP})"
    );
    assert_eq!(error.to_string(), expected);

    let tip = CallRequest {
        from: Some(RICH),
        max_fee_per_gas: Some(8),
        max_priority_fee_per_gas: Some(9),
        ..to_contract()
    };
    let expected = format!(
        "err: max priority fee per gas higher than max fee per gas: address {RICH}, \
         maxPriorityFeePerGas: 9, maxFeePerGas: 8 (supplied gas {GAS_CAP})"
    );
    assert_eq!(bench.call(&tip).unwrap_err().to_string(), expected);

    let poor = CallRequest { gas_price: Some(10), ..to_contract() };
    let expected = format!(
        "err: insufficient funds for gas * price + value: address {} have 0 want {} (supplied gas {GAS_CAP})",
        Address::ZERO,
        10 * GAS_CAP
    );
    assert_eq!(bench.call(&poor).unwrap_err().to_string(), expected);

    let twice = CallRequest { gas_price: Some(10), max_fee_per_gas: Some(10), ..to_contract() };
    assert!(matches!(bench.call(&twice), Err(CallError::TwoPrices)));
}

#[test]
fn value_needs_funds_even_without_a_price() {
    let bench = Bench::new(Bytes::new());
    let request = CallRequest { value: Some(U256::from(1)), ..to_contract() };
    let expected = format!(
        "err: insufficient funds for gas * price + value: address {} have 0 want 1 (supplied gas {GAS_CAP})",
        Address::ZERO
    );
    assert_eq!(bench.call(&request).unwrap_err().to_string(), expected);
    assert!(bench.call(&CallRequest { from: Some(RICH), ..request }).unwrap().error().is_none());
}

#[test]
fn a_contract_may_be_the_sender() {
    let bench = Bench::new(bytes!("00"));
    let request = CallRequest { from: Some(CONTRACT), ..to_contract() };
    assert!(bench.call(&request).unwrap().error().is_none());
}

#[test]
fn gas_is_capped() {
    // GAS PUSH0 MSTORE PUSH1 32 PUSH0 RETURN
    let bench = Bench::new(bytes!("5a5f5260205ff3"));
    let left = |gas| word(&bench.call(&CallRequest { gas, ..to_contract() }).unwrap());
    assert_eq!(left(None), U256::from(GAS_CAP - 21_000 - 2));
    assert_eq!(left(Some(u64::MAX)), U256::from(GAS_CAP - 21_000 - 2));
    assert_eq!(left(Some(30_000)), U256::from(30_000 - 21_000 - 2));
    let error = bench.call(&CallRequest { gas: Some(20_000), ..to_contract() }).unwrap_err();
    assert_eq!(error.to_string(), "err: intrinsic gas too low: have 20000, want 21000 (supplied gas 20000)");
}

#[test]
fn overrides_state_and_block() {
    // SLOAD(1) + SLOAD(2) + NUMBER
    let mut bench = Bench::new(bytes!("6001546002540143015f5260205ff3"));
    assert_eq!(word(&bench.call(&to_contract()).unwrap()), U256::from(0x2a + 1000));
    bench.block_overrides.number = Some(5);
    let slots = BTreeMap::from([(U256::from(2), U256::from(100))]);
    let account = AccountOverride { state_diff: Some(slots.clone()), ..AccountOverride::default() };
    bench.state_overrides.insert(CONTRACT, account);
    assert_eq!(word(&bench.call(&to_contract()).unwrap()), U256::from(0x2a + 100 + 5));
    let account = AccountOverride { state: Some(slots.clone()), ..AccountOverride::default() };
    bench.state_overrides.insert(CONTRACT, account);
    assert_eq!(word(&bench.call(&to_contract()).unwrap()), U256::from(105));

    // Code, balance and nonce of an account that is not there: SELFBALANCE
    let account = AccountOverride {
        code: Some(bytes!("475f5260205ff3")),
        balance: Some(U256::from(77)),
        nonce: Some(1),
        ..AccountOverride::default()
    };
    bench.state_overrides.insert(OTHER, account);
    let request = CallRequest { to: Some(OTHER), ..CallRequest::default() };
    assert_eq!(word(&bench.call(&request).unwrap()), U256::from(77));

    let both =
        AccountOverride { state: Some(slots.clone()), state_diff: Some(slots), ..AccountOverride::default() };
    bench.state_overrides.insert(OTHER, both);
    let error = bench.call(&request).unwrap_err();
    assert_eq!(error.to_string(), format!("account {OTHER} has both 'state' and 'stateDiff'"));
}

#[test]
fn refuses_another_chain() {
    let bench = Bench::new(Bytes::new());
    let error = bench.call(&CallRequest { chain_id: Some(5), ..to_contract() }).unwrap_err();
    assert_eq!(error.to_string(), "chainId does not match node's (have=5, want=1)");
}

#[test]
fn can_be_interrupted_in_a_loop_and_in_a_tree_of_calls() {
    let endless = bytes!("5b5f56");
    // Calls itself twice with all its gas, and again below: no jump in sight.
    let tree = bytes!("5f5f5f5f5f305af1505f5f5f5f5f305af150");
    for code in [endless, tree] {
        let mut bench = Bench::new(code);
        bench.gas_cap = u64::MAX / 2;
        let cancel = AtomicBool::new(false);
        let started = Instant::now();
        let result = std::thread::scope(|scope| {
            let call = scope.spawn(|| bench.simulation(Some(&cancel)).call(&to_contract()));
            std::thread::sleep(Duration::from_millis(20));
            cancel.store(true, Ordering::Relaxed);
            call.join().unwrap()
        });
        assert!(matches!(result, Err(CallError::Interrupted)), "{result:?}");
        assert!(started.elapsed() < Duration::from_secs(5));
    }
}

#[test]
fn estimates_a_transfer_exactly() {
    let bench = Bench::new(Bytes::new());
    let request = CallRequest {
        from: Some(RICH),
        to: Some(OTHER),
        value: Some(U256::from(1)),
        ..CallRequest::default()
    };
    assert_eq!(bench.estimate(&request).unwrap(), 21_000);
}

#[test]
fn estimate_suffices_and_is_close() {
    // Stores in slot 0 and clears slot 1 (a refund), then needs 100,000 gas left to go on.
    let code = bytes!("60015f555f600155 5a620186a0 10 6014 57 5f5ffd 5b 00");
    let bench = Bench::new(code);
    let estimate = bench.estimate(&to_contract()).unwrap();
    let with = |gas| bench.call(&CallRequest { gas: Some(gas), ..to_contract() }).unwrap();
    assert!(with(estimate).error().is_none());
    assert!(with(estimate * 97 / 100).error().is_some());
}

#[test]
fn estimate_says_why_there_is_none() {
    let bench = Bench::new(bytes!("602a5f5260205ffd"));
    let Err(CallError::Reverted(data)) = bench.estimate(&to_contract()) else { panic!() };
    assert_eq!(U256::from_be_slice(&data), U256::from(0x2a));

    let bench = Bench::new(bytes!("5b5f56"));
    let error = bench.estimate(&to_contract()).unwrap_err();
    assert_eq!(error.to_string(), format!("gas required exceeds allowance ({})", 1 << 24));
    let error = bench.estimate(&CallRequest { gas: Some(50_000), ..to_contract() }).unwrap_err();
    assert_eq!(error.to_string(), "gas required exceeds allowance (50000)");

    let bench = Bench::new(bytes!("fe"));
    assert_eq!(bench.estimate(&to_contract()).unwrap_err().to_string(), "invalid opcode: INVALID");

    let poor = CallRequest { from: Some(OTHER), value: Some(U256::from(1)), ..to_contract() };
    let expected = format!("insufficient funds for gas * price + value: address {OTHER} have 0 want 1");
    assert!(bench.estimate(&poor).unwrap_err().to_string().ends_with(&expected));
    let poor = CallRequest { gas_price: Some(10), ..poor };
    assert_eq!(bench.estimate(&poor).unwrap_err().to_string(), "insufficient funds for transfer");
    // The sender can pay for 21,000 gas of 10 wei and no more.
    let mut bench = Bench::new(bytes!("5b5f56"));
    let account = AccountOverride { balance: Some(U256::from(210_009)), ..AccountOverride::default() };
    bench.state_overrides.insert(OTHER, account);
    let request = CallRequest { from: Some(OTHER), gas_price: Some(10), ..to_contract() };
    let error = bench.estimate(&request).unwrap_err();
    assert_eq!(error.to_string(), "gas required exceeds allowance (21000)");
}

#[test]
fn access_list_holds_what_is_read() {
    // SLOAD(1), then BALANCE(OTHER), then BALANCE of the sender and of precompile 4, which are warm anyway.
    let mut code = bytes!("60015450 73").to_vec();
    code.extend_from_slice(OTHER.as_slice());
    code.extend_from_slice(&bytes!("3150 333150 600431 50"));
    let bench = Bench::new(code.into());
    let request = CallRequest { from: Some(RICH), ..to_contract() };
    let CreatedAccessList { access_list, gas_used, error } =
        bench.simulation(None).create_access_list(&request).unwrap();
    assert_eq!(error, None);
    let items: Vec<_> = access_list.iter().map(|item| (item.address, item.storage_keys.clone())).collect();
    assert_eq!(items, [(CONTRACT, vec![B256::with_last_byte(1)]), (OTHER, vec![])]);
    let with_list = CallRequest { access_list: Some(access_list), ..request };
    assert_eq!(bench.call(&with_list).unwrap().gas_used(), gas_used);
}

#[test]
fn calls_leave_no_trace() {
    let bench = Bench::new(bytes!("600160015500"));
    bench.call(&to_contract()).unwrap();
    assert_eq!(bench.state.storage(&CONTRACT, 0, &U256::from(1)).unwrap(), U256::from(0x2a));
    let bench = Bench::new(bytes!("6001545f5260205ff3"));
    assert_eq!(word(&bench.call(&to_contract()).unwrap()), U256::from(0x2a));
}

#[test]
fn create_returns_the_code() {
    // Init code that returns the two bytes 6001: PUSH2 6001 PUSH0 MSTORE PUSH1 2 PUSH1 30 RETURN
    let bench = Bench::new(Bytes::new());
    let request = CallRequest { data: bytes!("6160015f526002601ef3"), ..CallRequest::default() };
    let CallOutcome::Success { output, .. } = bench.call(&request).unwrap() else { panic!() };
    assert_eq!(output, bytes!("6001"));
    // 0xef first: PUSH1 ef PUSH0 MSTORE8 PUSH1 1 PUSH0 RETURN
    let request = CallRequest { data: bytes!("60ef5f5360015ff3"), ..CallRequest::default() };
    assert_eq!(bench.call(&request).unwrap().error(), Some("invalid code: must not begin with 0xef"));
}

/// Prints what a call costs, beside revm alone; run with `--ignored --nocapture`.
#[test]
#[ignore = "a measurement: it prints times and asserts none; with `--ignored --nocapture`"]
fn measure_calls() {
    // A loop of 1,000 keccaks of 32 bytes.
    let keccaks = bytes!("6103e8 5b 60205f20 5f52 600190 03 80 6003 57 60205ff3");
    let mut expected = B256::ZERO;
    for _ in 0..1000 {
        expected = keccak256(expected);
    }
    let bench = Bench::new(keccaks.clone());
    assert_eq!(B256::from(word(&bench.call(&to_contract()).unwrap())), expected);
    let cancel = AtomicBool::new(false);
    for round in 0..3 {
        let mut db = CacheDB::new(EmptyDB::new());
        db.insert_account_info(CONTRACT, AccountInfo::from_bytecode(Bytecode::new_legacy(keccaks.clone())));
        let mut alone = Context::mainnet().with_db(db).build_mainnet();
        let kind = TxKind::Call(CONTRACT);
        let tx = TxEnv { kind, gas_limit: 10_000_000, ..TxEnv::default() };
        time(&format!("{round}: 1,000 keccaks, revm alone"), 1000, || {
            assert!(alone.transact(tx.clone()).unwrap().result.is_success());
        });
        for (name, cancel) in [("no deadline", None), ("deadline", Some(&cancel))] {
            let simulation = bench.simulation(cancel);
            time(&format!("{round}: 1,000 keccaks, {name}"), 1000, || {
                simulation.call(&to_contract()).unwrap();
            });
        }
    }
    let bench = Bench::new(bytes!("6001545f5260205ff3"));
    let simulation = bench.simulation(None);
    time("one SLOAD", 100_000, || {
        simulation.call(&to_contract()).unwrap();
    });
}

fn time(name: &str, rounds: u32, mut work: impl FnMut()) {
    let started = Instant::now();
    for _ in 0..rounds {
        work();
    }
    println!("{name}: {:?} each", started.elapsed() / rounds);
}
