//! Runs the five services in one process, joined by their generated gRPC clients with no network between.

use crate::cli::{NetworkArgs, SharedArgs};
use crate::error::NodeError;
use quintet_chain::Chain;
use quintet_chain::sync::SyncMode;
use quintet_chain_api::ChainClient;
use quintet_chainspec::ChainSpec;
use quintet_discovery::Discovery;
use quintet_enode::IdentityArgs;
use quintet_events::{EventBus, LocalBus};
use quintet_gateway::{Dependencies, Gateway, GatewayConfig, MODULES, Signers};
use quintet_miner::{Miner, MinerConfig};
use quintet_miner_api::MinerClient;
use quintet_p2p::P2p;
use quintet_p2p_api::PeerClient;
use quintet_service::grpc::Transport;
use quintet_service::{Context, Service};
use quintet_store::{Store, offloaded};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tonic::service::Routes;

/// What the services are started on.
pub(crate) struct Setup {
    /// The network.
    pub spec: Arc<ChainSpec>,
    /// Its chain, with the genesis block in it.
    pub store: Arc<dyn Store>,
    /// Settings of the chain service.
    pub chain: quintet_chain::Config,
    /// Settings of the miner.
    pub miner: MinerConfig,
    /// Keys that the gateway signs with.
    pub signers: Signers,
    /// Where the node keeps its files; `None` if they are gone when it ends.
    pub datadir: Option<PathBuf>,
    /// Who the node is to others; `None` if it has no peers.
    pub network: Option<NetworkArgs>,
    /// How the chain is fetched from peers.
    pub sync_mode: SyncMode,
    /// A development network: JSON-RPC is on, with all its namespaces, for every origin.
    pub dev: bool,
}

/// Runs until shutdown.
///
/// # Errors
/// When a service does not start or fails.
pub(crate) fn run(args: SharedArgs, setup: Setup) -> Result<(), NodeError> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(NodeError::Runtime)?;
    let process = args.process.clone();
    let outcome = runtime
        .block_on(quintet_service::run(&process, &Service::ALL, |context| start(args, setup, context)));
    runtime.shutdown_background();
    outcome
}

/// What a development network offers unless its flags say otherwise: HTTP and WebSocket on one port, with every
/// module, for pages of every origin.
fn open_up(config: &mut GatewayConfig) {
    let list = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    config.http = true;
    config.ws = true;
    if config.ws_port == quintet_gateway::DEFAULT_WS_PORT {
        config.ws_port = config.http_port;
        config.ws_addr.clone_from(&config.http_addr);
    }
    let default_api = |api: &[String]| api == quintet_gateway::DEFAULT_MODULES;
    if default_api(&config.http_api) {
        config.http_api = list(&MODULES);
    }
    if default_api(&config.ws_api) {
        config.ws_api = list(&MODULES);
    }
    if config.http_corsdomain.is_empty() {
        config.http_corsdomain = list(&["*"]);
    }
    if config.ws_origins.is_empty() {
        config.ws_origins = list(&["*"]);
    }
}

async fn start(args: SharedArgs, setup: Setup, context: Context) -> Result<(), NodeError> {
    let Setup { spec, store, chain: config, miner: miner_config, signers, datadir, network, sync_mode, dev } =
        setup;
    let store = offloaded(store);
    let network_id = config.network_id;
    let Context { supervisor, readiness } = &context;
    let bus: Arc<dyn EventBus> = Arc::new(LocalBus::new());
    let chain = Chain::open(Arc::clone(&spec), Arc::clone(&store), Arc::clone(&bus), config);
    let chain = Arc::new(chain?);
    quintet_chain::spawn_tasks(&chain, supervisor);
    let (chain_server, link_server) = quintet_chain::serve_with_peers(chain, sync_mode, supervisor);
    let chain_client = |caller| ChainClient::new(Transport::local(caller, chain_server.clone()));

    let miner = Miner::new(&miner_config, chain_client(Service::Miner), Arc::clone(&bus))?;
    let miner_client = MinerClient::new(Transport::local(Service::Gateway, miner.server()));
    let chain_and_link = Routes::new(chain_server.clone()).add_service(link_server);
    let chain_and_link = Transport::local(Service::P2p, chain_and_link);
    let p2p = start_network(network, datadir.as_deref(), &spec, chain_and_link, &context).await?;
    let p2p = PeerClient::new(Transport::local(Service::Gateway, p2p.into_server()));

    let mut gateway_config = args.gateway;
    if dev {
        open_up(&mut gateway_config);
    }
    let dependencies = Dependencies {
        spec,
        store,
        network_id,
        chain: chain_client(Service::Gateway),
        p2p: p2p.into(),
        datadir,
        miner: miner_client,
        events: bus,
        signers,
    };
    let gateway = Gateway::new(&gateway_config, dependencies)?;
    let listeners = gateway.bind().await?;
    if let Some(address) = listeners.http() {
        tracing::info!(%address, "HTTP server started");
    }
    if let Some(address) = listeners.ws() {
        tracing::info!(%address, "WebSocket enabled");
    }
    supervisor.spawn("gateway", gateway.serve(listeners, supervisor.token()));
    supervisor.spawn("miner", miner.run(readiness.clone(), supervisor.token()));
    Ok(())
}

/// Starts what finds peers and what holds them; without a network only what says that there are none.
async fn start_network(
    args: Option<NetworkArgs>,
    datadir: Option<&Path>,
    spec: &ChainSpec,
    chain: Transport,
    context: &Context,
) -> Result<P2p, NodeError> {
    let Some(NetworkArgs { node, discovery, peers }) = args else {
        return Ok(P2p::start(quintet_p2p::Settings::offline(), chain, None, context).await?);
    };
    let settings = quintet_p2p::Settings::load(&node, &peers, datadir)?;
    // Both have one key, also where it is made anew each time.
    let node = IdentityArgs { nodekeyhex: Some(settings.key.to_hex()), nodekey: None, ..node };
    let found = quintet_discovery::Settings::new(&node, &discovery, datadir, Some(spec.clone()))?;
    let discovery = Discovery::start(found, context).await?;
    let discovery = Transport::local(Service::P2p, discovery.into_server());
    Ok(P2p::start(settings, chain, Some(discovery), context).await?)
}
