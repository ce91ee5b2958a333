//! The newest pool events, for who asks now and then: a pending-transaction filter, whose place is a text that any
//! replica can go on from.

use super::entry::{Entry, range_entries};
use super::link::Shared;
use super::unavailable;
use crate::BusError;
use alloy_primitives::B256;
use quintet_types::PoolTransaction;
use redis::{RedisError, Value};
use std::sync::Arc;

/// How many entries are read at once.
const PAGE: usize = 256;
/// Bytes after which an answer ends early.
const ANSWER_BYTES: usize = 32 << 20;

/// The log of pending transactions. It holds the newest 16384, fewer when they are large; older ones are forgotten.
#[derive(Clone, Debug)]
pub struct PoolLog {
    pub(super) shared: Arc<Shared>,
}

/// A transaction in the log.
#[derive(Clone, Debug)]
pub struct LoggedTransaction {
    /// Its hash.
    pub hash: B256,
    entry: Entry,
}

impl LoggedTransaction {
    /// The whole transaction; `None` when it was written by a version that this one does not understand.
    pub fn decode(&self) -> Option<Arc<PoolTransaction>> {
        let transaction = self.entry.transaction();
        transaction.inspect_err(|error| tracing::warn!(target: "quintet_events", %error)).ok()
    }
}

impl PoolLog {
    /// The place behind the newest transaction. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// When Redis cannot be reached.
    pub async fn end(&self) -> Result<String, BusError> {
        let newest = async {
            let mut connection = self.shared.redis().commands()?;
            let mut commands = redis::pipe();
            commands.cmd("GET").arg(&self.shared.generation);
            commands.cmd("XREVRANGE").arg(&self.shared.pool).arg("+").arg("-").arg("COUNT").arg(1);
            commands.query_async::<(Option<String>, Value)>(&mut connection).await
        };
        let (generation, newest) = newest.await.map_err(|error| self.failed(&error))?;
        let newest = range_entries(newest).into_iter().next();
        Ok(place(generation, newest.as_ref().map_or("0-0", |entry| &entry.id)))
    }

    /// Up to `limit` transactions behind a place, oldest first, and the place behind those. Fewer come also when they
    /// are large: nothing is left only when none come. When Redis was emptied since, the log begins anew, and all that
    /// it holds is behind the place. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// When Redis cannot be reached, or the place is none.
    pub async fn since(
        &self,
        place: &str,
        limit: usize,
    ) -> Result<(Vec<LoggedTransaction>, String), BusError> {
        let (mut generation, mut id) = parse_place(place).ok_or(BusError::Place)?;
        let (mut transactions, mut bytes) = (Vec::new(), 0);
        while transactions.len() < limit && bytes < ANSWER_BYTES {
            let count = PAGE.min(limit - transactions.len());
            let (now, entries) = self.page(&id, count).await.map_err(|error| self.failed(&error))?;
            if now != generation {
                generation = now;
                "0-0".clone_into(&mut id);
                continue;
            }
            let is_last = entries.len() < count;
            for entry in entries {
                id.clone_from(&entry.id);
                bytes += entry.size();
                match entry.transaction_hash() {
                    Ok(hash) => transactions.push(LoggedTransaction { hash, entry }),
                    Err(error) => {
                        tracing::warn!(target: "quintet_events", %error, "a pool event is missed");
                    }
                }
            }
            if is_last {
                break;
            }
        }
        Ok((transactions, self::place(Some(generation), &id)))
    }

    async fn page(&self, id: &str, count: usize) -> Result<(String, Vec<Entry>), RedisError> {
        let mut connection = self.shared.redis().commands()?;
        let mut commands = redis::pipe();
        commands.cmd("GET").arg(&self.shared.generation);
        let from = format!("({id}");
        commands.cmd("XRANGE").arg(&self.shared.pool).arg(from).arg("+").arg("COUNT").arg(count);
        let (generation, entries): (Option<String>, Value) = commands.query_async(&mut connection).await?;
        Ok((generation.unwrap_or_default(), range_entries(entries)))
    }

    fn failed(&self, error: &RedisError) -> BusError {
        unavailable(format!("Redis at {}: {error}", self.shared.redis()))
    }
}

fn place(generation: Option<String>, id: &str) -> String {
    format!("{}/{id}", generation.unwrap_or_default())
}

fn parse_place(place: &str) -> Option<(String, String)> {
    let (generation, id) = place.split_once('/')?;
    let (milliseconds, number) = id.split_once('-')?;
    // Nothing else is sent to Redis.
    let (_, _): (u64, u64) = (milliseconds.parse().ok()?, number.parse().ok()?);
    Some((generation.to_owned(), id.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_places_are_places() {
        let made = place(Some("0xab".to_owned()), "15-2");
        assert_eq!(parse_place(&made), Some(("0xab".to_owned(), "15-2".to_owned())));
        for nonsense in ["", "/", "0xab", "0xab/15", "0xab/x-y", "0xab/15-2 COUNT 1"] {
            assert_eq!(parse_place(nonsense), None, "{nonsense}");
        }
    }
}
