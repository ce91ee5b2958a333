//! The gateway: Ethereum's JSON-RPC over HTTP and WebSocket. It answers reads from the store and the block deltas by
//! itself, runs the EVM on them, and sends transactions on to `chain`.
//!
//! - [`Gateway::new`] takes what it works with, [`Gateway::bind`] its sockets, [`Gateway::serve`] runs it.
//! - `methods/mod.rs` is the table of all methods; [`read`] is how they read the chain.

mod accounts;
mod config;
mod decode;
mod dispatch;
mod envelope;
mod error;
mod evm_slots;
mod filters;
mod json;
mod methods;
mod notice;
mod params;
mod process;
mod read;
mod render;
mod server;
mod shared;

pub use accounts::{BadKey, Signer, Signers};
pub use config::{
    ConfigError, DEFAULT_HTTP_PORT, DEFAULT_MODULES, DEFAULT_WS_PORT, GatewayConfig, LimitsConfig, MODULES,
};
pub use error::RpcError;
pub use process::{ProcessArgs, start};

use config::Endpoint;
use dispatch::Dispatcher;
use evm_slots::EvmSlots;
use filters::Filters;
use methods::Methods;
use notice::Notices;
use quintet_chain_api::ChainClient;
use quintet_chainspec::{ChainSpec, Consensus};
use quintet_clique::Clique;
use quintet_events::EventBus;
use quintet_miner_api::MinerClient;
use quintet_p2p_api::PeerClient;
use quintet_service::{ServiceError, bind_tcp};
use quintet_store::Store;
use read::Reads;
use server::{HttpService, Served, WsService};
use shared::{PendingCache, Shared};
use std::net::SocketAddr;
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
    /// The p2p service.
    pub p2p: PeerClient,
    /// The miner service.
    pub miner: MinerClient,
    /// Where block deltas and pool events come from.
    pub events: Arc<dyn EventBus>,
    /// Keys that the node signs with; none but in development.
    pub signers: Signers,
}

/// The gateway, ready to serve.
pub struct Gateway {
    shared: Arc<Shared>,
    events: Arc<dyn EventBus>,
    endpoints: Vec<Endpoint>,
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
    /// Where HTTP is served.
    pub fn http(&self) -> Option<SocketAddr> {
        self.address(|endpoint| endpoint.http.is_some())
    }

    /// Where WebSocket is served.
    pub fn ws(&self) -> Option<SocketAddr> {
        self.address(|endpoint| endpoint.ws.is_some())
    }

    fn address(&self, serves: impl Fn(&Endpoint) -> bool) -> Option<SocketAddr> {
        let (listener, _) = self.bound.iter().find(|(_, endpoint)| serves(endpoint))?;
        listener.local_addr().ok()
    }
}

impl Gateway {
    /// A gateway that shows the store's head. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// When a flag is wrong, or the store cannot be read.
    pub fn new(config: &GatewayConfig, dependencies: Dependencies) -> Result<Self, GatewayError> {
        let endpoints = config.endpoints()?;
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
            chain: dependencies.chain,
            p2p: dependencies.p2p,
            miner: dependencies.miner,
            signers: dependencies.signers,
            sending: tokio::sync::Mutex::default(),
            notices: Notices::new(),
            filters: Filters::default(),
            evm: EvmSlots::new(limits.evm_timeout).map_err(GatewayError::Thread)?,
            pending: PendingCache::default(),
            suggested_tip: arc_swap::ArcSwapOption::empty(),
            limits,
        };
        Ok(Self { shared: Arc::new(shared), events: dependencies.events, endpoints })
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
            let served = Arc::new(served(shared, &endpoint, &token));
            server::serve(listener, served)
        });
        let servers = futures::future::join_all(servers);
        let _ = tokio::join!(follow, markers, sweep(shared, token.clone()), servers);
        Ok(())
    }
}

fn served(shared: &Arc<Shared>, endpoint: &Endpoint, token: &CancellationToken) -> Served {
    let dispatcher = |offer: &config::Offer| {
        let mut modules = offer.modules.clone();
        if shared.clique.is_none() {
            modules.remove("clique");
        }
        Dispatcher { shared: Arc::clone(shared), methods: Arc::new(Methods::new(modules)) }
    };
    Served {
        http: endpoint.http.as_ref().map(|http| HttpService::new(dispatcher(&http.offer), http)),
        ws: endpoint.ws.as_ref().map(|ws| WsService::new(dispatcher(&ws.offer), ws)),
        token: token.clone(),
        sockets: TaskTracker::new(),
    }
}

async fn sweep(shared: &Shared, token: CancellationToken) {
    let mut ticks = tokio::time::interval(FILTER_SWEEP);
    while token.run_until_cancelled(ticks.tick()).await.is_some() {
        shared.filters.expire();
    }
}
