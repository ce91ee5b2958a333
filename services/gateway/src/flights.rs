//! Identical calls that are made at the same time are run once.
//!
//! What must hold: whoever waits gets an answer that is no older than its own request would have got, since only calls
//! that began on the same head are put together; a call that ends without an answer, because its client went away,
//! wakes those that wait, and they run on their own.

use crate::error::RpcError;
use alloy_primitives::B256;
use bytes::Bytes;
use metrics::Counter;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::Semaphore;

/// Maps, so that workers seldom meet at one.
const SHARDS: usize = 32;
/// Calls of one map at once; more are run each on its own.
const MOST_OF_SHARD: usize = 256;
/// Bytes of parameters that are compared; calls with longer ones are run each on its own.
const MOST_PARAMS: usize = 64 * 1024;

/// What a call answered, and the number of the block that it is about.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) result: Result<Bytes, RpcError>,
    pub(crate) block: u64,
}

/// A call that is being run.
#[derive(Debug)]
pub(crate) struct Flight {
    method: &'static str,
    head: B256,
    params: Box<str>,
    /// Changed under the map's lock.
    waiting: AtomicUsize,
    answer: OnceLock<Answer>,
    /// Closed at the end.
    done: Semaphore,
}

impl Flight {
    /// What the call answered; `None` when it ended without an answer, or did not end in time.
    pub(crate) async fn wait(&self, deadline: Duration) -> Option<Answer> {
        // Nothing is ever added: this ends when the semaphore is closed.
        let _ = tokio::time::timeout(deadline, self.done.acquire()).await;
        self.answer.get().cloned()
    }
}

type Shard = Mutex<HashMap<u64, Arc<Flight>>>;

/// The calls that are being run.
#[derive(Debug)]
pub(crate) struct Flights {
    shards: Vec<Shard>,
    hasher: RandomState,
    collapsed: Counter,
}

/// What a call is to do.
pub(crate) enum Role<'a> {
    /// Run, and tell.
    Lead(Lead<'a>),
    /// Wait for one that runs.
    Follow(Arc<Flight>),
    /// Run, for itself.
    Alone,
}

/// The duty to end a flight; done when dropped, if not before.
pub(crate) struct Lead<'a> {
    shard: &'a Shard,
    hash: u64,
    flight: Arc<Flight>,
}

impl Flights {
    pub(crate) fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            hasher: RandomState::new(),
            collapsed: metrics::counter!("quintet_rpc_collapsed_total"),
        }
    }

    /// Begins a call, or joins the same one that began on the same head.
    pub(crate) fn begin(&self, method: &'static str, head: B256, params: &str) -> Role<'_> {
        if params.len() > MOST_PARAMS {
            return Role::Alone;
        }
        let hash = self.hasher.hash_one((method, head, params));
        let Some(shard) = self.shards.get(usize::try_from(hash >> 32).unwrap_or_default() % SHARDS) else {
            return Role::Alone;
        };
        let mut flights = shard.lock();
        let room = flights.len() < MOST_OF_SHARD;
        match flights.entry(hash) {
            Entry::Occupied(held) => {
                let flight = held.get();
                if flight.method != method || flight.head != head || *flight.params != *params {
                    return Role::Alone;
                }
                flight.waiting.fetch_add(1, Ordering::Relaxed);
                self.collapsed.increment(1);
                Role::Follow(Arc::clone(flight))
            }
            Entry::Vacant(free) if room => {
                let flight = Arc::new(Flight {
                    method,
                    head,
                    params: params.into(),
                    waiting: AtomicUsize::new(0),
                    answer: OnceLock::new(),
                    done: Semaphore::new(0),
                });
                free.insert(Arc::clone(&flight));
                drop(flights);
                Role::Lead(Lead { shard, hash, flight })
            }
            Entry::Vacant(_) => Role::Alone,
        }
    }
}

impl Lead<'_> {
    /// Ends the flight. The answer is made only if somebody waits for it.
    pub(crate) fn end(self, answer: impl FnOnce() -> Answer) {
        self.shard.lock().remove(&self.hash);
        // From here on nobody joins.
        if self.flight.waiting.load(Ordering::Relaxed) > 0 {
            // Set once, here.
            let _ = self.flight.answer.set(answer());
        }
    }
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        let mut flights = self.shard.lock();
        if flights.get(&self.hash).is_some_and(|held| Arc::ptr_eq(held, &self.flight)) {
            flights.remove(&self.hash);
        }
        drop(flights);
        self.flight.done.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn answer(text: &'static str) -> Answer {
        Answer { result: Ok(Bytes::from_static(text.as_bytes())), block: 7 }
    }

    fn lead<'a>(flights: &'a Flights, params: &str) -> Lead<'a> {
        match flights.begin("eth_call", B256::ZERO, params) {
            Role::Lead(lead) => lead,
            _ => panic!("{params} runs already"),
        }
    }

    fn follow(flights: &Flights, params: &str) -> Arc<Flight> {
        match flights.begin("eth_call", B256::ZERO, params) {
            Role::Follow(flight) => flight,
            _ => panic!("{params} does not run"),
        }
    }

    #[tokio::test]
    async fn the_same_call_runs_once_at_a_time() {
        let flights = Flights::new();
        let first = lead(&flights, "[1]");
        // Other parameters, another head, another method.
        drop(lead(&flights, "[2]"));
        assert!(matches!(flights.begin("eth_call", B256::repeat_byte(1), "[1]"), Role::Lead(_)));
        assert!(matches!(flights.begin("eth_estimateGas", B256::ZERO, "[1]"), Role::Lead(_)));
        let followers: Vec<_> = (0..3).map(|_| follow(&flights, "[1]")).collect();
        first.end(|| answer("0x1"));
        for follower in followers {
            let told = follower.wait(PATIENCE).await.expect("an answer");
            assert_eq!((told.result, told.block), (Ok(Bytes::from_static(b"0x1")), 7));
        }
        // The next one sees what has changed since.
        lead(&flights, "[1]").end(|| unreachable!("nobody waits"));
    }

    #[tokio::test]
    async fn nobody_waits_for_a_call_that_was_given_up() {
        let flights = Arc::new(Flights::new());
        let lead = lead(&flights, "[1]");
        let follower = follow(&flights, "[1]");
        let waiting = tokio::spawn(async move { follower.wait(PATIENCE).await.is_none() });
        tokio::task::yield_now().await;
        drop(lead);
        let ended = tokio::time::timeout(PATIENCE / 2, waiting).await.expect("woken");
        assert!(ended.expect("ran"));
        assert!(matches!(flights.begin("eth_call", B256::ZERO, "[1]"), Role::Lead(_)));
    }

    #[test]
    fn there_is_an_end_to_what_is_remembered() {
        let flights = Flights::new();
        let all: Vec<_> = (0..SHARDS * MOST_OF_SHARD * 2)
            .map(|n| flights.begin("eth_call", B256::ZERO, &n.to_string()))
            .collect();
        let leads = all.iter().filter(|role| matches!(role, Role::Lead(_))).count();
        assert!(leads <= SHARDS * MOST_OF_SHARD && leads > SHARDS * MOST_OF_SHARD / 2, "{leads}");
        drop(all);
        assert!(flights.shards.iter().all(|shard| shard.lock().is_empty()));
        let long = " ".repeat(MOST_PARAMS + 1);
        assert!(matches!(flights.begin("eth_call", B256::ZERO, &long), Role::Alone));
    }
}
