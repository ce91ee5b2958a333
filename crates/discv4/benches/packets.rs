//! Packets per second from datagram to datagram: hash, screening, signature recovery, the engine, and the signatures
//! of all that it sends. On one thread, and on two that share an engine.
//!
//! `ping` and `findnode` are questions alone, of which each makes us sign: one pong, and two packets of neighbours.
//! `mix` has the shares of the 725 datagrams that a node met in the real network: 479 pings, 172 pongs and 11
//! questions for neighbours, and 64 packets of neighbours, which lead to questions of our own.
//!
//! Nearly all of it is the curve's: of a packet's time in the mix, 63 % is the recovery of its signer and 31 % the
//! signatures of what it makes us send; the two hashes, the decoding, the screening and the engine share 6 %. So
//! `verify, two threads` is more than any change of ours can reach.

#![expect(missing_docs, reason = "criterion's macro makes a public function")]

use alloy_primitives::B256;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use quintet_discv4::{
    Action, Config, Discv4, Endpoint, FindNode, MAX_NEIGHBOURS, Neighbour, Neighbours, NodeFacts, Outgoing,
    Packet, Ping, Pong, Scheme, Signer, decode, verify,
};
use quintet_enode::{Enode, NodeKey, PublicKey, Record, RecordBuilder};
use rand::seq::SliceRandom as _;
use rand::{SeedableRng as _, rngs::StdRng};
use std::collections::{BTreeSet, HashMap};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

const NOW: Duration = Duration::from_secs(1_700_000_000);
const EXPIRATION: u64 = NOW.as_secs() + 20;
const PEERS: u32 = 1000;
const PINGS: usize = 479;
const PONGS: usize = 172;
const FIND_NODES: usize = 11;
const ANSWERS: usize = 32;
const LOOKUPS: u8 = 40;

type Datagrams = Vec<(SocketAddr, Vec<u8>)>;

struct Peer {
    signer: Signer,
    enode: Enode,
}

impl Peer {
    fn says(&self, packet: &Packet) -> (SocketAddr, Vec<u8>) {
        (self.enode.udp_addr(), self.signer.seal(packet))
    }
}

/// A node that all peers are bonded with.
struct Setup {
    key: NodeKey,
    record: Record,
    peers: Vec<Peer>,
}

impl Setup {
    fn new() -> Self {
        let key = NodeKey::from_bytes(&B256::repeat_byte(1)).expect("a secret");
        let record = RecordBuilder::new(1).ip([50, 0, 0, 1].into()).udp(30303).tcp(30303);
        let record = record.sign(&key).expect("a record");
        let peers = (1..=PEERS).map(|number| {
            let key = NodeKey::from_bytes(&B256::left_padding_from(&number.to_be_bytes())).expect("a secret");
            let ip = Ipv4Addr::from(0x3300_0001 + (number << 8)).into();
            let enode = Enode { public_key: key.public(), ip, tcp: 30303, udp: 30303 };
            Peer { signer: Signer::new(key, Scheme::SECP256K1), enode }
        });
        Self { key, record, peers: peers.collect() }
    }

    /// The engine: the same each time, with its pings to some peers and its lookups under way.
    fn engine(&self) -> Discv4 {
        let mut config = Config::new(self.key.clone(), self.record.clone());
        config.rng = StdRng::seed_from_u64(1);
        let mut engine = Discv4::new(config);
        for peer in &self.peers {
            let (enode, met) = (peer.enode, Some(NOW));
            let facts =
                NodeFacts { enode, record: None, last_ping: met, last_pong: met, failures: 0, seed: true };
            engine.restore(&facts);
            engine.add_node(NOW, enode);
        }
        for target in 0..LOOKUPS {
            engine.lookup(NOW, PublicKey::repeat_byte(target)).expect("a lookup");
        }
        for peer in &self.peers[..PONGS] {
            engine.ping(NOW, peer.enode).expect("a ping");
        }
        engine
    }

    /// An engine with nothing left to do.
    fn ready(&self) -> Discv4 {
        let mut engine = self.engine();
        while engine.poll().is_some() {}
        engine
    }

    fn pings(&self) -> Datagrams {
        let ping = |peer: &Peer| {
            let (from, to) = (Endpoint::of(&peer.enode), Endpoint::default());
            peer.says(&Packet::Ping(Ping { version: 4, from, to, expiration: EXPIRATION, enr_seq: Some(0) }))
        };
        self.peers.iter().map(ping).collect()
    }

    fn find_nodes(&self) -> Datagrams {
        let question =
            Packet::FindNode(FindNode { target: PublicKey::repeat_byte(9), expiration: EXPIRATION });
        self.peers.iter().map(|peer| peer.says(&question)).collect()
    }

    fn mix(&self) -> Datagrams {
        let by_addr: HashMap<_, _> = self.peers.iter().map(|peer| (peer.enode.udp_addr(), peer)).collect();
        let (mut engine, mut asked, mut datagrams) = (self.engine(), BTreeSet::new(), Datagrams::new());
        while let Some(action) = engine.poll() {
            match action {
                Action::Send { to, datagram: Outgoing::Sealed { datagram, .. } } => {
                    let ping_hash = decode(&datagram).expect("our ping").hash();
                    let to_us = Endpoint::default();
                    let pong = Pong { to: to_us, ping_hash, expiration: EXPIRATION, enr_seq: Some(0) };
                    datagrams.push(by_addr[&to].says(&Packet::Pong(pong)));
                }
                Action::Send { to, datagram: Outgoing::Draft(Packet::FindNode(_)) } => {
                    asked.insert(to);
                }
                _ => {}
            }
        }
        assert_eq!(datagrams.len(), PONGS);
        for (index, asked) in asked.into_iter().take(ANSWERS).enumerate() {
            let named: Vec<_> =
                self.peers[index * 16..][..16].iter().map(|peer| Neighbour::of(&peer.enode)).collect();
            for nodes in named.chunks(MAX_NEIGHBOURS) {
                let answer = Neighbours { nodes: nodes.to_vec(), expiration: EXPIRATION };
                datagrams.push(by_addr[&asked].says(&Packet::Neighbours(answer)));
            }
        }
        assert_eq!(datagrams.len(), PONGS + 2 * ANSWERS);
        datagrams.extend(self.pings().into_iter().take(PINGS));
        datagrams.extend(self.find_nodes().into_iter().take(FIND_NODES));
        datagrams.shuffle(&mut StdRng::seed_from_u64(2));
        datagrams
    }
}

fn drain(engine: &mut Discv4) -> Vec<Outgoing> {
    let actions = std::iter::from_fn(|| engine.poll());
    let sends = actions.filter_map(|action| match action {
        Action::Send { datagram, .. } => Some(datagram),
        _ => None,
    });
    sends.collect()
}

/// From datagrams to datagrams, on this thread. The bytes that would be sent.
fn one_thread(mut engine: Discv4, datagrams: &Datagrams) -> usize {
    let signer = engine.signer();
    let mut sent = 0;
    for (from, datagram) in datagrams {
        engine.handle_packet(NOW, *from, datagram).expect("it is handled");
        sent += drain(&mut engine).into_iter().map(|datagram| datagram.seal(&signer).len()).sum::<usize>();
    }
    sent
}

/// As [`one_thread`] for one of several threads: what needs the engine is done under its lock.
fn shared(engine: &Mutex<Discv4>, signer: &Signer, datagrams: &[(SocketAddr, Vec<u8>)]) -> usize {
    let mut sent = 0;
    for (from, datagram) in datagrams {
        let packet = decode(datagram).expect("a packet");
        let screened = engine.lock().expect("no panic").screen(NOW, *from, packet).expect("it is wanted");
        let verified = screened.recover().expect("a signature");
        let outgoing = {
            let mut engine = engine.lock().expect("no panic");
            engine.handle(NOW, *from, verified).expect("it is handled");
            drain(&mut engine)
        };
        sent += outgoing.into_iter().map(|datagram| datagram.seal(signer).len()).sum::<usize>();
    }
    sent
}

fn two_threads(engine: Discv4, datagrams: &Datagrams) -> usize {
    let (signer, engine) = (engine.signer(), Mutex::new(engine));
    let (left, right) = datagrams.split_at(datagrams.len() / 2);
    thread::scope(|scope| {
        let other = scope.spawn(|| shared(&engine, &signer, left));
        shared(&engine, &signer, right) + other.join().expect("no panic")
    })
}

/// The floor: one recovery, and one signature, with the hashes and the encoding around them; and how many recoveries two
/// threads make that do nothing else.
fn curve(criterion: &mut Criterion, setup: &Setup) {
    let pings = setup.pings();
    let (_, datagram) = &pings[0];
    let to = Endpoint::default();
    let pong = Packet::Pong(Pong { to, ping_hash: B256::ZERO, expiration: EXPIRATION, enr_seq: Some(0) });
    let mut group = criterion.benchmark_group("curve");
    group.throughput(Throughput::Elements(1));
    group.bench_function("verify", |bencher| bencher.iter(|| verify(datagram)));
    group.bench_function("seal", |bencher| bencher.iter(|| setup.peers[0].signer.seal(&pong)));
    group.throughput(Throughput::Elements(pings.len() as u64));
    group.bench_function("verify, two threads", |bencher| {
        let (left, right) = pings.split_at(pings.len() / 2);
        let all = |part: &[(SocketAddr, Vec<u8>)]| part.iter().all(|(_, ping)| verify(ping).is_ok());
        bencher.iter(|| {
            thread::scope(|scope| {
                let other = scope.spawn(|| all(left));
                all(right) && other.join().expect("no panic")
            })
        });
    });
    group.finish();
}

fn packets(criterion: &mut Criterion) {
    let setup = Setup::new();
    curve(criterion, &setup);
    let loads = [("mix", setup.mix()), ("ping", setup.pings()), ("findnode", setup.find_nodes())];
    for (name, datagrams) in &loads {
        let mut group = criterion.benchmark_group(*name);
        group.throughput(Throughput::Elements(datagrams.len() as u64));
        group.bench_function("one thread", |bencher| {
            let run = |engine| one_thread(engine, datagrams);
            bencher.iter_batched(|| setup.ready(), run, BatchSize::PerIteration);
        });
        group.bench_function("two threads", |bencher| {
            let run = |engine| two_threads(engine, datagrams);
            bencher.iter_batched(|| setup.ready(), run, BatchSize::PerIteration);
        });
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).measurement_time(Duration::from_secs(5));
    targets = packets
}
criterion_main!(benches);
