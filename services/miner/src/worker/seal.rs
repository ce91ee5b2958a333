//! The task loop and the result loop: one seal at a time, and only seals of work that is still known.

use super::tasks::{Stage, Task};
use super::types::{Action, Cadence, Job};
use super::{Head, Worker};
use alloy_primitives::B256;
use quintet_chain_api::BuiltWork;
use quintet_types::{Block, BlockRef};
use std::sync::Arc;
use std::time::Duration;

impl Worker {
    /// Hands new work to the sealer, in place of the work before.
    pub(super) fn commit_task(&mut self, job: &Job, work: BuiltWork) {
        let BuiltWork { block, seal_hash, .. } = work;
        if self.sealing == Some(seal_hash) {
            return;
        }
        if self.tasks.get(&seal_hash).is_some_and(|task| task.stage != Stage::Sealing) {
            // Sealed before: the chain built the same block again, and did not make it its head.
            if self.cadence != Cadence::Continuous {
                self.failed_build();
            }
            return;
        }
        self.abort_seal();
        let timestamp = block.header.timestamp;
        self.tasks
            .insert(seal_hash, Task { job: job.id, parent: job.parent, timestamp, stage: Stage::Sealing });
        self.sealing = Some(seal_hash);
        self.act(Action::Seal { job: job.id, seal_hash, block: Arc::new(block) });
    }

    pub(super) fn abort_seal(&mut self) {
        if let Some(seal_hash) = self.sealing.take() {
            self.act(Action::AbortSeal { seal_hash });
        }
    }

    pub(super) fn sealed(&mut self, seal_hash: B256, block: Block) {
        // Unknown, stale, or a second seal of the same work.
        let Some(task) = self.tasks.get_mut(&seal_hash).filter(|task| task.stage == Stage::Sealing) else {
            return;
        };
        task.stage = Stage::Sealed(Arc::new(block));
        self.sealing.take_if(|sealing| *sealing == seal_hash);
    }

    pub(super) fn seal_failed(&mut self, seal_hash: B256) {
        if self.sealing.take_if(|sealing| *sealing == seal_hash).is_some() {
            self.tasks.remove(&seal_hash);
            self.failed_build();
        }
    }

    /// Submits what is sealed. Where seals cost nothing a block on a former head is worth nothing; a searched or
    /// signed one may still count.
    pub(super) fn submit_sealed(&mut self) {
        let head = self.head();
        for (seal_hash, parent, block) in self.tasks.sealed() {
            if self.cadence == Cadence::Continuous || head == Some(parent) {
                if let Some(task) = self.tasks.get_mut(&seal_hash) {
                    task.stage = Stage::Submitting(Arc::clone(&block));
                }
                self.act(Action::Submit { seal_hash, block });
            } else {
                self.tasks.remove(&seal_hash);
                // Unless it became the head: then only the answer to its submission was lost.
                self.demand.wanted |= head.map(|head| head.hash) != Some(block.header.hash_slow());
            }
        }
    }

    pub(super) fn submitted(&mut self, seal_hash: B256, block: BlockRef, canonical: bool, now: Duration) {
        let Some(task) =
            self.tasks.get_mut(&seal_hash).filter(|task| matches!(task.stage, Stage::Submitting(_)))
        else {
            return;
        };
        task.stage = Stage::Done;
        let (parent_hash, timestamp) = (task.parent.hash, task.timestamp);
        if canonical {
            self.backoff.succeeded();
            self.event_during_resync();
            // Not waiting for the event lets the next block begin at once.
            self.extend(block, parent_hash, timestamp, now);
        } else if self.cadence != Cadence::Continuous
            && !self.head.as_ref().is_some_and(|head| holds(head, block))
        {
            self.failed_build();
        }
    }

    pub(super) fn submit_failed(&mut self, seal_hash: B256, retry: bool) {
        let Some(task) = self.tasks.get_mut(&seal_hash) else { return };
        let Stage::Submitting(block) = &task.stage else { return };
        if retry {
            task.stage = Stage::Sealed(Arc::clone(block));
            self.need_resync();
            self.back_off();
        } else {
            self.tasks.remove(&seal_hash);
            self.failed_build();
        }
    }
}

fn holds(head: &Head, block: BlockRef) -> bool {
    head.follower.holds(block)
}
