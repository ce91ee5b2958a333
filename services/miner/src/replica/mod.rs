//! One of several replicas: which of them leads, and what all were told, agreed on through Redis.
//!
//! - [`lease`] decides who leads; `beat.lua` is the lease itself.
//! - `orders.rs` is what the operator wants, the same on every replica, whichever was asked.
//! - `store.rs` is one round trip to Redis, which does both.
//!
//! Redis may be away or be emptied. Away: the leader goes on, the others stand by, and orders cannot be changed. Emptied:
//! the leader takes the lease again under a higher token, and whoever has the newest orders writes them again.
//!
//! What the leader prepares is told on the bus (`work.rs`), and the others can say what it is. They do not search on it:
//! the seals that this build makes are not searched.

pub mod lease;
#[cfg(test)]
mod lease_property;
mod orders;
mod store;
mod work;

pub(crate) use orders::{Change, Orders};
pub(crate) use store::LeaderStatus;
pub(crate) use work::{follow, tell};

use crate::error::MinerError;
use alloy_primitives::B256;
use lease::{Ask, Lease, PERIOD, Turn};
use orders::{Version, Versioned};
use quintet_redis::{Keyspace, Redis};
use quintet_service::Check;
use quintet_types::{BlockRef, Work};
use std::future::Future;
use std::sync::Arc;
use store::{Answer, Store, StoreError};
use tokio::sync::oneshot;
use tokio::time::{Instant, Interval, MissedTickBehavior};

/// Where the outcome of a command goes.
pub(crate) type Done = oneshot::Sender<Result<(), MinerError>>;

/// A finished round trip to Redis.
pub(crate) struct Beat {
    ask: Ask,
    answer: Result<Answer, StoreError>,
    /// Who waits for the change that went with it.
    done: Option<Done>,
}

/// What a round trip brought.
#[derive(Default)]
pub(crate) struct Heard {
    /// Newer than those that the replica had.
    pub(crate) orders: Option<Orders>,
    pub(crate) reply: Option<(Done, Result<(), MinerError>)>,
}

/// This replica.
pub(crate) struct Replica {
    redis: Redis,
    id: Arc<str>,
    /// None before the network is known.
    store: Option<Store>,
    lease: Lease,
    started: Instant,
    ticks: Interval,
    /// A round trip is under way.
    asking: bool,
    /// It can reach `chain`, so it wants the lease.
    willing: bool,
    version: Version,
    leader: LeaderStatus,
    /// What the leader prepares, when that is another replica.
    work: Option<Arc<Work>>,
    check: Check,
}

impl Replica {
    /// Standing by. Must be called in a tokio runtime.
    pub(crate) fn new(redis: Redis, check: Check) -> Self {
        check.fail("waiting for the chain service, whose network the lease is for");
        let mut ticks = tokio::time::interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            redis,
            id: replica_id(),
            store: None,
            lease: Lease::default(),
            started: Instant::now(),
            ticks,
            asking: false,
            willing: true,
            version: Version::default(),
            leader: LeaderStatus::default(),
            work: None,
            check,
        }
    }

    /// The network is known, so the keys are.
    pub(crate) fn join(&mut self, genesis: &B256) {
        let store = Store::new(self.redis.clone(), &Keyspace::of(genesis), Arc::clone(&self.id));
        tracing::info!(replica = %self.id, redis = %self.redis, "one of several miners");
        self.store = Some(store);
    }

    /// Waits until Redis is to be asked again.
    pub(crate) async fn due(&mut self) {
        self.ticks.tick().await;
    }

    /// Whether it can do a leader's work: if not, another replica is to lead.
    pub(crate) fn set_willing(&mut self, willing: bool) {
        self.willing = willing;
    }

    pub(crate) fn leads(&self) -> bool {
        self.lease.token().is_some()
    }

    /// Whether a block may be built or handed in now.
    pub(crate) fn may_act(&self) -> bool {
        self.lease.may_act(self.now())
    }

    /// The token that blocks are handed in under, and until when they may be.
    pub(crate) fn grant(&self) -> (u64, Instant) {
        (self.lease.token().unwrap_or_default(), self.started + self.lease.fresh_until())
    }

    /// The status of the leader, when that is another replica. Its work comes at once, the rest with the next beat.
    pub(crate) fn leader(&self) -> Option<LeaderStatus> {
        let parent = self.work.as_ref().map(|work| work.parent()).or_else(|| self.leader.parent());
        (!self.leads()).then(|| LeaderStatus::new(parent, self.leader.hashrate))
    }

    /// Takes what the bus gave as the leader's work, unless it is this replica's own, or a former leader's.
    pub(crate) fn take_work(&mut self, work: &Arc<Work>) {
        if !self.leads() && work.token >= self.lease.newest() {
            work::received(work);
            self.work = Some(Arc::clone(work));
        }
    }

    /// Forgets work that nobody prepares any more: the head has got as far, the lease is another's, or no blocks are
    /// to be made.
    pub(crate) fn drop_work(&mut self, head: Option<BlockRef>, sealing: bool) {
        let newest = self.lease.newest();
        let reached = |work: &Work| head.is_some_and(|head| head.number >= work.header.number);
        self.work.take_if(|work| work.token < newest || reached(work) || !sealing);
    }

    /// The regular round trip; none while one is under way, or before the network is known.
    pub(crate) fn beat(
        &mut self,
        orders: &Orders,
        status: LeaderStatus,
    ) -> Option<impl Future<Output = Beat> + Send + 'static> {
        let store = self.store.clone().filter(|_| !self.asking)?;
        self.asking = true;
        Some(round_trip(
            store,
            self.lease.ask(self.now(), self.willing),
            status,
            self.versioned(orders),
            None,
        ))
    }

    /// A round trip that changes the orders.
    ///
    /// # Errors
    /// Who waits for the change, before the network is known.
    pub(crate) fn change(
        &mut self,
        orders: &Orders,
        status: LeaderStatus,
        change: Change,
        done: Done,
    ) -> Result<impl Future<Output = Beat> + Send + 'static, Done> {
        let Some(store) = self.store.clone() else { return Err(done) };
        let ask = self.lease.ask(self.now(), self.willing);
        Ok(round_trip(store, ask, status, self.versioned(orders), Some((change, done))))
    }

    /// Takes the answer of a round trip.
    pub(crate) fn hear(&mut self, beat: Beat) -> Heard {
        let Beat { ask, answer, done } = beat;
        self.asking &= done.is_some();
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                self.lease.no_answer(ask);
                self.say_trouble(&error);
                let away = MinerError::OrdersNotShared(error.to_string());
                return Heard { reply: done.map(|done| (done, Err(away))), ..Heard::default() };
            }
        };
        self.check.ok();
        self.leader = answer.leader.unwrap_or_default();
        let led = self.leads();
        let turn = self.lease.answer(ask, answer.held, self.now());
        let outcome = if answer.refused { Err(MinerError::EtherbaseMissing) } else { Ok(()) };
        let newer = answer.orders.filter(|orders| orders.version > self.version);
        let orders = newer.map(|newer| {
            self.version = newer.version;
            newer.orders
        });
        self.say(turn, led);
        Heard { orders, reply: done.map(|done| (done, outcome)) }
    }

    /// `chain` refused a block under `token`, because it has seen `newest`.
    pub(crate) fn refused(&mut self, token: u64, newest: u64) {
        let turn = self.lease.refuse(token, newest);
        self.say(turn, true);
    }

    /// Gives the lease back, so that another replica leads at once.
    pub(crate) async fn leave(&mut self) {
        let led = self.lease.leave();
        self.say_role();
        if let Some(store) = self.store.as_ref().filter(|_| led) {
            match store.release().await {
                Ok(()) => tracing::info!(replica = %self.id, "lease given back"),
                Err(error) => tracing::warn!(%error, "lease not given back: it ends by itself"),
            }
        }
    }

    fn now(&self) -> std::time::Duration {
        self.started.elapsed()
    }

    fn versioned(&self, orders: &Orders) -> Versioned {
        Versioned { version: self.version.clone(), orders: orders.clone() }
    }

    fn say_trouble(&self, error: &StoreError) {
        let goes_on = if self.leads() { "leading on, nobody can take over" } else { "standing by" };
        self.check.degraded(format!("{} cannot be asked ({error}): {goes_on}", self.redis));
    }

    fn say(&self, turn: Option<Turn>, led: bool) {
        let replica = &*self.id;
        match turn {
            Some(Turn::Lead { token }) if led => {
                tracing::info!(replica, token, "leading on: the lease was lost and taken again");
            }
            Some(Turn::Lead { token }) => {
                tracing::info!(replica, token, "leading: this replica holds the lease");
                metrics::counter!("quintet_miner_takeovers_total").increment(1);
            }
            Some(Turn::Lost) => {
                tracing::info!(replica, "standing by: another replica holds the lease");
            }
            Some(Turn::GaveUp) => {
                tracing::warn!(replica, "standing by: chain cannot be reached, so the lease was given back");
            }
            Some(Turn::Fenced) => tracing::warn!(
                replica,
                "standing by: chain refused a block, because another replica leads under a newer token"
            ),
            None => return,
        }
        self.say_role();
    }

    fn say_role(&self) {
        let token = self.lease.token();
        metrics::gauge!("quintet_miner_leader").set(if token.is_some() { 1.0 } else { 0.0 });
        metrics::gauge!("quintet_miner_lease_token").set(token.unwrap_or_default() as f64);
    }
}

async fn round_trip(
    store: Store,
    ask: Ask,
    status: LeaderStatus,
    orders: Versioned,
    change: Option<(Change, Done)>,
) -> Beat {
    let (change, done) = change.unzip();
    let answer = store.beat(ask, status, &orders, change.as_ref()).await;
    Beat { ask, answer, done }
}

/// A name that no other replica has, now or later; it begins with the host's, for whoever looks into Redis.
fn replica_id() -> Arc<str> {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}-{:016x}", host.trim(), rand::random::<u64>()).into()
}
