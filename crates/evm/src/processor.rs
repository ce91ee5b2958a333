//! One block's way through the EVM, the same for a block that is checked and for one that is built: open,
//! transactions one by one, close.

use crate::database::Overlay;
use crate::env::BlockEnvironment;
use crate::error::{ExecutionError, VmError};
use crate::execute::{BlockOutput, PostStateRoot};
use crate::validate::{self, Mode, Room};
use crate::vm::{self, Vm, Watch};
use crate::{rewards, system};
use alloy_consensus::{Eip658Value, ReceiptWithBloom, TxReceipt};
use alloy_eips::eip4895::Withdrawal;
use alloy_eips::eip7685::Requests;
use alloy_evm::FromRecoveredTx;
use alloy_primitives::{Address, B256};
use quintet_chainspec::ChainSpec;
use quintet_types::{Header, Receipt, Receipts, StateReader, Transaction};
use revm::context::TxEnv;
use revm::context::result::{ExecutionResult, HaltReason};
use revm::primitives::hardfork::SpecId;

/// A block in the middle of its execution.
pub(crate) struct Processor<'a> {
    vm: Vm<'a>,
    environment: BlockEnvironment,
    receipts: Receipts,
    gas_used: u64,
    blob_gas_used: u64,
}

impl<'a> Processor<'a> {
    /// Opens the block: the DAO's change and the system calls that come before the transactions.
    pub(crate) fn open(
        environment: BlockEnvironment,
        state: &'a dyn StateReader,
        parent_hash: B256,
        parent_beacon_root: Option<B256>,
    ) -> Result<Self, ExecutionError> {
        let mut overlay = Overlay::new(state);
        if environment.dao_fork {
            rewards::apply_dao_fork(&mut overlay, environment.cfg.spec)?;
        }
        let mut vm = vm::vm(overlay, &environment, Watch::new(None), ());
        system::before_transactions(&mut vm, parent_hash, parent_beacon_root)?;
        Ok(Self { vm, environment, receipts: Receipts::new(), gas_used: 0, blob_gas_used: 0 })
    }

    /// A block without anything before its transactions.
    #[cfg(any(test, feature = "test-utils"))]
    pub(crate) fn bare(environment: BlockEnvironment, state: &'a dyn StateReader) -> Self {
        let vm = vm::vm(Overlay::new(state), &environment, Watch::new(None), ());
        Self { vm, environment, receipts: Receipts::new(), gas_used: 0, blob_gas_used: 0 }
    }

    /// The block without anything after its transactions.
    #[cfg(any(test, feature = "test-utils"))]
    pub(crate) fn into_parts(self) -> (Overlay<'a>, Receipts) {
        (vm::retire(self.vm), self.receipts)
    }

    /// What the block has left.
    pub(crate) const fn room(&self) -> Room {
        Room {
            gas: self.environment.block.gas_limit.saturating_sub(self.gas_used),
            blob_gas: self.environment.max_blob_gas.saturating_sub(self.blob_gas_used),
        }
    }

    pub(crate) const fn base_fee(&self) -> u64 {
        self.environment.block.basefee
    }

    /// Runs one transaction and returns its gas. One that may not run changes nothing.
    pub(crate) fn transaction(
        &mut self,
        transaction: &Transaction,
        sender: Address,
        roots: &mut dyn PostStateRoot,
    ) -> Result<u64, VmError> {
        let tx = TxEnv::from_recovered_tx(transaction, sender);
        let blob_gas = validate::blob_gas(&tx);
        let room = self.room();
        let context = &mut self.vm.ctx;
        let overlay = &mut context.journaled_state.database;
        let allowed = self.environment.replay_protection;
        validate::check_chain_id(transaction, allowed, context.cfg.chain_id).map_err(VmError::Tx)?;
        validate::validate(&tx, &context.cfg, &context.block, overlay, room, Mode::Transaction)?;

        let result = vm::run(&mut self.vm, tx)?;
        let changes = vm::take_changes(&mut self.vm);
        self.commit(changes).map_err(VmError::Fatal)?;
        let gas_used = result.tx_gas_used();
        self.gas_used = self.gas_used.saturating_add(gas_used);
        self.blob_gas_used = self.blob_gas_used.saturating_add(blob_gas);
        let receipt = self.receipt(transaction, result, roots).map_err(VmError::Fatal)?;
        self.receipts.push(receipt);
        Ok(gas_used)
    }

    fn commit(&mut self, changes: revm::state::EvmState) -> Result<(), ExecutionError> {
        Ok(self.vm.ctx.journaled_state.database.commit(changes)?)
    }

    /// From Byzantium on a receipt says whether the transaction succeeded; before, the state root after it
    /// (EIP-658).
    fn receipt(
        &self,
        transaction: &Transaction,
        result: ExecutionResult<HaltReason>,
        roots: &mut dyn PostStateRoot,
    ) -> Result<Receipt, ExecutionError> {
        let status = if self.environment.cfg.spec.is_enabled_in(SpecId::BYZANTIUM) {
            Eip658Value::Eip658(result.is_success())
        } else {
            let overlay = &self.vm.ctx.journaled_state.database;
            Eip658Value::PostState(roots.root(&overlay.diff(self.environment.number))?)
        };
        let logs = match result {
            ExecutionResult::Success { logs, .. } => logs,
            ExecutionResult::Revert { .. } | ExecutionResult::Halt { .. } => Vec::new(),
        };
        let receipt = alloy_consensus::Receipt { status, cumulative_gas_used: self.gas_used, logs };
        let logs_bloom = receipt.bloom();
        Ok(Receipt::from_typed(transaction.tx_type(), ReceiptWithBloom { receipt, logs_bloom }))
    }

    /// Closes the block: requests, then rewards and withdrawals.
    pub(crate) fn close(
        mut self,
        chain: &ChainSpec,
        uncles: &[Header],
        withdrawals: Option<&[Withdrawal]>,
    ) -> Result<BlockOutput, ExecutionError> {
        let environment = &self.environment;
        let spec = environment.cfg.spec;
        let requests = if spec.is_enabled_in(SpecId::PRAGUE) {
            system::requests(&mut self.vm, environment.deposit_contract, &self.receipts)?
        } else {
            Requests::default()
        };
        let mut overlay = vm::retire(self.vm);
        if environment.mining_rewards {
            rewards::pay_mining_rewards(&mut overlay, chain, environment, uncles)?;
        }
        rewards::pay_withdrawals(&mut overlay, spec, withdrawals.unwrap_or_default())?;
        Ok(BlockOutput {
            receipts: self.receipts,
            requests,
            gas_used: self.gas_used,
            blob_gas_used: self.blob_gas_used,
            diff: overlay.diff(environment.number),
        })
    }
}
