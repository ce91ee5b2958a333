//! What each peer is busy with in a sync, and how it did. No IO: times are told.

use super::network::{Kind, PeerId, RequestError};
use alloy_primitives::map::B256Map;
use std::time::Duration;
use tokio::time::Instant;

/// Requests of a kind that one peer has at a time.
const IN_FLIGHT: usize = 2;
/// A peer whose requests timed out so often, one after the other, is not asked again.
const MOST_STRIKES: u32 = 3;
/// A peer that had nothing of a kind so often, one after the other, is left in peace with it for [`REST`].
const MOST_EMPTY: u32 = 3;
const REST: Duration = Duration::from_secs(10);

/// The peers of a sync.
#[derive(Debug, Default)]
pub(crate) struct Slots(B256Map<Slot>);

#[derive(Debug, Default)]
struct Slot {
    headers: Lane,
    bodies: Lane,
    receipts: Lane,
    state: Lane,
    strikes: u32,
    excluded: bool,
}

/// One kind of request.
#[derive(Debug, Default)]
struct Lane {
    asked: usize,
    empty: u32,
    rests_until: Option<Instant>,
}

impl Lane {
    fn rests(&self, now: Instant) -> bool {
        self.rests_until.is_some_and(|until| now < until)
    }
}

impl Slot {
    const fn lane(&mut self, kind: Kind) -> &mut Lane {
        match kind {
            Kind::Headers => &mut self.headers,
            Kind::Bodies => &mut self.bodies,
            Kind::Receipts => &mut self.receipts,
            Kind::State => &mut self.state,
        }
    }

    fn is_busy(&self) -> bool {
        self.lanes().iter().any(|lane| lane.asked > 0)
    }

    const fn lanes(&self) -> [&Lane; 4] {
        [&self.headers, &self.bodies, &self.receipts, &self.state]
    }
}

/// What a failed request means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strike {
    /// The peer may be asked again.
    Excused,
    /// It was silent too often.
    Stalling,
    /// It is not asked again.
    Excluded,
}

impl Slots {
    /// No peers yet, but those that were silent before.
    pub(crate) fn new(doubtful: Vec<PeerId>) -> Self {
        let silent = |peer| (peer, Slot { strikes: 1, ..Slot::default() });
        Self(doubtful.into_iter().map(silent).collect())
    }

    fn slot(&mut self, peer: PeerId) -> &mut Slot {
        self.0.entry(peer).or_default()
    }

    /// How often the peer was silent, one request after the other.
    pub(crate) fn strikes(&self, peer: PeerId) -> u32 {
        self.0.get(&peer).map_or(0, |slot| slot.strikes)
    }

    pub(crate) fn is_excluded(&self, peer: PeerId) -> bool {
        self.0.get(&peer).is_some_and(|slot| slot.excluded)
    }

    /// How many more requests of a kind the peer may have now. Who was silent has one at a time.
    pub(crate) fn free(&mut self, peer: PeerId, kind: Kind, now: Instant) -> usize {
        let slot = self.slot(peer);
        let most = if slot.strikes > 0 { 1 } else { IN_FLIGHT };
        let excluded = slot.excluded;
        let lane = slot.lane(kind);
        if excluded || lane.rests(now) { 0 } else { most.saturating_sub(lane.asked) }
    }

    /// Whether the peer is asked for something.
    pub(crate) fn is_busy(&self, peer: PeerId) -> bool {
        self.0.get(&peer).is_some_and(Slot::is_busy)
    }

    /// Forgets peers that are gone, once nothing of theirs is under way.
    pub(crate) fn retain(&mut self, peers: &[PeerId]) {
        self.0.retain(|peer, slot| slot.is_busy() || peers.contains(peer));
    }

    /// Whether some peer is not asked again.
    pub(crate) fn is_any_excluded(&self) -> bool {
        self.0.values().any(|slot| slot.excluded)
    }

    /// Whether some peer is left in peace for the moment.
    pub(crate) fn is_any_resting(&self, now: Instant) -> bool {
        self.0.values().any(|slot| slot.lanes().iter().any(|lane| lane.rests(now)))
    }

    /// A request was sent.
    pub(crate) fn ask(&mut self, peer: PeerId, kind: Kind) {
        let lane = self.slot(peer).lane(kind);
        lane.asked = lane.asked.saturating_add(1);
    }

    /// A request has ended.
    pub(crate) fn end(&mut self, peer: PeerId, kind: Kind) {
        let lane = self.slot(peer).lane(kind);
        lane.asked = lane.asked.saturating_sub(1);
    }

    /// The peer answered, whatever it was.
    pub(crate) fn answered(&mut self, peer: PeerId) {
        self.slot(peer).strikes = 0;
    }

    /// It gave what was asked for.
    pub(crate) fn gave(&mut self, peer: PeerId, kind: Kind) {
        self.slot(peer).lane(kind).empty = 0;
    }

    /// It had nothing.
    pub(crate) fn lacked(&mut self, peer: PeerId, kind: Kind, now: Instant) {
        let lane = self.slot(peer).lane(kind);
        lane.empty = lane.empty.saturating_add(1);
        if lane.empty >= MOST_EMPTY {
            (lane.empty, lane.rests_until) = (0, Some(now + REST));
        }
    }

    /// A request brought nothing.
    pub(crate) fn strike(&mut self, peer: PeerId, error: &RequestError) -> Strike {
        let slot = self.slot(peer);
        match error {
            RequestError::Timeout => slot.strikes = slot.strikes.saturating_add(1),
            RequestError::Gone | RequestError::Malformed(_) => slot.excluded = true,
        }
        if slot.strikes >= MOST_STRIKES {
            Strike::Stalling
        } else if slot.excluded {
            Strike::Excluded
        } else {
            Strike::Excused
        }
    }

    /// The peer is not asked again. Says whether that is new.
    pub(crate) fn exclude(&mut self, peer: PeerId) -> bool {
        !std::mem::replace(&mut self.slot(peer).excluded, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: PeerId = PeerId::repeat_byte(1);

    #[tokio::test]
    async fn who_lacks_one_kind_rests_with_that_alone() {
        let (mut slots, now) = (Slots::default(), Instant::now());
        for _ in 0..MOST_EMPTY {
            assert_eq!(slots.free(PEER, Kind::Receipts, now), IN_FLIGHT);
            slots.lacked(PEER, Kind::Receipts, now);
        }
        assert_eq!(slots.free(PEER, Kind::Receipts, now), 0);
        assert_eq!(slots.free(PEER, Kind::Bodies, now), IN_FLIGHT);
        assert!(slots.is_any_resting(now));
        assert_eq!(slots.free(PEER, Kind::Receipts, now + REST), IN_FLIGHT);
    }

    #[tokio::test]
    async fn who_is_silent_has_one_request_at_a_time_and_then_none() {
        let (mut slots, now) = (Slots::new(vec![PEER]), Instant::now());
        assert_eq!((slots.strikes(PEER), slots.free(PEER, Kind::Bodies, now)), (1, 1));
        slots.ask(PEER, Kind::Bodies);
        assert_eq!(slots.free(PEER, Kind::Bodies, now), 0);
        slots.end(PEER, Kind::Bodies);
        assert_eq!(slots.strike(PEER, &RequestError::Timeout), Strike::Excused);
        slots.answered(PEER);
        assert_eq!(slots.free(PEER, Kind::Bodies, now), IN_FLIGHT);
        assert_eq!(slots.strike(PEER, &RequestError::Gone), Strike::Excluded);
        assert!(slots.is_excluded(PEER) && !slots.exclude(PEER));
        assert_eq!(slots.free(PEER, Kind::Bodies, now), 0);
    }
}
