//! What the replicas share in Redis: the lease and its newest token, the orders, and the leader's status.

use super::lease::{Ask, Held, TTL};
use super::orders::{Change, Versioned};
use alloy_primitives::B256;
use quintet_redis::{Keyspace, Redis};
use quintet_types::BlockRef;
use redis::{RedisError, Script};
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

/// How long an answer is waited for. Shorter than the lease, so that a leader asks again while its lease lasts.
const DEADLINE: Duration = Duration::from_secs(1);

static BEAT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("beat.lua")));
/// Gives the lease back. KEYS: lease, leader's status; ARGV: replica.
static RELEASE: LazyLock<Script> = LazyLock::new(|| {
    Script::new("if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1], KEYS[2]) end")
});

/// Redis did not answer, or not what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("{0}")]
    Redis(Arc<str>),
    #[error("no answer within {DEADLINE:?}")]
    Deadline,
}

impl From<RedisError> for StoreError {
    fn from(error: RedisError) -> Self {
        Self::Redis(error.to_string().into())
    }
}

/// What a leader tells of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct LeaderStatus {
    /// Number and hash of the block that is built on.
    parent: Option<(u64, B256)>,
    /// Hashes a second.
    pub(crate) hashrate: u64,
}

impl LeaderStatus {
    pub(crate) fn new(parent: Option<BlockRef>, hashrate: u64) -> Self {
        Self { parent: parent.map(|block| (block.number, block.hash)), hashrate }
    }

    pub(crate) fn parent(&self) -> Option<BlockRef> {
        self.parent.map(|(number, hash)| BlockRef { number, hash })
    }
}

/// The answer to one question.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) held: Held,
    /// The change was refused: blocks need an etherbase.
    pub(crate) refused: bool,
    /// `None` when there is no leader, or it said nothing yet.
    pub(crate) leader: Option<LeaderStatus>,
    /// `None` when Redis holds none that can be read.
    pub(crate) orders: Option<Versioned>,
}

/// One network's keys in Redis, as one replica uses them.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    redis: Redis,
    replica: Arc<str>,
    lease: String,
    token: String,
    orders: String,
    status: String,
}

impl Store {
    pub(crate) fn new(redis: Redis, keyspace: &Keyspace, replica: Arc<str>) -> Self {
        let [lease, token, orders, status] =
            ["lease", "token", "settings", "status"].map(|name| keyspace.key(format_args!("miner:{name}")));
        Self { redis, replica, lease, token, orders, status }
    }

    /// Asks for the lease, brings the orders together, and changes them where `change` says so.
    pub(crate) async fn beat(
        &self,
        ask: Ask,
        status: LeaderStatus,
        orders: &Versioned,
        change: Option<&Change>,
    ) -> Result<Answer, StoreError> {
        let (field, value) = change.map_or_else(Default::default, Change::field);
        let status = serde_json::to_string(&status).unwrap_or_default();
        let mut script = BEAT.prepare_invoke();
        script.key(&self.lease).key(&self.token).key(&self.orders).key(&self.status);
        script.arg(&*self.replica).arg(millis(TTL)).arg(u8::from(ask.wanted)).arg(ask.token).arg(ask.floor);
        script.arg(status).arg(field).arg(value).arg(orders.version.number).arg(&orders.version.writer);
        for (field, value) in orders.orders.fields() {
            script.arg(field).arg(value);
        }
        let mut connection = self.redis.commands()?;
        let answer = tokio::time::timeout(DEADLINE, script.invoke_async(&mut connection)).await;
        let (holder, token, refused, status, fields): (String, u64, bool, String, BTreeMap<String, String>) =
            answer.map_err(|_| StoreError::Deadline)??;
        let held = match &*holder {
            "" => Held::Nobody(token),
            holder if *holder == *self.replica => Held::Mine(token),
            _ => Held::Others(token),
        };
        Ok(Answer {
            held,
            refused,
            leader: serde_json::from_str(&status).ok(),
            orders: Versioned::read(&fields),
        })
    }

    /// Gives the lease back, if this replica holds it.
    pub(crate) async fn release(&self) -> Result<(), StoreError> {
        let mut script = RELEASE.prepare_invoke();
        script.key(&self.lease).key(&self.status).arg(&*self.replica);
        let mut connection = self.redis.commands()?;
        let released = tokio::time::timeout(DEADLINE, script.invoke_async::<()>(&mut connection)).await;
        Ok(released.map_err(|_| StoreError::Deadline)??)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
