//! The block fetcher's decisions: which announced blocks to fetch, from whom and when, and which block is next to be
//! imported. Events and the time go in, actions come out.
//!
//! As in geth, an announced block is waited for before it is asked for, since most come by themselves; then its header
//! is asked for, then its body. Blocks far below or above the head are left to sync.

use super::ancestor::SealedHeader;
use super::bodies::{BodyRoots, empty_body};
use super::network::{Fault, PeerId};
use alloy_primitives::B256;
use alloy_primitives::map::B256Map;
use quintet_types::{Block, Body, TraceContext};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long an announced block may take to come by itself.
const ARRIVE: Duration = Duration::from_millis(500);
/// What is due within this is done together.
const SLACK: Duration = Duration::from_millis(100);
/// How long a peer has to give what it announced.
const FETCH: Duration = Duration::from_secs(5);
/// Blocks that one peer may have announced at a time.
const MOST_ANNOUNCED: usize = 256;
/// Blocks that may wait of one peer.
const MOST_BLOCKS: usize = 64;
/// Blocks further below the head are of no use, as uncles neither.
const MOST_BEHIND: u64 = 7;
/// Blocks further above the head are left to sync.
const MOST_AHEAD: u64 = 32;
/// While blocks wait for their parents, the head is looked at this often.
const LOOK: Duration = Duration::from_millis(500);

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Action {
    /// Ask a peer for a header.
    FetchHeader { peer: PeerId, hash: B256 },
    /// Ask a peer for bodies.
    FetchBodies { peer: PeerId, headers: Vec<SealedHeader> },
    /// Import a block.
    Import(Arrived),
    /// A peer did wrong.
    Fault(PeerId, Fault),
}

/// A block that is there.
#[derive(Clone, Debug)]
pub(crate) struct Arrived {
    /// Who gave it.
    pub(crate) peer: PeerId,
    pub(crate) block: Arc<Block>,
    pub(crate) hash: B256,
    /// The trace of the message that told of it.
    pub(crate) trace: TraceContext,
}

#[derive(Clone, Debug)]
struct Announcer {
    peer: PeerId,
    number: u64,
    trace: TraceContext,
}

#[derive(Debug)]
enum Stage {
    /// It may come by itself until then.
    Announced { until: Instant },
    /// The header is asked for.
    Header { peer: PeerId, until: Instant },
    /// The header is there, its body is about to be asked for.
    Gathering { header: Box<SealedHeader>, until: Instant },
    /// The body is asked for.
    Body { peer: PeerId, until: Instant },
}

impl Stage {
    const fn until(&self) -> Instant {
        match self {
            Self::Announced { until }
            | Self::Header { until, .. }
            | Self::Gathering { until, .. }
            | Self::Body { until, .. } => *until,
        }
    }
}

/// A block that was announced and is not there.
#[derive(Debug)]
struct Wanted {
    /// Who has it; the one that is asked is the last.
    announcers: Vec<Announcer>,
    stage: Stage,
}

#[derive(Debug)]
struct Waiting {
    arrived: Arrived,
    not_before: Option<Instant>,
}

/// What is announced, on its way, and waits for its import.
#[derive(Debug, Default)]
pub(crate) struct Fetcher {
    wanted: B256Map<Wanted>,
    /// Announcements of each peer.
    announced: B256Map<usize>,
    waiting: BTreeMap<(u64, B256), Waiting>,
    /// Blocks of each peer that wait.
    held: B256Map<usize>,
    /// The block that is being imported, with its number and sender.
    importing: Option<(u64, Arrived)>,
}

impl Fetcher {
    /// A peer has a block that we do not hold.
    pub(crate) fn announce(
        &mut self,
        now: Instant,
        (peer, trace): (PeerId, &TraceContext),
        (hash, number): (B256, u64),
        head: u64,
    ) -> Option<Action> {
        if !is_near(number, head) || self.has(number, &hash) {
            return None;
        }
        let count = self.announced.entry(peer).or_default();
        if *count >= MOST_ANNOUNCED {
            metrics::counter!("quintet_chain_fetcher_dropped_total", "reason" => "announcements")
                .increment(1);
            return Some(Action::Fault(peer, Fault::Flood));
        }
        let announcer = Announcer { peer, number, trace: trace.clone() };
        let stage = Stage::Announced { until: now + ARRIVE };
        let wanted = self.wanted.entry(hash).or_insert_with(|| Wanted { announcers: Vec::new(), stage });
        if wanted.announcers.iter().all(|known| known.peer != peer) {
            *count += 1;
            // Who is asked stays the last.
            wanted.announcers.insert(0, announcer);
        }
        None
    }

    /// A peer sends a block.
    pub(crate) fn arrive(&mut self, arrived: Arrived, head: u64) -> Option<Action> {
        self.forget(&arrived.hash);
        self.enqueue(arrived, head)
    }

    /// The answer to [`Action::FetchHeader`]; `None` if there was none.
    pub(crate) fn header(
        &mut self,
        now: Instant,
        (peer, hash): (PeerId, B256),
        header: Option<SealedHeader>,
        head: u64,
    ) -> Option<Action> {
        let wanted = self.wanted.get_mut(&hash)?;
        if !matches!(&wanted.stage, Stage::Header { peer: asked, .. } if *asked == peer) {
            return None;
        }
        let Some(header) = header else {
            self.give_up_on(now, peer, &hash);
            return None;
        };
        if header.hash() != hash {
            self.give_up_on(now, peer, &hash);
            return Some(Action::Fault(peer, Fault::WrongHeaders));
        }
        let announcer = wanted.announcers.last()?;
        if announcer.number != header.inner().number {
            self.give_up_on(now, peer, &hash);
            return Some(Action::Fault(peer, Fault::WrongAnnouncement));
        }
        let Some(body) = empty_body(header.inner()) else {
            wanted.stage = Stage::Gathering { header: Box::new(header), until: now + SLACK };
            return None;
        };
        let trace = announcer.trace.clone();
        self.forget(&hash);
        let block = Arc::new(Block { header: header.into_inner(), body });
        self.enqueue(Arrived { peer, block, hash, trace }, head)
    }

    /// The answer to [`Action::FetchBodies`]; empty if there was none.
    pub(crate) fn bodies(
        &mut self,
        now: Instant,
        peer: PeerId,
        asked: &[SealedHeader],
        bodies: Vec<(Body, BodyRoots)>,
        head: u64,
    ) -> Vec<Action> {
        let mut actions = Vec::new();
        let mut rest: Vec<&SealedHeader> = asked.iter().collect();
        for (body, roots) in bodies {
            let fits = |header: &&SealedHeader| BodyRoots::in_header(header.inner()) == roots;
            let Some(place) = rest.iter().position(fits) else {
                actions.push(Action::Fault(peer, Fault::WrongBodies));
                break;
            };
            let header = rest.remove(place);
            let Some(wanted) = self.wanted.get(&header.hash()) else { continue };
            let trace = wanted.announcers.last().map(|announcer| announcer.trace.clone()).unwrap_or_default();
            self.forget(&header.hash());
            let block = Arc::new(Block { header: header.inner().clone(), body });
            actions.extend(self.enqueue(Arrived { peer, block, hash: header.hash(), trace }, head));
        }
        for header in rest {
            self.give_up_on(now, peer, &header.hash());
        }
        actions
    }

    /// An import has ended; a block that was too early is tried again at `again`.
    pub(crate) fn imported(&mut self, again: Option<Instant>) {
        let Some((number, arrived)) = self.importing.take() else { return };
        if again.is_some() {
            self.waiting.insert((number, arrived.hash), Waiting { arrived, not_before: again });
        } else {
            lower(&mut self.held, arrived.peer);
        }
    }

    /// Whether an import is under way.
    pub(crate) const fn is_importing(&self) -> bool {
        self.importing.is_some()
    }

    /// A peer went: nobody asks it for anything.
    pub(crate) fn left(&mut self, now: Instant, peer: PeerId) {
        let told: Vec<B256> = self
            .wanted
            .iter()
            .filter(|(_, wanted)| wanted.announcers.iter().any(|announcer| announcer.peer == peer))
            .map(|(hash, _)| *hash)
            .collect();
        for hash in told {
            self.give_up_on(now, peer, &hash);
        }
        self.announced.remove(&peer);
    }

    /// What is due.
    pub(crate) fn due(&mut self, now: Instant, head: u64) -> Vec<Action> {
        let mut actions = Vec::new();
        let mut bodies: BTreeMap<PeerId, Vec<SealedHeader>> = BTreeMap::new();
        let due = |wanted: &Wanted| match wanted.stage {
            Stage::Announced { until } => until <= now + SLACK,
            _ => wanted.stage.until() <= now,
        };
        let due: Vec<B256> =
            self.wanted.iter().filter(|(_, wanted)| due(wanted)).map(|(hash, _)| *hash).collect();
        for hash in due {
            let Some(wanted) = self.wanted.get_mut(&hash) else { continue };
            let Some(peer) = wanted.announcers.last().map(|announcer| announcer.peer) else { continue };
            let until = now + FETCH;
            match &wanted.stage {
                Stage::Announced { .. } => {
                    wanted.stage = Stage::Header { peer, until };
                    actions.push(Action::FetchHeader { peer, hash });
                }
                Stage::Gathering { header, .. } => {
                    bodies.entry(peer).or_default().push(SealedHeader::clone(header));
                    wanted.stage = Stage::Body { peer, until };
                }
                Stage::Header { peer, .. } | Stage::Body { peer, .. } => {
                    let peer = *peer;
                    self.give_up_on(now, peer, &hash);
                }
            }
        }
        let fetch = |(peer, headers)| Action::FetchBodies { peer, headers };
        actions.extend(bodies.into_iter().map(fetch));
        actions.extend(self.next_import(now, head).map(Action::Import));
        actions
    }

    /// When [`Self::due`] has something to do at the latest.
    pub(crate) fn deadline(&self, now: Instant) -> Option<Instant> {
        let wanted = self.wanted.values().map(|wanted| wanted.stage.until()).min();
        let looks = (!self.waiting.is_empty()).then(|| now + LOOK);
        wanted.into_iter().chain(looks).min()
    }

    /// The lowest block, if its parent can be there.
    fn next_import(&mut self, now: Instant, head: u64) -> Option<Arrived> {
        if self.importing.is_some() {
            return None;
        }
        loop {
            let (number, hash) = *self.waiting.first_key_value()?.0;
            if is_near(number, head) {
                break;
            }
            if number > head {
                return None;
            }
            if let Some(old) = self.waiting.remove(&(number, hash)) {
                lower(&mut self.held, old.arrived.peer);
            }
        }
        let next = head.saturating_add(1);
        let ready = |(_, waiting): &(&(u64, B256), &Waiting)| waiting.not_before.is_none_or(|at| at <= now);
        let key = *self.waiting.range(..=(next, B256::repeat_byte(0xff))).find(ready)?.0;
        let arrived = self.waiting.remove(&key)?.arrived;
        self.importing = Some((key.0, arrived.clone()));
        Some(arrived)
    }

    fn enqueue(&mut self, arrived: Arrived, head: u64) -> Option<Action> {
        let (peer, number) = (arrived.peer, arrived.block.header.number);
        if !is_near(number, head) || self.has(number, &arrived.hash) {
            return None;
        }
        let held = self.held.entry(peer).or_default();
        if *held >= MOST_BLOCKS {
            metrics::counter!("quintet_chain_fetcher_dropped_total", "reason" => "blocks").increment(1);
            return Some(Action::Fault(peer, Fault::Flood));
        }
        *held += 1;
        self.waiting.insert((number, arrived.hash), Waiting { arrived, not_before: None });
        None
    }

    fn has(&self, number: u64, hash: &B256) -> bool {
        self.waiting.contains_key(&(number, *hash))
            || self.importing.as_ref().is_some_and(|(_, arrived)| arrived.hash == *hash)
    }

    /// A peer does not give a block: the next one that announced it is asked.
    fn give_up_on(&mut self, now: Instant, peer: PeerId, hash: &B256) {
        let Some(wanted) = self.wanted.get_mut(hash) else { return };
        let before = wanted.announcers.len();
        wanted.announcers.retain(|announcer| announcer.peer != peer);
        if wanted.announcers.len() < before {
            lower(&mut self.announced, peer);
        }
        let was_asked = match &wanted.stage {
            Stage::Announced { .. } | Stage::Gathering { .. } => false,
            Stage::Header { peer: asked, .. } | Stage::Body { peer: asked, .. } => *asked == peer,
        };
        if wanted.announcers.is_empty() {
            self.wanted.remove(hash);
        } else if was_asked {
            wanted.stage = Stage::Announced { until: now };
        }
    }

    fn forget(&mut self, hash: &B256) {
        for announcer in self.wanted.remove(hash).into_iter().flat_map(|wanted| wanted.announcers) {
            lower(&mut self.announced, announcer.peer);
        }
    }
}

/// Whether a block is near enough to the head to be fetched by itself.
const fn is_near(number: u64, head: u64) -> bool {
    number.saturating_add(MOST_BEHIND) >= head && number <= head.saturating_add(MOST_AHEAD)
}

fn lower(counts: &mut B256Map<usize>, peer: PeerId) {
    if let Some(count) = counts.get_mut(&peer) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(&peer);
        }
    }
}

#[cfg(test)]
#[path = "fetcher_tests.rs"]
mod tests;
