//! The threads that do the arithmetic of packets.

use super::{Core, canonical, drain, now};
use quintet_discv4::{Rejected, decode};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

/// Packets that wait for a worker: some megabyte, and at most a tenth of a second's work.
const QUEUE: usize = 1024;
/// More workers than this would wait for each other at the engine.
const MOST_WORKERS: usize = 8;

type Job = (SocketAddr, Vec<u8>);

/// The workers' queues. Workers end when it is dropped.
pub(super) struct Queues {
    queues: Vec<SyncSender<Job>>,
    /// Which queue an address's packets go to cannot be chosen from outside.
    hasher: RandomState,
}

impl Queues {
    /// Starts the workers, one per processor.
    pub(super) fn start(core: &Arc<Core>) -> io::Result<Self> {
        let count = thread::available_parallelism().map_or(1, usize::from).min(MOST_WORKERS);
        let mut queues = Vec::with_capacity(count);
        for index in 0..count {
            let (queue, jobs) = sync_channel(QUEUE);
            let core = Arc::clone(core);
            thread::Builder::new().name(format!("discv4-{index}")).spawn(move || work(&core, &jobs))?;
            queues.push(queue);
        }
        Ok(Self { queues, hasher: RandomState::new() })
    }

    /// Gives a packet to the worker of its sender, so that a sender's packets stay in order.
    pub(super) fn push(&self, from: SocketAddr, packet: Vec<u8>) {
        let count = u64::try_from(self.queues.len()).unwrap_or(1);
        let index =
            self.hasher.hash_one(from).checked_rem(count).and_then(|index| usize::try_from(index).ok());
        let queue = index.and_then(|index| self.queues.get(index));
        if queue.is_none_or(|queue| queue.try_send((from, packet)).is_err()) {
            count_packet("unknown", "overload");
        }
    }
}

fn work(core: &Core, jobs: &Receiver<Job>) {
    while let Ok((from, packet)) = jobs.recv() {
        let from = canonical(from);
        let mut name = "unknown";
        let outcome = match handle(core, from, &packet, &mut name) {
            Ok(()) => "handled",
            Err(why) => {
                tracing::trace!(%from, packet = name, %why, "Bad discv4 packet");
                why.label()
            }
        };
        count_packet(name, outcome);
    }
}

fn handle(core: &Core, from: SocketAddr, packet: &[u8], name: &mut &'static str) -> Result<(), Rejected> {
    let decoded = decode(packet)?;
    *name = decoded.packet().name();
    let wanted = core.engine.lock().screen(now(), from, decoded)?;
    let verified = wanted.recover()?;
    let (outcome, actions) = {
        let mut engine = core.engine.lock();
        let outcome = engine.handle(now(), from, verified);
        (outcome, drain(&mut engine))
    };
    core.perform(actions);
    outcome
}

fn count_packet(packet: &'static str, outcome: &'static str) {
    metrics::counter!("quintet_discovery_received_packets_total", "packet" => packet, "outcome" => outcome)
        .increment(1);
}
