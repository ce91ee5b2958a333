//! Transactions as they became pending, for filters: this gateway's own memory of them, or, for filters that any
//! replica answers for, the stream of the pool's events, whose places mean the same on every replica.

use crate::error::RpcError;
use crate::notice::Notices;
use alloy_primitives::B256;
use quintet_events::{BusError, LoggedTransaction, PoolLog, RedisBus};
use quintet_redis::{Keyspace, Redis};
use quintet_types::PoolTransaction;
use std::sync::Arc;

/// Transactions that one poll is told of at most; the next one is told of the rest.
const MOST_AT_ONCE: usize = 1 << 15;

/// A log of pending transactions.
pub(crate) enum PendingLog {
    /// What this gateway has heard.
    Own(Notices),
    /// What all of them hear.
    Shared(PoolLog),
}

/// A transaction in a log.
pub(crate) struct Logged {
    pub(crate) hash: B256,
    entry: Option<LoggedTransaction>,
}

impl Logged {
    /// The whole transaction, where the log has it.
    pub(crate) fn transaction(&self) -> Option<Arc<PoolTransaction>> {
        self.entry.as_ref()?.decode()
    }
}

impl PendingLog {
    /// The log that this gateway's filters are polled from.
    pub(crate) fn new(notices: &Notices, redis: Option<&(Redis, Keyspace)>) -> Self {
        match redis {
            Some((redis, keyspace)) => {
                Self::Shared(RedisBus::new(redis.clone(), keyspace.clone()).pool_log())
            }
            None => Self::Own(notices.clone()),
        }
    }

    /// The place where the log ends now.
    pub(crate) async fn end(&self) -> Result<String, RpcError> {
        match self {
            Self::Own(notices) => Ok(notices.pending_cursor().to_string()),
            Self::Shared(log) => log.end().await.map_err(|error| unavailable(&error)),
        }
    }

    /// The transactions behind a place that are still remembered, and the place behind them.
    pub(crate) async fn since(&self, place: &str) -> Result<(Vec<Logged>, String), RpcError> {
        match self {
            Self::Own(notices) => {
                let (hashes, end) = notices.pending_since(place.parse().unwrap_or_default());
                let logged = hashes.into_iter().map(|hash| Logged { hash, entry: None });
                Ok((logged.collect(), end.to_string()))
            }
            Self::Shared(log) => {
                let read = log.since(place, MOST_AT_ONCE).await;
                let (entries, end) = read.map_err(|error| unavailable(&error))?;
                let logged = entries.into_iter().map(|entry| Logged { hash: entry.hash, entry: Some(entry) });
                Ok((logged.collect(), end))
            }
        }
    }
}

fn unavailable(error: &BusError) -> RpcError {
    tracing::debug!(target: "quintet_gateway", %error, "pending transactions cannot be listed");
    crate::filters::away()
}
