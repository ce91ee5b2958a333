//! The shell around the worker: events, commands, timers and finished calls go in; calls to `chain`, to the sealer and
//! to Redis come out. It decides nothing: the worker does, and the lease.
//!
//! The worker runs while sealing is wanted and this replica leads. Every replica's worker follows the head, so that it
//! builds at once when its turn comes.

use crate::calls::{Call, Grant, build, look, read_head, seal, submit};
use crate::config::MinerConfig;
use crate::error::MinerError;
use crate::replica::{Beat, Change, Done, LeaderStatus, Orders, Replica, follow, tell};
use crate::sealer::Sealer;
use crate::trace::Traces;
use crate::worker::{Action, Event, Timer, Worker};
use alloy_primitives::B256;
use futures::StreamExt as _;
use quintet_chain_api::{ChainClient, ChainError, ChainHead};
use quintet_events::{Event as BusEvent, EventBus, Gap, Topics};
use quintet_redis::Redis;
use quintet_service::{Check, Readiness};
use quintet_types::{BlockRef, ChainEvent, PoolEvent};
use std::collections::BTreeMap;
use std::future::{pending, ready};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

/// Commands that wait for the loop; who sends one more waits too.
const COMMAND_QUEUE: usize = 16;
/// A leader that cannot reach `chain` for this long lets another replica try. A restart of `chain` may take as long.
const CHAIN_PATIENCE: Duration = Duration::from_secs(3);
/// How often `chain` is asked whether it is there.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// What the miner is doing, for the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) orders: Orders,
    /// What is built on.
    pub(crate) parent: Option<BlockRef>,
    /// The leader's hashes a second, when that is another replica.
    pub(crate) hashrate: Option<u64>,
}

/// A change that a caller asks for.
pub(crate) struct Command {
    change: Change,
    done: Done,
}

/// The server's side of the loop.
#[derive(Clone)]
pub(crate) struct Handle {
    commands: mpsc::Sender<Command>,
    status: watch::Receiver<Status>,
    sealer: Arc<dyn Sealer>,
}

impl Handle {
    pub(crate) fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    pub(crate) fn sealer(&self) -> &dyn Sealer {
        &*self.sealer
    }

    /// Changes the orders; answers once every replica will follow them.
    pub(crate) async fn command(&self, change: Change) -> Result<(), MinerError> {
        let (done, outcome) = oneshot::channel();
        self.commands.send(Command { change, done }).await.map_err(|_| MinerError::NotRunning)?;
        outcome.await.map_err(|_| MinerError::NotRunning)?
    }
}

/// Where readiness is told.
struct Checks {
    chain: Check,
    /// None where the bus cannot be away.
    events: Option<Check>,
}

/// The loop.
pub(crate) struct MinerLoop {
    worker: Worker,
    orders: Orders,
    chain: ChainClient,
    events: Arc<dyn EventBus>,
    sealer: Arc<dyn Sealer>,
    redis: Option<Redis>,
    replica: Option<Replica>,
    /// Hash of the genesis block, once known.
    network: Option<B256>,
    /// Since when `chain` has not answered.
    lost: Option<Instant>,
    /// When `chain` was last looked for; `None` while that is under way.
    looked: Option<Instant>,
    /// The last look found another head than the events had told.
    differed: bool,
    commands: mpsc::Receiver<Command>,
    status: watch::Sender<Status>,
    calls: JoinSet<Call>,
    build: Option<AbortHandle>,
    seal: Option<AbortHandle>,
    timers: BTreeMap<Timer, Instant>,
    traces: Traces,
}

impl MinerLoop {
    pub(crate) fn new(
        config: &MinerConfig,
        chain: ChainClient,
        events: Arc<dyn EventBus>,
        sealer: Arc<dyn Sealer>,
        redis: Option<Redis>,
    ) -> (Self, Handle) {
        let orders = Orders { sealing: config.mine, settings: config.settings() };
        let worker = Worker::new(config.cadence(), config.recommit, orders.settings.clone());
        let (command_sender, commands) = mpsc::channel(COMMAND_QUEUE);
        let (status, status_receiver) =
            watch::channel(Status { orders: orders.clone(), ..Status::default() });
        let handle =
            Handle { commands: command_sender, status: status_receiver, sealer: Arc::clone(&sealer) };
        let service = Self {
            worker,
            orders,
            chain,
            events,
            sealer,
            redis,
            replica: None,
            network: None,
            lost: None,
            looked: Some(Instant::now()),
            differed: false,
            commands,
            status,
            calls: JoinSet::new(),
            build: None,
            seal: None,
            timers: BTreeMap::new(),
            traces: Traces::default(),
        };
        (service, handle)
    }

    pub(crate) async fn run(
        mut self,
        readiness: &Readiness,
        token: CancellationToken,
    ) -> Result<(), MinerError> {
        let redis = self.redis.take();
        let events = redis.is_some().then(|| readiness.register("events"));
        let checks = Checks { chain: readiness.register("chain"), events };
        checks.chain.fail("waiting for the chain service");
        self.replica = redis.map(|redis| Replica::new(redis, readiness.register("lease")));
        metrics::gauge!("quintet_miner_leader").set(if self.replica.is_none() { 1.0 } else { 0.0 });
        let ended = self.until_cancelled(&checks, &token).await;
        self.handle(Event::Stop);
        if let Some(replica) = &mut self.replica {
            replica.leave().await;
        }
        ended
    }

    async fn until_cancelled(
        &mut self,
        checks: &Checks,
        token: &CancellationToken,
    ) -> Result<(), MinerError> {
        let mut subscription = self.events.subscribe(Topics::ALL, None);
        let mut works = follow(self.replica.as_ref().and(self.events.work()));
        // Everything up to now was missed.
        self.handle(Event::Gap);
        self.settle();
        loop {
            let timer = self.timers.iter().min_by_key(|(_, at)| **at).map(|(timer, at)| (*timer, *at));
            // The lease comes first, and what is under way before what is new.
            tokio::select! {
                biased;
                () = token.cancelled() => return Ok(()),
                () = due(self.replica.as_mut()) => self.beat(checks),
                Some(call) = self.calls.join_next(), if !self.calls.is_empty() => self.finished(call, checks)?,
                Some(command) = self.commands.recv() => self.command(command),
                () = sleep_until(timer), if timer.is_some() => {
                    if let Some((timer, _)) = timer {
                        self.timers.remove(&timer);
                        self.handle(Event::Timer(timer));
                    }
                }
                event = subscription.next() => match event {
                    Some(event) => self.bus_event(event),
                    None if token.is_cancelled() => return Ok(()),
                    None => return Err(MinerError::EventsEnded),
                },
                Some(work) = works.next() => {
                    self.replica.iter_mut().for_each(|replica| replica.take_work(&work));
                    self.tell_status();
                }
            }
        }
    }

    fn bus_event(&mut self, event: Result<BusEvent, Gap>) {
        match event {
            Ok(BusEvent::Chain(ChainEvent::Block(delta))) => {
                let header = delta.executed.block.header();
                let (parent_hash, timestamp) = (header.parent_hash, header.timestamp);
                self.handle(Event::ChainHead { block: delta.block_ref(), parent_hash, timestamp });
            }
            Ok(BusEvent::Chain(ChainEvent::Reverted(blocks))) => self.handle(Event::Reverted(blocks)),
            Ok(BusEvent::Pool(PoolEvent::Pending(transaction))) => {
                self.traces.transaction(transaction.hash, &transaction.trace);
                self.handle(Event::PendingTransactions);
            }
            Err(Gap { .. }) => self.handle(Event::Gap),
        }
    }

    /// Takes the result of a call.
    fn finished(&mut self, call: Result<Call, JoinError>, checks: &Checks) -> Result<(), MinerError> {
        match call {
            Ok(Call::Worker(event)) => self.worker_call(event),
            Ok(Call::Head(answer)) => self.head_read(answer, &checks.chain),
            Ok(Call::Look(answer, pending)) => self.looked(answer, pending, &checks.chain),
            Ok(Call::Beat(beat)) => self.heard(beat),
            Ok(Call::Fenced { event, token, newest }) => {
                self.worker_call(event);
                if let Some(replica) = &mut self.replica {
                    replica.refused(token, newest);
                }
                self.settle();
            }
            Err(error) if error.is_cancelled() => {}
            Err(error) => return Err(MinerError::Panicked(error)),
        }
        Ok(())
    }

    fn worker_call(&mut self, event: Event) {
        match &event {
            Event::Built { job, work } => self.traces.built(*job, work.seal_hash, &work.block),
            Event::NothingToBuild { job } => self.traces.end_build(*job, "nothing to include"),
            Event::BuildFailed { job } => self.traces.end_build(*job, "build failed"),
            Event::SealFailed { seal_hash } => self.traces.end(*seal_hash, None, "seal failed"),
            Event::Submitted { seal_hash, block, canonical } => {
                let outcome = if *canonical { "canonical" } else { "side" };
                metrics::counter!("quintet_miner_blocks_total", "outcome" => outcome).increment(1);
                self.traces.end(*seal_hash, Some(block.hash), outcome);
            }
            Event::SubmitFailed { seal_hash, retry: false } => {
                metrics::counter!("quintet_miner_blocks_total", "outcome" => "refused").increment(1);
                self.traces.end(*seal_hash, None, "refused");
            }
            _ => {}
        }
        self.handle(event);
    }

    fn head_read(&mut self, answer: Result<(B256, ChainHead), ChainError>, check: &Check) {
        match self.judge(answer, check) {
            Some(head) => self.handle(Event::HeadRead { block: head.head, timestamp: head.header.timestamp }),
            None => self.handle(Event::HeadReadFailed),
        }
    }

    /// Whether `chain` is there, and is where its events say. They may not come though nothing says so: `chain` may be
    /// cut off from a bus that everybody else reaches.
    fn looked(&mut self, answer: Result<(B256, ChainHead), ChainError>, pending: u64, check: &Check) {
        self.looked = Some(Instant::now());
        let was_lost = self.lost.is_some();
        let Some(head) = self.judge(answer, check) else { return };
        let differs = self.worker.parent().is_some_and(|parent| parent != head.head);
        if was_lost || (differs && self.differed) {
            self.handle(Event::Gap);
        } else if pending > 0 {
            self.handle(Event::PendingTransactions);
        }
        // Once may be a block whose event is on its way.
        self.differed = differs;
    }

    /// The head, if it is of the network that it was before: blocks for another would be lost on it.
    fn judge(&mut self, answer: Result<(B256, ChainHead), ChainError>, check: &Check) -> Option<ChainHead> {
        let (genesis, head) = match answer {
            Ok(answer) => answer,
            Err(error) => {
                tracing::warn!(%error, "chain's head not read");
                self.lost.get_or_insert_with(Instant::now);
                check.fail(format!("waiting for the chain service: it does not answer ({error})"));
                return None;
            }
        };
        let network = *self.network.get_or_insert_with(|| {
            self.replica.iter_mut().for_each(|replica| replica.join(&genesis));
            genesis
        });
        if genesis != network {
            let reason = format!(
                "the chain service is on another network than before: its genesis block is {genesis}, and was {network}; \
                 restart the miner if this is meant"
            );
            tracing::error!("{reason}");
            check.fail(reason);
            self.lost.get_or_insert_with(Instant::now);
            return None;
        }
        self.lost = None;
        check.ok();
        Some(head)
    }

    /// Asks Redis for the lease and for the orders.
    fn beat(&mut self, checks: &Checks) {
        if let Some(check) = &checks.events {
            match self.events.trouble() {
                None => check.ok(),
                Some(reason) => check.degraded(format!("{reason}; chain's own stream is followed instead")),
            }
        }
        // An idle miner that follows the bus would not notice that chain is gone.
        if self.network.is_some() && self.looked.is_some_and(|at| at.elapsed() >= LOOK_INTERVAL) {
            self.looked = None;
            self.calls.spawn(look(self.chain.clone()));
        }
        let reached = self.lost.is_none_or(|since| since.elapsed() < CHAIN_PATIENCE);
        self.replica.iter_mut().for_each(|replica| replica.set_willing(reached));
        let status = self.own_status();
        if let Some(beat) = self.replica.as_mut().and_then(|replica| replica.beat(&self.orders, status)) {
            self.calls.spawn(async { Call::Beat(beat.await) });
        }
    }

    fn heard(&mut self, beat: Beat) {
        let Some(replica) = &mut self.replica else { return };
        let heard = replica.hear(beat);
        if let Some(orders) = heard.orders {
            self.adopt(orders);
        }
        self.settle();
        if let Some((done, outcome)) = heard.reply {
            // A caller that went away does not need to know.
            let _ = done.send(outcome);
        }
    }

    fn command(&mut self, Command { change, done }: Command) {
        let status = self.own_status();
        let unheard = match &mut self.replica {
            Some(replica) => match replica.change(&self.orders, status, change, done) {
                Ok(beat) => {
                    self.calls.spawn(async { Call::Beat(beat.await) });
                    return;
                }
                Err(done) => {
                    let reason = "the chain service, whose network they are for, was not reached yet";
                    (done, Err(MinerError::OrdersNotShared(reason.to_owned())))
                }
            },
            None if change == Change::Sealing(true) && self.orders.settings.etherbase.is_none() => {
                (done, Err(MinerError::EtherbaseMissing))
            }
            None => {
                let mut orders = self.orders.clone();
                orders.apply(change);
                self.adopt(orders);
                self.settle();
                (done, Ok(()))
            }
        };
        // As above.
        let _ = unheard.0.send(unheard.1);
    }

    /// Follows other orders from now on.
    fn adopt(&mut self, orders: Orders) {
        let before = std::mem::replace(&mut self.orders, orders);
        if before == self.orders {
            return;
        }
        tracing::info!(sealing = self.orders.sealing, settings = ?self.orders.settings, "orders changed");
        let settings = self.orders.settings.clone();
        if let Some(etherbase) = settings.etherbase {
            self.handle(Event::SetEtherbase(etherbase));
        }
        self.handle(Event::SetExtra(settings.extra_data));
        self.handle(Event::SetGasPrice(settings.gas_price));
        self.handle(Event::SetGasLimit(settings.gas_limit));
    }

    /// Has the worker run when it should.
    fn settle(&mut self) {
        let leads = self.replica.as_ref().is_none_or(Replica::leads);
        match (self.orders.sealing && leads, self.worker.is_running()) {
            (true, false) => self.handle(Event::Start),
            (false, true) => self.handle(Event::Stop),
            _ => self.tell_status(),
        }
    }

    fn handle(&mut self, event: Event) {
        for action in self.worker.handle(event, now()) {
            self.act(action);
        }
        self.tell_status();
    }

    fn grant(&self) -> Grant {
        let grant = self.replica.as_ref().map(Replica::grant);
        Grant { token: grant.map_or(0, |(token, _)| token), until: grant.map(|(_, until)| until) }
    }

    fn own_status(&self) -> LeaderStatus {
        LeaderStatus::new(self.worker.parent(), self.sealer.hashrate())
    }

    fn tell_status(&mut self) {
        let (head, sealing) = (self.worker.head(), self.orders.sealing);
        self.replica.iter_mut().for_each(|replica| replica.drop_work(head, sealing));
        let leader = self.replica.as_ref().and_then(Replica::leader);
        let parent = leader.map_or_else(|| self.worker.parent(), |leader| leader.parent());
        let hashrate = leader.map(|leader| leader.hashrate);
        let status = Status { orders: self.orders.clone(), parent, hashrate };
        self.status.send_if_modified(|current| {
            let changed = *current != status;
            *current = status;
            changed
        });
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::ReadHead => {
                self.calls.spawn(read_head(self.chain.clone()));
            }
            Action::Build(job) => {
                let span = self.traces.begin(&job);
                // A leader that was held up first hears whether it still is one.
                self.build = Some(if self.replica.as_ref().is_none_or(Replica::may_act) {
                    self.calls.spawn(build(self.chain.clone(), self.grant().token, job).instrument(span))
                } else {
                    self.calls.spawn(ready(Call::Worker(Event::BuildFailed { job: job.id })))
                });
            }
            Action::InterruptBuild { job, reason } => {
                tracing::debug!(?reason, "block building interrupted");
                self.traces.end_build(job, "interrupted");
                abort(&mut self.build);
            }
            Action::Seal { job: _, seal_hash, block } => {
                let span = self.traces.of(seal_hash);
                if let Some(topic) = self.events.work() {
                    tell(topic, &block.header, seal_hash, self.grant().token, &span);
                }
                let sealed = seal(Arc::clone(&self.sealer), seal_hash, block);
                self.seal = Some(self.calls.spawn(sealed.instrument(span)));
            }
            Action::AbortSeal { seal_hash } => {
                self.traces.end(seal_hash, None, "given up");
                abort(&mut self.seal);
            }
            Action::Submit { seal_hash, block } => {
                let submission = submit(self.chain.clone(), self.grant(), seal_hash, block);
                self.calls.spawn(submission.instrument(self.traces.of(seal_hash)));
            }
            Action::SetTimer(timer, wait) => {
                self.timers.insert(timer, Instant::now() + wait);
            }
            Action::CancelTimer(timer) => {
                self.timers.remove(&timer);
            }
        }
    }
}

/// Since the Unix epoch.
fn now() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

fn abort(call: &mut Option<AbortHandle>) {
    call.take().iter().for_each(AbortHandle::abort);
}

async fn due(replica: Option<&mut Replica>) {
    match replica {
        Some(replica) => replica.due().await,
        None => pending().await,
    }
}

async fn sleep_until(timer: Option<(Timer, Instant)>) {
    if let Some((_, at)) = timer {
        tokio::time::sleep_until(at).await;
    }
}
