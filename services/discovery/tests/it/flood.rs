//! How many packets the whole service handles in a second: by hand, with
//! `cargo test -p quintet-discovery --test it flood -- --ignored --nocapture`.
//!
//! Senders on loopback with endpoint proofs send batches that were signed before, and wait for the answer to the ping at
//! each batch's end, so that nothing is lost on the way. They take their part of the processors, too.

use crate::node::{DEADLINE, Node, settings};
use quintet_discv4::{
    Endpoint, EnrRequest, FindNode, Outgoing, Packet, Ping, Pong, Scheme, Signer, VERSION, decode,
};
use quintet_enode::{NodeKey, PublicKey};
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const SENDERS: u16 = 4;
const BATCHES: u64 = 400;
const BATCH: u64 = 32;

type Kind = fn(u64, &Sender) -> Packet;

struct Sender {
    socket: UdpSocket,
    signer: Signer,
    to: SocketAddr,
}

fn expiration(number: u64) -> u64 {
    // Each packet is another one.
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs() + 1000 + number
}

fn ping(number: u64, sender: &Sender) -> Packet {
    let own = sender.socket.local_addr().expect("bound");
    let from = Endpoint { ip: Some(own.ip()), udp: own.port(), tcp: 0 };
    let to = Endpoint { ip: Some(sender.to.ip()), udp: sender.to.port(), tcp: 0 };
    Packet::Ping(Ping { version: VERSION, from, to, expiration: expiration(number), enr_seq: None })
}

fn find_node(number: u64, _: &Sender) -> Packet {
    Packet::FindNode(FindNode { target: PublicKey::random(), expiration: expiration(number) })
}

fn unsolicited(number: u64, sender: &Sender) -> Packet {
    let Packet::Ping(ping) = ping(number, sender) else { unreachable!("a ping") };
    let ping_hash = alloy_primitives::B256::random();
    Packet::Pong(Pong { to: ping.to, ping_hash, expiration: ping.expiration, enr_seq: None })
}

fn mixed(number: u64, sender: &Sender) -> Packet {
    match number % 4 {
        0 => ping(number, sender),
        1 => find_node(number, sender),
        2 => Packet::EnrRequest(EnrRequest { expiration: expiration(number) }),
        _ => unsolicited(number, sender),
    }
}

impl Sender {
    /// A sender that proved where it is.
    fn new(to: SocketAddr) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        socket.set_read_timeout(Some(Duration::from_secs(5))).expect("a time-out");
        let sender = Self { socket, signer: Signer::new(NodeKey::generate(), Scheme::SECP256K1), to };
        sender.send(&sender.seal(ping(0, &sender)));
        let (theirs, hash) = loop {
            if let (Packet::Ping(theirs), hash) = sender.receive() {
                break (theirs, hash);
            }
        };
        let pong = Pong { to: theirs.from, ping_hash: hash, expiration: expiration(0), enr_seq: None };
        sender.send(&sender.seal(Packet::Pong(pong)));
        // The proof is taken once a question is answered.
        sender.send(&sender.seal(find_node(0, &sender)));
        while !matches!(sender.receive().0, Packet::Neighbours(_)) {}
        sender
    }

    fn seal(&self, packet: Packet) -> Vec<u8> {
        Outgoing::Draft(packet).seal(&self.signer)
    }

    fn send(&self, packet: &[u8]) {
        self.socket.send_to(packet, self.to).expect("sent");
    }

    fn receive(&self) -> (Packet, alloy_primitives::B256) {
        let mut buffer = [0; 1280];
        let length = self.socket.recv(&mut buffer).expect("an answer in time");
        let decoded = decode(&buffer[..length]).expect("a packet");
        (decoded.packet().clone(), decoded.hash())
    }

    /// Batches of a kind, each ending with a ping, and that ping's hash.
    fn prepare(&self, kind: Kind) -> Vec<(Vec<Vec<u8>>, [u8; 32])> {
        let batch = |index: u64| {
            let mut packets: Vec<_> =
                (1..BATCH).map(|at| self.seal(kind(index * BATCH + at, self))).collect();
            let last = self.seal(ping(index * BATCH, self));
            let hash = last[..32].try_into().expect("a hash");
            packets.push(last);
            (packets, hash)
        };
        (0..BATCHES).map(batch).collect()
    }

    fn flood(&self, batches: &[(Vec<Vec<u8>>, [u8; 32])]) {
        for (packets, hash) in batches {
            for packet in packets {
                self.send(packet);
            }
            while !matches!(self.receive().0, Packet::Pong(pong) if pong.ping_hash == *hash) {}
        }
    }
}

/// Time on a processor of all threads that there are, in microseconds.
fn cpu_of_process() -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task").expect("tasks").flatten();
    let nanoseconds = tasks.filter_map(|task| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<f64>().ok()
    });
    nanoseconds.sum::<f64>() / 1000.0
}

/// Packets per second, and the service's own time on a processor for each, in microseconds.
fn measure(to: SocketAddr, kind: Kind) -> (f64, f64) {
    let senders: Vec<_> = (0..SENDERS).map(|_| Sender::new(to)).collect();
    let prepared: Vec<_> = senders.iter().map(|sender| sender.prepare(kind)).collect();
    let (start, before) = (Instant::now(), cpu_of_process());
    std::thread::scope(|scope| {
        for (sender, batches) in senders.iter().zip(&prepared) {
            scope.spawn(|| sender.flood(batches));
        }
    });
    let count = (u64::from(SENDERS) * BATCHES * BATCH) as f64;
    // The senders' threads ended, and are not among those that are there now.
    (count / start.elapsed().as_secs_f64(), (cpu_of_process() - before) / count)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement: it prints times and asserts none; with `--ignored --nocapture`"]
async fn flood() {
    for protocols in ["v4", "v4 v5"] {
        let node = Node::start(settings(protocols, &[])).await;
        let to = node.discovery.udp_address().expect("a socket");
        let kinds: [(&str, Kind); 4] =
            [("pings", ping), ("questions", find_node), ("unsolicited pongs", unsolicited), ("mixed", mixed)];
        for (name, kind) in kinds {
            let rate = tokio::task::spawn_blocking(move || measure(to, kind));
            let rate = tokio::time::timeout(2 * DEADLINE, rate).await.expect("in time").expect("no panic");
            let (rate, cost) = rate;
            println!("{protocols}: {name}: {rate:.0} packets/s, {cost:.1} µs of a processor each");
        }
        node.stop().await;
    }
}
