//! Tokens that Redis lends to a replica, so that a busy client costs it about ten round trips a second and not one a
//! request.
//!
//! A replica borrows one request's worth at first, and twice as much each time that was used up at once, up to a tenth
//! of a second's flow. What is lent is taken out of the shared bucket, so no two replicas spend the same token; what a
//! client does not use is lost to it.

use super::bucket::Rate;
use quintet_redis::{Keyspace, Redis};
use redis::Script;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long a lease should last a busy client; one that lasts longer is made smaller the next time.
const BUSY: Duration = Duration::from_millis(100);
/// What is not used after this long is lost.
const EXPIRY: Duration = Duration::from_secs(1);
/// How long a refusal is repeated without asking again.
const LONGEST_REFUSAL: Duration = Duration::from_millis(100);
/// How long Redis may take to answer.
const DEADLINE: Duration = Duration::from_millis(250);
/// How long Redis is not asked after it did not answer.
const PAUSE: Duration = Duration::from_secs(1);

/// The bucket of `super::bucket`, in Redis. Numbers are written as text of full length: Lua's own has 14 digits.
const BORROW: &str = r"
local rate, burst, cost, wanted = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local held = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local tokens, at = tonumber(held[1]) or burst, tonumber(held[2]) or now
tokens = math.min(burst, tokens + math.max(0, now - at) * rate / 1000000)
local needed = math.min(cost, burst)
if tokens + 0.000001 < needed then
    return {0, math.ceil((needed - tokens) / rate * 1000000)}
end
local granted = math.max(cost, math.min(wanted, math.floor(tokens)))
tokens = tokens - granted
redis.call('HSET', KEYS[1], 'tokens', string.format('%.9f', tokens), 'at', string.format('%.0f', math.max(now, at)))
redis.call('PEXPIRE', KEYS[1], math.min(math.ceil((burst - tokens) / rate * 1000) + 1000, 604800000))
return {granted, 0}
";

/// What a replica holds of a client's tokens.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lease {
    tokens: u64,
    lent_at: Duration,
    /// How much was asked for the last time.
    chunk: u64,
    denied_until: Duration,
}

impl Lease {
    /// Takes `cost` of what is held, or repeats a refusal; `None` when Redis has to be asked.
    pub(super) fn take(&mut self, cost: u32, now: Duration) -> Option<Result<(), Duration>> {
        let refused = self.denied_until.saturating_sub(now);
        if !refused.is_zero() {
            return Some(Err(refused));
        }
        let held = if now < self.lent_at + EXPIRY { self.tokens } else { 0 };
        self.tokens = held.checked_sub(u64::from(cost))?;
        Some(Ok(()))
    }

    /// How much to ask for.
    pub(super) fn wanted(&mut self, rate: &Rate, cost: u32, now: Duration) -> u64 {
        let busy = now.saturating_sub(self.lent_at) < BUSY;
        let most = whole(rate.per_second * BUSY.as_secs_f64()).max(1);
        self.chunk = if busy { self.chunk * 2 } else { self.chunk / 2 }.clamp(1, most);
        self.chunk.max(u64::from(cost))
    }

    pub(super) fn lent(&mut self, tokens: u64, now: Duration) {
        let left = if now < self.lent_at + EXPIRY { self.tokens } else { 0 };
        self.tokens = left + tokens;
        self.lent_at = now;
    }

    pub(super) fn denied(&mut self, wait: Duration, now: Duration) {
        self.denied_until = now + wait.min(LONGEST_REFUSAL);
    }
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturates, and rates are positive"
)]
const fn whole(tokens: f64) -> u64 {
    tokens as u64
}

/// What Redis said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// So many tokens are lent, at least as many as the request costs.
    Granted(u64),
    /// There are not enough; in so long there will be.
    Denied(Duration),
}

/// Where tokens are borrowed.
pub(super) struct Leases {
    redis: Redis,
    keyspace: Keyspace,
    script: Script,
    /// Milliseconds since the start until which Redis is not asked.
    away_until: AtomicU64,
}

impl Leases {
    pub(super) fn new(redis: Redis, keyspace: Keyspace) -> Self {
        Self { redis, keyspace, script: Script::new(BORROW), away_until: AtomicU64::new(0) }
    }

    /// Borrows up to `wanted` tokens, at least `cost`; `None` while Redis is away.
    pub(super) async fn borrow(
        &self,
        client: &str,
        rate: &Rate,
        cost: u32,
        wanted: u64,
        started: Instant,
    ) -> Option<Answer> {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        if millis(started.elapsed()) < self.away_until.load(Ordering::Relaxed) {
            return None;
        }
        let asked = tokio::time::timeout(DEADLINE, self.ask(client, rate, cost, wanted)).await;
        let error = match asked {
            Ok(Ok((0, wait))) => return Some(Answer::Denied(Duration::from_micros(wait))),
            Ok(Ok((granted, _))) => return Some(Answer::Granted(granted)),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {DEADLINE:?}"),
        };
        let until = millis(started.elapsed() + PAUSE);
        // Said once for each time that Redis is found to be away.
        if self.away_until.swap(until, Ordering::Relaxed) == 0 {
            tracing::warn!(target: "quintet_gateway", %error, "Redis is away: each replica counts rate limits alone");
        }
        None
    }

    async fn ask(
        &self,
        client: &str,
        rate: &Rate,
        cost: u32,
        wanted: u64,
    ) -> Result<(u64, u64), redis::RedisError> {
        let mut connection = self.redis.commands()?;
        let mut script = self.script.key(self.keyspace.key(format_args!("limit:{client}")));
        script.arg(rate.per_second).arg(rate.burst).arg(cost).arg(wanted);
        let answer = script.invoke_async(&mut connection).await?;
        if self.away_until.swap(0, Ordering::Relaxed) != 0 {
            tracing::info!(target: "quintet_gateway", "Redis is back: replicas count rate limits together");
        }
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_second: 1000.0, burst: 100.0 };

    #[test]
    fn busy_clients_borrow_more_and_idle_ones_less() {
        let mut lease = Lease::default();
        let at = Duration::from_millis;
        assert_eq!(lease.take(1, at(1000)), None);
        let mut wanted = Vec::new();
        for step in 0..9 {
            let now = at(1000 + step);
            wanted.push(lease.wanted(&RATE, 1, now));
            lease.lent(0, now);
        }
        assert_eq!(wanted, [1, 2, 4, 8, 16, 32, 64, 100, 100]);
        assert_eq!(lease.wanted(&RATE, 1, at(5000)), 50);
        assert_eq!(lease.wanted(&RATE, 70, at(5001)), 70);
    }

    #[test]
    fn what_is_lent_is_spent_once_and_not_for_ever() {
        let at = Duration::from_millis;
        let mut lease = Lease::default();
        lease.lent(3, at(10));
        assert_eq!(lease.take(2, at(20)), Some(Ok(())));
        assert_eq!(lease.take(2, at(20)), None);
        assert_eq!(lease.take(1, at(20)), Some(Ok(())));
        lease.lent(3, at(30));
        assert_eq!(lease.take(1, at(1031)), None);
        lease.denied(at(5000), at(2000));
        assert_eq!(lease.take(1, at(2040)), Some(Err(at(60))));
        assert_eq!(lease.take(1, at(2100)), None);
    }
}
