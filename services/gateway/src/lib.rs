//! The gateway: Ethereum's JSON-RPC over HTTP and WebSocket. It answers reads from the store and the block deltas by
//! itself, runs the EVM on them, and sends transactions on to `chain`.
//!
//! - [`Gateway::new`] takes what it works with, [`Gateway::bind`] its sockets, [`Gateway::serve`] runs it.
//! - `methods/mod.rs` is the table of all methods; [`read`] is how they read the chain.

mod accounts;
mod auth;
mod chain_link;
mod checks;
mod config;
mod decode;
mod dispatch;
mod envelope;
mod error;
mod evm_slots;
mod filters;
mod flights;
mod json;
mod limits;
mod methods;
mod notice;
mod params;
mod peers;
mod pool_log;
mod process;
mod read;
mod render;
mod sending;
mod server;
mod shared;

pub use accounts::{BadKey, Signer, Signers};
pub use auth::{KeysError, SecretError};
pub use config::{
    AccessConfig, AdminRpcConfig, ConfigError, DEFAULT_ADMIN_PORT, DEFAULT_HTTP_PORT, DEFAULT_MODULES,
    DEFAULT_WS_PORT, GatewayConfig, LimitsConfig, MODULES,
};
pub use error::RpcError;
pub use peers::PeerServices;
pub use process::{ProcessArgs, start};

use chain_link::ChainLink;
use checks::Checks;
use config::{Access, Audience, Endpoint};
use dispatch::Dispatcher;
use evm_slots::EvmSlots;
use filters::Filters;
use flights::Flights;
use limits::Limiter;
use methods::Methods;
use notice::Notices;
use pool_log::PendingLog;
use quintet_chain_api::ChainClient;
use quintet_chainspec::{ChainSpec, Consensus};
use quintet_clique::Clique;
use quintet_events::EventBus;
use quintet_miner_api::MinerClient;
use quintet_redis::{Keyspace, Redis};
use quintet_service::{Readiness, ServiceError, bind_tcp};
use quintet_store::{Store, StoreError};
use read::Reads;
use sending::Sending;
use server::{HttpService, Served, WsService};
use shared::{PendingCache, Shared};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How often filters that nobody polls are forgotten.
const FILTER_SWEEP: Duration = Duration::from_mins(1);

/// Why the gateway cannot start.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// A flag is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A port cannot be had, or the process failed in another way.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// The store cannot be read, or holds no chain.
    #[error("cannot read the chain: {0}")]
    Chain(RpcError),
    /// What `--store` says is no place for a store.
    #[error(transparent)]
    Store(StoreError),
    /// Nothing says where the store is.
    #[error("no store: give --store (QUINTET_STORE) or --datadir (QUINTET_DATADIR)")]
    NoStore,
    /// `--redis` is wrong.
    #[error(transparent)]
    Redis(#[from] quintet_redis::AddressError),
    /// The development network's accounts cannot be derived.
    #[error(transparent)]
    Accounts(#[from] quintet_devnet::AccountsError),
    /// An account's key cannot be used.
    #[error(transparent)]
    Key(#[from] BadKey),
    /// The thread that watches EVM calls cannot be started.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
    /// An address of another service is wrong.
    #[error("--{flag}: {source}")]
    Transport {
        /// The flag.
        flag: &'static str,
        /// What is wrong with it.
        source: std::io::Error,
    },
}

/// What the gateway works with.
#[derive(Clone)]
pub struct Dependencies {
    /// The chain, which has a head.
    pub store: Arc<dyn Store>,
    /// The chain's rules.
    pub spec: Arc<ChainSpec>,
    /// What `net_version` says.
    pub network_id: u64,
    /// The chain service.
    pub chain: ChainClient,
    /// The p2p service, all instances of it.
    pub p2p: PeerServices,
    /// The miner service.
    pub miner: MinerClient,
    /// Where block deltas and pool events come from.
    pub events: Arc<dyn EventBus>,
    /// Keys that the node signs with; none but in development.
    pub signers: Signers,
    /// Where the node keeps its files (`admin_datadir`); `None` where its chain is in a database.
    pub datadir: Option<PathBuf>,
}

/// The gateway, ready to serve.
pub struct Gateway {
    shared: Arc<Shared>,
    events: Arc<dyn EventBus>,
    endpoints: Vec<Endpoint>,
    access: Access,
    limiter: Option<Arc<Limiter>>,
    checks: Option<Checks>,
}

/// Bound sockets, with what each serves.
pub struct Listeners {
    bound: Vec<(TcpListener, Endpoint)>,
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway").field("endpoints", &self.endpoints).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Listeners {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listeners").field("http", &self.http()).field("ws", &self.ws()).finish()
    }
}

impl Listeners {
    /// Where the admin RPC server is.
    pub fn admin(&self) -> Option<SocketAddr> {
        self.address(|endpoint| endpoint.audience == Audience::Operators)
    }

    /// Where HTTP is served.
    pub fn http(&self) -> Option<SocketAddr> {
        self.address(|endpoint| endpoint.audience != Audience::Operators && endpoint.http.is_some())
    }

    /// Where WebSocket is served.
    pub fn ws(&self) -> Option<SocketAddr> {
        self.address(|endpoint| endpoint.audience != Audience::Operators && endpoint.ws.is_some())
    }

    fn address(&self, serves: impl Fn(&Endpoint) -> bool) -> Option<SocketAddr> {
        let (listener, _) = self.bound.iter().find(|(_, endpoint)| serves(endpoint))?;
        listener.local_addr().ok()
    }
}

impl Gateway {
    /// A gateway that shows the store's head, in the process of the chain service. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// When a flag is wrong, or the store cannot be read.
    pub fn new(config: &GatewayConfig, dependencies: Dependencies) -> Result<Self, GatewayError> {
        let chain = ChainLink::trusted(dependencies.chain.clone());
        Self::with_chain(config, dependencies, chain, None)
    }

    /// The same, where the chain service is another process, at `url`: nothing is sent to it unless it is of the
    /// store's network. With `redis`, this is one of several gateways: filters, rate limits and the order of what the
    /// node's own accounts send are common to all.
    ///
    /// # Errors
    /// See [`Self::new`].
    pub fn apart(
        config: &GatewayConfig,
        dependencies: Dependencies,
        url: &str,
        redis: Option<Redis>,
    ) -> Result<Self, GatewayError> {
        let genesis = dependencies.spec.genesis_hash();
        let chain = ChainLink::checked(dependencies.chain.clone(), url, genesis);
        let redis = redis.map(|redis| (redis, Keyspace::of(&genesis)));
        Self::with_chain(config, dependencies, chain, redis)
    }

    /// Tells `readiness` of the store, the chain service and the events.
    #[must_use]
    pub fn reporting(mut self, readiness: &Readiness) -> Self {
        self.checks = Some(Checks::register(readiness));
        self
    }

    fn with_chain(
        config: &GatewayConfig,
        dependencies: Dependencies,
        chain: ChainLink,
        redis: Option<(Redis, Keyspace)>,
    ) -> Result<Self, GatewayError> {
        let endpoints = config.endpoints()?;
        let access = config.access()?;
        let limited = access.rate.is_some() || access.public.keys.is_some();
        let limiter = limited.then(|| Arc::new(Limiter::new(access.rate, redis.clone())));
        let notices = Notices::new();
        let limits = config.limits.clone();
        let cache = limits.cache_megabytes << 20;
        let reads = Reads::new(dependencies.store, limits.overlay, cache).map_err(GatewayError::Chain)?;
        let clique = match dependencies.spec.consensus() {
            Consensus::Clique { period, epoch } => Some(Clique::new(period, epoch)),
            _ => None,
        };
        let shared = Shared {
            reads: Arc::new(reads),
            clique,
            spec: dependencies.spec,
            network_id: dependencies.network_id,
            chain,
            p2p: dependencies.p2p,
            datadir: dependencies.datadir,
            miner: dependencies.miner,
            signers: dependencies.signers,
            sending: Sending::new(redis.clone()),
            pool_log: PendingLog::new(&notices, redis.as_ref()),
            notices,
            filters: Filters::new(redis),
            flights: Flights::new(),
            evm: EvmSlots::new(limits.evm_timeout).map_err(GatewayError::Thread)?,
            pending: PendingCache::default(),
            suggested_tip: arc_swap::ArcSwapOption::empty(),
            limits,
        };
        Ok(Self {
            shared: Arc::new(shared),
            events: dependencies.events,
            endpoints,
            access,
            limiter,
            checks: None,
        })
    }

    /// Binds the sockets that the flags ask for.
    ///
    /// # Errors
    /// When a port cannot be had; the error names its flag.
    pub async fn bind(&self) -> Result<Listeners, GatewayError> {
        let mut bound = Vec::new();
        for endpoint in &self.endpoints {
            let listener = bind_tcp(&endpoint.host, endpoint.port, endpoint.port_flag).await?;
            bound.push((listener, endpoint.clone()));
        }
        Ok(Listeners { bound })
    }

    /// Serves until `token` is cancelled; then finishes what is under way.
    ///
    /// # Errors
    /// None: a failing connection is its client's matter, a failing read its request's.
    pub async fn serve(self, listeners: Listeners, token: CancellationToken) -> Result<(), GatewayError> {
        let shared = &self.shared;
        let follow = read::follow(
            Arc::clone(&shared.reads),
            Arc::clone(&self.events),
            shared.notices.clone(),
            token.clone(),
        );
        let markers = read::follow_markers(Arc::clone(&shared.reads), shared.chain.clone(), token.clone());
        let servers = listeners.bound.into_iter().map(|(listener, endpoint)| {
            let served = Arc::new(self.served(&endpoint, &token));
            server::serve(listener, served)
        });
        let servers = futures::future::join_all(servers);
        let store = shared.reads.watch_store(token.clone());
        let checks = async {
            if let Some(checks) = &self.checks {
                checks.run(&shared.reads, &shared.chain, &self.events, &token).await;
            }
        };
        let keys = async {
            if let Some(keys) = &self.access.public.keys {
                keys.follow(token.clone()).await;
            }
        };
        let _ = tokio::join!(follow, markers, sweep(shared, token.clone()), servers, store, checks, keys);
        Ok(())
    }

    fn served(&self, endpoint: &Endpoint, token: &CancellationToken) -> Served {
        let for_operators = endpoint.audience == Audience::Operators;
        let dispatcher = |offer: &config::Offer| {
            let mut modules = offer.modules.clone();
            if self.shared.clique.is_none() {
                modules.remove("clique");
            }
            Dispatcher {
                shared: Arc::clone(&self.shared),
                methods: Arc::new(Methods::new(modules, endpoint.audience == Audience::World)),
                limiter: self.limiter.clone().filter(|_| !for_operators),
            }
        };
        Served {
            http: endpoint.http.as_ref().map(|http| HttpService::new(dispatcher(&http.offer), http)),
            ws: endpoint.ws.as_ref().map(|ws| WsService::new(dispatcher(&ws.offer), ws)),
            gate: if for_operators { self.access.admin.clone() } else { self.access.public.clone() },
            token: token.clone(),
            ending: false.into(),
            sockets: TaskTracker::new(),
        }
    }
}

async fn sweep(shared: &Shared, token: CancellationToken) {
    let mut ticks = tokio::time::interval(FILTER_SWEEP);
    while token.run_until_cancelled(ticks.tick()).await.is_some() {
        shared.filters.expire();
    }
}
