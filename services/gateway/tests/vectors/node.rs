//! A gateway on an imported chain, with a chain service behind it, all in this process.

use alloy_primitives::Address;
use clap::Parser;
use quintet_chain::{ChainServer, Config, PendingConfig};
use quintet_chain_api::ChainClient;
use quintet_events::{EventBus, LocalBus};
use quintet_gateway::{Dependencies, Gateway, GatewayConfig, Signers};
use quintet_miner::{Miner, MinerConfig};
use quintet_miner_api::MinerClient;
use quintet_p2p::P2p;
use quintet_p2p_api::PeerClient;
use quintet_service::grpc::Transport;
use quintet_service::{Context, Readiness, Service, Supervisor};
use quintet_testkit::chain::Chain;
use quintet_testkit::rpc::HttpClient;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// How long the gateway may take to hear of the safe block.
const START_DEADLINE: Duration = Duration::from_secs(10);
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    gateway: GatewayConfig,
}

/// The modules of a node for the world.
pub(crate) const PUBLIC: &str = "eth,net,web3,txpool";

/// A running gateway.
pub(crate) struct Node {
    client: HttpClient,
    supervisor: Supervisor,
}

impl Node {
    /// Starts on `chain`, whose head is the safe block, with these modules. Must be called in a tokio runtime.
    pub(crate) async fn start(chain: &Chain, modules: &str) -> Self {
        let supervisor = Supervisor::new();
        let bus: Arc<dyn EventBus> = Arc::new(LocalBus::new());
        let (spec, store) = (Arc::clone(&chain.spec), Arc::clone(&chain.store));
        let gas_limit_target = chain.header(chain.head.number).unwrap().gas_limit;
        let pending = PendingConfig { beneficiary: Address::ZERO, gas_limit_target };
        let config = Config { pending, instant_finality: true, ..Config::of(&spec) };
        let service =
            quintet_chain::Chain::open(spec.clone(), store.clone(), Arc::clone(&bus), config).unwrap();
        let service = Arc::new(service);
        quintet_chain::spawn_tasks(&service, &supervisor);
        let server = ChainServer::new(service, supervisor.token()).into_server();
        let client = |caller| ChainClient::new(Transport::local(caller, server.clone()));
        let miner = Miner::new(&MinerConfig::default(), client(Service::Miner), Arc::clone(&bus)).unwrap();
        let context = Context { supervisor: supervisor.clone(), readiness: Readiness::default() };
        let to_chain = Transport::local(Service::P2p, server.clone());
        let p2p = P2p::start(quintet_p2p::Settings::offline(), to_chain, None, &context).await.unwrap();
        let dependencies = Dependencies {
            network_id: spec.network_id(),
            store,
            spec,
            chain: client(Service::Gateway),
            p2p: PeerClient::new(Transport::local(Service::Gateway, p2p.into_server())).into(),
            datadir: None,
            miner: MinerClient::new(Transport::local(Service::Gateway, miner.server())),
            events: bus,
            signers: Signers::default(),
        };
        let flags = ["gateway", "--http", "--http.port", "0", "--http.api", modules];
        let gateway = Gateway::new(&Flags::parse_from(flags).gateway, dependencies).unwrap();
        let listeners = gateway.bind().await.unwrap();
        let address = listeners.http().expect("HTTP is on");
        supervisor.spawn("gateway", gateway.serve(listeners, supervisor.token()));
        let node = Self { client: HttpClient::new(format!("http://{address}")), supervisor };
        tokio::time::timeout(START_DEADLINE, node.safe_block()).await.expect("the safe block becomes known");
        node
    }

    async fn safe_block(&self) {
        let request =
            json!({ "jsonrpc": "2.0", "id": 1, "method": "eth_getHeaderByNumber", "params": ["safe"] });
        while self.send(&request).await["result"].is_null() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Sends a request, or a batch, and gives the response.
    pub(crate) async fn send(&self, request: &Value) -> Value {
        let (_, body) = self.client.post(request.to_string()).await.unwrap();
        serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}"))
    }

    /// Stops everything.
    pub(crate) async fn stop(self) {
        self.supervisor.shutdown();
        self.supervisor.run_until_shutdown(SHUTDOWN_TIMEOUT).await.unwrap();
    }
}
