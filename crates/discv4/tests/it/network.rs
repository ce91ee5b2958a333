//! Many engines in one network, with invented time and without the curve: answers travel as packets, requests as
//! datagrams whose signature is the sender's key.

use alloy_primitives::B256;
use quintet_discv4::{
    Action, Config, Discv4, LookupId, LookupResult, Outgoing, Scheme, Verified, decode, distance,
};
use quintet_enode::{Enode, NodeKey, PublicKey, RecordBuilder};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

pub(crate) const START: Duration = Duration::from_secs(1_700_000_000);

/// A scheme that anybody could forge, as nobody here does.
const KEY_AS_SIGNATURE: Scheme = Scheme {
    sign: |key, _| {
        let mut signature = [0; 65];
        signature[..64].copy_from_slice(key.public().as_slice());
        signature
    },
    recover: |_, signature| Some(PublicKey::from_slice(&signature[..64])),
};

enum Event {
    Tick(usize),
    Arrival { from: usize, to: usize, datagram: Outgoing },
}

pub(crate) struct Network {
    pub now: Duration,
    pub nodes: Vec<Node>,
    pub packets: u64,
    by_addr: HashMap<SocketAddr, usize>,
    queue: BinaryHeap<Reverse<(Duration, u64)>>,
    events: HashMap<u64, Event>,
    last_event: u64,
    rng: StdRng,
}

pub(crate) struct Node {
    pub engine: Discv4,
    pub enode: Enode,
    pub alive: bool,
    next_tick: Duration,
    finished: BTreeMap<LookupId, LookupResult>,
}

impl Network {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            now: START,
            nodes: Vec::new(),
            packets: 0,
            by_addr: HashMap::new(),
            queue: BinaryHeap::new(),
            events: HashMap::new(),
            last_event: 0,
            rng: StdRng::seed_from_u64(seed),
        }
    }

    /// A new node, in a network of its own, that knows these others.
    pub(crate) fn join(&mut self, bootnodes: Vec<Enode>) {
        let index = self.nodes.len();
        let secret = B256::left_padding_from(&(index + 1).to_be_bytes());
        let key = NodeKey::from_bytes(&secret).unwrap();
        let ip = Ipv4Addr::from(0x3200_0001 + (u32::try_from(index).unwrap() << 8)).into();
        let enode = Enode { public_key: key.public(), ip, tcp: 30303, udp: 30303 };
        // Records are not asked for where nobody has one of a number.
        let record = RecordBuilder::new(0).ip(ip).udp(30303).tcp(30303).sign(&key).unwrap();
        let mut config = Config::new(key, record);
        config.bootnodes = bootnodes;
        config.scheme = KEY_AS_SIGNATURE;
        config.rng = StdRng::seed_from_u64(self.rng.random());
        let engine = Discv4::new(config);
        let next_tick = Duration::MAX;
        self.nodes.push(Node { engine, enode, alive: true, next_tick, finished: BTreeMap::new() });
        self.by_addr.insert(enode.udp_addr(), index);
        self.touch(index, Discv4::tick);
    }

    /// A node vanishes without a word.
    pub(crate) fn kill(&mut self, index: usize) {
        self.nodes[index].alive = false;
    }

    /// Lets time pass.
    pub(crate) fn run(&mut self, time: Duration) {
        self.run_until(time, |_| false);
    }

    /// One lookup, run to its end.
    pub(crate) fn lookup(&mut self, index: usize, target: PublicKey) -> LookupResult {
        let mut id = None;
        self.touch(index, |engine, now| id = engine.lookup(now, target).ok());
        let id = id.expect("the node is not busy");
        self.run_until(Duration::from_mins(2), |network| network.nodes[index].finished.contains_key(&id));
        self.nodes[index].finished.remove(&id).expect("the lookup ends in two minutes")
    }

    /// The living nodes closest to a target, other than `asker`, closest first.
    pub(crate) fn closest(&self, asker: usize, target: &B256, count: usize) -> Vec<Enode> {
        let others = self.nodes.iter().enumerate().filter(|(index, node)| *index != asker && node.alive);
        let mut nodes: Vec<_> = others.map(|(_, node)| node.enode).collect();
        nodes.sort_by_cached_key(|node| distance(target, &node.node_id()));
        nodes.truncate(count);
        nodes
    }

    pub(crate) fn random(&mut self, below: usize) -> usize {
        self.rng.random_range(0..below)
    }

    pub(crate) fn is_alive(&self, node: &Enode) -> bool {
        self.nodes[self.by_addr[&node.udp_addr()]].alive
    }

    fn run_until(&mut self, time: Duration, done: impl Fn(&Self) -> bool) {
        let end = self.now + time;
        while let Some(Reverse((at, _))) = self.queue.peek()
            && *at <= end
            && !done(self)
        {
            let Reverse((at, id)) = self.queue.pop().unwrap();
            self.now = self.now.max(at);
            match self.events.remove(&id).unwrap() {
                Event::Tick(index) => {
                    if self.nodes[index].alive && self.nodes[index].next_tick == at {
                        self.nodes[index].next_tick = Duration::MAX;
                        self.touch(index, Discv4::tick);
                    }
                }
                Event::Arrival { from, to, datagram } => {
                    if self.nodes[to].alive {
                        self.packets += 1;
                        self.deliver(from, to, datagram, id);
                    }
                }
            }
        }
        if !done(self) {
            self.now = end;
        }
    }

    fn deliver(&mut self, from: usize, to: usize, datagram: Outgoing, id: u64) {
        let sender = self.nodes[from].enode;
        let packet = match datagram {
            Outgoing::Draft(packet) => {
                let mut hash = B256::repeat_byte(0xff);
                hash[24..].copy_from_slice(&id.to_be_bytes());
                Verified::trusted(packet, sender.public_key, hash)
            }
            Outgoing::Sealed { datagram, .. } => {
                decode(&datagram).unwrap().recover_with(KEY_AS_SIGNATURE).unwrap()
            }
        };
        self.touch(to, |engine, now| {
            // What comes late is dropped, as it should be.
            drop(engine.handle(now, sender.udp_addr(), packet));
        });
    }

    /// Calls an engine, and does what it wants.
    fn touch(&mut self, index: usize, call: impl FnOnce(&mut Discv4, Duration)) {
        call(&mut self.nodes[index].engine, self.now);
        while let Some(action) = self.nodes[index].engine.poll() {
            match action {
                Action::Send { to, datagram } => {
                    let latency = Duration::from_millis(self.rng.random_range(10..80));
                    let to = self.by_addr[&to];
                    self.push(self.now + latency, Event::Arrival { from: index, to, datagram });
                }
                Action::LookupFinished(result) => {
                    self.nodes[index].finished.insert(result.id, result);
                }
                _ => {}
            }
        }
        let next_tick = self.nodes[index].engine.next_tick().max(self.now);
        if next_tick < self.nodes[index].next_tick {
            self.nodes[index].next_tick = next_tick;
            self.push(next_tick, Event::Tick(index));
        }
    }

    fn push(&mut self, at: Duration, event: Event) {
        self.last_event += 1;
        self.events.insert(self.last_event, event);
        self.queue.push(Reverse((at, self.last_event)));
    }
}
