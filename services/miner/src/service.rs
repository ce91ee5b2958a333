//! The shell around the worker: events, commands, timers and finished calls go in; calls to `chain` and to the
//! sealer come out. It decides nothing.

use crate::config::MinerConfig;
use crate::error::MinerError;
use crate::sealer::Sealer;
use crate::trace::Traces;
use crate::worker::{Action, Event, Job, Settings, Timer, Worker};
use alloy_primitives::B256;
use quintet_chain_api::{BuildRequest, ChainClient, ChainError};
use quintet_events::{Event as BusEvent, EventBus, Gap, Subscription, Topics};
use quintet_service::Check;
use quintet_types::{Block, BlockRef, ChainEvent, PoolEvent};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

/// Commands that wait for the loop; who sends one more waits too.
const COMMAND_QUEUE: usize = 16;
/// There is one miner, so no lease and no token of one.
const NO_FENCING: u64 = 0;

/// What the worker is doing, for the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) running: bool,
    pub(crate) settings: Settings,
    pub(crate) parent: Option<BlockRef>,
}

/// A change that a caller asks for.
pub(crate) struct Command {
    event: Event,
    done: oneshot::Sender<()>,
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

    /// Has the worker take an event, and waits until it did.
    pub(crate) async fn command(&self, event: Event) -> Result<(), MinerError> {
        let (done, taken) = oneshot::channel();
        self.commands.send(Command { event, done }).await.map_err(|_| MinerError::NotRunning)?;
        taken.await.map_err(|_| MinerError::NotRunning)
    }
}

/// The loop.
pub(crate) struct MinerLoop {
    worker: Worker,
    mine: bool,
    chain: ChainClient,
    events: Arc<dyn EventBus>,
    sealer: Arc<dyn Sealer>,
    commands: mpsc::Receiver<Command>,
    status: watch::Sender<Status>,
    calls: JoinSet<Event>,
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
    ) -> (Self, Handle) {
        let worker = Worker::new(config.cadence(), config.recommit, config.settings());
        let (command_sender, commands) = mpsc::channel(COMMAND_QUEUE);
        let (status, status_receiver) = watch::channel(status_of(&worker));
        let handle =
            Handle { commands: command_sender, status: status_receiver, sealer: Arc::clone(&sealer) };
        let service = Self {
            worker,
            mine: config.mine,
            chain,
            events,
            sealer,
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

    pub(crate) async fn run(mut self, check: &Check, token: CancellationToken) -> Result<(), MinerError> {
        check.fail("waiting for the chain service");
        let mut subscription = self.events.subscribe(Topics::ALL, None);
        // Everything up to now was missed.
        self.handle(Event::Gap);
        if self.mine {
            self.handle(Event::Start);
        }
        loop {
            let timer = self.timers.iter().min_by_key(|(_, at)| **at).map(|(timer, at)| (*timer, *at));
            // What is under way comes before what is new.
            tokio::select! {
                biased;
                () = token.cancelled() => return Ok(()),
                Some(call) = self.calls.join_next(), if !self.calls.is_empty() => self.finished(call, check)?,
                Some(Command { event, done }) = self.commands.recv() => {
                    self.handle(event);
                    // A caller that went away does not need to know.
                    let _ = done.send(());
                }
                () = sleep_until(timer), if timer.is_some() => {
                    if let Some((timer, _)) = timer {
                        self.timers.remove(&timer);
                        self.handle(Event::Timer(timer));
                    }
                }
                event = next_event(&mut subscription) => match event {
                    Some(event) => self.bus_event(event),
                    None if token.is_cancelled() => return Ok(()),
                    None => return Err(MinerError::EventsEnded),
                },
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

    /// Takes the result of a call that was made for the worker.
    fn finished(&mut self, call: Result<Event, JoinError>, check: &Check) -> Result<(), MinerError> {
        let event = match call {
            Ok(event) => event,
            Err(error) if error.is_cancelled() => return Ok(()),
            Err(error) => return Err(MinerError::Panicked(error)),
        };
        match &event {
            Event::HeadRead { .. } => check.ok(),
            Event::HeadReadFailed => check.fail("waiting for the chain service: it does not answer"),
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
        Ok(())
    }

    fn handle(&mut self, event: Event) {
        for action in self.worker.handle(event, now()) {
            self.act(action);
        }
        let status = status_of(&self.worker);
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
                self.build = Some(self.calls.spawn(build(self.chain.clone(), job).instrument(span)));
            }
            Action::InterruptBuild { job, reason } => {
                tracing::debug!(?reason, "block building interrupted");
                self.traces.end_build(job, "interrupted");
                abort(&mut self.build);
            }
            Action::Seal { job: _, seal_hash, block } => {
                let sealed = seal(Arc::clone(&self.sealer), seal_hash, block);
                self.seal = Some(self.calls.spawn(sealed.instrument(self.traces.of(seal_hash))));
            }
            Action::AbortSeal { seal_hash } => {
                self.traces.end(seal_hash, None, "given up");
                abort(&mut self.seal);
            }
            Action::Submit { seal_hash, block } => {
                let submission = submit(self.chain.clone(), seal_hash, block);
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

fn status_of(worker: &Worker) -> Status {
    Status { running: worker.is_running(), settings: worker.settings().clone(), parent: worker.parent() }
}

/// Since the Unix epoch.
fn now() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

fn abort(call: &mut Option<AbortHandle>) {
    call.take().iter().for_each(AbortHandle::abort);
}

async fn sleep_until(timer: Option<(Timer, Instant)>) {
    if let Some((_, at)) = timer {
        tokio::time::sleep_until(at).await;
    }
}

async fn next_event(subscription: &mut Subscription) -> Option<Result<BusEvent, Gap>> {
    subscription.next().await
}

async fn read_head(chain: ChainClient) -> Event {
    match chain.head().await {
        Ok(head) => Event::HeadRead { block: head.head, timestamp: head.header.timestamp },
        Err(error) => {
            tracing::warn!(%error, "chain's head not read");
            Event::HeadReadFailed
        }
    }
}

async fn build(chain: ChainClient, job: Job) -> Event {
    let id = job.id;
    let started = Instant::now();
    let answer = chain.build_block(build_request(job)).await;
    metrics::histogram!("quintet_miner_build_seconds").record(started.elapsed().as_secs_f64());
    match answer {
        Ok(Some(work)) => {
            let header = &work.block.header;
            tracing::debug!(
                number = header.number, sealhash = %work.seal_hash, txs = work.transactions, gas = header.gas_used,
                fees = %work.fees, elapsed = ?started.elapsed(), "Commit new sealing work"
            );
            Event::Built { job: id, work }
        }
        Ok(None) => Event::NothingToBuild { job: id },
        Err(error) => {
            tracing::warn!(%error, "block not built");
            Event::BuildFailed { job: id }
        }
    }
}

fn build_request(job: Job) -> BuildRequest {
    BuildRequest {
        parent_hash: Some(job.parent.hash),
        timestamp: job.timestamp,
        beneficiary: job.beneficiary,
        extra_data: job.extra_data,
        gas_limit_target: job.gas_limit,
        minimum_tip: job.gas_price,
        // No beacon chain gives these: contracts get real randomness, and a root that names no block.
        prev_randao: B256::random(),
        parent_beacon_block_root: Some(B256::ZERO),
        fill_budget: job.fill_budget,
        allow_empty: job.allow_empty,
    }
}

async fn seal(sealer: Arc<dyn Sealer>, seal_hash: B256, block: Arc<Block>) -> Event {
    match sealer.seal(block, seal_hash).await {
        Ok(block) => Event::Sealed { seal_hash, block },
        Err(error) => {
            tracing::warn!(%error, "Block sealing failed");
            Event::SealFailed { seal_hash }
        }
    }
}

async fn submit(chain: ChainClient, seal_hash: B256, block: Arc<Block>) -> Event {
    let started = Instant::now();
    match chain.submit_block(&block, NO_FENCING).await {
        Ok(submitted) => {
            let (number, hash) = (submitted.block.number, submitted.block.hash);
            tracing::info!(
                number, sealhash = %seal_hash, %hash, txs = block.body.transactions.len(), elapsed = ?started.elapsed(),
                "Successfully sealed new block"
            );
            Event::Submitted { seal_hash, block: submitted.block, canonical: submitted.canonical }
        }
        Err(error) => {
            let retry = matches!(error, ChainError::Unavailable(_));
            tracing::warn!(%error, retry, "sealed block not taken");
            Event::SubmitFailed { seal_hash, retry }
        }
    }
}
