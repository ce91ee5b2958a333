//! The task that writes to the streams, so that who publishes never waits for Redis.

use super::entry::{Fields, add, chain_fields, head_fields, pool_fields, size};
use super::link::Link;
use super::queue::{Item, Queue};
use super::{CHAIN_BYTES, POOL_BYTES, POOL_HISTORY};
use crate::HISTORY;
use alloy_primitives::B256;
use parking_lot::Mutex;
use quintet_service::propagation::set_parent;
use quintet_types::{ChainEvent, TraceContext};
use redis::{Pipeline, RedisError, Value};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tracing::Span;

/// How often the publisher looks whether Redis is there and was not emptied, while there is nothing to write.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// What who publishes and the task share.
#[derive(Debug)]
pub(super) struct Outbox {
    pub(super) queue: Mutex<Queue>,
    pub(super) wake: Notify,
    /// Nobody publishes any more.
    pub(super) closed: AtomicBool,
    /// Goes up whenever everything that waited was written, or dropped.
    pub(super) rounds: watch::Sender<u64>,
}

impl Outbox {
    /// Whether nothing waits.
    fn end_round(&self) -> bool {
        // Under the lock: an event that is pushed later belongs to the next round.
        let queue = self.queue.lock();
        let empty = queue.is_empty();
        if empty {
            self.rounds.send_modify(|rounds| *rounds += 1);
        }
        empty
    }
}

/// The task's side.
pub(super) struct Publisher {
    link: Link,
    outbox: Arc<Outbox>,
    chain: Ledger,
    pool: Ledger,
}

impl Publisher {
    pub(super) fn new(link: Link, outbox: Arc<Outbox>) -> Self {
        let chain = Ledger::new(HISTORY, 2 * HISTORY, CHAIN_BYTES);
        let pool = Ledger::new(POOL_HISTORY, POOL_HISTORY, POOL_BYTES);
        Self { link, outbox, chain, pool }
    }

    /// Writes until nobody publishes any more and all is written, or cannot be.
    pub(super) async fn run(mut self) {
        loop {
            if self.outbox.end_round() {
                if self.outbox.closed.load(Ordering::Acquire) {
                    return;
                }
                let _ = tokio::time::timeout(HEARTBEAT, self.outbox.wake.notified()).await;
            }
            let written = self.write().await;
            self.count_dropped();
            if let Err(error) = written {
                tracing::debug!(target: "quintet_events", %error, "events are not written");
                self.outbox.rounds.send_modify(|rounds| *rounds += 1);
                if self.outbox.closed.load(Ordering::Acquire) {
                    return;
                }
            }
        }
    }

    /// Writes what waits, up to a batch; with nothing to write, looks whether Redis is there.
    async fn write(&mut self) -> Result<(), RedisError> {
        let mut connection = match self.link.connection().await {
            Ok(connection) => connection,
            Err(error) => return Err(self.fail(&[], error)),
        };
        let items = {
            let mut queue = self.outbox.queue.lock();
            queue.back();
            queue.take()
        };
        let (commands, _spans) = self.commands(&items);
        let answers: Vec<Value> = match commands.query_async(&mut connection).await {
            Ok(answers) => answers,
            Err(error) => return Err(self.fail(&items, error)),
        };
        self.link.works();
        // The generation was not there: Redis is new, or was emptied.
        if answers.first() == Some(&Value::Okay) {
            let pool = items.iter().filter(|item| matches!(item, Item::Pool(..))).count();
            self.chain.forget_all_but(items.len() - pool);
            self.pool.forget_all_but(pool);
            self.outbox.queue.lock().emptied();
        }
        Ok(())
    }

    /// The commands that add `items`, and the spans of that work, to be held until it is done.
    fn commands(&mut self, items: &[Item]) -> (Pipeline, Vec<Span>) {
        let shared = Arc::clone(&self.link.shared);
        let mut commands = redis::pipe();
        commands.cmd("SET").arg(&shared.generation).arg(B256::random().to_string()).arg("NX");
        let mut spans = Vec::new();
        for item in items {
            match item {
                Item::Chain { event, from, to } => {
                    let mut is_block = false;
                    if let ChainEvent::Block(delta) = event {
                        is_block = true;
                        spans.push(span(&delta.trace));
                    }
                    let fields = chain_fields(event, *from, *to);
                    commands.add_command(add(&shared.chain, self.chain.keep(&fields, is_block), &fields));
                }
                Item::Head(head) => {
                    let fields = head_fields(*head);
                    commands.add_command(add(&shared.chain, self.chain.keep(&fields, false), &fields));
                }
                Item::Pool(transaction, sequence) => {
                    let fields = pool_fields(transaction, *sequence);
                    commands.add_command(add(&shared.pool, self.pool.keep(&fields, true), &fields));
                }
            }
        }
        (commands, spans)
    }

    fn fail(&mut self, items: &[Item], error: RedisError) -> RedisError {
        let reason = self.link.failed(&error);
        self.outbox.queue.lock().fail(items, reason);
        self.chain.forget_all_but(0);
        self.pool.forget_all_but(0);
        error
    }

    fn count_dropped(&self) {
        let dropped = self.outbox.queue.lock().take_dropped();
        metrics::counter!("quintet_events_dropped_total", "topic" => "chain").increment(dropped.chain);
        metrics::counter!("quintet_events_dropped_total", "topic" => "pool").increment(dropped.pool);
    }
}

fn span(trace: &TraceContext) -> Span {
    let span = tracing::info_span!("XADD block", otel.kind = "producer");
    set_parent(&span, trace);
    span
}

/// What this publisher has added to a stream, to know how much of it is to be kept.
#[derive(Debug)]
struct Ledger {
    // Oldest first: whether it counts, and its bytes.
    entries: VecDeque<(bool, usize)>,
    counting: usize,
    bytes: usize,
    most_counting: usize,
    most_entries: usize,
    most_bytes: usize,
}

impl Ledger {
    /// Keeps up to so many entries that count, entries, and bytes.
    const fn new(most_counting: usize, most_entries: usize, most_bytes: usize) -> Self {
        let entries = VecDeque::new();
        Self { entries, counting: 0, bytes: 0, most_counting, most_entries, most_bytes }
    }

    /// How many entries the stream is to hold once this one is added.
    fn keep(&mut self, fields: &Fields, counts: bool) -> usize {
        self.push(size(fields), counts)
    }

    fn push(&mut self, bytes: usize, counts: bool) -> usize {
        self.entries.push_back((counts, bytes));
        self.counting += usize::from(counts);
        self.bytes += bytes;
        let mut known = false;
        while self.counting > self.most_counting
            || self.entries.len() > self.most_entries
            || (self.bytes > self.most_bytes && self.entries.len() > 1)
        {
            self.pop();
            known = true;
        }
        // Until there is enough of our own, the stream may hold older entries that are still of use.
        if known || self.counting == self.most_counting { self.entries.len() } else { self.most_entries }
    }

    fn pop(&mut self) {
        if let Some((counts, bytes)) = self.entries.pop_front() {
            self.counting -= usize::from(counts);
            self.bytes -= bytes;
        }
    }

    /// The stream holds only the newest `count` of these, or nobody knows what it holds.
    fn forget_all_but(&mut self, count: usize) {
        while self.entries.len() > count {
            self.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_keeps_what_counts_within_its_bounds() {
        let mut ledger = Ledger::new(3, 6, 100);
        // Not enough of its own: as many as there may be.
        assert_eq!([ledger.push(1, true), ledger.push(1, false), ledger.push(1, true)], [6, 6, 6]);
        // From the third that counts on, what holds three of them.
        assert_eq!([ledger.push(1, true), ledger.push(1, true), ledger.push(1, true)], [4, 4, 3]);
        // Entries that do not count push out others only at the second bound.
        let kept: Vec<_> = (0..5).map(|_| ledger.push(1, false)).collect();
        assert_eq!(kept, [4, 5, 6, 6, 6]);
        // The bytes bound all; one entry is always kept.
        assert_eq!(ledger.push(98, true), 3);
        assert_eq!(ledger.push(500, true), 1);
        ledger.forget_all_but(0);
        assert_eq!((ledger.bytes, ledger.counting), (0, 0));
        assert_eq!(ledger.push(1, true), 6);
    }
}
