//! A task's own connection to Redis: made when needed, made again after it was lost, and what is wrong with it.

use parking_lot::Mutex;
use quintet_redis::{Keyspace, Redis};
use redis::RedisError;
use redis::aio::MultiplexedConnection;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// The first wait before another attempt.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// The longest wait before another attempt.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// For how long a trouble counts. A link that is in use sees it again sooner; that of a subscription which nobody asks
/// for events does not look.
const TROUBLE_LASTS: Duration = Duration::from_secs(5);

/// Where Redis is, the names of the keys, and what is wrong.
#[derive(Debug)]
pub(super) struct Shared {
    redis: Redis,
    /// The stream of chain events.
    pub(super) chain: String,
    /// The stream of pool events.
    pub(super) pool: String,
    /// The stream of miners' work.
    pub(super) work: String,
    /// Named anew whenever Redis was emptied, so that readers do not wait behind an id of former times.
    pub(super) generation: String,
    // By link, so that one that works does not hide another that does not; and when it was seen.
    troubles: Mutex<BTreeMap<u64, (Arc<str>, Instant)>>,
    links: AtomicU64,
}

impl Shared {
    pub(super) fn new(redis: Redis, keyspace: &Keyspace) -> Self {
        Self {
            redis,
            chain: keyspace.key("events:chain"),
            pool: keyspace.key("events:pool"),
            work: keyspace.key("events:work"),
            generation: keyspace.key("events:generation"),
            troubles: Mutex::default(),
            links: AtomicU64::new(0),
        }
    }

    /// Why Redis cannot be used, if it cannot.
    pub(super) fn trouble(&self) -> Option<Arc<str>> {
        let troubles = self.troubles.lock();
        let mut fresh = troubles.values().filter(|(_, seen)| seen.elapsed() < TROUBLE_LASTS);
        fresh.next().map(|(trouble, _)| Arc::clone(trouble))
    }

    pub(super) const fn redis(&self) -> &Redis {
        &self.redis
    }

    fn set_trouble(&self, link: u64, trouble: Option<Arc<str>>) {
        let mut troubles = self.troubles.lock();
        match trouble {
            Some(trouble) => troubles.insert(link, (trouble, Instant::now())),
            None => troubles.remove(&link),
        };
        metrics::gauge!("quintet_redis_up").set(if troubles.is_empty() { 1.0 } else { 0.0 });
    }
}

/// One task's connection.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) shared: Arc<Shared>,
    number: u64,
    /// For how long a command may wait on the server.
    wait: Duration,
    what: &'static str,
    connection: Option<MultiplexedConnection>,
    pause: Duration,
    /// Not before this the next attempt.
    retry: Option<Instant>,
    away: bool,
}

impl Link {
    /// A link that is not connected yet. `what` names it in logs.
    pub(super) fn new(shared: Arc<Shared>, wait: Duration, what: &'static str) -> Self {
        let number = shared.links.fetch_add(1, Ordering::Relaxed);
        Self { shared, number, wait, what, connection: None, pause: FIRST_PAUSE, retry: None, away: false }
    }

    /// The connection; made, after the pause that the last failure asks for, when there is none.
    pub(super) async fn connection(&mut self) -> Result<MultiplexedConnection, RedisError> {
        if let Some(connection) = &self.connection {
            return Ok(connection.clone());
        }
        if let Some(retry) = self.retry.take() {
            tokio::time::sleep_until(retry).await;
        }
        let connection = self.shared.redis.waiting(self.wait).await?;
        self.connection = Some(connection.clone());
        Ok(connection)
    }

    /// A command was answered.
    pub(super) fn works(&mut self) {
        self.pause = FIRST_PAUSE;
        if std::mem::take(&mut self.away) {
            tracing::info!(target: "quintet_events", redis = %self.shared.redis, "{} are back", self.what);
        }
        self.shared.set_trouble(self.number, None);
    }

    /// A command or the connection failed: the next attempt is on a new connection, and not at once.
    pub(super) fn failed(&mut self, error: &RedisError) -> Arc<str> {
        let reason: Arc<str> = format!("Redis at {}: {error}", self.shared.redis).into();
        if !std::mem::replace(&mut self.away, true) {
            tracing::warn!(target: "quintet_events", %reason, "{} are away, trying again", self.what);
        }
        self.connection = None;
        self.retry = Some(Instant::now() + self.pause);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        self.shared.set_trouble(self.number, Some(Arc::clone(&reason)));
        reason
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.shared.set_trouble(self.number, None);
    }
}
