//! A chain service on PostgreSQL and Redis in this process, and gateways as they are started beside it: each with its own
//! login that may only read, its own bus, and its own way to the chain service.

use crate::chain::dev_spec;
use alloy_primitives::{B256, Bytes};
use clap::Parser;
use quintet_chain::{Chain, ChainServer, Config};
use quintet_chain_api::{BuildRequest, ChainClient};
use quintet_chainspec::ChainSpec;
use quintet_events::{EventBus, RedisBus};
use quintet_gateway::ProcessArgs;
use quintet_redis::Keyspace;
use quintet_service::grpc::{GrpcConfig, GrpcServer, Transport};
use quintet_service::{Context, Readiness, Service, Supervisor};
use quintet_store::{PostgresOptions, offloaded, open_postgres};
use quintet_testkit::postgres::Postgres;
use quintet_testkit::process::free_port;
use quintet_testkit::redis::Redis;
use quintet_testkit::rpc::{HttpClient, WsClient};
use quintet_types::{Block, BlockRef, Header};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Until something must have happened.
const DEADLINE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(10);

/// The servers of a split node.
pub(crate) struct Servers {
    pub(crate) postgres: Postgres,
    pub(crate) redis: Redis,
    database: String,
    chain_port: u16,
}

impl Servers {
    /// PostgreSQL with an empty database and a login that may only read, and Redis.
    pub(crate) fn start() -> Self {
        let postgres = Postgres::start();
        let database = postgres.create_database();
        postgres.sql("postgres", "CREATE ROLE quintet_reader NOLOGIN");
        postgres.sql("postgres", "CREATE ROLE gateway LOGIN IN ROLE quintet_reader");
        Self { postgres, redis: Redis::start(), database, chain_port: free_port() }
    }

    /// A chain service of `spec`, whose genesis block it commits if there is none.
    pub(crate) async fn chain(&self, spec: ChainSpec) -> ChainService {
        ChainService::start(&self.database, &self.redis, self.chain_port, spec).await
    }

    /// The same, with its chain service on another port.
    pub(crate) fn at(self, chain_port: u16) -> Self {
        Self { chain_port, ..self }
    }

    /// The chain service's port.
    pub(crate) const fn chain_port(&self) -> u16 {
        self.chain_port
    }

    /// Where the chain service is.
    pub(crate) fn chain_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.chain_port)
    }

    /// A gateway, which may have to wait for a chain to show.
    pub(crate) async fn gateway(&self, flags: &[&str]) -> Replica {
        let name = self.database.rsplit('/').next().expect("a name");
        let store = self.postgres.url_as("gateway", name);
        let (redis, chain) = (self.redis.url(0), self.chain_url());
        let fixed = ["gateway", "--store", &store, "--redis", &redis, "--chain.url", &chain, "--dev"];
        Replica::start(&[&fixed, flags].concat()).await
    }
}

/// A chain service. It ends when this is dropped.
pub(crate) struct ChainService {
    pub(crate) client: ChainClient,
    core: Arc<Chain>,
    supervisor: Supervisor,
}

impl Drop for ChainService {
    fn drop(&mut self) {
        self.supervisor.shutdown();
    }
}

impl ChainService {
    async fn start(database: &str, redis: &Redis, port: u16, spec: ChainSpec) -> Self {
        quintet_types::install_crypto();
        let database = database.to_owned();
        let opened =
            tokio::task::spawn_blocking(move || open_postgres(&database, &PostgresOptions::default()));
        let store = offloaded(opened.await.expect("ran").expect("a store"));
        quintet_chain::genesis::init(store.as_ref(), &spec).expect("genesis");
        let redis = quintet_redis::Redis::new(&redis.url(0)).expect("an address");
        let bus: Arc<dyn EventBus> = Arc::new(RedisBus::new(redis, Keyspace::of(&spec.genesis_hash())));
        let config = Config::of(&spec);
        let core = Arc::new(Chain::open(Arc::new(spec), store, bus, config).expect("a chain"));
        let supervisor = Supervisor::new();
        quintet_chain::spawn_tasks(&core, &supervisor);
        let server = ChainServer::new(Arc::clone(&core), supervisor.token()).into_server();
        let client = ChainClient::new(Transport::local(Service::Miner, server.clone()));
        let grpc = GrpcConfig { addr: "127.0.0.1".to_owned(), port };
        let listening = GrpcServer::bind(&grpc, Readiness::new()).await.expect("the port").with(server);
        tokio::spawn(listening.serve(supervisor.token()));
        Self { client, core, supervisor }
    }

    /// The head's header.
    pub(crate) async fn head(&self) -> Header {
        self.client.head().await.expect("a head").header
    }

    /// Makes a block of what is pending, on the head.
    pub(crate) async fn mine(&self) -> BlockRef {
        reference(&self.make(b"").await)
    }

    /// As [`Self::mine`]; gives the whole block.
    pub(crate) async fn make(&self, extra: &'static [u8]) -> Block {
        let parent = self.head().await;
        let request = BuildRequest {
            parent_hash: Some(parent.hash_slow()),
            timestamp: parent.timestamp + 1,
            gas_limit_target: parent.gas_limit,
            extra_data: Bytes::from_static(extra),
            parent_beacon_block_root: Some(B256::ZERO),
            fill_budget: Duration::from_secs(5),
            allow_empty: true,
            ..BuildRequest::default()
        };
        let work = self.client.build_block(request).await.expect("built").expect("a block");
        self.client.submit_block(&work.block, 0).await.expect("imported");
        work.block
    }

    /// Replaces `old`, the head, by two blocks on its parent, as when a longer branch comes; gives the newer.
    pub(crate) async fn reorganise(&self, old: &Block) -> BlockRef {
        let parent = old.header.number - 1;
        self.rewind(parent).await;
        let branch = [self.make(b"branch").await, self.make(b"branch").await];
        self.rewind(parent).await;
        for block in [old, &branch[0], &branch[1]] {
            self.client.submit_block(block, 0).await.expect("imported");
        }
        let head = reference(&branch[1]);
        assert_eq!(self.client.head().await.expect("a head").head, head, "no reorg");
        head
    }

    /// Makes an earlier block the head.
    pub(crate) async fn rewind(&self, number: u64) -> BlockRef {
        let core = Arc::clone(&self.core);
        tokio::task::spawn_blocking(move || core.rewind(number)).await.expect("ran").expect("rewound")
    }
}

/// A block's number and hash.
pub(crate) fn reference(block: &Block) -> BlockRef {
    BlockRef { number: block.header.number, hash: block.header.hash_slow() }
}

/// A gateway, started as its binary starts it. It ends when this is dropped.
pub(crate) struct Replica {
    pub(crate) http: HttpClient,
    url: String,
    context: Context,
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.context.supervisor.shutdown();
    }
}

impl Replica {
    async fn start(flags: &[&str]) -> Self {
        let port = free_port().to_string();
        let modules = "eth,net,txpool,web3";
        let serving = ["--http", "--http.port", &port, "--http.api", modules, "--http.addr", "127.0.0.1"];
        let grpc = ["--grpc.port", "0"];
        let ws = ["--ws", "--ws.port", &port, "--ws.api", modules, "--ws.addr", "127.0.0.1"];
        let args =
            ProcessArgs::try_parse_from(flags.iter().chain(&serving).chain(&ws).chain(&grpc)).expect("flags");
        let context = Context::default();
        quintet_gateway::start(args, context.clone()).await.expect("a gateway");
        let url = format!("127.0.0.1:{port}");
        Self { http: HttpClient::new(format!("http://{url}")), url, context }
    }

    /// What `/readyz` would say.
    pub(crate) fn report(&self) -> String {
        self.context.readiness.report()
    }

    /// Waits until `/readyz` says this.
    pub(crate) async fn wait_for_report(&self, line: &str) {
        eventually(&format!("readiness says {line:?}"), async || {
            let report = self.report();
            if report.contains(line) { Ok(()) } else { Err(report) }
        })
        .await;
    }

    /// Opens a WebSocket.
    pub(crate) async fn ws(&self) -> WsClient {
        WsClient::connect(&format!("ws://{}", self.url)).await.expect("a WebSocket")
    }

    /// Another client, which has seen this block.
    pub(crate) fn with_min_block(&self, number: u64) -> HttpClient {
        let client = HttpClient::new(format!("http://{}", self.url));
        client.with_header("x-quintet-min-block", &number.to_string())
    }

    /// A result.
    pub(crate) async fn call(&self, method: &str, params: Value) -> Value {
        self.http.call(method, params).await.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// An error's code and text.
    pub(crate) async fn failure(&self, method: &str, params: Value) -> (i64, String) {
        let error = self.http.call(method, params).await.expect_err("an error").rpc();
        (error.code, error.message)
    }

    /// Waits until the head is this block.
    pub(crate) async fn wait_for(&self, block: BlockRef) {
        self.wait_for_result("eth_getBlockByNumber", json!(["latest", false]), |head| {
            head["hash"] == json!(block.hash)
        })
        .await;
    }

    /// Waits until a method's result is as it must become.
    pub(crate) async fn wait_for_result(&self, method: &str, params: Value, good: impl Fn(&Value) -> bool) {
        eventually(method, async || match self.http.call(method, params.clone()).await {
            Ok(result) if good(&result) => Ok(()),
            Ok(result) => Err(result.to_string()),
            Err(error) => Err(error.to_string()),
        })
        .await;
    }
}

/// Waits until `check` holds.
pub(crate) async fn eventually(what: &str, check: impl AsyncFn() -> Result<(), String>) {
    let started = Instant::now();
    while let Err(last) = check().await {
        assert!(started.elapsed() < DEADLINE, "{what}: {last}");
        tokio::time::sleep(POLL).await;
    }
}

/// The development network.
pub(crate) async fn split() -> (Servers, ChainService) {
    let servers = tokio::task::spawn_blocking(Servers::start).await.expect("servers");
    let chain = servers.chain(dev_spec()).await;
    (servers, chain)
}
