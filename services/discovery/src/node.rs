//! The running service: one UDP port, the protocols on it, and what they share.

use crate::bootnodes;
use crate::candidates::Candidates;
use crate::config::Settings;
use crate::dns::DnsSource;
use crate::error::{DiscoveryError, RequestError};
use crate::local::{LocalNode, Start};
use crate::nat::mapping::{self, Found, Port};
use crate::nat::{Nat, Protocol as Transport};
use crate::socket::{self, Sockets};
use crate::store::Store;
use crate::v4::{self, V4};
use crate::v5::{self, V5};
use alloy_primitives::B256;
use quintet_chainspec::ChainSpec;
use quintet_discovery_api::Protocol;
use quintet_enode::{Enode, Record};
use quintet_service::Context;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// The discovery service. Clones are the same one.
#[derive(Clone)]
pub struct Discovery {
    inner: Arc<Inner>,
}

struct Inner {
    local: LocalNode,
    candidates: Arc<Candidates>,
    store: Store,
    spec: Option<ChainSpec>,
    v4: Option<V4>,
    v5: Option<V5>,
    udp: Option<SocketAddr>,
    token: CancellationToken,
}

/// A node of either protocol's table.
#[derive(Clone, Debug)]
pub(crate) struct TableEntry {
    /// Where it is.
    pub enode: Enode,
    /// Its record, if it is known.
    pub record: Option<Record>,
    /// Logarithmic distance from the local node, 1 to 256.
    pub distance: u32,
    /// Whether it waits for a place.
    pub is_replacement: bool,
    /// When it last answered, in Unix seconds; 0 if it never did.
    pub last_pong: u64,
    /// Requests unanswered since then.
    pub failures: u32,
}

impl Discovery {
    /// Starts discovery on the context's supervisor: it runs until shutdown.
    ///
    /// # Errors
    /// When the port cannot be had, or a protocol does not start.
    pub async fn start(settings: Settings, context: &Context) -> Result<Self, DiscoveryError> {
        let ready = context.readiness.register("discovery");
        let local_id = settings.key.node_id();
        let path = settings.database.clone();
        let store = tokio::task::spawn_blocking(move || Store::open(path, local_id)).await;
        let store =
            store.map_err(|_| DiscoveryError::Config("the node database could not be read".to_owned()))?;
        let sockets = if settings.v4 || settings.v5 { Some(socket::bind(settings.udp)?) } else { None };
        let udp = sockets.as_ref().map(|sockets| sockets.address);
        let local = LocalNode::new(Start {
            key: settings.key.clone(),
            listen: settings.udp.ip(),
            tcp: settings.tcp_port,
            udp: udp.map_or(0, |address| address.port()),
            last_seq: store.local_seq(),
        })?;
        let shared = Shared { local, candidates: Arc::default(), store, token: context.supervisor.token() };
        shared.start_nat(&settings, udp, context);
        shared.start_dns(&settings, context)?;
        let (v4, v5) = match sockets {
            Some(sockets) => shared.start_protocols(&settings, sockets, context).await?,
            None => (None, None),
        };
        shared.start_store(context);
        tracing::info!(self = %shared.local.enode(), v4 = v4.is_some(), v5 = v5.is_some(), "Started P2P discovery");
        ready.ok();
        let Shared { local, candidates, store, token } = shared;
        let spec = settings.spec;
        Ok(Self { inner: Arc::new(Inner { local, candidates, store, spec, v4, v5, udp, token }) })
    }

    /// The local node.
    pub(crate) fn local(&self) -> &LocalNode {
        &self.inner.local
    }

    /// The local node's record.
    pub fn record(&self) -> Arc<Record> {
        self.inner.local.record()
    }

    /// Where the UDP sockets are bound, if there are any: `::` for both kinds of addresses.
    pub fn udp_address(&self) -> Option<SocketAddr> {
        self.inner.udp
    }

    /// Nodes on their way to those who want them.
    pub(crate) fn candidates(&self) -> &Candidates {
        &self.inner.candidates
    }

    pub(crate) fn spec(&self) -> Option<&ChainSpec> {
        self.inner.spec.as_ref()
    }

    pub(crate) fn token(&self) -> &CancellationToken {
        &self.inner.token
    }

    /// Looks up the nodes closest to a node id: at most 16, the closest first.
    pub(crate) async fn lookup_nodes(
        &self,
        target: B256,
        protocol: Protocol,
    ) -> Result<Vec<(Enode, Option<Record>)>, RequestError> {
        match protocol {
            Protocol::Discv4 => {
                let v4 = self.inner.v4.as_ref().ok_or(RequestError::NotRunning("v4"))?;
                let found = v4.lookup(target).await?;
                Ok(found.into_iter().map(|enode| (enode, v4.record_of(&enode))).collect())
            }
            Protocol::Discv5 => {
                let v5 = self.inner.v5.as_ref().ok_or(RequestError::NotRunning("v5"))?;
                let found = v5.lookup(target).await.into_iter();
                Ok(found.filter_map(|record| Some((record.to_enode()?, Some(record)))).collect())
            }
        }
    }

    /// Tells the protocols of a node; whether one of them had room for it.
    pub(crate) fn add_node_to_tables(
        &self,
        enode: &Enode,
        record: Option<&Record>,
    ) -> Result<bool, RequestError> {
        if self.inner.v4.is_none() && self.inner.v5.is_none() {
            return Err(RequestError::NotRunning("v4 or v5"));
        }
        let in_v4 = self.inner.v4.as_ref().is_some_and(|v4| v4.add(*enode));
        let in_v5 = self.inner.v5.as_ref().is_some_and(|v5| record.is_some_and(|record| v5.add(record)));
        Ok(in_v4 || in_v5)
    }

    /// Both tables: that of v4, and of v5 the nodes that v4 does not know.
    pub(crate) fn table(&self) -> Vec<TableEntry> {
        let mut entries = Vec::new();
        let mut known = BTreeSet::new();
        for (enode, record, is_replacement) in self.inner.v4.iter().flat_map(V4::table) {
            known.insert(enode.node_id());
            entries.extend(self.table_entry(enode, record, is_replacement));
        }
        for node in self.inner.v5.iter().flat_map(V5::table) {
            if let Some(enode) = node.record.to_enode().filter(|enode| !known.contains(&enode.node_id())) {
                entries.extend(self.table_entry(enode, Some(node.record), !node.is_connected));
            }
        }
        entries.sort_by_key(|entry| entry.distance);
        entries
    }

    /// `None` for the local node itself, which has no distance.
    fn table_entry(&self, enode: Enode, record: Option<Record>, is_replacement: bool) -> Option<TableEntry> {
        let id = enode.node_id();
        let distance = log_distance(self.inner.local.key().node_id(), id)?;
        let stored = self.inner.store.get(&id);
        Some(TableEntry {
            enode,
            record,
            distance,
            is_replacement,
            last_pong: stored.as_ref().map(|node| node.last_pong.max(node.last_v5)).unwrap_or_default(),
            failures: stored.map(|node| node.failures).unwrap_or_default(),
        })
    }
}

/// What the parts have in common.
struct Shared {
    local: LocalNode,
    candidates: Arc<Candidates>,
    store: Store,
    token: CancellationToken,
}

impl Shared {
    fn start_nat(&self, settings: &Settings, udp: Option<SocketAddr>, context: &Context) {
        // Nobody outside reaches a node that listens on loopback, whatever a router does.
        let in_vain = settings.udp.ip().is_loopback() && settings.nat.asks_around();
        if settings.nat.nat == Nat::None || in_vain {
            return;
        }
        let tcp = Port { protocol: Transport::Tcp, internal: settings.tcp_port };
        let udp = udp.map(|udp| Port { protocol: Transport::Udp, internal: udp.port() });
        let ports = [Some(tcp), udp].into_iter().flatten().collect();
        let (sender, mut found) = mpsc::channel(16);
        let mapping = mapping::run(settings.nat.clone(), ports, sender, self.token.clone());
        let (local, token) = (self.local.clone(), self.token.clone());
        let telling = async move {
            while let Some(found) = found.recv().await {
                match found {
                    Found::Address(ip) => local.set_address(ip),
                    Found::Port(Transport::Tcp, port) => local.set_tcp(port),
                    Found::Port(Transport::Udp, port) => local.set_udp(port),
                }
            }
        };
        spawn(context, "port mapping", async move {
            tokio::join!(mapping, telling);
            token.cancelled().await;
        });
    }

    fn start_dns(&self, settings: &Settings, context: &Context) -> Result<(), DiscoveryError> {
        if settings.dns.is_empty() {
            return Ok(());
        }
        let candidates = Arc::clone(&self.candidates);
        let links = settings.dns.clone();
        let source = DnsSource::new(links, &settings.dns_servers, candidates, settings.netrestrict.clone())?;
        spawn(context, "DNS node lists", source.run(self.token.clone()));
        Ok(())
    }

    fn start_store(&self, context: &Context) {
        let local = self.local.clone();
        let writing = self.store.clone().run(move || local.record().seq(), self.token.clone());
        spawn(context, "node database", writing);
    }

    async fn start_protocols(
        &self,
        settings: &Settings,
        sockets: Sockets,
        context: &Context,
    ) -> Result<(Option<V4>, Option<V5>), DiscoveryError> {
        let bootnodes = &settings.bootnodes;
        let v5 = if settings.v5 {
            let parts = v5::Parts {
                local: self.local.clone(),
                candidates: Arc::clone(&self.candidates),
                store: self.store.clone(),
                bootnodes: bootnodes.records.iter().chain(&bootnodes.v5_records).cloned().collect(),
                netrestrict: settings.netrestrict.clone(),
            };
            Some(V5::start(parts, sockets.readers.clone()).await?)
        } else {
            None
        };
        let v4 = if settings.v4 {
            let mut nodes = bootnodes::resolve(&bootnodes.urls).await;
            nodes
                .extend(bootnodes.records.iter().filter_map(Record::to_enode).filter(|enode| enode.udp != 0));
            let parts = v4::Parts {
                local: self.local.clone(),
                candidates: Arc::clone(&self.candidates),
                store: self.store.clone(),
                bootnodes: nodes,
                netrestrict: settings.netrestrict.clone(),
                v5: v5.clone(),
            };
            Some(V4::start(parts, sockets.writers, context)?)
        } else {
            if !bootnodes.urls.is_empty() && bootnodes.records.is_empty() && bootnodes.v5_records.is_empty() {
                tracing::warn!("Discovery v5 needs bootnodes with records (enr:…), and --bootnodes has none");
            }
            None
        };
        let foreign = v4.clone();
        let Some(v5) = v5 else {
            spawn(context, "UDP sockets", socket::read(sockets.readers, foreign, self.token.clone()));
            return Ok((v4, None));
        };
        let foreign = move |from, frame| socket::not_v5(foreign.as_ref(), from, frame);
        spawn(context, "discovery v5", v5.clone().run(foreign, self.token.clone()));
        Ok((v4, Some(v5)))
    }
}

/// Starts a task that ends with the service.
fn spawn(context: &Context, name: &str, task: impl Future<Output = ()> + Send + 'static) {
    context.supervisor.spawn(name, async move {
        task.await;
        Ok::<(), Infallible>(())
    });
}

/// 1 to 256; `None` for equal ids.
fn log_distance(a: B256, b: B256) -> Option<u32> {
    let zeros = alloy_primitives::U256::from_be_bytes((a ^ b).0).leading_zeros();
    256_u32.checked_sub(u32::try_from(zeros).ok()?).filter(|distance| *distance != 0)
}

#[cfg(test)]
mod tests {
    use super::log_distance;
    use alloy_primitives::B256;

    #[test]
    fn distances_are_those_of_the_highest_bit() {
        let one = B256::with_last_byte(1);
        assert_eq!(log_distance(one, one), None);
        assert_eq!(log_distance(one, B256::ZERO), Some(1));
        assert_eq!(log_distance(B256::repeat_byte(0xff), B256::ZERO), Some(256));
        assert_eq!(log_distance(B256::with_last_byte(0x1f), B256::ZERO), Some(5));
    }
}
