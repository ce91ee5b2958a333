//! The service as a process: its flags and its start.

use crate::chain::Chain;
use crate::config::{Config, PendingConfig, PoolArgs};
use crate::error::{ChainError, ProcessError};
use crate::network::{Network, NetworkArgs};
use crate::sync::SyncArgs;
use crate::{genesis, probe, tasks};
use quintet_events::{EventBus, LocalBus, RedisBus};
use quintet_redis::{Keyspace, Redis, RedisArgs};
use quintet_service::grpc::{GrpcConfig, GrpcServer};
use quintet_service::{Check, Context, ProcessConfig, config};
use quintet_store::{Location, Options, StoreError, offloaded};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The first pause between two attempts to open the store; each is twice as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Everything that `quintet-chain` can be told.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "quintet-chain", version, about = "Holds the chain of Quintet (quintet.chain.v1)")]
#[command(mut_arg("grpc.port", |arg| arg.default_value("9603")))]
pub struct ProcessArgs {
    /// What every process has.
    #[command(flatten)]
    pub process: ProcessConfig,
    /// Where it serves.
    #[command(flatten)]
    pub grpc: GrpcConfig,
    /// Data directory: the pool's journal, ethash's caches, and the chain unless --store is given
    #[arg(id = "datadir", long = "datadir", value_name = "DIRECTORY")]
    pub datadir: PathBuf,
    /// The chain's store: postgres://USER:PASSWORD@HOST/DATABASE, or a directory of its own; without it the
    /// chain is in the data directory
    #[arg(id = "store", long = "store", value_name = "LOCATION")]
    pub store: Option<String>,
    /// How long to wait at the start for a store that is not there yet, or belongs to a process that goes away
    #[arg(id = "store.wait", long = "store.wait", value_name = "DURATION", default_value = "5m",
        value_parser = config::duration)]
    pub store_wait: Duration,
    /// Redis, which carries events to the other services.
    #[command(flatten)]
    pub redis: RedisArgs,
    /// Which chain it is.
    #[command(flatten)]
    pub network: NetworkArgs,
    /// Take blocks without a valid proof of work
    #[arg(id = "fakepow", long = "fakepow")]
    pub fake_pow: bool,
    /// Network id that peers and `net_version` see; the chain id if not given
    #[arg(id = "networkid", long = "networkid")]
    pub network_id: Option<u64>,
    /// The transaction pool.
    #[command(flatten)]
    pub pool: PoolArgs,
    /// Sync with peers.
    #[command(flatten)]
    pub sync: SyncArgs,
}

/// Starts the service on the context's supervisor. A store that is not there yet is waited for, and readiness says so.
///
/// # Errors
/// When the store or the port cannot be had, or the store holds another chain.
pub async fn run(args: ProcessArgs, context: Context) -> Result<(), ProcessError> {
    quintet_types::install_crypto();
    let (supervisor, readiness) = (&context.supervisor, &context.readiness);
    let store_check = readiness.register("store");
    let start = Start::new(&args)?;
    let has_redis = start.redis.is_some();
    let chain = wait_for_chain(start, args.store_wait, &store_check).await?;
    tasks::spawn_tasks(&chain, supervisor);
    if chain.store.reads_block() {
        let task = probe::watch_store(Arc::clone(&chain), store_check.clone(), supervisor.token());
        supervisor.spawn("store probe", task);
    }
    if has_redis {
        let check = readiness.register("events");
        let task = probe::watch_events(Arc::clone(&chain), check, supervisor.token());
        supervisor.spawn("events probe", task);
    }
    let server = GrpcServer::bind(&args.grpc, readiness.clone()).await?;
    let (calls, link) = tasks::serve_with_peers(chain, args.sync.mode, supervisor);
    let server = server.with(calls).with(link);
    supervisor.spawn("gRPC server", server.serve(supervisor.token()));
    store_check.ok();
    Ok(())
}

/// What the chain is opened with, as often as it takes.
#[derive(Clone)]
struct Start {
    location: Location,
    network: Option<Network>,
    redis: Option<Redis>,
    datadir: PathBuf,
    pool: quintet_txpool::Config,
    network_id: Option<u64>,
    check_work: bool,
}

impl Start {
    fn new(args: &ProcessArgs) -> Result<Self, ProcessError> {
        let location = match args.store.as_deref().filter(|store| !store.is_empty()) {
            Some(store) => Location::parse(store).map_err(ChainError::from)?,
            None => Location::Directory(args.datadir.join("chaindata")),
        };
        Ok(Self {
            location,
            network: args.network.chosen()?,
            redis: args.redis.open()?,
            datadir: args.datadir.clone(),
            pool: (&args.pool).into(),
            network_id: args.network_id,
            check_work: !args.fake_pow,
        })
    }

    /// Opens the store and the chain in it. Waits for the network, so not for async threads.
    fn open(&self) -> Result<Chain, ChainError> {
        std::fs::create_dir_all(&self.datadir).map_err(|source| ChainError::Directory {
            path: self.datadir.clone(),
            source: Arc::new(source),
        })?;
        let store = offloaded(self.location.open(&Options::default())?);
        if let Some(network) = &self.network {
            genesis::init(store.as_ref(), &network.spec)?;
        }
        let spec = match &self.network {
            Some(network) => network.spec.clone(),
            None => genesis::stored_spec(store.as_ref())?.ok_or(ChainError::Uninitialised)?,
        };
        let beneficiary = self.network.as_ref().map(|network| network.beneficiary).unwrap_or_default();
        let defaults = Config::of(&spec);
        let config = Config {
            pool: self.pool.clone(),
            journal: Some(self.datadir.join("transactions.journal")),
            network_id: self.network_id.unwrap_or(defaults.network_id),
            pending: PendingConfig { beneficiary, ..defaults.pending },
            instant_finality: self.network.as_ref().is_some_and(|network| network.dev),
            check_work: self.check_work,
            ethash_directory: Some(self.datadir.join("ethash")),
        };
        let keyspace = Keyspace::of(&spec.genesis_hash());
        let shared = self.redis.clone().map(|redis| Arc::new(RedisBus::new(redis, keyspace)));
        let bus: Arc<dyn EventBus> = match &shared {
            Some(bus) => Arc::clone(bus) as Arc<dyn EventBus>,
            None => Arc::new(LocalBus::new()),
        };
        tracing::info!(store = %self.location, genesis = %spec.genesis_hash(), "Opening the chain");
        let chain = Chain::open(Arc::new(spec), store, bus, config)?;
        if let Some(bus) = shared {
            // What the bus held before this start may be of another head, and it may be empty.
            bus.announce_head(chain.head().block);
        }
        Ok(chain)
    }
}

/// Opens the chain; while the store is not there, tries again for up to `patience`.
async fn wait_for_chain(start: Start, patience: Duration, check: &Check) -> Result<Arc<Chain>, ChainError> {
    let deadline = Instant::now() + patience;
    let mut pause = FIRST_PAUSE;
    loop {
        let attempt = start.clone();
        let opened = tokio::task::spawn_blocking(move || attempt.open()).await?;
        match opened {
            Err(error) if is_worth_waiting_for(&error) && Instant::now() < deadline => {
                check.fail(format!("waiting for the store: {error}"));
                tracing::warn!(%error, ?pause, "waiting for the store");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            opened => return opened.map(Arc::new),
        }
    }
}

/// Whether the store may be there later without anybody doing anything: it starts just now, or its last writer's
/// connection is not closed yet.
fn is_worth_waiting_for(error: &ChainError) -> bool {
    error.is_store_away() || matches!(error.store_failure(), Some(StoreError::DatabaseInUse { .. }))
}
