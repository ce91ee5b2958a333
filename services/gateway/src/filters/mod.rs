//! Polled filters. A filter of blocks or logs is only a cursor: the last block that its owner has seen. What changed
//! is read from the chain when it is asked for, reverted blocks included, so a filter costs nothing while nobody polls
//! it. With Redis they are there, and any replica answers for any of them.
//!
//! What must hold: a cursor is moved only from where a poll has read it, so that of two polls at the same time, on
//! whatever replicas, one answers with what happened, and the other looks again from there.

mod own;
mod shared;

use crate::error::RpcError;
use crate::methods::LogFilter;
use alloy_primitives::B256;
use own::OwnFilters;
use quintet_redis::{Keyspace, Redis};
use quintet_types::BlockRef;
use serde::{Deserialize, Serialize};
use shared::SharedFilters;
use std::sync::Arc;
use std::time::Duration;

/// A filter that is not polled for this long is forgotten, as in geth.
const EXPIRY: Duration = Duration::from_mins(5);
/// Filters at one time, on all replicas together.
const MOST: usize = 1 << 16;
/// Those of one owner, which is an API key or an address: nobody can take them all.
const MOST_OF_OWNER: usize = MOST / 4;
/// Bytes of the criteria of a filter for logs: more than a thousand addresses and topics take.
const MOST_CRITERIA: usize = 512 * 1024;

/// What a filter tells of.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// Hashes of new blocks.
    Blocks,
    /// Logs.
    Logs(Arc<Criteria>),
    /// Transactions that became pending: hashes, or whole.
    Pending {
        /// Whole transactions.
        full: bool,
    },
}

/// Which logs, and how the owner wrote it.
#[derive(Debug)]
pub(crate) struct Criteria {
    pub(crate) filter: LogFilter,
    text: String,
}

impl Criteria {
    /// Decodes criteria, failing in geth's words.
    pub(crate) fn decode(text: &str) -> Result<Self, String> {
        let filter = LogFilter::decode(text)?;
        if text.len() > MOST_CRITERIA {
            return Err(format!("criteria of {} bytes, at most {MOST_CRITERIA} are kept", text.len()));
        }
        Ok(Self { filter, text: text.to_owned() })
    }
}

/// Up to where a filter has told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cursor {
    /// The last block.
    Block(BlockRef),
    /// A place in the log of pending transactions.
    Pool(String),
}

/// A filter as a poll found it.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) kind: Kind,
    pub(crate) cursor: Cursor,
    /// How often the cursor was moved.
    version: u64,
}

/// The filters that this gateway knows.
pub(crate) enum Filters {
    /// Its own.
    Own(OwnFilters),
    /// Those of all replicas.
    Shared(Box<SharedFilters>),
}

impl Filters {
    /// Filters in Redis if there is one, else in memory.
    pub(crate) fn new(redis: Option<(Redis, Keyspace)>) -> Self {
        match redis {
            Some((redis, keyspace)) => Self::Shared(Box::new(SharedFilters::new(redis, keyspace))),
            None => Self::Own(OwnFilters::default()),
        }
    }

    /// Installs a filter; gives its id.
    pub(crate) async fn install(&self, kind: Kind, cursor: Cursor, owner: &str) -> Result<String, RpcError> {
        match self {
            Self::Own(filters) => filters.install(kind, cursor, owner),
            Self::Shared(filters) => filters.install(&kind, &cursor, owner).await,
        }
    }

    /// The filter of this id, which is thereby polled.
    pub(crate) async fn get(&self, id: &str) -> Result<Held, RpcError> {
        match self {
            Self::Own(filters) => filters.get(id),
            Self::Shared(filters) => filters.get(id).await,
        }
    }

    /// Moves a cursor from where `held` found it; `false` if another poll has moved it since.
    pub(crate) async fn advance(&self, id: &str, held: &Held, cursor: Cursor) -> Result<bool, RpcError> {
        match self {
            Self::Own(filters) => filters.advance(id, held, cursor),
            Self::Shared(filters) => filters.advance(id, held, &cursor).await,
        }
    }

    /// Forgets a filter; says whether there was one.
    pub(crate) async fn uninstall(&self, id: &str) -> Result<bool, RpcError> {
        match self {
            Self::Own(filters) => Ok(filters.uninstall(id)),
            Self::Shared(filters) => filters.uninstall(id).await,
        }
    }

    /// Forgets filters that nobody polls. Redis does that by itself.
    pub(crate) fn expire(&self) {
        if let Self::Own(filters) = self {
            filters.expire();
        }
    }
}

fn not_found() -> RpcError {
    RpcError::server("filter not found")
}

/// Redis does not answer.
pub(crate) fn away() -> RpcError {
    RpcError::server("filters are not available: Redis is away; try again")
}

fn too_many() -> RpcError {
    RpcError::server("too many filters")
}

/// An id that cannot be guessed, as geth writes them: a quantity of 128 bits.
pub(crate) fn random_id() -> String {
    format!("{:#x}", rand::random::<u128>())
}

/// A kind as it is written into Redis.
#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
enum WrittenKind {
    Blocks,
    Logs { criteria: String },
    Pending { full: bool },
}

/// A cursor as it is written into Redis.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum WrittenCursor {
    Block { number: u64, hash: B256 },
    Pool(String),
}

impl Kind {
    fn write(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(&match self {
            Self::Blocks => WrittenKind::Blocks,
            Self::Logs(criteria) => WrittenKind::Logs { criteria: criteria.text.clone() },
            Self::Pending { full } => WrittenKind::Pending { full: *full },
        })
    }

    fn read(text: &str) -> Option<Self> {
        Some(match serde_json::from_str(text).ok()? {
            WrittenKind::Blocks => Self::Blocks,
            WrittenKind::Logs { criteria } => Self::Logs(Arc::new(Criteria::decode(&criteria).ok()?)),
            WrittenKind::Pending { full } => Self::Pending { full },
        })
    }
}

impl Cursor {
    fn write(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(&match self {
            Self::Block(block) => WrittenCursor::Block { number: block.number, hash: block.hash },
            Self::Pool(place) => WrittenCursor::Pool(place.clone()),
        })
    }

    fn read(text: &str) -> Option<Self> {
        Some(match serde_json::from_str(text).ok()? {
            WrittenCursor::Block { number, hash } => Self::Block(BlockRef { number, hash }),
            WrittenCursor::Pool(place) => Self::Pool(place),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for cursor in [
            Cursor::Block(BlockRef { number: 7, hash: B256::repeat_byte(1) }),
            Cursor::Pool("1-2".to_owned()),
        ] {
            assert_eq!(Cursor::read(&cursor.write().expect("JSON")), Some(cursor));
        }
        let criteria = r#"{"address":"0x00000000000000000000000000000000000000aa", "topics":[null]}"#;
        let logs = Kind::Logs(Arc::new(Criteria::decode(criteria).expect("criteria")));
        for (kind, expected) in [
            (Kind::Blocks, "Blocks"),
            (Kind::Pending { full: true }, "Pending { full: true }"),
            (logs.clone(), format!("{logs:?}").as_str()),
        ] {
            let read = Kind::read(&kind.write().expect("JSON")).expect("a kind");
            assert_eq!(format!("{read:?}"), expected);
        }
        assert!(Kind::read("{}").is_none() && Cursor::read("null").is_none());
    }
}
