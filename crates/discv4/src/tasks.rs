//! What the engine waits for: an answer of a node at an address, or the end of its time.

use crate::action::{LookupId, RequestId};
use crate::bonds::Peer;
use alloy_primitives::B256;
use alloy_primitives::map::HashMap;
use quintet_enode::Enode;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

/// How long an answer may take.
pub const RESPONSE_TIMEOUT: Duration = Duration::from_millis(500);
/// How long a node is given to learn from our pong where we are, before it is asked: datagrams overtake each other.
pub const SETTLE_TIME: Duration = Duration::from_millis(100);
/// The most answers that are waited for at once.
pub const MAX_TASKS: usize = 4096;
/// How many of them strangers may cause, with pings from as many addresses as they like to forge.
const MAX_BONDS: usize = MAX_TASKS / 2;

/// Why something is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    /// To know that a node that pinged us is there.
    Bond,
    /// Because a caller wants to know.
    Ping(RequestId),
    /// To know whether a node of the table is still there.
    Revalidate,
    /// For a lookup; with the number of steps to the node.
    FindNode(LookupId, u32),
    /// For a node's record; with the caller, if one asked.
    Record(Option<RequestId>),
}

/// What is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// The pong to the ping with this hash.
    Pong(B256),
    /// The ping that proves to the node where we are, for a moment: it need not come.
    TheirPing,
    /// That the pong to that ping arrives, for [`SETTLE_TIME`].
    Settling,
    /// Neighbours: those that came.
    Neighbours(Answers),
    /// The answer to the record request with this hash.
    Record(B256),
}

/// The nodes of one answer, as they come in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answers {
    /// The packets that came.
    pub packets: usize,
    /// The nodes in them, usable or not.
    pub listed: usize,
    /// The usable ones.
    pub nodes: Vec<Enode>,
}

#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub node: Enode,
    pub peer: Peer,
    pub goal: Goal,
    pub wait: Wait,
    pub since: Duration,
}

impl Wait {
    const fn timeout(&self) -> Duration {
        match self {
            Self::Settling => SETTLE_TIME,
            Self::Pong(_) | Self::TheirPing | Self::Neighbours(_) | Self::Record(_) => RESPONSE_TIMEOUT,
        }
    }
}

/// All tasks with their deadlines.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    last_id: u64,
    /// Each with its deadline.
    by_id: BTreeMap<u64, (Duration, Task)>,
    by_peer: HashMap<Peer, Vec<u64>>,
    /// How many of them are for [`Goal::Bond`].
    bonds: usize,
    deadlines: BTreeSet<(Duration, u64)>,
    /// How many tasks wait for an answer that names this hash.
    hashes: HashMap<B256, usize>,
    /// How many tasks wait for neighbours from this address.
    neighbours: HashMap<IpAddr, usize>,
}

impl Tasks {
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there is room for one more.
    pub(crate) fn has_room(&self, goal: Goal) -> bool {
        self.by_id.len() < MAX_TASKS && (goal != Goal::Bond || self.bonds < MAX_BONDS)
    }

    pub(crate) fn add(&mut self, now: Duration, task: Task) {
        self.last_id = self.last_id.wrapping_add(1);
        let id = self.last_id;
        match &task.wait {
            Wait::Pong(hash) | Wait::Record(hash) => increase(&mut self.hashes, *hash),
            Wait::Neighbours(_) => increase(&mut self.neighbours, task.peer.1),
            Wait::TheirPing | Wait::Settling => {}
        }
        self.bonds = self.bonds.saturating_add((task.goal == Goal::Bond).into());
        self.by_peer.entry(task.peer).or_default().push(id);
        let deadline = now.saturating_add(task.wait.timeout());
        self.deadlines.insert((deadline, id));
        self.by_id.insert(id, (deadline, task));
    }

    /// Whether an answer that names this hash is waited for.
    pub(crate) fn awaits(&self, hash: &B256) -> bool {
        self.hashes.contains_key(hash)
    }

    /// Whether neighbours are waited for from this address.
    pub(crate) fn awaits_neighbours(&self, ip: &IpAddr) -> bool {
        self.neighbours.contains_key(ip)
    }

    /// The tasks of a node.
    pub(crate) fn of(&self, peer: &Peer) -> impl Iterator<Item = &Task> {
        self.by_peer.get(peer).into_iter().flatten().filter_map(|id| self.by_id.get(id)).map(|(_, task)| task)
    }

    /// Takes the tasks of a node that `wanted` chooses; it may change the others.
    pub(crate) fn take(&mut self, peer: &Peer, mut wanted: impl FnMut(&mut Task) -> bool) -> Vec<Task> {
        let ids = self.by_peer.get(peer).cloned().unwrap_or_default();
        let chosen = ids.into_iter().filter(|id| {
            let task = self.by_id.get_mut(id).map(|(_, task)| task);
            task.is_some_and(&mut wanted)
        });
        let chosen: Vec<_> = chosen.collect();
        chosen.into_iter().filter_map(|id| self.remove(id)).collect()
    }

    /// Takes the tasks whose time is over. After the clock went back, those whose time would not come are over too.
    pub(crate) fn take_expired(&mut self, now: Duration) -> Vec<Task> {
        let horizon = now.saturating_add(RESPONSE_TIMEOUT.saturating_mul(2));
        let over = |(deadline, _): &&(Duration, u64)| *deadline <= now || *deadline > horizon;
        let ids: Vec<_> = self.deadlines.iter().filter(over).map(|(_, id)| *id).collect();
        ids.into_iter().filter_map(|id| self.remove(id)).collect()
    }

    /// When the next task's time is over.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    fn remove(&mut self, id: u64) -> Option<Task> {
        let (deadline, task) = self.by_id.remove(&id)?;
        self.deadlines.remove(&(deadline, id));
        if let Some(ids) = self.by_peer.get_mut(&task.peer) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.by_peer.remove(&task.peer);
            }
        }
        self.bonds = self.bonds.saturating_sub((task.goal == Goal::Bond).into());
        match &task.wait {
            Wait::Pong(hash) | Wait::Record(hash) => decrease(&mut self.hashes, hash),
            Wait::Neighbours(_) => decrease(&mut self.neighbours, &task.peer.1),
            Wait::TheirPing | Wait::Settling => {}
        }
        Some(task)
    }
}

fn increase<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, usize>, key: K) {
    let count = counts.entry(key).or_default();
    *count = count.saturating_add(1);
}

fn decrease<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quintet_enode::PublicKey;

    fn task(wait: Wait) -> Task {
        let node = Enode::incomplete(PublicKey::ZERO);
        Task { node, peer: (B256::ZERO, node.ip), goal: Goal::Bond, wait, since: Duration::ZERO }
    }

    #[test]
    fn tasks_end_by_answer_or_by_time_and_leave_nothing() {
        let mut tasks = Tasks::default();
        let (one, two) = (B256::repeat_byte(1), B256::repeat_byte(2));
        let peer = task(Wait::TheirPing).peer;
        tasks.add(Duration::ZERO, task(Wait::Pong(one)));
        tasks.add(Duration::ZERO, task(Wait::Pong(one)));
        tasks.add(Duration::from_millis(100), task(Wait::Record(two)));
        tasks.add(Duration::from_millis(200), task(Wait::Neighbours(Answers::default())));
        assert!(tasks.awaits(&one) && tasks.awaits(&two) && tasks.awaits_neighbours(&peer.1));
        assert_eq!(tasks.take(&peer, |task| task.wait == Wait::Pong(one)).len(), 2);
        assert!(!tasks.awaits(&one));
        assert!(tasks.take_expired(Duration::from_millis(599)).is_empty());
        assert_eq!(tasks.take_expired(Duration::from_millis(600)).len(), 1);
        assert_eq!(tasks.take_expired(Duration::from_millis(700)).len(), 1);
        let Tasks { by_id, by_peer, bonds, deadlines, hashes, neighbours, .. } = tasks;
        assert_eq!(bonds, 0);
        assert!(by_id.is_empty() && by_peer.is_empty() && hashes.is_empty() && neighbours.is_empty());
        assert!(deadlines.is_empty());
    }

    #[test]
    fn a_clock_that_went_back_ends_what_it_would_keep() {
        let mut tasks = Tasks::default();
        tasks.add(Duration::from_secs(1000), task(Wait::TheirPing));
        assert_eq!(tasks.take_expired(Duration::from_secs(10)).len(), 1);
    }
}
