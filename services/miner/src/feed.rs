//! Where the miner hears of blocks and transactions.
//!
//! - A single miner follows [`ChainFeed`], `chain`'s own stream: there is nothing beside `chain` that may be away.
//! - One of several follows [`SharedFeed`], the bus in Redis. `chain` writes each event there once, however many
//!   listen; on its own stream it would encode each block with its state changes once more for every replica, most of
//!   which only stand by. While Redis is away the bus is silent, but `chain` is not, so the replica follows `chain`'s own
//!   stream until the bus is back: blocks go on being made at once.
//!
//! The replicas' work is on the bus in Redis alone: a single miner has nobody to tell of it.
//!
//! Either way events may be missed or told twice; the worker notices, and asks `chain` for its head.

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, stream};
use quintet_chain_api::{ChainClient, ChainError, ChainUpdate, EventStream};
use quintet_events::{BusError, Event, EventBus, Gap, RedisBus, Subscription, Topics, WorkTopic};
use quintet_redis::{Keyspace, Redis};
use quintet_types::{BlockRef, Work};
use std::future::pending;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Between attempts to connect.
const RECONNECT_DELAY: Duration = Duration::from_millis(500);

/// Follows `ChainService/StreamEvents`, and connects again when the stream breaks. Each break is a gap.
#[derive(Clone, Debug)]
pub struct ChainFeed {
    chain: ChainClient,
}

impl ChainFeed {
    /// The events of this `chain`.
    pub const fn new(chain: ChainClient) -> Self {
        Self { chain }
    }
}

impl EventBus for ChainFeed {
    fn publish(&self, _event: Event) -> BoxFuture<'_, Result<(), BusError>> {
        not_chain()
    }

    fn subscribe(&self, topics: Topics, cursor: Option<BlockRef>) -> Subscription {
        let follower = Follower { chain: self.chain.clone(), topics, cursor, stream: None };
        let events = stream::unfold(follower, |mut follower| async move {
            let item = follower.next().await;
            Some((item, follower))
        });
        // `chain` drops what this side is too slow for, and does not say how much.
        Subscription::new(events, Arc::default())
    }
}

fn not_chain() -> BoxFuture<'static, Result<(), BusError>> {
    std::future::ready(Err(BusError::Unavailable("only chain publishes its events".into()))).boxed()
}

struct Follower {
    chain: ChainClient,
    topics: Topics,
    cursor: Option<BlockRef>,
    stream: Option<EventStream>,
}

impl Follower {
    async fn next(&mut self) -> Result<Event, Gap> {
        loop {
            let Some(stream) = &mut self.stream else {
                let cursor = self.cursor.take();
                match self.chain.events(cursor, self.topics.pool).await {
                    Ok(stream) => self.stream = Some(stream),
                    Err(error) => self.disconnected(Some(error)).await,
                }
                // What came before the stream began was missed, unless it begins at the cursor.
                if self.stream.is_some() && cursor.is_none() {
                    return Err(Gap { head: None });
                }
                continue;
            };
            match stream.next().await {
                Some(Ok(ChainUpdate::Chain(event))) if self.topics.chain => return Ok(event.into()),
                Some(Ok(ChainUpdate::Pool(event))) if self.topics.pool => return Ok(event.into()),
                Some(Ok(ChainUpdate::Gap(head))) if self.topics.chain => {
                    return Err(Gap { head: Some(head) });
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => self.disconnected(Some(error)).await,
                None => self.disconnected(None).await,
            }
        }
    }

    async fn disconnected(&mut self, error: Option<ChainError>) {
        self.stream = None;
        tracing::debug!(error = error.map(|error| error.to_string()), "no event stream of chain");
        tokio::time::sleep(RECONNECT_DELAY).await;
    }
}

/// Follows the bus in Redis, and while that is away `chain`'s own stream. Which network's bus is asked of `chain`, and
/// waited for.
#[derive(Clone)]
pub struct SharedFeed {
    own: ChainFeed,
    redis: Redis,
    bus: Arc<OnceLock<RedisBus>>,
}

impl SharedFeed {
    /// The events of this `chain` through this Redis.
    pub fn new(chain: ChainClient, redis: Redis) -> Self {
        Self { own: ChainFeed::new(chain), redis, bus: Arc::default() }
    }

    /// The bus in Redis, once `chain` has said of which network.
    async fn bus(&self) -> RedisBus {
        loop {
            if let Some(bus) = self.bus.get() {
                return bus.clone();
            }
            match self.own.chain.genesis().await {
                Ok(genesis) => {
                    let keyspace = Keyspace::of(&genesis.hash);
                    return self.bus.get_or_init(|| RedisBus::new(self.redis.clone(), keyspace)).clone();
                }
                Err(error) => {
                    tracing::debug!(%error, "network not known yet");
                    tokio::time::sleep(RECONNECT_DELAY).await;
                }
            }
        }
    }
}

impl EventBus for SharedFeed {
    fn publish(&self, _event: Event) -> BoxFuture<'_, Result<(), BusError>> {
        not_chain()
    }

    fn subscribe(&self, topics: Topics, cursor: Option<BlockRef>) -> Subscription {
        let listener = Listener { feed: self.clone(), topics, cursor, shared: None, own: None };
        let events = stream::unfold(listener, |mut listener| async move {
            let item = listener.next().await?;
            Some((item, listener))
        });
        Subscription::relay(events)
    }

    fn work(&self) -> Option<&dyn WorkTopic> {
        Some(self)
    }

    fn trouble(&self) -> Option<Arc<str>> {
        self.bus.get().and_then(EventBus::trouble)
    }
}

impl WorkTopic for SharedFeed {
    fn publish_work(&self, work: Arc<Work>) -> Result<(), BusError> {
        match self.bus.get() {
            Some(bus) => bus.publish_work(work),
            None => Err(BusError::Unavailable("chain has not said which network's bus it is".into())),
        }
    }

    fn follow_work(&self) -> BoxStream<'static, Arc<Work>> {
        let feed = self.clone();
        stream::once(async move { feed.bus().await.follow_work() }).flatten().boxed()
    }
}

struct Listener {
    feed: SharedFeed,
    topics: Topics,
    cursor: Option<BlockRef>,
    shared: Option<Subscription>,
    /// While the bus is away.
    own: Option<Subscription>,
}

impl Listener {
    /// `None` once the bus has ended.
    async fn next(&mut self) -> Option<Result<Event, Gap>> {
        loop {
            let Some(shared) = &mut self.shared else {
                let bus = self.feed.bus().await;
                self.shared = Some(bus.subscribe(self.topics, self.cursor.take()));
                continue;
            };
            let item = tokio::select! {
                item = shared.next() => item?,
                item = next_of(&mut self.own) => return Some(item),
            };
            if item.as_ref().is_err_and(|gap| gap.head.is_none()) && self.feed.trouble().is_some() {
                if self.own.is_none() {
                    tracing::warn!("the event bus is away: following chain's own stream");
                    self.own = Some(self.feed.own.subscribe(self.topics, None));
                }
                // The own stream says itself what was missed.
                continue;
            }
            if self.own.take().is_some() {
                tracing::info!("the event bus is back");
            }
            return Some(item);
        }
    }
}

async fn next_of(subscription: &mut Option<Subscription>) -> Result<Event, Gap> {
    loop {
        match subscription {
            Some(events) => match events.next().await {
                Some(item) => return item,
                None => *subscription = None,
            },
            None => pending().await,
        }
    }
}
