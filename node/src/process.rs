//! Runs the five services in one process, joined by their generated gRPC clients with no network between.

use crate::cli::SharedArgs;
use crate::error::NodeError;
use k256::ecdsa::SigningKey;
use quintet_chain::{Chain, ChainServer};
use quintet_chain_api::ChainClient;
use quintet_chainspec::ChainSpec;
use quintet_discovery::Discovery;
use quintet_events::{EventBus, LocalBus};
use quintet_gateway::{Dependencies, Gateway};
use quintet_miner::{Miner, MinerConfig};
use quintet_miner_api::MinerClient;
use quintet_p2p::P2p;
use quintet_p2p_api::PeerClient;
use quintet_service::grpc::Transport;
use quintet_service::{Context, Service};
use quintet_store::Store;
use std::sync::Arc;

/// What the services are started on.
pub struct Setup {
    /// The network.
    pub spec: Arc<ChainSpec>,
    /// Its chain, with the genesis block in it.
    pub store: Arc<dyn Store>,
    /// Settings of the chain service.
    pub chain: quintet_chain::Config,
    /// Settings of the miner.
    pub miner: MinerConfig,
    /// Keys that the gateway signs with.
    pub keys: Vec<SigningKey>,
    /// A development network: JSON-RPC is on, with all its namespaces, for every origin.
    pub dev: bool,
}

/// Runs until shutdown.
///
/// # Errors
/// When a service does not start or fails.
pub fn run(args: SharedArgs, setup: Setup) -> Result<(), NodeError> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(NodeError::Runtime)?;
    let process = args.process.clone();
    let outcome =
        runtime.block_on(quintet_service::run(&process, &Service::ALL, |context| start(args, setup, context)));
    runtime.shutdown_background();
    outcome
}

async fn start(args: SharedArgs, setup: Setup, context: Context) -> Result<(), NodeError> {
    let Setup { spec, store, chain: config, miner: miner_config, keys, dev } = setup;
    let Context { supervisor, readiness } = context;
    let bus: Arc<dyn EventBus> = Arc::new(LocalBus::new());
    let chain =
        Arc::new(Chain::open(Arc::clone(&spec), Arc::clone(&store), Arc::clone(&bus), config)?);
    quintet_chain::spawn_tasks(&chain, &supervisor);
    let chain_server = ChainServer::new(chain, supervisor.token()).into_server();
    let chain_client =
        |caller| ChainClient::new(Transport::local(caller, chain_server.clone()));

    let miner = Miner::new(&miner_config, chain_client(Service::Miner), Arc::clone(&bus))?;
    let miner_client = MinerClient::new(Transport::local(Service::Gateway, miner.server()));
    let peers = PeerClient::new(Transport::local(Service::Gateway, P2p::new().into_server()));
    let _discovery = Transport::local(Service::P2p, Discovery::new().into_server());

    let gateway_args = if dev { args.gateway.for_dev() } else { args.gateway };
    let gateway = Gateway::new(
        gateway_args,
        Dependencies {
            spec,
            store,
            chain: chain_client(Service::Gateway),
            peers,
            miner: miner_client,
            events: bus,
            keys,
        },
    )?;
    gateway.start(&supervisor, &readiness).await?;
    supervisor.spawn("miner", miner.run(readiness.clone(), supervisor.token()));
    Ok(())
}
