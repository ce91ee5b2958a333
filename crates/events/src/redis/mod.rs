//! The bus between processes: three capped Redis Streams, of chain events, of pool events, and of miners' work.
//!
//! Nothing in Redis is the only copy of anything: blocks are in the store before they are published. So the bus may
//! drop what it cannot write, as long as every reader sees that it missed something; see [`Gap`](crate::Gap).
//!
//! What must hold:
//! - Who publishes never waits for Redis: a task of the bus writes, and what it cannot write is dropped.
//! - After chain events were dropped, an entry that names the head comes before the next one.
//! - A reader goes on where it was after Redis was away, and notices when that place is gone.

mod chain;
mod entry;
mod link;
mod log;
mod pool;
mod publisher;
mod queue;
mod reader;
mod work;

pub use log::{LoggedTransaction, PoolLog};

use crate::{BusError, Event, EventBus, HISTORY, Subscription, Topics, WorkTopic};
use alloy_primitives::B256;
use chain::ChainReader;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, PollNext, StreamExt as _};
use link::{Link, Shared};
use parking_lot::Mutex;
use pool::PoolReader;
use publisher::{Outbox, Publisher};
use queue::{Queue, Refused};
use quintet_redis::{Keyspace, Redis};
use quintet_types::{BlockRef, Work};
use reader::StreamReader;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};

/// Pool events that the stream holds.
const POOL_HISTORY: usize = 16_384;
/// Compressed bytes of chain events that the stream holds, whatever their number.
const CHAIN_BYTES: usize = 256 << 20;
/// Compressed bytes of pool events that the stream holds, whatever their number.
const POOL_BYTES: usize = 64 << 20;
/// Chain events that wait to be written.
const CHAIN_QUEUE: usize = 8 * HISTORY;
/// Pool events that wait to be written.
const POOL_WAITING: usize = 16_384;
/// Estimated bytes that wait to be written, for each topic.
const QUEUE_BYTES: usize = 128 << 20;
/// For how long a command of the publisher may wait on the server, beside the usual deadline.
const WRITE_WAIT: Duration = Duration::from_secs(1);

/// Held by a reader that has no place in its stream yet.
type Waiting = watch::Sender<()>;

/// The bus over Redis. Clones are the same bus. Who publishes and who subscribes usually are different processes, each
/// with a bus of its own over the same Redis and [`Keyspace`]; only one process may publish, but for work.
#[derive(Clone, Debug)]
pub struct RedisBus {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    outbox: Arc<Outbox>,
    /// Gone once the bus is and all is written.
    alive: Arc<()>,
    started: AtomicBool,
    /// The newest work, for the task that writes it; not there until there is some.
    work: OnceLock<watch::Sender<Option<Arc<Work>>>>,
    runtime: Option<Handle>,
}

impl RedisBus {
    /// A bus over the streams of this network. Connects to nothing; it does once it is used. Tasks run in the tokio
    /// runtime that this is called in, or else in that of the first call that has one.
    #[expect(clippy::needless_pass_by_value, reason = "the keys are the bus's own from now on")]
    pub fn new(redis: Redis, keyspace: Keyspace) -> Self {
        let random = B256::random();
        let upper = random.iter().take(4).fold(0, |number, byte| number << 8 | u64::from(*byte));
        let outbox = Outbox {
            queue: Mutex::new(Queue::new(upper << 32)),
            wake: Notify::new(),
            closed: AtomicBool::new(false),
            rounds: watch::Sender::new(0),
        };
        let inner = Inner {
            shared: Arc::new(Shared::new(redis, &keyspace)),
            outbox: Arc::new(outbox),
            alive: Arc::new(()),
            started: AtomicBool::new(false),
            work: OnceLock::new(),
            runtime: Handle::try_current().ok(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Tells every subscriber where the chain is: one that is not there sees a [`Gap`](crate::Gap). To be called by
    /// the publisher when it starts, since its last run may have ended between a commit and its event. Never waits.
    pub fn announce_head(&self, head: BlockRef) {
        self.inner.outbox.queue.lock().announce(head);
        if let Err(error) = self.inner.start() {
            tracing::warn!(target: "quintet_events", %error, "the head is not announced yet");
        }
    }

    /// The newest pending transactions, for who does not subscribe.
    pub fn pool_log(&self) -> PoolLog {
        PoolLog { shared: Arc::clone(&self.inner.shared) }
    }

    /// Waits until all that was published so far is written, or was dropped because Redis is away.
    pub async fn flush(&self) {
        let mut rounds = self.inner.outbox.rounds.subscribe();
        if self.inner.start().is_err() || !self.inner.started.load(Ordering::Acquire) {
            return;
        }
        rounds.mark_unchanged();
        self.inner.outbox.wake.notify_one();
        // The task ends a round only once nothing waits, within the deadlines of its commands.
        let _ = rounds.changed().await;
    }

    fn chain_events(&self, cursor: Option<BlockRef>, waiting: Waiting) -> BoxStream<'static, Item> {
        let shared = Arc::clone(&self.inner.shared);
        let key = shared.chain.clone();
        let bus = Arc::downgrade(&self.inner.alive);
        let stream = StreamReader::new(shared, key, bus, "chain events");
        let reader = ChainReader::new(stream, cursor, waiting);
        stream::unfold(reader, |mut reader| async move {
            let item = reader.next().await?;
            Some((item.map(Event::Chain), reader))
        })
        .boxed()
    }

    fn pool_events(&self, missed: Arc<AtomicU64>, waiting: Waiting) -> BoxStream<'static, Item> {
        let shared = Arc::clone(&self.inner.shared);
        let key = shared.pool.clone();
        let bus = Arc::downgrade(&self.inner.alive);
        let stream = StreamReader::new(shared, key, bus, "pool events");
        let reader = PoolReader::new(stream, missed, waiting);
        stream::unfold(reader, |mut reader| async move {
            let event = reader.next().await?;
            Some((Ok(Event::Pool(event)), reader))
        })
        .boxed()
    }
}

type Item = Result<Event, crate::Gap>;

impl Inner {
    fn runtime(&self) -> Result<Handle, BusError> {
        let runtime = Handle::try_current().ok().or_else(|| self.runtime.clone());
        runtime.ok_or_else(|| unavailable("no tokio runtime to write events from"))
    }

    /// Starts the task that writes, once.
    fn start(&self) -> Result<(), BusError> {
        if self.started.load(Ordering::Acquire) {
            self.outbox.wake.notify_one();
            return Ok(());
        }
        let runtime = self.runtime()?;
        if !self.started.swap(true, Ordering::AcqRel) {
            let link = Link::new(Arc::clone(&self.shared), WRITE_WAIT, "writes of events");
            let publisher = Publisher::new(link, Arc::clone(&self.outbox));
            let alive = Arc::clone(&self.alive);
            runtime.spawn(async move {
                publisher.run().await;
                drop(alive);
            });
        }
        self.outbox.wake.notify_one();
        Ok(())
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.outbox.closed.store(true, Ordering::Release);
        self.outbox.wake.notify_one();
    }
}

impl EventBus for RedisBus {
    /// Done when called: the event is written soon after, by a task. `Ok` says that it waits for that; it is still
    /// dropped if Redis turns out to be away, and subscribers then see a gap. Needs no tokio runtime if
    /// [`RedisBus::new`] had one.
    fn publish(&self, event: Event) -> BoxFuture<'_, Result<(), BusError>> {
        let bytes = queue::weight(&event);
        let taken = self.inner.outbox.queue.lock().push(event, bytes);
        let result = match taken {
            Ok(()) => self.inner.start(),
            Err(Refused::Away(reason)) => Err(BusError::Unavailable(reason)),
            Err(Refused::Full) => Err(unavailable("too many events wait to be written to Redis")),
        };
        std::future::ready(result).boxed()
    }

    /// The place in the stream is taken when the subscription is first asked for something: without a cursor, what is
    /// published before [`Subscription::ready`] returns may be missed. Must be used in a tokio runtime.
    fn subscribe(&self, topics: Topics, cursor: Option<BlockRef>) -> Subscription {
        let missed = Arc::new(AtomicU64::new(0));
        let (waiting, placed) = watch::channel(());
        let chain = topics.chain.then(|| self.chain_events(cursor, waiting.clone()));
        let pool = topics.pool.then(|| self.pool_events(Arc::clone(&missed), waiting));
        let events = match (chain, pool) {
            // Blocks first: a flood of transactions must not delay them.
            (Some(chain), Some(pool)) => {
                stream::select_with_strategy(chain, pool, |(): &mut ()| PollNext::Left).boxed()
            }
            (Some(events), None) | (None, Some(events)) => events,
            (None, None) => stream::pending().boxed(),
        };
        Subscription::new(events, missed).with_placing(placed)
    }

    fn work(&self) -> Option<&dyn WorkTopic> {
        Some(self)
    }

    fn trouble(&self) -> Option<Arc<str>> {
        self.inner.shared.trouble()
    }
}

fn unavailable(reason: impl Into<Arc<str>>) -> BusError {
    BusError::Unavailable(reason.into())
}
