//! What the node's address is, from what others say they see: geth's `netutil.IPTracker`.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// Hosts that must agree.
const AGREEING: usize = 10;
/// How long a host's statement counts.
const WINDOW: Duration = Duration::from_mins(5);
/// Hosts whose statements are kept.
const MOST_HOSTS: usize = 512;

/// Statements of other hosts about our address. Each host has one vote, however many nodes it runs.
#[derive(Debug, Default)]
pub(crate) struct EndpointTracker {
    statements: HashMap<IpAddr, (SocketAddr, Instant)>,
}

impl EndpointTracker {
    /// Takes note that `host` sees us at `endpoint`.
    pub(crate) fn state(&mut self, host: IpAddr, endpoint: SocketAddr, now: Instant) {
        if self.statements.len() >= MOST_HOSTS && !self.statements.contains_key(&host) {
            self.forget(now);
            let oldest = self.statements.iter().min_by_key(|(_, (_, at))| *at).map(|(host, _)| *host);
            if let Some(oldest) = oldest.filter(|_| self.statements.len() >= MOST_HOSTS) {
                self.statements.remove(&oldest);
            }
        }
        self.statements.insert(host, (endpoint, now));
    }

    /// The endpoint of one kind of address (IPv4 or IPv6) that most hosts see, if they are enough.
    pub(crate) fn predict(&mut self, is_ipv4: bool, now: Instant) -> Option<SocketAddr> {
        self.forget(now);
        let mut counts: HashMap<SocketAddr, usize> = HashMap::new();
        for (endpoint, _) in self.statements.values().filter(|(endpoint, _)| endpoint.is_ipv4() == is_ipv4) {
            let count = counts.entry(*endpoint).or_default();
            *count = count.saturating_add(1);
        }
        // Of equally many, always the same one.
        let best = counts.into_iter().max_by_key(|(endpoint, count)| (*count, *endpoint));
        best.filter(|(_, count)| *count >= AGREEING).map(|(endpoint, _)| endpoint)
    }

    fn forget(&mut self, now: Instant) {
        self.statements.retain(|_, (_, at)| now.saturating_duration_since(*at) < WINDOW);
    }
}

#[cfg(test)]
mod tests {
    use super::{AGREEING, EndpointTracker, MOST_HOSTS, WINDOW};
    use std::net::{IpAddr, Ipv4Addr, SocketAddr};
    use std::time::Instant;

    fn host(index: usize) -> IpAddr {
        Ipv4Addr::from_bits(0x0a00_0000 + u32::try_from(index).expect("small")).into()
    }

    fn endpoint(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn enough_hosts_must_agree() {
        let (mut tracker, now) = (EndpointTracker::default(), Instant::now());
        let (ours, other) = (endpoint("1.2.3.4:30303"), endpoint("4.3.2.1:30303"));
        for _ in 0..100 {
            tracker.state(host(0), ours, now);
        }
        assert_eq!(tracker.predict(true, now), None, "one host has one vote");
        (0..AGREEING).for_each(|index| tracker.state(host(index), ours, now));
        assert_eq!(tracker.predict(true, now), Some(ours));
        assert_eq!(tracker.predict(false, now), None);
        // More of them see another, later.
        (20..21 + AGREEING).for_each(|index| tracker.state(host(index), other, now));
        assert_eq!(tracker.predict(true, now), Some(other));
        // A host that changes its mind changes its vote.
        (20..22).for_each(|index| tracker.state(host(index), ours, now));
        assert_eq!(tracker.predict(true, now), Some(ours));
    }

    #[test]
    fn statements_age_and_are_bounded() {
        let (mut tracker, now) = (EndpointTracker::default(), Instant::now());
        let v6 = endpoint("[2001:db8::1]:30303");
        (0..AGREEING).for_each(|index| tracker.state(host(index), v6, now));
        assert_eq!(tracker.predict(false, now + WINDOW / 2), Some(v6));
        assert_eq!(tracker.predict(false, now + WINDOW), None);
        (0..2 * MOST_HOSTS).for_each(|index| tracker.state(host(index), v6, now));
        assert_eq!(tracker.statements.len(), MOST_HOSTS);
    }
}
