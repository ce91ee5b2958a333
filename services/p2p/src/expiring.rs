//! A bounded set whose members leave by themselves: recent dials, recent connections, bans.
//!
//! What must hold: it never has more than its capacity of members, whoever can add to it; when it is full, the one that
//! would leave first makes room.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::time::Instant;

/// Keys, each with the moment at which it leaves.
#[derive(Debug)]
pub(crate) struct Expiring<K> {
    capacity: usize,
    until: HashMap<K, Instant>,
    order: BTreeSet<(Instant, K)>,
}

impl<K: Copy + Eq + Hash + Ord> Expiring<K> {
    /// An empty set for at most `capacity` members.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity, until: HashMap::new(), order: BTreeSet::new() }
    }

    /// Adds a key, or moves the moment at which it leaves.
    pub(crate) fn insert(&mut self, key: K, until: Instant) {
        self.remove(&key);
        while self.until.len() >= self.capacity {
            let Some((_, first)) = self.order.pop_first() else { break };
            self.until.remove(&first);
        }
        self.until.insert(key, until);
        self.order.insert((until, key));
    }

    /// Takes a key out.
    pub(crate) fn remove(&mut self, key: &K) {
        if let Some(until) = self.until.remove(key) {
            self.order.remove(&(until, *key));
        }
    }

    /// Takes out what has left by `now`.
    pub(crate) fn expire(&mut self, now: Instant) {
        while let Some((until, key)) = self.order.first().copied() {
            if until > now {
                break;
            }
            self.order.pop_first();
            self.until.remove(&key);
        }
    }

    /// When a key leaves; `None` for one that is not there, or has left by `now`.
    pub(crate) fn until(&self, key: &K, now: Instant) -> Option<Instant> {
        self.until.get(key).copied().filter(|until| *until > now)
    }

    /// Whether a key is there.
    pub(crate) fn contains(&self, key: &K, now: Instant) -> bool {
        self.until(key, now).is_some()
    }

    /// How many there are; those that have left count until [`Self::expire`].
    pub(crate) fn len(&self) -> usize {
        self.until.len()
    }
}

#[cfg(test)]
mod tests {
    use super::Expiring;
    use std::time::{Duration, Instant};

    #[test]
    fn members_leave_in_time_and_the_capacity_holds() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut set = Expiring::new(2);
        set.insert(1, at(10));
        set.insert(2, at(5));
        assert!(set.contains(&2, at(4)) && !set.contains(&2, at(5)));
        // The first to leave makes room, and a key that comes again only moves.
        set.insert(3, at(20));
        assert!(!set.contains(&2, start) && set.contains(&1, start));
        set.insert(1, at(30));
        assert_eq!((set.len(), set.until(&1, start)), (2, Some(at(30))));
        set.expire(at(20));
        assert_eq!(set.len(), 1);
        set.remove(&1);
        set.remove(&1);
        assert_eq!(set.len(), 0);
    }
}
