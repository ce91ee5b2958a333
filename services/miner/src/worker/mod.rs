//! The worker: decides what to build, seal and submit, and when. No IO and no clock: events in, actions out.
//!
//! It is geth's worker taken apart. Its four loops are here as
//! - *new work* (`new_work.rs`): when to build, on what, and when to start again;
//! - *main* (this file): the head, the settings, and whether to make blocks at all;
//! - *task* and *result* (`seal.rs`): one seal at a time, and only seals of work that is still known.
//!
//! What holds, whatever the order of events: at most one build and one seal are under way; a block is submitted
//! once per success and only if its work is in the pending tasks; while transactions are pending and the chain
//! answers, something is always under way or a timer is set.

mod new_work;
#[cfg(test)]
mod property;
mod recommit;
mod seal;
mod tasks;
#[cfg(test)]
mod tests;
mod types;

pub use recommit::{MAX_INTERVAL, MIN_INTERVAL};
pub use tasks::STALE_THRESHOLD;
pub use types::{Action, Cadence, Event, Interrupt, Job, JobId, Settings, Timer};

use quintet_events::{Follower, Step};
use quintet_types::BlockRef;
use recommit::{Backoff, Recommit};
use std::time::Duration;
use tasks::Tasks;

/// The state machine. Times are since the Unix epoch.
#[derive(Debug)]
pub struct Worker {
    cadence: Cadence,
    settings: Settings,
    running: bool,
    head: Option<Head>,
    resync: Resync,
    backoff: Backoff,
    recommit: Recommit,
    next_job: u64,
    build: Option<Building>,
    demand: Demand,
    /// The next build replaces one interrupted for a resubmit.
    resubmit: bool,
    tasks: Tasks,
    /// Seal hash of the work that is with the sealer.
    sealing: Option<alloy_primitives::B256>,
    actions: Vec<Action>,
}

/// The canonical head, as far as the worker has heard.
#[derive(Debug)]
struct Head {
    follower: Follower,
    timestamp: u64,
    /// When it became the head; work on it keeps its first timestamp through resubmits.
    since: Duration,
}

/// Whether the head must be read from the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resync {
    No,
    Needed,
    /// Asked. What came in between may be newer than the answer: then it is asked `again`.
    Asked {
        again: bool,
    },
}

/// The build under way.
#[derive(Debug)]
struct Building {
    job: Job,
    started: Duration,
    /// It replaced one that was interrupted for a resubmit, and is left to finish.
    resubmitted: bool,
}

/// Why a block is wanted.
#[derive(Clone, Copy, Debug, Default)]
struct Demand {
    /// Transactions may be pending that no block has taken.
    pending: bool,
    /// Transactions came after the last build began.
    arrived: bool,
    /// A block is wanted anyway: a slot's is due ([`Cadence::Every`]), or the work is stale
    /// ([`Cadence::Continuous`]).
    wanted: bool,
    /// [`Cadence::Every`]: when the next slot begins.
    next_slot: Duration,
}

impl Worker {
    /// A worker that is stopped. Its first step is to read the head.
    pub fn new(cadence: Cadence, recommit: Duration, settings: Settings) -> Self {
        Self {
            cadence,
            settings,
            running: false,
            head: None,
            resync: Resync::Needed,
            backoff: Backoff::default(),
            recommit: Recommit::new(recommit),
            next_job: 0,
            build: None,
            demand: Demand::default(),
            resubmit: false,
            tasks: Tasks::default(),
            sealing: None,
            actions: Vec::new(),
        }
    }

    /// Whether it makes blocks.
    pub const fn is_running(&self) -> bool {
        self.running
    }

    /// What blocks are made with.
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The block that work is prepared on; `None` while stopped, or before the head is known.
    pub fn parent(&self) -> Option<BlockRef> {
        self.head().filter(|_| self.running)
    }

    /// The head that it knows.
    pub fn head(&self) -> Option<BlockRef> {
        self.head.as_ref().map(|head| head.follower.head())
    }

    /// Takes what happened at `now`, and says what to do, in order.
    pub fn handle(&mut self, event: Event, now: Duration) -> Vec<Action> {
        match event {
            Event::Start => self.start(now),
            Event::Stop => self.stop(),
            Event::SetEtherbase(address) => self.settings.etherbase = Some(address),
            Event::SetExtra(extra) => self.settings.extra_data = extra,
            Event::SetGasPrice(price) => self.settings.gas_price = price,
            Event::SetGasLimit(limit) => self.settings.gas_limit = limit,
            Event::ChainHead { block, parent_hash, timestamp } => {
                self.event_during_resync();
                self.extend(block, parent_hash, timestamp, now);
            }
            Event::Reverted(blocks) => self.reverted(&blocks),
            Event::Gap => {
                self.event_during_resync();
                self.need_resync();
                self.pending_transactions();
            }
            Event::HeadRead { block, timestamp } => self.head_read(block, timestamp, now),
            Event::HeadReadFailed => {
                self.resync = Resync::Needed;
                self.back_off();
            }
            Event::PendingTransactions => self.pending_transactions(),
            Event::Timer(timer) => self.timer(timer, now),
            Event::Built { job, work } => self.built(job, work, now),
            Event::NothingToBuild { job } => self.nothing_to_build(job),
            Event::BuildFailed { job } => self.build_failed(job),
            Event::Sealed { seal_hash, block } => self.sealed(seal_hash, block),
            Event::SealFailed { seal_hash } => self.seal_failed(seal_hash),
            Event::Submitted { seal_hash, block, canonical } => {
                self.submitted(seal_hash, block, canonical, now);
            }
            Event::SubmitFailed { seal_hash, retry } => self.submit_failed(seal_hash, retry),
        }
        self.advance(now);
        std::mem::take(&mut self.actions)
    }

    fn act(&mut self, action: Action) {
        self.actions.push(action);
    }

    fn start(&mut self, now: Duration) {
        if std::mem::replace(&mut self.running, true) {
            return;
        }
        if let Some(head) = &mut self.head {
            head.since = now;
        }
        // What is in the pool is not known, so one build has to find out.
        let wanted = self.cadence == Cadence::Continuous;
        self.demand = Demand { pending: true, wanted, ..Demand::default() };
        if let Cadence::Every(period) = self.cadence {
            self.demand.next_slot = now.saturating_add(period);
            self.act(Action::SetTimer(Timer::Slot, period));
        }
    }

    fn stop(&mut self) {
        if !std::mem::replace(&mut self.running, false) {
            return;
        }
        self.interrupt_build(Interrupt::Stop);
        self.abort_seal();
        self.tasks.clear();
        self.demand = Demand::default();
        for timer in [Timer::Slot, Timer::Recommit, Timer::Future] {
            self.act(Action::CancelTimer(timer));
        }
    }

    fn pending_transactions(&mut self) {
        self.demand.pending = true;
        self.demand.arrived = true;
    }

    fn timer(&mut self, timer: Timer, now: Duration) {
        match timer {
            Timer::Retry => self.backoff.waiting = false,
            Timer::Recommit => self.recommit_due(),
            Timer::Slot => self.slot_due(now),
            // The next build looks at the clock again.
            Timer::Future => {}
        }
    }

    fn back_off(&mut self) {
        if let Some(wait) = self.backoff.failed() {
            self.act(Action::SetTimer(Timer::Retry, wait));
        }
    }

    fn need_resync(&mut self) {
        if self.resync == Resync::No {
            self.resync = Resync::Needed;
        }
    }

    fn event_during_resync(&mut self) {
        if let Resync::Asked { again } = &mut self.resync {
            *again = true;
        }
    }

    /// A block became the head, by an event or by our own submission, whichever is heard of first.
    fn extend(
        &mut self,
        block: BlockRef,
        parent_hash: alloy_primitives::B256,
        timestamp: u64,
        now: Duration,
    ) {
        let Some(head) = &mut self.head else { return };
        match head.follower.extend(block, parent_hash) {
            Step::Extend => {
                head.timestamp = timestamp;
                head.since = now;
                self.head_moved();
            }
            Step::Known | Step::Revert { .. } => {}
            Step::Gap => self.need_resync(),
        }
    }

    fn reverted(&mut self, blocks: &[BlockRef]) {
        self.event_during_resync();
        let Some(head) = &mut self.head else { return };
        // The ancestor's timestamp is not known here, and its children are on their way: ask where it ended.
        if head.follower.revert(blocks) != Step::Known {
            self.need_resync();
            self.head_moved();
        }
    }

    fn head_read(&mut self, block: BlockRef, timestamp: u64, now: Duration) {
        if std::mem::replace(&mut self.resync, Resync::No) == (Resync::Asked { again: true }) {
            self.resync = Resync::Needed;
            return;
        }
        if self.head() == Some(block) {
            // A revert to this block left its child's timestamp behind.
            self.head.iter_mut().for_each(|head| head.timestamp = timestamp);
            return;
        }
        self.head = Some(Head { follower: Follower::new(block), timestamp, since: now });
        self.head_moved();
    }

    /// What was under way on another parent is stale.
    fn head_moved(&mut self) {
        let Some(head) = self.head() else { return };
        self.tasks.prune(head.number);
        if self.build.as_ref().is_some_and(|build| build.job.parent != head) {
            self.interrupt_build(Interrupt::NewHead);
        }
        let sealing = self.sealing.and_then(|seal_hash| self.tasks.get(&seal_hash));
        let stale = sealing.is_none_or(|task| task.parent != head);
        // A search goes on until there is new work: its block may still count as an uncle.
        if self.sealing.is_some() && stale && self.cadence != Cadence::Continuous {
            self.abort_seal();
            self.demand.wanted = true;
        }
        self.demand.pending = true;
        self.demand.wanted |= self.cadence == Cadence::Continuous;
        self.resubmit = false;
    }

    /// Begins whatever the state calls for.
    fn advance(&mut self, now: Duration) {
        if self.backoff.waiting {
            return;
        }
        match self.resync {
            Resync::Needed => {
                self.resync = Resync::Asked { again: false };
                self.act(Action::ReadHead);
            }
            Resync::No if self.running => {
                self.submit_sealed();
                self.build_if_wanted(now);
            }
            Resync::Asked { .. } | Resync::No => {}
        }
    }
}
