//! Whatever happens in whatever order, the scheduler keeps to its limits, and every dial ends once.

use super::scheduler::{Action, DialLimits, Scheduler};
use alloy_primitives::B256;
use proptest::collection::vec;
use proptest::prelude::*;
use quintet_enode::{Enode, NodeKey};
use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

const LIMITS: DialLimits = DialLimits {
    dialled: 5,
    active: 6,
    history: Duration::from_secs(35),
    local_history: Duration::from_secs(5),
};

/// A few nodes; the last is the scheduler's own.
static NODES: LazyLock<Vec<Enode>> = LazyLock::new(|| {
    let node = |number: u8| {
        let key = NodeKey::from_bytes(&B256::with_last_byte(number)).expect("a key");
        Enode { public_key: key.public(), ip: [8, 8, 8, number].into(), tcp: 30303, udp: 30303 }
    };
    (1..=12).map(node).collect()
});

#[derive(Clone, Copy, Debug)]
enum Event {
    Offer(usize),
    Poll,
    Connected(usize),
    Failed(usize, bool),
    Resolved(usize, bool),
    Inbound(usize),
    Gone(usize),
    AddStatic(usize, bool),
    RemoveStatic(usize),
    Postpone(usize),
    Wait(u64),
}

fn event() -> impl Strategy<Value = Event> {
    let node = 0..NODES.len();
    prop_oneof![
        4 => node.clone().prop_map(Event::Offer),
        4 => Just(Event::Poll),
        2 => node.clone().prop_map(Event::Connected),
        3 => (node.clone(), any::<bool>()).prop_map(|(node, unreachable)| Event::Failed(node, unreachable)),
        2 => (node.clone(), any::<bool>()).prop_map(|(node, found)| Event::Resolved(node, found)),
        1 => node.clone().prop_map(Event::Inbound),
        2 => node.clone().prop_map(Event::Gone),
        2 => (node.clone(), any::<bool>()).prop_map(|(node, whole)| Event::AddStatic(node, whole)),
        1 => node.clone().prop_map(Event::RemoveStatic),
        1 => node.prop_map(Event::Postpone),
        4 => (0_u64..100).prop_map(Event::Wait),
    ]
}

/// What the scheduler asked for and was not answered yet.
#[derive(Default)]
struct Model {
    dials: HashSet<B256>,
    lookups: HashSet<B256>,
    peers: HashMap<B256, bool>,
}

impl Model {
    fn asked(&mut self, action: Action, fresh: bool) {
        let (Action::Dial { node, .. } | Action::Resolve { node }) = action;
        let id = node.node_id();
        assert_ne!(id, NODES[NODES.len() - 1].node_id(), "it is this node");
        if fresh {
            assert!(!self.peers.contains_key(&id), "it is a peer");
        }
        assert!(!self.dials.contains(&id) && !self.lookups.contains(&id), "it is under way");
        match action {
            Action::Dial { .. } => assert!(node.tcp != 0 && self.dials.insert(id)),
            Action::Resolve { .. } => assert!(self.lookups.insert(id)),
        }
    }

    fn apply(&mut self, scheduler: &mut Scheduler, event: Event, now: &mut Instant) {
        let node = |index: usize| NODES[index];
        match event {
            Event::Offer(index) => {
                if let Ok(action) = scheduler.offer(node(index), *now) {
                    self.asked(action, true);
                }
            }
            Event::Poll => {
                scheduler.poll(*now, |_| false).into_iter().for_each(|action| self.asked(action, true));
            }
            Event::Connected(index) => {
                let id = node(index).node_id();
                if self.dials.remove(&id) {
                    scheduler.connected(&id);
                    scheduler.peer_added(id, true);
                    self.peers.insert(id, true);
                }
            }
            Event::Failed(index, unreachable) => {
                let id = node(index).node_id();
                if self.dials.remove(&id)
                    && let Some(action) = scheduler.failed(&id, unreachable, *now)
                {
                    self.asked(action, false);
                }
            }
            Event::Resolved(index, found) => {
                let id = node(index).node_id();
                let moved = Enode { tcp: 40404, ..node(index) };
                if self.lookups.remove(&id)
                    && let Some(action) = scheduler.resolved(&id, found.then_some(moved), *now)
                {
                    self.asked(action, false);
                }
            }
            Event::Inbound(index) => {
                let id = node(index).node_id();
                self.peers.entry(id).or_insert_with(|| {
                    scheduler.peer_added(id, false);
                    false
                });
            }
            Event::Gone(index) => {
                let id = node(index).node_id();
                if self.peers.remove(&id).is_some() {
                    scheduler.peer_removed(&id);
                }
            }
            Event::AddStatic(index, whole) => {
                let key = node(index).public_key;
                scheduler.add_static(if whole { node(index) } else { Enode::incomplete(key) });
            }
            Event::RemoveStatic(index) => scheduler.remove_static(&node(index).node_id()),
            Event::Postpone(index) => scheduler.postpone(node(index).node_id(), *now + LIMITS.history),
            Event::Wait(seconds) => *now += Duration::from_secs(seconds),
        }
    }
}

proptest! {
    #[test]
    fn limits_hold_and_every_dial_ends_once(events in vec(event(), 1..200)) {
        let mut now = Instant::now();
        let mut scheduler = Scheduler::new(NODES[NODES.len() - 1].node_id(), LIMITS, None);
        let mut model = Model::default();
        for event in events {
            model.apply(&mut scheduler, event, &mut now);
            let under_way = model.dials.len() + model.lookups.len();
            prop_assert_eq!(scheduler.active(), under_way);
            prop_assert!(under_way <= LIMITS.active);
        }
        // In the end nothing is under way, and time brings every static node back.
        for index in 0..NODES.len() {
            model.apply(&mut scheduler, Event::Failed(index, false), &mut now);
            model.apply(&mut scheduler, Event::Resolved(index, false), &mut now);
            model.apply(&mut scheduler, Event::Gone(index), &mut now);
            model.apply(&mut scheduler, Event::RemoveStatic(index), &mut now);
        }
        prop_assert_eq!(scheduler.active(), 0);
        scheduler.add_static(NODES[0]);
        prop_assert_eq!(scheduler.poll(now, |_| false).len(), 1);
    }
}
