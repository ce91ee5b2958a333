//! The seam between who publishes events and who follows them.
//!
//! What every implementation must hold:
//! - A subscriber gets chain events in the order they were published, each once, or a [`Gap`] in place of those
//!   it missed; after a gap the events go on right behind the gap's head.
//! - Pool events never delay or push out chain events.
//! - While the bus is away, a subscriber of chain events is given a [`Gap`] without a head now and then: its sign to
//!   look into the store.
//! - Miners' work is a topic of its own ([`WorkTopic`]), since it is no log: only the newest counts.

use futures::future::BoxFuture;
use futures::stream::{BoxStream, Peekable};
use futures::{Stream, StreamExt};
use quintet_types::{BlockRef, ChainEvent, PoolEvent, TraceContext, Work};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::watch;

/// Something that `chain` publishes.
#[derive(Clone, Debug)]
pub enum Event {
    /// The canonical chain changed.
    Chain(ChainEvent),
    /// The pool changed.
    Pool(PoolEvent),
}

impl Event {
    /// The trace of the work that caused this event; none for a revert, whose replacing blocks carry it.
    pub fn trace(&self) -> Option<&TraceContext> {
        match self {
            Self::Chain(ChainEvent::Block(delta)) => Some(&delta.trace),
            Self::Chain(ChainEvent::Reverted(_)) => None,
            Self::Pool(PoolEvent::Pending(transaction)) => Some(&transaction.trace),
        }
    }
}

impl From<ChainEvent> for Event {
    fn from(event: ChainEvent) -> Self {
        Self::Chain(event)
    }
}

impl From<PoolEvent> for Event {
    fn from(event: PoolEvent) -> Self {
        Self::Pool(event)
    }
}

/// Which events a subscriber wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Topics {
    /// Blocks and reverts.
    pub chain: bool,
    /// Pending transactions.
    pub pool: bool,
}

impl Topics {
    /// Everything.
    pub const ALL: Self = Self { chain: true, pool: true };
    /// Blocks and reverts.
    pub const CHAIN: Self = Self { chain: true, pool: false };
    /// Pending transactions.
    pub const POOL: Self = Self { chain: false, pool: true };
}

/// Chain events were missed: the consumer was too slow, or asked to resume from a block that the bus does not
/// hold. The consumer reads the store up to its head, and goes on with this subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("chain events were missed; the bus is at {head:?}")]
pub struct Gap {
    /// The newest canonical block that the bus knows of; the next chain event follows it. `None` when the bus
    /// has not seen one, or is away.
    pub head: Option<BlockRef>,
}

/// Publishing failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BusError {
    /// The bus cannot be reached now. Subscribers see a gap once it can.
    #[error("event bus unavailable: {0}")]
    Unavailable(Arc<str>),
    /// What was given as a place in a log is none.
    #[error("not a place in the log of pool events")]
    Place,
}

/// The bus. Used as `Arc<dyn EventBus>`.
pub trait EventBus: Send + Sync {
    /// Tells every subscriber. Never waits for a slow one.
    ///
    /// # Errors
    /// When the bus is known to be away, or too much waits for it; the event is then not on it.
    fn publish(&self, event: Event) -> BoxFuture<'_, Result<(), BusError>>;

    /// Follows the events of `topics` from now on (see [`Subscription::ready`]); with a `cursor`, from right behind
    /// that block, which was the consumer's head. When the bus does not hold what followed the cursor, the first item
    /// is a [`Gap`].
    fn subscribe(&self, topics: Topics, cursor: Option<BlockRef>) -> Subscription;

    /// Its topic of miners' work, if it carries any.
    fn work(&self) -> Option<&dyn WorkTopic> {
        None
    }

    /// Why the bus cannot be reached now; `None` while it can. A bus within the process is always there.
    fn trouble(&self) -> Option<Arc<str>> {
        None
    }
}

/// What the leading miner prepares, for the other replicas. What must hold:
/// - A follower is given the newest work at once, if the bus holds one, and then what is newer. One that was slow skips
///   what came in between, but for work that was at hand already.
/// - Work under a lower fencing token than the follower was given before is not given: a leader that was held up, and
///   is none any more, misleads nobody.
/// - Work never delays or pushes out events of the other topics.
/// - Work may be lost with the bus. Nothing depends on it: the next comes with the next block.
pub trait WorkTopic: Send + Sync {
    /// Tells every follower. Never waits: `Ok` says that it will be told unless newer work overtakes it.
    ///
    /// # Errors
    /// When the bus cannot be used at all; the work is then not on it.
    fn publish_work(&self, work: Arc<Work>) -> Result<(), BusError>;

    /// Follows the newest work; ends with the bus. To be read in a tokio runtime.
    fn follow_work(&self) -> BoxStream<'static, Arc<Work>>;
}

/// One subscriber's events. Dropping it ends the subscription.
pub struct Subscription {
    events: Peekable<BoxStream<'static, Result<Event, Gap>>>,
    missed: Arc<AtomicU64>,
    // Its senders are dropped once the stream has its place.
    placing: Option<watch::Receiver<()>>,
    counts: bool,
}

impl Subscription {
    /// A subscription over an implementation's own stream; `missed` is where that stream counts the pool events
    /// it dropped.
    pub fn new(
        events: impl Stream<Item = Result<Event, Gap>> + Send + 'static,
        missed: Arc<AtomicU64>,
    ) -> Self {
        Self { events: events.boxed().peekable(), missed, placing: None, counts: true }
    }

    /// A subscription over others, which have counted what they gave.
    pub fn relay(events: impl Stream<Item = Result<Event, Gap>> + Send + 'static) -> Self {
        Self { counts: false, ..Self::new(events, Arc::default()) }
    }

    /// The same, over a stream that has no place on its bus yet: until it has, it holds the sender.
    #[must_use]
    pub(crate) fn with_placing(self, placing: watch::Receiver<()>) -> Self {
        Self { placing: Some(placing), ..self }
    }

    /// Waits until the subscription has its place on the bus, or has something to give: what is published from then
    /// on is not missed. Needed only without a cursor, by who cannot look into the store for what came before.
    pub async fn ready(&mut self) {
        let Some(mut placing) = self.placing.take() else { return };
        let first = Pin::new(&mut self.events).peek();
        tokio::select! {
            biased;
            _ = first => {}
            // An error is that there is no sender any more.
            _ = placing.changed() => {}
        }
    }

    /// The next event; `None` once the bus is gone. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Result<Event, Gap>> {
        let item = self.events.next().await;
        match &item {
            _ if !self.counts => {}
            Some(Ok(event)) => {
                count_received(if matches!(event, Event::Chain(_)) { "chain" } else { "pool" });
            }
            Some(Err(_)) => metrics::counter!("quintet_events_gaps_total").increment(1),
            None => {}
        }
        item
    }

    /// How many pool events this subscriber was too slow for, so far.
    pub fn missed_pool_events(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }
}

impl std::fmt::Debug for Subscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscription").field("missed", &self.missed_pool_events()).finish_non_exhaustive()
    }
}

/// Counts an event that came from the bus.
pub(crate) fn count_received(topic: &'static str) {
    metrics::counter!("quintet_events_received_total", "topic" => topic).increment(1);
}
