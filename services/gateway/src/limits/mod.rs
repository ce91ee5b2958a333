//! Rate limits: how many requests a client may send, counted over all replicas through Redis when there is one.
//!
//! What must hold: a client gets no more than its rate and burst from all replicas together while Redis is there,
//! and no more than that from each replica while it is away; requests never wait for a Redis that does not answer.

mod bucket;
mod lease;

pub(crate) use bucket::Rate;

use crate::auth::Caller;
use crate::error::RpcError;
use bucket::Bucket;
use lease::{Answer, Lease, Leases};
use metrics::Counter;
use parking_lot::Mutex;
use quick_cache::sync::Cache;
use quintet_redis::{Keyspace, Redis};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Clients that are remembered. One that was forgotten begins with a full bucket, in Redis with the one that it had.
const MOST_CLIENTS: usize = 1 << 16;

/// Whose requests are counted together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum ClientId {
    /// Those with one API key.
    Key(Arc<str>),
    /// Those from one address, or one IPv6 network of 64 bits.
    Address(IpAddr),
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(name) => write!(f, "key:{name}"),
            Self::Address(address) => write!(f, "ip:{address}"),
        }
    }
}

/// One client's count on this replica.
#[derive(Debug)]
struct Client {
    state: Mutex<State>,
    /// Held while Redis is asked, so that one request asks for all that wait.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct State {
    /// What counts while Redis is away, or when there is none.
    own: Bucket,
    lease: Lease,
}

/// Counts requests.
pub(crate) struct Limiter {
    per_address: Option<Rate>,
    clients: Cache<ClientId, Arc<Client>>,
    leases: Option<Leases>,
    started: Instant,
    limited_by_key: Counter,
    limited_by_address: Counter,
}

impl fmt::Debug for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiter").field("per_address", &self.per_address).finish_non_exhaustive()
    }
}

impl Limiter {
    /// Limits each address to `per_address`, and each key to its own rate.
    pub(crate) fn new(per_address: Option<Rate>, redis: Option<(Redis, Keyspace)>) -> Self {
        let limited = |by: &'static str| metrics::counter!("quintet_rpc_limited_total", "by" => by);
        Self {
            per_address,
            clients: Cache::new(MOST_CLIENTS),
            leases: redis.map(|(redis, keyspace)| Leases::new(redis, keyspace)),
            started: Instant::now(),
            limited_by_key: limited("key"),
            limited_by_address: limited("ip"),
        }
    }

    /// Counts `cost` requests of a caller: those of a key with a rate by that, others by the address.
    ///
    /// # Errors
    /// [`RpcError::RateLimited`], with how long to wait.
    pub(crate) async fn take(&self, caller: &Caller, cost: u32) -> Result<(), RpcError> {
        let of_key = caller.grant.as_ref().and_then(|grant| Some((grant.rate?, Arc::clone(&grant.name))));
        let (rate, id, limited) = match (of_key, self.per_address) {
            (Some((rate, name)), _) => (rate, ClientId::Key(name), &self.limited_by_key),
            (None, Some(rate)) => (rate, ClientId::Address(caller.client), &self.limited_by_address),
            (None, None) => return Ok(()),
        };
        let client = self.client(&id, &rate);
        let taken = match &self.leases {
            None => client.state.lock().own.take(&rate, cost, self.started.elapsed()),
            Some(leases) => self.take_leased(leases, &client, &id, &rate, cost).await,
        };
        taken.map_err(|wait| {
            limited.increment(1);
            RpcError::RateLimited { wait }
        })
    }

    fn client(&self, id: &ClientId, rate: &Rate) -> Arc<Client> {
        if let Some(client) = self.clients.get(id) {
            return client;
        }
        let own = Bucket::full(rate, self.started.elapsed());
        let state = Mutex::new(State { own, lease: Lease::default() });
        let client = Arc::new(Client { state, asking: tokio::sync::Mutex::default() });
        // Of two that come at once, both may be given a full bucket of their own: once.
        self.clients.insert(id.clone(), Arc::clone(&client));
        client
    }

    /// Takes from what Redis has lent to this replica, and borrows more when that is used up.
    async fn take_leased(
        &self,
        leases: &Leases,
        client: &Client,
        id: &ClientId,
        rate: &Rate,
        cost: u32,
    ) -> Result<(), Duration> {
        if let Some(taken) = client.state.lock().lease.take(cost, self.started.elapsed()) {
            return taken;
        }
        let _asking = client.asking.lock().await;
        let now = self.started.elapsed();
        // Whoever asked before may have borrowed enough for this one too.
        let wanted = {
            let mut state = client.state.lock();
            if let Some(taken) = state.lease.take(cost, now) {
                return taken;
            }
            state.lease.wanted(rate, cost, now)
        };
        let answer = leases.borrow(&id.to_string(), rate, cost, wanted, self.started).await;
        let now = self.started.elapsed();
        let mut state = client.state.lock();
        match answer {
            Some(Answer::Granted(tokens)) => {
                state.lease.lent(tokens.saturating_sub(u64::from(cost)), now);
                Ok(())
            }
            Some(Answer::Denied(wait)) => {
                state.lease.denied(wait, now);
                Err(wait)
            }
            // Redis is away.
            None => state.own.take(rate, cost, now),
        }
    }
}
