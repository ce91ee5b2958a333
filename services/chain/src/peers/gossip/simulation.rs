//! A network of 200 nodes on invented time: how far a block comes in how many hops, and what it costs.

use super::blocks::{some_of, whole_block_share};
use crate::peers::known::{KNOWN_BLOCKS, KnownHashes};
use alloy_primitives::B256;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

const NODES: usize = 200;
/// Connections that each node makes; it is given about as many.
const DIALS: usize = 12;
/// Checking a header and its seal, and importing a block, in milliseconds.
const CHECK: u64 = 5;
const IMPORT: u64 = 120;
/// How long an announced block may yet come by itself.
const ARRIVE: u64 = 500;
const BLOCK: B256 = B256::repeat_byte(1);

/// What reaches a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Whole {
        from: usize,
        hops: usize,
    },
    Announced {
        from: usize,
        hops: usize,
    },
    /// Its wait for an announced block is over.
    Fetch {
        from: usize,
        hops: usize,
    },
    Imported {
        hops: usize,
    },
}

struct Node {
    /// Its peers, and what each is known to have.
    peers: Vec<(usize, KnownHashes)>,
    hops: Option<usize>,
}

impl Node {
    fn knows(&mut self, peer: usize) {
        for (_, known) in self.peers.iter_mut().filter(|(id, _)| *id == peer) {
            known.insert(BLOCK);
        }
    }

    /// Peers that are not known to have the block.
    fn lacking(&self) -> Vec<usize> {
        let lacking = self.peers.iter().filter(|(_, known)| !known.contains(&BLOCK));
        lacking.map(|(id, _)| *id).collect()
    }
}

/// What a run cost and reached.
#[derive(Default)]
struct Tally {
    whole: usize,
    surplus: usize,
    announcements: usize,
    fetched: usize,
    /// By hops: how many nodes, and when the last of them had the block.
    reach: BTreeMap<usize, (usize, u64)>,
}

struct Network {
    nodes: Vec<Node>,
    queue: BinaryHeap<Reverse<(u64, usize, Event)>>,
    rng: StdRng,
    now: u64,
    tally: Tally,
}

impl Network {
    fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut links = vec![Vec::new(); NODES];
        for node in 0..NODES {
            // The first keeps the network in one piece.
            let mut dials = vec![(node + 1) % NODES];
            dials.extend((1..DIALS).map(|_| rng.random_range(0..NODES)));
            for to in dials {
                if to != node && !links[node].contains(&to) {
                    links[node].push(to);
                    links[to].push(node);
                }
            }
        }
        let node = |peers: Vec<usize>| Node {
            peers: peers.into_iter().map(|peer| (peer, KnownHashes::new(KNOWN_BLOCKS))).collect(),
            hops: None,
        };
        let nodes = links.into_iter().map(node).collect();
        Self { nodes, queue: BinaryHeap::new(), rng, now: 0, tally: Tally::default() }
    }

    fn at(&mut self, after: u64, node: usize, event: Event) {
        self.queue.push(Reverse((self.now + after, node, event)));
    }

    fn latency(&mut self) -> u64 {
        self.rng.random_range(20..150)
    }

    /// A node has the block: whole to some, and on its way to be imported.
    fn take(&mut self, node: usize, hops: usize) {
        if self.nodes[node].hops.is_some() {
            self.tally.surplus += 1;
            return;
        }
        self.nodes[node].hops = Some(hops);
        let entry = self.tally.reach.entry(hops).or_default();
        *entry = (entry.0 + 1, entry.1.max(self.now));
        let mut chosen = self.nodes[node].lacking();
        let share = whole_block_share(chosen.len());
        some_of(&mut chosen, share, &mut self.rng);
        for peer in chosen {
            self.nodes[node].knows(peer);
            let after = CHECK + self.latency();
            self.tally.whole += 1;
            self.at(after, peer, Event::Whole { from: node, hops: hops + 1 });
        }
        self.at(CHECK + IMPORT, node, Event::Imported { hops });
    }

    fn handle(&mut self, node: usize, event: Event) {
        match event {
            Event::Whole { from, hops } => {
                self.nodes[node].knows(from);
                self.take(node, hops);
            }
            Event::Announced { from, hops } => {
                self.nodes[node].knows(from);
                if self.nodes[node].hops.is_none() {
                    self.at(ARRIVE, node, Event::Fetch { from, hops });
                }
            }
            Event::Fetch { from, hops } => {
                if self.nodes[node].hops.is_none() {
                    self.tally.fetched += 1;
                    let there_and_back = self.latency() + self.latency();
                    self.at(there_and_back, node, Event::Whole { from, hops });
                }
            }
            Event::Imported { hops } => {
                for peer in self.nodes[node].lacking() {
                    self.nodes[node].knows(peer);
                    let after = self.latency();
                    self.tally.announcements += 1;
                    self.at(after, peer, Event::Announced { from: node, hops: hops + 1 });
                }
            }
        }
    }

    fn run(&mut self, miner: usize) {
        self.take(miner, 0);
        while let Some(Reverse((at, node, event))) = self.queue.pop() {
            self.now = at;
            self.handle(node, event);
        }
    }
}

#[test]
fn a_block_reaches_two_hundred_nodes_in_a_few_hops() {
    for seed in 0..5 {
        let mut network = Network::new(seed);
        let links: usize = network.nodes.iter().map(|node| node.peers.len()).sum();
        network.run(7);
        let Tally { whole, surplus, announcements, fetched, reach } = &network.tally;
        println!("seed {seed}: {NODES} nodes, {} peers each on average", links / NODES);
        println!("  hops  nodes  of all  ms");
        let mut reached = 0;
        for (hops, (nodes, at)) in reach {
            reached += nodes;
            println!("  {hops:>4}  {nodes:>5}  {:>5}%  {at}", reached * 100 / NODES);
        }
        println!(
            "  {whole} whole blocks ({surplus} in vain), {announcements} announcements, {fetched} fetched"
        );
        assert_eq!(reached, NODES, "every node has the block");
        assert!(reach.keys().last().is_some_and(|most| *most <= 10), "hops grow as the logarithm");
        let within_six: usize = reach.range(..=6).map(|(_, (nodes, _))| nodes).sum();
        assert!(within_six * 10 >= NODES * 9, "{within_six} nodes within six hops");
        // Each node sends the square root of its peers, and tells nobody twice over one link.
        assert!(*whole <= NODES * whole_block_share(4 * DIALS), "{whole}");
        assert!(whole + announcements <= links, "a block goes over a link once in each direction at most");
    }
}
