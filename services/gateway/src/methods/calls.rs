//! `eth_call`, `eth_estimateGas` and `eth_createAccessList`: the EVM on the gateway's own reads.

use super::context::{At, Context, Output, Stop, state_error};
use super::tx_args::{TransactionArgs, transaction_args};
use crate::decode;
use crate::error::RpcError;
use crate::json::{self, Object};
use crate::params::Params;
use crate::render;
use alloy_primitives::{Bytes, U256};
use alloy_rpc_types_eth::{BlockOverrides as BlockOverridesArg, state::StateOverride};
use quintet_evm::{
    AccountOverride, BlockOverrides, CallError, CallLimits, CallOutcome, DatabaseError, ExecutionError,
    Simulation, StateOverrides,
};

/// `eth_call`.
pub(super) fn call(context: &mut Context<'_>, params: &mut Params<'_>, out: &mut Output) -> Result<(), Stop> {
    let args = params.required(transaction_args)?;
    let block = params.optional(decode::block_id)?;
    let state_overrides = params.optional(state_overrides)?.unwrap_or_default();
    let block_overrides = params.optional(block_overrides)?.unwrap_or_default();
    params.end()?;
    let at = context.at(block)?;
    out.block = at.state.block().number;
    prefetch(context, &at, &args)?;
    let outcome = simulation(context, &at, &state_overrides, &block_overrides).call(&args.into_call());
    match outcome.map_err(|error| call_error(context, error))? {
        CallOutcome::Success { output, .. } => json::data(&mut out.json, &output),
        CallOutcome::Revert { output, .. } => return Err(reverted(output).into()),
        CallOutcome::Halt { reason, .. } => return Err(RpcError::Server(reason).into()),
    }
    Ok(())
}

/// `eth_estimateGas`.
pub(super) fn estimate_gas(
    context: &mut Context<'_>,
    params: &mut Params<'_>,
    out: &mut Output,
) -> Result<(), Stop> {
    let args = params.required(transaction_args)?;
    let block = params.optional(decode::block_id)?;
    let state_overrides = params.optional(state_overrides)?.unwrap_or_default();
    let block_overrides = params.optional(block_overrides)?.unwrap_or_default();
    params.end()?;
    let at = context.at(block)?;
    out.block = at.state.block().number;
    let gas = estimate(context, &at, args, &state_overrides, &block_overrides)?;
    json::quantity(&mut out.json, gas);
    Ok(())
}

/// The gas that a transaction needs.
pub(super) fn estimate(
    context: &Context<'_>,
    at: &At<'_>,
    args: TransactionArgs,
    state_overrides: &StateOverrides,
    block_overrides: &BlockOverrides,
) -> Result<u64, Stop> {
    prefetch(context, at, &args)?;
    let simulation = simulation(context, at, state_overrides, block_overrides);
    Ok(simulation.estimate_gas(&args.into_call()).map_err(|error| call_error(context, error))?)
}

/// `eth_createAccessList`.
pub(super) fn create_access_list(
    context: &mut Context<'_>,
    params: &mut Params<'_>,
    out: &mut Output,
) -> Result<(), Stop> {
    let args = params.required(transaction_args)?;
    let block = params.optional(decode::block_id)?;
    let state_overrides = params.optional(state_overrides)?.unwrap_or_default();
    params.end()?;
    let at = context.at(block)?;
    out.block = at.state.block().number;
    prefetch(context, &at, &args)?;
    let block_overrides = BlockOverrides::default();
    let simulation = simulation(context, &at, &state_overrides, &block_overrides);
    let created = simulation.create_access_list(&args.into_call());
    let created = created.map_err(|error| call_error(context, error))?;
    let mut object = Object::new(&mut out.json);
    render::write_access_list(object.key("accessList"), &created.access_list);
    if let Some(error) = &created.error {
        object.string("error", error);
    }
    object.quantity("gasUsed", created.gas_used);
    object.end();
    Ok(())
}

/// Reads at once what the call is sure or said to touch.
fn prefetch(context: &Context<'_>, at: &At<'_>, args: &TransactionArgs) -> Result<(), Stop> {
    let mut accounts = vec![args.from.unwrap_or_default(), context.shared.author(&at.header)];
    accounts.extend(args.to);
    let mut slots = Vec::new();
    for item in args.access_list.iter().flat_map(|list| &list.0) {
        accounts.push(item.address);
        slots.extend(item.storage_keys.iter().map(|slot| (item.address, (*slot).into())));
    }
    at.state.prefetch(&slots, &accounts).map_err(state_error)
}

fn simulation<'s>(
    context: &'s Context<'_>,
    at: &'s At<'_>,
    state_overrides: &'s StateOverrides,
    block_overrides: &'s BlockOverrides,
) -> Simulation<'s> {
    Simulation {
        spec: &context.shared.spec,
        header: &at.header,
        beneficiary: context.shared.author(&at.header),
        state: &at.state,
        state_overrides,
        block_overrides,
        limits: CallLimits { gas_cap: context.shared.limits.gas_cap, cancel: context.cancel },
    }
}

fn call_error(context: &Context<'_>, error: CallError) -> RpcError {
    match error {
        CallError::Reverted(output) => reverted(output),
        CallError::Interrupted => {
            let timeout = context.shared.evm.timeout();
            RpcError::server(format!("execution aborted (timeout = {timeout:?})"))
        }
        CallError::Execution(ExecutionError::Database(DatabaseError::State(error))) => error.into(),
        CallError::Execution(error @ (ExecutionError::Database(_) | ExecutionError::Evm(_))) => {
            RpcError::internal(&error)
        }
        error => RpcError::server(error.to_string()),
    }
}

/// geth's error for a revert: code 3, with the reason in the message and the bytes as data.
fn reverted(output: Bytes) -> RpcError {
    let message = match revert_reason(&output) {
        Some(reason) => format!("execution reverted: {reason}"),
        None => "execution reverted".to_owned(),
    };
    RpcError::Reverted { message, data: output }
}

/// `Error(string)`.
const ERROR_SELECTOR: [u8; 4] = [0x08, 0xc3, 0x79, 0xa0];
/// `Panic(uint256)`.
const PANIC_SELECTOR: [u8; 4] = [0x4e, 0x48, 0x7b, 0x71];

fn revert_reason(output: &[u8]) -> Option<String> {
    let (selector, arguments) = output.split_first_chunk::<4>()?;
    match *selector {
        ERROR_SELECTOR => {
            let offset = word(arguments, 0)?;
            let length = word(arguments, offset)?;
            let start = offset.checked_add(32)?;
            let text = arguments.get(start..start.checked_add(length)?)?;
            Some(String::from_utf8_lossy(text).into_owned())
        }
        PANIC_SELECTOR => {
            let code = U256::try_from_be_slice(arguments.get(..32)?)?;
            Some(panic_reason(&code))
        }
        _ => None,
    }
}

fn word(bytes: &[u8], at: usize) -> Option<usize> {
    let word = bytes.get(at..at.checked_add(32)?)?;
    usize::try_from(U256::try_from_be_slice(word)?).ok()
}

/// What Solidity's panic codes mean, in the words of geth's `abi` package.
fn panic_reason(code: &U256) -> String {
    let known = match u64::try_from(*code) {
        Ok(0x00) => "generic panic",
        Ok(0x01) => "assert(false)",
        Ok(0x11) => "arithmetic underflow or overflow",
        Ok(0x12) => "division or modulo by zero",
        Ok(0x21) => "enum overflow",
        Ok(0x22) => "invalid encoded storage byte array accessed",
        Ok(0x31) => "out-of-bounds array access; popping on an empty array",
        Ok(0x32) => "out-of-bounds access of an array or bytesN",
        Ok(0x41) => "out of memory",
        Ok(0x51) => "uninitialized function",
        _ => return format!("unknown panic code: {code:#x}"),
    };
    known.to_owned()
}

fn state_overrides(raw: &str) -> Result<StateOverrides, String> {
    let overrides: StateOverride = serde_json::from_str(raw).map_err(|error| error.to_string())?;
    overrides.into_iter().map(|(address, account)| Ok((address, account_override(account)?))).collect()
}

fn account_override(account: alloy_rpc_types_eth::state::AccountOverride) -> Result<AccountOverride, String> {
    if account.move_precompile_to.is_some() {
        return Err("movePrecompileToAddress is not supported".to_owned());
    }
    let slots = |slots: alloy_primitives::map::B256HashMap<alloy_primitives::B256>| {
        slots.into_iter().map(|(slot, value)| (slot.into(), value.into())).collect()
    };
    Ok(AccountOverride {
        nonce: account.nonce,
        code: account.code,
        balance: account.balance,
        state: account.state.map(slots),
        state_diff: account.state_diff.map(slots),
    })
}

fn block_overrides(raw: &str) -> Result<BlockOverrides, String> {
    let overrides: BlockOverridesArg = serde_json::from_str(raw).map_err(|error| error.to_string())?;
    if overrides.beacon_root.is_some() {
        return Err(r#"block override "beaconRoot" is not supported for this RPC method"#.to_owned());
    }
    let word = |value: Option<U256>, name: &str| {
        value.map(u64::try_from).transpose().map_err(|_| format!("block override {name:?} is over 64 bits"))
    };
    Ok(BlockOverrides {
        number: word(overrides.number, "number")?,
        difficulty: overrides.difficulty,
        time: overrides.time,
        gas_limit: overrides.gas_limit,
        fee_recipient: overrides.coinbase,
        prev_randao: overrides.random,
        base_fee_per_gas: word(overrides.base_fee, "baseFeePerGas")?,
        blob_base_fee: overrides.blob_base_fee.map(|fee| u128::try_from(fee).unwrap_or(u128::MAX)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::hex;

    fn message(output: &str) -> String {
        reverted(hex::decode(output).expect("hex").into()).to_string()
    }

    #[test]
    fn reasons_are_read_out_of_what_a_contract_returned() {
        let reason = format!("08c379a0{:064x}{:064x}75736572206572726f72{}", 32, 10, "0".repeat(44));
        assert_eq!(message(&reason), "execution reverted: user error");
        assert_eq!(
            message(&format!("4e487b71{:064x}", 0x11)),
            "execution reverted: arithmetic underflow or overflow"
        );
        assert_eq!(
            message(&format!("4e487b71{:064x}", 0x99)),
            "execution reverted: unknown panic code: 0x99"
        );
    }

    #[test]
    fn what_is_no_reason_is_only_data() {
        for output in ["", "08c379a0", "77726f6e67", &format!("08c379a0{}", "f".repeat(128))] {
            assert_eq!(message(output), "execution reverted", "{output}");
        }
    }
}
