//! `eth_call` and its kin: runs a message on a state without keeping what it does, by geth's rules
//! (`internal/ethapi`): no nonce, no signature, and no price unless the caller names one.

mod access_list;
mod estimate;
mod halt;
mod request;

pub use access_list::CreatedAccessList;
pub use request::{AccountOverride, BlockOverrides, CallRequest, StateOverrides};

use crate::database::Overlay;
use crate::env::BlockEnvironment;
use crate::error::{ExecutionError, TxError, VmError};
use crate::validate::{self, Mode, Room};
use crate::vm::{self, Vm, Watch};
use alloy_primitives::{Address, Bytes, Log};
use quintet_chainspec::ChainSpec;
use quintet_types::{Header, StateReader};
use revm::context::TxEnv;
use revm::context::result::{ExecutionResult, HaltReason};
use std::sync::atomic::AtomicBool;

/// How much one call may cost.
#[derive(Clone, Copy, Debug, Default)]
pub struct CallLimits<'a> {
    /// Most gas of a call, and what it gets when it names none; zero for no cap (geth's `--rpc.gascap`).
    pub gas_cap: u64,
    /// Once set, the call ends with [`CallError::Interrupted`] within microseconds.
    pub cancel: Option<&'a AtomicBool>,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallOutcome {
    /// It ran to its end.
    Success {
        /// What it returned; the code, if it created a contract.
        output: Bytes,
        /// Gas used, refunds taken off.
        gas_used: u64,
        /// Logs, in order.
        logs: Vec<Log>,
    },
    /// It reverted.
    Revert {
        /// Why, as the contract encoded it.
        output: Bytes,
        /// Gas used.
        gas_used: u64,
    },
    /// It failed.
    Halt {
        /// Why, in geth's words.
        reason: String,
        /// Whether more gas might have helped.
        out_of_gas: bool,
        /// Gas used: all of it.
        gas_used: u64,
    },
}

impl CallOutcome {
    /// Gas used, refunds taken off.
    pub const fn gas_used(&self) -> u64 {
        match self {
            Self::Success { gas_used, .. } | Self::Revert { gas_used, .. } | Self::Halt { gas_used, .. } => {
                *gas_used
            }
        }
    }

    /// Why it failed, in geth's words; `None` if it succeeded.
    pub fn error(&self) -> Option<&str> {
        match self {
            Self::Success { .. } => None,
            Self::Revert { .. } => Some("execution reverted"),
            Self::Halt { reason, .. } => Some(reason),
        }
    }
}

/// Why a call has no outcome.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CallError {
    /// A transaction like this may not run on this state.
    #[error("err: {error} (supplied gas {gas})")]
    Rejected {
        /// Why not.
        error: TxError,
        /// The gas that the call had.
        gas: u64,
    },
    /// As [`Self::Rejected`], while gas was estimated.
    #[error("failed with {gas} gas: {error}")]
    EstimateRejected {
        /// Why not.
        error: TxError,
        /// The gas that was tried.
        gas: u64,
    },
    /// The sender cannot pay the value that it sends.
    #[error("insufficient funds for transfer")]
    InsufficientFundsForTransfer,
    /// The sender cannot pay for its blobs.
    #[error("insufficient funds for gas * price + value")]
    InsufficientFundsForBlobs,
    /// An estimate found that no allowed amount of gas is enough.
    #[error("gas required exceeds allowance ({0})")]
    GasRequiredExceedsAllowance(u64),
    /// An estimated call reverts however much gas it has.
    #[error("execution reverted")]
    Reverted(Bytes),
    /// An estimated call fails however much gas it has.
    #[error("{0}")]
    Halted(String),
    /// The request names a price in two ways.
    #[error("both gasPrice and (maxFeePerGas or maxPriorityFeePerGas) specified")]
    TwoPrices,
    /// The request is for another chain.
    #[error("chainId does not match node's (have={have}, want={want})")]
    ChainId {
        /// The request's chain id.
        have: u64,
        /// This chain's.
        want: u64,
    },
    /// A state override both replaces the storage and changes it.
    #[error("account {0} has both 'state' and 'stateDiff'")]
    TwoStorageOverrides(Address),
    /// The cancel flag was set.
    #[error("execution aborted")]
    Interrupted,
    /// The state could not be read, or the header lacks a field that its fork demands.
    #[error(transparent)]
    Execution(#[from] ExecutionError),
}

/// Where and under which conditions calls are tried out.
#[derive(Clone, Copy)]
pub struct Simulation<'a> {
    /// The chain's rules.
    pub spec: &'a ChainSpec,
    /// The block that the call is made in: its number, time, base fee and so on.
    pub header: &'a Header,
    /// What `COINBASE` says: the header's beneficiary, or under clique the signer.
    pub beneficiary: Address,
    /// The state that the call sees.
    pub state: &'a dyn StateReader,
    /// Changes to that state.
    pub state_overrides: &'a StateOverrides,
    /// Changes to that block.
    pub block_overrides: &'a BlockOverrides,
    /// How much a call may cost.
    pub limits: CallLimits<'a>,
}

impl Simulation<'_> {
    /// Runs a call and says how it ended.
    ///
    /// # Errors
    /// When it may not run at all, was interrupted, or the state could not be read.
    pub fn call(&self, request: &CallRequest) -> Result<CallOutcome, CallError> {
        let environment = self.environment()?;
        let tx = request.to_tx(&environment, request.gas_limit(self.limits.gas_cap))?;
        let mut runner = Runner::new(self, &environment, &tx, ())?;
        let outcome = runner.run(tx).map(|run| run.outcome);
        runner.retire();
        outcome
    }

    /// The block's rules, with the overrides in place.
    fn environment(&self) -> Result<BlockEnvironment, CallError> {
        let mut environment = BlockEnvironment::new(self.spec, self.header, self.beneficiary)?;
        self.block_overrides.apply(&mut environment);
        environment.cfg.disable_nonce_check = true;
        environment.cfg.disable_eip3607 = true;
        Ok(environment)
    }
}

/// An EVM on which several attempts are made at one state: nothing of one is left for the next but what was
/// read.
struct Runner<'a, INSP> {
    vm: Vm<'a, INSP>,
}

/// One attempt.
struct Run {
    outcome: CallOutcome,
    /// The most gas in use at one time: refunds not taken off.
    peak_gas: u64,
}

impl<'a, INSP> Runner<'a, INSP> {
    /// The price of `tx` decides on the base fee that the call sees: a call that pays nothing is made as if
    /// there were none.
    fn new(
        simulation: &Simulation<'a>,
        environment: &BlockEnvironment,
        tx: &TxEnv,
        inspector: INSP,
    ) -> Result<Self, CallError> {
        let mut overlay = Overlay::for_simulation(simulation.state);
        request::apply_state_overrides(&mut overlay, simulation.state_overrides)?;
        let mut environment = environment.clone();
        let block = &mut environment.block;
        if request::effective_gas_price(tx, block.basefee) == 0 {
            block.basefee = 0;
        }
        if let Some(blob) = &mut block.blob_excess_gas_and_price
            && tx.max_fee_per_blob_gas == 0
            && !tx.blob_hashes.is_empty()
        {
            blob.blob_gasprice = 0;
        }
        let watch = Watch::new(simulation.limits.cancel);
        Ok(Self { vm: vm::vm(overlay, &environment, watch, inspector) })
    }

    fn validate(&mut self, tx: &TxEnv) -> Result<(), VmError> {
        let room = Room { gas: u64::MAX, blob_gas: u64::MAX };
        let context = &mut self.vm.ctx;
        let overlay = &mut context.journaled_state.database;
        validate::validate(tx, &context.cfg, &context.block, overlay, room, Mode::Simulation)
    }

    fn run(&mut self, tx: TxEnv) -> Result<Run, CallError> {
        self.run_with(tx, |vm, tx| vm::run(vm, tx))
    }

    fn run_with(
        &mut self,
        tx: TxEnv,
        run: impl FnOnce(&mut Vm<'a, INSP>, TxEnv) -> Result<ExecutionResult<HaltReason>, vm::RunError>,
    ) -> Result<Run, CallError> {
        let (gas, creates) = (tx.gas_limit, tx.kind.is_create());
        let result = self.validate(&tx).and_then(|()| run(&mut self.vm, tx).map_err(VmError::from));
        drop(vm::take_changes(&mut self.vm));
        let watch = &self.vm.ctx.chain;
        match result {
            Ok(result) => {
                let peak_gas = result.gas().total_gas_spent().max(result.gas().floor_gas());
                Ok(Run { outcome: outcome(result, watch.halt, creates), peak_gas })
            }
            Err(_) if watch.interrupted => Err(CallError::Interrupted),
            Err(VmError::Tx(error)) => Err(CallError::Rejected { error, gas }),
            Err(VmError::Fatal(error)) => Err(error.into()),
        }
    }

    fn retire(self) {
        drop(vm::retire(self.vm));
    }
}

fn outcome(result: ExecutionResult<HaltReason>, site: vm::HaltSite, creates: bool) -> CallOutcome {
    let gas_used = result.tx_gas_used();
    match result {
        ExecutionResult::Success { output, logs, .. } => {
            CallOutcome::Success { output: output.into_data(), gas_used, logs }
        }
        ExecutionResult::Revert { output, .. } => CallOutcome::Revert { output, gas_used },
        ExecutionResult::Halt { reason, .. } => CallOutcome::Halt {
            out_of_gas: matches!(reason, HaltReason::OutOfGas(_)),
            reason: halt::describe(&reason, site, creates),
            gas_used,
        },
    }
}
