//! What execution must give: the gas, bloom, receipts, requests and state root that the header promises.

use crate::chain::{Chain, Executed};
use crate::error::ChainError;
use crate::stage::timed;
use crate::trie::HeadTrie;
use alloy_consensus::TxReceipt;
use alloy_consensus::proofs::calculate_receipt_root;
use alloy_primitives::{Address, B256, U256};
use quintet_consensus::ConsensusError;
use quintet_evm::{BlockOutput, PostStateRoot, logs_bloom};
use quintet_trie::TrieUpdate;
use quintet_types::{ExecutedBlock, Receipt, RecoveredBlock, StateDiff, StateError, StateReader};
use std::fmt::Display;
use std::sync::Arc;
use tracing::info_span;

/// The trie of the state that a block is executed on.
pub(crate) trait StateTrie {
    /// The root with `diff` on top, and the nodes that it changes.
    fn update(&self, diff: &StateDiff) -> Result<(B256, TrieUpdate), ChainError>;
}

/// Executes a block on `state`, with its root computed over `trie`, and checks it against its header. `author`
/// gets the fees.
pub(crate) fn execute(
    chain: &Chain,
    block: Arc<RecoveredBlock>,
    (total_difficulty, author): (U256, Address),
    state: &dyn StateReader,
    trie: &dyn StateTrie,
) -> Result<Executed, ChainError> {
    let mut roots = Roots(trie);
    let output = timed("execute", &info_span!("execute"), || {
        quintet_evm::execute_block(&chain.spec, &block, author, state, &mut roots)
    });
    let output = output.map_err(|error| {
        if error.is_invalid_block() { invalid(&block, &error) } else { ChainError::Execution(error) }
    })?;
    check_output(&block, &output)?;
    let (root, update) = timed("state_root", &info_span!("state root"), || trie.update(&output.diff))?;
    check_root(&block, root)?;
    let BlockOutput { receipts, diff, .. } = output;
    let executed =
        ExecutedBlock { block, receipts: Arc::new(receipts), diff: Arc::new(diff), total_difficulty };
    Ok(Executed { block: executed, trie: update })
}

/// Compares what execution gave with what the header promises, the state root excepted.
pub(crate) fn check_output(block: &RecoveredBlock, output: &BlockOutput) -> Result<(), ChainError> {
    check_gas_and_bloom(block, output.gas_used, &output.receipts)?;
    check_receipts_root(block, calculate_receipt_root(&output.receipts))?;
    if let Some(want) = block.header().requests_hash {
        let have = output.requests.requests_hash();
        if have != want {
            return Err(invalid(
                block,
                &format_args!("invalid requests hash (remote: {want} local: {have})"),
            ));
        }
    }
    Ok(())
}

/// Compares receipts that somebody sent, the root of whose trie is `root`, with what the header promises.
pub(crate) fn check_receipts(
    block: &RecoveredBlock,
    receipts: &[Receipt],
    root: B256,
) -> Result<(), ChainError> {
    check_receipts_root(block, root)?;
    let (transactions, count) = (block.block.body.transactions.len(), receipts.len());
    if transactions != count {
        return Err(invalid(block, &format_args!("{count} receipts for {transactions} transactions")));
    }
    check_gas_and_bloom(block, receipts.last().map_or(0, TxReceipt::cumulative_gas_used), receipts)
}

fn check_gas_and_bloom(
    block: &RecoveredBlock,
    gas_used: u64,
    receipts: &[Receipt],
) -> Result<(), ChainError> {
    let header = block.header();
    if gas_used != header.gas_used {
        let want = header.gas_used;
        return Err(invalid(block, &format_args!("invalid gas used (remote: {want} local: {gas_used})")));
    }
    let (want, bloom) = (header.logs_bloom, logs_bloom(receipts));
    if bloom != want {
        return Err(invalid(block, &format_args!("invalid bloom (remote: {want} local: {bloom})")));
    }
    Ok(())
}

fn check_receipts_root(block: &RecoveredBlock, root: B256) -> Result<(), ChainError> {
    let want = block.header().receipts_root;
    if root == want {
        return Ok(());
    }
    Err(invalid(block, &format_args!("invalid receipt root hash (remote: {want} local: {root})")))
}

/// Compares the state root with the header's.
pub(crate) fn check_root(block: &RecoveredBlock, root: B256) -> Result<(), ChainError> {
    let want = block.header().state_root;
    if root == want {
        return Ok(());
    }
    Err(invalid(block, &format_args!("invalid merkle root (remote: {want} local: {root})")))
}

/// The block breaks a rule.
pub(crate) fn invalid(block: &RecoveredBlock, reason: &dyn Display) -> ChainError {
    ChainError::InvalidBlock { number: block.header().number, hash: block.hash, reason: reason.to_string() }
}

/// What a consensus engine said of the block.
pub(crate) fn judged(block: &RecoveredBlock, error: ConsensusError) -> ChainError {
    match error {
        ConsensusError::Invalid(error) => invalid(block, &error),
        ConsensusError::State(error) => ChainError::State(error),
    }
}

/// What a consensus engine said where no block is at fault.
pub(crate) fn engine_failed(error: ConsensusError) -> ChainError {
    match error {
        ConsensusError::State(error) => ChainError::State(error),
        ConsensusError::Invalid(error) => ChainError::Engine(error.to_string()),
    }
}

/// Roots in the middle of a block, for receipts before Byzantium.
struct Roots<'a>(&'a dyn StateTrie);

impl PostStateRoot for Roots<'_> {
    fn root(&mut self, diff: &StateDiff) -> Result<B256, StateError> {
        self.0.update(diff).map(|(root, _)| root).map_err(StateError::new)
    }
}

/// The same over the trie at the head.
pub(crate) struct TrieRoots<'a>(pub(crate) &'a HeadTrie);

impl PostStateRoot for TrieRoots<'_> {
    fn root(&mut self, diff: &StateDiff) -> Result<B256, StateError> {
        Roots(self.0).root(diff)
    }
}
