//! Filters in Redis: one hash for each, which expires five minutes after its last poll, and two sorted sets of ids,
//! by when they expire, that are counted: of all filters, and of each owner's. Scripts keep them together.
//!
//! A Redis that was emptied has no filters: clients are told what geth tells them after a restart, and install their
//! filters again.

use super::{Cursor, EXPIRY, Held, Kind, MOST, MOST_OF_OWNER, away, not_found, random_id, too_many};
use crate::error::RpcError;
use quintet_redis::{Keyspace, Redis};
use redis::aio::ConnectionManager;
use redis::{RedisError, Script};

/// Keys: the filter, all ids, the owner's ids. Arguments: id, kind, cursor, expiry, most, most of an owner.
const INSTALL: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now)
if redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[5]) or redis.call('ZCARD', KEYS[3]) >= tonumber(ARGV[6]) then
    return 0
end
redis.call('HSET', KEYS[1], 'kind', ARGV[2], 'cursor', ARGV[3], 'version', '0', 'owner', KEYS[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
for set = 2, 3 do
    redis.call('ZADD', KEYS[set], string.format('%.0f', now + ARGV[4]), ARGV[1])
    redis.call('PEXPIRE', KEYS[set], ARGV[4])
end
return 1
";

/// Keys: the filter, all ids. Arguments: id, expiry.
const GET: &str = r"
local held = redis.call('HMGET', KEYS[1], 'kind', 'cursor', 'version', 'owner')
if not (held[1] and held[2] and held[3] and held[4]) then
    return false
end
local time = redis.call('TIME')
local expires = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
for _, set in ipairs({KEYS[2], held[4]}) do
    redis.call('ZADD', set, expires, ARGV[1])
    redis.call('PEXPIRE', set, ARGV[2])
end
return {held[1], held[2], held[3]}
";

/// Keys: the filter. Arguments: the version that was found, the cursor. Says 1, or 0 if it was moved, -1 if it is gone.
const ADVANCE: &str = r"
local version = redis.call('HGET', KEYS[1], 'version')
if not version then
    return -1
end
if version ~= ARGV[1] then
    return 0
end
redis.call('HSET', KEYS[1], 'cursor', ARGV[2], 'version', string.format('%.0f', version + 1))
return 1
";

/// Keys: the filter, all ids. Arguments: id.
const UNINSTALL: &str = r"
local owner = redis.call('HGET', KEYS[1], 'owner')
if owner then
    redis.call('ZREM', owner, ARGV[1])
end
redis.call('ZREM', KEYS[2], ARGV[1])
return redis.call('DEL', KEYS[1])
";

/// The filters of all replicas.
pub(crate) struct SharedFilters {
    redis: Redis,
    keyspace: Keyspace,
    all: String,
    install: Script,
    get: Script,
    advance: Script,
    uninstall: Script,
}

impl SharedFilters {
    pub(super) fn new(redis: Redis, keyspace: Keyspace) -> Self {
        Self {
            all: keyspace.key("filters"),
            install: Script::new(INSTALL),
            get: Script::new(GET),
            advance: Script::new(ADVANCE),
            uninstall: Script::new(UNINSTALL),
            redis,
            keyspace,
        }
    }

    fn connection(&self) -> Result<ConnectionManager, RpcError> {
        self.redis.commands().map_err(|error| failed(&error))
    }

    /// Where a filter is.
    fn key(&self, id: &str) -> String {
        self.keyspace.key(format_args!("filter:{id}"))
    }

    pub(super) async fn install(
        &self,
        kind: &Kind,
        cursor: &Cursor,
        owner: &str,
    ) -> Result<String, RpcError> {
        let internal = |error: serde_json::Error| RpcError::internal(&error);
        let (kind, cursor) = (kind.write().map_err(internal)?, cursor.write().map_err(internal)?);
        let id = random_id();
        let mut install = self.install.key(self.key(&id));
        install.key(&self.all).key(self.keyspace.key(format_args!("filters:{owner}")));
        install.arg(&id).arg(kind).arg(cursor).arg(expiry()).arg(MOST).arg(MOST_OF_OWNER);
        let installed: Result<i64, _> = install.invoke_async(&mut self.connection()?).await;
        if installed.map_err(|error| failed(&error))? == 1 { Ok(id) } else { Err(too_many()) }
    }

    pub(super) async fn get(&self, id: &str) -> Result<Held, RpcError> {
        let mut get = self.get.key(self.key(checked(id)?));
        get.key(&self.all).arg(id).arg(expiry());
        let held: Result<Option<(String, String, u64)>, _> = get.invoke_async(&mut self.connection()?).await;
        let (kind, cursor, version) = held.map_err(|error| failed(&error))?.ok_or_else(not_found)?;
        // What a newer gateway may have written.
        let (Some(kind), Some(cursor)) = (Kind::read(&kind), Cursor::read(&cursor)) else {
            return Err(not_found());
        };
        Ok(Held { kind, cursor, version })
    }

    pub(super) async fn advance(&self, id: &str, found: &Held, cursor: &Cursor) -> Result<bool, RpcError> {
        let cursor = cursor.write().map_err(|error| RpcError::internal(&error))?;
        let mut advance = self.advance.key(self.key(checked(id)?));
        advance.arg(found.version).arg(cursor);
        let moved: Result<i64, _> = advance.invoke_async(&mut self.connection()?).await;
        match moved {
            Ok(1) => Ok(true),
            Ok(0) => Ok(false),
            Ok(_) => Err(not_found()),
            // Nobody knows whether it was moved. To tell of something twice is better than never.
            Err(error) if is_unsure(&error) => {
                tracing::debug!(target: "quintet_gateway", %error, "a filter's cursor may not have moved");
                Ok(true)
            }
            Err(error) => Err(failed(&error)),
        }
    }

    pub(super) async fn uninstall(&self, id: &str) -> Result<bool, RpcError> {
        let Ok(id) = checked(id) else { return Ok(false) };
        let mut uninstall = self.uninstall.key(self.key(id));
        uninstall.key(&self.all).arg(id);
        let removed: Result<i64, _> = uninstall.invoke_async(&mut self.connection()?).await;
        Ok(removed.map_err(|error| failed(&error))? == 1)
    }
}

/// The id, if it is one that may have been given: what is no such number is part of no key.
fn checked(id: &str) -> Result<&str, RpcError> {
    let number = id.strip_prefix("0x").and_then(|digits| u128::from_str_radix(digits, 16).ok());
    number.filter(|number| format!("{number:#x}") == id).map(|_| id).ok_or_else(not_found)
}

fn expiry() -> u64 {
    u64::try_from(EXPIRY.as_millis()).unwrap_or(u64::MAX)
}

/// Whether a command that failed so may have been carried out.
fn is_unsure(error: &RedisError) -> bool {
    (error.is_timeout() || error.is_connection_dropped()) && !error.is_connection_refusal()
}

/// The error of a command that was not carried out.
fn failed(error: &RedisError) -> RpcError {
    tracing::debug!(target: "quintet_gateway", %error, "filters are not available");
    away()
}
