//! The service as a process of its own: its flags and its start.
//!
//! A gateway reads the chain's store itself: PostgreSQL, as a login that may only read, beside the chain service that
//! writes to it. (The embedded store belongs to one process: over the store of a node that is stopped a gateway serves
//! reads.)
//!
//! Whatever is not there *yet* is waited for: a store that does not answer, that `chain` has not made, or that has another
//! schema, as while a network is upgraded. Readiness says what is waited for. The ports of JSON-RPC are bound only when
//! there is a chain to show, so that a load balancer, which finds the port closed, sends nobody here; that they are free is
//! looked at before. Only what no waiting mends ends the process: a wrong flag, a port that somebody has.

use crate::{Dependencies, Gateway, GatewayConfig, GatewayError, Listeners, PeerServices, Signer, Signers};
use clap::ArgAction;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use quintet_chain_api::ChainClient;
use quintet_chainspec::ChainSpec;
use quintet_devnet::DevnetArgs;
use quintet_events::{BusError, Event, EventBus, Gap, RedisBus, Subscription, Topics};
use quintet_miner_api::MinerClient;
use quintet_redis::{Keyspace, Redis, RedisArgs};
use quintet_service::grpc::{GrpcConfig, GrpcServer, Transport};
use quintet_service::{Check, Context, ProcessConfig, Readiness, Service};
use quintet_store::{GENESIS_KEY, Location, PostgresOptions, Store, StoreError};
use quintet_types::BlockRef;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long another service may take to answer.
const DEADLINE: Duration = Duration::from_secs(20);
/// How long connecting to the store may take.
const CONNECT_DEADLINE: Duration = Duration::from_secs(2);
/// How long a read may wait for a connection.
const POOL_PATIENCE: Duration = Duration::from_secs(1);
/// Seconds after which a connection is lost on which nothing sent was acknowledged.
const ACKNOWLEDGE_SECONDS: u32 = 5;
/// The pauses between attempts to find a chain: from the first, doubling, to the last.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));
/// How often the store is looked at where there is no bus.
const POLL: Duration = Duration::from_secs(1);

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
    /// The chain's store, which is only read: postgres://USER:PASSWORD@HOST/DATABASE, or a directory.
    #[arg(id = "store", long = "store", value_name = "LOCATION")]
    pub store: Option<String>,
    /// Data directory whose chain is served, where --store does not say another place.
    #[arg(id = "datadir", long = "datadir", value_name = "DIRECTORY")]
    pub datadir: Option<PathBuf>,
    /// Events, and what replicas share.
    #[command(flatten)]
    pub redis: RedisArgs,
    /// Sign with the development network's accounts, whose keys everybody knows.
    #[arg(id = "dev", long = "dev", action = ArgAction::SetTrue)]
    pub dev: bool,
    /// The development network's accounts.
    #[command(flatten)]
    pub devnet: DevnetArgs,
    /// Network id that `net_version` says; the chain id if not given.
    #[arg(id = "networkid", long = "networkid")]
    pub network_id: Option<u64>,
    /// Address of the chain service.
    #[arg(id = "chain.url", long = "chain.url", value_name = "URL", default_value = "http://127.0.0.1:9603")]
    pub chain_url: String,
    /// Addresses of the p2p service; every address of their hosts is an instance.
    #[arg(
        id = "p2p.url",
        long = "p2p.url",
        value_name = "URLS",
        value_delimiter = ',',
        default_value = "http://127.0.0.1:9602"
    )]
    pub p2p_urls: Vec<String>,
    /// Address of the miner service.
    #[arg(id = "miner.url", long = "miner.url", value_name = "URL", default_value = "http://127.0.0.1:9604")]
    pub miner_url: String,
}

/// Starts the gateway on the context's supervisor.
///
/// # Errors
/// When a flag is wrong or a port cannot be had. That there is no chain to show is told by readiness.
pub async fn start(mut args: ProcessArgs, context: Context) -> Result<(), GatewayError> {
    quintet_types::install_crypto();
    args.gateway.public_only = true;
    args.gateway.check()?;
    let Context { supervisor, readiness } = context;
    let check = readiness.register("store");
    args.datadir = args.datadir.map(|path| std::path::absolute(&path).unwrap_or(path));
    let start = Start::new(&args)?;
    for endpoint in args.gateway.endpoints()? {
        quintet_service::bind_tcp(&endpoint.host, endpoint.port, endpoint.port_flag).await?;
    }
    let server = GrpcServer::bind(&args.grpc, readiness.clone()).await?;
    supervisor.spawn("gRPC server", server.serve(supervisor.token()));
    supervisor.spawn("gateway", run(start, readiness, check, supervisor.token()));
    Ok(())
}

async fn run(
    start: Start,
    readiness: Readiness,
    check: Check,
    token: CancellationToken,
) -> Result<(), GatewayError> {
    let Some(gateway) = token.run_until_cancelled(start.wait(&check)).await else { return Ok(()) };
    let gateway = gateway?.reporting(&readiness);
    let listeners = gateway.bind().await?;
    tell(&listeners);
    gateway.serve(listeners, token).await
}

fn tell(listeners: &Listeners) {
    if let Some(address) = listeners.http() {
        tracing::info!(%address, "HTTP server started");
    }
    if let Some(address) = listeners.ws() {
        tracing::info!(%address, "WebSocket enabled");
    }
}

/// What a gateway is made of once there is a chain to show.
struct Start {
    location: Location,
    config: GatewayConfig,
    network_id: Option<u64>,
    chain_url: String,
    chain: ChainClient,
    p2p: PeerServices,
    datadir: Option<PathBuf>,
    miner: MinerClient,
    redis: Option<Redis>,
    signers: Signers,
}

impl Start {
    fn new(args: &ProcessArgs) -> Result<Self, GatewayError> {
        let transport = |flag: &'static str, url: &str| {
            Transport::remote(Service::Gateway, url, DEADLINE)
                .map_err(|source| GatewayError::Transport { flag, source })
        };
        Ok(Self {
            location: location(args)?,
            config: args.gateway.clone(),
            network_id: args.network_id,
            chain_url: args.chain_url.clone(),
            chain: ChainClient::new(transport("chain.url", &args.chain_url)?),
            p2p: PeerServices::at(&args.p2p_urls)
                .map_err(|source| GatewayError::Transport { flag: "p2p.url", source })?,
            datadir: args.datadir.clone(),
            miner: MinerClient::new(transport("miner.url", &args.miner_url)?),
            redis: args.redis.open()?,
            signers: if args.dev { dev_signers(&args.devnet)? } else { Signers::default() },
        })
    }

    /// A gateway, as soon as there is a chain that it can show.
    ///
    /// # Errors
    /// Only those that no waiting mends.
    async fn wait(&self, check: &Check) -> Result<Gateway, GatewayError> {
        let (mut pause, longest) = PAUSES;
        let mut said = String::new();
        loop {
            let location = self.location.clone();
            let opened = tokio::task::spawn_blocking(move || open(&location)).await;
            let opened = opened.unwrap_or_else(|error| Err(error.to_string()));
            let reason = match opened.map(|(store, spec)| self.gateway(store, spec)) {
                Ok(Ok(gateway)) => return Ok(gateway),
                Ok(Err(GatewayError::Chain(error))) => error.to_string(),
                Ok(Err(error)) => return Err(error),
                Err(reason) => reason,
            };
            if said != reason {
                tracing::warn!(target: "quintet_gateway", "there is no chain to show yet: {reason}");
                said.clone_from(&reason);
            }
            check.fail(reason);
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(longest);
        }
    }

    fn gateway(&self, store: Arc<dyn Store>, spec: ChainSpec) -> Result<Gateway, GatewayError> {
        let events: Arc<dyn EventBus> = match &self.redis {
            Some(redis) => Arc::new(RedisBus::new(redis.clone(), Keyspace::of(&spec.genesis_hash()))),
            None => Arc::new(NoBus),
        };
        let dependencies = Dependencies {
            store,
            network_id: self.network_id.unwrap_or_else(|| spec.network_id()),
            spec: Arc::new(spec),
            chain: self.chain.clone(),
            p2p: self.p2p.clone(),
            datadir: self.datadir.clone(),
            miner: self.miner.clone(),
            events,
            signers: self.signers.clone(),
        };
        Gateway::apart(&self.config, dependencies, &self.chain_url, self.redis.clone())
    }
}

fn location(args: &ProcessArgs) -> Result<Location, GatewayError> {
    let location = match (args.store.as_deref().filter(|store| !store.is_empty()), &args.datadir) {
        (Some(store), _) => Location::parse(store).map_err(GatewayError::Store)?,
        (None, Some(datadir)) => Location::Directory(datadir.join("chaindata")),
        (None, None) => return Err(GatewayError::NoStore),
    };
    Ok(match location {
        Location::Postgres(address) => Location::Postgres(impatient(address)),
        directory @ Location::Directory(_) => directory,
    })
}

/// An address under which a connection that the network has lost is found out soon.
fn impatient(mut address: String) -> String {
    if !address.contains("tcp_user_timeout=") {
        address.push(if address.contains('?') { '&' } else { '?' });
        address.push_str("tcp_user_timeout=");
        address.push_str(&ACKNOWLEDGE_SECONDS.to_string());
    }
    address
}

fn dev_signers(devnet: &DevnetArgs) -> Result<Signers, GatewayError> {
    let accounts = devnet.accounts()?;
    let signers = accounts.iter().map(|account| Signer::from_secret(&account.secret()));
    Ok(Signers::new(signers.collect::<Result<_, _>>()?))
}

/// The store and the network that it holds, or why there is nothing to show now.
fn open(location: &Location) -> Result<(Arc<dyn Store>, ChainSpec), String> {
    let opened = match location {
        Location::Postgres(address) => quintet_store::open_postgres(
            address,
            &PostgresOptions {
                read_only: true,
                create: false,
                connect_timeout: CONNECT_DEADLINE,
                patience: POOL_PATIENCE,
                ..PostgresOptions::default()
            },
        ),
        Location::Directory(_) => location.open_to_read(),
    };
    let store = opened.map_err(|error| match error {
        StoreError::InUse { path } => format!(
            "the embedded store {} belongs to the process that runs chain; run the gateway in that process \
             (quintet node), or give both a store that they can share (--store postgres://…)",
            path.display()
        ),
        error @ (StoreError::Absent { .. } | StoreError::DatabaseAbsent { .. }) => {
            format!("{error}; it is there once chain has started on it")
        }
        error => error.to_string(),
    })?;
    let json = store.meta(GENESIS_KEY).map_err(|error| error.to_string())?;
    let json =
        json.ok_or("the store holds no chain; it does once chain has started on it (or quintet init)")?;
    let spec = ChainSpec::from_json(&String::from_utf8_lossy(&json)).map_err(|error| error.to_string())?;
    Ok((store, spec))
}

/// Where there is no bus: the store is looked at now and then.
struct NoBus;

impl EventBus for NoBus {
    fn publish(&self, _: Event) -> BoxFuture<'_, Result<(), BusError>> {
        futures::future::ready(Ok(())).boxed()
    }

    fn subscribe(&self, topics: Topics, _: Option<BlockRef>) -> Subscription {
        let ticks = futures::stream::unfold(tokio::time::interval(POLL), |mut ticks| async move {
            ticks.tick().await;
            Some((Err(Gap { head: None }), ticks))
        });
        Subscription::new(ticks.take_while(move |_| futures::future::ready(topics.chain)), Arc::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[test]
    fn the_store_is_where_the_flags_say() {
        let of = |flags: &[&str]| location(&ProcessArgs::parse_from(["gateway"].iter().chain(flags)));
        let said = |flags: &[&str]| of(flags).expect("a place");
        assert_eq!(said(&["--datadir", "/d"]), Location::Directory("/d/chaindata".into()));
        assert_eq!(said(&["--datadir", "/d", "--store", "/s"]), Location::Directory("/s".into()));
        let postgres = |address: &str| said(&["--store", address]);
        let with = |address: &str| Location::Postgres(address.to_owned());
        assert_eq!(postgres("postgres://u@h/c"), with("postgres://u@h/c?tcp_user_timeout=5"));
        assert_eq!(postgres("postgres://u@h/c?a=b"), with("postgres://u@h/c?a=b&tcp_user_timeout=5"));
        let own = "postgres://u@h/c?tcp_user_timeout=9";
        assert_eq!(postgres(own), with(own));
        let nowhere = of(&[]).expect_err("nothing says where");
        assert!(nowhere.to_string().contains("--store"), "{nowhere}");
        assert!(of(&["--store", "mysql://h/c"]).is_err());
    }
}
