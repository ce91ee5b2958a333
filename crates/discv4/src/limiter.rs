//! How many packets an address may send: a bucket of tokens each, fewer for those that proved nothing.

use crate::recent::Recent;
use quintet_enode::{is_lan, subnet};
use std::net::IpAddr;
use std::time::Duration;

/// Addresses that are remembered; the flood of a new one forgets the quietest.
const TRACKED: usize = 16_384;
/// Owners of IPv6 addresses have this many bits of them.
const IPV6_SITE: u32 = 64;

/// Packets per second, and at once, from one address (IPv6: one /64). Local networks are not limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimits {
    /// From an address that never proved to receive what is sent to it.
    pub unproved: u32,
    /// From an address that did.
    pub proved: u32,
}

impl Default for RateLimits {
    /// A node that joins sends a ping and some questions; one that was met sends some each second at the most.
    fn default() -> Self {
        Self { unproved: 20, proved: 500 }
    }
}

/// Tokens are counted in thousandths.
const TOKEN: u64 = 1000;

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: u64,
    filled: Duration,
}

#[derive(Clone, Debug)]
pub(crate) struct Limiter {
    limits: RateLimits,
    buckets: Recent<IpAddr, Bucket>,
}

impl Limiter {
    pub(crate) fn new(limits: RateLimits) -> Self {
        Self { limits, buckets: Recent::new(TRACKED) }
    }

    /// Takes a packet's token; false when there is none.
    pub(crate) fn admit(&mut self, now: Duration, ip: IpAddr, proved: bool) -> bool {
        if is_lan(ip) {
            return true;
        }
        let rate = u64::from(if proved { self.limits.proved } else { self.limits.unproved });
        let full = rate.saturating_mul(TOKEN);
        let site = if ip.is_ipv6() { subnet(ip, IPV6_SITE) } else { ip };
        let (bucket, _) = self.buckets.touch(site, || Bucket { tokens: full, filled: now });
        let passed = u64::try_from(now.saturating_sub(bucket.filled).as_millis()).unwrap_or(u64::MAX);
        // One millisecond brings a thousandth of the rate: `rate` thousandths of a token.
        bucket.tokens = bucket.tokens.saturating_add(passed.saturating_mul(rate)).min(full);
        bucket.filled = now;
        let left = bucket.tokens.checked_sub(TOKEN);
        bucket.tokens = left.unwrap_or(bucket.tokens);
        left.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_fills_the_bucket() {
        let mut limiter = Limiter::new(RateLimits { unproved: 2, proved: 4 });
        let mut count = |millis: u64, ip: &str, proved: bool| {
            let (now, ip) = (Duration::from_millis(millis), ip.parse().unwrap());
            (0..10).filter(|_| limiter.admit(now, ip, proved)).count()
        };
        assert_eq!(count(0, "8.8.8.8", false), 2);
        assert_eq!(count(0, "8.8.4.4", false), 2);
        assert_eq!(count(499, "8.8.8.8", false), 0);
        assert_eq!(count(500, "8.8.8.8", false), 1);
        assert_eq!(count(10_000, "8.8.8.8", false), 2);
        assert_eq!(count(20_000, "8.8.8.8", true), 4);
        assert_eq!(count(0, "2600::1", false), 2);
        assert_eq!(count(0, "2600::2", false), 0, "one owner");
        assert_eq!(count(0, "192.168.1.1", false), 10);
    }
}
