//! Net gas metering of `SSTORE` as Constantinople had it for a while (EIP-1283), which revm leaves out. It is
//! EIP-2200, which revm has, with `SLOAD`'s gas of that time and without the stipend's sentry.

use revm::context_interface::cfg::{GasId, GasParams};
use revm::interpreter::instructions::host::sstore_with_gas_accounting;
use revm::interpreter::interpreter_types::InterpreterTypes;
use revm::interpreter::{Host, InstructionContext, InstructionExecResult, InstructionResult};
use revm::primitives::hardfork::SpecId;

/// Gas of a write that changes nothing, and of one to a slot that the transaction has changed before: as much
/// as `SLOAD` (EIP-150).
const DIRTY: u64 = 200;

/// Gas of the first write to a slot that was zero.
const SET: u64 = 20_000;

/// Gas of the first write to a slot that was not.
const RESET: u64 = 5_000;

/// Petersburg's gas, but for `SSTORE`. What a slot cleared gives back is the same in both.
pub(crate) fn gas_params() -> GasParams {
    let mut params = GasParams::new_spec(SpecId::PETERSBURG);
    params.override_gas([
        (GasId::sstore_static(), DIRTY),
        (GasId::sstore_set_without_load_cost(), SET - DIRTY),
        (GasId::sstore_set_refund(), SET - DIRTY),
        (GasId::sstore_reset_without_cold_load_cost(), RESET - DIRTY),
        (GasId::sstore_reset_refund(), RESET - DIRTY),
    ]);
    params
}

/// `SSTORE`, to be run with [`gas_params`].
pub(crate) fn sstore<IT: InterpreterTypes, H: Host + ?Sized>(
    context: InstructionContext<'_, H, IT>,
) -> InstructionExecResult {
    sstore_with_gas_accounting(context, |context, _, slot| {
        let params = context.host.gas_params();
        // What revm calls Istanbul's way is the net one.
        let cost = params.sstore_dynamic_gas(true, &slot.data, slot.is_cold);
        let refund = params.sstore_refund(true, &slot.data);
        let gas = &mut context.interpreter.gas;
        if !gas.record_regular_cost(cost) {
            return Err(InstructionResult::OutOfGas);
        }
        gas.record_refund(refund);
        Ok(())
    })
}
