//! An announced transaction.

use super::{Meta, PeerId};
use alloy_primitives::map::B256Map;
use std::time::Instant;

/// Where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It may yet be broadcast.
    Waiting(Instant),
    /// It is to be asked of one of its announcers.
    Queued,
    /// It was asked of this peer.
    Fetching(PeerId),
}

/// What one peer said.
#[derive(Clone, Copy, Debug)]
pub(super) struct Said {
    /// Its place among the peer's announcements.
    pub(super) place: u64,
    /// What it is, as the peer says.
    pub(super) meta: Option<Meta>,
}

/// An announced transaction.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) state: State,
    pub(super) announcers: B256Map<Said>,
}

impl Entry {
    pub(super) fn new(now: Instant) -> Self {
        Self { state: State::Waiting(now), announcers: B256Map::default() }
    }

    /// Adds an announcer; `false` if it is one already.
    pub(super) fn add(&mut self, peer: PeerId, place: u64, meta: Option<Meta>) -> bool {
        if self.announcers.contains_key(&peer) {
            return false;
        }
        self.announcers.insert(peer, Said { place, meta });
        true
    }
}
