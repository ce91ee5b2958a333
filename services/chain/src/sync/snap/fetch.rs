//! Fetches a state from the peers that offer `snap/1`: sends what the passes ask for, checks what comes, and writes it.
//!
//! Whatever ends it, what was written stays, and the next one goes on from there, with the state of another block if need be.

use super::answer::{self, Accounts, Answer, Refused};
use super::ask::{Ask, NodeAt, path_sets};
use super::build::build;
use super::heal::{Healer, MOST_NODES};
use super::progress::{Counts, Progress};
use super::ranges::{MOST_CODES, Ranges};
use super::report::{Missing, Report};
use crate::chain::Chain;
use crate::error::ChainError;
use crate::sync::choose::Plan;
use crate::sync::context::{Context, limited};
use crate::sync::network::{Kind, Network, PeerId, RequestError};
use crate::sync::slots::{Slots, Strike};
use crate::sync::{SyncError, report_fault};
use alloy_primitives::{B256, Bytes};
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use quintet_eth_wire::{GetAccountRange, GetByteCodes, GetStorageRanges, GetTrieNodes};
use quintet_store::{FetchedState, Store};
use quintet_types::BlockRef;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// Bytes after which an answer should end (geth's `maxRequestSize`).
const ANSWER_BYTES: u64 = 512 << 10;
/// Bytes that wait to be written before they are.
const BATCH: usize = 4 << 20;
/// How often what waits is written in any case.
const WRITE_EVERY: Duration = Duration::from_secs(10);
/// How long nobody may have what is missing.
const PATIENCE: Duration = Duration::from_secs(30);
/// A pivot so far below the head is given up for a newer one: peers keep the states of the last 128 blocks (geth: twice
/// `fsMinFullBlocks`, less `reorgProtHeaderDelay`).
const STALE: u64 = 126;

/// How the fetching of a state ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The state is there.
    Whole,
    /// Its block is too old: nobody has its state any more, or will not have it for long.
    Stale,
}

/// What came.
enum Found {
    Accounts(Accounts),
    Slots(answer::Slots),
    Codes(Vec<(B256, Bytes)>),
    Nodes(Vec<(usize, Bytes)>),
}

/// Why nothing came.
enum Failure {
    Request(RequestError),
    Refused(Refused),
}

impl From<RequestError> for Failure {
    fn from(error: RequestError) -> Self {
        Self::Request(error)
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

struct Done {
    peer: PeerId,
    ask: Ask,
    result: Result<Answer<Found>, Failure>,
}

/// The pass under way.
enum Pass {
    Ranges(Box<Ranges>),
    Healing(Box<Healer>),
}

/// The fetching of one block's state.
pub(super) struct Fetch<'a> {
    context: &'a Context,
    /// Whose chain the pivot is on.
    master: PeerId,
    /// No request takes longer.
    patience: Duration,
    pivot: BlockRef,
    root: B256,
    pass: Pass,
    /// Who does not have the state is excluded.
    slots: Slots,
    tasks: FuturesUnordered<BoxFuture<'static, Done>>,
    report: Report,
    written: Instant,
    /// Since when nobody has what is missing.
    idle_since: Option<Instant>,
}

/// Fetches the state of `pivot`, whose root this is.
pub(super) async fn fetch_state(
    context: &Context,
    Plan { master, patience, .. }: Plan,
    (pivot, root): (BlockRef, B256),
    token: &CancellationToken,
) -> Result<Ended, SyncError> {
    let (progress, counts) =
        on_store(context, |store| Ok((Progress::read(store)?, Counts::read(store)?))).await?;
    let report = Report::new(pivot, Arc::clone(&context.status), counts);
    let pass = match &progress {
        None => Pass::Ranges(Box::new(Ranges::new())),
        Some(Progress::Ranges(tasks)) => Pass::Ranges(Box::new(Ranges::resume(tasks.clone()))),
        Some(Progress::Building) => {
            build_trie(context, token).await?;
            Pass::Healing(healer(context, root).await?)
        }
        Some(Progress::Healing) => Pass::Healing(healer(context, root).await?),
    };
    let mut fetch = Fetch {
        context,
        master: master.id,
        patience,
        pivot,
        root,
        pass,
        slots: Slots::default(),
        tasks: FuturesUnordered::new(),
        report,
        written: Instant::now(),
        idle_since: None,
    };
    let ended = token.run_until_cancelled(fetch.follow(token)).await.unwrap_or(Err(SyncError::Cancelled));
    // What came is not to be fetched again.
    fetch.write().await?;
    ended
}

async fn healer(context: &Context, root: B256) -> Result<Box<Healer>, SyncError> {
    on_store(context, move |store| Ok(Box::new(Healer::new(store, root)?))).await
}

async fn build_trie(context: &Context, token: &CancellationToken) -> Result<(), SyncError> {
    tracing::info!("State: computing the trie of what was fetched");
    let token = token.clone();
    let root = on_store(context, move |store| build(store, &token)).await?;
    root.map(|_| ()).ok_or(SyncError::Cancelled)
}

/// Runs work on the store off the async threads.
async fn on_store<T: Send + 'static>(
    context: &Context,
    work: impl FnOnce(&dyn Store) -> Result<T, ChainError> + Send + 'static,
) -> Result<T, SyncError> {
    context.blocking(move |chain| work(chain.store.as_ref())).await
}

impl Fetch<'_> {
    async fn follow(&mut self, token: &CancellationToken) -> Result<Ended, SyncError> {
        let mut ticks = interval(Duration::from_secs(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.report.misses(self.pass.missing());
            if self.is_pass_done() {
                self.write().await?;
                if matches!(self.pass, Pass::Healing(_)) {
                    return Ok(Ended::Whole);
                }
                build_trie(self.context, token).await?;
                self.pass = Pass::Healing(healer(self.context, self.root).await?);
                continue;
            }
            self.send_requests();
            if let Some(ended) = self.is_over()? {
                return Ok(ended);
            }
            tokio::select! {
                Some(done) = self.tasks.next() => self.take_in(done).await?,
                _ = ticks.tick() => self.report.tell(&self.pass_report()),
            }
            if self.weight() >= BATCH || self.written.elapsed() >= WRITE_EVERY {
                self.write().await?;
            }
        }
    }

    fn is_pass_done(&self) -> bool {
        match &self.pass {
            Pass::Ranges(ranges) => ranges.is_done(),
            Pass::Healing(healer) => healer.is_done(),
        }
    }

    fn weight(&self) -> usize {
        match &self.pass {
            Pass::Ranges(ranges) => ranges.weight(),
            Pass::Healing(healer) => healer.weight(),
        }
    }

    fn pass_report(&self) -> String {
        match &self.pass {
            Pass::Ranges(ranges) => format!("{:.2}% of the accounts' range", ranges.share() * 100.0),
            Pass::Healing(healer) => {
                let Missing { nodes, codes } = healer.missing();
                format!("healing: {nodes} nodes and {codes} codes known to be missing")
            }
        }
    }

    /// Writes what came, with how far the pass is then.
    async fn write(&mut self) -> Result<(), SyncError> {
        let (mut part, healing) = match &mut self.pass {
            Pass::Ranges(ranges) => {
                let done = ranges.is_done();
                let progress = if done { Progress::Building } else { Progress::Ranges(ranges.records()) };
                (FetchedState { meta: vec![progress.record()], ..ranges.take_out() }, false)
            }
            Pass::Healing(healer) => (healer.take_out(), true),
        };
        part.meta.push(self.report.wrote(&part, healing).record());
        self.written = Instant::now();
        on_store(self.context, move |store| Ok(store.write_fetched(part)?)).await
    }

    /// Whether the pivot is to be given up; an error when nobody has what is missing for too long.
    fn is_over(&mut self) -> Result<Option<Ended>, SyncError> {
        // What others say of their heads is worth nothing: they would have all begin again and again.
        let master = self.context.network.peer(self.master);
        let highest = master.and_then(|master| master.head.number).unwrap_or_default();
        if highest > self.pivot.number.saturating_add(STALE) {
            return Ok(Some(Ended::Stale));
        }
        if !self.tasks.is_empty() {
            self.idle_since = None;
            return Ok(None);
        }
        let now = Instant::now();
        let since = *self.idle_since.get_or_insert(now);
        if now.saturating_duration_since(since) < PATIENCE {
            return Ok(None);
        }
        // Whoever still has a state has one that is newer.
        if self.slots.is_any_excluded() { Ok(Some(Ended::Stale)) } else { Err(SyncError::NoState) }
    }

    fn send_requests(&mut self) {
        let network = Arc::clone(&self.context.network);
        let mut peers: Vec<PeerId> =
            network.peers().iter().filter(|peer| peer.snap).map(|peer| peer.id).collect();
        self.slots.retain(&peers);
        // Who was silent is asked last.
        peers.sort_by_key(|peer| self.slots.strikes(*peer));
        let now = Instant::now();
        for peer in peers {
            while self.slots.free(peer, Kind::State, now) > 0 {
                let Some(ask) = self.pass.ask() else { return };
                self.slots.ask(peer, Kind::State);
                let chain = Arc::clone(&self.context.chain);
                let request = (Arc::clone(&network), chain, self.root, self.patience);
                self.tasks.push(perform(request, peer, ask).boxed());
            }
        }
    }

    async fn take_in(&mut self, Done { peer, ask, result }: Done) -> Result<(), SyncError> {
        self.slots.end(peer, Kind::State);
        let failure = match result {
            Ok(Answer::Good(found)) => {
                self.slots.answered(peer);
                return self.take(ask, found).await;
            }
            Ok(Answer::Nothing) => {
                tracing::debug!(%peer, pivot = self.pivot.number, kind = ask.kind(), "peer has not got the state");
                self.slots.exclude(peer);
                None
            }
            Err(Failure::Request(error)) => {
                if self.slots.strike(peer, &error) == Strike::Stalling {
                    self.slots.exclude(peer);
                }
                None
            }
            Err(Failure::Refused(Refused::Fault(fault))) => {
                self.slots.exclude(peer);
                report_fault(self.context.network.as_ref(), peer, &fault);
                None
            }
            Err(Failure::Refused(Refused::Node(error))) => Some(error),
        };
        self.pass.fail(ask);
        failure.map_or(Ok(()), |error| Err(SyncError::Node(error)))
    }

    async fn take(&mut self, ask: Ask, found: Found) -> Result<(), SyncError> {
        match (&mut self.pass, ask, found) {
            (Pass::Ranges(ranges), Ask::Accounts { task, .. }, Found::Accounts(found)) => {
                ranges.accounts(task, found);
            }
            (Pass::Ranges(ranges), Ask::Slots { task, accounts, .. }, Found::Slots(found)) => {
                ranges.slots(task, &accounts, found);
            }
            (Pass::Ranges(ranges), Ask::Codes(asked), Found::Codes(found)) => ranges.codes(&asked, found),
            (Pass::Healing(healer), Ask::Codes(asked), Found::Codes(found)) => {
                let missing = asked.into_iter().filter(|hash| !found.iter().any(|(code, _)| code == hash));
                healer.want_codes_again(missing);
                for (hash, code) in found {
                    healer.code(hash, code);
                }
            }
            (Pass::Healing(_), Ask::Nodes(asked), Found::Nodes(found)) => {
                return self.heal(asked, found).await;
            }
            // An answer of the pass before.
            _ => {}
        }
        Ok(())
    }

    /// Hands nodes to the healer, which reads the store.
    async fn heal(&mut self, asked: Vec<NodeAt>, found: Vec<(usize, Bytes)>) -> Result<(), SyncError> {
        let Pass::Healing(healer) = &mut self.pass else { return Ok(()) };
        let mut asked: Vec<Option<NodeAt>> = asked.into_iter().map(Some).collect();
        let mut take = |(place, node): (usize, Bytes)| Some((asked.get_mut(place)?.take()?, node));
        let nodes: Vec<(NodeAt, Bytes)> = found.into_iter().filter_map(&mut take).collect();
        healer.want_nodes_again(asked.into_iter().flatten());
        let mut taken = std::mem::take(healer);
        let step = move |store: &dyn Store| {
            taken.nodes(store, nodes)?;
            Ok(taken)
        };
        *healer = on_store(self.context, step).await?;
        Ok(())
    }
}

impl Pass {
    fn ask(&mut self) -> Option<Ask> {
        match self {
            Self::Ranges(ranges) => ranges.ask(),
            Self::Healing(healer) => {
                let codes = healer.ask_codes(MOST_CODES);
                if !codes.is_empty() {
                    return Some(Ask::Codes(codes));
                }
                let nodes = healer.ask_nodes(MOST_NODES);
                (!nodes.is_empty()).then_some(Ask::Nodes(nodes))
            }
        }
    }

    /// What is known to be missing; the ranges do not know.
    fn missing(&self) -> Missing {
        match self {
            Self::Ranges(_) => Missing::default(),
            Self::Healing(healer) => healer.missing(),
        }
    }

    fn fail(&mut self, ask: Ask) {
        match (self, ask) {
            (Self::Ranges(ranges), ask) => ranges.fail(&ask),
            (Self::Healing(healer), Ask::Nodes(nodes)) => healer.want_nodes_again(nodes),
            (Self::Healing(healer), Ask::Codes(codes)) => healer.want_codes_again(codes),
            (Self::Healing(_), Ask::Accounts { .. } | Ask::Slots { .. }) => {}
        }
    }
}

/// Asks, and checks the answer.
async fn perform(
    (network, chain, root, patience): (Arc<dyn Network>, Arc<Chain>, B256, Duration),
    peer: PeerId,
    ask: Ask,
) -> Done {
    let result = match &ask {
        Ask::Accounts { origin, limit, .. } => {
            let (origin, limit) = (*origin, *limit);
            let request = GetAccountRange { id: 0, root, origin, limit, bytes: ANSWER_BYTES };
            let answer = limited(ask.kind(), patience, network.account_range(peer, request)).await;
            let check = move |answer| answer::accounts(chain.store.as_ref(), root, (origin, limit), answer);
            checked(answer, check, Found::Accounts).await
        }
        Ask::Slots { accounts, origin, .. } => {
            let (accounts, origin) = (accounts.clone(), *origin);
            let hashes = accounts.iter().map(|slots| slots.account).collect();
            let begin = Some(origin).filter(|origin| *origin != B256::ZERO);
            let request = GetStorageRanges {
                id: 0,
                root,
                accounts: hashes,
                origin: begin,
                limit: None,
                bytes: ANSWER_BYTES,
            };
            let answer = limited(ask.kind(), patience, network.storage_ranges(peer, request)).await;
            checked(answer, move |answer| answer::slots(&accounts, origin, answer), Found::Slots).await
        }
        Ask::Codes(hashes) => {
            let hashes = hashes.clone();
            let request = GetByteCodes { id: 0, hashes: hashes.clone(), bytes: ANSWER_BYTES };
            let answer = limited(ask.kind(), patience, network.byte_codes(peer, request)).await;
            checked(answer, move |answer| answer::codes(&hashes, answer), Found::Codes).await
        }
        Ask::Nodes(nodes) => {
            let request = GetTrieNodes { id: 0, root, paths: path_sets(nodes), bytes: ANSWER_BYTES };
            let answer = limited(ask.kind(), patience, network.trie_nodes(peer, request)).await;
            let hashes: Vec<B256> = nodes.iter().map(|node| node.hash).collect();
            checked(answer, move |answer| answer::nodes(&hashes, answer), Found::Nodes).await
        }
    };
    Done { peer, ask, result }
}

/// Checks an answer off the async threads.
async fn checked<A: Send + 'static, T: Send + 'static>(
    answer: Result<A, RequestError>,
    check: impl FnOnce(A) -> Result<Answer<T>, Refused> + Send + 'static,
    found: fn(T) -> Found,
) -> Result<Answer<Found>, Failure> {
    let answer = answer?;
    let checked = tokio::task::spawn_blocking(move || check(answer)).await;
    Ok(match checked.map_err(|error| Refused::Node(error.into()))?? {
        Answer::Good(good) => Answer::Good(found(good)),
        Answer::Nothing => Answer::Nothing,
    })
}
