//! revm, set up for this node: one type of EVM for blocks and calls, which can be interrupted and can say in
//! detail why a call halted, at no cost to a running contract that could be measured.

use crate::collision;
use crate::database::Overlay;
use crate::eip1283;
use crate::env::BlockEnvironment;
use crate::error::DatabaseError;
use quintet_chainspec::Fork;
use revm::Inspector;
use revm::bytecode::opcode::{JUMPDEST, SSTORE};
use revm::context::journal::Journal;
use revm::context::result::{EVMError, ExecutionResult, HaltReason};
use revm::context::{BlockEnv, CfgEnv, Context, Evm, LocalContext, TxEnv};
use revm::context_interface::{ContextTr, FrameStack, JournalTr};
use revm::handler::instructions::EthInstructions;
use revm::handler::{EthFrame, EthPrecompiles, EvmTr, FrameResult, Handler, ItemOrResult};
use revm::inspector::{InspectorEvmTr, InspectorHandler};
use revm::interpreter::interpreter::EthInterpreter;
use revm::interpreter::interpreter_action::{FrameInit, FrameInput};
use revm::interpreter::{
    Instruction, InstructionContext, InstructionExecResult, InstructionResult,
    interpreter_types::{Jumps, LegacyBytecode},
};
use revm::state::EvmState;
use std::cell::RefCell;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, Ordering};

/// What the EVM carries along beside its state.
#[derive(Debug, Default)]
pub(crate) struct Watch<'a> {
    /// Set by another thread when the result is no longer wanted.
    cancel: Option<&'a AtomicBool>,
    /// Jump destinations until `cancel` is looked at again.
    countdown: u32,
    /// Whether the run ended because of `cancel`.
    pub(crate) interrupted: bool,
    /// Where the outermost frame halted.
    pub(crate) halt: HaltSite,
}

/// The opcode at which the outermost frame halted, and the height of its stack there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct HaltSite {
    pub(crate) opcode: u8,
    pub(crate) stack: usize,
}

/// Gas of `JUMPDEST`, the same in every fork.
const JUMPDEST_GAS: u16 = 1;

/// How many jump destinations pass between two looks at the cancel flag: some microseconds of execution.
const POLL_INTERVAL: u32 = 1024;

impl<'a> Watch<'a> {
    pub(crate) const fn new(cancel: Option<&'a AtomicBool>) -> Self {
        Self { cancel, countdown: POLL_INTERVAL, interrupted: false, halt: HaltSite { opcode: 0, stack: 0 } }
    }

    fn cancelled(&self) -> bool {
        self.cancel.is_some_and(|flag| flag.load(Ordering::Relaxed))
    }
}

pub(crate) type VmContext<'a> =
    Context<BlockEnv, TxEnv, CfgEnv, Overlay<'a>, Journal<Overlay<'a>>, Watch<'a>>;

pub(crate) type Vm<'a, INSP = ()> = Evm<
    VmContext<'a>,
    INSP,
    EthInstructions<EthInterpreter, VmContext<'a>>,
    EthPrecompiles,
    EthFrame<EthInterpreter>,
>;

/// Frames and memory kept for the thread's next EVM, so that a call allocates nothing for them.
struct Scratch {
    frames: FrameStack<EthFrame<EthInterpreter>>,
    local: LocalContext,
}

/// Memory that is not kept for the next call.
const LARGE_MEMORY: usize = 1 << 20;

thread_local! {
    static SCRATCH: RefCell<Option<Scratch>> = const { RefCell::new(None) };
}

/// An EVM over `overlay` for one block (or call).
pub(crate) fn vm<'a, INSP>(
    overlay: Overlay<'a>,
    environment: &BlockEnvironment,
    watch: Watch<'a>,
    inspector: INSP,
) -> Vm<'a, INSP> {
    let BlockEnvironment { cfg, block, fork, .. } = environment;
    let spec = cfg.spec;
    let interruptible = watch.cancel.is_some();
    let scratch = SCRATCH.with(|slot| slot.borrow_mut().take());
    let Scratch { frames, local } = scratch
        .unwrap_or_else(|| Scratch { frames: FrameStack::new_prealloc(8), local: LocalContext::default() });
    let mut journaled_state = Journal::new(overlay);
    journaled_state.set_spec_id(spec);
    let mut instruction = EthInstructions::new_mainnet_with_spec(spec);
    if *fork == Fork::Constantinople {
        // Its gas depends on the slot: none of it is in the table.
        instruction.insert_instruction(SSTORE, Instruction::new(eip1283::sstore), 0);
    }
    if interruptible {
        instruction.insert_instruction(JUMPDEST, Instruction::new(polling_jumpdest), JUMPDEST_GAS);
    }
    Evm {
        ctx: Context {
            block: block.clone(),
            tx: TxEnv::default(),
            cfg: cfg.clone(),
            journaled_state,
            chain: watch,
            local,
            error: Ok(()),
        },
        inspector,
        instruction,
        precompiles: EthPrecompiles::new(spec),
        frame_stack: frames,
    }
}

/// Gives the EVM's buffers back to the thread and returns its state.
pub(crate) fn retire<INSP>(vm: Vm<'_, INSP>) -> Overlay<'_> {
    let Evm { ctx, mut frame_stack, .. } = vm;
    frame_stack.clear();
    if ctx.local.shared_memory_buffer.borrow().capacity() <= LARGE_MEMORY {
        SCRATCH.with(|slot| *slot.borrow_mut() = Some(Scratch { frames: frame_stack, local: ctx.local }));
    }
    ctx.journaled_state.database
}

/// `JUMPDEST`, looking at the cancel flag now and then: every loop passes one.
fn polling_jumpdest(context: InstructionContext<'_, VmContext<'_>, EthInterpreter>) -> InstructionExecResult {
    let InstructionContext { host, .. } = context;
    let watch = &mut host.chain;
    watch.countdown = watch.countdown.wrapping_sub(1);
    if watch.countdown == 0 {
        watch.countdown = POLL_INTERVAL;
        if watch.cancelled() {
            return Err(interrupt(host));
        }
    }
    Ok(())
}

#[cold]
fn interrupt(context: &mut VmContext<'_>) -> InstructionResult {
    context.chain.interrupted = true;
    *context.error() = Err(revm::context_interface::context::ContextError::Custom("interrupted".into()));
    InstructionResult::FatalExternalError
}

pub(crate) type RunError = EVMError<DatabaseError>;

/// Mainnet's rules, with a look at the cancel flag before each frame (a tree of calls needs no loop) and a
/// note of where the outermost frame halted.
pub(crate) struct VmHandler<'a, INSP>(PhantomData<(&'a (), INSP)>);

impl<INSP> Default for VmHandler<'_, INSP> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<'a, INSP> Handler for VmHandler<'a, INSP> {
    type Evm = Vm<'a, INSP>;
    type Error = RunError;
    type HaltReason = HaltReason;

    fn run_exec_loop(&mut self, evm: &mut Self::Evm, first: FrameInit) -> Result<FrameResult, RunError> {
        if let Some(result) = begin_frame(evm, first)? {
            return Ok(result);
        }
        loop {
            let result = match evm.frame_run()? {
                ItemOrResult::Item(init) => {
                    if evm.ctx.chain.cancelled() {
                        evm.ctx.chain.interrupted = true;
                        return Err(EVMError::Custom("interrupted".into()));
                    }
                    match begin_frame(evm, init)? {
                        None => continue,
                        Some(result) => result,
                    }
                }
                ItemOrResult::Result(result) => {
                    if evm.frame_stack.index() == Some(0) && result.instruction_result().is_halt() {
                        note_halt(evm);
                    }
                    result
                }
            };
            if let Some(result) = evm.frame_return_result(result)? {
                return Ok(result);
            }
        }
    }
}

impl<'a, INSP: Inspector<VmContext<'a>, EthInterpreter>> InspectorHandler for VmHandler<'a, INSP> {
    type IT = EthInterpreter;

    fn inspect_run_exec_loop(
        &mut self,
        evm: &mut Self::Evm,
        first: FrameInit,
    ) -> Result<FrameResult, RunError> {
        if let Some(result) = begin_inspected_frame(evm, first)? {
            return Ok(result);
        }
        loop {
            let result = match evm.inspect_frame_run()? {
                ItemOrResult::Item(init) => match begin_inspected_frame(evm, init)? {
                    None => continue,
                    Some(result) => result,
                },
                ItemOrResult::Result(result) => result,
            };
            if let Some(result) = evm.frame_return_result(result)? {
                return Ok(result);
            }
        }
    }
}

/// Puts a frame on the stack to run; or gives its result, if there is nothing to run.
fn begin_frame<INSP>(evm: &mut Vm<'_, INSP>, init: FrameInit) -> Result<Option<FrameResult>, RunError> {
    match evm.frame_init(init)? {
        ItemOrResult::Item(_) => collision::refuse(evm),
        ItemOrResult::Result(result) => Ok(Some(result)),
    }
}

/// The same, telling the inspector.
fn begin_inspected_frame<'a, INSP: Inspector<VmContext<'a>, EthInterpreter>>(
    evm: &mut Vm<'a, INSP>,
    init: FrameInit,
) -> Result<Option<FrameResult>, RunError> {
    let input = init.frame_input.clone();
    let mut result = match evm.inspect_frame_init(init)? {
        ItemOrResult::Item(_) => collision::refuse(evm)?,
        ItemOrResult::Result(result) => return Ok(Some(result)),
    };
    if let (FrameInput::Create(input), Some(FrameResult::Create(outcome))) = (&input, &mut result) {
        evm.inspector.create_end(&mut evm.ctx, input, outcome);
    }
    Ok(result)
}

#[cold]
fn note_halt<INSP>(evm: &mut Vm<'_, INSP>) {
    let interpreter = &evm.frame_stack.get().interpreter;
    // The instruction pointer is already past the opcode that halted.
    let code = interpreter.bytecode.bytecode_slice();
    let opcode = interpreter.bytecode.pc().checked_sub(1).and_then(|pc| code.get(pc)).copied();
    evm.ctx.chain.halt = HaltSite { opcode: opcode.unwrap_or_default(), stack: interpreter.stack.len() };
}

/// Runs one transaction. Its changes stay in the journal until [`take_changes`]; an error leaves none.
pub(crate) fn run<INSP>(vm: &mut Vm<'_, INSP>, tx: TxEnv) -> Result<ExecutionResult<HaltReason>, RunError> {
    vm.ctx.tx = tx;
    VmHandler::default().run(vm).inspect_err(|_| drop(vm.ctx.journaled_state.finalize()))
}

/// As [`run`], with the EVM's inspector looking on.
pub(crate) fn run_inspected<'a, INSP: Inspector<VmContext<'a>, EthInterpreter>>(
    vm: &mut Vm<'a, INSP>,
    tx: TxEnv,
) -> Result<ExecutionResult<HaltReason>, RunError> {
    vm.ctx.tx = tx;
    VmHandler::default().inspect_run(vm).inspect_err(|_| drop(vm.ctx.journaled_state.finalize()))
}

/// Calls a system contract: no fee, no nonce, no gas from the block.
pub(crate) fn run_system_call(vm: &mut Vm<'_>, tx: TxEnv) -> Result<ExecutionResult<HaltReason>, RunError> {
    vm.ctx.tx = tx;
    VmHandler::default().run_system_call(vm).inspect_err(|_| drop(vm.ctx.journaled_state.finalize()))
}

/// What the last transaction changed, taken out of the journal.
pub(crate) fn take_changes<INSP>(vm: &mut Vm<'_, INSP>) -> EvmState {
    vm.ctx.journaled_state.finalize()
}
