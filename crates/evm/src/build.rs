//! Builds a block on a parent: the same code that checks one runs the transactions, one at a time, and a
//! transaction that may not run leaves no trace. The header comes out whole but for its state root, which is
//! the caller's trie to compute from the diff.

use crate::env::{self, BlockEnvironment};
use crate::error::{ExecutionError, TxError, VmError};
use crate::execute::{BlockOutput, PostStateRoot};
use crate::processor::Processor;
use alloy_consensus::proofs::{
    calculate_ommers_root, calculate_receipt_root, calculate_transaction_root, calculate_withdrawals_root,
};
use alloy_consensus::{Transaction as _, TxReceipt};
use alloy_eips::eip4895::{Withdrawal, Withdrawals};
use alloy_eips::eip7685::Requests;
use alloy_primitives::{Address, B64, B256, Bloom, Bytes, U256};
use quintet_chainspec::ChainSpec;
use quintet_types::{Block, Body, Header, Receipt, Receipts, StateDiff, StateReader, Transaction};
use revm::primitives::hardfork::SpecId;

/// What a new block is to be, beside what its parent and its transactions determine.
#[derive(Clone, Debug, Default)]
pub struct BlockAttributes {
    /// Seconds since the epoch; later than the parent's.
    pub timestamp: u64,
    /// The beneficiary that the header names; under clique the vote's candidate.
    pub coinbase: Address,
    /// Who gets the fees, and the rewards of proof of work; under clique the signer.
    pub fee_recipient: Address,
    /// Most gas that the transactions may use.
    pub gas_limit: u64,
    /// The header's difficulty; zero after the merge, and only then.
    pub difficulty: U256,
    /// The header's mix hash: `prevRandao` after the merge (EIP-4399).
    pub mix_hash: B256,
    /// The header's nonce.
    pub nonce: B64,
    /// The header's extra data.
    pub extra_data: Bytes,
    /// Uncles, newest rules checked by the caller.
    pub uncles: Vec<Header>,
    /// The beacon chain's withdrawals; looked at from Shanghai on, where none given means an empty list.
    pub withdrawals: Vec<Withdrawal>,
    /// Root of the parent beacon block (EIP-4788); looked at from Cancun on, where none given means zero.
    pub parent_beacon_block_root: Option<B256>,
}

/// A transaction that went into the block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Included {
    /// Gas that it used.
    pub gas_used: u64,
    /// What the fee recipient gets per gas, wei.
    pub tip: u128,
}

/// Why a transaction did not go into the block.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BuildError {
    /// It may not run here; [`TxError::remedy`] says what to do about it. The block goes on without it.
    #[error(transparent)]
    Rejected(#[from] TxError),
    /// The node failed: give the block up.
    #[error(transparent)]
    Fatal(#[from] ExecutionError),
}

/// A block ready for its state root and its seal.
#[derive(Clone, Debug)]
pub struct BuiltBlock {
    /// The block; its header's state root is zero.
    pub block: Block,
    /// One sender per transaction.
    pub senders: Vec<Address>,
    /// One receipt per transaction.
    pub receipts: Receipts,
    /// Execution-layer requests (EIP-7685).
    pub requests: Requests,
    /// What the block changes in the state.
    pub diff: StateDiff,
}

/// A block being built. Not `Send`: one thread builds one block.
pub struct BlockBuilder<'a> {
    processor: Processor<'a>,
    roots: &'a mut dyn PostStateRoot,
    chain: &'a ChainSpec,
    spec: SpecId,
    header: Header,
    attributes: BlockAttributes,
    transactions: Vec<Transaction>,
    senders: Vec<Address>,
}

impl<'a> BlockBuilder<'a> {
    /// Opens a block on `parent`, whose hash is `parent_hash` and whose state is `state`. `roots` is asked
    /// only before Byzantium.
    ///
    /// # Errors
    /// When the chain has no blob schedule for the block's time, or the state cannot be read.
    pub fn start(
        spec: &'a ChainSpec,
        parent: &Header,
        parent_hash: B256,
        attributes: BlockAttributes,
        state: &'a dyn StateReader,
        roots: &'a mut dyn PostStateRoot,
    ) -> Result<Self, ExecutionError> {
        let header = env::next_header(spec, parent, parent_hash, &attributes)?;
        let environment = BlockEnvironment::new(spec, &header, attributes.fee_recipient)?;
        let fork = environment.cfg.spec;
        let processor = Processor::open(environment, state, parent_hash, header.parent_beacon_block_root)?;
        Ok(Self {
            processor,
            roots,
            chain: spec,
            spec: fork,
            header,
            attributes,
            transactions: Vec::new(),
            senders: Vec::new(),
        })
    }

    /// The header as far as it is known before the transactions.
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// Gas that the block has left.
    pub const fn gas_left(&self) -> u64 {
        self.processor.room().gas
    }

    /// Blob gas that the block has left.
    pub const fn blob_gas_left(&self) -> u64 {
        self.processor.room().blob_gas
    }

    /// Runs a transaction and takes it into the block.
    ///
    /// # Errors
    /// [`BuildError::Rejected`] when it may not run: the block is as it was before.
    pub fn try_transaction(
        &mut self,
        transaction: &Transaction,
        sender: Address,
    ) -> Result<Included, BuildError> {
        let gas_used =
            self.processor.transaction(transaction, sender, self.roots).map_err(|error| match error {
                VmError::Tx(error) => BuildError::Rejected(error),
                VmError::Fatal(error) => BuildError::Fatal(error),
            })?;
        self.transactions.push(transaction.clone());
        self.senders.push(sender);
        let tip = transaction.effective_tip_per_gas(self.processor.base_fee()).unwrap_or_default();
        Ok(Included { gas_used, tip })
    }

    /// Closes the block.
    ///
    /// # Errors
    /// When a system contract fails, or the state cannot be read.
    pub fn finish(self) -> Result<BuiltBlock, ExecutionError> {
        let Self { processor, chain, spec, header, attributes, transactions, senders, .. } = self;
        let withdrawals =
            spec.is_enabled_in(SpecId::SHANGHAI).then(|| Withdrawals::new(attributes.withdrawals));
        let output = {
            let withdrawals = withdrawals.as_ref().map(|list| list.as_slice());
            processor.close(chain, &attributes.uncles, withdrawals)?
        };
        let body = Body { transactions, ommers: attributes.uncles, withdrawals };
        let header = seal_roots(header, spec, &body, &output);
        let BlockOutput { receipts, requests, diff, .. } = output;
        Ok(BuiltBlock { block: Block { header, body }, senders, receipts, requests, diff })
    }
}

/// Fills in what the execution determined, all but the state root.
fn seal_roots(mut header: Header, spec: SpecId, body: &Body, output: &BlockOutput) -> Header {
    header.ommers_hash = calculate_ommers_root(&body.ommers);
    header.transactions_root = calculate_transaction_root(&body.transactions);
    header.receipts_root = calculate_receipt_root(&output.receipts);
    header.logs_bloom = logs_bloom(&output.receipts);
    header.gas_used = output.gas_used;
    header.withdrawals_root = body.withdrawals.as_ref().map(|list| calculate_withdrawals_root(list));
    header.blob_gas_used = spec.is_enabled_in(SpecId::CANCUN).then_some(output.blob_gas_used);
    header.requests_hash = spec.is_enabled_in(SpecId::PRAGUE).then(|| output.requests.requests_hash());
    header
}

/// The header's bloom: all receipts' blooms together.
pub fn logs_bloom(receipts: &[Receipt]) -> Bloom {
    receipts.iter().fold(Bloom::ZERO, |bloom, receipt| bloom | receipt.bloom())
}
