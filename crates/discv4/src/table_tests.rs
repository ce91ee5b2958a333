//! The table's rules: places, limits, the order of nodes, and who goes when.

use super::*;
use crate::distance::log_distance;
use proptest::prelude::*;
use quintet_enode::{NodeKey, RecordBuilder};
use rand::SeedableRng as _;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

fn rng() -> StdRng {
    StdRng::seed_from_u64(1)
}

/// A node in a network of its own.
fn node(number: u32) -> Enode {
    at(Ipv4Addr::from(0x3200_0001 + (number << 8)).into())
}

fn at(ip: IpAddr) -> Enode {
    Enode { public_key: NodeKey::generate().public(), ip, tcp: 30303, udp: 30303 }
}

/// Nodes of the farthest bucket, where half of all belong.
fn far_nodes(table: &Table, count: usize) -> Vec<Enode> {
    let all = (0..10_000).map(node);
    all.filter(|node| log_distance(&table.own, &node.node_id()) == 256).take(count).collect()
}

fn bucket_ids(table: &Table) -> Vec<B256> {
    table.buckets[BUCKETS - 1].entries.iter().map(|node| node.node_id).collect()
}

#[test]
fn buckets_are_those_of_geth() {
    let own = B256::ZERO;
    let id = |bits: usize| {
        let mut id = B256::ZERO;
        if let Some(bit) = bits.checked_sub(1) {
            id[31 - bit / 8] = 1 << (bit % 8);
        }
        id
    };
    assert_eq!(BUCKETS, 17);
    for (bits, bucket) in [(0, 0), (1, 0), (239, 0), (240, 0), (241, 1), (255, 15), (256, 16)] {
        assert_eq!(bucket_index(&own, &id(bits)), bucket, "distance {bits}");
    }
}

#[test]
fn a_full_bucket_has_replacements_and_a_removed_node_is_replaced() {
    let mut table = Table::new(B256::ZERO);
    let nodes = far_nodes(&table, 40);
    let added = nodes.iter().filter(|node| table.add_seen(Duration::ZERO, **node)).count();
    assert_eq!((added, table.len()), (BUCKET_SIZE, BUCKET_SIZE));
    let waiting: Vec<_> = table.buckets[BUCKETS - 1].replacements.iter().map(|node| node.enode).collect();
    let mut newest = nodes[30..].to_vec();
    newest.reverse();
    assert_eq!(waiting, newest, "the last ten, newest first");
    assert!(!table.add_seen(Duration::ZERO, nodes[0]) && !table.add_seen(Duration::ZERO, newest[0]));

    let first = nodes[0].node_id();
    let outcome = table.check_failed(&first, &mut rng());
    let Outcome::Removed { removed, replacement: Some(replacement) } = outcome else { panic!("{outcome:?}") };
    assert_eq!(removed, nodes[0]);
    assert!(newest.contains(&replacement));
    assert_eq!(bucket_ids(&table).last(), Some(&replacement.node_id()), "it is soon checked");
    assert_eq!(
        (table.len(), table.buckets[BUCKETS - 1].replacements.len()),
        (BUCKET_SIZE, MAX_REPLACEMENTS - 1)
    );
    assert_eq!(table.check_failed(&first, &mut rng()), Outcome::Kept, "it is not there");
}

#[test]
fn signs_of_life_move_a_node_to_the_front_and_the_silent_come_last() {
    let mut table = Table::new(B256::ZERO);
    let nodes = far_nodes(&table, 4);
    for node in &nodes[..3] {
        table.add_seen(Duration::ZERO, *node);
    }
    let ids: Vec<_> = nodes.iter().map(Enode::node_id).collect();
    assert_eq!(bucket_ids(&table), ids[..3]);
    assert_eq!(table.random_last(&mut rng()).unwrap().node_id, ids[2]);
    table.check_passed(&ids[2]);
    assert_eq!(bucket_ids(&table), [ids[2], ids[0], ids[1]]);
    assert!(table.add_verified(Duration::ZERO, nodes[3], true));
    assert!(!table.add_verified(Duration::ZERO, nodes[1], true));
    assert_eq!(bucket_ids(&table), [ids[1], ids[3], ids[2], ids[0]]);
    assert_eq!(table.random_last(&mut rng()).unwrap().node_id, ids[0]);
}

#[test]
fn a_node_of_merit_survives_a_lost_packet() {
    let mut table = Table::new(B256::ZERO);
    let id = node(1).node_id();
    let known = node(2);
    table.add_seen(Duration::ZERO, known);
    for _ in 0..10 {
        table.check_passed(&known.node_id());
    }
    assert_eq!(table.check_failed(&known.node_id(), &mut rng()), Outcome::Kept);
    assert_eq!(table.get(&known.node_id()).unwrap().liveness_checks, 2);
    assert!(matches!(table.check_failed(&known.node_id(), &mut rng()), Outcome::Removed { .. }));
    assert_eq!(table.get(&id), None);
}

#[test]
fn networks_are_limited_and_local_ones_are_not() {
    let mut table = Table::new(B256::ZERO);
    let in_network = |host: u8| at(Ipv4Addr::new(8, 8, 8, host).into());
    let added = (0..200).filter(|host| table.add_seen(Duration::ZERO, in_network(*host))).count();
    assert!(added <= TABLE_SUBNET_LIMIT, "{added}");
    let of_bucket = table.buckets.iter().map(|bucket| bucket.entries.len()).max().unwrap();
    assert_eq!(of_bucket, BUCKET_SUBNET_LIMIT);
    for known in table.nodes().map(|node| node.node_id).collect::<Vec<_>>() {
        table.check_failed(&known, &mut rng());
    }
    assert!(table.is_empty());
    assert!(table.add_seen(Duration::ZERO, in_network(1)), "who left is not counted");

    let mut table = Table::new(B256::ZERO);
    let local =
        (0..200).filter(|host| table.add_seen(Duration::ZERO, at(Ipv4Addr::new(10, 0, 0, *host).into())));
    assert!(local.count() > 50);
}

#[test]
fn a_node_that_moves_takes_its_count_along() {
    let mut table = Table::new(B256::ZERO);
    let nodes = far_nodes(&table, 5);
    let moved_to = |index: usize, host: u8| Enode { ip: Ipv4Addr::new(8, 8, 8, host).into(), ..nodes[index] };
    for node in &nodes {
        table.add_seen(Duration::ZERO, *node);
        table.check_passed(&node.node_id());
    }
    table.update(&nodes[0].node_id(), Some(moved_to(0, 1)), None);
    table.update(&nodes[1].node_id(), Some(moved_to(1, 2)), None);
    table.update(&nodes[2].node_id(), Some(moved_to(2, 3)), None);
    let known = |index: usize| table.get(&nodes[index].node_id()).unwrap();
    assert_eq!((known(1).enode, known(1).liveness_checks), (moved_to(1, 2), 0), "not checked there");
    assert_eq!((known(2).enode, known(2).liveness_checks), (nodes[2], 1), "a third one is refused");

    let key = NodeKey::generate();
    let record = RecordBuilder::new(9).sign(&key).unwrap();
    table.update(&nodes[3].node_id(), None, Some(record.clone()));
    assert_eq!(table.get(&nodes[3].node_id()).unwrap().seq(), 9);
}

#[test]
fn the_closest_are_told_and_the_unchecked_only_without_others() {
    let mut table = Table::new(B256::ZERO);
    let nodes: Vec<_> = (0..100).map(node).filter(|node| table.add_seen(Duration::ZERO, *node)).collect();
    let target = B256::repeat_byte(0x5a);
    let sorted = |nodes: &[Enode]| {
        let mut ids: Vec<_> = nodes.iter().map(Enode::node_id).collect();
        ids.sort_by_key(|id| distance(&target, id));
        ids.truncate(BUCKET_SIZE);
        ids
    };
    let closest = |table: &Table, live: bool| {
        table.closest(&target, BUCKET_SIZE, live).iter().map(|node| node.node_id).collect::<Vec<_>>()
    };
    assert_eq!(closest(&table, false), sorted(&nodes));
    assert_eq!(closest(&table, true), sorted(&nodes));
    for node in &nodes[..5] {
        table.check_passed(&node.node_id());
    }
    assert_eq!(closest(&table, true), sorted(&nodes[..5]));
    assert_eq!(closest(&table, false), sorted(&nodes));
}

/// What may happen to a node.
#[derive(Clone, Copy, Debug)]
enum Event {
    Seen,
    Verified,
    Passed,
    Failed,
    Moved(u8),
}

fn event() -> impl Strategy<Value = Event> {
    let moved = any::<u8>().prop_map(Event::Moved);
    prop_oneof![Just(Event::Seen), Just(Event::Verified), Just(Event::Passed), Just(Event::Failed), moved]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn limits_hold_whatever_happens(events in prop::collection::vec((0..120_usize, event()), 0..400)) {
        let mut table = Table::new(B256::ZERO);
        let mut rng = rng();
        // Few networks, so that limits are met.
        let place = |number: usize| Ipv4Addr::new(9, 9, u8::try_from(number % 12).unwrap(), 1).into();
        let nodes: Vec<_> = (0..120).map(|number| at(place(number))).collect();
        for (index, event) in events {
            let node = nodes[index];
            let id = node.node_id();
            match event {
                Event::Seen => drop(table.add_seen(Duration::ZERO, node)),
                Event::Verified => drop(table.add_verified(Duration::ZERO, node, true)),
                Event::Passed => table.check_passed(&id),
                Event::Failed => drop(table.check_failed(&id, &mut rng)),
                Event::Moved(to) => {
                    table.update(&id, Some(Enode { ip: place(to.into()), ..node }), None);
                }
            }
            let mut counts = HashMap::<IpAddr, usize>::new();
            for bucket in &table.buckets {
                prop_assert!(bucket.entries.len() <= BUCKET_SIZE);
                prop_assert!(bucket.replacements.len() <= MAX_REPLACEMENTS);
                let mut of_bucket = HashMap::<IpAddr, usize>::new();
                for known in bucket.entries.iter().chain(&bucket.replacements) {
                    *counts.entry(known.enode.ip).or_default() += 1;
                    *of_bucket.entry(known.enode.ip).or_default() += 1;
                }
                prop_assert!(of_bucket.values().all(|count| *count <= BUCKET_SUBNET_LIMIT));
            }
            prop_assert!(counts.values().all(|count| *count <= TABLE_SUBNET_LIMIT));
        }
    }
}
