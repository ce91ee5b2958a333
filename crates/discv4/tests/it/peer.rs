//! A scripted node: it signs real packets, and reads what the engine sends to it.

use alloy_primitives::B256;
use quintet_discv4::{
    Action, Config, Discv4, Endpoint, EnrRequest, EnrResponse, FindNode, Neighbour, Neighbours, Packet, Ping,
    Pong, Rejected, Scheme, Signer, verify,
};
use quintet_enode::{Enode, NodeKey, PublicKey, Record, RecordBuilder};
use rand::{SeedableRng as _, rngs::StdRng};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

pub(crate) const START: Duration = Duration::from_secs(1_700_000_000);
pub(crate) const MILLISECOND: Duration = Duration::from_millis(1);

/// The engine under test, with its time, and what it did.
pub(crate) struct Subject {
    pub engine: Discv4,
    pub now: Duration,
    pub addr: SocketAddr,
    signer: Signer,
}

impl Subject {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut Config)) -> Self {
        let key = NodeKey::generate();
        let addr: SocketAddr = ([50, 0, 0, 1], 30303).into();
        let record =
            RecordBuilder::new(1).ip(addr.ip()).udp(addr.port()).tcp(addr.port()).sign(&key).unwrap();
        let mut config = Config::new(key, record);
        config.rng = StdRng::seed_from_u64(7);
        change(&mut config);
        let engine = Discv4::new(config);
        let mut subject = Self { signer: engine.signer(), engine, now: START, addr };
        subject.engine.tick(START);
        subject.actions();
        subject
    }

    /// What the engine wants since it was asked last.
    pub(crate) fn actions(&mut self) -> Vec<Action> {
        std::iter::from_fn(|| self.engine.poll()).collect()
    }

    /// What the engine sent since it was asked last, to a peer.
    pub(crate) fn sent_to(&mut self, peer: &Peer) -> Vec<(Packet, B256)> {
        let sends = self.actions().into_iter().filter_map(|action| match action {
            Action::Send { to, datagram } if to == peer.addr => Some(datagram.seal(&self.signer)),
            _ => None,
        });
        let packets = sends.map(|datagram| verify(&datagram).unwrap());
        packets.map(|packet| (packet.packet().clone(), packet.hash())).collect()
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.now += time;
        self.engine.tick(self.now);
    }

    /// Gives a datagram of a peer to the engine.
    pub(crate) fn hears(&mut self, peer: &Peer, packet: &Packet) -> Result<(), Rejected> {
        self.engine.handle_packet(self.now, peer.addr, &peer.signer.seal(packet))
    }

    pub(crate) fn expiration(&self) -> u64 {
        self.now.as_secs() + 20
    }

    /// Goes through the whole endpoint proof with a peer, both ways.
    pub(crate) fn bonds_with(&mut self, peer: &Peer) {
        self.hears(peer, &peer.ping(self)).unwrap();
        let sent = self.sent_to(peer);
        let ping = sent.iter().find(|(packet, _)| matches!(packet, Packet::Ping(_)));
        let answer = pong(self, ping.unwrap().1);
        self.hears(peer, &answer).unwrap();
        self.actions();
    }
}

pub(crate) struct Peer {
    pub addr: SocketAddr,
    pub signer: Signer,
}

impl Peer {
    /// In a network of its own.
    pub(crate) fn new(number: u32) -> Self {
        Self::at(Ipv4Addr::from(0x3300_0001 + (number << 8)).into())
    }

    pub(crate) fn at(ip: IpAddr) -> Self {
        let signer = Signer::new(NodeKey::generate(), Scheme::SECP256K1);
        Self { addr: SocketAddr::new(ip, 30303), signer }
    }

    pub(crate) fn key(&self) -> PublicKey {
        self.signer.key().public()
    }

    pub(crate) fn enode(&self) -> Enode {
        Enode { public_key: self.key(), ip: self.addr.ip(), tcp: self.addr.port(), udp: self.addr.port() }
    }

    pub(crate) fn record(&self, seq: u64) -> Record {
        let builder = RecordBuilder::new(seq).ip(self.addr.ip()).udp(self.addr.port()).tcp(self.addr.port());
        builder.sign(self.signer.key()).unwrap()
    }

    pub(crate) fn ping(&self, subject: &Subject) -> Packet {
        let (from, expiration) = (Endpoint::of(&self.enode()), subject.expiration());
        let to = Endpoint { ip: Some(subject.addr.ip()), udp: subject.addr.port(), tcp: 0 };
        Packet::Ping(Ping { version: 4, from, to, expiration, enr_seq: None })
    }
}

pub(crate) fn pong(subject: &Subject, ping_hash: B256) -> Packet {
    let to = Endpoint { ip: Some(subject.addr.ip()), udp: subject.addr.port(), tcp: 0 };
    Packet::Pong(Pong { to, ping_hash, expiration: subject.expiration(), enr_seq: None })
}

/// A ping or a pong that says the number of its sender's record.
pub(crate) fn with_seq(packet: Packet, seq: u64) -> Packet {
    match packet {
        Packet::Ping(ping) => Packet::Ping(Ping { enr_seq: Some(seq), ..ping }),
        Packet::Pong(pong) => Packet::Pong(Pong { enr_seq: Some(seq), ..pong }),
        other => other,
    }
}

pub(crate) fn find_node(subject: &Subject, target: PublicKey) -> Packet {
    Packet::FindNode(FindNode { target, expiration: subject.expiration() })
}

pub(crate) fn neighbours(subject: &Subject, nodes: &[Enode]) -> Packet {
    let nodes = nodes.iter().map(Neighbour::of).collect();
    Packet::Neighbours(Neighbours { nodes, expiration: subject.expiration() })
}

pub(crate) fn enr_request(subject: &Subject) -> Packet {
    Packet::EnrRequest(EnrRequest { expiration: subject.expiration() })
}

pub(crate) fn enr_response(request_hash: B256, record: &Record) -> Packet {
    Packet::EnrResponse(EnrResponse { request_hash, record: record.encode().to_vec() })
}
