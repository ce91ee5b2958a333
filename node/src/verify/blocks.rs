//! Checks the canonical chain block by block: what was committed once must still fit together.

use crate::error::NodeError;
use crate::interrupt::Interrupt;
use crate::progress::Progress;
use alloy_consensus::TxReceipt as _;
use alloy_consensus::proofs::{
    calculate_ommers_root, calculate_receipt_root, calculate_transaction_root, calculate_withdrawals_root,
};
use alloy_primitives::{B256, Bloom, U256};
use quintet_chainspec::ChainSpec;
use quintet_store::{Store, TransactionLocation};
use quintet_types::{BlockRef, Header, Receipt, RecoveredBlock, recover_senders};
use rayon::prelude::*;
use std::fmt::Display;
use std::ops::RangeInclusive;

/// Blocks checked at a time, in parallel.
const BATCH: u64 = 512;

/// What is checked of each block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checks {
    /// Its header: number, hash, parent, total difficulty.
    Headers,
    /// Also its body, senders, receipts and the places of its transactions.
    Everything,
}

/// A store whose blocks are checked.
struct Blocks<'a> {
    store: &'a dyn Store,
    spec: &'a ChainSpec,
    checks: Checks,
}

/// Checks the canonical blocks of `range`, which must be there. Returns how many transactions they have.
///
/// # Errors
/// Names the first block that does not hold, and what of it; or when the store cannot be read, or `interrupt` asks
/// to stop.
pub(crate) fn check_blocks(
    store: &dyn Store,
    spec: &ChainSpec,
    range: RangeInclusive<u64>,
    checks: Checks,
    interrupt: &Interrupt,
) -> Result<u64, NodeError> {
    let blocks = Blocks { store, spec, checks };
    let (mut first, last) = range.into_inner();
    let mut progress = Progress::blocks("Verifying", first, last);
    let mut transactions = 0;
    while first <= last {
        if interrupt.requested() {
            return Err(NodeError::Interrupted);
        }
        let end = last.min(first.saturating_add(BATCH - 1));
        let counts: Vec<Result<u64, NodeError>> =
            (first..=end).into_par_iter().map(|number| blocks.check(number)).collect();
        for count in counts {
            transactions += count?;
        }
        progress.at_block(end);
        first = end + 1;
    }
    progress.finish();
    Ok(transactions)
}

/// The error of a block that does not hold.
fn damaged(block: BlockRef, what: impl Into<String>) -> NodeError {
    NodeError::Damaged { number: block.number, hash: block.hash, what: what.into() }
}

/// Fails unless what the store has is what it should have.
fn same<T: PartialEq + Display>(block: BlockRef, what: &str, want: &T, have: &T) -> Result<(), NodeError> {
    if want == have { Ok(()) } else { Err(damaged(block, format!("{what} is {have}, not {want}"))) }
}

impl Blocks<'_> {
    /// Checks one block; returns how many transactions it has, where they were looked at.
    fn check(&self, number: u64) -> Result<u64, NodeError> {
        let hash = self.store.canonical_hash(number)?;
        let hash = hash.ok_or_else(|| NodeError::Gap { number })?;
        let block = BlockRef { number, hash };
        let header = self.store.header(&hash)?.ok_or_else(|| damaged(block, "its header is missing"))?;
        same(block, "the hash of its header", &hash, &header.hash_slow())?;
        same(block, "the number in its header", &number, &header.number)?;
        if self.store.block_number(&hash)? != Some(number) {
            return Err(damaged(block, "it is not found by its hash"));
        }
        self.check_parent(block, &header)?;
        match self.checks {
            Checks::Headers => Ok(0),
            Checks::Everything => self.check_body(block),
        }
    }

    /// The parent's hash and the total difficulty.
    fn check_parent(&self, block: BlockRef, header: &Header) -> Result<(), NodeError> {
        let missing = || damaged(block, "its total difficulty is missing");
        let total = self.store.total_difficulty(&block.hash)?.ok_or_else(missing)?;
        let Some(parent_number) = block.number.checked_sub(1) else {
            same(block, "its hash", &self.spec.genesis_hash(), &block.hash)?;
            return same(block, "its total difficulty", &header.difficulty, &total);
        };
        let parent =
            self.store.canonical_hash(parent_number)?.ok_or(NodeError::Gap { number: parent_number })?;
        same(block, "its parent", &parent, &header.parent_hash)?;
        let parent_total: U256 = self.store.total_difficulty(&parent)?.ok_or_else(missing)?;
        same(block, "its total difficulty", &parent_total.saturating_add(header.difficulty), &total)
    }

    fn check_body(&self, block: BlockRef) -> Result<u64, NodeError> {
        let missing = |what: &str| damaged(block, format!("its {what} missing"));
        let recovered = self.store.block(&block.hash)?.ok_or_else(|| missing("body or senders are"))?;
        let (header, body) = (recovered.header(), &recovered.block.body);
        let transactions = calculate_transaction_root(&body.transactions);
        same(block, "the root of its transactions", &header.transactions_root, &transactions)?;
        same(block, "the hash of its uncles", &header.ommers_hash, &calculate_ommers_root(&body.ommers))?;
        let withdrawals = body.withdrawals.as_ref().map(|list| calculate_withdrawals_root(list));
        if withdrawals != header.withdrawals_root {
            return Err(damaged(block, "the root of its withdrawals is not the header's"));
        }
        self.check_senders(block, &recovered)?;
        self.check_lookups(block, &recovered)?;
        let receipts = self.store.receipts(&block.hash)?.ok_or_else(|| missing("receipts are"))?;
        same(block, "the root of its receipts", &header.receipts_root, &calculate_receipt_root(&receipts))?;
        let bloom = receipts.iter().fold(Bloom::ZERO, |bloom, receipt| bloom | receipt.bloom());
        same(block, "the bloom of its receipts", &header.logs_bloom, &bloom)?;
        let gas = receipts.last().map_or(0, Receipt::cumulative_gas_used);
        same(block, "the gas of its receipts", &header.gas_used, &gas)?;
        Ok(body.transactions.len() as u64)
    }

    fn check_senders(&self, block: BlockRef, recovered: &RecoveredBlock) -> Result<(), NodeError> {
        let low_s = self.spec.is_homestead_active(block.number);
        let senders = recover_senders(&recovered.block.body.transactions, low_s);
        let senders = senders.map_err(|error| damaged(block, error.to_string()))?;
        let wrong = senders.iter().zip(&recovered.senders).position(|(want, have)| want != have);
        if let Some(index) = wrong {
            return Err(damaged(block, format!("the sender of its transaction {index} is another")));
        }
        same(block, "the number of its senders", &senders.len(), &recovered.senders.len())
    }

    fn check_lookups(&self, block: BlockRef, recovered: &RecoveredBlock) -> Result<(), NodeError> {
        for (index, transaction) in (0_u32..).zip(&recovered.block.body.transactions) {
            let hash: B256 = *transaction.tx_hash();
            if self.store.transaction_location(&hash)? != Some(TransactionLocation { block, index }) {
                return Err(damaged(
                    block,
                    format!("its transaction {index} [{hash}] is not found by its hash"),
                ));
            }
        }
        Ok(())
    }
}
