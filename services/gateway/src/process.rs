//! The service as a process of its own: its flags and its start.
//!
//! A gateway reads the chain's store itself, so as a process of its own it needs a store that it can share with
//! `chain`. The embedded store belongs to one process: while `chain` has it, this gateway serves health and
//! reflection, is not ready, and says why. Over the store of a node that is stopped it serves reads.

use crate::{Dependencies, Gateway, GatewayConfig, GatewayError, Signers};
use quintet_chain_api::ChainClient;
use quintet_chainspec::ChainSpec;
use quintet_events::LocalBus;
use quintet_miner_api::MinerClient;
use quintet_p2p_api::PeerClient;
use quintet_service::grpc::{GrpcConfig, GrpcServer, Transport};
use quintet_service::{Context, ProcessConfig, Service};
use quintet_store::{GENESIS_KEY, Options, Store, StoreError};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How long another service may take to answer.
const DEADLINE: Duration = Duration::from_secs(20);

/// Everything that `quintet-gateway` can be told.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "quintet-gateway", version, about = "Serves Ethereum's JSON-RPC from a Quintet chain store")]
#[command(mut_arg("grpc.port", |arg| arg.default_value("9605")))]
pub struct ProcessArgs {
    /// What every process has.
    #[command(flatten)]
    pub process: ProcessConfig,
    /// Where health and reflection are served.
    #[command(flatten)]
    pub grpc: GrpcConfig,
    /// What is served to clients.
    #[command(flatten)]
    pub gateway: GatewayConfig,
    /// Data directory whose chain is served.
    #[arg(id = "datadir", long = "datadir", value_name = "DIRECTORY")]
    pub datadir: PathBuf,
    /// Network id that `net_version` says; the chain id if not given.
    #[arg(id = "networkid", long = "networkid")]
    pub network_id: Option<u64>,
    /// Address of the chain service.
    #[arg(id = "chain.url", long = "chain.url", value_name = "URL", default_value = "http://127.0.0.1:9603")]
    pub chain_url: String,
    /// Address of the p2p service.
    #[arg(id = "p2p.url", long = "p2p.url", value_name = "URL", default_value = "http://127.0.0.1:9602")]
    pub p2p_url: String,
    /// Address of the miner service.
    #[arg(id = "miner.url", long = "miner.url", value_name = "URL", default_value = "http://127.0.0.1:9604")]
    pub miner_url: String,
}

/// Starts the gateway on the context's supervisor.
///
/// # Errors
/// When a flag is wrong or a port cannot be had. A store that cannot be shared is told by readiness.
pub async fn start(args: ProcessArgs, context: Context) -> Result<(), GatewayError> {
    let ready = context.readiness.register("store");
    let supervisor = &context.supervisor;
    args.gateway.endpoints()?;
    let server = GrpcServer::bind(&args.grpc, context.readiness.clone()).await?;
    supervisor.spawn("gRPC server", server.serve(supervisor.token()));
    let (store, spec) = match open(&args) {
        Ok(opened) => opened,
        Err(reason) => {
            tracing::warn!("no chain to serve: {reason}");
            ready.fail(reason);
            return Ok(());
        }
    };
    let gateway = Gateway::new(&args.gateway, dependencies(&args, store, spec)?)?;
    let listeners = gateway.bind().await?;
    supervisor.spawn("gateway", gateway.serve(listeners, supervisor.token()));
    ready.ok();
    Ok(())
}

fn open(args: &ProcessArgs) -> Result<(Arc<dyn Store>, ChainSpec), String> {
    let options = Options { create: false, ..Options::default() };
    let store = quintet_store::open(&args.datadir.join("chaindata"), &options).map_err(|error| match error {
        StoreError::InUse { path } => format!(
            "the embedded store {} belongs to the process that runs chain; run the gateway in that process \
             (quintet node), or give both a store that they can share",
            path.display()
        ),
        error => error.to_string(),
    })?;
    let json = store.meta(GENESIS_KEY).map_err(|error| error.to_string())?;
    let json = json.ok_or("the data directory holds no chain; prepare it with quintet init")?;
    let spec = ChainSpec::from_json(&String::from_utf8_lossy(&json)).map_err(|error| error.to_string())?;
    Ok((store, spec))
}

fn dependencies(
    args: &ProcessArgs,
    store: Arc<dyn Store>,
    spec: ChainSpec,
) -> Result<Dependencies, GatewayError> {
    let transport = |flag: &'static str, url: &str| {
        Transport::remote(Service::Gateway, url, DEADLINE)
            .map_err(|source| GatewayError::Transport { flag, source })
    };
    Ok(Dependencies {
        store,
        network_id: args.network_id.unwrap_or_else(|| spec.network_id()),
        spec: Arc::new(spec),
        chain: ChainClient::new(transport("chain.url", &args.chain_url)?),
        p2p: PeerClient::new(transport("p2p.url", &args.p2p_url)?),
        miner: MinerClient::new(transport("miner.url", &args.miner_url)?),
        events: Arc::new(LocalBus::new()),
        signers: Signers::default(),
    })
}
