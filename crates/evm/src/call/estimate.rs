//! `eth_estimateGas` by geth's algorithm (`eth/gasestimator`): a run with all the gas allowed, a guess, and a
//! binary search in between.

use super::{CallError, CallOutcome, CallRequest, Run, Runner, Simulation};
use crate::error::{ExecutionError, TxError};
use crate::validate;
use alloy_eips::eip7825::MAX_TX_GAS_LIMIT_OSAKA;
use alloy_primitives::{KECCAK256_EMPTY, U256};
use revm::context::TxEnv;
use revm::primitives::hardfork::SpecId;

/// Gas of a transfer, the least that any transaction takes.
const TRANSFER_GAS: u64 = 21_000;

/// Gas that a call with value gives its callee on top.
const CALL_STIPEND: u64 = 2_300;

/// The search ends when the estimate is at most this much too high: 1.5 %, in thousandths.
const ERROR_RATIO_THOUSANDTHS: u128 = 15;

impl Simulation<'_> {
    /// The least gas limit, give or take 1.5 %, with which the call succeeds.
    ///
    /// # Errors
    /// When no allowed limit is enough, when the call fails for another reason, and as [`Self::call`].
    pub fn estimate_gas(&self, request: &CallRequest) -> Result<u64, CallError> {
        let environment = self.environment()?;
        let cap = self.limits.gas_cap;
        let asked = request.gas.map(|gas| if cap == 0 { gas } else { gas.min(cap) });
        let tx = request.to_tx(&environment, 0)?;
        let mut high = asked.filter(|gas| *gas >= TRANSFER_GAS).unwrap_or(environment.block.gas_limit);
        if environment.cfg.spec.is_enabled_in(SpecId::OSAKA) {
            high = high.min(MAX_TX_GAS_LIMIT_OSAKA);
        }
        let mut runner = Runner::new(self, &environment, &tx, ())?;
        if let Some(affordable) = runner.affordable_gas(&tx)? {
            high = high.min(affordable);
        }
        if cap != 0 {
            high = high.min(cap);
        }
        let estimate = Estimator { runner: &mut runner, tx }.estimate(high);
        runner.retire();
        estimate
    }
}

impl Runner<'_, ()> {
    /// The gas that the sender can pay for at the price offered; `None` when the call pays nothing.
    fn affordable_gas(&mut self, tx: &TxEnv) -> Result<Option<u64>, CallError> {
        if tx.gas_price == 0 {
            return Ok(None);
        }
        let overlay = &mut self.vm.ctx.journaled_state.database;
        let sender = overlay.info(tx.caller).map_err(ExecutionError::from)?;
        let mut available = sender.map(|info| info.balance).unwrap_or_default();
        if !tx.value.is_zero() {
            if tx.value >= available {
                return Err(CallError::InsufficientFundsForTransfer);
            }
            available -= tx.value;
        }
        let blobs = U256::from(validate::blob_gas(tx)).saturating_mul(U256::from(tx.max_fee_per_blob_gas));
        if !tx.blob_hashes.is_empty() {
            if blobs >= available {
                return Err(CallError::InsufficientFundsForBlobs);
            }
            available -= blobs;
        }
        Ok(u64::try_from(available / U256::from(tx.gas_price)).ok())
    }

    fn has_code(&mut self, tx: &TxEnv) -> Result<bool, CallError> {
        let Some(to) = tx.kind.to() else { return Ok(true) };
        let overlay = &mut self.vm.ctx.journaled_state.database;
        let info = overlay.info(*to).map_err(ExecutionError::from)?;
        Ok(info.is_some_and(|info| info.code_hash != KECCAK256_EMPTY))
    }
}

struct Estimator<'r, 'a> {
    runner: &'r mut Runner<'a, ()>,
    tx: TxEnv,
}

impl Estimator<'_, '_> {
    fn estimate(&mut self, mut high: u64) -> Result<u64, CallError> {
        if self.tx.data.is_empty() && !self.runner.has_code(&self.tx)? {
            // A transfer, most likely; whatever goes wrong shows again below.
            if let Ok(Some(run)) = self.attempt(TRANSFER_GAS)
                && run.outcome.error().is_none()
            {
                return Ok(TRANSFER_GAS);
            }
        }
        let Some(run) = self.attempt(high)? else {
            return Err(CallError::GasRequiredExceedsAllowance(high));
        };
        match run.outcome {
            CallOutcome::Success { .. } => {}
            CallOutcome::Revert { output, .. } => return Err(CallError::Reverted(output)),
            CallOutcome::Halt { out_of_gas: true, .. } => {
                return Err(CallError::GasRequiredExceedsAllowance(high));
            }
            CallOutcome::Halt { reason, .. } => return Err(CallError::Halted(reason)),
        }
        // The gas that it used is the least that it can need.
        let mut low = run.outcome.gas_used().saturating_sub(1);
        let guess = u128::from(run.peak_gas.saturating_add(CALL_STIPEND)) * 64 / 63;
        let guess = u64::try_from(guess).unwrap_or(u64::MAX);
        if guess < high {
            self.narrow(guess, &mut low, &mut high)?;
        }
        while low.saturating_add(1) < high {
            if u128::from(high - low) * 1000 < u128::from(high) * ERROR_RATIO_THOUSANDTHS {
                break;
            }
            // Most calls need little more than they use, so the middle may be far too high.
            let middle = (low + (high - low) / 2).min(low.saturating_mul(2));
            self.narrow(middle, &mut low, &mut high)?;
        }
        Ok(high)
    }

    fn narrow(&mut self, gas: u64, low: &mut u64, high: &mut u64) -> Result<(), CallError> {
        let succeeded = self.attempt(gas)?.is_some_and(|run| run.outcome.error().is_none());
        *if succeeded { high } else { low } = gas;
        Ok(())
    }

    /// One run with this gas limit; `None` when it does not even pay for the transaction's data.
    fn attempt(&mut self, gas: u64) -> Result<Option<Run>, CallError> {
        match self.runner.run(TxEnv { gas_limit: gas, ..self.tx.clone() }) {
            Ok(run) => Ok(Some(run)),
            Err(CallError::Rejected {
                error: TxError::IntrinsicGas { .. } | TxError::FloorDataGas { .. },
                ..
            }) => Ok(None),
            Err(CallError::Rejected { error, gas }) => Err(CallError::EstimateRejected { error, gas }),
            Err(error) => Err(error),
        }
    }
}
