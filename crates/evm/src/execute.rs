//! Executes a block on its parent's state. Whether the result is what the header promises (gas used, roots,
//! bloom) is for the caller to compare; what the transactions themselves may not do is refused here.

use crate::env::BlockEnvironment;
use crate::error::{ExecutionError, VmError};
use crate::processor::Processor;
use alloy_eips::eip7685::Requests;
use alloy_primitives::{Address, B256};
use quintet_chainspec::ChainSpec;
use quintet_types::{Receipts, RecoveredBlock, StateDiff, StateError, StateReader};

/// Gives the state root in the middle of a block, which receipts before Byzantium carry (EIP-658).
pub trait PostStateRoot {
    /// The root of the parent's state with `diff`, all that the block changed so far, on top.
    ///
    /// # Errors
    /// When the trie cannot be read.
    fn root(&mut self, diff: &StateDiff) -> Result<B256, StateError>;
}

/// What a block did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockOutput {
    /// One receipt per transaction.
    pub receipts: Receipts,
    /// Execution-layer requests (EIP-7685); none before Prague.
    pub requests: Requests,
    /// Gas used by all transactions.
    pub gas_used: u64,
    /// Blob gas used by all transactions (EIP-4844).
    pub blob_gas_used: u64,
    /// What changed in the state.
    pub diff: StateDiff,
}

/// Executes a block on `state`, the state after its parent.
///
/// `beneficiary` is who gets the fees (and the rewards of proof of work): what the consensus engine says,
/// which is the header's beneficiary except under clique, where it is the signer.
///
/// # Errors
/// When the block breaks a rule ([`ExecutionError::is_invalid_block`]), or when the state cannot be read.
pub fn execute_block(
    spec: &ChainSpec,
    block: &RecoveredBlock,
    beneficiary: Address,
    state: &dyn StateReader,
    roots: &mut dyn PostStateRoot,
) -> Result<BlockOutput, ExecutionError> {
    let header = block.header();
    let body = &block.block.body;
    if body.transactions.len() != block.senders.len() {
        return Err(ExecutionError::Senders {
            transactions: body.transactions.len(),
            senders: block.senders.len(),
        });
    }
    let environment = BlockEnvironment::new(spec, header, beneficiary)?;
    let mut processor =
        Processor::open(environment, state, header.parent_hash, header.parent_beacon_block_root)?;
    for (index, (transaction, sender)) in block.transactions().enumerate() {
        processor.transaction(transaction, sender, roots).map_err(|error| match error {
            VmError::Tx(error) => {
                ExecutionError::Transaction { index, hash: *transaction.tx_hash(), error: Box::new(error) }
            }
            VmError::Fatal(error) => error,
        })?;
    }
    processor.close(spec, &body.ommers, body.withdrawals.as_ref().map(|list| list.as_slice()))
}
