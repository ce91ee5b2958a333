//! Discovery v4: the engine of `quintet-discv4` between the shared sockets and the clock.
//!
//! Packets wait in bounded queues, one per worker thread; what does not fit is dropped and counted. A worker reads a
//! packet, asks the engine whether it is wanted, recovers its signer without holding the engine, and signs and sends
//! the answers. The engine is held for microseconds only.

mod preimage;
mod resolve;
mod worker;

use crate::candidates::Candidates;
use crate::error::{DiscoveryError, RequestError};
use crate::local::LocalNode;
use crate::socket::Writers;
use crate::store::Store;
use crate::v5::V5;
use alloy_primitives::B256;
use parking_lot::Mutex;
use quintet_discv4::{Action, Config, Discv4, LookupId, RequestId, Signer};
use quintet_enode::{Enode, Netlist, PublicKey, Record};
use quintet_service::Context;
use resolve::Resolver;
use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use worker::Queues;

/// The engine's clock is looked at no more and no less often than this.
const TICKS: std::ops::RangeInclusive<Duration> = Duration::from_millis(5)..=Duration::from_millis(100);
/// Lookups begin no faster than this: a small network is asked often enough.
const LOOKUP_PACE: Duration = Duration::from_millis(500);
/// Until a lookup that found nobody is tried again.
const EMPTY_PACE: Duration = Duration::from_secs(1);
/// How long a lookup may take: 128 questions, three at a time.
const LOOKUP_DEADLINE: Duration = Duration::from_mins(1);
/// How long the question for a record may take: a ping, a pong, theirs, and the question.
const RECORD_DEADLINE: Duration = Duration::from_secs(5);
/// Nodes that were seen and wait to be asked for their records.
const SEEN: usize = 512;
/// Between looks at the sizes of things.
const GAUGES: Duration = Duration::from_secs(5);

/// Discovery v4. Clones share it.
#[derive(Clone)]
pub(crate) struct V4 {
    core: Arc<Core>,
    queues: Arc<Queues>,
}

/// What v4 works with.
pub(crate) struct Parts {
    /// The local node.
    pub local: LocalNode,
    /// Where nodes go.
    pub candidates: Arc<Candidates>,
    /// The node database.
    pub store: Store,
    /// Nodes to begin with.
    pub bootnodes: Vec<Enode>,
    /// Networks to talk with.
    pub netrestrict: Option<Netlist>,
    /// The other protocol, which is told of records.
    pub v5: Option<V5>,
}

/// What the workers and the tasks share.
struct Core {
    engine: Mutex<Discv4>,
    signer: Signer,
    sockets: Writers,
    local: LocalNode,
    candidates: Arc<Candidates>,
    store: Store,
    v5: Option<V5>,
    waiting: Mutex<Waiting>,
    seen: mpsc::Sender<Enode>,
}

/// Who waits for the end of what the engine does.
#[derive(Default)]
struct Waiting {
    lookups: HashMap<LookupId, oneshot::Sender<Vec<Enode>>>,
    records: HashMap<RequestId, oneshot::Sender<Option<Record>>>,
}

impl V4 {
    /// Starts on sockets to send with; what is received is given to [`Self::receive`].
    ///
    /// # Errors
    /// When there are no threads to be had.
    pub(crate) fn start(parts: Parts, sockets: Writers, context: &Context) -> Result<Self, DiscoveryError> {
        let mut config = Config::new(parts.local.key().clone(), parts.local.record().as_ref().clone());
        config.bootnodes = parts.bootnodes;
        config.netrestrict = parts.netrestrict;
        let mut engine = Discv4::new(config);
        for facts in parts.store.facts() {
            engine.restore(&facts);
        }
        let (seen, found) = mpsc::channel(SEEN);
        let core = Arc::new(Core {
            signer: engine.signer(),
            engine: Mutex::new(engine),
            sockets,
            local: parts.local,
            candidates: parts.candidates,
            store: parts.store,
            v5: parts.v5,
            waiting: Mutex::default(),
            seen,
        });
        let queues = Arc::new(
            Queues::start(&core)
                .map_err(|error| DiscoveryError::Config(format!("worker threads: {error}")))?,
        );
        let v4 = Self { core, queues };
        let token = context.supervisor.token();
        let task = v4.clone().run(found, token);
        context.supervisor.spawn("discovery v4", async move {
            task.await;
            Ok::<(), Infallible>(())
        });
        Ok(v4)
    }

    /// Takes a packet; one for which there is no room is dropped.
    pub(crate) fn receive(&self, from: SocketAddr, packet: Vec<u8>) {
        self.queues.push(from, packet);
    }

    async fn run(self, found: mpsc::Receiver<Enode>, token: CancellationToken) {
        let core = &self.core;
        let all = async {
            tokio::join!(
                core.keep_time(),
                core.follow_record(),
                self.look_around(),
                Resolver::new(self.clone()).run(found),
                core.tell_sizes(),
            )
        };
        token.run_until_cancelled(all).await;
    }

    /// Looks for nodes all the time while they are wanted; the engine refreshes its table by itself.
    async fn look_around(&self) {
        loop {
            self.core.candidates.wanted().await;
            let found = self.lookup_near(random_target()).await.unwrap_or_default();
            sleep(if found.is_empty() { EMPTY_PACE } else { LOOKUP_PACE }).await;
        }
    }

    /// Looks up the nodes closest to a node id: at most 16, the closest first.
    ///
    /// # Errors
    /// When there is too much to do.
    pub(crate) async fn lookup(&self, target: B256) -> Result<Vec<Enode>, RequestError> {
        // Others are asked for the neighbours of a key, and there is no way back from an id to its key.
        let key = tokio::task::spawn_blocking(move || preimage::near(target)).await;
        let key = key.map_err(|_| RequestError::Unavailable("the lookup could not be started"))?;
        let mut nodes = self.lookup_near(key).await?;
        nodes.sort_by_key(|node| node.node_id() ^ target);
        Ok(nodes)
    }

    async fn lookup_near(&self, target: PublicKey) -> Result<Vec<Enode>, RequestError> {
        let started = Instant::now();
        let (sender, ended) = oneshot::channel();
        let actions = {
            let mut engine = self.core.engine.lock();
            let id =
                engine.lookup(now(), target).map_err(|_| RequestError::Unavailable("too many lookups"))?;
            // Known before anybody else can take the engine's actions: the lookup may have ended already.
            self.core.waiting.lock().lookups.insert(id, sender);
            drain(&mut engine)
        };
        self.core.perform(actions);
        let nodes = timeout(LOOKUP_DEADLINE, ended).await;
        let seconds = started.elapsed().as_secs_f64();
        metrics::histogram!("quintet_discovery_lookup_duration_seconds", "protocol" => "v4").record(seconds);
        match nodes {
            Ok(Ok(nodes)) => Ok(nodes),
            _ => Err(RequestError::Unavailable("the lookup did not end in time")),
        }
    }

    /// Asks a node for its record; `None` when it does not answer.
    async fn request_record(&self, node: Enode) -> Option<Record> {
        let (sender, ended) = oneshot::channel();
        let actions = {
            let mut engine = self.core.engine.lock();
            let id = engine.resolve_enr(now(), node).ok()?;
            self.core.waiting.lock().records.insert(id, sender);
            drain(&mut engine)
        };
        self.core.perform(actions);
        timeout(RECORD_DEADLINE, ended).await.ok()?.ok()?
    }

    /// Whether a node proved to be where it is.
    fn is_bonded(&self, node: &Enode) -> bool {
        self.core.engine.lock().is_bonded(now(), node.node_id(), node.ip)
    }

    /// Whether a node says that it has a record.
    fn has_record(&self, node: &Enode) -> bool {
        self.core.engine.lock().has_record(node.node_id(), node.ip)
    }

    /// The record of a node in the table.
    pub(crate) fn record_of(&self, node: &Enode) -> Option<Record> {
        self.core.engine.lock().table().get(&node.node_id()).and_then(|known| known.record.clone())
    }

    /// Puts a node into the table, and pings it; whether there is room.
    pub(crate) fn add(&self, node: Enode) -> bool {
        let (added, actions) = {
            let mut engine = self.core.engine.lock();
            let added = engine.add_node(now(), node);
            // Where it cannot be pinged now, it is checked with the others of the table.
            let _ = engine.bond(now(), node);
            (added, drain(&mut engine))
        };
        self.core.perform(actions);
        added
    }

    /// The table: nodes, their records, and whether they wait for a place.
    pub(crate) fn table(&self) -> Vec<(Enode, Option<Record>, bool)> {
        let engine = self.core.engine.lock();
        let mut all = Vec::new();
        for (nodes, replacements) in engine.table().buckets() {
            all.extend(nodes.iter().map(|node| (node.enode, node.record.clone(), false)));
            all.extend(replacements.iter().map(|node| (node.enode, node.record.clone(), true)));
        }
        all
    }
}

impl Core {
    /// Tells the engine the time whenever it waits for it.
    async fn keep_time(&self) {
        loop {
            let (next, actions) = {
                let mut engine = self.engine.lock();
                engine.tick(now());
                (engine.next_tick(), drain(&mut engine))
            };
            self.perform(actions);
            sleep(next.saturating_sub(now()).clamp(*TICKS.start(), *TICKS.end())).await;
        }
    }

    /// Gives the local record to the engine whenever it changes.
    async fn follow_record(&self) {
        let mut changes = self.local.changes();
        // What changed since the engine was made counts, too.
        changes.mark_changed();
        while changes.changed().await.is_ok() {
            let record = Arc::clone(&changes.borrow_and_update());
            self.engine.lock().set_record(record.as_ref().clone());
        }
    }

    async fn tell_sizes(&self) {
        loop {
            let (nodes, (tasks, lookups, _)) = {
                let engine = self.engine.lock();
                (engine.table().len(), engine.load())
            };
            metrics::gauge!("quintet_discovery_table_nodes", "protocol" => "v4").set(nodes as f64);
            metrics::gauge!("quintet_discovery_requests", "kind" => "request").set(tasks as f64);
            metrics::gauge!("quintet_discovery_requests", "kind" => "lookup").set(lookups as f64);
            sleep(GAUGES).await;
        }
    }

    /// Does what the engine wants done. The engine must not be held.
    fn perform(&self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Send { to, datagram } => {
                    let name = datagram.name();
                    self.send(to, name, &datagram.seal(&self.signer));
                }
                Action::NodeSeen(node) | Action::NodeVerified(node) => self.take_seen(node),
                Action::LookupFinished(result) => {
                    if let Some(waiting) = self.waiting.lock().lookups.remove(&result.id) {
                        // Whoever waited may have given up.
                        let _ = waiting.send(result.nodes);
                    }
                }
                Action::RecordResolved { id, node, record } => self.take_record(id, node, record),
                Action::EndpointStatement { by, endpoint } => self.local.take_statement(by.ip(), endpoint),
                Action::Persist(facts) => self.store.take(&facts),
                Action::WantSeeds { count, max_age } => self.give_seeds(max_age, count),
                Action::NodeAdded(node) => tracing::debug!(%node, "Added node to the table"),
                Action::NodeRemoved(node) => tracing::debug!(%node, "Removed dead node"),
                Action::PingFinished { .. } => {}
            }
        }
    }

    /// Sends without waiting: what the system has no room for is lost, as on any network.
    fn send(&self, to: SocketAddr, name: &'static str, datagram: &[u8]) {
        let outcome = match self.sockets.send_to(datagram, to) {
            Ok(_) => "sent",
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => "dropped",
            Err(error) => {
                tracing::trace!(%to, %error, "Couldn't send packet");
                "failed"
            }
        };
        metrics::counter!("quintet_discovery_sent_packets_total", "packet" => name, "outcome" => outcome)
            .increment(1);
    }

    /// Puts a node on the list of those to be asked for their records, while nodes are wanted.
    fn take_seen(&self, node: Enode) {
        if self.candidates.are_wanted() || self.v5.is_some() {
            // A full list has enough to ask.
            let _ = self.seen.try_send(node);
        }
    }

    fn take_record(&self, id: Option<RequestId>, node: Enode, record: Option<Record>) {
        if let (Some(v5), Some(record)) = (&self.v5, &record) {
            v5.add(record);
        }
        match id.and_then(|id| self.waiting.lock().records.remove(&id)) {
            Some(waiting) => {
                let _ = waiting.send(record);
            }
            None => {
                if let Some(record) = record {
                    resolve::offer(&self.candidates, node, Some(record));
                }
            }
        }
    }

    fn give_seeds(&self, age: Duration, count: usize) {
        let seeds = self.store.seeds(age, count);
        if seeds.is_empty() {
            return;
        }
        let actions = {
            let mut engine = self.engine.lock();
            for node in seeds {
                tracing::trace!(%node, "Found seed node in database");
                engine.add_node(now(), node);
            }
            drain(&mut engine)
        };
        // No refresh follows from another: this does not go on for ever.
        self.perform(actions);
    }
}

/// Takes the engine's actions.
fn drain(engine: &mut Discv4) -> Vec<Action> {
    std::iter::from_fn(|| engine.poll()).collect()
}

/// A place to look near, by chance.
fn random_target() -> PublicKey {
    PublicKey::random()
}

/// Unix time.
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// An address as the engine has it: IPv4 never in its IPv6 form, and no zone.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
