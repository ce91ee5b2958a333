//! The stage of history between `prepare` and `commit`: blocks are checked on their parents, one after another, and
//! gathered to batches.

use super::commit::Work;
use super::prepare::Prepared;
use super::queue::{Closed, Ends};
use super::{Mode, Pipeline, Stage, Stop, weight};
use crate::chain::Head;
use crate::error::ChainError;
use crate::history::tip_entry;
use crate::import::check_clock;
use crate::verify::judged;
use quintet_consensus::Parent;
use quintet_store::{Commit, HistoricBlock};
use std::sync::Arc;

/// Blocks that are committed together.
#[derive(Default)]
pub(super) struct HistoryBatch {
    blocks: Vec<HistoricBlock>,
    /// About its memory, in bytes.
    weight: usize,
}

impl Pipeline<'_> {
    /// Checks blocks in order, the first on `tip`.
    pub(super) fn check_history(&self, mut tip: Head) {
        let _ends = Ends { input: Some(&self.prepared), output: Some(&self.batches) };
        let mut batch = HistoryBatch::default();
        while let Some(step) = self.prepared.pop() {
            let checked = step.and_then(|prepared| {
                self.clock.time(Stage::Execute, || self.check_historic(&mut tip, prepared))
            });
            let sent = match checked {
                Ok(block) => self.gather(&mut batch, block),
                Err(stop) => self.send_history(&mut batch).and_then(|()| {
                    self.batches.push(Work::Stop(stop), 0)?;
                    Err(Closed)
                }),
            };
            if sent.is_err() {
                return;
            }
        }
        let _ = self.send_history(&mut batch);
    }

    fn check_historic(&self, tip: &mut Head, prepared: Prepared) -> Result<HistoricBlock, Stop> {
        let chain = self.chain;
        let Prepared { block, receipts, flaw, .. } = prepared;
        let header = block.header();
        if header.parent_hash != tip.block.hash {
            let unknown = ChainError::UnknownAncestor { number: header.number, hash: block.hash };
            return Err(Stop::passing(unknown));
        }
        chain.bad.check(&block).map_err(Stop::passing)?;
        let rules = chain.engine_for(self.options.seals).after(tip.total_difficulty);
        check_clock(rules, &block).map_err(Stop::passing)?;
        let parent =
            Parent { header: &tip.header, hash: tip.block.hash, total_difficulty: tip.total_difficulty };
        let judge = |error| Stop::lasting(judged(&block, error));
        rules.check_header(header, &parent, &chain.ancestors).map_err(judge)?;
        if let Some(flaw) = flaw {
            return Err(flaw);
        }
        rules.check_uncles(&block.block, &chain.ancestors).map_err(judge)?;
        chain.ancestors.push(&block);
        let total_difficulty = tip.total_difficulty.saturating_add(header.difficulty);
        *tip = Head { block: block.block_ref(), header: header.clone(), total_difficulty };
        Ok(HistoricBlock { block, receipts: Arc::new(receipts), total_difficulty })
    }

    fn gather(&self, batch: &mut HistoryBatch, block: HistoricBlock) -> Result<(), Closed> {
        let bytes = weight::of_block(&block.block.block).saturating_add(weight::of_receipts(&block.receipts));
        batch.weight = batch.weight.saturating_add(bytes);
        batch.blocks.push(block);
        let options = &self.options;
        if batch.blocks.len() >= options.batch_blocks || batch.weight >= options.batch_bytes {
            return self.send_history(batch);
        }
        Ok(())
    }

    fn send_history(&self, batch: &mut HistoryBatch) -> Result<(), Closed> {
        if batch.blocks.is_empty() {
            return Ok(());
        }
        self.batches.push(Work::History(std::mem::take(batch)), 1)
    }

    /// Commits a batch, with the note of how far history goes.
    pub(super) fn commit_history(&self, batch: HistoryBatch) -> Result<(), ChainError> {
        let HistoryBatch { blocks, .. } = batch;
        let (Some(last), Mode::History { newest, .. }) = (blocks.last(), &self.mode) else { return Ok(()) };
        let (tip, count) = (last.block.block_ref(), blocks.len() as u64);
        let transactions: u64 = blocks.iter().map(|block| block.receipts.len() as u64).sum();
        let gas = blocks.iter().fold(0_u64, |gas, block| gas.saturating_add(block.block.header().gas_used));
        let meta = vec![tip_entry(tip)];
        self.chain.write(Commit { history: blocks, meta, ..Commit::default() })?;
        *newest.lock() = tip;
        self.count(count, transactions, gas);
        metrics::counter!("quintet_chain_blocks_total", "outcome" => "history").increment(count);
        tracing::info!(
            number = tip.number, hash = %tip.hash, blocks = count, txs = transactions,
            "Imported new block receipts"
        );
        Ok(())
    }
}
