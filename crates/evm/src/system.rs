//! What a block does to the state without a transaction: system calls before and after the transactions,
//! and the execution-layer requests that come of them (EIP-7685).

use crate::error::{ExecutionError, VmError};
use crate::vm::{self, Vm};
use alloy_eips::eip2935::HISTORY_STORAGE_ADDRESS;
use alloy_eips::eip4788::BEACON_ROOTS_ADDRESS;
use alloy_eips::eip7002::{WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS, WITHDRAWAL_REQUEST_TYPE};
use alloy_eips::eip7251::{CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS, CONSOLIDATION_REQUEST_TYPE};
use alloy_eips::eip7685::Requests;
use alloy_evm::eth::eip6110::{DEPOSIT_REQUEST_TYPE, accumulate_deposits_from_receipts};
use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, TxKind};
use quintet_types::Receipt;
use revm::context::TxEnv;
use revm::context::result::ExecutionResult;
use revm::handler::SYSTEM_ADDRESS;
use revm::primitives::hardfork::SpecId;

/// Gas of a system call (EIP-4788, EIP-7002): none of the block's.
const SYSTEM_CALL_GAS: u64 = 30_000_000;

/// Stores the parent beacon root (EIP-4788) and the parent hash (EIP-2935), each from its fork on. A contract
/// that is not deployed, or that fails, is passed over, as the EIPs demand.
pub(crate) fn before_transactions(
    vm: &mut Vm<'_>,
    parent_hash: B256,
    parent_beacon_root: Option<B256>,
) -> Result<(), ExecutionError> {
    let spec = vm.ctx.cfg.spec;
    if spec.is_enabled_in(SpecId::CANCUN) {
        let root = parent_beacon_root.ok_or(ExecutionError::MissingField("parentBeaconBlockRoot"))?;
        call(vm, BEACON_ROOTS_ADDRESS, root.0.into())?;
    }
    if spec.is_enabled_in(SpecId::PRAGUE) {
        call(vm, HISTORY_STORAGE_ADDRESS, parent_hash.0.into())?;
    }
    Ok(())
}

/// The block's requests: deposits out of the logs (EIP-6110), withdrawals (EIP-7002) and consolidations
/// (EIP-7251) out of their queues. Empty ones are left out.
pub(crate) fn requests(
    vm: &mut Vm<'_>,
    deposit_contract: Option<Address>,
    receipts: &[Receipt],
) -> Result<Requests, ExecutionError> {
    let mut requests = Requests::default();
    let mut deposits = Vec::new();
    if let Some(contract) = deposit_contract {
        accumulate_deposits_from_receipts(contract, receipts, &mut deposits)
            .map_err(|error| ExecutionError::Deposit(error.to_string()))?;
    }
    if !deposits.is_empty() {
        requests.push_request_with_type(DEPOSIT_REQUEST_TYPE, deposits);
    }
    for (kind, address) in [
        (WITHDRAWAL_REQUEST_TYPE, WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS),
        (CONSOLIDATION_REQUEST_TYPE, CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS),
    ] {
        let output = must_call(vm, address)?;
        if !output.is_empty() {
            requests.push_request_with_type(kind, output);
        }
    }
    Ok(requests)
}

fn must_call(vm: &mut Vm<'_>, address: Address) -> Result<Bytes, ExecutionError> {
    let info = vm.ctx.journaled_state.database.info(address)?;
    if info.is_none_or(|info| info.code_hash == KECCAK256_EMPTY) {
        return Err(ExecutionError::SystemContractMissing(address));
    }
    let failed = |reason: String| ExecutionError::SystemCall { address, reason };
    match call(vm, address, Bytes::new())? {
        ExecutionResult::Success { output, .. } => Ok(output.into_data()),
        ExecutionResult::Revert { .. } => Err(failed("execution reverted".into())),
        ExecutionResult::Halt { reason, .. } => Err(failed(reason.to_string())),
    }
}

fn call(vm: &mut Vm<'_>, address: Address, data: Bytes) -> Result<ExecutionResult, ExecutionError> {
    let tx = TxEnv {
        caller: SYSTEM_ADDRESS,
        kind: TxKind::Call(address),
        data,
        gas_limit: SYSTEM_CALL_GAS,
        ..TxEnv::default()
    };
    let result = vm::run_system_call(vm, tx).map_err(|error| match VmError::from(error) {
        VmError::Tx(error) => ExecutionError::Evm(error.to_string()),
        VmError::Fatal(error) => error,
    })?;
    let changes = vm::take_changes(vm);
    vm.ctx.journaled_state.database.commit(changes)?;
    Ok(result)
}
