//! The bus of one process: two bounded broadcast channels, so that pool events cannot push out blocks, a log of the
//! newest chain events to resume from, and the newest work.

use crate::bus::count_received;
use crate::{BusError, Event, EventBus, Gap, Subscription, Topics, WorkTopic};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt as _, stream};
use parking_lot::Mutex;
use quintet_types::{BlockRef, ChainEvent, PoolEvent, Work};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::watch;

/// Block deltas that the bus holds: how far behind a consumer can resume or lag before it sees a gap.
pub const HISTORY: usize = 128;
/// Pool events that wait for a slow subscriber; older ones are dropped and counted.
pub const POOL_QUEUE: usize = 4096;

/// The in-process bus. Clones are the same bus.
#[derive(Clone, Debug)]
pub struct LocalBus {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    // Chain events are sent under this lock, so that a subscriber's replay and its channel meet exactly.
    log: Mutex<Log>,
    chain: broadcast::Sender<ChainEvent>,
    pool: broadcast::Sender<PoolEvent>,
    work: watch::Sender<Option<Arc<Work>>>,
}

impl LocalBus {
    /// A bus without history.
    pub fn new() -> Self {
        let (chain, _) = broadcast::channel(HISTORY);
        let (pool, _) = broadcast::channel(POOL_QUEUE);
        Self {
            shared: Arc::new(Shared { log: Mutex::default(), chain, pool, work: watch::Sender::new(None) }),
        }
    }

    fn send(&self, event: Event) {
        // Sending fails only when nobody listens, which is fine.
        match event {
            Event::Chain(event) => {
                let mut log = self.shared.log.lock();
                log.push(event.clone());
                let _ = self.shared.chain.send(event);
            }
            Event::Pool(event) => {
                let _ = self.shared.pool.send(event);
            }
        }
    }
}

impl Default for LocalBus {
    fn default() -> Self {
        Self::new()
    }
}

impl EventBus for LocalBus {
    fn publish(&self, event: Event) -> BoxFuture<'_, Result<(), BusError>> {
        self.send(event);
        std::future::ready(Ok(())).boxed()
    }

    fn subscribe(&self, topics: Topics, cursor: Option<BlockRef>) -> Subscription {
        let missed = Arc::new(AtomicU64::new(0));
        let pool = topics.pool.then(|| self.shared.pool.subscribe());
        let mut replay = VecDeque::new();
        let chain = topics.chain.then(|| {
            let log = self.shared.log.lock();
            if let Some(cursor) = cursor {
                match log.after(cursor) {
                    Some(events) => replay.extend(events.map(Ok)),
                    None => replay.push_back(Err(Gap { head: log.head() })),
                }
            }
            self.shared.chain.subscribe()
        });
        let source =
            Source { shared: Arc::downgrade(&self.shared), replay, chain, pool, missed: Arc::clone(&missed) };
        let events = stream::unfold(source, |mut source| async move {
            let item = source.next().await?;
            Some((item, source))
        });
        Subscription::new(events, missed)
    }

    fn work(&self) -> Option<&dyn WorkTopic> {
        Some(self)
    }
}

impl WorkTopic for LocalBus {
    fn publish_work(&self, work: Arc<Work>) -> Result<(), BusError> {
        self.shared.work.send_if_modified(|newest| {
            let news = newest.as_ref().is_none_or(|newest| newest.token <= work.token);
            if news {
                *newest = Some(work);
            }
            news
        });
        Ok(())
    }

    fn follow_work(&self) -> BoxStream<'static, Arc<Work>> {
        let mut newest = self.shared.work.subscribe();
        newest.mark_changed();
        let works = stream::unfold(newest, |mut newest| async move {
            loop {
                newest.changed().await.ok()?;
                let work = newest.borrow_and_update().clone();
                if let Some(work) = work {
                    return Some((work, newest));
                }
            }
        });
        works.inspect(|_| count_received("work")).boxed()
    }
}

/// One subscriber's place on the bus.
struct Source {
    // Weak: a subscriber does not keep the bus alive.
    shared: Weak<Shared>,
    replay: VecDeque<Result<ChainEvent, Gap>>,
    chain: Option<broadcast::Receiver<ChainEvent>>,
    pool: Option<broadcast::Receiver<PoolEvent>>,
    missed: Arc<AtomicU64>,
}

impl Source {
    async fn next(&mut self) -> Option<Result<Event, Gap>> {
        if let Some(item) = self.replay.pop_front() {
            return Some(item.map(Event::Chain));
        }
        loop {
            // Blocks first: a flood of transactions must not delay them.
            tokio::select! {
                biased;
                event = receive(self.chain.as_mut()) => return match event {
                    Ok(event) => Some(Ok(Event::Chain(event))),
                    Err(RecvError::Closed) => None,
                    Err(RecvError::Lagged(events)) => self.skip_to_head(events),
                },
                event = receive(self.pool.as_mut()) => match event {
                    Ok(event) => return Some(Ok(Event::Pool(event))),
                    Err(RecvError::Closed) => return None,
                    Err(RecvError::Lagged(events)) => {
                        self.missed.fetch_add(events, Ordering::Relaxed);
                    }
                },
            }
        }
    }

    /// Drops what is left of the channel, so that the next event is the one right behind the gap's head.
    fn skip_to_head(&mut self, events: u64) -> Option<Result<Event, Gap>> {
        let shared = self.shared.upgrade()?;
        let log = shared.log.lock();
        self.chain = Some(shared.chain.subscribe());
        let head = log.head();
        tracing::debug!(target: "quintet_events", events, ?head, "subscriber lagged behind the chain");
        Some(Err(Gap { head }))
    }
}

async fn receive<T: Clone>(channel: Option<&mut broadcast::Receiver<T>>) -> Result<T, RecvError> {
    match channel {
        Some(channel) => channel.recv().await,
        None => std::future::pending().await,
    }
}

/// The newest chain events, up to [`HISTORY`] of them blocks.
#[derive(Debug, Default)]
struct Log {
    events: VecDeque<ChainEvent>,
    blocks: usize,
}

impl Log {
    fn push(&mut self, event: ChainEvent) {
        self.blocks += usize::from(matches!(event, ChainEvent::Block(_)));
        self.events.push_back(event);
        // The second bound keeps a run of reverts without blocks from growing the log.
        while self.blocks > HISTORY || self.events.len() > 2 * HISTORY {
            if let Some(ChainEvent::Block(_)) = self.events.pop_front() {
                self.blocks -= 1;
            }
        }
    }

    /// The events behind the newest point at which `cursor` was the head; `None` if the log does not hold it.
    fn after(&self, cursor: BlockRef) -> Option<impl Iterator<Item = ChainEvent> + '_> {
        let newest = self.events.iter().enumerate().rev().find_map(|(index, event)| match event {
            ChainEvent::Block(delta) if delta.block_ref() == cursor => Some(index + 1),
            ChainEvent::Block(delta) if delta.executed.block.header().parent_hash == cursor.hash => {
                Some(index)
            }
            ChainEvent::Reverted(blocks) if blocks.first() == Some(&cursor) => Some(index),
            _ => None,
        });
        let first = match newest {
            Some(index) => index,
            // Nothing followed a rewind to the cursor.
            None if self.head() == Some(cursor) => self.events.len(),
            None => return None,
        };
        Some(self.events.range(first..).cloned())
    }

    /// The head after the newest event; after a rewind to below the log's blocks it is not known.
    fn head(&self) -> Option<BlockRef> {
        match self.events.back()? {
            ChainEvent::Block(delta) => Some(delta.block_ref()),
            ChainEvent::Reverted(blocks) => {
                let oldest = blocks.last()?;
                self.events.iter().rev().find_map(|event| match event {
                    ChainEvent::Block(delta) if delta.block_ref() == *oldest => Some(BlockRef {
                        number: oldest.number.checked_sub(1)?,
                        hash: delta.executed.block.header().parent_hash,
                    }),
                    _ => None,
                })
            }
        }
    }
}
