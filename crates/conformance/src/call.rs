//! One call on the node's EVM, for vectors of single opcodes and precompiles.

use alloy_primitives::{Address, Bytes, U256};
use quintet_chainspec::ChainSpec;
use quintet_evm::test_utils::MemoryState;
use quintet_evm::{BlockOverrides, CallLimits, CallOutcome, CallRequest, Simulation, StateOverrides};
use quintet_types::Header;

/// Where the code is.
const CONTRACT: Address = Address::repeat_byte(0xcc);
/// More gas than any vector needs.
const GAS: u64 = 1 << 50;

/// Runs code with some input; what it returned.
///
/// # Errors
/// When it did not return.
pub(crate) fn run(spec: &ChainSpec, merged: bool, code: Vec<u8>, input: Bytes) -> Result<Bytes, String> {
    let mut state = MemoryState::default();
    state.insert(CONTRACT, 1, U256::ZERO, code.into(), []);
    let header = Header {
        number: 1,
        timestamp: 1,
        difficulty: if merged { U256::ZERO } else { U256::ONE },
        gas_limit: u64::MAX,
        base_fee_per_gas: Some(7),
        excess_blob_gas: Some(0),
        ..Header::default()
    };
    let simulation = Simulation {
        spec,
        header: &header,
        beneficiary: Address::ZERO,
        state: &state,
        state_overrides: &StateOverrides::new(),
        block_overrides: &BlockOverrides::default(),
        limits: CallLimits::default(),
    };
    let request = CallRequest { to: Some(CONTRACT), gas: Some(GAS), data: input, ..CallRequest::default() };
    match simulation.call(&request).map_err(|error| error.to_string())? {
        CallOutcome::Success { output, .. } => Ok(output),
        failed => Err(failed.error().unwrap_or_default().to_owned()),
    }
}
