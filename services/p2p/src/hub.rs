//! What all sessions share: who is connected, who may connect, and what is to be dialled next.
//!
//! What must hold: the lock is never held across a wait; every session that was added is removed exactly once, and both
//! the dial scheduler and `chain` hear of it.

use crate::config::Settings;
use crate::connection::Failure;
use crate::dial::{Action, Scheduler};
use crate::events::Events;
use crate::expiring::Expiring;
use crate::linger::Lingering;
use crate::link::Link;
use crate::metrics;
use crate::peer::Peer;
use crate::reputation::{Offence, Reputation};
use alloy_primitives::B256;
use parking_lot::Mutex;
use quintet_enode::{Enode, NodeKey, PublicKey, is_lan};
use quintet_eth_wire::{EthVersion, SNAP, SNAP_VERSION};
use quintet_rlpx::{Capability, DisconnectReason, Hello, base};
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;
use tokio::sync::{Notify, watch};

/// Addresses of recent connections that are remembered.
const THROTTLE_CAPACITY: usize = 16_384;

/// Who this instance is: its key, and what it says of itself.
#[derive(Debug)]
pub(crate) struct Own {
    /// Which of the derived keys it has.
    pub(crate) identity: u32,
    /// The key.
    pub(crate) key: NodeKey,
    /// Keccak-256 of its public half.
    pub(crate) id: B256,
    /// The key that the instances share: what is sent to it may reach any of them.
    shared: NodeKey,
    /// What it speaks.
    pub(crate) capabilities: Vec<Capability>,
    name: String,
    port: u16,
}

impl Own {
    /// The keys under which it may be dialled, its own last.
    pub(crate) fn keys(&self) -> Vec<NodeKey> {
        if self.identity == 0 { vec![self.key.clone()] } else { vec![self.shared.clone(), self.key.clone()] }
    }

    /// What it says first, to those who know it under this key.
    pub(crate) fn hello(&self, id: PublicKey) -> Hello {
        Hello {
            version: base::VERSION,
            client: self.name.clone(),
            capabilities: self.capabilities.clone(),
            port: self.port.into(),
            id,
        }
    }
}

/// `eth` in the versions that are spoken, and `snap`.
fn capabilities() -> Vec<Capability> {
    let eth = EthVersion::SPOKEN.map(|version| Capability::new(EthVersion::PROTOCOL, version.number()));
    eth.into_iter().chain([Capability::new(SNAP, SNAP_VERSION)]).collect()
}

/// What all sessions share.
#[derive(Debug)]
pub(crate) struct Hub {
    pub(crate) settings: Settings,
    pub(crate) link: Arc<Link>,
    pub(crate) events: Events,
    /// Sockets of sessions that are over.
    pub(crate) lingering: Lingering,
    /// The dialer has something to look at.
    pub(crate) dial: Notify,
    own: watch::Sender<Option<Arc<Own>>>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The port that is listened on.
    port: u16,
    peers: HashMap<B256, Arc<Peer>>,
    trusted: HashSet<B256>,
    reputation: Reputation,
    scheduler: Scheduler,
    throttle: Expiring<IpAddr>,
}

impl Hub {
    /// Without peers, and without an identity until [`Self::adopt`].
    pub(crate) fn new(settings: Settings, link: Arc<Link>) -> Self {
        let limits = settings.limits.dials(settings.max_dialled);
        let mut scheduler = Scheduler::new(B256::ZERO, limits, settings.netrestrict.clone());
        settings.static_nodes.iter().for_each(|node| scheduler.add_static(*node));
        let state = State {
            port: settings.port,
            peers: HashMap::new(),
            trusted: settings.trusted_nodes.iter().map(Enode::node_id).collect(),
            reputation: Reputation::default(),
            scheduler,
            throttle: Expiring::new(THROTTLE_CAPACITY),
        };
        Self {
            settings,
            link,
            events: Events::default(),
            lingering: Lingering::default(),
            dial: Notify::new(),
            own: watch::Sender::new(None),
            state: Mutex::new(state),
        }
    }

    /// Who this instance is, once `chain` has said it.
    pub(crate) fn own(&self) -> Option<Arc<Own>> {
        self.own.borrow().clone()
    }

    /// The same, as it changes.
    pub(crate) fn owns(&self) -> watch::Receiver<Option<Arc<Own>>> {
        self.own.subscribe()
    }

    /// Takes the identity that `chain` gave. Sessions under another one end.
    pub(crate) fn adopt(&self, identity: u32) {
        if self.own().is_some_and(|own| own.identity == identity) {
            return;
        }
        let key = self.settings.key.derive(identity);
        let mut state = self.state.lock();
        let own = Own {
            identity,
            id: key.node_id(),
            shared: self.settings.key.clone(),
            key,
            capabilities: capabilities(),
            name: self.settings.name.clone(),
            port: state.port,
        };
        // Two nodes that dial each other must not do so in step.
        let mut limits = self.settings.limits.dials(self.settings.max_dialled);
        let jitter = u32::from(own.id.0[0]);
        limits.local_history += limits.local_history / 1024 * jitter;
        state.scheduler.set_own(own.id, limits);
        let replaced = self.own.send_replace(Some(Arc::new(own)));
        if replaced.is_some() {
            tracing::warn!(identity, "chain gave this instance another identity: its sessions end");
            state.peers.values().for_each(|peer| peer.disconnect(DisconnectReason::Quitting));
        }
        drop(state);
        self.dial.notify_one();
    }

    /// The port that is listened on.
    pub(crate) fn set_port(&self, port: u16) {
        self.state.lock().port = port;
    }

    /// Whether a connection from this address is taken; if so, takes note of it.
    ///
    /// # Errors
    /// Why it is not.
    pub(crate) fn admit(&self, address: IpAddr, now: Instant) -> Result<(), &'static str> {
        let address = address.to_canonical();
        if self.settings.netrestrict.as_ref().is_some_and(|allowed| !allowed.contains(address)) {
            return Err("netrestrict");
        }
        let mut state = self.state.lock();
        if state.reputation.bars_address(address, now) {
            return Err("banned");
        }
        if is_lan(address) {
            return Ok(());
        }
        state.throttle.expire(now);
        if state.throttle.contains(&address, now) {
            return Err("throttled");
        }
        state.throttle.insert(address, now + self.settings.limits.throttle);
        Ok(())
    }

    /// Whether a node may be a peer, as far as its key tells.
    ///
    /// # Errors
    /// The reason to disconnect with.
    pub(crate) fn check(&self, id: &B256, inbound: bool, now: Instant) -> Result<(), DisconnectReason> {
        self.state.lock().check(&self.settings, self.own().as_deref(), id, inbound, now)
    }

    /// Adds a peer, if it still may be one.
    ///
    /// # Errors
    /// The reason to disconnect with.
    pub(crate) fn add(&self, peer: &Arc<Peer>, now: Instant) -> Result<(), DisconnectReason> {
        let mut state = self.state.lock();
        state.check(&self.settings, self.own().as_deref(), &peer.id, peer.is_inbound(), now)?;
        peer.trusted.store(state.trusted.contains(&peer.id), Ordering::Relaxed);
        state.peers.insert(peer.id, Arc::clone(peer));
        if !peer.is_inbound() {
            state.scheduler.connected(&peer.id);
        }
        state.scheduler.peer_added(peer.id, !peer.is_inbound());
        state.tell_metrics();
        drop(state);
        self.events.added(peer.id);
        Ok(())
    }

    /// A session ended.
    pub(crate) fn remove(&self, peer: &Arc<Peer>, reason: DisconnectReason) {
        let mut state = self.state.lock();
        if !state.peers.get(&peer.id).is_some_and(|there| Arc::ptr_eq(there, peer)) {
            return;
        }
        state.peers.remove(&peer.id);
        state.scheduler.peer_removed(&peer.id);
        state.tell_metrics();
        // Before the node may come back: `chain` hears of its sessions one after another.
        self.link.down(peer.id, reason);
        drop(state);
        self.events.dropped(peer.id, reason);
        self.dial.notify_one();
    }

    /// A peer by its id.
    pub(crate) fn peer(&self, id: &B256) -> Option<Arc<Peer>> {
        self.state.lock().peers.get(id).cloned()
    }

    /// All peers, by id.
    pub(crate) fn peers(&self) -> Vec<Arc<Peer>> {
        let mut peers: Vec<_> = self.state.lock().peers.values().cloned().collect();
        peers.sort_unstable_by_key(|peer| peer.id);
        peers
    }

    /// Whether a node is redialled.
    pub(crate) fn is_static(&self, id: &B256) -> bool {
        self.state.lock().scheduler.is_static(id)
    }

    /// Dials a node until [`Self::remove_static`]. A ban is no more.
    pub(crate) fn add_static(&self, node: Enode) {
        let mut state = self.state.lock();
        state.reputation.pardon(&node.node_id());
        state.scheduler.add_static(node);
        drop(state);
        self.dial.notify_one();
    }

    /// Dials a node no more, and disconnects it.
    pub(crate) fn remove_static(&self, id: &B256) {
        let mut state = self.state.lock();
        state.scheduler.remove_static(id);
        let peer = state.peers.get(id).cloned();
        drop(state);
        if let Some(peer) = peer {
            peer.disconnect(DisconnectReason::Requested);
        }
    }

    /// Lets a node connect beyond the limits, or no longer.
    pub(crate) fn set_trusted(&self, id: B256, trusted: bool) {
        let mut state = self.state.lock();
        if trusted {
            state.trusted.insert(id);
            state.reputation.pardon(&id);
        } else {
            state.trusted.remove(&id);
        }
        if let Some(peer) = state.peers.get(&id) {
            peer.trusted.store(trusted, Ordering::Relaxed);
        }
    }

    /// What is to be done for static nodes, and when to ask again.
    pub(crate) fn poll_dials(&self, now: Instant) -> (Vec<Action>, Option<Instant>) {
        if self.own().is_none() {
            return (Vec::new(), None);
        }
        let mut state = self.state.lock();
        let State { reputation, scheduler, .. } = &mut *state;
        let actions = scheduler.poll(now, |node| {
            reputation.bars_node(&node.node_id(), now) || reputation.bars_address(node.ip, now)
        });
        let wake = scheduler.next_wake(now);
        metrics::dialing(scheduler.active());
        (actions, wake)
    }

    /// Whether there is room for what discovery offers.
    pub(crate) fn wants_candidates(&self) -> bool {
        self.own().is_some() && self.state.lock().scheduler.free_slots() > 0
    }

    /// Discovery offers a node.
    pub(crate) fn offer(&self, node: Enode, now: Instant) -> Option<Action> {
        let mut state = self.state.lock();
        let State { reputation, scheduler, .. } = &mut *state;
        if reputation.bars_node(&node.node_id(), now) || reputation.bars_address(node.ip, now) {
            return None;
        }
        match scheduler.offer(node, now) {
            Ok(action) => Some(action),
            Err(refusal) => {
                tracing::trace!(%node, %refusal, "candidate is not dialled");
                None
            }
        }
    }

    /// A dial failed; what to do next for its node.
    pub(crate) fn dial_failed(&self, id: &B256, unreachable: bool, now: Instant) -> Option<Action> {
        let action = self.state.lock().scheduler.failed(id, unreachable, now);
        self.dial.notify_one();
        action
    }

    /// A lookup ended; what to do next for its node.
    pub(crate) fn resolved(&self, id: &B256, found: Option<Enode>, now: Instant) -> Option<Action> {
        let action = self.state.lock().scheduler.resolved(id, found, now);
        self.dial.notify_one();
        action
    }

    /// A node is of another network, or speaks nothing that we do.
    pub(crate) fn unsuited(&self, id: B256, now: Instant) {
        self.state.lock().scheduler.postpone(id, now + self.settings.limits.unsuited);
    }

    /// A connection from or to this address did not become a peer; `id` is known if its handshake got so far, or we
    /// dialled it.
    pub(crate) fn handshake_failed(&self, party: (IpAddr, Option<B256>), inbound: bool, failure: &Failure) {
        if !failure.is_offence(inbound) {
            return;
        }
        let ((address, id), now) = (party, Instant::now());
        let mut state = self.state.lock();
        metrics::offence(Offence::BadHandshake);
        let barred = match id {
            Some(id) if state.trusted.contains(&id) => false,
            Some(id) => state.reputation.punish_node(id, Offence::BadHandshake, now),
            None => state.reputation.punish_address(address, Offence::BadHandshake, now),
        };
        if barred {
            metrics::ban(if id.is_some() { "node" } else { "address" });
        }
    }

    /// A peer broke the protocol. It is gone already, or goes now.
    pub(crate) fn punish(&self, peer: &Peer, offence: Offence, now: Instant) {
        metrics::offence(offence);
        if peer.is_trusted() {
            return;
        }
        let banned = self.state.lock().reputation.punish_node(peer.id, offence, now);
        if banned {
            metrics::ban("node");
            tracing::debug!(peer = %peer.id, name = peer.name, offence = offence.name(), "peer is banned");
            peer.disconnect(DisconnectReason::UselessPeer);
        }
    }

    /// `chain` found that a peer misbehaved.
    pub(crate) fn report(&self, id: &B256, points: u32, reason: &str) {
        let Some(peer) = self.peer(id) else { return };
        tracing::debug!(peer = %id, name = peer.name, points, reason, "peer is penalised");
        self.punish(&peer, Offence::Reported(points), Instant::now());
    }

    /// A peer asks for more than it reads.
    pub(crate) fn flooded(&self, peer: &Peer) {
        self.punish(peer, Offence::Flood, Instant::now());
        peer.disconnect(DisconnectReason::UselessPeer);
    }

    /// Forgets what time has healed.
    pub(crate) fn expire(&self, now: Instant) {
        let (nodes, addresses) = self.state.lock().reputation.expire(now);
        metrics::banned(nodes, addresses);
        self.link.measure();
    }

    /// Ends every session.
    pub(crate) fn disconnect_all(&self, reason: DisconnectReason) {
        self.state.lock().peers.values().for_each(|peer| peer.disconnect(reason));
    }
}

impl State {
    fn check(
        &self,
        settings: &Settings,
        own: Option<&Own>,
        id: &B256,
        inbound: bool,
        now: Instant,
    ) -> Result<(), DisconnectReason> {
        let trusted = self.trusted.contains(id);
        let inbound_peers = self.peers.values().filter(|peer| peer.is_inbound()).count();
        let for_inbound = settings.max_peers.saturating_sub(settings.max_dialled);
        if !trusted && self.reputation.bars_node(id, now) {
            return Err(DisconnectReason::UselessPeer);
        }
        if !trusted && self.peers.len() >= settings.max_peers {
            return Err(DisconnectReason::TooManyPeers);
        }
        if !trusted && inbound && inbound_peers >= for_inbound {
            return Err(DisconnectReason::TooManyPeers);
        }
        if self.peers.contains_key(id) {
            return Err(DisconnectReason::AlreadyConnected);
        }
        if own.is_none_or(|own| own.id == *id) {
            return Err(DisconnectReason::Itself);
        }
        Ok(())
    }

    fn tell_metrics(&self) {
        let inbound = self.peers.values().filter(|peer| peer.is_inbound()).count();
        metrics::peers(inbound, self.peers.len().saturating_sub(inbound));
    }
}
