//! The node table: whom we know, by distance from us (Kademlia, as geth lays it out).
//!
//! 17 buckets of 16 nodes: one each for the 16 farthest distances, and the nearest one for all that is closer, where
//! hardly anybody ever is. A bucket's nodes are in the order of their last sign of life, newest first; what does not
//! fit waits in a list of 10 replacements. Of one /24 (IPv6: /24 as well, as geth counts) at most 2 nodes are in a
//! bucket and 10 in the table, replacements included; addresses of local networks are not counted.
//!
//! The table takes no clock and no randomness of its own, and sends nothing.

use crate::distance::{distance, log_distance};
use crate::subnets::Subnets;
use alloy_primitives::B256;
use quintet_enode::{Enode, Record};
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, rngs::StdRng};
use std::time::Duration;

/// The most nodes in a bucket, and in the answer to a question: Kademlia's `k`.
pub const BUCKET_SIZE: usize = 16;
/// The most replacements of a bucket.
pub const MAX_REPLACEMENTS: usize = 10;
/// How many buckets there are: the upper fifteenth of 256 distances.
pub const BUCKETS: usize = 256 / 15;
/// The largest distance of the nearest bucket.
const NEAREST_BUCKET: usize = 256 - BUCKETS + 1;
/// The most nodes of one network in a bucket.
pub const BUCKET_SUBNET_LIMIT: usize = 2;
/// The most nodes of one network in the table.
pub const TABLE_SUBNET_LIMIT: usize = 10;
/// By what an unanswered check divides the count of answered ones: a node of long standing may lose a packet.
const FAILED_CHECK_DIVISOR: u32 = 5;

/// A node of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableNode {
    /// Its address.
    pub enode: Enode,
    /// Its node id.
    pub node_id: B256,
    /// Its record, once it was asked for it.
    pub record: Option<Record>,
    /// When it came into the table.
    pub added_at: Duration,
    /// How many checks it answered, less after failures; zero means that we only heard of it.
    pub liveness_checks: u32,
}

impl TableNode {
    /// A node that nobody checked.
    pub fn new(now: Duration, enode: Enode) -> Self {
        Self { enode, node_id: enode.node_id(), record: None, added_at: now, liveness_checks: 0 }
    }

    /// The number of the record that we have of it; zero for none.
    pub fn seq(&self) -> u64 {
        self.record.as_ref().map_or(0, Record::seq)
    }
}

/// What a failed check did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The node stays, for its merits.
    Kept,
    /// The node is gone; another one may have taken its place.
    Removed { removed: Enode, replacement: Option<Enode> },
}

#[derive(Clone, Debug, Default)]
struct Bucket {
    entries: Vec<TableNode>,
    replacements: Vec<TableNode>,
    subnets: Subnets,
}

impl Bucket {
    fn position(&self, id: &B256) -> Option<usize> {
        self.entries.iter().position(|node| node.node_id == *id)
    }
}

/// The table of one node.
#[derive(Clone, Debug)]
pub struct Table {
    own: B256,
    buckets: Vec<Bucket>,
    subnets: Subnets,
}

impl Table {
    /// Empty, for the node with this id.
    pub fn new(own: B256) -> Self {
        Self { own, buckets: vec![Bucket::default(); BUCKETS], subnets: Subnets::default() }
    }

    /// How many nodes it has, without replacements.
    pub fn len(&self) -> usize {
        self.buckets.iter().map(|bucket| bucket.entries.len()).sum()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.buckets.iter().all(|bucket| bucket.entries.is_empty())
    }

    /// All nodes, from the nearest bucket to the farthest.
    pub fn nodes(&self) -> impl Iterator<Item = &TableNode> {
        self.buckets.iter().flat_map(|bucket| &bucket.entries)
    }

    /// All buckets from the nearest to the farthest: nodes, and replacements.
    pub fn buckets(&self) -> impl Iterator<Item = (&[TableNode], &[TableNode])> {
        self.buckets.iter().map(|bucket| (bucket.entries.as_slice(), bucket.replacements.as_slice()))
    }

    /// The node with this id.
    pub fn get(&self, id: &B256) -> Option<&TableNode> {
        let bucket = self.bucket(id)?;
        bucket.entries.get(bucket.position(id)?)
    }

    /// How many nodes the bucket of this id has.
    pub fn bucket_len(&self, id: &B256) -> usize {
        self.bucket(id).map_or(0, |bucket| bucket.entries.len())
    }

    /// The at most `count` nodes that are closest to a target, closest first. With `live`, only nodes that answered a
    /// check, unless there is none.
    pub fn closest(&self, target: &B256, count: usize, live: bool) -> Vec<&TableNode> {
        let live = live && self.nodes().any(|node| node.liveness_checks > 0);
        let wanted = self.nodes().filter(|node| !live || node.liveness_checks > 0);
        let mut nodes: Vec<_> = wanted.map(|node| (distance(target, &node.node_id), node)).collect();
        if count < nodes.len() {
            nodes.select_nth_unstable_by_key(count, |(distance, _)| *distance);
            nodes.truncate(count);
        }
        nodes.sort_unstable_by_key(|(distance, _)| *distance);
        nodes.into_iter().map(|(_, node)| node).collect()
    }

    /// Adds a node that we heard of, behind the others of its bucket, or to the replacements of a full one. Whether
    /// it became a node of the table.
    pub(crate) fn add_seen(&mut self, now: Duration, enode: Enode) -> bool {
        self.add(TableNode::new(now, enode), false)
    }

    /// Adds a node that proved to be there, before the others of its bucket; with `checked`, just now. Whether it is
    /// new to the table.
    pub(crate) fn add_verified(&mut self, now: Duration, enode: Enode, checked: bool) -> bool {
        let mut node = TableNode::new(now, enode);
        node.liveness_checks = checked.into();
        if self.get(&node.node_id).is_some() {
            self.update(&node.node_id, Some(enode), None);
            return false;
        }
        self.add(node, true)
    }

    fn add(&mut self, node: TableNode, first: bool) -> bool {
        let id = node.node_id;
        if id == self.own || self.get(&id).is_some() {
            return false;
        }
        let Some(bucket) = bucket_of(&mut self.buckets, &self.own, &id) else { return false };
        let waiting = bucket.replacements.iter().position(|other| other.node_id == id);
        if bucket.entries.len() >= BUCKET_SIZE {
            if waiting.is_none() && claim(&mut self.subnets, bucket, &node.enode) {
                bucket.replacements.insert(0, node);
                if bucket.replacements.len() > MAX_REPLACEMENTS
                    && let Some(last) = bucket.replacements.pop()
                {
                    release(&mut self.subnets, bucket, &last.enode);
                }
            }
            return false;
        }
        if let Some(index) = waiting {
            let old = bucket.replacements.remove(index);
            release(&mut self.subnets, bucket, &old.enode);
        }
        if !claim(&mut self.subnets, bucket, &node.enode) {
            return false;
        }
        let index = if first { 0 } else { bucket.entries.len() };
        bucket.entries.insert(index, node);
        true
    }

    /// A node gave a sign of life: it moves to the front, with its new address and record where they are given. An
    /// address that the limits forbid leaves it as it was.
    pub(crate) fn update(&mut self, id: &B256, enode: Option<Enode>, record: Option<Record>) {
        let Some(bucket) = bucket_of(&mut self.buckets, &self.own, id) else { return };
        let Some(index) = bucket.position(id) else { return };
        let mut node = bucket.entries.remove(index);
        let enode = enode.unwrap_or(node.enode);
        if enode.ip != node.enode.ip {
            release(&mut self.subnets, bucket, &node.enode);
            if !claim(&mut self.subnets, bucket, &enode) {
                claim(&mut self.subnets, bucket, &node.enode);
                bucket.entries.insert(index, node);
                return;
            }
        }
        if enode.udp_addr() != node.enode.udp_addr() {
            // It is not told to others before it answered there.
            node.liveness_checks = 0;
        }
        node.enode = enode;
        node.record = record.or(node.record);
        bucket.entries.insert(0, node);
    }

    /// A node answered a check.
    pub(crate) fn check_passed(&mut self, id: &B256) {
        self.update(id, None, None);
        let bucket = bucket_of(&mut self.buckets, &self.own, id);
        if let Some(node) =
            bucket.and_then(|bucket| bucket.entries.iter_mut().find(|node| node.node_id == *id))
        {
            node.liveness_checks = node.liveness_checks.saturating_add(1);
        }
    }

    /// A node did not answer a check. One of merit stays, with less of it.
    pub(crate) fn check_failed(&mut self, id: &B256, rng: &mut StdRng) -> Outcome {
        let bucket = bucket_of(&mut self.buckets, &self.own, id);
        let Some(node) = bucket.and_then(|bucket| bucket.entries.iter_mut().find(|node| node.node_id == *id))
        else {
            return Outcome::Kept;
        };
        node.liveness_checks = node.liveness_checks.checked_div(FAILED_CHECK_DIVISOR).unwrap_or_default();
        if node.liveness_checks > 0 { Outcome::Kept } else { self.remove(id, rng) }
    }

    /// Takes a node out, and a random one of its bucket's replacements in.
    pub(crate) fn remove(&mut self, id: &B256, rng: &mut StdRng) -> Outcome {
        let Some(bucket) = bucket_of(&mut self.buckets, &self.own, id) else { return Outcome::Kept };
        let Some(index) = bucket.position(id) else { return Outcome::Kept };
        let removed = bucket.entries.remove(index).enode;
        release(&mut self.subnets, bucket, &removed);
        let mut replacement = None;
        if !bucket.replacements.is_empty() {
            let chosen = bucket.replacements.remove(rng.random_range(0..bucket.replacements.len()));
            replacement = Some(chosen.enode);
            // Behind the others, where it is soon checked.
            bucket.entries.push(chosen);
        }
        Outcome::Removed { removed, replacement }
    }

    /// The last node of a random bucket that has any: the one that gave no sign of life for longest.
    pub(crate) fn random_last(&self, rng: &mut StdRng) -> Option<&TableNode> {
        let lasts: Vec<_> = self.buckets.iter().filter_map(|bucket| bucket.entries.last()).collect();
        lasts.choose(rng).copied()
    }

    fn bucket(&self, id: &B256) -> Option<&Bucket> {
        self.buckets.get(bucket_index(&self.own, id))
    }
}

fn bucket_index(own: &B256, id: &B256) -> usize {
    log_distance(own, id).saturating_sub(NEAREST_BUCKET)
}

fn bucket_of<'a>(buckets: &'a mut [Bucket], own: &B256, id: &B256) -> Option<&'a mut Bucket> {
    buckets.get_mut(bucket_index(own, id))
}

/// Counts a node's address in its bucket and in the table, unless a limit is reached.
fn claim(table: &mut Subnets, bucket: &mut Bucket, enode: &Enode) -> bool {
    if !table.add(enode.ip, TABLE_SUBNET_LIMIT) {
        return false;
    }
    let fits = bucket.subnets.add(enode.ip, BUCKET_SUBNET_LIMIT);
    if !fits {
        table.remove(enode.ip);
    }
    fits
}

fn release(table: &mut Subnets, bucket: &mut Bucket, enode: &Enode) {
    table.remove(enode.ip);
    bucket.subnets.remove(enode.ip);
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
