//! The new-work loop: when to build, on what, and when to start again.

use super::types::{Action, Cadence, Interrupt, Job, JobId, Timer};
use super::{Building, Worker};
use quintet_chain_api::BuiltWork;
use std::time::Duration;

/// A timestamp this far ahead of the clock is waited for, in seconds.
const FUTURE_TOLERANCE: u64 = 1;

impl Worker {
    /// Builds a block, if one is wanted and nothing stands in the way.
    pub(super) fn build_if_wanted(&mut self, now: Duration) {
        let Some(beneficiary) = self.settings.etherbase else { return };
        if self.build.is_some() || !self.block_wanted() {
            return;
        }
        let Some(head) = &self.head else { return };
        let parent = head.follower.head();
        let after_parent = head.timestamp.saturating_add(1);
        let timestamp = match self.cadence {
            Cadence::Continuous => head.since.as_secs().max(after_parent),
            // Many blocks a second are made here, so timestamps may run ahead of the clock.
            Cadence::OnPending | Cadence::Every(_) => now.as_secs().max(after_parent),
        };
        if self.cadence == Cadence::Continuous && timestamp > now.as_secs().saturating_add(FUTURE_TOLERANCE) {
            let wait = Duration::from_secs(timestamp).saturating_sub(now);
            self.act(Action::SetTimer(Timer::Future, wait));
            return;
        }
        let id = JobId(self.next_job);
        self.next_job += 1;
        let job = Job {
            id,
            parent,
            timestamp,
            beneficiary,
            extra_data: self.settings.extra_data.clone(),
            gas_limit: self.settings.gas_limit,
            gas_price: self.settings.gas_price,
            fill_budget: self.fill_budget(),
            allow_empty: self.cadence != Cadence::OnPending,
        };
        let resubmitted = std::mem::take(&mut self.resubmit);
        self.demand.arrived = false;
        self.demand.wanted = false;
        self.build = Some(Building { job: job.clone(), started: now, resubmitted });
        self.act(Action::Build(job));
        if self.cadence == Cadence::Continuous {
            self.act(Action::SetTimer(Timer::Recommit, self.recommit.interval()));
        }
    }

    fn block_wanted(&self) -> bool {
        // Where a seal takes no time, the next block's parent is the one that is on its way to the chain.
        let idle = self.sealing.is_none() && !self.tasks.submitting();
        match self.cadence {
            Cadence::Continuous => self.demand.wanted,
            Cadence::OnPending => idle && self.demand.pending,
            Cadence::Every(_) => idle && self.demand.wanted,
        }
    }

    fn fill_budget(&self) -> Duration {
        match self.cadence {
            Cadence::Every(period) => self.recommit.interval().min(period),
            Cadence::Continuous | Cadence::OnPending => self.recommit.interval(),
        }
    }

    pub(super) fn recommit_due(&mut self) {
        if !self.running || self.cadence != Cadence::Continuous {
            return;
        }
        let building = self.build.as_ref().map(|build| build.resubmitted);
        // Without new transactions the work is as good as it gets. A build that was restarted once is left to
        // finish, or a slow one would never.
        if !self.demand.arrived || building == Some(true) {
            self.act(Action::SetTimer(Timer::Recommit, self.recommit.interval()));
            return;
        }
        if building.is_some() {
            self.interrupt_build(Interrupt::Resubmit);
            self.recommit.cut_short(0.0);
            self.resubmit = true;
        }
        self.demand.wanted = true;
    }

    pub(super) fn slot_due(&mut self, now: Duration) {
        let Cadence::Every(period) = self.cadence else { return };
        if !self.running {
            return;
        }
        self.demand.wanted = true;
        // Slots keep their rhythm; those that were slept through are not made up for. The clock may have been
        // set back, so the wait is bounded.
        let next = self.demand.next_slot.saturating_add(period);
        self.demand.next_slot =
            if next > now { next.min(now.saturating_add(period)) } else { now.saturating_add(period) };
        let wait = self.demand.next_slot.saturating_sub(now);
        self.act(Action::SetTimer(Timer::Slot, wait));
    }

    pub(super) fn interrupt_build(&mut self, reason: Interrupt) {
        if let Some(build) = self.build.take() {
            self.act(Action::InterruptBuild { job: build.job.id, reason });
            // What it was for is still wanted.
            self.demand.wanted = true;
        }
    }

    /// The build under way, if it is this job; the answers to others come too late.
    fn finish_build(&mut self, job: JobId) -> Option<Building> {
        self.build.take_if(|build| build.job.id == job)
    }

    pub(super) fn built(&mut self, job: JobId, work: BuiltWork, now: Duration) {
        let Some(build) = self.finish_build(job) else { return };
        if work.block.header.parent_hash != build.job.parent.hash {
            self.failed_build();
            return;
        }
        if now.saturating_sub(build.started) >= build.job.fill_budget {
            self.recommit.cut_short(fill(&work));
        } else {
            self.recommit.in_time();
        }
        self.commit_task(&build.job, work);
    }

    pub(super) fn nothing_to_build(&mut self, job: JobId) {
        let Some(build) = self.finish_build(job) else { return };
        if build.job.allow_empty {
            // Against the contract; trying again at once would spin.
            self.failed_build();
            return;
        }
        self.backoff.succeeded();
        self.demand.pending = self.demand.arrived;
    }

    pub(super) fn build_failed(&mut self, job: JobId) {
        if self.finish_build(job).is_some() {
            self.failed_build();
        }
    }

    /// The block is still wanted; the head may be another by now.
    pub(super) fn failed_build(&mut self) {
        self.demand.wanted = true;
        self.need_resync();
        self.back_off();
    }
}

/// How much of the block's gas is used, 0 to 1.
#[expect(clippy::cast_precision_loss, reason = "a ratio")]
fn fill(work: &BuiltWork) -> f64 {
    let header = &work.block.header;
    if header.gas_limit == 0 { 1.0 } else { header.gas_used as f64 / header.gas_limit as f64 }
}
