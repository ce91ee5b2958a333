//! DNS node lists (EIP-1459): the records of [`tree`], the order of [`walk`], and the task that asks DNS.
//!
//! DNS is asked only while somebody wants candidates, and three times a second at most, as geth does. What was found is
//! kept, so that a later stream gets nodes without DNS.

mod encoding;
pub mod tree;
pub mod walk;

pub use tree::{Link, TreeError};

use crate::candidates::{Candidates, Found};
use crate::error::DiscoveryError;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;
use hickory_resolver::{Resolver, TokioResolver};
use quintet_discovery_api::Protocol;
use quintet_enode::Netlist;
use quintet_enode::Record;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::{sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use walk::{Next, Walk};

/// Between questions.
const PACE: Duration = Duration::from_millis(334);
/// How long an answer may take, as geth's.
const DEADLINE: Duration = Duration::from_secs(5);
/// Nodes that are kept.
const MOST_NODES: usize = 4096;
/// Nodes that are offered again at once.
const BATCH: usize = 64;
/// Between offers of what was found before.
const REPLAY: Duration = Duration::from_secs(10);

/// The task that walks the lists.
pub struct DnsSource {
    resolver: TokioResolver,
    walk: Walk,
    found: VecDeque<Record>,
    candidates: Arc<Candidates>,
    netrestrict: Option<Netlist>,
}

impl DnsSource {
    /// A source of nodes for `candidates`; with no `servers`, those of the system are asked.
    ///
    /// # Errors
    /// When the system does not say whom to ask.
    pub fn new(
        links: Vec<Link>,
        servers: &[SocketAddr],
        candidates: Arc<Candidates>,
        netrestrict: Option<Netlist>,
    ) -> Result<Self, DiscoveryError> {
        let resolver = resolver(servers).map_err(|error| DiscoveryError::Dns(error.to_string()))?;
        let walk = Walk::new(links, Instant::now());
        Ok(Self { resolver, walk, found: VecDeque::new(), candidates, netrestrict })
    }

    /// Runs until `token` is cancelled.
    pub async fn run(mut self, token: CancellationToken) {
        token.run_until_cancelled(self.work()).await;
    }

    async fn work(&mut self) {
        loop {
            self.candidates.wanted().await;
            match self.walk.next(Instant::now(), rand::random_range(0..usize::MAX)) {
                Next::Ask(query) => {
                    self.ask(&query).await;
                    sleep(PACE).await;
                }
                Next::Wait(until) => {
                    self.replay();
                    let _ = timeout(REPLAY, sleep_until(until.into())).await;
                }
                Next::Nothing => return,
            }
        }
    }

    async fn ask(&mut self, query: &walk::Query) {
        let texts = match timeout(DEADLINE, texts(&self.resolver, &query.domain)).await {
            Ok(texts) => texts,
            Err(_) => Err(TreeError::Dns("no answer in time".to_owned())),
        };
        let outcome = match self.walk.answer(query, texts, Instant::now()) {
            Ok(None) => "entry",
            Ok(Some(record)) => {
                self.take(*record);
                "node"
            }
            Err(error) => {
                tracing::debug!(name = query.domain, %error, "Error in DNS tree");
                "failed"
            }
        };
        metrics::counter!("quintet_discovery_dns_queries_total", "outcome" => outcome).increment(1);
    }

    fn take(&mut self, record: Record) {
        let allowed = |ip| self.netrestrict.as_ref().is_none_or(|networks| networks.contains(ip));
        if !record.to_enode().is_some_and(|enode| allowed(enode.ip)) {
            return;
        }
        self.offer(&record);
        if self.found.len() >= MOST_NODES {
            self.found.pop_front();
        }
        self.found.push_back(record);
    }

    /// Offers the next of the nodes that were found before.
    fn replay(&mut self) {
        for _ in 0..BATCH.min(self.found.len()) {
            if !self.candidates.are_wanted() {
                return;
            }
            let Some(record) = self.found.pop_front() else { return };
            self.offer(&record);
            self.found.push_back(record);
        }
    }

    fn offer(&self, record: &Record) {
        let Some(enode) = record.to_enode() else { return };
        // The contract has no word for DNS; the lists are made from what crawlers of discovery v4 find.
        let found = Found { enode, record: Some(record.clone()), by: Protocol::Discv4 };
        self.candidates.offer(&found, Instant::now());
    }
}

fn resolver(servers: &[SocketAddr]) -> Result<TokioResolver, hickory_resolver::net::NetError> {
    if servers.is_empty() {
        return TokioResolver::builder_tokio()?.build();
    }
    let servers = servers.iter().map(|server| {
        let mut connection = ConnectionConfig::udp();
        connection.port = server.port();
        NameServerConfig::new(server.ip(), true, vec![connection])
    });
    let config = ResolverConfig::from_name_servers(servers.collect());
    Resolver::builder_with_config(config, TokioRuntimeProvider::default()).build()
}

/// The TXT records of a name; of each, the strings that it was cut into are joined.
async fn texts(resolver: &TokioResolver, domain: &str) -> Result<Vec<String>, TreeError> {
    // With the dot at the end it is this name, and none of the local domain.
    let lookup = resolver.txt_lookup(format!("{domain}.")).await;
    let lookup = lookup.map_err(|error| TreeError::Dns(error.to_string()))?;
    let texts = lookup.answers().iter().filter_map(|record| match &record.data {
        RData::TXT(text) => Some(text.txt_data.concat()),
        _ => None,
    });
    Ok(texts.filter_map(|bytes| String::from_utf8(bytes).ok()).collect())
}
