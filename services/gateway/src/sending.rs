//! One transaction of a sender at a time, from choosing its nonce until the pool has it: on this replica by a lock
//! of its own, on all of them by one in Redis. While Redis is away only the first holds, and two replicas that send
//! for one account at the same moment may choose the same nonce: the pool then refuses one of the two.

use crate::error::RpcError;
use alloy_primitives::Address;
use quintet_redis::{Keyspace, Redis};
use redis::Script;
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, MutexGuard};

/// A lock whose owner died ends after this long: longer than any request takes.
const EXPIRY: Duration = Duration::from_secs(30);
/// How long to wait for the lock.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often a lock that is taken is looked at.
const PAUSE: Duration = Duration::from_millis(5);
/// Removes the lock if it is still the owner's.
const RELEASE: &str =
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0";

/// The locks of senders.
pub(crate) struct Sending {
    own: Mutex<()>,
    redis: Option<(Redis, Keyspace)>,
}

/// A sender's lock; released when dropped.
pub(crate) struct Sender<'a> {
    _own: MutexGuard<'a, ()>,
    shared: Option<Lock>,
}

impl Sending {
    pub(crate) fn new(redis: Option<(Redis, Keyspace)>) -> Self {
        Self { own: Mutex::default(), redis }
    }

    /// Waits until nobody else sends for this account.
    ///
    /// # Errors
    /// When another replica keeps the lock for too long.
    pub(crate) async fn lock(&self, sender: Address) -> Result<Sender<'_>, RpcError> {
        let own = self.own.lock().await;
        let shared = match &self.redis {
            None => None,
            Some((redis, keyspace)) => {
                let key = keyspace.key(format_args!("sending:{sender}"));
                lock(redis, key).await?
            }
        };
        Ok(Sender { _own: own, shared })
    }
}

impl Sender<'_> {
    /// Lets the next one in, on whatever replica.
    pub(crate) async fn release(mut self) {
        if let Some(lock) = self.shared.take() {
            lock.release().await;
        }
    }
}

impl Drop for Sender<'_> {
    fn drop(&mut self) {
        if let Some(lock) = self.shared.take() {
            // The request was given up. The lock would end by itself, but much later.
            tokio::spawn(lock.release());
        }
    }
}

/// A lock in Redis that is held.
struct Lock {
    redis: Redis,
    key: String,
    token: String,
}

/// `None` while Redis is away.
async fn lock(redis: &Redis, key: String) -> Result<Option<Lock>, RpcError> {
    let lock = Lock { redis: redis.clone(), key, token: format!("{:x}", rand::random::<u128>()) };
    let started = Instant::now();
    loop {
        match lock.take().await {
            Ok(true) => return Ok(Some(lock)),
            Ok(false) if started.elapsed() > PATIENCE => {
                let text =
                    "another gateway is sending for this account and does not end; try again".to_owned();
                return Err(RpcError::Unavailable(text));
            }
            Ok(false) => tokio::time::sleep(PAUSE).await,
            Err(error) => {
                tracing::debug!(target: "quintet_gateway", %error, "Redis is away: a nonce is chosen without its lock");
                return Ok(None);
            }
        }
    }
}

impl Lock {
    async fn take(&self) -> Result<bool, redis::RedisError> {
        let mut connection = self.redis.commands()?;
        let millis = u64::try_from(EXPIRY.as_millis()).unwrap_or(u64::MAX);
        let mut set = redis::cmd("SET");
        set.arg(&self.key).arg(&self.token).arg("NX").arg("PX").arg(millis);
        let set: Option<String> = set.query_async(&mut connection).await?;
        Ok(set.is_some())
    }

    async fn release(self) {
        let script = Script::new(RELEASE);
        let released = match self.redis.commands() {
            Ok(mut connection) => {
                script.key(&self.key).arg(&self.token).invoke_async::<i64>(&mut connection).await
            }
            Err(error) => Err(error),
        };
        if let Err(error) = released {
            tracing::debug!(target: "quintet_gateway", %error, "a sender's lock ends by itself");
        }
    }
}
