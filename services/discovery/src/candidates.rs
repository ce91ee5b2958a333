//! Nodes on their way from where they are found to those who want to dial them.
//!
//! What must hold: nobody who listens slowly costs memory or holds up the others. Each stream has a queue of its own;
//! what does not fit is dropped and counted, and found again later. Nobody looks for nodes while all queues are full.

use crate::forks::ForkCheck;
use alloy_primitives::B256;
use parking_lot::Mutex;
use quintet_discovery_api::Protocol;
use quintet_enode::{Enode, Record};
use std::collections::HashMap;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, mpsc};

/// Nodes that wait in a stream.
const QUEUE: usize = 64;
/// For how long a node is not given to one stream again.
const REST: Duration = Duration::from_secs(30);
/// Nodes that a stream remembers having been given.
const REMEMBERED: usize = 4096;
/// Streams at a time.
const MOST_STREAMS: usize = 256;
/// Between looks at queues that were full.
const POLL: Duration = Duration::from_millis(250);

/// A node that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where it is.
    pub enode: Enode,
    /// Its record, if it is known.
    pub record: Option<Record>,
    /// What found it.
    pub by: Protocol,
}

/// All streams.
#[derive(Debug, Default)]
pub struct Candidates {
    streams: Mutex<Vec<Stream>>,
    joined: Notify,
}

#[derive(Debug)]
struct Stream {
    check: Option<ForkCheck>,
    queue: mpsc::Sender<Found>,
    given: HashMap<B256, Instant>,
}

impl Candidates {
    /// A new stream, of nodes that pass `check`; `None` when there are too many.
    pub fn subscribe(&self, check: Option<ForkCheck>) -> Option<mpsc::Receiver<Found>> {
        let (queue, found) = mpsc::channel(QUEUE);
        let mut streams = self.streams.lock();
        streams.retain(|stream| !stream.queue.is_closed());
        if streams.len() >= MOST_STREAMS {
            return None;
        }
        streams.push(Stream { check, queue, given: HashMap::new() });
        drop(streams);
        self.joined.notify_waiters();
        Some(found)
    }

    /// Gives a node to all streams that want it.
    pub fn offer(&self, found: &Found, now: Instant) {
        if found.enode.tcp == 0 || found.enode.ip.is_unspecified() {
            return;
        }
        let mut streams = self.streams.lock();
        streams.retain(|stream| !stream.queue.is_closed());
        for stream in streams.iter_mut() {
            let outcome = stream.offer(found, now);
            metrics::counter!("quintet_discovery_candidates_total", "outcome" => outcome).increment(1);
        }
    }

    /// Whether any stream has room.
    pub fn are_wanted(&self) -> bool {
        self.streams.lock().iter().any(|stream| !stream.queue.is_closed() && stream.queue.capacity() > 0)
    }

    /// Waits until a stream has room.
    pub async fn wanted(&self) {
        while !self.are_wanted() {
            // Whichever comes first: a new stream, or room in one that was full.
            let _ = tokio::time::timeout(POLL, self.joined.notified()).await;
        }
    }
}

impl Stream {
    fn offer(&mut self, found: &Found, now: Instant) -> &'static str {
        if !self.check.as_ref().is_none_or(|check| passes(check, found)) {
            return "filtered";
        }
        if self.given.len() >= REMEMBERED {
            self.given.retain(|_, given| now.saturating_duration_since(*given) < REST);
        }
        let id = found.enode.node_id();
        if self.given.get(&id).is_some_and(|given| now.saturating_duration_since(*given) < REST) {
            return "repeated";
        }
        if self.queue.try_send(found.clone()).is_err() {
            return "dropped";
        }
        if self.given.len() < REMEMBERED {
            self.given.insert(id, now);
        }
        "given"
    }
}

/// Whether a node may be on our chain. Old nodes of discovery v4 say nothing of it, and are let through; those of v5
/// always have a record, and if it has no `eth` entry then they are of something else (beacon nodes, mostly).
fn passes(check: &ForkCheck, found: &Found) -> bool {
    match found.record.as_ref().and_then(Record::fork_id) {
        Some(fork_id) => check.allows(fork_id),
        None => found.by == Protocol::Discv4,
    }
}

#[cfg(test)]
mod tests {
    use super::{Candidates, Found, MOST_STREAMS, QUEUE, REST};
    use crate::forks::ForkCheck;
    use alloy_eip2124::{ForkHash, ForkId};
    use quintet_discovery_api::Protocol::{self, Discv4, Discv5};
    use quintet_enode::{Enode, NodeKey, RecordBuilder};
    use std::net::Ipv4Addr;
    use std::time::{Duration, Instant};

    const OURS: ForkId = ForkId { hash: ForkHash([1, 2, 3, 4]), next: 0 };
    const OTHER: ForkId = ForkId { hash: ForkHash([4, 3, 2, 1]), next: 0 };

    fn found(by: Protocol, fork_id: Option<ForkId>, with_record: bool) -> Found {
        let key = NodeKey::generate();
        let enode = Enode { public_key: key.public(), ip: Ipv4Addr::LOCALHOST.into(), tcp: 1, udp: 1 };
        let builder = RecordBuilder::new(1);
        let builder = fork_id.map_or(builder.clone(), |fork_id| builder.fork_id(fork_id));
        let record = with_record.then(|| builder.sign(&key).expect("a record"));
        Found { enode, record, by }
    }

    #[test]
    fn streams_are_given_what_they_asked_for() {
        let candidates = Candidates::default();
        let now = Instant::now();
        let mut all = candidates.subscribe(None).expect("a stream");
        let mut ours = candidates.subscribe(Some(ForkCheck::new(OURS, None))).expect("a stream");
        for (node, is_ours) in [
            (found(Discv4, Some(OURS), true), true),
            (found(Discv4, Some(OTHER), true), false),
            (found(Discv4, None, true), true),
            (found(Discv4, None, false), true),
            (found(Discv5, Some(OURS), true), true),
            (found(Discv5, Some(OTHER), true), false),
            (found(Discv5, None, true), false),
        ] {
            candidates.offer(&node, now);
            assert_eq!(all.try_recv().as_ref(), Ok(&node));
            assert_eq!(ours.try_recv().is_ok(), is_ours, "{node:?}");
        }
        // A node that nobody can dial.
        let mut node = found(Discv4, None, false);
        node.enode.tcp = 0;
        candidates.offer(&node, now);
        assert!(all.try_recv().is_err());
    }

    #[tokio::test]
    async fn a_full_queue_drops_and_wants_no_more() {
        let candidates = Candidates::default();
        let now = Instant::now();
        assert!(!candidates.are_wanted(), "nobody listens");
        let mut stream = candidates.subscribe(None).expect("a stream");
        let first = found(Protocol::Discv4, None, false);
        candidates.offer(&first, now);
        candidates.offer(&first, now);
        assert_eq!(stream.len(), 1, "not twice");
        for _ in 0..2 * QUEUE {
            candidates.offer(&found(Protocol::Discv4, None, false), now);
        }
        assert_eq!((stream.len(), candidates.are_wanted()), (QUEUE, false));
        assert_eq!(stream.recv().await, Some(first.clone()));
        tokio::time::timeout(Duration::from_secs(5), candidates.wanted()).await.expect("room");
        candidates.offer(&first, now + REST);
        assert_eq!(stream.len(), QUEUE);
        drop(stream);
        candidates.offer(&first, now + REST);
        assert!(!candidates.are_wanted() && candidates.streams.lock().is_empty());
        let streams: Vec<_> = (0..MOST_STREAMS).map(|_| candidates.subscribe(None)).collect();
        assert!(streams.iter().all(Option::is_some) && candidates.subscribe(None).is_none());
        drop(streams);
        assert!(candidates.subscribe(None).is_some());
    }
}
