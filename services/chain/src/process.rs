//! The service as a process: its flags, its tasks, and its server.

use crate::chain::Chain;
use crate::config::{Config, EngineConfig, PendingConfig, PoolArgs};
use crate::error::ChainError;
use crate::genesis;
use crate::pool::TICK;
use crate::server::{ChainServer, PeerLinkServer};
use quintet_events::{EventBus, LocalBus};
use quintet_proto::chain::v1::peer_link_service_server::PeerLinkServiceServer;
use quintet_service::grpc::{GrpcConfig, GrpcServer};
use quintet_service::{Context, ProcessConfig, ServiceError, Supervisor};
use quintet_types::PoolEvent;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

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
    /// Data directory, prepared by `quintet init`
    #[arg(id = "datadir", long = "datadir", value_name = "DIRECTORY")]
    pub datadir: PathBuf,
    /// Network id that peers and `net_version` see; the chain id if not given
    #[arg(id = "networkid", long = "networkid")]
    pub network_id: Option<u64>,
    /// The transaction pool.
    #[command(flatten)]
    pub pool: PoolArgs,
}

/// Why the service did not start or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// What every process can fail with.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// The chain could not be opened.
    #[error(transparent)]
    Chain(#[from] ChainError),
}

/// Starts the service on the context's supervisor.
///
/// # Errors
/// When the data directory or the port cannot be had.
pub async fn run(args: ProcessArgs, context: Context) -> Result<(), ProcessError> {
    quintet_types::install_crypto();
    let store = quintet_store::open(&args.datadir.join("chaindata"), &quintet_store::Options::default())
        .map_err(ChainError::from)?;
    let spec = genesis::stored_spec(store.as_ref())?.ok_or(ChainError::Uninitialised)?;
    let config = Config {
        pool: (&args.pool).into(),
        journal: Some(args.datadir.join("transactions.journal")),
        network_id: args.network_id.unwrap_or_else(|| spec.network_id()),
        pending: PendingConfig { gas_limit_target: spec.genesis_header().gas_limit, ..Default::default() },
        instant_finality: false,
    };
    let bus: Arc<dyn EventBus> = Arc::new(LocalBus::new());
    let engine = EngineConfig { check_work: true, ethash_directory: Some(args.datadir.join("ethash")) };
    let chain = Arc::new(Chain::open_with(Arc::new(spec), store, bus, config, engine)?);
    spawn_tasks(&chain, &context.supervisor);
    let server = GrpcServer::bind(&args.grpc, context.readiness.clone()).await?;
    let server = server
        .with(ChainServer::new(chain, context.supervisor.token()).into_server())
        .with(PeerLinkServiceServer::new(PeerLinkServer));
    context.supervisor.spawn("gRPC server", server.serve(context.supervisor.token()));
    Ok(())
}

/// Starts what a chain does by itself: publishing pool events, and looking over the pool's age. At shutdown
/// the trie is written, so that the next start has nothing to compute again.
pub fn spawn_tasks(chain: &Arc<Chain>, supervisor: &Supervisor) {
    // So that the first blob transaction does not wait for it.
    tokio::task::spawn_blocking(quintet_txpool::kzg_settings);
    if let Some(outbox) = chain.pool.take_outbox() {
        let task = publish_pool_events(Arc::clone(&chain.bus), outbox, supervisor.token());
        supervisor.spawn("pool events", task);
    }
    supervisor.spawn("pool clock", keep_time(Arc::clone(chain), supervisor.token()));
}

async fn publish_pool_events(
    bus: Arc<dyn EventBus>,
    mut outbox: mpsc::Receiver<PoolEvent>,
    token: CancellationToken,
) -> Result<(), ChainError> {
    while let Some(Some(event)) = token.run_until_cancelled(outbox.recv()).await {
        if let Err(error) = bus.publish(event.into()).await {
            tracing::debug!(%error, "pool event not published");
        }
    }
    Ok(())
}

async fn keep_time(chain: Arc<Chain>, token: CancellationToken) -> Result<(), ChainError> {
    let mut ticks = tokio::time::interval(TICK);
    while token.run_until_cancelled(ticks.tick()).await.is_some() {
        chain.pool.tick();
    }
    let closed = tokio::task::spawn_blocking(move || chain.close()).await;
    closed.map_err(ChainError::from).and_then(|outcome| outcome)
}
