//! Discovery v5: the `discv5` crate on the shared sockets, kept in step with the local record.
//!
//! Frames that are not its own come out of it again, and are discovery v4's: it alone reads the sockets while it runs.

mod events;
mod restrict;
mod subnets;

use crate::candidates::{Candidates, Found};
use crate::error::DiscoveryError;
use crate::local::LocalNode;
use crate::socket::Readers;
use crate::store::Store;
use alloy_primitives::B256;
use discv5::enr::{CombinedKey, NodeId};
use discv5::{ConfigBuilder, ConnectionState, Discv5, Event, ListenConfig};
use events::Events;
use quintet_discovery_api::Protocol;
use quintet_enode::Netlist;
use quintet_enode::{Enode, Record};
use restrict::Slot;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// Lookups begin no faster than this: a small network is asked often enough.
const LOOKUP_PACE: Duration = Duration::from_millis(500);
/// Until a lookup in an empty table is tried again.
const EMPTY_PACE: Duration = Duration::from_secs(2);
/// Between refreshes while nobody wants nodes.
const REFRESH: Duration = Duration::from_mins(30);
/// How long a lookup may take.
const LOOKUP_DEADLINE: Duration = Duration::from_mins(1);
/// Pings under way that ask others for our address.
const MOST_PINGS: usize = 16;
/// Between looks at the size of the table.
const GAUGES: Duration = Duration::from_secs(5);
/// Nodes that a lookup gives.
const NEIGHBOURS: usize = 16;

/// Discovery v5. Clones share it.
#[derive(Clone)]
pub(crate) struct V5 {
    discv5: Arc<Discv5>,
    local: LocalNode,
    candidates: Arc<Candidates>,
    store: Store,
    bootnodes: Arc<Vec<Record>>,
    netrestrict: Option<Netlist>,
    pings: Arc<Semaphore>,
    events: Events,
    _slot: Option<Arc<Slot>>,
}

/// What v5 works with.
pub(crate) struct Parts {
    /// The local node.
    pub local: LocalNode,
    /// Where nodes go.
    pub candidates: Arc<Candidates>,
    /// The node database.
    pub store: Store,
    /// Nodes to begin with.
    pub bootnodes: Vec<Record>,
    /// Networks to talk with.
    pub netrestrict: Option<Netlist>,
}

/// A node of the table.
#[derive(Clone, Debug)]
pub(crate) struct TableNode {
    /// Its record.
    pub record: Record,
    /// Whether it answered last.
    pub is_connected: bool,
}

impl V5 {
    /// Starts on sockets, which nobody else may read from now on.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) async fn start(parts: Parts, sockets: Readers) -> Result<Self, DiscoveryError> {
        let failed = |error: &dyn std::fmt::Display| DiscoveryError::V5(error.to_string());
        let listen = ListenConfig::FromSockets { ipv4: sockets.ipv4, ipv6: sockets.ipv6 };
        let mut config = ConfigBuilder::new(listen);
        // The address is predicted here, from what both protocols hear.
        config.disable_enr_update();
        let events = Events::default();
        config.executor(Box::new(events.clone()));
        let slot = match &parts.netrestrict {
            Some(networks) => {
                Some(Slot::take(networks).ok_or_else(|| failed(&"too many restricted nodes in a process"))?)
            }
            None => None,
        };
        if let Some(slot) = &slot {
            config.table_filter(slot.filter());
        }
        let mut secret = parts.local.key().secret().secret_bytes();
        let key = CombinedKey::secp256k1_from_bytes(&mut secret).map_err(|error| failed(&error))?;
        let record =
            to_enr(&parts.local.record()).ok_or_else(|| failed(&"the local record is not its kind"))?;
        let mut discv5 = Discv5::new(record, key, config.build()).map_err(|error| failed(&error))?;
        discv5.start().await.map_err(|error| failed(&error))?;
        let v5 = Self {
            discv5: Arc::new(discv5),
            local: parts.local,
            candidates: parts.candidates,
            store: parts.store,
            bootnodes: Arc::new(parts.bootnodes),
            netrestrict: parts.netrestrict,
            pings: Arc::new(Semaphore::new(MOST_PINGS)),
            events,
            _slot: slot.map(Arc::new),
        };
        v5.bootstrap();
        Ok(v5)
    }

    /// Handles events and looks for nodes until `token` is cancelled. Packets of another protocol are given to `foreign`.
    pub(crate) async fn run(
        self,
        foreign: impl Fn(SocketAddr, Vec<u8>) + Send + 'static,
        token: CancellationToken,
    ) {
        match self.discv5.event_stream().await {
            Ok(stream) => {
                let v5 = self.clone();
                self.events.listen(stream, Box::new(move |event| v5.handle(event, &foreign)));
            }
            Err(error) => tracing::error!(%error, "Discovery v5 ended"),
        }
        let all = async { tokio::join!(self.follow_record(), self.look_around(), self.tell_sizes()) };
        token.run_until_cancelled(all).await;
        self.events.close();
    }

    fn handle(&self, event: Event, foreign: &impl Fn(SocketAddr, Vec<u8>)) {
        match event {
            Event::UnrecognizedFrame(frame) => foreign(frame.src_address, frame.packet),
            Event::SessionEstablished(enr, address) => self.met(&enr, address),
            Event::NodeInserted { node_id, .. } => {
                if let Some(enr) = self.discv5.find_enr(&node_id) {
                    self.check_inserted(&enr);
                }
            }
            // Among them requests of protocols within the protocol, of which we have none: dropping one answers with
            // nothing.
            _ => {}
        }
    }

    /// Takes a node out of the table again that may not be in it; whether it stays.
    fn check_inserted(&self, enr: &discv5::Enr) -> bool {
        let is_allowed = from_enr(enr).is_none_or(|record| self.is_allowed(&record));
        let others = self.discv5.table_entries_enr();
        let stays = is_allowed && !subnets::is_crowded(&self.local.key().node_id(), enr, &others);
        if !stays {
            self.discv5.remove_node(&enr.node_id());
        }
        stays
    }

    /// Takes note of a node that answered, and asks it where it sees us.
    fn met(&self, enr: &discv5::Enr, address: SocketAddr) {
        let Some(record) = from_enr(enr) else { return };
        if !self.is_allowed(&record) || !self.allows(address.ip()) {
            self.discv5.remove_node(&enr.node_id());
            return;
        }
        self.store.answered_v5(&record);
        self.offer(&record);
        let Ok(permit) = Arc::clone(&self.pings).try_acquire_owned() else { return };
        let (ping, local) = (self.discv5.send_ping(enr.clone()), self.local.clone());
        tokio::spawn(async move {
            if let Ok(pong) = ping.await {
                local.take_statement(address.ip(), SocketAddr::new(pong.ip, pong.port));
            }
            drop(permit);
        });
    }

    /// Gives the local record to v5 whenever it changes.
    async fn follow_record(&self) {
        let mut changes = self.local.changes();
        // What changed since v5 was started counts, too.
        changes.mark_changed();
        let theirs = self.discv5.external_enr();
        while changes.changed().await.is_ok() {
            let record = Arc::clone(&changes.borrow_and_update());
            match to_enr(&record) {
                Some(enr) => *theirs.write() = enr,
                None => {
                    tracing::warn!(seq = record.seq(), "Discovery v5 does not take the local node record");
                }
            }
        }
    }

    async fn tell_sizes(&self) {
        loop {
            let nodes = self.discv5.table_entries_id().len();
            metrics::gauge!("quintet_discovery_table_nodes", "protocol" => "v5").set(nodes as f64);
            sleep(GAUGES).await;
        }
    }

    /// Looks for nodes: all the time while they are wanted, now and then otherwise.
    async fn look_around(&self) {
        let mut refresh = Instant::now();
        loop {
            if refresh <= Instant::now() {
                refresh = refresh.checked_add(REFRESH).unwrap_or(refresh);
                self.lookup(self.local.key().node_id()).await;
            }
            let until = refresh.saturating_duration_since(Instant::now());
            if timeout(until, self.candidates.wanted()).await.is_err() {
                continue;
            }
            let found = self.lookup(B256::random()).await;
            for record in &found {
                self.offer(record);
            }
            if found.is_empty() {
                self.bootstrap();
                sleep(EMPTY_PACE).await;
            } else {
                sleep(LOOKUP_PACE).await;
            }
        }
    }

    /// Looks up the nodes closest to a node id: at most 16, the closest first.
    pub(crate) async fn lookup(&self, target: B256) -> Vec<Record> {
        if self.discv5.table_entries_id().is_empty() {
            return Vec::new();
        }
        let started = Instant::now();
        let lookup = timeout(LOOKUP_DEADLINE, self.discv5.find_node(NodeId::new(&target.0)));
        let found = lookup.await.map_or_else(|_| Vec::new(), Result::unwrap_or_default);
        let seconds = started.elapsed().as_secs_f64();
        metrics::histogram!("quintet_discovery_lookup_duration_seconds", "protocol" => "v5").record(seconds);
        let mut records: Vec<_> =
            found.iter().filter_map(from_enr).filter(|record| self.is_allowed(record)).collect();
        records.sort_by_key(|record| record.node_id() ^ target);
        records.truncate(NEIGHBOURS);
        records
    }

    /// Puts the bootnodes, and what the database has, into the table.
    fn bootstrap(&self) {
        for record in self.bootnodes.iter() {
            self.add(record);
        }
        for record in self.store.v5_seeds() {
            self.add(&record);
        }
    }

    /// Puts a node into the table, to be asked when it matters; whether there is room.
    pub(crate) fn add(&self, record: &Record) -> bool {
        let is_other = record.node_id() != self.local.key().node_id();
        let enr = to_enr(record).filter(|_| is_other && self.is_allowed(record));
        // What cannot be reached over this kind of address is refused with a warning: it is asked for first.
        let enr = enr.filter(|enr| self.discv5.ip_mode().get_contactable_addr(enr).is_some());
        enr.is_some_and(|enr| self.discv5.add_enr(enr.clone()).is_ok() && self.check_inserted(&enr))
    }

    /// The table.
    pub(crate) fn table(&self) -> Vec<TableNode> {
        let entries = self.discv5.table_entries().into_iter();
        let nodes = entries.filter_map(|(_, enr, status)| {
            let is_connected = status.state == ConnectionState::Connected;
            Some(TableNode { record: from_enr(&enr)?, is_connected })
        });
        nodes.collect()
    }

    fn offer(&self, record: &Record) {
        let Some(enode) = record.to_enode() else { return };
        let found = Found { enode, record: Some(record.clone()), by: Protocol::Discv5 };
        self.candidates.offer(&found, Instant::now());
    }

    fn is_allowed(&self, record: &Record) -> bool {
        record.to_enode().is_some_and(|Enode { ip, .. }| self.allows(ip))
    }

    fn allows(&self, ip: IpAddr) -> bool {
        self.netrestrict.as_ref().is_none_or(|networks| networks.contains(ip))
    }
}

/// A record as the `discv5` crate has it.
fn to_enr(record: &Record) -> Option<discv5::Enr> {
    record.to_string().parse().ok()
}

/// A record as everybody else has it; keys of other curves are of no use here.
fn from_enr(enr: &discv5::Enr) -> Option<Record> {
    enr.to_base64().parse().ok()
}
