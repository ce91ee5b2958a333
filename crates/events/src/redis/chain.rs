//! A subscriber's place in the stream of chain events.
//!
//! What must hold: the events given lead from head to head without a hole, or a gap stands where one is. Whether the
//! stream was trimmed past this reader, emptied, written to by a publisher that had missed something, or holds
//! something unreadable, the next entry does not start at the reader's head, and that is the one thing looked at.

use super::Waiting;
use super::entry::{Entry, Kind, Unreadable};
use super::reader::{NEWEST, StreamReader};
use crate::Gap;
use quintet_types::{BlockRef, ChainEvent};
use redis::RedisError;
use std::collections::VecDeque;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// How many entries are read at once.
const PAGE: usize = 16;
/// How often a subscriber is told that the bus is away.
const TELL_AWAY: Duration = Duration::from_secs(1);

type Item = Result<ChainEvent, Gap>;

/// Where to begin.
#[derive(Clone, Copy, Debug)]
enum Start {
    /// With what comes from now on.
    Now,
    /// Right behind this block.
    Behind(BlockRef),
    /// With the newest block, because something was missed.
    Lost,
}

/// Reads chain events.
#[derive(Debug)]
pub(super) struct ChainReader {
    stream: StreamReader,
    /// What is to be done before reading on.
    start: Option<Start>,
    waiting: Option<Waiting>,
    entries: VecDeque<Entry>,
    /// The head behind the last event given; `None` when unknown: anything may follow.
    head: Option<BlockRef>,
    /// When the subscriber was last told that the bus is away.
    told: Option<Instant>,
}

impl ChainReader {
    /// A reader that begins behind `cursor`, or now. `waiting` is dropped once it has a place.
    pub(super) fn new(stream: StreamReader, cursor: Option<BlockRef>, waiting: Waiting) -> Self {
        let start = Some(cursor.map_or(Start::Now, Start::Behind));
        let waiting = Some(waiting);
        Self { stream, start, waiting, entries: VecDeque::new(), head: None, told: None }
    }

    /// The next event or gap; `None` once the bus is gone and all is read.
    pub(super) async fn next(&mut self) -> Option<Item> {
        loop {
            match self.step().await {
                Ok(Some(item)) => return Some(item),
                Ok(None) if self.stream.is_over() => return None,
                Ok(None) => {}
                Err(error) => {
                    self.stream.link.failed(&error);
                    if self.stream.is_over() {
                        return None;
                    }
                    if self.told.is_none_or(|told| told.elapsed() >= TELL_AWAY) {
                        self.told = Some(Instant::now());
                        return Some(Err(Gap { head: None }));
                    }
                }
            }
        }
    }

    /// Goes on by one item; `None` when none came in time.
    async fn step(&mut self) -> Result<Option<Item>, RedisError> {
        loop {
            if let Some(start) = self.start {
                let gap = self.begin(start).await?;
                self.start = None;
                self.told = None;
                self.waiting = None;
                if let Some(gap) = gap {
                    return Ok(Some(Err(gap)));
                }
            }
            while let Some(entry) = self.entries.pop_front() {
                match self.take(&entry) {
                    Ok(None) => {}
                    Ok(Some(item)) => return Ok(Some(item)),
                    Err(unreadable) => {
                        tracing::warn!(target: "quintet_events", error = %unreadable, "chain events are missed");
                        self.lose();
                    }
                }
            }
            if self.start.is_some() {
                continue;
            }
            // Without a head to go on from, only the stream itself can tell that its first entries are gone.
            let blind = self.head.is_none() && self.stream.is_at_start();
            self.entries = self.stream.read(PAGE).await?.into();
            self.told = None;
            if blind && !self.entries.is_empty() && self.stream.was_trimmed().await? {
                self.lose();
                continue;
            }
            if self.entries.is_empty() {
                return Ok(None);
            }
        }
    }

    /// Goes to where reading begins, and says what was missed up to there.
    async fn begin(&mut self, start: Start) -> Result<Option<Gap>, RedisError> {
        let gap = match start {
            Start::Behind(cursor) => {
                if self.find(cursor).await? {
                    self.head = Some(cursor);
                    return Ok(None);
                }
                true
            }
            // Told once that the bus is away, the subscriber has to look once more now that it is back.
            Start::Now => self.told.is_some(),
            Start::Lost => true,
        };
        let newest = self.stream.go_to_end().await?;
        self.head = newest.and_then(|entry| entry.transition().ok()?.to);
        Ok(gap.then_some(Gap { head: self.head }))
    }

    /// Goes behind the newest entry at which `cursor` was the head; false if the stream does not hold it.
    async fn find(&mut self, cursor: BlockRef) -> Result<bool, RedisError> {
        let mut from = NEWEST.to_owned();
        loop {
            let page = self.stream.newest_first(&from, PAGE).await?;
            for entry in &page {
                let Ok(transition) = entry.transition() else { return Ok(false) };
                if transition.to == Some(cursor) {
                    self.stream.go_behind(&entry.id);
                    return Ok(true);
                }
                if transition.from == Some(cursor) {
                    self.stream.go_before(&entry.id);
                    return Ok(true);
                }
            }
            match page.last() {
                Some(oldest) => from = format!("({}", oldest.id),
                None => return Ok(false),
            }
        }
    }

    /// What an entry means to the subscriber, if anything.
    fn take(&mut self, entry: &Entry) -> Result<Option<Item>, Unreadable> {
        let transition = entry.transition()?;
        let follows = self.head.is_none() || transition.from == self.head;
        let known = self.head.is_some() && transition.to == self.head;
        match transition.kind {
            Kind::Head if known => Ok(None),
            Kind::Head => {
                self.head = transition.to;
                Ok(Some(Err(Gap { head: transition.to })))
            }
            Kind::Event if follows => {
                let event = entry.chain_event()?;
                self.head = transition.to;
                record_lag(entry);
                Ok(Some(Ok(event)))
            }
            // Twice in the stream: its publisher did not know that it had got there.
            Kind::Event if known => Ok(None),
            Kind::Event => {
                self.lose();
                Ok(None)
            }
        }
    }

    /// Something was missed: what is read is skipped as well, since the store has it.
    fn lose(&mut self) {
        self.start = Some(Start::Lost);
        self.entries.clear();
    }
}

fn record_lag(entry: &Entry) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    if let Some(seconds) = entry.age(now) {
        metrics::histogram!("quintet_events_lag_seconds").record(seconds);
    }
}
