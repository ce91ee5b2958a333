//! One peer's session: its messages wait in two lanes, each of which is worked off by a task of its own. One takes answers
//! and gossip, the other what the peer asks for.

use super::inbox::Lane;
use super::link::Link;
use super::peer::{NewPeer, Peer, PeerHead};
use super::{PeerChange, Peers, message, penalty, serve};
use parking_lot::Mutex;
use quintet_chain_api::{PeerMessage, PeerUp, Traced, WireProtocol};
use quintet_eth_wire::{EthMessageId, EthVersion, SnapMessageId, Status, WireError};
use std::sync::Arc;

/// Answers and gossip of one peer that may wait.
const MESSAGES: usize = 1024;
/// Their bytes: a few of the largest answers.
const MESSAGE_BYTES: usize = 32 << 20;
/// Requests of one peer that may wait to be served.
const REQUESTS: usize = 64;
/// Their bytes.
const REQUEST_BYTES: usize = 1 << 20;

/// Why a peer is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// It is connected over another link.
    #[error("already connected")]
    AlreadyConnected,
    /// No version of `eth` that is spoken here.
    #[error("no version of eth in common")]
    NoProtocol,
    /// Its status is none.
    #[error(transparent)]
    Status(#[from] WireError),
}

type Messages = Lane<Traced<PeerMessage>>;

/// A peer's place on its link. Dropped, the peer is gone.
#[derive(Debug)]
pub(crate) struct Session {
    peers: Peers,
    peer: Arc<Peer>,
    messages: Arc<Messages>,
    requests: Arc<Messages>,
    /// Messages that were dropped since the last penalty.
    dropped: Mutex<u32>,
}

/// Messages that a flood must lose to be penalised once more.
const DROPPED_PER_PENALTY: u32 = 64;

/// Takes a peer that is past its handshakes, and starts its session.
///
/// # Errors
/// Why it is not taken.
pub(crate) fn open(peers: &Peers, link: &Link, up: &PeerUp) -> Result<Session, Refusal> {
    let version = up.eth_version().and_then(|version| EthVersion::from_number(version.into()));
    let version = version.ok_or(Refusal::NoProtocol)?;
    let status = Status::decode(version, &up.status)?;
    let peer = NewPeer {
        id: up.peer,
        name: up.name.clone(),
        version,
        snap: up.protocols.contains(&super::wire::SNAP),
        inbound: up.inbound,
        trusted: up.trusted,
        head: head_of(&status),
    };
    let peer = peers.add(peer, link).ok_or(Refusal::AlreadyConnected)?;
    let budget = &peers.shared.budget;
    let messages = Arc::new(Lane::new(MESSAGES, MESSAGE_BYTES, Arc::clone(budget)));
    let requests = Arc::new(Lane::new(REQUESTS, REQUEST_BYTES, Arc::clone(budget)));
    tokio::spawn(message::work_off(peers.clone(), Arc::clone(&peer), Arc::clone(&messages)));
    tokio::spawn(serve::work_off(peers.clone(), Arc::clone(&peer), Arc::clone(&requests)));
    Ok(Session { peers: peers.clone(), peer, messages, requests, dropped: Mutex::new(0) })
}

fn head_of(status: &Status) -> PeerHead {
    PeerHead {
        hash: status.head,
        number: status.range.map(|range| range.latest),
        total_difficulty: status.total_difficulty,
        earliest: status.range.map(|range| range.earliest),
    }
}

impl Session {
    /// A message came. It never waits here; one that has no room is lost, which costs the peer.
    pub(crate) fn receive(&self, message: Traced<PeerMessage>) {
        let size = message.value.payload.len();
        let lane = if self.is_request(&message.value) { &self.requests } else { &self.messages };
        if lane.push(message, size) {
            return;
        }
        metrics::counter!("quintet_chain_peer_flooded_messages_total").increment(1);
        let mut dropped = self.dropped.lock();
        if *dropped == 0 {
            self.peer.penalise(penalty::FLOOD, "more messages than can be looked at");
        }
        *dropped = (*dropped + 1) % DROPPED_PER_PENALTY;
    }

    fn is_request(&self, message: &PeerMessage) -> bool {
        let code = u64::from(message.code);
        match message.protocol {
            WireProtocol::Eth(_) => {
                EthMessageId::from_code(self.peer.version, code).is_some_and(EthMessageId::is_request)
            }
            WireProtocol::Snap(_) => SnapMessageId::from_code(code).is_some_and(SnapMessageId::is_request),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.messages.close();
        self.requests.close();
        self.peers.remove(&self.peer);
    }
}

impl Peers {
    /// Adds a peer; `None` when it is connected already.
    fn add(&self, new: NewPeer, link: &Link) -> Option<Arc<Peer>> {
        let mut peers = self.shared.peers.write();
        if peers.contains_key(&new.id) {
            return None;
        }
        let others: Vec<_> = peers.values().map(|peer| peer.rate.lock().clone()).collect();
        let rate = self.shared.round_trip.lock().join(&others);
        let peer = Arc::new(Peer::new(new, rate, Arc::clone(&link.outbox)));
        peers.insert(peer.id, Arc::clone(&peer));
        let count = peers.len();
        drop(peers);
        metrics::gauge!("quintet_chain_peers").set(count as f64);
        tracing::debug!(
            peer = %peer.id, version = %peer.version, snap = peer.snap, name = peer.name, inbound = peer.inbound,
            "Ethereum peer connected"
        );
        self.tell(PeerChange::Up(Arc::clone(&peer)));
        Some(peer)
    }

    /// Removes a peer, unless it is another one by now.
    pub(crate) fn remove(&self, peer: &Arc<Peer>) {
        let mut peers = self.shared.peers.write();
        if !peers.get(&peer.id).is_some_and(|held| Arc::ptr_eq(held, peer)) {
            return;
        }
        peers.remove(&peer.id);
        let count = peers.len();
        drop(peers);
        peer.pending.lock().close();
        peer.ended.notify_waiters();
        self.shared.fetcher.lock().drop_peer(&peer.id);
        self.shared.fetch.notify_one();
        metrics::gauge!("quintet_chain_peers").set(count as f64);
        self.tell(PeerChange::Down(peer.id));
    }

    /// Tells the subscribers. There need not be any.
    pub(crate) fn tell(&self, change: PeerChange) {
        let _ = self.shared.changes.send(change);
    }
}
