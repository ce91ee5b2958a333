//! The last stage, on the caller's thread: batches become durable, and then visible.

use super::history::HistoryBatch;
use super::queue::{Ends, Queue};
use super::root::Batch;
use super::{Pipeline, Progress, Stage, Stop};
use crate::chain::Head;
use crate::error::ChainError;
use crate::trie::Flushing;
use quintet_store::Commit;
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;

/// A batch of at most this many bytes is published block by block; of a larger one only the last block is, and
/// consumers read the others from the store. The bus keeps blocks for those who come late.
const PUBLISHED_BYTES: usize = 2 << 20;

/// What is to be done in order.
pub(super) enum Work {
    Batch(Box<Batch>),
    History(HistoryBatch),
    /// Everything before is committed: say so.
    Drain(SyncSender<()>),
    Stop(Stop),
}

impl Pipeline<'_> {
    /// Commits batches until the end.
    pub(super) fn commit(&self, progress: &dyn Fn(&Progress)) -> Result<(), ChainError> {
        let _ends = Ends { input: Some(&self.batches), output: None::<&Queue<()>> };
        while let Some(work) = self.batches.pop() {
            match work {
                Work::Batch(batch) => {
                    self.clock.time(Stage::Commit, || self.commit_batch(*batch))?;
                    progress(&self.progress());
                }
                Work::History(batch) => {
                    self.clock.time(Stage::Commit, || self.commit_history(batch))?;
                    progress(&self.progress());
                }
                Work::Drain(drained) => drop(drained.send(())),
                Work::Stop(Stop { error, remember: true }) => return self.chain.bad.learn(Err(error)),
                Work::Stop(Stop { error, remember: false }) => return Err(error),
            }
        }
        Ok(())
    }

    fn commit_batch(&self, batch: Batch) -> Result<(), ChainError> {
        let Batch { blocks, flushing, transactions, gas, weight } = batch;
        let Some(newest) = blocks.last() else { return Ok(()) };
        let chain = self.chain;
        chain.write(Commit {
            blocks: blocks.clone(),
            trie: flushing.as_ref().map(Flushing::to_flush),
            ..Commit::default()
        })?;
        if flushing.is_some() {
            chain.trie.write().flushed();
        }
        let head = Head::of(newest);
        self.committed.store(head.block.number, Ordering::Release);
        self.count(blocks.len() as u64, transactions, gas);
        metrics::counter!("quintet_chain_blocks_total", "outcome" => "head").increment(blocks.len() as u64);
        metrics::counter!("quintet_chain_transactions_total").increment(transactions);
        metrics::counter!("quintet_chain_gas_total").increment(gas);
        tracing::info!(
            number = head.block.number, hash = %head.block.hash, blocks = blocks.len(), txs = transactions,
            mgas = gas as f64 / 1e6, "Imported new chain segment"
        );
        chain.set_head(head);
        chain.pool.reset(&chain.spec, &chain.head(), &blocks, Vec::new());
        let silent = if weight > PUBLISHED_BYTES { blocks.len() - 1 } else { 0 };
        for executed in blocks.into_iter().skip(silent) {
            chain.publish(executed);
        }
        Ok(())
    }
}
