//! A subscriber's place in the stream of pool events: hints, of which a slow subscriber gets the newest.

use super::Waiting;
use super::entry::Entry;
use super::reader::StreamReader;
use crate::POOL_QUEUE;
use quintet_types::PoolEvent;
use redis::RedisError;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many entries are read at once.
const PAGE: usize = 128;

/// Reads pool events.
#[derive(Debug)]
pub(super) struct PoolReader {
    stream: StreamReader,
    /// There until the reader has a place.
    waiting: Option<Waiting>,
    entries: VecDeque<Entry>,
    /// The number of the last entry seen.
    sequence: Option<u64>,
    missed: Arc<AtomicU64>,
}

impl PoolReader {
    /// A reader from now on, that counts in `missed`. `waiting` is dropped once it has a place.
    pub(super) fn new(stream: StreamReader, missed: Arc<AtomicU64>, waiting: Waiting) -> Self {
        Self { stream, waiting: Some(waiting), entries: VecDeque::new(), sequence: None, missed }
    }

    /// The next event; `None` once the bus is gone and all is read.
    pub(super) async fn next(&mut self) -> Option<PoolEvent> {
        loop {
            while let Some(entry) = self.entries.pop_front() {
                self.count_missed(entry.sequence());
                match entry.transaction() {
                    Ok(transaction) => return Some(PoolEvent::Pending(transaction)),
                    Err(error) => {
                        self.missed.fetch_add(1, Ordering::Relaxed);
                        tracing::warn!(target: "quintet_events", %error, "a pool event is missed");
                    }
                }
            }
            let more = self.read().await;
            if let Err(error) = &more {
                self.stream.link.failed(error);
            }
            if self.entries.is_empty() && self.stream.is_over() {
                return None;
            }
        }
    }

    async fn read(&mut self) -> Result<(), RedisError> {
        if self.waiting.is_some() {
            let newest = self.stream.go_to_end().await?;
            self.sequence = newest.and_then(|entry| entry.sequence());
            self.waiting = None;
        }
        self.entries = self.stream.read(PAGE).await?.into();
        // A full page may have many more behind it.
        while self.entries.len() == PAGE && self.lag().await? >= POOL_QUEUE as u64 {
            for entry in std::mem::take(&mut self.entries) {
                self.count_missed(entry.sequence());
                self.missed.fetch_add(1, Ordering::Relaxed);
            }
            self.entries = self.stream.read(PAGE).await?.into();
        }
        Ok(())
    }

    /// How many entries lie between what was read and the newest.
    async fn lag(&mut self) -> Result<u64, RedisError> {
        let newest = self.stream.newest().await?.and_then(|entry| entry.sequence());
        let next = self.entries.front().and_then(Entry::sequence);
        Ok(next.zip(newest).and_then(|(next, newest)| steps(next, newest)).unwrap_or(0))
    }

    /// Counts what lies between the last entry and this one.
    fn count_missed(&mut self, sequence: Option<u64>) {
        let Some(sequence) = sequence else { return };
        if let Some(steps) = self.sequence.and_then(|last| steps(last, sequence)) {
            self.missed.fetch_add(steps.saturating_sub(1), Ordering::Relaxed);
        }
        self.sequence = Some(sequence);
    }
}

/// How many entries `to` is behind `from`; `None` when they are of two publishers.
fn steps(from: u64, to: u64) -> Option<u64> {
    (from >> 32 == to >> 32).then(|| to.checked_sub(from)).flatten()
}
