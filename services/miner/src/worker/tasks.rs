//! The work that was handed to the sealer, by seal hash: a seal counts only for work that is in here.

use super::types::JobId;
use alloy_primitives::B256;
use quintet_types::{Block, BlockRef};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Work this far below the head is dropped, sealed or not.
pub const STALE_THRESHOLD: u64 = 7;
/// Work that is remembered at most; the oldest goes first.
const CAPACITY: usize = 64;

/// How far a piece of work is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Stage {
    /// With the sealer, or given up by it: a late seal still counts.
    Sealing,
    /// Sealed, and not yet with the chain.
    Sealed(Arc<Block>),
    /// With the chain.
    Submitting(Arc<Block>),
    /// The chain has it.
    Done,
}

/// One piece of work.
#[derive(Clone, Debug)]
pub(super) struct Task {
    pub(super) job: JobId,
    pub(super) parent: BlockRef,
    pub(super) timestamp: u64,
    pub(super) stage: Stage,
}

impl Task {
    const fn number(&self) -> u64 {
        self.parent.number.saturating_add(1)
    }
}

/// The pending tasks.
#[derive(Clone, Debug, Default)]
pub(super) struct Tasks {
    by_seal_hash: BTreeMap<B256, Task>,
}

impl Tasks {
    /// Takes new work in; what is over the capacity goes, oldest first.
    pub(super) fn insert(&mut self, seal_hash: B256, task: Task) {
        self.by_seal_hash.insert(seal_hash, task);
        if self.by_seal_hash.len() > CAPACITY {
            let oldest = self.by_seal_hash.iter().min_by_key(|(_, task)| task.job).map(|(hash, _)| *hash);
            oldest.and_then(|hash| self.by_seal_hash.remove(&hash));
        }
    }

    pub(super) fn get(&self, seal_hash: &B256) -> Option<&Task> {
        self.by_seal_hash.get(seal_hash)
    }

    pub(super) fn get_mut(&mut self, seal_hash: &B256) -> Option<&mut Task> {
        self.by_seal_hash.get_mut(seal_hash)
    }

    pub(super) fn remove(&mut self, seal_hash: &B256) -> Option<Task> {
        self.by_seal_hash.remove(seal_hash)
    }

    pub(super) fn clear(&mut self) {
        self.by_seal_hash.clear();
    }

    /// Drops what [`STALE_THRESHOLD`] says is stale under a head of this number.
    pub(super) fn prune(&mut self, head: u64) {
        self.by_seal_hash.retain(|_, task| task.number().saturating_add(STALE_THRESHOLD) > head);
    }

    /// Whether a block is with the chain.
    pub(super) fn submitting(&self) -> bool {
        self.by_seal_hash.values().any(|task| matches!(task.stage, Stage::Submitting(_)))
    }

    /// Takes the sealed blocks that wait for submission.
    pub(super) fn sealed(&self) -> Vec<(B256, BlockRef, Arc<Block>)> {
        let waiting = |(hash, task): (&B256, &Task)| match &task.stage {
            Stage::Sealed(block) => Some((*hash, task.parent, Arc::clone(block))),
            _ => None,
        };
        self.by_seal_hash.iter().filter_map(waiting).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{CAPACITY, JobId, Stage, Task, Tasks};
    use alloy_primitives::B256;
    use quintet_types::BlockRef;

    fn task(number: u64) -> Task {
        let parent = BlockRef { number: number - 1, hash: B256::ZERO };
        Task { job: JobId(number), parent, timestamp: number, stage: Stage::Sealing }
    }

    fn key(number: u64) -> B256 {
        B256::left_padding_from(&(u64::MAX - number).to_be_bytes())
    }

    #[test]
    fn drops_work_seven_blocks_below_the_head() {
        let mut tasks = Tasks::default();
        (1..=10).for_each(|number| tasks.insert(key(number), task(number)));
        tasks.prune(10);
        let held: Vec<_> = (1..=10).filter(|number| tasks.get(&key(*number)).is_some()).collect();
        assert_eq!(held, [4, 5, 6, 7, 8, 9, 10]);
    }

    #[test]
    fn is_bounded() {
        let mut tasks = Tasks::default();
        let last = CAPACITY as u64 + 5;
        (1..=last).for_each(|number| tasks.insert(key(number), task(number)));
        assert!(
            tasks.get(&key(5)).is_none() && tasks.get(&key(6)).is_some() && tasks.get(&key(last)).is_some()
        );
    }
}
