//! The engine: one node of the network, as a synchronous struct.
//!
//! - `inbound`: packets that come, and the answers to them;
//! - `requests`: questions that we ask, and what becomes of them;
//! - `upkeep`: the passing of time: deadlines, checks of the table, refreshes, lookups.

mod inbound;
mod requests;
mod upkeep;

use crate::action::{Action, LookupId, NodeFacts, RequestId};
use crate::bonds::{Bonds, Peer};
use crate::codec::{Outgoing, Scheme, Signer, decode};
use crate::error::{Rejected, RequestError};
use crate::limiter::{Limiter, RateLimits};
use crate::lookup::Lookup;
use crate::packet::{Endpoint, Packet};
use crate::recent::Recent;
use crate::table::{Outcome, Table};
use crate::tasks::{Goal, Tasks};
use alloy_primitives::B256;
use quintet_enode::Netlist;
use quintet_enode::{Enode, NodeKey, PublicKey, Record};
use rand::{SeedableRng as _, rngs::StdRng};
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// How long our packets are good for.
pub const EXPIRATION: Duration = Duration::from_secs(20);
/// The longest time between two checks of the table; the mean is half of it.
pub const REVALIDATE_INTERVAL: Duration = Duration::from_secs(10);
/// The time between two refreshes of the table.
pub const REFRESH_INTERVAL: Duration = Duration::from_mins(30);
/// The time until another refresh while nobody is known.
const EMPTY_REFRESH_INTERVAL: Duration = Duration::from_secs(10);
/// How long a node must have been in the table to be a seed for the next run.
pub const SEED_MIN_TABLE_TIME: Duration = Duration::from_mins(5);
/// How many seeds are asked for.
pub const SEED_COUNT: usize = 30;
/// How long ago a seed's last pong may be.
pub const SEED_MAX_AGE: Duration = Duration::from_hours(5 * 24);
/// The most lookups at once, the engine's own included.
pub const MAX_LOOKUPS: usize = 64;
/// Requests whose hashes are remembered, so that they are not answered again.
const MAX_REPLAYS: usize = 16_384;
/// The most actions that wait to be polled.
const MAX_ACTIONS: usize = 16_384;

/// What a node is made of.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its key.
    pub key: NodeKey,
    /// Its record, signed with the key. It also says where the node believes to be.
    pub record: Record,
    /// Whom to ask when nobody else is known.
    pub bootnodes: Vec<Enode>,
    /// The only networks to speak with; `None` for all.
    pub netrestrict: Option<Netlist>,
    /// How many packets an address may send.
    pub limits: RateLimits,
    /// How packets are signed.
    pub scheme: Scheme,
    /// Where chance comes from.
    pub rng: StdRng,
}

impl Config {
    /// Without bootnodes and restrictions, and with the system's chance.
    pub fn new(key: NodeKey, record: Record) -> Self {
        Self {
            key,
            record,
            bootnodes: Vec::new(),
            netrestrict: None,
            limits: RateLimits::default(),
            scheme: Scheme::SECP256K1,
            rng: StdRng::from_rng(&mut rand::rng()),
        }
    }
}

/// A node of the discovery network. Every `now` is Unix time; it may jump, at the price of some time-outs.
#[derive(Debug)]
pub struct Discv4 {
    signer: Signer,
    public_key: PublicKey,
    node_id: B256,
    record: Record,
    /// Where the record says that we are.
    endpoint: Endpoint,
    bootnodes: Vec<Enode>,
    netrestrict: Option<Netlist>,
    rng: StdRng,
    table: Table,
    bonds: Bonds,
    limiter: Limiter,
    /// Requests that were answered, by hash and sender's address.
    replays: Recent<(B256, IpAddr), ()>,
    tasks: Tasks,
    lookups: BTreeMap<LookupId, Lookup>,
    last_id: u64,
    actions: VecDeque<Action>,
    revalidate_at: Duration,
    refresh_at: Duration,
    /// The lookups of the refresh that is under way.
    refreshing: Vec<LookupId>,
    /// Whether the first refresh ended. Until then nobody gets into the table by pinging us.
    initialized: bool,
}

impl Discv4 {
    /// A node that knows nobody. It does nothing before the first [`Self::tick`].
    pub fn new(config: Config) -> Self {
        let Config { key, record, bootnodes, netrestrict, limits, scheme, rng } = config;
        let node_id = key.node_id();
        Self {
            public_key: key.public(),
            signer: Signer::new(key, scheme),
            node_id,
            endpoint: endpoint_of(&record),
            record,
            bootnodes,
            netrestrict,
            rng,
            table: Table::new(node_id),
            bonds: Bonds::new(),
            limiter: Limiter::new(limits),
            replays: Recent::new(MAX_REPLAYS),
            tasks: Tasks::default(),
            lookups: BTreeMap::new(),
            last_id: 0,
            actions: VecDeque::new(),
            revalidate_at: Duration::ZERO,
            refresh_at: Duration::ZERO,
            refreshing: Vec::new(),
            initialized: false,
        }
    }

    /// The next thing to do. To be called until it gives `None`, after each other call: while too many actions wait,
    /// packets are dropped.
    pub fn poll(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Self::tick`] is to be called at the latest. It changes with each call.
    pub fn next_tick(&self) -> Duration {
        let next = self.revalidate_at.min(self.refresh_at);
        self.tasks.next_deadline().map_or(next, |deadline| deadline.min(next))
    }

    /// Who signs our datagrams; for threads that call [`Outgoing::seal`].
    pub fn signer(&self) -> Signer {
        self.signer.clone()
    }

    /// Our node id.
    pub const fn node_id(&self) -> B256 {
        self.node_id
    }

    /// Our record.
    pub const fn record(&self) -> &Record {
        &self.record
    }

    /// Replaces our record, which must be signed with our key and have a higher number.
    pub fn set_record(&mut self, record: Record) {
        self.endpoint = endpoint_of(&record);
        self.record = record;
    }

    /// Whom we know.
    pub const fn table(&self) -> &Table {
        &self.table
    }

    /// How many answers are waited for, lookups are under way, and actions wait to be polled; for metrics.
    pub fn load(&self) -> (usize, usize, usize) {
        (self.tasks.len(), self.lookups.len(), self.actions.len())
    }

    /// Whether a node at an address proved to be there.
    pub fn is_bonded(&self, now: Duration, node_id: B256, ip: IpAddr) -> bool {
        self.bonds.is_proved(now, &(node_id, ip.to_canonical()))
    }

    /// Whether the last ping or pong of a node at an address said that it has a record (EIP-868).
    pub fn has_record(&self, node_id: B256, ip: IpAddr) -> bool {
        self.bonds.enr_seq(&(node_id, ip.to_canonical())).is_some_and(|seq| seq > 0)
    }

    /// Takes back what [`Action::Persist`] gave in an earlier run, before the first [`Self::tick`]. It does not put
    /// the node into the table; [`Self::add_node`] does.
    pub fn restore(&mut self, facts: &NodeFacts) {
        let peer = (facts.enode.node_id(), facts.enode.ip);
        if let Some(at) = facts.last_pong {
            self.bonds.pong_received(at, peer);
        }
        if let Some(at) = facts.last_ping {
            self.bonds.ping_received(at, peer);
        }
        self.bonds.set_failures(peer, facts.failures);
    }

    /// Puts a node into the table that somebody named (a seed, an entry of a DNS list, an operator). It is checked in
    /// time. False when it cannot be asked, is there already, or has no room.
    pub fn add_node(&mut self, now: Duration, node: Enode) -> bool {
        if self.reachable(&node).is_err() {
            return false;
        }
        let first = self.table.is_empty();
        let added = self.table_add_seen(now, node);
        if added && first && self.refreshing.is_empty() {
            // Somebody to begin with.
            self.refresh_at = now;
        }
        added
    }

    /// Looks for the nodes closest to the keccak of `target`. [`Action::NodeSeen`] tells of all that it meets, and
    /// [`Action::LookupFinished`] of its end. Without anybody to ask it ends at once, and the table is refreshed.
    ///
    /// # Errors
    /// [`RequestError::Busy`] when [`MAX_LOOKUPS`] are under way.
    pub fn lookup(&mut self, now: Duration, target: PublicKey) -> Result<LookupId, RequestError> {
        if self.table.is_empty() && self.refreshing.is_empty() {
            self.refresh_at = self.refresh_at.min(now.saturating_add(EMPTY_REFRESH_INTERVAL));
        }
        self.start_lookup(now, target)
    }

    /// As [`Self::lookup`], for a target of chance.
    ///
    /// # Errors
    /// [`RequestError::Busy`] when [`MAX_LOOKUPS`] are under way.
    pub fn lookup_random(&mut self, now: Duration) -> Result<LookupId, RequestError> {
        let target = self.random_target();
        self.lookup(now, target)
    }

    /// Pings a node; [`Action::PingFinished`] tells the answer.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub fn ping(&mut self, now: Duration, node: Enode) -> Result<RequestId, RequestError> {
        let id = RequestId(self.new_id());
        self.start(now, node, Goal::Ping(id)).map(|()| id)
    }

    /// Pings a node unless it proved to be there; [`Action::NodeVerified`] tells the answer, and the table takes it.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub fn bond(&mut self, now: Duration, node: Enode) -> Result<(), RequestError> {
        self.reachable(&node)?;
        if self.bonds.is_proved(now, &(node.node_id(), node.ip)) {
            return Ok(());
        }
        self.start(now, node, Goal::Bond)
    }

    /// Asks a node for its record (EIP-868); [`Action::RecordResolved`] tells the answer. A node that does not say that
    /// it has one, or none newer than ours, is not asked.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub fn resolve_enr(&mut self, now: Duration, node: Enode) -> Result<RequestId, RequestError> {
        let id = RequestId(self.new_id());
        self.start(now, node, Goal::Record(Some(id))).map(|()| id)
    }

    /// Acts on a datagram from `from`: [`decode`], [`Self::screen`], the signature, and [`Self::handle`] in one.
    ///
    /// # Errors
    /// Why it was dropped.
    pub fn handle_packet(
        &mut self,
        now: Duration,
        from: SocketAddr,
        datagram: &[u8],
    ) -> Result<(), Rejected> {
        let screened = self.screen(now, from, decode(datagram)?)?;
        let verified = screened.recover_with(self.signer.scheme())?;
        self.handle(now, from, verified)
    }

    fn new_id(&mut self) -> u64 {
        self.last_id = self.last_id.wrapping_add(1);
        self.last_id
    }

    fn act(&mut self, action: Action) {
        self.actions.push_back(action);
    }

    fn send(&mut self, to: SocketAddr, packet: Packet) {
        self.act(Action::Send { to, datagram: Outgoing::Draft(packet) });
    }

    fn allows(&self, ip: IpAddr) -> bool {
        self.netrestrict.as_ref().is_none_or(|list| list.contains(ip))
    }

    fn reachable(&self, node: &Enode) -> Result<(), RequestError> {
        let address = node.udp > 0 && !node.ip.is_unspecified() && !node.ip.is_multicast();
        let other = node.public_key != self.public_key;
        if address && other && self.allows(node.ip) { Ok(()) } else { Err(RequestError::NotReachable) }
    }

    fn table_add_seen(&mut self, now: Duration, node: Enode) -> bool {
        let added = self.table.add_seen(now, node);
        if added {
            self.act(Action::NodeAdded(node));
        }
        added
    }

    fn table_add_verified(&mut self, now: Duration, node: Enode, checked: bool) {
        if self.initialized && self.table.add_verified(now, node, checked) {
            self.act(Action::NodeAdded(node));
        }
    }

    fn tell(&mut self, outcome: &Outcome) {
        if let Outcome::Removed { removed, replacement } = *outcome {
            self.act(Action::NodeRemoved(removed));
            self.actions.extend(replacement.map(Action::NodeAdded));
        }
    }

    fn persist(&mut self, now: Duration, enode: Enode, peer: &Peer) {
        let known = self.table.get(&peer.0);
        let seed = known.is_some_and(|node| {
            node.liveness_checks > 0 && now.saturating_sub(node.added_at) >= SEED_MIN_TABLE_TIME
        });
        let facts = NodeFacts {
            enode,
            record: known.and_then(|node| node.record.clone()),
            last_ping: self.bonds.last_ping(peer),
            last_pong: self.bonds.last_pong(peer),
            failures: self.bonds.failures(peer),
            seed,
        };
        self.act(Action::Persist(facts));
    }
}

fn endpoint_of(record: &Record) -> Endpoint {
    record.to_enode().map_or_else(Endpoint::default, |enode| Endpoint::of(&enode))
}
