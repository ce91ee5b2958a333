//! A contract is not created over an account that has storage (EIP-7610), in any fork. revm looks at code and
//! nonce alone.

use crate::vm::{RunError, Vm};
use revm::context_interface::context::ContextError;
use revm::handler::{FrameData, FrameResult, ItemOrResult};
use revm::interpreter::{InstructionResult, InterpreterAction};

/// Takes the frame on top of the stack away again, if it creates a contract where storage is, and gives its
/// result: a collision, as if there were code.
pub(crate) fn refuse<INSP>(vm: &mut Vm<'_, INSP>) -> Result<Option<FrameResult>, RunError> {
    let frame = vm.frame_stack.get();
    let FrameData::Create(create) = &frame.data else { return Ok(None) };
    let overlay = &mut vm.ctx.journaled_state.database;
    if !overlay.has_storage(create.created_address).map_err(ContextError::Db)? {
        return Ok(None);
    }
    let gas = frame.interpreter.gas;
    let halt = InterpreterAction::new_halt(InstructionResult::CreateCollision, gas);
    // Ends the frame as any that halts: what its creation changed is reverted.
    let ended: ItemOrResult<_, _> =
        frame.process_next_action::<_, ContextError<_>>(&mut vm.ctx, halt).map_err(RunError::from)?;
    vm.frame_stack.pop();
    Ok(match ended {
        ItemOrResult::Result(result) => Some(result),
        ItemOrResult::Item(_) => None,
    })
}
