//! The local node's record: signed anew whenever something in it changes, and the same for both protocols.
//!
//! Of what may be the node's address, what the user or a gateway said comes first, then what enough other nodes see,
//! then the address that it listens on. What must hold: the record's number only grows, also over restarts.

use crate::endpoint::EndpointTracker;
use parking_lot::Mutex;
use quintet_discovery_api::EnrEntry;
use quintet_enode::{Enode, NodeKey, Record, RecordBuilder, RecordError};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;

/// Entries that the node sets itself, or that are the identity scheme's.
const RESERVED: [&str; 8] = ["id", "secp256k1", "ip", "ip6", "tcp", "tcp6", "udp", "udp6"];

/// An entry that cannot be set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// Its key is one of the node's own.
    #[error("entry {0:?} is set by the node itself")]
    Reserved(String),
    /// The record cannot have it.
    #[error("entries cannot be set: {0}")]
    Record(#[from] RecordError),
}

/// The local node. Clones share it.
#[derive(Clone)]
pub(crate) struct LocalNode {
    key: NodeKey,
    state: Arc<Mutex<State>>,
    record: watch::Sender<Arc<Record>>,
}

/// What the record says, but for its number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Content {
    ip4: Option<Ipv4Addr>,
    ip6: Option<std::net::Ipv6Addr>,
    tcp: u16,
    udp: u16,
    /// UDP at the IPv6 address. It is said where it is that of IPv4, too: not everybody takes that one instead.
    udp6: Option<u16>,
    entries: BTreeMap<String, Vec<u8>>,
}

struct State {
    tracker: EndpointTracker,
    /// What the user or a gateway said.
    fixed: Option<IpAddr>,
    /// The address that it listens on, or loopback.
    fallback: IpAddr,
    tcp: u16,
    udp: u16,
    entries: BTreeMap<String, Vec<u8>>,
    signed: Content,
}

/// What a local node begins with.
#[derive(Clone, Debug)]
pub(crate) struct Start {
    /// Its key.
    pub key: NodeKey,
    /// The address that discovery listens on.
    pub listen: IpAddr,
    /// The port of RLPx.
    pub tcp: u16,
    /// The port of discovery; 0 without one.
    pub udp: u16,
    /// The number of the last record that the key's node had.
    pub last_seq: Option<u64>,
}

impl LocalNode {
    /// The node, with a first record.
    ///
    /// # Errors
    /// When the record cannot be signed.
    pub(crate) fn new(start: Start) -> Result<Self, RecordError> {
        let any = start.listen.is_unspecified();
        let fallback = if any { Ipv4Addr::LOCALHOST.into() } else { start.listen.to_canonical() };
        let mut state = State {
            tracker: EndpointTracker::default(),
            fixed: None,
            fallback,
            tcp: start.tcp,
            udp: start.udp,
            entries: BTreeMap::new(),
            signed: Content::default(),
        };
        state.signed = state.content(Instant::now());
        // A node that lost its database continues with a higher number all the same, as geth's does.
        let seq = start.last_seq.map_or_else(unix_millis, |last| last.saturating_add(1));
        let record = state.signed.builder(seq).sign(&start.key)?;
        Ok(Self {
            key: start.key,
            state: Arc::new(Mutex::new(state)),
            record: watch::Sender::new(Arc::new(record)),
        })
    }

    /// Its key.
    pub(crate) const fn key(&self) -> &NodeKey {
        &self.key
    }

    /// Its record now.
    pub(crate) fn record(&self) -> Arc<Record> {
        Arc::clone(&self.record.borrow())
    }

    /// Where others find it.
    pub(crate) fn enode(&self) -> Enode {
        let record = self.record();
        record.to_enode().unwrap_or_else(|| Enode::incomplete(record.public_key()))
    }

    /// Its records as they change.
    pub(crate) fn changes(&self) -> watch::Receiver<Arc<Record>> {
        self.record.subscribe()
    }

    /// Takes an address that the user or a gateway says is the node's.
    pub(crate) fn set_address(&self, ip: IpAddr) {
        self.change(|state| state.fixed = Some(ip.to_canonical()));
    }

    /// Takes the port under which the RLPx listener is reached.
    pub(crate) fn set_tcp(&self, port: u16) {
        self.change(|state| state.tcp = port);
    }

    /// Takes the port under which discovery is reached.
    pub(crate) fn set_udp(&self, port: u16) {
        self.change(|state| state.udp = port);
    }

    /// Takes note that `host` sees the node at `endpoint`.
    pub(crate) fn take_statement(&self, host: IpAddr, endpoint: SocketAddr) {
        let endpoint = SocketAddr::new(endpoint.ip().to_canonical(), endpoint.port());
        if endpoint.ip().is_unspecified() || endpoint.port() == 0 {
            return;
        }
        self.change(|state| state.tracker.state(host.to_canonical(), endpoint, Instant::now()));
    }

    /// Sets entries of the record, an empty value removes one; gives the number of the record that has them.
    ///
    /// # Errors
    /// When an entry is the node's own, or the record would not be valid; nothing is changed then.
    pub(crate) fn set_entries(&self, entries: Vec<EnrEntry>) -> Result<u64, EntryError> {
        let mut state = self.state.lock();
        let mut changed = state.entries.clone();
        for EnrEntry { key, value } in entries {
            if RESERVED.contains(&key.as_str()) {
                return Err(EntryError::Reserved(key));
            }
            if value.is_empty() {
                changed.remove(&key);
            } else {
                changed.insert(key, value.to_vec());
            }
        }
        let before = std::mem::replace(&mut state.entries, changed);
        if let Err(error) = self.sign(&mut state) {
            state.entries = before;
            return Err(error.into());
        }
        Ok(self.record.borrow().seq())
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state.lock();
        change(&mut state);
        if let Err(error) = self.sign(&mut state) {
            // An address is shorter than what the entries leave free: they were tried with one.
            tracing::warn!(%error, "Couldn't sign the local node record");
        }
    }

    /// Signs a new record if it would say something else.
    fn sign(&self, state: &mut State) -> Result<(), RecordError> {
        let content = state.content(Instant::now());
        if content == state.signed {
            return Ok(());
        }
        let seq = self.record.borrow().seq().saturating_add(1);
        let record = content.builder(seq).sign(&self.key)?;
        let place = |content: &Content| (content.ip4, content.ip6, content.udp, content.udp6);
        if place(&content) == place(&state.signed) {
            tracing::debug!(seq, "New local node record");
        } else {
            let endpoint = record.to_enode().map(|enode| enode.udp_addr().to_string());
            tracing::info!(seq, endpoint, "New local node record");
        }
        state.signed = content;
        self.record.send_replace(Arc::new(record));
        Ok(())
    }
}

impl State {
    fn content(&mut self, now: Instant) -> Content {
        let (mut four, mut six) = (None, None);
        let mut udp = self.udp;
        let mut udp6 = None;
        match self.fallback {
            IpAddr::V4(ip) => four = Some(ip),
            IpAddr::V6(ip) => (six, udp6) = (Some(ip), Some(self.udp)),
        }
        if let Some(SocketAddr::V4(seen)) = self.tracker.predict(true, now) {
            four = Some(*seen.ip());
            udp = seen.port();
        }
        if let Some(SocketAddr::V6(seen)) = self.tracker.predict(false, now) {
            six = Some(*seen.ip());
            udp6 = Some(seen.port());
        }
        match self.fixed {
            Some(IpAddr::V4(ip)) => (four, udp) = (Some(ip), self.udp),
            Some(IpAddr::V6(ip)) => (six, udp6) = (Some(ip), Some(self.udp)),
            None => {}
        }
        Content { ip4: four, ip6: six, tcp: self.tcp, udp, udp6, entries: self.entries.clone() }
    }
}

impl Content {
    fn builder(&self, seq: u64) -> RecordBuilder {
        let mut builder = RecordBuilder::new(seq);
        for (key, value) in &self.entries {
            builder = builder.entry(key, value.clone());
        }
        if let Some(ip) = self.ip4 {
            builder = builder.ip(ip.into());
        }
        if let Some(ip) = self.ip6 {
            builder = builder.ip(ip.into());
        }
        if self.tcp != 0 {
            builder = builder.tcp(self.tcp);
        }
        if self.udp != 0 {
            builder = builder.udp(self.udp);
        }
        match self.udp6.filter(|port| *port != 0) {
            Some(port) => builder.entry("udp6", rlp::encode(&port).to_vec()),
            None => builder,
        }
    }
}

fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::{EntryError, LocalNode, Start};
    use quintet_discovery_api::EnrEntry;
    use quintet_enode::{NodeKey, RecordError};
    use std::net::{IpAddr, Ipv4Addr};

    const ANY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

    fn node(last_seq: Option<u64>) -> LocalNode {
        let start = Start { key: NodeKey::generate(), listen: ANY, tcp: 30_303, udp: 30_304, last_seq };
        LocalNode::new(start).expect("a record")
    }

    fn entry(key: &str, value: &[u8]) -> EnrEntry {
        EnrEntry { key: key.to_owned(), value: value.to_vec().into() }
    }

    fn state(node: &LocalNode, network: u8, hosts: u8, endpoint: &str) {
        for host in 0..hosts {
            node.take_statement(
                Ipv4Addr::new(10, 0, network, host).into(),
                endpoint.parse().expect("an address"),
            );
        }
    }

    fn endpoint(node: &LocalNode) -> (String, u16) {
        let enode = node.enode();
        (enode.udp_addr().to_string(), enode.tcp)
    }

    #[test]
    fn the_best_known_address_is_told() {
        let node = node(None);
        assert!(node.record().seq() > 1_700_000_000_000, "milliseconds since 1970");
        assert_eq!(endpoint(&node), ("127.0.0.1:30304".to_owned(), 30_303));
        state(&node, 0, 9, "1.2.3.4:5");
        assert_eq!(endpoint(&node).0, "127.0.0.1:30304");
        state(&node, 1, 1, "1.2.3.4:5");
        assert_eq!(endpoint(&node).0, "1.2.3.4:5");
        node.set_udp(40_000);
        assert_eq!(endpoint(&node).0, "1.2.3.4:5", "others see this port");
        node.set_address("4.3.2.1".parse().expect("an address"));
        node.set_tcp(40_001);
        assert_eq!(endpoint(&node), ("4.3.2.1:40000".to_owned(), 40_001));
        state(&node, 0, 9, "1.1.1.1:0");
        assert_eq!(endpoint(&node).0, "4.3.2.1:40000");
    }

    #[test]
    fn numbers_grow_with_changes_only() {
        let node = node(Some(7));
        let mut changes = node.changes();
        assert_eq!(node.record().seq(), 8);
        node.set_tcp(30_303);
        assert!(!changes.has_changed().expect("alive"));
        assert_eq!(node.set_entries(vec![entry("eth", &[0xc0]), entry("snap", &[0xc0])]), Ok(9));
        assert_eq!(node.set_entries(vec![entry("eth", &[0xc0])]), Ok(9));
        assert!(changes.has_changed().expect("alive"));
        assert_eq!(changes.borrow_and_update().entry("eth"), Some(&[0xc0][..]));
        assert_eq!(node.set_entries(vec![entry("eth", &[])]), Ok(10));
        assert_eq!((node.record().entry("eth"), node.record().entry("snap")), (None, Some(&[0xc0][..])));
    }

    #[test]
    fn entries_that_cannot_be_change_nothing() {
        let node = node(Some(1));
        let before = node.record();
        assert_eq!(node.set_entries(vec![entry("ip", &[1])]), Err(EntryError::Reserved("ip".to_owned())));
        let big = node.set_entries(vec![entry("eth", &[0xc0]), entry("big", &rlp::encode(&vec![7_u8; 300]))]);
        assert!(matches!(big, Err(EntryError::Record(RecordError::TooBig))), "{big:?}");
        assert!(
            matches!(node.set_entries(vec![entry("eth", &[0xc1])]), Err(EntryError::Record(_))),
            "no RLP"
        );
        assert_eq!(node.record(), before);
        // They must leave room for what the node may have to say later.
        node.set_address("2001:db8::1".parse().expect("an address"));
        assert_eq!(node.record().seq(), 3);
    }
}
