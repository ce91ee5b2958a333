//! The fourth stage: what execution gave is compared with the header, and blocks are gathered to batches.

use super::commit::Work;
use super::execute::{Done, Task};
use super::queue::{Closed, Ends};
use super::{Pipeline, Stage, Stop, weight};
use crate::trie::Flushing;
use crate::verify::{check_output, check_root};
use quintet_types::ExecutedBlock;
use std::sync::Arc;

/// Bytes of dirty trie nodes after which a batch takes them along.
const FLUSH_BYTES: usize = 48 << 20;

/// Blocks that are committed together.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) blocks: Vec<ExecutedBlock>,
    pub(super) flushing: Option<Flushing>,
    pub(super) transactions: u64,
    pub(super) gas: u64,
    /// About its memory, in bytes.
    pub(super) weight: usize,
}

impl Batch {
    fn push(&mut self, executed: ExecutedBlock) {
        self.transactions += executed.receipts.len() as u64;
        self.gas = self.gas.saturating_add(executed.block.header().gas_used);
        self.weight = self.weight.saturating_add(weight::of_executed(&executed));
        self.blocks.push(executed);
    }
}

impl Pipeline<'_> {
    /// Computes roots in order, and passes batches on.
    pub(super) fn root(&self) {
        let _ends = Ends { input: Some(&self.executed), output: Some(&self.batches) };
        // Who waits for a root learns that none will come, also when this panics.
        let _closes = CloseRooted(self);
        let mut batch = Batch::default();
        while let Some(task) = self.executed.pop() {
            let sent = match task {
                Task::Block(done) => match self.root_block(*done) {
                    Ok(executed) => {
                        batch.push(executed);
                        if self.is_full(&batch) { self.send(&mut batch) } else { Ok(()) }
                    }
                    Err(stop) => self.stop(&mut batch, stop),
                },
                Task::Drain(drained) => {
                    self.send(&mut batch).and_then(|()| self.batches.push(Work::Drain(drained), 0))
                }
                Task::Stop(stop) => self.stop(&mut batch, stop),
            };
            if sent.is_err() {
                return;
            }
        }
        let _ = self.send(&mut batch);
    }

    fn is_full(&self, batch: &Batch) -> bool {
        let options = &self.options;
        batch.blocks.len() >= options.batch_blocks
            || batch.gas >= options.batch_gas
            || batch.weight >= options.batch_bytes
    }

    fn root_block(&self, done: Done) -> Result<ExecutedBlock, Stop> {
        let Done { block, total_difficulty, output, diff } = done;
        self.clock.time(Stage::Receipts, || check_output(&block, &output)).map_err(Stop::lasting)?;
        self.clock.time(Stage::StateRoot, || {
            let trie = &self.chain.trie;
            let (root, update) = trie.read().update(&diff).map_err(Stop::passing)?;
            check_root(&block, root).map_err(Stop::lasting)?;
            trie.write().advance(block.block_ref(), update);
            Ok(())
        })?;
        self.rooted.set(block.block_ref());
        Ok(ExecutedBlock { block, receipts: Arc::new(output.receipts), diff, total_difficulty })
    }

    /// Passes the batch on, with the trie's dirty nodes when they are many.
    fn send(&self, batch: &mut Batch) -> Result<(), Closed> {
        if batch.blocks.is_empty() {
            return Ok(());
        }
        let mut batch = std::mem::take(batch);
        let dirty = self.chain.trie.read().dirty_bytes();
        if dirty >= FLUSH_BYTES {
            batch.flushing = self.chain.trie.write().freeze(true);
        }
        self.batches.push(Work::Batch(Box::new(batch)), 1)
    }

    /// Passes on what came before the end, then the end.
    fn stop(&self, batch: &mut Batch, stop: Stop) -> Result<(), Closed> {
        self.send(batch)?;
        self.batches.push(Work::Stop(stop), 0)?;
        Err(Closed)
    }
}

struct CloseRooted<'a, 'b>(&'a Pipeline<'b>);

impl Drop for CloseRooted<'_, '_> {
    fn drop(&mut self) {
        self.0.rooted.close();
    }
}
