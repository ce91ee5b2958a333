//! What a peer was asked for and has not answered yet. No clock and no IO: times are told, and what is to be done with
//! an answer is the caller's token.
//!
//! What must hold: an answer resolves the request with its id and kind, or costs the peer its reputation; one that comes
//! after its time-out is known as late for a while; a peer of `eth/63`, whose messages have no ids, is asked for one
//! thing of a kind at a time, also while an answer may still come late.

use super::rate::RequestKind;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// How long an answer after its time-out is not held against a peer.
pub(crate) const LATE_GRACE: Duration = Duration::from_secs(30);
/// Requests that one peer may have outstanding.
pub(crate) const MAX_OUTSTANDING: usize = 64;
/// Timed-out requests that are remembered.
const MAX_LATE: usize = 64;

#[derive(Debug)]
struct Waiting<T> {
    kind: RequestKind,
    most: usize,
    sent: Instant,
    token: T,
}

#[derive(Debug)]
struct Late {
    id: u64,
    kind: RequestKind,
    until: Instant,
}

/// Requests to one peer.
#[derive(Debug)]
pub(crate) struct Pending<T> {
    has_ids: bool,
    closed: bool,
    waiting: BTreeMap<u64, Waiting<T>>,
    late: VecDeque<Late>,
}

/// What an answer is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer<T> {
    /// The one asked for.
    Wanted {
        /// Whose it is.
        token: T,
        /// Since it was asked for.
        elapsed: Duration,
    },
    /// It was asked for, with more items than were asked for.
    TooMany {
        /// Whose it is.
        token: T,
        /// The most that were asked for.
        most: usize,
    },
    /// The request has the id, and asked for something else.
    WrongKind {
        /// Whose it is.
        token: T,
        /// What it asked for.
        asked: RequestKind,
    },
    /// The request has timed out.
    Late,
    /// Nobody asked for it.
    Unasked,
}

/// Whether an answer was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// Somebody waits for it, or for another one with its id.
    Wanted,
    /// Its request has timed out.
    Late,
    /// Nobody asked for it.
    Unasked,
}

impl<T> Pending<T> {
    /// Nothing is asked for. `has_ids`: whether the peer's version has request ids, as from `eth/66` on.
    pub(crate) const fn new(has_ids: bool) -> Self {
        Self { has_ids, closed: false, waiting: BTreeMap::new(), late: VecDeque::new() }
    }

    /// Whether something of the kind may be asked for now.
    pub(crate) fn is_free(&self, kind: RequestKind, now: Instant) -> bool {
        if self.closed {
            return false;
        }
        if self.has_ids || is_snap(kind) {
            return self.waiting.len() < MAX_OUTSTANDING;
        }
        let waits = self.waiting.values().any(|waiting| waiting.kind == kind);
        !waits && !self.late.iter().any(|late| late.kind == kind && late.until > now)
    }

    /// Notes a request for `most` items.
    pub(crate) fn begin(&mut self, id: u64, kind: RequestKind, most: usize, now: Instant, token: T) {
        self.waiting.insert(id, Waiting { kind, most, sent: now, token });
    }

    /// The request has timed out, or nobody waits for it any more.
    pub(crate) fn give_up(&mut self, id: u64, now: Instant) {
        let Some(given_up) = self.waiting.remove(&id) else { return };
        self.late.retain(|late| late.until > now);
        if self.late.len() == MAX_LATE {
            self.late.pop_front();
        }
        self.late.push_back(Late { id, kind: given_up.kind, until: now + LATE_GRACE });
    }

    /// An answer of `items` items came; `id` is the message's, where it has one.
    pub(crate) fn answer(
        &mut self,
        kind: RequestKind,
        id: Option<u64>,
        items: usize,
        now: Instant,
    ) -> Answer<T> {
        self.late.retain(|late| late.until > now);
        let matches = |at: u64, of: RequestKind| id.map_or(of == kind, |id| id == at);
        // Without ids the kind's late answer is due before the next one's.
        if let Some(place) = self.late.iter().position(|late| matches(late.id, late.kind)) {
            self.late.remove(place);
            return Answer::Late;
        }
        let found = self.waiting.iter().find(|(at, waiting)| matches(**at, waiting.kind));
        let Some(waiting) = found.map(|(at, _)| *at).and_then(|at| self.waiting.remove(&at)) else {
            return Answer::Unasked;
        };
        let Waiting { kind: asked, most, sent, token } = waiting;
        if asked != kind {
            return Answer::WrongKind { token, asked };
        }
        if items > most {
            return Answer::TooMany { token, most };
        }
        Answer::Wanted { token, elapsed: now.saturating_duration_since(sent) }
    }

    /// What an answer that came would be to [`Self::answer`], as far as it can be told before it is decoded.
    pub(crate) fn expects(&self, kind: RequestKind, id: Option<u64>, now: Instant) -> Expected {
        let matches = |at: u64, of: RequestKind| id.map_or(of == kind, |id| id == at);
        if self.late.iter().any(|late| late.until > now && matches(late.id, late.kind)) {
            Expected::Late
        } else if self.waiting.iter().any(|(at, waiting)| matches(*at, waiting.kind)) {
            Expected::Wanted
        } else {
            Expected::Unasked
        }
    }

    /// Whether the peer is gone.
    pub(crate) const fn is_closed(&self) -> bool {
        self.closed
    }

    /// The peer is gone: whoever waits is dropped.
    pub(crate) fn close(&mut self) {
        self.closed = true;
        self.waiting.clear();
        self.late.clear();
    }
}

const fn is_snap(kind: RequestKind) -> bool {
    use RequestKind as Kind;
    matches!(kind, Kind::AccountRange | Kind::StorageRanges | Kind::ByteCodes | Kind::TrieNodes)
}

#[cfg(test)]
mod tests {
    use super::{Answer, LATE_GRACE, MAX_OUTSTANDING, Pending};
    use crate::peers::rate::RequestKind as Kind;
    use std::time::{Duration, Instant};

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn answers_find_their_requests_by_id() {
        let now = Instant::now();
        let mut pending = Pending::new(true);
        pending.begin(1, Kind::Headers, 10, now, 'a');
        pending.begin(2, Kind::Headers, 10, now, 'b');
        pending.begin(3, Kind::Bodies, 10, now, 'c');
        let wanted = Answer::Wanted { token: 'b', elapsed: SECOND };
        assert_eq!(pending.answer(Kind::Headers, Some(2), 10, now + SECOND), wanted);
        assert_eq!(pending.answer(Kind::Headers, Some(2), 10, now + SECOND), Answer::Unasked);
        assert_eq!(pending.answer(Kind::Headers, Some(1), 11, now), Answer::TooMany { token: 'a', most: 10 });
        let wrong = Answer::WrongKind { token: 'c', asked: Kind::Bodies };
        assert_eq!(pending.answer(Kind::Receipts, Some(3), 1, now), wrong);
        assert_eq!(pending.answer(Kind::Bodies, Some(99), 1, now), Answer::Unasked);
    }

    #[test]
    fn late_answers_are_tolerated_for_a_while() {
        let now = Instant::now();
        let mut pending = Pending::new(true);
        for id in [1, 2] {
            pending.begin(id, Kind::Bodies, 1, now, ());
            pending.give_up(id, now);
        }
        assert_eq!(pending.answer(Kind::Bodies, Some(1), 1, now + SECOND), Answer::Late);
        assert_eq!(pending.answer(Kind::Bodies, Some(1), 1, now + SECOND), Answer::Unasked);
        assert_eq!(pending.answer(Kind::Bodies, Some(2), 1, now + LATE_GRACE), Answer::Unasked);
    }

    #[test]
    fn without_ids_there_is_one_of_a_kind() {
        let now = Instant::now();
        let mut pending = Pending::new(false);
        assert!(pending.is_free(Kind::Headers, now));
        pending.begin(1, Kind::Headers, 5, now, 'a');
        assert!(!pending.is_free(Kind::Headers, now) && pending.is_free(Kind::Bodies, now));
        pending.give_up(1, now);
        assert!(!pending.is_free(Kind::Headers, now), "its answer may still come");
        assert_eq!(pending.answer(Kind::Headers, None, 5, now), Answer::Late);
        assert!(pending.is_free(Kind::Headers, now));
        pending.begin(2, Kind::Headers, 5, now, 'b');
        assert_eq!(pending.answer(Kind::Bodies, None, 1, now), Answer::Unasked);
        let wanted = Answer::Wanted { token: 'b', elapsed: Duration::ZERO };
        assert_eq!(pending.answer(Kind::Headers, None, 5, now), wanted);
        pending.begin(3, Kind::Headers, 5, now, 'c');
        pending.give_up(3, now);
        assert!(pending.is_free(Kind::Headers, now + LATE_GRACE));
    }

    #[test]
    fn outstanding_requests_are_bounded() {
        let now = Instant::now();
        let mut pending = Pending::new(true);
        for id in 0..MAX_OUTSTANDING as u64 {
            assert!(pending.is_free(Kind::Bodies, now));
            pending.begin(id, Kind::Bodies, 1, now, ());
        }
        assert!(!pending.is_free(Kind::Headers, now));
        for id in 0..1000 {
            pending.begin(id, Kind::Bodies, 1, now, ());
            pending.give_up(id, now);
        }
        assert!(pending.late.len() <= super::MAX_LATE);
    }
}
