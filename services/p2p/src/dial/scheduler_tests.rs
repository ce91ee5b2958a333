//! The dial scheduler under invented time.

use super::scheduler::{Action, DialKind, DialLimits, Refusal, Scheduler};
use alloy_primitives::B256;
use quintet_enode::{Enode, NodeKey};
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);
const LIMITS: DialLimits = DialLimits {
    dialled: 4,
    active: 16,
    history: Duration::from_secs(35),
    local_history: Duration::from_secs(5),
};

fn node(number: u8) -> Enode {
    let key = NodeKey::from_bytes(&B256::with_last_byte(number)).expect("a key");
    let ip = IpAddr::V4(Ipv4Addr::new(8, 8, 8, number));
    Enode { public_key: key.public(), ip, tcp: 30303, udp: 30303 }
}

fn scheduler(limits: DialLimits) -> (Scheduler, Instant) {
    (Scheduler::new(node(200).node_id(), limits, None), Instant::now())
}

const fn dynamic(node: Enode) -> Action {
    Action::Dial { node, kind: DialKind::Dynamic }
}

fn poll(scheduler: &mut Scheduler, now: Instant) -> Vec<Action> {
    scheduler.poll(now, |_| false)
}

#[test]
fn twice_as_many_dials_as_places_and_never_more_than_sixteen() {
    let (mut scheduler, now) = scheduler(LIMITS);
    for number in 1..=8 {
        assert_eq!(scheduler.offer(node(number), now), Ok(dynamic(node(number))));
    }
    assert_eq!(scheduler.offer(node(9), now), Err(Refusal::NoSlot));
    // Two connect: two places are left, and six dials run.
    for number in [1, 2] {
        scheduler.connected(&node(number).node_id());
        scheduler.peer_added(node(number).node_id(), true);
    }
    assert_eq!((scheduler.free_slots(), scheduler.active()), (0, 6));
    for number in 3..=8 {
        assert_eq!(scheduler.failed(&node(number).node_id(), true, now), None);
    }
    assert_eq!(scheduler.free_slots(), 4);
    // Those who dialled us take no place.
    scheduler.peer_added(node(50).node_id(), false);
    assert_eq!(scheduler.free_slots(), 4);
    scheduler.peer_removed(&node(1).node_id());
    assert_eq!(scheduler.free_slots(), 6);
    let (many, _) = self::scheduler(DialLimits { dialled: 100, ..LIMITS });
    assert_eq!(many.free_slots(), 16);
}

#[test]
fn nodes_that_are_not_dialled() {
    let start = Instant::now();
    let allowed = "8.8.0.0/16".parse().expect("a network");
    let mut scheduler = Scheduler::new(node(200).node_id(), LIMITS, Some(allowed));
    let mut offer = |node, seconds| scheduler.offer(node, start + SECOND * seconds);
    assert_eq!(offer(node(200), 0), Err(Refusal::Own));
    assert_eq!(offer(Enode { tcp: 0, ..node(1) }, 0), Err(Refusal::NoPort));
    assert_eq!(offer(Enode { ip: [8, 9, 0, 1].into(), ..node(1) }, 0), Err(Refusal::NetRestrict));
    assert_eq!(offer(node(1), 0), Ok(dynamic(node(1))));
    assert_eq!(offer(node(1), 1), Err(Refusal::AlreadyDialing));
    scheduler.connected(&node(1).node_id());
    scheduler.peer_added(node(1).node_id(), true);
    assert_eq!(scheduler.offer(node(1), start), Err(Refusal::AlreadyConnected));
    scheduler.peer_removed(&node(1).node_id());
    assert_eq!(scheduler.offer(node(1), start + SECOND * 34), Err(Refusal::RecentlyDialled));
    assert_eq!(scheduler.offer(node(1), start + SECOND * 35), Ok(dynamic(node(1))));
    // One of no use waits longer.
    assert_eq!(scheduler.failed(&node(1).node_id(), false, start), None);
    scheduler.postpone(node(1).node_id(), start + SECOND * 1000);
    assert_eq!(scheduler.offer(node(1), start + SECOND * 999), Err(Refusal::RecentlyDialled));
}

#[test]
fn static_nodes_are_redialled_with_pauses_that_grow() {
    let (mut scheduler, start) = scheduler(LIMITS);
    let (fixed, id) = (node(1), node(1).node_id());
    scheduler.add_static(fixed);
    let dial = vec![Action::Dial { node: fixed, kind: DialKind::Static }];
    let mut now = start;
    // The lookup after a failed dial finds nothing.
    for pause in [35, 70, 140, 280, 280] {
        assert_eq!(poll(&mut scheduler, now), dial);
        assert_eq!(scheduler.next_wake(now), None, "a dial is under way");
        if scheduler.failed(&id, true, now).is_some() {
            assert_eq!(scheduler.resolved(&id, None, now), None);
        }
        let next = now + SECOND * pause;
        assert_eq!(scheduler.next_wake(now), Some(next));
        assert_eq!(poll(&mut scheduler, next.checked_sub(SECOND).expect("later")), vec![]);
        now = next;
    }
    assert_eq!(poll(&mut scheduler, now), dial);
    scheduler.connected(&id);
    scheduler.peer_added(id, true);
    assert_eq!(poll(&mut scheduler, now + SECOND * 1000), vec![]);
    assert_eq!(scheduler.next_wake(now), None);
    // Once it was a peer, it is dialled as soon as it is gone.
    scheduler.peer_removed(&id);
    now += SECOND * 1000;
    assert_eq!(poll(&mut scheduler, now), dial);
    scheduler.failed(&id, false, now);
    assert_eq!(scheduler.next_wake(now), Some(now + SECOND * 35));
    scheduler.remove_static(&id);
    assert_eq!(poll(&mut scheduler, now + SECOND * 1000), vec![]);
    // Whoever is named again is dialled at once.
    scheduler.add_static(fixed);
    assert_eq!(poll(&mut scheduler, now), dial);
}

#[test]
fn a_static_node_in_the_local_network_is_redialled_sooner() {
    let (mut scheduler, now) = scheduler(LIMITS);
    scheduler.add_static(Enode { ip: [127, 0, 0, 1].into(), ..node(1) });
    assert_eq!(poll(&mut scheduler, now).len(), 1);
    scheduler.failed(&node(1).node_id(), false, now);
    assert_eq!(scheduler.next_wake(now), Some(now + SECOND * 5));
}

#[test]
fn a_static_node_that_moved_is_looked_up() {
    let (mut scheduler, start) = scheduler(LIMITS);
    let (fixed, id) = (node(1), node(1).node_id());
    scheduler.add_static(fixed);
    assert_eq!(poll(&mut scheduler, start).len(), 1);
    let resolve = Some(Action::Resolve { node: fixed });
    assert_eq!(scheduler.failed(&id, true, start), resolve);
    assert_eq!(scheduler.active(), 1, "the lookup belongs to the dial");
    // An answer about another node is none; the next lookup comes after two minutes.
    assert_eq!(scheduler.resolved(&id, Some(node(2)), start), None);
    assert_eq!(scheduler.active(), 0);
    let mut now = start + SECOND * 35;
    assert_eq!(poll(&mut scheduler, now).len(), 1);
    assert_eq!(scheduler.failed(&id, true, now), None);
    now += SECOND * 140;
    assert_eq!(poll(&mut scheduler, now).len(), 1);
    assert_eq!(scheduler.failed(&id, true, now), resolve);
    let moved = Enode { tcp: 40404, ..fixed };
    let dial = Action::Dial { node: moved, kind: DialKind::Static };
    assert_eq!(scheduler.resolved(&id, Some(moved), now), Some(dial));
    // Whoever refuses is there: no lookup.
    assert_eq!(scheduler.failed(&id, false, now + SECOND * 1000), None);
    assert_eq!(poll(&mut scheduler, now + SECOND * 2000), vec![dial]);
    // The same endpoint again is no reason to dial.
    assert!(scheduler.failed(&id, true, now + SECOND * 3000).is_some());
    assert_eq!(scheduler.resolved(&id, Some(moved), now + SECOND * 3000), None);
    assert_eq!(scheduler.active(), 0);
}

#[test]
fn a_static_node_without_an_endpoint_is_looked_up_first() {
    let (mut scheduler, now) = scheduler(LIMITS);
    let unknown = Enode::incomplete(node(1).public_key);
    scheduler.add_static(unknown);
    assert_eq!(poll(&mut scheduler, now), vec![Action::Resolve { node: unknown }]);
    let dial = Action::Dial { node: node(1), kind: DialKind::Static };
    assert_eq!(scheduler.resolved(&node(1).node_id(), Some(node(1)), now), Some(dial));
    scheduler.remove_static(&node(1).node_id());
    scheduler.failed(&node(1).node_id(), true, now);
    assert_eq!(scheduler.active(), 0);
}

#[test]
fn static_nodes_wait_for_places_and_the_ones_that_answer_come_first() {
    let (mut scheduler, now) = scheduler(DialLimits { dialled: 1, ..LIMITS });
    for number in 1..=3 {
        scheduler.add_static(node(number));
    }
    assert_eq!(poll(&mut scheduler, now).len(), 2);
    assert_eq!(scheduler.next_wake(now), None);
    let waiting: Vec<_> =
        (1..=3).filter(|number| scheduler.offer(node(*number), now) != Err(Refusal::NoSlot)).collect();
    assert_eq!(waiting, Vec::<u8>::new());
    for number in 1..=3 {
        scheduler.failed(&node(number).node_id(), false, now);
    }
    assert_eq!(scheduler.active(), 0);
    let barred = scheduler.poll(now + SECOND * 100, |node| node.ip == IpAddr::from([8, 8, 8, 2]));
    assert_eq!(barred.len(), 2);
    assert!(!barred.contains(&Action::Dial { node: node(2), kind: DialKind::Static }));
}
