//! One sync: the chain of one peer, the master, fetched from all peers and imported.
//!
//! ```text
//! master ─► ancestor ─► skeleton ─► segments ─► checked ─► bodies ─► feed ─► import sessions
//!                                   (all peers)            (all peers)
//! ```
//!
//! Decisions are those of [`HeaderChain`] and [`BodyQueue`]; here requests are sent, answers are handed to them, and
//! what is to be done with a peer follows from what they say. Memory is bounded: by the bytes of headers ahead, of
//! bodies, and of the feed. Whatever ends a sync, what was imported stays, and the next one goes on from there.

use super::SyncError;
use super::ancestor::{SealedHeader, block_ref};
use super::bodies::{BodyQueue, BodyRoots, Delivery, with_roots};
use super::check::{Refusal, Tip, check_headers};
use super::choose::Plan;
use super::context::{Context, limited, master_failed, sealed};
use super::feed::{Feed, import_session};
use super::headers::{Ask, HeaderChain, Verdict};
use super::network::{Fault, Kind, PeerId, PeerView, RequestError, Start};
use crate::bulk::{ImportError, Summary};
use crate::error::ChainError;
use crate::import::IN_THE_FUTURE;
use alloy_primitives::map::B256Map;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use quintet_types::Body;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// Requests of a kind that one peer has at a time.
const IN_FLIGHT: usize = 2;
/// Bodies of one request (geth's `MaxBlockFetch`).
const MAX_BODIES: usize = 128;
/// What a request is sized to take.
const TARGET_ROUND_TRIP: Duration = Duration::from_secs(2);
/// A peer whose requests timed out so often, one after the other, is not asked again.
const MOST_STRIKES: u32 = 3;
/// A peer that had nothing so often, one after the other, is left in peace for [`REST`].
const MOST_EMPTY: u32 = 3;
const REST: Duration = Duration::from_secs(10);
/// Seconds by which a block may be ahead of the clock without being held against anybody.
const CLOCK_SKEW: u64 = 30;

/// What a peer is busy with, and how it did.
#[derive(Debug, Default)]
struct Slot {
    headers: usize,
    bodies: usize,
    strikes: u32,
    empty: u32,
    rests_until: Option<Instant>,
    excluded: bool,
}

/// Something that was waited for.
enum Done {
    Skeleton(Result<Vec<SealedHeader>, RequestError>),
    Tail(Result<Vec<SealedHeader>, RequestError>),
    Fill { peer: PeerId, from: u64, result: Result<Vec<SealedHeader>, RequestError> },
    Bodies { peer: PeerId, asked: Vec<SealedHeader>, result: Result<Vec<(Body, BodyRoots)>, RequestError> },
    Checked(Result<Box<(Tip, Vec<SealedHeader>)>, Refusal>),
}

type Session = JoinHandle<Result<Summary, ImportError<Infallible>>>;

/// A sync past its ancestor.
pub(crate) struct Download<'a> {
    context: &'a Context,
    master: PeerView,
    /// No request takes longer.
    patience: Duration,
    headers: HeaderChain,
    /// The last header that was checked.
    tip: Tip,
    checking: bool,
    bodies: BodyQueue,
    feed: Arc<Feed>,
    session: Option<Session>,
    slots: B256Map<Slot>,
    tasks: FuturesUnordered<BoxFuture<'static, Done>>,
}

impl Drop for Download<'_> {
    fn drop(&mut self) {
        self.feed.close();
    }
}

impl<'a> Download<'a> {
    /// Above `tip`, the ancestor.
    pub(crate) fn new(context: &'a Context, plan: Plan, tip: Tip) -> Self {
        let options = &context.options;
        let Plan { master, patience, doubtful } = plan;
        let doubtful = doubtful.into_iter().map(|peer| (peer, Slot { strikes: 1, ..Slot::default() }));
        Self {
            context,
            master,
            patience,
            headers: HeaderChain::new(block_ref(&tip.header)),
            tip,
            checking: false,
            bodies: BodyQueue::new(options.body_bytes),
            feed: Arc::new(Feed::new(options.feed_bytes)),
            session: None,
            slots: doubtful.collect(),
            tasks: FuturesUnordered::new(),
        }
    }

    /// Until the master has no more, or something ends it.
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
                return self.judge_claims();
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
            && let Some((block, weight)) = self.bodies.pop()
        {
            self.feed.push(block, weight);
        }
        if self.session.is_none() && !self.feed.is_empty() {
            let (chain, feed) = (Arc::clone(&self.context.chain), Arc::clone(&self.feed));
            let (bulk, patience) = (self.context.options.bulk, self.context.options.patience);
            let session = move || import_session(&chain, &feed, &bulk, patience);
            self.session = Some(tokio::task::spawn_blocking(session));
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

    fn send_requests(&mut self) -> Result<(), SyncError> {
        let network = Arc::clone(&self.context.network);
        let mut peers: Vec<PeerId> = network.peers().iter().map(|peer| peer.id).collect();
        if !peers.contains(&self.master.id) {
            return Err(SyncError::Gone(self.master.id));
        }
        let ahead = self.headers.weight().saturating_add(self.bodies.header_weight());
        let room = ahead < self.context.options.header_bytes;
        if room && let Some(ask) = self.headers.ask_master() {
            self.ask_for_headers(self.master.id, ask);
        }
        // Who was silent is asked once the others have no more to give.
        peers.sort_by_cached_key(|peer| {
            let strikes = self.slots.get(peer).map_or(0, |slot| slot.strikes);
            (strikes, std::cmp::Reverse(network.capacity(*peer, Kind::Bodies, TARGET_ROUND_TRIP)))
        });
        let (now, mut busy) = (Instant::now(), false);
        for peer in peers {
            let slot = self.slot(peer);
            let silent = slot.strikes > 0;
            if slot.excluded || slot.rests_until.is_some_and(|until| now < until) || (silent && busy) {
                continue;
            }
            let most = if silent { 1 } else { IN_FLIGHT };
            let (mut headers, mut bodies) = (slot.headers, slot.bodies);
            while headers < most
                && let Some(ask) = self.headers.ask_fill(peer, !room)
            {
                self.ask_for_headers(peer, ask);
                headers += 1;
            }
            while bodies < most && self.ask_for_bodies(peer) {
                bodies += 1;
            }
            busy |= !silent && headers + bodies > 0;
            let slot = self.slot(peer);
            (slot.headers, slot.bodies) = (headers, bodies);
        }
        Ok(())
    }

    fn ask_for_headers(&self, peer: PeerId, ask: Ask) {
        let network = Arc::clone(&self.context.network);
        let (Ask::Skeleton(request) | Ask::Tail(request) | Ask::Fill(request)) = ask;
        let patience = self.patience;
        let task = async move {
            let result = limited("headers", patience, network.headers(peer, request)).await.map(sealed);
            match (ask, request.start) {
                (Ask::Fill(_), Start::Number(from)) => Done::Fill { peer, from, result },
                (Ask::Skeleton(_), _) => Done::Skeleton(result),
                _ => Done::Tail(result),
            }
        };
        self.tasks.push(task.boxed());
    }

    /// Asks a peer for the next bodies; says whether there was something to ask.
    fn ask_for_bodies(&mut self, peer: PeerId) -> bool {
        let silent = self.slot(peer).strikes > 0;
        let capacity = self.context.network.capacity(peer, Kind::Bodies, TARGET_ROUND_TRIP);
        let capacity = if silent { 1 } else { capacity };
        let asked = self.bodies.reserve(peer, capacity.clamp(1, MAX_BODIES));
        if asked.is_empty() {
            return false;
        }
        let network = Arc::clone(&self.context.network);
        let hashes = asked.iter().map(SealedHeader::hash).collect();
        let patience = self.patience;
        let task = async move {
            let result = limited("bodies", patience, network.bodies(peer, hashes)).await;
            let result = match result {
                Ok(bodies) => with_roots(bodies).await,
                Err(error) => Err(error),
            };
            Done::Bodies { peer, asked, result }
        };
        self.tasks.push(task.boxed());
        true
    }

    fn take_in(&mut self, done: Done) -> Result<(), SyncError> {
        let master = self.master.id;
        match done {
            Done::Skeleton(Ok(headers)) => {
                let verdict = self.headers.skeleton(&headers);
                self.raise(headers.last());
                self.heed(master, verdict)
            }
            Done::Tail(Ok(headers)) => {
                self.raise(headers.last());
                let verdict = self.headers.tail(headers);
                self.heed(master, verdict)
            }
            Done::Skeleton(Err(error)) | Done::Tail(Err(error)) => {
                self.headers.master_failed();
                Err(master_failed(master, &error))
            }
            Done::Fill { peer, from, result } => {
                self.slot(peer).headers = self.slot(peer).headers.saturating_sub(1);
                match result {
                    Ok(headers) => {
                        let verdict = self.headers.fill(peer, from, headers);
                        self.heed(peer, verdict)
                    }
                    Err(error) => {
                        self.headers.fill_failed(from);
                        self.strike(peer, &error)
                    }
                }
            }
            Done::Bodies { peer, asked, result } => {
                self.slot(peer).bodies = self.slot(peer).bodies.saturating_sub(1);
                self.take_bodies(peer, &asked, result)
            }
            Done::Checked(checked) => {
                self.checking = false;
                let (tip, headers) = *checked.map_err(|refusal| match refusal {
                    Refusal::Fault(fault) => SyncError::Fault(master, fault),
                    Refusal::Node(error) => SyncError::Node(error),
                })?;
                metrics::counter!("quintet_chain_sync_headers_total").increment(headers.len() as u64);
                self.tip = tip;
                self.bodies.push(headers);
                Ok(())
            }
        }
    }

    fn take_bodies(
        &mut self,
        peer: PeerId,
        asked: &[SealedHeader],
        result: Result<Vec<(Body, BodyRoots)>, RequestError>,
    ) -> Result<(), SyncError> {
        let bodies = match result {
            Ok(bodies) => bodies,
            Err(error) => {
                self.bodies.fail(asked);
                return self.strike(peer, &error);
            }
        };
        let verdict = match self.bodies.deliver(peer, asked, bodies) {
            Delivery::Good(count) => {
                metrics::counter!("quintet_chain_sync_bodies_total").increment(count as u64);
                Verdict::Good
            }
            Delivery::Lacking => Verdict::Lacking,
            Delivery::Foreign => Verdict::Fault(Fault::WrongBodies),
        };
        self.heed(peer, verdict)
    }

    /// Does with a peer what follows from its answer.
    fn heed(&mut self, peer: PeerId, verdict: Verdict) -> Result<(), SyncError> {
        let slot = self.slot(peer);
        slot.strikes = 0;
        match verdict {
            Verdict::Good => slot.empty = 0,
            Verdict::Lacking => {
                slot.empty = slot.empty.saturating_add(1);
                if slot.empty >= MOST_EMPTY {
                    (slot.empty, slot.rests_until) = (0, Some(Instant::now() + REST));
                }
            }
            Verdict::Fault(fault) => return self.blame(peer, fault),
            Verdict::MasterFault(fault) => return self.blame(self.master.id, fault),
            Verdict::Moved => return Err(SyncError::Moved(self.master.id)),
        }
        Ok(())
    }

    /// A request that brought nothing.
    fn strike(&mut self, peer: PeerId, error: &RequestError) -> Result<(), SyncError> {
        let slot = self.slot(peer);
        match error {
            RequestError::Timeout => slot.strikes = slot.strikes.saturating_add(1),
            RequestError::Gone | RequestError::Malformed(_) => slot.excluded = true,
        }
        if slot.strikes >= MOST_STRIKES {
            return self.blame(peer, Fault::Stalling);
        }
        if peer == self.master.id && self.slot(peer).excluded {
            return Err(master_failed(peer, error));
        }
        Ok(())
    }

    /// A fault ends the sync if it is the master's; another peer is not asked again.
    fn blame(&mut self, peer: PeerId, fault: Fault) -> Result<(), SyncError> {
        if peer == self.master.id {
            return Err(SyncError::Fault(peer, fault));
        }
        // Once for all that it is asked for at a time.
        if !std::mem::replace(&mut self.slot(peer).excluded, true) {
            super::report_fault(self.context.network.as_ref(), peer, &fault);
        }
        Ok(())
    }

    fn slot(&mut self, peer: PeerId) -> &mut Slot {
        self.slots.entry(peer).or_default()
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
            Ok(Ok(_)) => return Ok(()),
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
            error => SyncError::Node(error),
        })
    }

    /// Whether a block was refused for a clock that is a little behind the network's.
    fn is_early(&self, reason: &str) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        reason == IN_THE_FUTURE && self.tip.header.inner().timestamp <= now.saturating_add(CLOCK_SKEW)
    }

    fn is_finished(&self) -> bool {
        let fetched = self.headers.is_done() && !self.checking && self.bodies.is_empty();
        let idle = self.session.is_none() && self.feed.is_empty();
        fetched && (idle || self.is_worthless())
    }

    /// Whether the whole chain turned out to be no better than ours.
    fn is_worthless(&self) -> bool {
        let claimed = self.master.head.total_difficulty;
        claimed.is_some_and(|claimed| claimed > self.tip.total_difficulty)
            && self.tip.total_difficulty <= self.context.chain.head().total_difficulty
            && !self.context.chain.spec.is_merged_after(self.tip.total_difficulty)
    }

    /// Whether nobody has what is left to fetch, and all before it is imported.
    fn is_stuck(&self) -> bool {
        if self.session.is_some() || !self.feed.is_empty() || self.checking {
            return false;
        }
        let now = Instant::now();
        let resting = self.slots.values().any(|slot| slot.rests_until.is_some_and(|until| now < until));
        (self.tasks.is_empty() && !resting) || self.is_next_lacking()
    }

    /// Whether no peer that may be asked has what all else waits for.
    fn is_next_lacking(&self) -> bool {
        let mut peers: Vec<PeerId> = self.context.network.peers().iter().map(|peer| peer.id).collect();
        peers.retain(|peer| !self.slots.get(peer).is_some_and(|slot| slot.excluded));
        self.bodies.is_next_lacking(&peers) || self.bodies.is_empty() && self.headers.is_next_lacking(&peers)
    }

    /// All is imported: whether the chain is the one that was promised.
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

/// The end of an import session; never, if there is none.
async fn joined(
    session: &mut Option<Session>,
) -> Result<Result<Summary, ImportError<Infallible>>, tokio::task::JoinError> {
    let Some(running) = session else { return std::future::pending().await };
    let ended = running.await;
    *session = None;
    ended
}
