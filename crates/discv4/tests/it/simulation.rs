//! Networks of many nodes: lookups find the closest in few steps, and tables heal after half of all nodes vanish.

use crate::network::Network;
use alloy_primitives::keccak256;
use quintet_discv4::{BUCKET_SIZE, LookupResult};
use quintet_enode::PublicKey;
use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::time::Duration;

/// Whom everybody knows at first.
const BOOTNODES: usize = 3;
const LOOKUPS: usize = 60;
/// The time that tables are given to heal.
const HEALING: Duration = Duration::from_mins(25);

fn network_of(size: usize) -> Network {
    let mut network = Network::new(42);
    for index in 0..size {
        let bootnodes = network.nodes.iter().take(BOOTNODES).map(|node| node.enode).collect();
        network.join(bootnodes);
        // The first ones make acquaintance; then some fifty come at once.
        network.run(Duration::from_millis(if index < 50 { 1000 } else { 200 }));
    }
    network.run(Duration::from_mins(2));
    network
}

/// What a number of lookups came to.
#[derive(Default)]
struct Summary {
    hops: BTreeMap<u32, usize>,
    queries: u32,
    found: usize,
    expected: usize,
}

impl Summary {
    fn of(network: &mut Network) -> Self {
        let mut summary = Self::default();
        for number in 0..LOOKUPS {
            let mut asker = network.random(network.nodes.len());
            while !network.nodes[asker].alive {
                asker = network.random(network.nodes.len());
            }
            let target = PublicKey::from_slice(&[keccak256(number.to_be_bytes()).0; 2].concat());
            let LookupResult { nodes, hops, queries, .. } = network.lookup(asker, target);
            let closest = network.closest(asker, &keccak256(target), BUCKET_SIZE);
            *summary.hops.entry(hops).or_default() += 1;
            summary.queries += queries;
            summary.found += closest.iter().filter(|node| nodes.contains(node)).count();
            summary.expected += closest.len();
        }
        summary
    }

    fn print(&self, title: &str) {
        let Self { hops, queries, found, expected } = self;
        let asked = f64::from(*queries) / LOOKUPS as f64;
        let line = format!(
            "{title}: {found} of {expected} closest found, {asked:.1} nodes asked per lookup, lookups by hops {hops:?}\n"
        );
        // Not `println!`, whose text the test harness hides when the test passes.
        io::stderr().write_all(line.as_bytes()).unwrap();
    }

    fn share_found(&self) -> f64 {
        self.found as f64 / self.expected as f64
    }

    fn max_hops(&self) -> u32 {
        self.hops.keys().copied().max().unwrap()
    }

    fn mean_hops(&self) -> f64 {
        let sum: f64 = self.hops.iter().map(|(hops, count)| f64::from(*hops) * *count as f64).sum();
        sum / LOOKUPS as f64
    }
}

/// The share of the tables' nodes that are alive, over all who are.
fn living_share(network: &Network) -> f64 {
    let alive = network.nodes.iter().filter(|node| node.alive);
    let known: Vec<_> = alive.flat_map(|node| node.engine.table().nodes()).collect();
    let living = known.iter().filter(|node| network.is_alive(&node.enode)).count();
    living as f64 / known.len() as f64
}

#[test]
fn lookups_find_the_closest_in_few_hops_and_tables_heal() {
    grow_and_heal(75, 300);
}

#[test]
#[ignore = "takes the better part of a minute; `cargo test -p quintet-discv4 -- --ignored`"]
fn two_thousand_nodes_find_each_other_and_heal() {
    grow_and_heal(250, 2000);
}

fn grow_and_heal(few: usize, many: usize) {
    let mut small = network_of(few);
    let of_few = Summary::of(&mut small);
    of_few.print(&format!("{few} nodes"));

    let mut network = network_of(many);
    let of_many = Summary::of(&mut network);
    of_many.print(&format!("{many} nodes"));
    assert!(of_few.share_found() > 0.99 && of_many.share_found() > 0.99);
    // Each step halves the distance at least, and so does each doubling of the network.
    let doublings = (many as f64 / few as f64).log2();
    assert!(f64::from(of_many.max_hops()) <= (many as f64).log2(), "{:?}", of_many.hops);
    assert!(of_many.mean_hops() <= of_few.mean_hops() + doublings);

    for index in 0..network.nodes.len() {
        if network.random(2) == 0 {
            network.kill(index);
        }
    }
    let broken = living_share(&network);
    network.run(HEALING);
    let healed = living_share(&network);
    let after = Summary::of(&mut network);
    after.print(&format!("{} minutes after half of them vanished", HEALING.as_secs() / 60));
    let packets = network.packets;
    let line = format!("living nodes in tables: {broken:.2}, then {healed:.2}; {packets} packets in all\n");
    io::stderr().write_all(line.as_bytes()).unwrap();
    assert!((0.35..0.65).contains(&broken) && healed > 0.9, "{broken} {healed}");
    assert!(after.share_found() > 0.99 && f64::from(after.max_hops()) <= (many as f64).log2());
}
