//! A gateway over a real chain service in this process, on a store of its own. Blocks are built and submitted as
//! the miner does it, when a test says so.

use alloy_primitives::{Address, B256, Bytes, U256};
use clap::Parser;
use quintet_chain::{Chain, ChainServer, Config, PendingConfig, PoolArgs};
use quintet_chain_api::{BuildRequest, ChainClient};
use quintet_chainspec::ChainSpec;
use quintet_events::{EventBus, LocalBus};
use quintet_gateway::{Dependencies, Gateway, GatewayConfig, Signer, Signers};
use quintet_miner_api::MinerClient;
use quintet_p2p::P2p;
use quintet_p2p_api::PeerClient;
use quintet_service::grpc::Transport;
use quintet_service::{Context, Readiness, Service};
use quintet_store::Store;
use quintet_testkit::accounts::dev_accounts;
use quintet_testkit::rpc::{HttpClient, WsClient};
use quintet_types::BlockRef;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Gas limit of the development chain's blocks.
const GAS_LIMIT: u64 = 30_000_000;

#[derive(clap::Parser)]
pub(crate) struct GatewayFlags {
    #[command(flatten)]
    pub(crate) gateway: GatewayConfig,
}

#[derive(clap::Parser)]
struct PoolFlags {
    #[command(flatten)]
    pool: PoolArgs,
}

/// The development chain, its accounts funded with 10,000 ether.
pub(crate) fn dev_spec() -> ChainSpec {
    let ether = U256::from(10u128.pow(18));
    let funded: Vec<(Address, U256)> =
        dev_accounts().iter().map(|account| (account.address, ether * U256::from(10_000))).collect();
    ChainSpec::dev(&funded, GAS_LIMIT, 0).expect("the development chain")
}

/// A chain with a gateway on it. Everything ends when it is dropped.
pub(crate) struct Node {
    pub(crate) address: SocketAddr,
    pub(crate) chain: ChainClient,
    pub(crate) http: HttpClient,
    /// For further gateways on the same chain.
    pub(crate) dependencies: Dependencies,
    core: Arc<Chain>,
    token: CancellationToken,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.token.cancel();
    }
}

impl Node {
    /// The development chain, its accounts funded with 10,000 ether and known to the gateway.
    pub(crate) async fn dev() -> Self {
        Self::dev_with(&[]).await
    }

    /// As [`Self::dev`], with more flags for the gateway.
    pub(crate) async fn dev_with(flags: &[&str]) -> Self {
        let spec = dev_spec();
        let store = quintet_store::open_temporary().expect("a store");
        quintet_chain::genesis::init(store.as_ref(), &spec).expect("genesis");
        Self::start(Arc::new(spec), store, flags).await
    }

    /// A gateway on a chain that is there.
    pub(crate) async fn start(spec: Arc<ChainSpec>, store: Arc<dyn Store>, flags: &[&str]) -> Self {
        quintet_types::install_crypto();
        let bus: Arc<dyn EventBus> = Arc::new(LocalBus::new());
        let config = Config {
            pool: (&PoolFlags::parse_from(["pool"]).pool).into(),
            pending: PendingConfig { gas_limit_target: GAS_LIMIT, ..PendingConfig::default() },
            ..Config::of(&spec)
        };
        let core = Chain::open(Arc::clone(&spec), Arc::clone(&store), Arc::clone(&bus), config);
        let core = Arc::new(core.expect("a chain"));
        let supervisor = quintet_service::Supervisor::new();
        quintet_chain::spawn_tasks(&core, &supervisor);
        let token = supervisor.token();
        let server = ChainServer::new(Arc::clone(&core), token.clone()).into_server();
        let to_chain = Transport::local(Service::P2p, server.clone());
        let context = Context { supervisor, readiness: Readiness::default() };
        let p2p = P2p::start(quintet_p2p::Settings::offline(), to_chain, None, &context).await;
        let p2p = p2p.expect("a p2p service without peers");
        let chain = ChainClient::new(Transport::local(Service::Gateway, server));
        // Nothing answers there: what only the miner knows is unavailable.
        let nobody = Transport::remote(Service::Gateway, "http://127.0.0.1:9", Duration::from_secs(1));
        let secrets = dev_accounts().iter().map(|account| B256::from_slice(&account.key.to_bytes()));
        let signers = secrets.map(|secret| Signer::from_secret(&secret).expect("a key")).collect();
        let dependencies = Dependencies {
            network_id: spec.network_id(),
            spec,
            store,
            chain: chain.clone(),
            p2p: PeerClient::new(Transport::local(Service::Gateway, p2p.into_server())).into(),
            datadir: None,
            miner: MinerClient::new(nobody.expect("an address")),
            events: bus,
            signers: Signers::new(signers),
        };
        let modules = "clique,eth,net,personal,txpool,web3";
        let fixed = ["gateway", "--http", "--ws", "--http.api", modules, "--ws.api", modules];
        // One free port for both: the flags must name the same.
        let port = quintet_testkit::process::free_port().to_string();
        let ports = ["--http.port", &port, "--ws.port", &port];
        let args = fixed.iter().chain(&ports).chain(flags);
        let config = GatewayFlags::try_parse_from(args).expect("flags").gateway;
        let gateway = Gateway::new(&config, dependencies.clone()).expect("a gateway");
        let listeners = gateway.bind().await.expect("a port");
        let address = listeners.http().expect("HTTP");
        assert_eq!(listeners.ws(), Some(address));
        tokio::spawn(gateway.serve(listeners, token.clone()));
        let http = HttpClient::new(format!("http://{address}"));
        Self { address, chain, http, dependencies, core, token }
    }

    /// Opens a WebSocket.
    pub(crate) async fn ws(&self) -> WsClient {
        WsClient::connect(&format!("ws://{}", self.address)).await.expect("a WebSocket")
    }

    /// Makes a block of what is pending, on `parent` (the head if `None`), and waits until the gateway shows it
    /// if it became the head.
    pub(crate) async fn mine_on(
        &self,
        parent: Option<&quintet_types::Header>,
        extra: &'static [u8],
    ) -> BlockRef {
        let head = self.chain.head().await.expect("a head").header;
        let parent = parent.unwrap_or(&head);
        let request = BuildRequest {
            parent_hash: Some(parent.hash_slow()),
            timestamp: parent.timestamp + 1,
            gas_limit_target: GAS_LIMIT,
            extra_data: Bytes::from_static(extra),
            parent_beacon_block_root: Some(B256::ZERO),
            fill_budget: Duration::from_secs(5),
            allow_empty: true,
            ..BuildRequest::default()
        };
        let work = self.chain.build_block(request).await.expect("built").expect("a block");
        let submitted = self.chain.submit_block(&work.block, 0).await.expect("imported");
        if submitted.canonical {
            self.wait_for(submitted.block).await;
        }
        submitted.block
    }

    /// Makes a block of what is pending.
    pub(crate) async fn mine(&self) -> BlockRef {
        self.mine_on(None, b"").await
    }

    /// Makes an earlier block the head.
    pub(crate) async fn rewind(&self, number: u64) -> BlockRef {
        let core = Arc::clone(&self.core);
        let head =
            tokio::task::spawn_blocking(move || core.rewind(number)).await.expect("ran").expect("rewound");
        self.wait_for(head).await;
        head
    }

    /// Waits until the gateway's head is this block.
    pub(crate) async fn wait_for(&self, block: BlockRef) {
        let hash = serde_json::json!(block.hash);
        for _ in 0..500 {
            let head = self.http.call("eth_getBlockByNumber", serde_json::json!(["latest", false])).await;
            if head.expect("an answer")["hash"] == hash {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the gateway does not show block {block:?}");
    }
}
