//! How fast peers answer: each one's throughput by kind of request, and the round trip of all, from which come the sizes
//! of requests and their time-outs. The estimates are those of geth's `msgrate`.
//!
//! No clock: times are told.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Share of a new measurement in an estimate.
const MEASUREMENT_IMPACT: f64 = 0.1;
/// A peer is asked for this much more than it is known to give, so that a better one is found out.
const OVERESTIMATION: f64 = 1.01;
/// The least round trip that is assumed.
const MIN_ROUND_TRIP: Duration = Duration::from_secs(2);
/// The longest round trip that is assumed.
const MAX_ROUND_TRIP: Duration = Duration::from_secs(20);
/// What is aimed at is this share of what was measured.
const PUSHDOWN: f64 = 0.9;
/// The least confidence in the round trip.
const MIN_CONFIDENCE: f64 = 0.1;
/// A request times out after this many round trips.
const TIMEOUT_SCALING: f64 = 3.0;
/// And no later than this.
const TIMEOUT_LIMIT: Duration = Duration::from_mins(1);
/// From this many peers on, one more does not shake the confidence.
const CONFIDENCE_PEERS: usize = 10;
/// Share of the peers' present round trips in the estimate.
const TUNING_IMPACT: f64 = 0.25;
/// What is asked for of a kind that neither the peer nor another one was asked for: as much as is little for any peer. geth
/// begins with one, which takes a far peer some round trips more.
const FIRST: usize = 8;
/// No request is for more than this.
const MAX_CAPACITY: f64 = 2_147_483_647.0;

/// What can be asked of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RequestKind {
    /// Block headers.
    Headers,
    /// Block bodies.
    Bodies,
    /// Receipts of blocks.
    Receipts,
    /// Trie nodes and codes by hash (eth/63–66).
    NodeData,
    /// Transactions of the pool.
    PooledTransactions,
    /// Accounts of a state (snap/1).
    AccountRange,
    /// Slots of accounts (snap/1).
    StorageRanges,
    /// Codes by hash (snap/1).
    ByteCodes,
    /// Trie nodes by path (snap/1).
    TrieNodes,
}

impl RequestKind {
    /// Its name, as metrics and reasons have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Headers => "headers",
            Self::Bodies => "bodies",
            Self::Receipts => "receipts",
            Self::NodeData => "node_data",
            Self::PooledTransactions => "pooled_transactions",
            Self::AccountRange => "account_range",
            Self::StorageRanges => "storage_ranges",
            Self::ByteCodes => "byte_codes",
            Self::TrieNodes => "trie_nodes",
        }
    }
}

/// One peer's estimates.
#[derive(Clone, Debug)]
pub(crate) struct Tracker {
    /// Items a second.
    capacity: BTreeMap<RequestKind, f64>,
    round_trip: Duration,
}

impl Tracker {
    /// Takes in a measurement: `items` that came `elapsed` after they were asked for. None at all (which a time-out
    /// is, too) says that the peer has nothing of the kind.
    pub(crate) fn update(&mut self, kind: RequestKind, elapsed: Duration, items: usize) {
        let capacity = self.capacity.entry(kind).or_default();
        if items == 0 {
            *capacity = 0.0;
            return;
        }
        let elapsed = elapsed.max(Duration::from_nanos(1));
        let measured = items as f64 / elapsed.as_secs_f64();
        *capacity = (1.0 - MEASUREMENT_IMPACT) * *capacity + MEASUREMENT_IMPACT * measured;
        self.round_trip = mix(self.round_trip, elapsed, MEASUREMENT_IMPACT);
    }

    /// How many items to ask for so that they are there after `target`. At least one.
    pub(crate) fn capacity(&self, kind: RequestKind, target: Duration) -> usize {
        let Some(measured) = self.capacity.get(&kind) else { return FIRST };
        let throughput = measured * target.as_secs_f64();
        let capacity = (1.0 + OVERESTIMATION * throughput).ceil();
        // Between 1 and i32::MAX by the clamp.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let capacity = capacity.clamp(1.0, MAX_CAPACITY) as usize;
        capacity
    }

    /// The mean time from a request to its answer.
    pub(crate) const fn round_trip(&self) -> Duration {
        self.round_trip
    }
}

/// What holds for all peers together.
#[derive(Clone, Debug)]
pub(crate) struct RoundTrip {
    estimate: Duration,
    /// Between [`MIN_CONFIDENCE`] and 1: how far the estimate is to be trusted.
    confidence: f64,
    tuned: Instant,
}

impl RoundTrip {
    /// Nothing is known yet.
    pub(crate) const fn new(now: Instant) -> Self {
        Self { estimate: MAX_ROUND_TRIP, confidence: 1.0, tuned: now }
    }

    /// The estimates that a new peer begins with: the mean of the others'. `others` does not contain it.
    pub(crate) fn join(&mut self, others: &[Tracker]) -> Tracker {
        let peers = others.len() + 1;
        if peers == 1 {
            self.confidence = 1.0;
        } else if peers < CONFIDENCE_PEERS {
            let share = (peers - 1) as f64 / peers as f64;
            self.confidence = (self.confidence * share).max(MIN_CONFIDENCE);
        }
        let mut capacity: BTreeMap<RequestKind, f64> = BTreeMap::new();
        for (kind, items) in others.iter().flat_map(|tracker| &tracker.capacity) {
            *capacity.entry(*kind).or_default() += items / others.len() as f64;
        }
        Tracker { capacity, round_trip: typical(others.iter().map(Tracker::round_trip)) }
    }

    /// The time that a request should take.
    pub(crate) fn target(&self) -> Duration {
        self.estimate.mul_f64(PUSHDOWN)
    }

    /// After how long a request has failed.
    pub(crate) fn timeout(&self) -> Duration {
        self.estimate.mul_f64(TIMEOUT_SCALING / self.confidence).min(TIMEOUT_LIMIT)
    }

    /// Follows the peers, once in each round trip; call it as often as you like.
    pub(crate) fn tune(&mut self, now: Instant, round_trips: impl Iterator<Item = Duration>) {
        if now.saturating_duration_since(self.tuned) < self.estimate {
            return;
        }
        self.estimate = mix(self.estimate, typical(round_trips), TUNING_IMPACT);
        self.confidence += (1.0 - self.confidence) / 2.0;
        self.tuned = now;
    }
}

/// The round trip of the fast ones among the peers: in order, the one at the square root of their number.
fn typical(round_trips: impl Iterator<Item = Duration>) -> Duration {
    let mut round_trips: Vec<Duration> = round_trips.collect();
    round_trips.sort_unstable();
    let chosen = round_trips.get(round_trips.len().isqrt()).or(round_trips.last()).copied();
    chosen.map_or(MAX_ROUND_TRIP, |chosen| chosen.clamp(MIN_ROUND_TRIP, MAX_ROUND_TRIP))
}

fn mix(old: Duration, new: Duration, share: f64) -> Duration {
    old.mul_f64(1.0 - share) + new.mul_f64(share)
}

#[cfg(test)]
mod tests {
    use super::{RequestKind, RoundTrip, Tracker};
    use std::time::{Duration, Instant};

    const SECOND: Duration = Duration::from_secs(1);

    fn tracker() -> Tracker {
        RoundTrip::new(Instant::now()).join(&[])
    }

    #[test]
    fn capacity_follows_what_a_peer_gives() {
        let mut tracker = tracker();
        let kind = RequestKind::Headers;
        assert_eq!(tracker.capacity(kind, SECOND), super::FIRST);
        let mut last = super::FIRST;
        for _ in 0..100 {
            tracker.update(kind, SECOND, 200);
            let now = tracker.capacity(kind, SECOND);
            assert!(now >= last);
            last = now;
        }
        assert!((195..=205).contains(&last), "{last}");
        assert_eq!(tracker.capacity(RequestKind::Bodies, SECOND), super::FIRST);
        tracker.update(kind, SECOND, 0);
        assert_eq!(tracker.capacity(kind, SECOND), 1);
    }

    #[test]
    fn timeouts_shrink_with_the_round_trip_and_grow_with_doubt() {
        let start = Instant::now();
        let mut all = RoundTrip::new(start);
        let mut peer = all.join(&[]);
        assert_eq!(all.timeout(), Duration::from_mins(1));
        let mut now = start;
        for _ in 0..200 {
            peer.update(RequestKind::Headers, Duration::from_millis(50), 10);
            now += Duration::from_secs(21);
            all.tune(now, std::iter::once(peer.round_trip()));
        }
        let sure = all.timeout();
        assert!(sure >= Duration::from_secs(6) && sure < Duration::from_secs(7), "{sure:?}");
        assert!(all.target() < Duration::from_secs(2));
        let joined = all.join(&[peer.clone()]);
        assert!(all.timeout() > sure);
        assert_eq!(
            joined.capacity(RequestKind::Headers, SECOND),
            peer.capacity(RequestKind::Headers, SECOND)
        );
    }

    #[test]
    fn tuning_waits_for_a_round_trip() {
        let start = Instant::now();
        let mut all = RoundTrip::new(start);
        all.tune(start + SECOND, std::iter::once(SECOND));
        assert_eq!(all.timeout(), Duration::from_mins(1));
        all.tune(start + 21 * SECOND, std::iter::once(SECOND));
        assert!(all.timeout() < Duration::from_mins(1));
    }
}
