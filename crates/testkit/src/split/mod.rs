//! A split node on this machine: PostgreSQL, Redis, and every service as a process of its own, started from the
//! binaries beside `quintet`.
//!
//! Each service reaches each other one, PostgreSQL and Redis by a [`Proxy`] of its own, so that a test can take away any
//! edge without touching the rest. Services keep their ports over restarts.

mod careful;
mod flags;
mod member;

pub use careful::{Answer, Careful};
pub use flags::ETHERBASE;
pub use member::Status;

use crate::postgres::Postgres;
use crate::process::{Program, free_port};
use crate::proxy::Proxy;
use crate::redis::Redis;
use crate::rpc::{HttpClient, WsClient};
use member::Member;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::sync::{Semaphore, SemaphorePermit};

/// Split nodes that run side by side; tests wait for their turn.
const MOST: usize = 2;
static TURNS: Semaphore = Semaphore::const_new(MOST);
/// Until a service is ready.
const DEADLINE: Duration = Duration::from_mins(1);
const POLL: Duration = Duration::from_millis(50);

/// A service of the split node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    /// The one writer.
    Chain,
    /// Finds nodes.
    Discovery,
    /// Talks to peers; an instance, by its index.
    P2p(usize),
    /// A miner, by its index.
    Miner(usize),
    /// A gateway, by its index.
    Gateway(usize),
}

impl Service {
    /// The name of its binary.
    pub const fn binary(self) -> &'static str {
        match self {
            Self::Chain => "quintet-chain",
            Self::Discovery => "quintet-discovery",
            Self::P2p(_) => "quintet-p2p",
            Self::Miner(_) => "quintet-miner",
            Self::Gateway(_) => "quintet-gateway",
        }
    }

    /// What it connects to.
    pub const fn peers(self) -> &'static [Peer] {
        match self {
            Self::Chain => &[Peer::Postgres, Peer::Redis],
            Self::Discovery => &[],
            Self::P2p(_) => &[Peer::Chain, Peer::Discovery],
            Self::Miner(_) => &[Peer::Chain, Peer::Redis],
            Self::Gateway(_) => &[Peer::Chain, Peer::Miner, Peer::P2p, Peer::Postgres, Peer::Redis],
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chain => f.write_str("chain"),
            Self::Discovery => f.write_str("discovery"),
            Self::P2p(index) => write!(f, "p2p-{index}"),
            Self::Miner(index) => write!(f, "miner-{index}"),
            Self::Gateway(index) => write!(f, "gateway-{index}"),
        }
    }
}

/// What a service connects to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peer {
    /// The chain service.
    Chain,
    /// The discovery service.
    Discovery,
    /// The first miner.
    Miner,
    /// The first instance of the p2p service.
    P2p,
    /// The store.
    Postgres,
    /// Events, pool log, filters, the miners' lease.
    Redis,
}

/// How a split node is made.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder of the binaries.
    pub binaries: PathBuf,
    /// Number of gateways.
    pub gateways: usize,
    /// Number of miners.
    pub miners: usize,
    /// Number of instances of p2p.
    pub p2p: usize,
    /// Seconds from block to block; 0 for a block whenever a transaction is pending.
    pub block_time: u64,
    /// Where spans go; then logs have details, and are for machines.
    pub otlp: Option<String>,
    /// Flags of `chain` that choose the network.
    pub network: Vec<String>,
}

impl Options {
    /// Two gateways and two miners on the development network, of the binaries beside `quintet`.
    ///
    /// # Panics
    /// When the path has no folder.
    pub fn beside(quintet: &str) -> Self {
        let binaries = Path::new(quintet).parent().expect("a folder").to_owned();
        let network = vec!["--dev".to_owned()];
        Self { binaries, gateways: 2, miners: 2, p2p: 1, block_time: 0, otlp: None, network }
    }
}

/// A split node. Everything ends when this is dropped; if the test failed, the logs are printed.
pub struct Split {
    /// The store's server.
    pub postgres: Postgres,
    /// The server of events.
    pub redis: Redis,
    options: Options,
    database: String,
    datadir: TempDir,
    members: BTreeMap<Service, Member>,
    _turn: SemaphorePermit<'static>,
}

impl Split {
    /// Starts everything, in the order of their needs, and waits until all are ready.
    ///
    /// # Panics
    /// When a part does not start.
    pub async fn start(options: Options) -> Self {
        let mut split = Self::prepare(options).await;
        split.launch(Service::Chain);
        split.wait_ready(Service::Chain).await;
        let others: Vec<_> =
            split.services().into_iter().filter(|service| *service != Service::Chain).collect();
        for service in &others {
            split.launch(*service);
        }
        for service in others {
            split.wait_ready(service).await;
        }
        split
    }

    /// Starts PostgreSQL, with an empty database, and Redis, but none of the services.
    ///
    /// # Panics
    /// When a server does not start, or a binary is missing.
    pub async fn prepare(options: Options) -> Self {
        let turn = TURNS.acquire().await.expect("never closed");
        let servers = tokio::task::spawn_blocking(|| {
            let postgres = Postgres::start();
            let database = postgres.create_database();
            // As an operator does before anything runs, so that a gateway may come first.
            postgres.sql("postgres", "CREATE ROLE quintet_reader NOLOGIN");
            postgres.sql("postgres", "CREATE ROLE gateway LOGIN IN ROLE quintet_reader");
            (postgres, database, Redis::start())
        });
        let (postgres, database, redis) = servers.await.expect("servers");
        let datadir = tempfile::Builder::new().prefix("quintet-split-").tempdir().expect("a directory");
        let mut split =
            Self { postgres, redis, options, database, datadir, members: BTreeMap::new(), _turn: turn };
        split.make_members();
        split
    }

    fn make_members(&mut self) {
        let mut all = vec![Service::Chain, Service::Discovery];
        all.extend((0..self.options.p2p).map(Service::P2p));
        all.extend((0..self.options.miners).map(Service::Miner));
        all.extend((0..self.options.gateways).map(Service::Gateway));
        for service in &all {
            let binary = self.options.binaries.join(service.binary());
            assert!(binary.is_file(), "{} is missing: cargo build --workspace --bins", binary.display());
            self.members.insert(*service, Member::new(database(&self.database)));
        }
        for service in all {
            for peer in service.peers() {
                let target = format!("127.0.0.1:{}", self.port_of(*peer));
                let member = self.members.get_mut(&service).expect("just made");
                member.links.insert(*peer, Proxy::start(target));
            }
        }
    }

    fn port_of(&self, peer: Peer) -> u16 {
        match peer {
            Peer::Chain => self.member(Service::Chain).grpc,
            Peer::Miner => self.members.get(&Service::Miner(0)).map_or_else(free_port, |miner| miner.grpc),
            Peer::Discovery => self.member(Service::Discovery).grpc,
            Peer::P2p => self.member(Service::P2p(0)).grpc,
            Peer::Postgres => self.postgres.port(),
            Peer::Redis => self.redis.port(),
        }
    }

    fn member(&self, service: Service) -> &Member {
        self.members.get(&service).unwrap_or_else(|| panic!("there is no {service}"))
    }

    fn member_mut(&mut self, service: Service) -> &mut Member {
        self.members.get_mut(&service).unwrap_or_else(|| panic!("there is no {service}"))
    }

    /// All services, started or not.
    pub fn services(&self) -> Vec<Service> {
        self.members.keys().copied().collect()
    }

    /// How many gateways there are.
    pub const fn gateways(&self) -> usize {
        self.options.gateways
    }

    /// The link over which a service reaches another part.
    ///
    /// # Panics
    /// When there is none.
    pub fn link(&self, service: Service, peer: Peer) -> &Proxy {
        let links = &self.member(service).links;
        links.get(&peer).unwrap_or_else(|| panic!("{service} has no link to {peer:?}"))
    }

    /// The store's database on its server.
    pub fn database(&self) -> &str {
        database(&self.database)
    }

    /// Points a service, from its next start on, at another database of the server.
    pub fn use_store(&mut self, service: Service, url: &str) {
        database(url).clone_into(&mut self.member_mut(service).database);
    }

    /// Gives `chain`, from its next start on, other flags for its network; none is the network of its store.
    pub fn set_network(&mut self, flags: &[&str]) {
        self.options.network = flags.iter().map(|flag| (*flag).to_owned()).collect();
    }

    /// The store's address for its owner, past all links.
    pub fn store_url(&self) -> &str {
        &self.database
    }

    /// The chain service's data directory.
    pub fn datadir(&self) -> &Path {
        self.datadir.path()
    }

    /// The command that starts a service, complete.
    pub fn program(&self, service: Service) -> Program {
        flags::program(self, service)
    }

    /// Starts a service, and does not wait for anything.
    ///
    /// # Panics
    /// When it runs, or cannot be started.
    pub fn launch(&mut self, service: Service) {
        let program = self.program(service);
        self.launch_as(service, &program);
    }

    /// The same with another command.
    ///
    /// # Panics
    /// When it runs, or cannot be started.
    pub fn launch_as(&mut self, service: Service, program: &Program) {
        self.member_mut(service).launch(service, program);
    }

    /// Kills a service, as `kill -9` does.
    ///
    /// # Panics
    /// When it does not run, or ended by itself before.
    pub async fn kill(&mut self, service: Service) {
        self.member_mut(service).kill(service).await;
    }

    /// Asks a service to end, with SIGTERM.
    ///
    /// # Panics
    /// When it does not end in order, with exit code 0.
    pub async fn stop(&mut self, service: Service) {
        self.member_mut(service).stop(service).await;
    }

    /// Asks all running services to end: those that others need go last.
    ///
    /// # Panics
    /// When one does not end in order.
    pub async fn stop_all(&mut self) {
        for service in self.services().into_iter().rev() {
            if self.member_mut(service).runs() {
                self.stop(service).await;
            }
        }
    }

    /// Stops a service in order, starts it again, and waits until it is ready.
    ///
    /// # Panics
    /// When it does not end or start in order.
    pub async fn restart(&mut self, service: Service) {
        self.stop(service).await;
        self.launch(service);
        self.wait_ready(service).await;
    }

    /// Stops a service's threads (SIGSTOP): it holds its connections and answers nothing.
    ///
    /// # Panics
    /// When it does not run.
    pub async fn pause(&mut self, service: Service) {
        self.member_mut(service).signal(service, "STOP").await;
    }

    /// Ends a [`Self::pause`].
    ///
    /// # Panics
    /// When it does not run.
    pub async fn resume(&mut self, service: Service) {
        self.member_mut(service).signal(service, "CONT").await;
    }

    /// Everything that a service printed, over all its lives.
    pub fn log(&self, service: Service) -> String {
        self.member(service).log()
    }

    /// How a service's process ended, if it did by itself.
    pub fn exit_code(&mut self, service: Service) -> Option<i32> {
        self.member_mut(service).exit_code()
    }

    /// What `/readyz` says; nothing if it does not answer.
    pub async fn readyz(&self, service: Service) -> Option<Status> {
        self.member(service).admin("/readyz").await
    }

    /// Where a service's admin port is, as `127.0.0.1:PORT`.
    pub fn admin(&self, service: Service) -> String {
        format!("127.0.0.1:{}", self.member(service).admin)
    }

    /// What `/metrics` says.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn metrics(&self, service: Service) -> String {
        let answer = self.member(service).admin("/metrics").await;
        answer.unwrap_or_else(|| panic!("{service} tells no metrics")).text
    }

    /// The sum of a metric's samples whose line has all of these pieces; nothing if there is none.
    pub async fn metric(&self, service: Service, name: &str, pieces: &[&str]) -> Option<f64> {
        let text = self.member(service).admin("/metrics").await?.text;
        member::metric(&text, name, pieces)
    }

    /// Waits until a service is ready.
    ///
    /// # Panics
    /// When it ends, or is not ready within a minute.
    pub async fn wait_ready(&mut self, service: Service) -> Status {
        self.wait_for(service, "ready", DEADLINE, |status| status.ready).await
    }

    /// Waits until `/readyz` of a service says what is wanted.
    ///
    /// # Panics
    /// When the service ends, or does not say so in time.
    pub async fn wait_for(
        &mut self,
        service: Service,
        what: &str,
        deadline: Duration,
        wanted: impl Fn(&Status) -> bool,
    ) -> Status {
        let start = Instant::now();
        loop {
            let ended = self.exit_code(service);
            assert_eq!(ended, None, "{service} ended:\n{}", self.log(service));
            let status = self.readyz(service).await;
            if let Some(status) = status.as_ref().filter(|status| wanted(status)) {
                return status.clone();
            }
            assert!(start.elapsed() < deadline, "{service} is not {what} in {deadline:?}: {status:?}");
            tokio::time::sleep(POLL).await;
        }
    }

    /// The port on which an instance of p2p listens for peers.
    pub fn peer_port(&self, instance: usize) -> u16 {
        self.member(Service::P2p(instance)).rlpx
    }

    /// Where a service answers gRPC, past all links.
    pub fn grpc(&self, service: Service) -> String {
        format!("http://127.0.0.1:{}", self.member(service).grpc)
    }

    /// Where a gateway serves JSON-RPC over HTTP and WebSocket, as `127.0.0.1:PORT`.
    pub fn address(&self, gateway: usize) -> String {
        format!("127.0.0.1:{}", self.member(Service::Gateway(gateway)).http)
    }

    /// Where every gateway serves JSON-RPC over HTTP.
    pub fn urls(&self) -> Vec<String> {
        (0..self.options.gateways).map(|index| format!("http://{}", self.address(index))).collect()
    }

    /// A client of a gateway.
    pub fn rpc(&self, gateway: usize) -> HttpClient {
        HttpClient::new(format!("http://{}", self.address(gateway)))
    }

    /// A connection to a gateway over WebSocket.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn ws(&self, gateway: usize) -> WsClient {
        let connected = WsClient::connect(&format!("ws://{}", self.address(gateway))).await;
        connected.unwrap_or_else(|error| panic!("no WebSocket: {error}"))
    }
}

/// The name at the end of an address.
fn database(url: &str) -> &str {
    url.rsplit('/').next().unwrap_or_default()
}

impl Drop for Split {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for (service, member) in &self.members {
                eprintln!("=== {service}\n{}", member.last_lines());
            }
        }
    }
}
