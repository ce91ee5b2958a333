//! Why a call failed, in geth's words (`core/vm/errors.go`).

use crate::vm::HaltSite;
use revm::bytecode::opcode::{OpCode, RETURN};
use revm::context::result::{HaltReason, OutOfGasError};

/// Height of the stack that cannot be passed.
const STACK_LIMIT: i64 = 1024;

/// geth's message for `reason`, which arose at `site` in the outermost frame; `creates` if that frame ran
/// init code.
pub(super) fn describe(reason: &HaltReason, site: HaltSite, creates: bool) -> String {
    let fixed = match reason {
        HaltReason::OutOfGas(OutOfGasError::Basic) if creates && site.opcode == RETURN => {
            "contract creation code storage out of gas"
        }
        HaltReason::OutOfGas(OutOfGasError::InvalidOperand) => "gas uint64 overflow",
        HaltReason::OutOfGas(OutOfGasError::ReentrancySentry) => {
            "out of gas: not enough gas for reentrancy sentry"
        }
        HaltReason::OutOfGas(_) => "out of gas",
        HaltReason::InvalidJump => "invalid jump destination",
        HaltReason::OutOfOffset => "return data out of bounds",
        HaltReason::CreateCollision => "contract address collision",
        HaltReason::NonceOverflow => "nonce uint64 overflow",
        HaltReason::CreateContractSizeLimit => "max code size exceeded",
        HaltReason::CreateContractStartingWithEF => "invalid code: must not begin with 0xef",
        HaltReason::CreateInitCodeSizeLimit => "max initcode size exceeded",
        HaltReason::StateChangeDuringStaticCall | HaltReason::CallNotAllowedInsideStatic => {
            "write protection"
        }
        HaltReason::OutOfFunds | HaltReason::OverflowPayment => "insufficient balance for transfer",
        HaltReason::CallTooDeep => "max call depth exceeded",
        HaltReason::OpcodeNotFound | HaltReason::NotActivated | HaltReason::InvalidFEOpcode => {
            return format!("invalid opcode: {}", opcode_name(site.opcode));
        }
        HaltReason::StackUnderflow => {
            let inputs = OpCode::new(site.opcode).map_or(0, |opcode| opcode.inputs());
            return format!("stack underflow ({} <=> {inputs})", site.stack);
        }
        HaltReason::StackOverflow => {
            let growth = OpCode::new(site.opcode).map_or(0, |opcode| i64::from(opcode.io_diff()));
            return format!("stack limit reached {} ({})", site.stack, STACK_LIMIT - growth);
        }
        HaltReason::PrecompileErrorWithContext(message) => message,
        HaltReason::PrecompileError => "precompile error",
    };
    fixed.to_owned()
}

fn opcode_name(opcode: u8) -> String {
    OpCode::new(opcode)
        .map_or_else(|| format!("opcode {opcode:#x} not defined"), |known| known.as_str().to_owned())
}
