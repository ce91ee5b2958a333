//! The first two stages: blocks from the caller's iterator, and everything about them that needs no state.

use super::queue::{Ends, Queue};
use super::state::ReadAhead;
use super::{Mode, Pipeline, Stage, Stop, weight};
use crate::error::ChainError;
use crate::history::RootedReceipts;
use crate::verify::{check_receipts, judged};
use alloy_primitives::{Address, B256};
use quintet_chainspec::Fork;
use quintet_consensus::{ConsensusError, check_body, fork_of};
use quintet_types::{Block, Header, Receipts, RecoveredBlock, recover_sender};
use rayon::prelude::*;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Bytes of blocks that are prepared together: some milliseconds of work, shared by all threads.
const CHUNK_BYTES: usize = 1 << 20;
/// Senders that one thread recovers at a stretch.
const STRETCH: usize = 32;

/// Seals that one thread checks at a stretch: together they are cheaper than one by one.
const SEALS: usize = 16;

/// A block that is not canonical yet.
pub(super) struct Decoded {
    block: Block,
    hash: B256,
    /// Of history; none of what is executed.
    receipts: RootedReceipts,
    weight: usize,
    /// Whether a block with this number can have a parent. A false number would have an epoch's cache made for it.
    plausible: bool,
}

/// A block with everything known of it that needs no state.
pub(super) struct Prepared {
    pub(super) block: Arc<RecoveredBlock>,
    /// Of history; none of what is executed.
    pub(super) receipts: Receipts,
    /// Why it is not valid, if it is on the chain at all.
    pub(super) flaw: Option<Stop>,
    /// Values that it will need.
    pub(super) ahead: ReadAhead,
    /// The count of reorgs when they were read.
    pub(super) reorgs: u64,
    pub(super) weight: usize,
}

impl Pipeline<'_> {
    /// Takes blocks from the iterator until it ends. Returns its error, if that ended it.
    pub(super) fn decode<E>(
        &self,
        mut blocks: impl Iterator<Item = Result<(Block, RootedReceipts), E>>,
    ) -> Option<E> {
        let _ends = Ends { input: None::<&Queue<()>>, output: Some(&self.decoded) };
        let mut highest = self.newest().number;
        loop {
            let (block, receipts) = match self.clock.time(Stage::Decode, || blocks.next()) {
                None => return None,
                Some(Err(error)) => return Some(error),
                Some(Ok(next)) => next,
            };
            let pushed = match self.skip(block, receipts) {
                Ok(None) => continue,
                Ok(Some(mut decoded)) => {
                    let number = decoded.block.header.number;
                    decoded.plausible = number <= highest.saturating_add(1);
                    if decoded.plausible {
                        highest = highest.max(number);
                    }
                    let weight = decoded.weight;
                    self.decoded.push(Ok(decoded), weight)
                }
                Err(error) => self.decoded.push(Err(Stop::passing(error)), 0),
            };
            if pushed.is_err() {
                return None;
            }
        }
    }

    /// Leaves out a block that is canonical already.
    fn skip(&self, block: Block, receipts: RootedReceipts) -> Result<Option<Decoded>, ChainError> {
        let hash = block.header.hash_slow();
        let number = block.header.number;
        if number <= self.chain.head().block.number {
            let canonical = self.chain.store.canonical_hash(number)?;
            if canonical == Some(hash) {
                self.counts.skipped.fetch_add(1, Ordering::Relaxed);
                return Ok(None);
            }
            if number == 0 {
                let have = canonical.unwrap_or_default();
                let reason =
                    format!("genesis block mismatch: have {have}, the data directory's chain is another");
                return Err(ChainError::InvalidBlock { number, hash, reason });
            }
        }
        let weight = weight::of_block(&block) + weight::of_receipts(receipts.receipts());
        Ok(Some(Decoded { block, hash, receipts, weight, plausible: true }))
    }

    /// Prepares blocks in parallel, ahead of their execution, and passes them on in order.
    pub(super) fn prepare(&self) {
        let _ends = Ends { input: Some(&self.decoded), output: Some(&self.prepared) };
        loop {
            let decoded = self.decoded.pop_up_to(CHUNK_BYTES);
            if decoded.is_empty() {
                return;
            }
            for step in self.workers.install(|| self.prepare_all(decoded)) {
                let weight = step.as_ref().map_or(0, |prepared| prepared.weight);
                if self.prepared.push(step, weight).is_err() {
                    return;
                }
            }
        }
    }

    fn prepare_all(&self, steps: Vec<Result<Decoded, Stop>>) -> Vec<Result<Prepared, Stop>> {
        let seals: Vec<_> = steps.par_chunks(SEALS).flat_map_iter(|steps| self.check_seals(steps)).collect();
        let prepare =
            |(step, seal): (Result<Decoded, Stop>, _)| step.map(|decoded| self.prepare_block(decoded, seal));
        steps.into_par_iter().zip(seals).map(prepare).collect()
    }

    /// Checks the seals of the blocks whose numbers can be true. The others will be refused for them.
    fn check_seals(&self, steps: &[Result<Decoded, Stop>]) -> Vec<Result<(), ConsensusError>> {
        fn header(step: &Result<Decoded, Stop>) -> Option<&Header> {
            step.as_ref().ok().filter(|decoded| decoded.plausible).map(|decoded| &decoded.block.header)
        }
        let headers: Vec<&Header> = steps.iter().filter_map(header).collect();
        let checked =
            self.clock.time(Stage::Seal, || self.chain.engine_for(self.options.seals).check_seals(&headers));
        let mut checked = checked.into_iter();
        let outcome = |step| header(step).and_then(|_| checked.next()).unwrap_or(Ok(()));
        steps.iter().map(outcome).collect()
    }

    fn prepare_block(&self, decoded: Decoded, seal: Result<(), ConsensusError>) -> Prepared {
        let Decoded { block, hash, receipts, weight, .. } = decoded;
        let recovered = self.recover(&block, hash);
        let (senders, flaw) = match recovered {
            Ok(senders) => (senders, None),
            Err(error) => (Vec::new(), Some(Stop::passing(error))),
        };
        let block = RecoveredBlock { hash, block, senders };
        let flaw = self.flaw(&block, seal).or(flaw).or_else(|| self.receipts_flaw(&block, &receipts));
        let reorgs = self.reorgs.load(Ordering::Acquire);
        let ahead = ReadAhead { at: self.committed.load(Ordering::Acquire), ..ReadAhead::default() };
        Prepared { block: Arc::new(block), receipts: receipts.into_receipts(), flaw, ahead, reorgs, weight }
    }

    fn recover(&self, block: &Block, hash: B256) -> Result<Vec<Address>, ChainError> {
        let low_s = fork_of(&self.chain.spec, &block.header) >= Fork::Homestead;
        let stretches = block.body.transactions.par_chunks(STRETCH);
        let senders = stretches.map(|stretch| {
            self.clock.time(Stage::Recover, || {
                let sender = |transaction| recover_sender(transaction, low_s).ok();
                stretch.iter().map(sender).collect::<Vec<_>>()
            })
        });
        let senders: Vec<Option<Address>> = senders.flatten_iter().collect();
        let number = block.header.number;
        let sender = |(index, sender): (usize, Option<Address>)| {
            sender.ok_or_else(|| {
                let reason = quintet_types::RecoveryFailed { index }.to_string();
                ChainError::InvalidBlock { number, hash, reason }
            })
        };
        senders.into_iter().enumerate().map(sender).collect()
    }

    /// What of the block's seal and body breaks a rule.
    fn flaw(&self, block: &RecoveredBlock, seal: Result<(), ConsensusError>) -> Option<Stop> {
        if let Err(error) = seal {
            return Some(Stop::lasting(judged(block, error)));
        }
        let checked = self.clock.time(Stage::Body, || check_body(&self.chain.spec, &block.block));
        checked.err().map(|error| Stop::passing(crate::verify::invalid(block, &error)))
    }

    /// What of a historic block's receipts is not as its header has it. Whoever sent them may be at fault for that, and
    /// not the block.
    fn receipts_flaw(&self, block: &RecoveredBlock, receipts: &RootedReceipts) -> Option<Stop> {
        let Mode::History { .. } = self.mode else { return None };
        let check = || check_receipts(block, receipts.receipts(), receipts.root());
        self.clock.time(Stage::Receipts, check).err().map(Stop::passing)
    }
}
