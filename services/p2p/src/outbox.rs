//! What waits to be sent to one peer.
//!
//! What must hold: its size is bounded by bytes. Announcements are dropped when the peer is slow; requests and answers are
//! not, but a peer that lets too much pile up while it asks for more is one to part from. Pongs do not pile up at all.

use bytes::Bytes;
use parking_lot::Mutex;
use quintet_rlpx::DisconnectReason;
use std::collections::VecDeque;
use tokio::sync::Notify;

/// What a message takes beside its payload.
const OVERHEAD: usize = 128;
/// Pongs that are owed at most: whoever pings faster than it reads gets fewer.
const MOST_PONGS: u8 = 4;

/// A message on its way to a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outgoing {
    /// Its code, with the offset of its capability.
    pub(crate) code: u64,
    /// Its payload.
    pub(crate) payload: Bytes,
    /// Whether the peer can do without it.
    pub(crate) droppable: bool,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// It waits to be sent.
    Queued,
    /// It is gone: the peer is too slow for announcements.
    Dropped,
    /// It is gone, and so should the peer be.
    Overflow,
    /// The session is at its end.
    Closed,
}

/// The queue of one peer.
#[derive(Debug)]
pub(crate) struct Outbox {
    /// Above this, announcements are dropped.
    soft: usize,
    /// Above this, nothing is taken.
    hard: usize,
    state: Mutex<State>,
    /// There is something to send, or the end.
    filled: Notify,
    /// There is less to send.
    drained: Notify,
    /// It is the end.
    closed: Notify,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Outgoing>,
    bytes: usize,
    pongs: u8,
    closed: Option<DisconnectReason>,
}

/// What the writer does next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Answer a ping.
    Pong,
    /// Send a message.
    Message(Outgoing),
    /// Say farewell.
    Close(DisconnectReason),
}

impl Outbox {
    /// An empty one. Announcements are taken up to `soft` bytes, everything else up to `hard`.
    pub(crate) fn new(soft: usize, hard: usize) -> Self {
        Self {
            soft,
            hard,
            state: Mutex::default(),
            filled: Notify::new(),
            drained: Notify::new(),
            closed: Notify::new(),
        }
    }

    /// Adds a message.
    pub(crate) fn push(&self, message: Outgoing) -> Pushed {
        let mut state = self.state.lock();
        if state.closed.is_some() {
            return Pushed::Closed;
        }
        let bytes = state.bytes.saturating_add(message.payload.len()).saturating_add(OVERHEAD);
        if message.droppable && bytes > self.soft {
            return Pushed::Dropped;
        }
        if bytes > self.hard {
            return Pushed::Overflow;
        }
        state.bytes = bytes;
        state.queue.push_back(message);
        drop(state);
        self.filled.notify_one();
        Pushed::Queued
    }

    /// A ping came.
    pub(crate) fn pong(&self) {
        let mut state = self.state.lock();
        state.pongs = state.pongs.saturating_add(1).min(MOST_PONGS);
        drop(state);
        self.filled.notify_one();
    }

    /// Ends the session; only the first reason counts.
    pub(crate) fn close(&self, reason: DisconnectReason) {
        self.state.lock().closed.get_or_insert(reason);
        self.filled.notify_one();
        self.drained.notify_one();
        self.closed.notify_one();
    }

    /// Waits for the end. For one caller.
    pub(crate) async fn closed(&self) -> DisconnectReason {
        loop {
            let closed = self.state.lock().closed;
            match closed {
                Some(reason) => return reason,
                None => self.closed.notified().await,
            }
        }
    }

    /// What is to be done, if there is anything.
    pub(crate) fn try_next(&self) -> Option<Next> {
        let mut state = self.state.lock();
        if let Some(reason) = state.closed {
            return Some(Next::Close(reason));
        }
        if state.pongs > 0 {
            state.pongs = state.pongs.saturating_sub(1);
            return Some(Next::Pong);
        }
        let message = state.queue.pop_front()?;
        state.bytes = state.bytes.saturating_sub(message.payload.len().saturating_add(OVERHEAD));
        if state.queue.is_empty() {
            // A burst must not be remembered in memory.
            state.queue.shrink_to(16);
        }
        drop(state);
        self.drained.notify_one();
        Some(Next::Message(message))
    }

    /// Waits for something to do. For one caller.
    pub(crate) async fn next(&self) -> Next {
        loop {
            if let Some(next) = self.try_next() {
                return next;
            }
            self.filled.notified().await;
        }
    }

    /// Waits until announcements would be taken again, or the end. For one caller.
    pub(crate) async fn has_room(&self) {
        while self.is_over() {
            self.drained.notified().await;
        }
    }

    /// Whether more waits than announcements may add to.
    pub(crate) fn is_over(&self) -> bool {
        let state = self.state.lock();
        state.bytes > self.soft && state.closed.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::{Next, OVERHEAD, Outbox, Outgoing, Pushed};
    use futures::FutureExt;
    use quintet_rlpx::DisconnectReason;

    fn message(size: usize, droppable: bool) -> Outgoing {
        Outgoing { code: 16, payload: vec![0; size].into(), droppable }
    }

    #[test]
    fn announcements_are_dropped_first_and_the_rest_is_bounded() {
        let outbox = Outbox::new(1000, 3000);
        assert_eq!(outbox.push(message(800, true)), Pushed::Queued);
        assert_eq!(outbox.push(message(800, true)), Pushed::Dropped);
        assert!(!outbox.is_over());
        assert_eq!(outbox.push(message(800, false)), Pushed::Queued);
        assert!(outbox.is_over() && outbox.has_room().now_or_never().is_none());
        assert_eq!(outbox.push(message(3000 - 2 * (800 + OVERHEAD), false)), Pushed::Overflow);
        assert_eq!(outbox.next().now_or_never(), Some(Next::Message(message(800, true))));
        assert!(outbox.has_room().now_or_never().is_some());
        assert_eq!(outbox.next().now_or_never(), Some(Next::Message(message(800, false))));
        assert_eq!(outbox.state.lock().bytes, 0);
        assert!(outbox.next().now_or_never().is_none());
    }

    #[test]
    fn pongs_go_first_and_do_not_pile_up() {
        let outbox = Outbox::new(1000, 3000);
        outbox.push(message(1, false));
        (0..100).for_each(|_| outbox.pong());
        let pongs = std::iter::from_fn(|| outbox.try_next()).take_while(|next| *next == Next::Pong).count();
        assert_eq!(pongs, 4);
        outbox.push(message(1, false));
        assert_eq!(outbox.closed().now_or_never(), None);
        outbox.close(DisconnectReason::UselessPeer);
        outbox.close(DisconnectReason::Requested);
        assert_eq!(outbox.try_next(), Some(Next::Close(DisconnectReason::UselessPeer)));
        assert_eq!(outbox.push(message(1, false)), Pushed::Closed);
        assert_eq!(outbox.closed().now_or_never(), Some(DisconnectReason::UselessPeer));
    }
}
