//! The gas of `SSTORE` in Constantinople without Petersburg (EIP-1283): the EIP's own test cases, by a call, by
//! a block built, and by the same block executed.

use crate::specs::spec;
use alloy_consensus::{Signed, TxLegacy};
use alloy_primitives::{Address, B256, Bytes, Signature, TxKind, U256, address, bytes, hex};
use quintet_chainspec::ChainSpec;
use quintet_evm::test_utils::MemoryState;
use quintet_evm::{
    BlockAttributes, BlockBuilder, BlockOverrides, CallLimits, CallOutcome, CallRequest, Simulation,
    StateOverrides, execute_block,
};
use quintet_types::{Header, RecoveredBlock, Transaction};

const SENDER: Address = address!("0x1000000000000000000000000000000000000001");
const CONTRACT: Address = address!("0x2000000000000000000000000000000000000002");

/// Nonzero bytes of calldata, 68 gas each, so that half of the gas used is more than any refund.
const PADDING: usize = 600;
const INTRINSIC: u64 = 21_000 + 68 * PADDING as u64;

/// The EIP's table: code, the slot's value before, gas used, refund.
const CASES: [(&[u8], u64, u64, u64); 17] = [
    (&hex!("60006000556000600055"), 0, 412, 0),
    (&hex!("60006000556001600055"), 0, 20_212, 0),
    (&hex!("60016000556000600055"), 0, 20_212, 19_800),
    (&hex!("60016000556002600055"), 0, 20_212, 0),
    (&hex!("60016000556001600055"), 0, 20_212, 0),
    (&hex!("60006000556000600055"), 1, 5_212, 15_000),
    (&hex!("60006000556001600055"), 1, 5_212, 4_800),
    (&hex!("60006000556002600055"), 1, 5_212, 0),
    (&hex!("60026000556000600055"), 1, 5_212, 15_000),
    (&hex!("60026000556003600055"), 1, 5_212, 0),
    (&hex!("60026000556001600055"), 1, 5_212, 4_800),
    (&hex!("60026000556002600055"), 1, 5_212, 0),
    (&hex!("60016000556000600055"), 1, 5_212, 15_000),
    (&hex!("60016000556002600055"), 1, 5_212, 0),
    (&hex!("60016000556001600055"), 1, 412, 0),
    (&hex!("600160005560006000556001600055"), 0, 40_218, 19_800),
    (&hex!("600060005560016000556000600055"), 1, 10_218, 19_800),
];

fn state(code: Bytes, before: u64) -> MemoryState {
    let mut state = MemoryState::default();
    state.insert(SENDER, 0, U256::from(10).pow(U256::from(18)), Bytes::new(), []);
    state.insert(CONTRACT, 1, U256::ZERO, code, [(U256::ZERO, U256::from(before))]);
    state
}

fn header() -> Header {
    Header {
        number: 9,
        timestamp: 1000,
        gas_limit: 1_000_000,
        difficulty: U256::from(1),
        ..Header::default()
    }
}

fn call(spec: &ChainSpec, state: &MemoryState, data: Bytes, gas: u64) -> CallOutcome {
    let simulation = Simulation {
        spec,
        header: &header(),
        beneficiary: Address::ZERO,
        state,
        state_overrides: &StateOverrides::new(),
        block_overrides: &BlockOverrides::default(),
        limits: CallLimits::default(),
    };
    let to = Some(CONTRACT);
    simulation.call(&CallRequest { to, data, gas: Some(gas), ..CallRequest::default() }).unwrap()
}

/// The gas of a block with one transaction, which is built, then executed.
fn block_gas(spec: &ChainSpec, state: &MemoryState, input: Bytes) -> u64 {
    let attributes = BlockAttributes {
        timestamp: 1012,
        gas_limit: 1_000_000,
        difficulty: U256::from(1),
        ..BlockAttributes::default()
    };
    let mut roots = state;
    let mut builder =
        BlockBuilder::start(spec, &header(), B256::ZERO, attributes, state, &mut roots).unwrap();
    let to = TxKind::Call(CONTRACT);
    let tx = TxLegacy { gas_price: 1, gas_limit: 500_000, to, input, ..TxLegacy::default() };
    let signature = Signature::new(U256::ONE, U256::ONE, false);
    let tx = Transaction::Legacy(Signed::new_unhashed(tx, signature));
    let included = builder.try_transaction(&tx, SENDER).unwrap();
    let built = builder.finish().unwrap();
    let hash = built.block.header.hash_slow();
    let block = RecoveredBlock { hash, block: built.block, senders: built.senders };
    let output = execute_block(spec, &block, Address::ZERO, state, &mut &*state).unwrap();
    assert_eq!(output.diff, built.diff);
    assert_eq!(output.gas_used, included.gas_used);
    output.gas_used
}

#[test]
fn the_cases_of_the_eip() {
    let spec = spec("Constantinople");
    for (index, (code, before, used, refund)) in CASES.into_iter().enumerate() {
        let state = state(Bytes::from_static(code), before);
        let data = Bytes::from(vec![1; PADDING]);
        let expected = INTRINSIC + used - refund;
        assert_eq!(call(&spec, &state, data.clone(), 500_000).gas_used(), expected, "call, case {index}");
        assert_eq!(block_gas(&spec, &state, data), expected, "block, case {index}");
    }
}

#[test]
fn petersburg_took_it_back() {
    let state = state(bytes!("60016000556000600055"), 0);
    let gas = |fork| call(&spec(fork), &state, vec![1; PADDING].into(), 500_000).gas_used();
    assert_eq!(gas("Constantinople"), INTRINSIC + 20_212 - 19_800);
    assert_eq!(gas("ConstantinopleFix"), INTRINSIC + 25_012 - 15_000);
    assert_eq!(gas("Byzantium"), gas("ConstantinopleFix"));
}

/// That a stipend is enough for a write is why Petersburg took it back; EIP-2200 asks for more than a stipend.
#[test]
fn a_write_needs_no_more_gas_than_it_costs() {
    let state = state(bytes!("6001600055"), 1);
    let outcome = |fork, gas| call(&spec(fork), &state, Bytes::new(), gas);
    let enough = 21_000 + 206;
    assert_eq!(outcome("Constantinople", enough).error(), None);
    assert_eq!(outcome("Constantinople", enough - 1).error(), Some("out of gas"));
    let sentry = "out of gas: not enough gas for reentrancy sentry";
    assert_eq!(outcome("Istanbul", enough + 600).error(), Some(sentry));
}
