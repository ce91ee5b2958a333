//! A lookup: who of all nodes is closest to a target? Ask those that we know; ask whom they name; until the 16 closest
//! that anybody named were asked.

use crate::distance::distance;
use crate::table::BUCKET_SIZE;
use alloy_primitives::{B256, keccak256};
use quintet_enode::{Enode, PublicKey};
use std::collections::BTreeMap;

/// Questions that are under way at once: Kademlia's alpha.
pub const ALPHA: usize = 3;
/// Questions after which a lookup ends whatever it was told: liars could name ever closer nodes.
pub const MAX_QUERIES: u32 = 128;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Unasked,
    Asked,
    Answered,
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    enode: Enode,
    /// The number of steps to it: 0 for a node of our table, one more than that of who named it otherwise.
    depth: u32,
    state: State,
}

#[derive(Clone, Debug)]
pub(crate) struct Lookup {
    pub target: PublicKey,
    target_id: B256,
    own: B256,
    /// By distance from the target. Who does not answer is taken out.
    candidates: BTreeMap<B256, Candidate>,
    /// Who did not answer: not to be named again.
    failed: Vec<B256>,
    in_flight: usize,
    queries: u32,
}

impl Lookup {
    pub(crate) fn new(own: B256, target: PublicKey) -> Self {
        let (candidates, failed) = (BTreeMap::new(), Vec::new());
        Self { target, target_id: keccak256(target), own, candidates, failed, in_flight: 0, queries: 0 }
    }

    /// The place that is looked near.
    pub(crate) const fn target_id(&self) -> B256 {
        self.target_id
    }

    /// Adds nodes that were named. Gives those that are new.
    pub(crate) fn add(&mut self, nodes: impl IntoIterator<Item = Enode>, depth: u32) -> Vec<Enode> {
        let mut new = Vec::new();
        for enode in nodes {
            let id = enode.node_id();
            let distance = distance(&self.target_id, &id);
            if id == self.own || self.failed.contains(&distance) || self.candidates.contains_key(&distance) {
                continue;
            }
            self.candidates.insert(distance, Candidate { enode, depth, state: State::Unasked });
            new.push(enode);
        }
        new
    }

    /// The next node to ask, and its depth. The caller asks it, and says [`Self::answered`] or [`Self::failed`].
    pub(crate) fn next(&mut self) -> Option<(Enode, u32)> {
        if self.in_flight >= ALPHA || self.queries >= MAX_QUERIES {
            return None;
        }
        let mut closest = self.candidates.values_mut().take(BUCKET_SIZE);
        let candidate = closest.find(|candidate| candidate.state == State::Unasked)?;
        candidate.state = State::Asked;
        self.in_flight = self.in_flight.saturating_add(1);
        self.queries = self.queries.saturating_add(1);
        Some((candidate.enode, candidate.depth))
    }

    /// A node answered.
    pub(crate) fn answered(&mut self, id: &B256) {
        let candidate = self.candidates.get_mut(&distance(&self.target_id, id));
        if let Some(candidate) = candidate.filter(|candidate| candidate.state == State::Asked) {
            candidate.state = State::Answered;
            self.in_flight = self.in_flight.saturating_sub(1);
        }
    }

    /// A node did not answer.
    pub(crate) fn failed(&mut self, id: &B256) {
        let distance = distance(&self.target_id, id);
        let asked = self.candidates.get(&distance).is_some_and(|candidate| candidate.state == State::Asked);
        if asked {
            self.candidates.remove(&distance);
            self.failed.push(distance);
            self.in_flight = self.in_flight.saturating_sub(1);
        }
    }

    /// Whether nobody is left to ask, and no answer is waited for.
    pub(crate) fn is_done(&self) -> bool {
        let unasked = |candidate: &Candidate| candidate.state == State::Unasked;
        let left = self.queries < MAX_QUERIES && self.candidates.values().take(BUCKET_SIZE).any(unasked);
        self.in_flight == 0 && !left
    }

    /// The closest nodes, closest first.
    pub(crate) fn closest(&self) -> Vec<Enode> {
        self.candidates.values().take(BUCKET_SIZE).map(|candidate| candidate.enode).collect()
    }

    /// The steps that it took to hear of all of [`Self::closest`].
    pub(crate) fn hops(&self) -> u32 {
        let depths = self.candidates.values().take(BUCKET_SIZE).map(|candidate| candidate.depth);
        depths.max().unwrap_or_default()
    }

    /// How many nodes were asked.
    pub(crate) const fn queries(&self) -> u32 {
        self.queries
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quintet_enode::NodeKey;

    fn nodes(count: usize) -> Vec<Enode> {
        (0..count).map(|_| Enode::incomplete(NodeKey::generate().public())).collect()
    }

    fn closest_of(lookup: &Lookup, nodes: &[Enode]) -> Vec<Enode> {
        let mut nodes = nodes.to_vec();
        nodes.sort_by_key(|node| distance(&lookup.target_id(), &node.node_id()));
        nodes.truncate(BUCKET_SIZE);
        nodes
    }

    #[test]
    fn the_closest_are_asked_three_at_once_and_who_fails_is_replaced() {
        let all = nodes(40);
        let mut lookup = Lookup::new(B256::ZERO, PublicKey::repeat_byte(1));
        assert_eq!(lookup.add(all[..20].to_vec(), 0).len(), 20);
        assert!(lookup.add(all[..20].to_vec(), 0).is_empty(), "named twice");
        let first: Vec<_> = std::iter::from_fn(|| lookup.next()).collect();
        let expected = closest_of(&lookup, &all[..20]);
        assert_eq!(first.iter().map(|(node, _)| *node).collect::<Vec<_>>(), expected[..ALPHA]);
        lookup.failed(&first[0].0.node_id());
        assert!(lookup.add([first[0].0], 3).is_empty(), "it failed");
        lookup.answered(&first[1].0.node_id());
        lookup.add(all[20..].to_vec(), 1);
        while !lookup.is_done() {
            let asked: Vec<_> = std::iter::from_fn(|| lookup.next()).collect();
            assert!(!asked.is_empty() || lookup.in_flight > 0);
            for (node, _) in asked {
                lookup.answered(&node.node_id());
            }
            lookup.answered(&first[2].0.node_id());
        }
        let alive: Vec<_> = all.iter().filter(|node| **node != first[0].0).copied().collect();
        assert_eq!(lookup.closest(), closest_of(&lookup, &alive));
        assert_eq!(lookup.hops(), 1);
    }

    #[test]
    fn liars_do_not_keep_a_lookup_for_ever() {
        let mut lookup = Lookup::new(B256::ZERO, PublicKey::repeat_byte(1));
        let mut pool = nodes(2000);
        pool.sort_by_key(|node| std::cmp::Reverse(distance(&lookup.target_id(), &node.node_id())));
        let mut named = pool.into_iter();
        lookup.add(named.next(), 0);
        while let Some((node, depth)) = lookup.next() {
            lookup.answered(&node.node_id());
            lookup.add(named.by_ref().take(BUCKET_SIZE), depth + 1);
        }
        assert!(lookup.is_done());
        assert!(lookup.queries() <= MAX_QUERIES);
        assert!(Lookup::new(B256::ZERO, PublicKey::ZERO).is_done());
    }

    #[test]
    fn we_do_not_ask_ourselves() {
        let own = nodes(1)[0];
        let mut lookup = Lookup::new(own.node_id(), own.public_key);
        assert!(lookup.add([own], 0).is_empty() && lookup.next().is_none());
    }
}
