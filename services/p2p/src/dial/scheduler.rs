//! Whom to dial, and when: geth's rules (`p2p/dial.go`), as a synchronous struct.
//!
//! - Peers that we dialled are at most a share of all; while places are free, at most twice as many dials run, and never
//!   more than 16.
//! - A node is dialled again no sooner than its history says: 35 seconds for one that discovery offers, and for static
//!   ones a time that doubles with each failure in a row.
//! - A static node that cannot be reached is looked up again, at intervals that grow while it is not found.
//!
//! What must hold: every dial and lookup that it asks for is answered by exactly one of [`Scheduler::connected`],
//! [`Scheduler::failed`] and [`Scheduler::resolved`].

use crate::expiring::Expiring;
use alloy_primitives::B256;
use quintet_enode::{Enode, Netlist, is_lan};
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

/// Nodes that the history holds.
const HISTORY_CAPACITY: usize = 8192;
/// Doublings of a static node's redial time.
const MOST_DOUBLINGS: u32 = 3;
/// Between lookups of a static node; doubles while it is not found.
const FIRST_RESOLVE_DELAY: Duration = Duration::from_mins(1);
const MOST_RESOLVE_DELAY: Duration = Duration::from_hours(1);

/// How much is dialled, and how often.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DialLimits {
    /// Peers that we dialled, at most.
    pub dialled: usize,
    /// Dials at once.
    pub active: usize,
    /// How long a node is not dialled again.
    pub history: Duration,
    /// The same for a static node in a local network, which throttles nobody.
    pub local_history: Duration,
}

/// Why a node is dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DialKind {
    /// Discovery offered it.
    Dynamic,
    /// The operator named it.
    Static,
}

/// Something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Connect to a node.
    Dial {
        /// The node.
        node: Enode,
        /// Why.
        kind: DialKind,
    },
    /// Ask discovery where a node is.
    Resolve {
        /// The node, as far as it is known.
        node: Enode,
    },
}

/// Why a node is not dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// It is this node.
    #[error("is self")]
    Own,
    /// It has no TCP port.
    #[error("node does not provide TCP port")]
    NoPort,
    /// A dial of it is under way.
    #[error("already dialing")]
    AlreadyDialing,
    /// It is a peer.
    #[error("already connected")]
    AlreadyConnected,
    /// It is outside of `--netrestrict`.
    #[error("not contained in netrestrict list")]
    NetRestrict,
    /// It was dialled a short while ago.
    #[error("recently dialed")]
    RecentlyDialled,
    /// Enough are dialled.
    #[error("no free dial slot")]
    NoSlot,
}

#[derive(Clone, Copy, Debug)]
struct StaticNode {
    node: Enode,
    /// Dials that failed, since one did not.
    failures: u32,
    next_resolve: Option<Instant>,
    resolve_delay: Duration,
}

impl StaticNode {
    const fn new(node: Enode) -> Self {
        Self { node, failures: 0, next_resolve: None, resolve_delay: FIRST_RESOLVE_DELAY }
    }

    /// Whether a lookup is due; if so, takes note that it runs now.
    fn take_resolve(&mut self, now: Instant) -> bool {
        if self.next_resolve.is_some_and(|next| next > now) {
            return false;
        }
        self.next_resolve = Some(now + self.resolve_delay);
        true
    }
}

/// The dial scheduler.
#[derive(Debug)]
pub(crate) struct Scheduler {
    own: B256,
    limits: DialLimits,
    allowed: Option<Netlist>,
    /// Peers; whether we dialled them.
    peers: HashMap<B256, bool>,
    dialing: HashMap<B256, DialKind>,
    /// In the order of their ids, which is no order.
    static_nodes: BTreeMap<B256, StaticNode>,
    history: Expiring<B256>,
}

impl Scheduler {
    /// A scheduler for the node `own`, which dials within `allowed`.
    pub(crate) fn new(own: B256, limits: DialLimits, allowed: Option<Netlist>) -> Self {
        Self {
            own,
            limits,
            allowed,
            peers: HashMap::new(),
            dialing: HashMap::new(),
            static_nodes: BTreeMap::new(),
            history: Expiring::new(HISTORY_CAPACITY),
        }
    }

    /// The node is another one from now on, and has other limits.
    pub(crate) const fn set_own(&mut self, own: B256, limits: DialLimits) {
        self.own = own;
        self.limits = limits;
    }

    /// Dials a node until [`Self::remove_static`], the first time as soon as there is room.
    pub(crate) fn add_static(&mut self, node: Enode) {
        let id = node.node_id();
        self.static_nodes.insert(id, StaticNode::new(node));
        self.history.remove(&id);
    }

    /// Dials a node no more.
    pub(crate) fn remove_static(&mut self, id: &B256) {
        self.static_nodes.remove(id);
        self.history.remove(id);
    }

    /// Whether a node is static.
    pub(crate) fn is_static(&self, id: &B256) -> bool {
        self.static_nodes.contains_key(id)
    }

    /// Dials that may start now.
    pub(crate) fn free_slots(&self) -> usize {
        let dialled = self.peers.values().filter(|dialled| **dialled).count();
        let places = self.limits.dialled.saturating_sub(dialled);
        // Not every dial succeeds.
        places.saturating_mul(2).min(self.limits.active).saturating_sub(self.dialing.len())
    }

    /// What is to be done for static nodes now. `barred` says which nodes have lost their reputation.
    pub(crate) fn poll(&mut self, now: Instant, barred: impl Fn(&Enode) -> bool) -> Vec<Action> {
        self.history.expire(now);
        let mut actions = Vec::new();
        // Whoever failed least comes first, so that dead ones do not take all places.
        let mut due: Vec<_> = self.static_nodes.values().map(|fixed| (fixed.failures, fixed.node)).collect();
        due.sort_by_key(|(failures, _)| *failures);
        for (_, node) in due {
            if self.free_slots() == 0 {
                break;
            }
            let id = node.node_id();
            if self.check(&node, now).is_err() || barred(&node) {
                continue;
            }
            if !node.is_incomplete() {
                self.start(&node, DialKind::Static, now);
                actions.push(Action::Dial { node, kind: DialKind::Static });
            } else if self.static_nodes.get_mut(&id).is_some_and(|fixed| fixed.take_resolve(now)) {
                self.start(&node, DialKind::Static, now);
                actions.push(Action::Resolve { node });
            }
        }
        actions
    }

    /// Dials a node that discovery offers.
    ///
    /// # Errors
    /// When it is not to be dialled now.
    pub(crate) fn offer(&mut self, node: Enode, now: Instant) -> Result<Action, Refusal> {
        if self.free_slots() == 0 {
            return Err(Refusal::NoSlot);
        }
        if node.tcp == 0 {
            return Err(Refusal::NoPort);
        }
        self.check(&node, now)?;
        let kind = if self.is_static(&node.node_id()) { DialKind::Static } else { DialKind::Dynamic };
        self.start(&node, kind, now);
        Ok(Action::Dial { node, kind })
    }

    fn check(&self, node: &Enode, now: Instant) -> Result<(), Refusal> {
        let id = node.node_id();
        if id == self.own {
            return Err(Refusal::Own);
        }
        if !node.is_incomplete() && node.tcp == 0 {
            return Err(Refusal::NoPort);
        }
        if self.dialing.contains_key(&id) {
            return Err(Refusal::AlreadyDialing);
        }
        if self.peers.contains_key(&id) {
            return Err(Refusal::AlreadyConnected);
        }
        if !node.is_incomplete() && self.allowed.as_ref().is_some_and(|allowed| !allowed.contains(node.ip)) {
            return Err(Refusal::NetRestrict);
        }
        if self.history.contains(&id, now) {
            return Err(Refusal::RecentlyDialled);
        }
        Ok(())
    }

    fn start(&mut self, node: &Enode, kind: DialKind, now: Instant) {
        let id = node.node_id();
        self.dialing.insert(id, kind);
        let pause = match (kind, self.static_nodes.get(&id)) {
            (DialKind::Static, Some(fixed)) => {
                let first = if is_lan(node.ip) { self.limits.local_history } else { self.limits.history };
                first.saturating_mul(1 << fixed.failures.min(MOST_DOUBLINGS))
            }
            _ => self.limits.history,
        };
        self.history.insert(id, now + pause);
    }

    /// A dial led to a peer, or ended with one that was there: it is no longer under way.
    pub(crate) fn connected(&mut self, id: &B256) {
        self.dialing.remove(id);
        if let Some(fixed) = self.static_nodes.get_mut(id) {
            fixed.failures = 0;
            fixed.resolve_delay = FIRST_RESOLVE_DELAY;
        }
    }

    /// A dial failed. `unreachable`: nobody answered there, or somebody else. The lookup that this may lead to belongs
    /// to the dial.
    pub(crate) fn failed(&mut self, id: &B256, unreachable: bool, now: Instant) -> Option<Action> {
        let kind = self.dialing.get(id).copied();
        if let Some(fixed) = self.static_nodes.get_mut(id) {
            fixed.failures = fixed.failures.saturating_add(1);
            if unreachable && kind == Some(DialKind::Static) && fixed.take_resolve(now) {
                return Some(Action::Resolve { node: fixed.node });
            }
        }
        self.dialing.remove(id);
        None
    }

    /// A lookup ended: with another endpoint, the dial goes on.
    pub(crate) fn resolved(&mut self, id: &B256, found: Option<Enode>, now: Instant) -> Option<Action> {
        let usable = found.filter(|node| node.node_id() == *id && node.tcp != 0);
        let allowed = usable.filter(|node| self.allowed.as_ref().is_none_or(|list| list.contains(node.ip)));
        let Some((fixed, node)) = self.static_nodes.get_mut(id).zip(allowed) else {
            if let Some(fixed) = self.static_nodes.get_mut(id) {
                fixed.resolve_delay = fixed.resolve_delay.saturating_mul(2).min(MOST_RESOLVE_DELAY);
                fixed.next_resolve = Some(now + fixed.resolve_delay);
            }
            self.dialing.remove(id);
            return None;
        };
        fixed.resolve_delay = FIRST_RESOLVE_DELAY;
        let moved = fixed.node.tcp_addr() != node.tcp_addr();
        fixed.node = node;
        if moved {
            return Some(Action::Dial { node, kind: DialKind::Static });
        }
        self.dialing.remove(id);
        None
    }

    /// A node is a peer now.
    pub(crate) fn peer_added(&mut self, id: B256, dialled: bool) {
        self.peers.insert(id, dialled);
    }

    /// A node is a peer no more.
    pub(crate) fn peer_removed(&mut self, id: &B256) {
        self.peers.remove(id);
    }

    /// A node that discovery may offer again is of no use until then.
    pub(crate) fn postpone(&mut self, id: B256, until: Instant) {
        if !self.is_static(&id) {
            self.history.insert(id, until);
        }
    }

    /// When a static node may be dialled next; `None` when that depends on other events.
    pub(crate) fn next_wake(&self, now: Instant) -> Option<Instant> {
        if self.free_slots() == 0 {
            return None;
        }
        let waiting = self.static_nodes.iter().filter(|(id, _)| {
            **id != self.own && !self.peers.contains_key(*id) && !self.dialing.contains_key(*id)
        });
        waiting
            .filter_map(|(id, fixed)| {
                let resolve = fixed.next_resolve.filter(|_| fixed.node.is_incomplete());
                self.history.until(id, now).max(resolve)
            })
            .min()
    }

    /// Dials under way.
    pub(crate) fn active(&self) -> usize {
        self.dialing.len()
    }
}
