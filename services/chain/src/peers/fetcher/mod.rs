//! Decides which announced transactions are asked of whom, as geth's fetcher does. No clock, no IO, no randomness: events
//! and times are told, requests are returned.
//!
//! An announced transaction waits half a second, since it is likely to be broadcast as well; then it is asked of one of
//! its announcers, and of another one if that does not give it within five seconds.
//!
//! What must hold: at most one request to a peer is under way, and a transaction is asked of one peer at a time; a peer
//! can have it remember no more than [`MAX_ANNOUNCED`] hashes; and who announced a transaction with another type or size
//! than it has is found out.

mod entry;
mod underpriced;

#[cfg(test)]
mod tests;

use super::PeerId;
use alloy_primitives::B256;
use alloy_primitives::map::{B256Map, B256Set};
use entry::{Entry, State};
use quintet_eth_wire::{MAX_POOLED_REQUEST, MAX_POOLED_REQUEST_SIZE};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use underpriced::Underpriced;

/// Hashes of one peer that are remembered (geth's `maxTxAnnounces`).
pub(crate) const MAX_ANNOUNCED: usize = 4096;
/// How long an announced transaction may yet be broadcast (geth's `txArriveTimeout`).
pub(crate) const ARRIVE_TIMEOUT: Duration = Duration::from_millis(500);
/// What is due within this is done together (geth's `txGatherSlack`).
const SLACK: Duration = Duration::from_millis(100);
/// How long a peer has before others are asked (geth's `txFetchTimeout`).
pub(crate) const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// What a size may be wrong by: some count the type's byte and the string's header (geth's tolerance).
const SIZE_TOLERANCE: u32 = 8;

/// What a transaction was announced as, where the version tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    /// EIP-2718 type.
    pub(crate) kind: u8,
    /// Bytes of its encoding with all that comes with it.
    pub(crate) size: u32,
}

/// A transaction that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Delivered {
    /// Its hash.
    pub(crate) hash: B256,
    /// What it is.
    pub(crate) meta: Meta,
    /// The pool found that it pays too little: it is not asked for again for a while.
    pub(crate) underpriced: bool,
}

/// Transactions to ask a peer for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fetch {
    /// Whom.
    pub(crate) peer: PeerId,
    /// Hashes.
    pub(crate) hashes: Vec<B256>,
}

/// A peer that announced something else than there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Liar {
    /// Who.
    pub(crate) peer: PeerId,
    /// The transaction.
    pub(crate) hash: B256,
}

/// A request under way.
#[derive(Debug)]
struct Request {
    hashes: Vec<B256>,
    since: Instant,
    /// Its transactions are asked of others already; the peer is asked for nothing more until it has answered.
    overdue: bool,
}

#[derive(Debug, Default)]
struct Announcer {
    /// Its announcements that are not settled, in the order they came.
    announced: BTreeMap<u64, B256>,
    request: Option<Request>,
}

/// The announced transactions, who has them, and who is asked.
#[derive(Debug)]
pub(crate) struct TxFetcher {
    transactions: B256Map<Entry>,
    announcers: B256Map<Announcer>,
    /// Those that may yet be broadcast, oldest first.
    waiting: BTreeSet<(Instant, B256)>,
    underpriced: Underpriced,
    next: u64,
}

impl TxFetcher {
    /// Knows of nothing.
    pub(crate) fn new() -> Self {
        Self {
            transactions: B256Map::default(),
            announcers: B256Map::default(),
            waiting: BTreeSet::new(),
            underpriced: Underpriced::default(),
            next: 0,
        }
    }

    /// Transactions that are remembered.
    pub(crate) fn len(&self) -> usize {
        self.transactions.len()
    }

    /// A peer announced transactions that the pool does not have. Gives how many were not remembered, because the peer
    /// has announced too many.
    pub(crate) fn announced(
        &mut self,
        peer: PeerId,
        announced: impl IntoIterator<Item = (B256, Option<Meta>)>,
        now: Instant,
    ) -> usize {
        let mut refused = 0;
        for (hash, meta) in announced {
            if self.underpriced.contains(&hash, now) {
                continue;
            }
            let announcer = self.announcers.entry(peer).or_default();
            if announcer.announced.len() >= MAX_ANNOUNCED {
                refused += 1;
                continue;
            }
            let waiting = &mut self.waiting;
            let entry = self.transactions.entry(hash).or_insert_with(|| {
                waiting.insert((now, hash));
                Entry::new(now)
            });
            // What it said first counts: who says one thing and then another is not listened to.
            if entry.add(peer, self.next, meta) {
                announcer.announced.insert(self.next, hash);
                self.next += 1;
            }
        }
        self.forget_if_idle(&peer);
        refused
    }

    /// Transactions came: in answer to a request (`direct`), or broadcast. Gives the peers that had announced them as
    /// something else.
    pub(crate) fn delivered(
        &mut self,
        peer: PeerId,
        transactions: &[Delivered],
        direct: bool,
        now: Instant,
    ) -> Vec<Liar> {
        let mut liars = Vec::new();
        for Delivered { hash, meta, underpriced } in transactions {
            if *underpriced {
                self.underpriced.insert(*hash, now);
            }
            let Some(entry) = self.settle(hash) else { continue };
            let differs =
                |said: &Meta| said.kind != meta.kind || said.size.abs_diff(meta.size) > SIZE_TOLERANCE;
            let lied = entry.announcers.iter().filter(|(_, said)| said.meta.as_ref().is_some_and(differs));
            liars.extend(lied.map(|(peer, _)| Liar { peer: *peer, hash: *hash }));
        }
        if direct {
            let came: B256Set = transactions.iter().map(|delivered| delivered.hash).collect();
            self.answered(peer, &came);
        }
        liars
    }

    /// A request has been answered with these. What the answer has left out is asked of others; what it may have had no
    /// room for, behind the last one that it has, also of the same peer again.
    fn answered(&mut self, peer: PeerId, came: &B256Set) {
        let Some(request) = self.announcers.get_mut(&peer).and_then(|announcer| announcer.request.take())
        else {
            return;
        };
        let end = request.hashes.iter().rposition(|hash| came.contains(hash));
        for (place, hash) in request.hashes.iter().enumerate() {
            let left_out = end.is_none_or(|end| place < end);
            self.not_delivered(peer, hash, left_out);
        }
        self.forget_if_idle(&peer);
    }

    /// The request was answered with nothing, or failed.
    pub(crate) fn failed(&mut self, peer: PeerId) {
        self.answered(peer, &B256Set::default());
    }

    /// A transaction that was asked of a peer and did not come is asked of another one; of the same not, if `gives_up`.
    fn not_delivered(&mut self, peer: PeerId, hash: &B256, gives_up: bool) {
        let Some(entry) = self.transactions.get_mut(hash) else { return };
        if entry.state != State::Fetching(peer) {
            return;
        }
        entry.state = State::Queued;
        if gives_up {
            self.withdraw(peer, hash);
        }
    }

    /// The peer does not have the transaction.
    fn withdraw(&mut self, peer: PeerId, hash: &B256) {
        let Some(entry) = self.transactions.get_mut(hash) else { return };
        if let Some(said) = entry.announcers.remove(&peer)
            && let Some(announcer) = self.announcers.get_mut(&peer)
        {
            announcer.announced.remove(&said.place);
        }
        if entry.announcers.is_empty() {
            self.settle(hash);
        }
    }

    /// Forgets a transaction.
    fn settle(&mut self, hash: &B256) -> Option<Entry> {
        let entry = self.transactions.remove(hash)?;
        if let State::Waiting(since) = entry.state {
            self.waiting.remove(&(since, *hash));
        }
        for (peer, said) in &entry.announcers {
            if let Some(announcer) = self.announcers.get_mut(peer) {
                announcer.announced.remove(&said.place);
            }
            self.forget_if_idle(peer);
        }
        Some(entry)
    }

    fn forget_if_idle(&mut self, peer: &PeerId) {
        let idle = |announcer: &Announcer| announcer.announced.is_empty() && announcer.request.is_none();
        if self.announcers.get(peer).is_some_and(idle) {
            self.announcers.remove(peer);
        }
    }

    /// A peer is gone.
    pub(crate) fn drop_peer(&mut self, peer: &PeerId) {
        let Some(announcer) = self.announcers.get_mut(peer) else { return };
        let request = announcer.request.take();
        let announced: Vec<B256> = announcer.announced.values().copied().collect();
        for hash in request.iter().flat_map(|request| &request.hashes) {
            self.not_delivered(*peer, hash, true);
        }
        for hash in &announced {
            self.withdraw(*peer, hash);
        }
        self.announcers.remove(peer);
    }

    /// When something is due next.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        let waiting = self.waiting.first().map(|(since, _)| *since + ARRIVE_TIMEOUT);
        let requests = self.announcers.values().filter_map(|announcer| announcer.request.as_ref());
        let requests =
            requests.filter(|request| !request.overdue).map(|request| request.since + FETCH_TIMEOUT);
        waiting.into_iter().chain(requests).min()
    }

    /// Does what is due, and gives the requests to make now. `first` says which peer is looked at first, so that it is
    /// not always the same ones that are asked.
    pub(crate) fn poll(&mut self, now: Instant, first: PeerId) -> Vec<Fetch> {
        self.end_waiting(now);
        self.time_out(now);
        let mut idle: Vec<PeerId> =
            self.announcers.iter().filter(|(_, of)| of.request.is_none()).map(|(peer, _)| *peer).collect();
        idle.sort_unstable();
        let at = idle.partition_point(|peer| *peer < first);
        idle.rotate_left(at);
        idle.into_iter().filter_map(|peer| self.fetch_from(peer, now)).collect()
    }

    /// What has not been broadcast by now is asked for.
    fn end_waiting(&mut self, now: Instant) {
        while let Some((since, hash)) = self.waiting.first().copied() {
            if now + SLACK < since + ARRIVE_TIMEOUT {
                break;
            }
            self.waiting.pop_first();
            if let Some(entry) = self.transactions.get_mut(&hash) {
                entry.state = State::Queued;
            }
        }
    }

    /// What was not given in time is asked of others.
    fn time_out(&mut self, now: Instant) {
        let mut late = Vec::new();
        for (peer, announcer) in &mut self.announcers {
            let Some(request) = &mut announcer.request else { continue };
            if !request.overdue && now + SLACK >= request.since + FETCH_TIMEOUT {
                request.overdue = true;
                late.extend(request.hashes.drain(..).map(|hash| (*peer, hash)));
            }
        }
        for (peer, hash) in late {
            self.not_delivered(peer, &hash, true);
        }
    }

    /// The next request to a peer that has none under way.
    fn fetch_from(&mut self, peer: PeerId, now: Instant) -> Option<Fetch> {
        let announcer = self.announcers.get_mut(&peer)?;
        let mut hashes = Vec::new();
        let mut bytes = 0_usize;
        for hash in announcer.announced.values() {
            let Some(entry) = self.transactions.get_mut(hash) else { continue };
            if entry.state != State::Queued {
                continue;
            }
            entry.state = State::Fetching(peer);
            hashes.push(*hash);
            let said = entry.announcers.get(&peer).and_then(|said| said.meta);
            bytes = bytes.saturating_add(said.map_or(0, |meta| meta.size as usize));
            if hashes.len() >= MAX_POOLED_REQUEST || bytes >= MAX_POOLED_REQUEST_SIZE {
                break;
            }
        }
        if hashes.is_empty() {
            return None;
        }
        announcer.request = Some(Request { hashes: hashes.clone(), since: now, overdue: false });
        Some(Fetch { peer, hashes })
    }
}
