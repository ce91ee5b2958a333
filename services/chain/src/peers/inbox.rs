//! The messages of one peer that wait to be looked at. What is to be served waits apart from the rest, so that an answer
//! to this node's own request does not stand behind the peer's.
//!
//! What must hold: a peer's messages are bounded in number and bytes, and all peers' together in bytes; what is beyond is
//! dropped, which costs the sender. A single message finds room always, so nobody is shut out by others.

use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::Notify;

/// Bytes that the messages of all peers together may take while they wait.
pub(crate) const ALL_BYTES: usize = 128 << 20;

/// Bytes that wait in all inboxes.
#[derive(Debug, Default)]
pub(crate) struct Budget(AtomicUsize);

/// One queue of a peer.
#[derive(Debug)]
pub(crate) struct Lane<T> {
    queue: Mutex<Queue<T>>,
    filled: Notify,
    most: usize,
    most_bytes: usize,
    budget: Arc<Budget>,
}

#[derive(Debug)]
struct Queue<T> {
    messages: VecDeque<(T, usize)>,
    bytes: usize,
    closed: bool,
}

impl<T> Lane<T> {
    /// A queue of at most `most` messages and `most_bytes` bytes.
    pub(crate) const fn new(most: usize, most_bytes: usize, budget: Arc<Budget>) -> Self {
        let queue = Queue { messages: VecDeque::new(), bytes: 0, closed: false };
        Self { queue: Mutex::new(queue), filled: Notify::const_new(), most, most_bytes, budget }
    }

    /// Adds a message of so many bytes; says whether there was room.
    pub(crate) fn push(&self, message: T, bytes: usize) -> bool {
        let mut queue = self.queue.lock();
        if queue.closed {
            return true;
        }
        let all = self.budget.0.load(Ordering::Relaxed);
        let full = queue.messages.len() >= self.most
            || queue.bytes.saturating_add(bytes) > self.most_bytes
            || all.saturating_add(bytes) > ALL_BYTES;
        if full && !queue.messages.is_empty() {
            return false;
        }
        queue.bytes = queue.bytes.saturating_add(bytes);
        self.budget.0.fetch_add(bytes, Ordering::Relaxed);
        queue.messages.push_back((message, bytes));
        drop(queue);
        self.filled.notify_one();
        true
    }

    /// The next message; `None` once the lane is closed. For one reader.
    pub(crate) async fn next(&self) -> Option<T> {
        loop {
            {
                let mut queue = self.queue.lock();
                if let Some((message, bytes)) = queue.messages.pop_front() {
                    queue.bytes = queue.bytes.saturating_sub(bytes);
                    self.budget.0.fetch_sub(bytes, Ordering::Relaxed);
                    return Some(message);
                }
                if queue.closed {
                    return None;
                }
            }
            self.filled.notified().await;
        }
    }

    /// The peer is gone: what waits is dropped.
    pub(crate) fn close(&self) {
        let mut queue = self.queue.lock();
        queue.closed = true;
        queue.messages.clear();
        self.budget.0.fetch_sub(queue.bytes, Ordering::Relaxed);
        queue.bytes = 0;
        drop(queue);
        self.filled.notify_one();
    }
}

impl<T> Drop for Lane<T> {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use super::{ALL_BYTES, Budget, Lane};
    use std::sync::Arc;
    use std::sync::atomic::Ordering;

    #[tokio::test]
    async fn a_peer_that_floods_loses_its_own_messages_only() {
        let budget = Arc::new(Budget::default());
        let (flood, other) =
            (Lane::new(4, usize::MAX, Arc::clone(&budget)), Lane::new(4, usize::MAX, Arc::clone(&budget)));
        assert!(flood.push(0, ALL_BYTES), "one has room always");
        assert!(!flood.push(1, 1), "all bytes are taken");
        assert!(other.push(2, 1) && !other.push(3, 1));
        assert_eq!(flood.next().await, Some(0));
        assert!(other.push(3, 1));
        assert_eq!((other.next().await, other.next().await), (Some(2), Some(3)));
        assert_eq!((0..9).filter(|n| flood.push(*n, 1)).count(), 4);
        flood.close();
        assert_eq!(flood.next().await, None);
        assert!(flood.push(9, 100), "nobody is blamed for what comes after the end");
        assert_eq!(budget.0.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn bytes_are_bounded() {
        let lane = Lane::new(100, 10, Arc::default());
        assert_eq!((0..9).filter(|n| lane.push(*n, 4)).count(), 2);
    }
}
