//! One sync: the chain of one peer, the master, fetched from all peers and imported.
//!
//! ```text
//! master ─► ancestor ─► skeleton ─► segments ─► checked ─► bodies ─► feed ─► import sessions
//!                                   (all peers)            (all peers)
//! ```
//!
//! History, which is not executed, comes the same way up to a given block, and its receipts as its bodies do.
//!
//! Decisions are those of [`HeaderChain`] and [`PartQueue`]; here requests are sent, answers are handed to them, and
//! what is to be done with a peer follows from what they say. Memory is bounded: by the bytes of headers ahead, of
//! bodies, and of the feed. Whatever ends a sync, what was imported stays, and the next one goes on from there.

mod requests;

use super::SyncError;
use super::ancestor::{SealedHeader, block_ref};
use super::bodies::BodyQueue;
use super::check::{Refusal, Tip, check_headers};
use super::choose::Plan;
use super::context::{Context, master_failed};
use super::feed::{Feed, history_session, import_session};
use super::headers::{HeaderChain, Verdict};
use super::network::{Fault, Kind, PeerId, PeerView, RequestError};
use super::parts::{Delivery, Part, PartQueue};
use super::receipts::ReceiptQueue;
use super::slots::{Slots, Strike};
use crate::bulk::{ImportError, Summary, weight};
use crate::error::ChainError;
use crate::history::RootedReceipts;
use crate::import::IN_THE_FUTURE;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use quintet_types::{Block, BlockRef, Body};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// Seconds by which a block may be ahead of the clock without being held against anybody.
const CLOCK_SKEW: u64 = 30;

/// The answer to a request for parts of blocks.
struct Answer<P: Part> {
    peer: PeerId,
    asked: Vec<SealedHeader>,
    result: Result<Vec<(P, P::Roots)>, RequestError>,
}

/// Something that was waited for.
enum Done {
    Skeleton(Result<Vec<SealedHeader>, RequestError>),
    Tail(Result<Vec<SealedHeader>, RequestError>),
    Fill { peer: PeerId, from: u64, result: Result<Vec<SealedHeader>, RequestError> },
    Bodies(Answer<Body>),
    Receipts(Answer<RootedReceipts>),
    Checked(Result<Box<(Tip, Vec<SealedHeader>)>, Refusal>),
}

/// What is fetched.
enum Goal {
    /// All that the master has, to be executed.
    Head,
    /// History up to and with a block.
    History {
        pivot: BlockRef,
        /// The newest block that is imported.
        reached: BlockRef,
        receipts: ReceiptQueue,
    },
}

type Session = JoinHandle<Result<Summary, ImportError<Infallible>>>;

/// A sync past its ancestor.
pub(crate) struct Download<'a> {
    context: &'a Context,
    master: PeerView,
    goal: Goal,
    /// No request takes longer.
    patience: Duration,
    headers: HeaderChain,
    /// The last header that was checked.
    tip: Tip,
    checking: bool,
    bodies: BodyQueue,
    feed: Arc<Feed>,
    session: Option<Session>,
    slots: Slots,
    tasks: FuturesUnordered<BoxFuture<'static, Done>>,
}

impl Drop for Download<'_> {
    fn drop(&mut self) {
        self.feed.close();
    }
}

impl<'a> Download<'a> {
    /// Of all that is above `tip`, the ancestor.
    pub(crate) fn new(context: &'a Context, plan: Plan, tip: Tip) -> Self {
        let headers = HeaderChain::new(block_ref(&tip.header));
        Self::with_goal(context, plan, tip, headers, Goal::Head)
    }

    /// Of history above `tip`, up to and with `pivot`.
    pub(crate) fn of_history(context: &'a Context, plan: Plan, tip: Tip, pivot: BlockRef) -> Self {
        let reached = block_ref(&tip.header);
        let receipts = PartQueue::new(context.options.body_bytes);
        let goal = Goal::History { pivot, reached, receipts };
        Self::with_goal(context, plan, tip, HeaderChain::up_to(reached, pivot), goal)
    }

    fn with_goal(context: &'a Context, plan: Plan, tip: Tip, headers: HeaderChain, goal: Goal) -> Self {
        let options = &context.options;
        let Plan { master, patience, doubtful } = plan;
        Self {
            context,
            master,
            goal,
            patience,
            headers,
            tip,
            checking: false,
            bodies: PartQueue::new(options.body_bytes),
            feed: Arc::new(Feed::new(options.feed_bytes)),
            session: None,
            slots: Slots::new(doubtful),
            tasks: FuturesUnordered::new(),
        }
    }

    /// Until all is fetched and imported, or something ends it.
    pub(crate) async fn run(mut self, token: &CancellationToken) -> Result<(), SyncError> {
        let outcome = token.run_until_cancelled(self.follow()).await.unwrap_or(Err(SyncError::Cancelled));
        // The import ends before the next sync begins.
        self.feed.close();
        if let Some(session) = self.session.take() {
            let _ = session.await;
        }
        outcome
    }

    async fn follow(&mut self) -> Result<(), SyncError> {
        let mut ticks = interval(Duration::from_secs(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let feed = Arc::clone(&self.feed);
        loop {
            self.advance();
            self.send_requests()?;
            if self.is_finished() {
                return self.judge();
            }
            if self.is_stuck() {
                return Err(SyncError::Fault(self.master.id, Fault::Stalling));
            }
            tokio::select! {
                Some(done) = self.tasks.next() => self.take_in(done)?,
                ended = joined(&mut self.session) => self.session_ended(ended)?,
                () = feed.room() => {}
                _ = ticks.tick() => {
                    let peers = self.context.network.peers().len();
                    self.context.status.report(self.context.chain.head().block.number, peers);
                }
            }
        }
    }

    /// Moves what is there a stage further.
    fn advance(&mut self) {
        if !self.checking
            && let Some(headers) = self.headers.take()
        {
            self.checking = true;
            self.check(headers);
        }
        while self.feed.has_room()
            && let Some((block, receipts)) = self.pop()
        {
            let weight = weight::of_block(&block) + weight::of_receipts(receipts.receipts());
            self.feed.push((block, receipts), weight);
        }
        if self.is_fetched() {
            self.feed.finish();
        }
        if self.session.is_none() && !self.feed.is_empty() {
            self.session = Some(self.begin_session());
        }
    }

    /// The next block, if all of it is there.
    fn pop(&mut self) -> Option<(Block, RootedReceipts)> {
        let receipts = match &mut self.goal {
            Goal::Head => RootedReceipts::none(),
            Goal::History { receipts, .. } if self.bodies.is_ready() => receipts.pop()?.1,
            Goal::History { .. } => return None,
        };
        let (header, body) = self.bodies.pop()?;
        Some((Block { header: header.into_inner(), body }, receipts))
    }

    fn begin_session(&self) -> Session {
        let (chain, feed) = (Arc::clone(&self.context.chain), Arc::clone(&self.feed));
        let options = self.context.options;
        match self.goal {
            Goal::Head => tokio::task::spawn_blocking(move || import_session(&chain, &feed, &options)),
            Goal::History { reached, .. } => {
                let status = Arc::clone(&self.context.status);
                let session = move || history_session(&chain, &feed, &options, reached, &status);
                tokio::task::spawn_blocking(session)
            }
        }
    }

    fn check(&self, headers: Vec<SealedHeader>) {
        let (chain, rejected) = (Arc::clone(&self.context.chain), Arc::clone(&self.context.rejected));
        let tip = self.tip.clone();
        let check =
            move || check_headers(&chain, &rejected, &tip, &headers).map(|tip| Box::new((tip, headers)));
        let task = async move {
            let checked = tokio::task::spawn_blocking(check).await;
            Done::Checked(checked.unwrap_or_else(|error| Err(Refusal::Node(error.into()))))
        };
        self.tasks.push(task.boxed());
    }

    fn take_in(&mut self, done: Done) -> Result<(), SyncError> {
        let master = self.master.id;
        match done {
            Done::Skeleton(Ok(headers)) => {
                let verdict = self.headers.skeleton(&headers);
                self.raise(headers.last());
                self.heed(master, Kind::Headers, verdict)
            }
            Done::Tail(Ok(headers)) => {
                self.raise(headers.last());
                let verdict = self.headers.tail(headers);
                self.heed(master, Kind::Headers, verdict)
            }
            Done::Skeleton(Err(error)) | Done::Tail(Err(error)) => {
                self.headers.master_failed();
                Err(master_failed(master, &error))
            }
            Done::Fill { peer, from, result } => {
                let taken = match result {
                    Ok(headers) => Ok(self.headers.fill(peer, from, headers)),
                    Err(error) => {
                        self.headers.fill_failed(from);
                        Err(error)
                    }
                };
                self.conclude(peer, Kind::Headers, taken)
            }
            Done::Bodies(answer) => {
                let (peer, taken) =
                    (answer.peer, taken(&mut self.bodies, answer, "quintet_chain_sync_bodies_total"));
                self.conclude(peer, Kind::Bodies, taken)
            }
            Done::Receipts(answer) => {
                let Goal::History { receipts, .. } = &mut self.goal else { return Ok(()) };
                let (peer, taken) =
                    (answer.peer, taken(receipts, answer, "quintet_chain_sync_receipts_total"));
                self.conclude(peer, Kind::Receipts, taken)
            }
            Done::Checked(checked) => {
                self.checking = false;
                let (tip, headers) = *checked.map_err(|refusal| match refusal {
                    Refusal::Fault(fault) => SyncError::Fault(master, fault),
                    Refusal::Node(error) => SyncError::Node(error),
                })?;
                metrics::counter!("quintet_chain_sync_headers_total").increment(headers.len() as u64);
                self.tip = tip;
                if let Goal::History { receipts, .. } = &mut self.goal {
                    receipts.push(headers.clone());
                }
                self.bodies.push(headers);
                Ok(())
            }
        }
    }

    /// A request has ended.
    fn conclude(
        &mut self,
        peer: PeerId,
        kind: Kind,
        taken: Result<Verdict, RequestError>,
    ) -> Result<(), SyncError> {
        self.slots.end(peer, kind);
        match taken {
            Ok(verdict) => self.heed(peer, kind, verdict),
            Err(error) => self.strike(peer, &error),
        }
    }

    /// Does with a peer what follows from its answer.
    fn heed(&mut self, peer: PeerId, kind: Kind, verdict: Verdict) -> Result<(), SyncError> {
        self.slots.answered(peer);
        match verdict {
            Verdict::Good => self.slots.gave(peer, kind),
            Verdict::Lacking => self.slots.lacked(peer, kind, Instant::now()),
            Verdict::Fault(fault) => return self.blame(peer, fault),
            Verdict::MasterFault(fault) => return self.blame(self.master.id, fault),
            Verdict::Moved => return Err(SyncError::Moved(self.master.id)),
        }
        Ok(())
    }

    /// A request that brought nothing.
    fn strike(&mut self, peer: PeerId, error: &RequestError) -> Result<(), SyncError> {
        match self.slots.strike(peer, error) {
            Strike::Stalling => self.blame(peer, Fault::Stalling),
            Strike::Excluded if peer == self.master.id => Err(master_failed(peer, error)),
            Strike::Excluded | Strike::Excused => Ok(()),
        }
    }

    /// A fault ends the sync if it is the master's; another peer is not asked again.
    fn blame(&mut self, peer: PeerId, fault: Fault) -> Result<(), SyncError> {
        if peer == self.master.id {
            return Err(SyncError::Fault(peer, fault));
        }
        // Once for all that it is asked for at a time.
        if self.slots.exclude(peer) {
            super::report_fault(self.context.network.as_ref(), peer, &fault);
        }
        Ok(())
    }

    fn raise(&self, header: Option<&SealedHeader>) {
        if let Some(header) = header {
            self.context.status.raise(header.inner().number);
        }
    }

    fn session_ended(
        &mut self,
        ended: Result<Result<Summary, ImportError<Infallible>>, tokio::task::JoinError>,
    ) -> Result<(), SyncError> {
        let error = match ended {
            Ok(Ok(summary)) => {
                if let Goal::History { reached, .. } = &mut self.goal {
                    *reached = summary.head;
                }
                return Ok(());
            }
            Ok(Err(ImportError::Chain(error))) => error,
            Ok(Err(ImportError::Source(never))) => match never {},
            Err(error) => error.into(),
        };
        Err(match error {
            ChainError::InvalidBlock { reason, .. } if self.is_early(&reason) => {
                SyncError::Early(self.master.id)
            }
            ChainError::InvalidBlock { number, hash, reason } => {
                // A block of the future is a good one some day.
                if reason != IN_THE_FUTURE {
                    self.context.rejected.add(hash, reason.clone());
                }
                SyncError::Fault(self.master.id, Fault::InvalidBlock { number, hash, reason })
            }
            ChainError::UnknownAncestor { .. } => SyncError::Moved(self.master.id),
            ChainError::BelowFetchedState { .. } => SyncError::Fault(self.master.id, Fault::TooOld),
            error => SyncError::Node(error),
        })
    }

    /// Whether a block was refused for a clock that is a little behind the network's.
    fn is_early(&self, reason: &str) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        reason == IN_THE_FUTURE && self.tip.header.inner().timestamp <= now.saturating_add(CLOCK_SKEW)
    }

    /// Whether all is on its way to the import.
    fn is_fetched(&self) -> bool {
        self.headers.is_done() && !self.checking && self.bodies.is_empty()
    }

    fn is_finished(&self) -> bool {
        let idle = self.session.is_none() && self.feed.is_empty();
        self.is_fetched() && (idle || self.is_worthless())
    }

    /// Whether the whole chain turned out to be no better than ours.
    fn is_worthless(&self) -> bool {
        let claimed = self.master.head.total_difficulty;
        matches!(self.goal, Goal::Head)
            && claimed.is_some_and(|claimed| claimed > self.tip.total_difficulty)
            && self.tip.total_difficulty <= self.context.chain.head().total_difficulty
            && !self.context.chain.spec.is_merged_after(self.tip.total_difficulty)
    }

    /// Whether nobody has what is left to fetch, and all before it is imported.
    fn is_stuck(&self) -> bool {
        if self.session.is_some() || !self.feed.is_empty() || self.checking {
            return false;
        }
        let now = Instant::now();
        (self.tasks.is_empty() && !self.slots.is_any_resting(now)) || self.is_next_lacking()
    }

    /// Whether no peer that may be asked has what all else waits for.
    fn is_next_lacking(&self) -> bool {
        let mut peers: Vec<PeerId> = self.context.network.peers().iter().map(|peer| peer.id).collect();
        peers.retain(|peer| !self.slots.is_excluded(*peer));
        let receipts = match &self.goal {
            Goal::Head => false,
            Goal::History { receipts, .. } => receipts.is_next_lacking(&peers),
        };
        receipts
            || self.bodies.is_next_lacking(&peers)
            || self.bodies.is_empty() && self.headers.is_next_lacking(&peers)
    }

    /// All is imported: whether it is what was wanted.
    fn judge(&self) -> Result<(), SyncError> {
        match &self.goal {
            Goal::Head => self.judge_claims(),
            Goal::History { pivot, reached, .. } if pivot == reached => Ok(()),
            Goal::History { .. } => Err(SyncError::Moved(self.master.id)),
        }
    }

    /// Whether the chain is the one that was promised.
    fn judge_claims(&self) -> Result<(), SyncError> {
        let (claim, found) = (self.master.head, self.tip.total_difficulty);
        let merged = self.context.chain.spec.is_merged_after(found);
        let fault = match claim.total_difficulty {
            Some(claimed) if !merged => {
                (claimed > found).then_some(Fault::LyingDifficulty { claimed, found })
            }
            _ => claim
                .number
                .filter(|number| *number > self.tip.header.inner().number)
                .map(|_| Fault::Stalling),
        };
        fault.map_or(Ok(()), |fault| Err(SyncError::Fault(self.master.id, fault)))
    }
}

/// Hands an answer to its queue.
fn taken<P: Part>(
    queue: &mut PartQueue<P>,
    Answer { peer, asked, result }: Answer<P>,
    counter: &'static str,
) -> Result<Verdict, RequestError> {
    let parts = result.inspect_err(|_| queue.fail(&asked))?;
    Ok(match queue.deliver(peer, &asked, parts) {
        Delivery::Good(count) => {
            metrics::counter!(counter).increment(count as u64);
            Verdict::Good
        }
        Delivery::Lacking => Verdict::Lacking,
        Delivery::Foreign => Verdict::Fault(P::FOREIGN),
    })
}

/// The end of an import session; never, if there is none.
async fn joined(
    session: &mut Option<Session>,
) -> Result<Result<Summary, ImportError<Infallible>>, tokio::task::JoinError> {
    let Some(running) = session else { return std::future::pending().await };
    let ended = running.await;
    *session = None;
    ended
}
