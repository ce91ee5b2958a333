//! A development chain with the service's client on it.

use alloy_consensus::{TxEip1559, TxEnvelope};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Address, Bytes, TxKind, U256};
use quintet_chain::{Chain, ChainServer, Config, PendingConfig, genesis};
use quintet_chain_api::{BuildRequest, BuiltWork, ChainClient, Submitted};
use quintet_chainspec::ChainSpec;
use quintet_events::LocalBus;
use quintet_service::Service;
use quintet_service::grpc::Transport;
use quintet_store::Store;
use quintet_testkit::accounts::{dev_account, dev_accounts};
use std::path::Path;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

pub(crate) const GAS_LIMIT: u64 = 30_000_000;

pub(crate) struct Node {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) chain: Arc<Chain>,
    pub(crate) client: ChainClient,
}

pub(crate) fn spec() -> ChainSpec {
    let ether = U256::from(10).pow(U256::from(18));
    let funded: Vec<_> = dev_accounts().iter().map(|account| (account.address, ether)).collect();
    ChainSpec::dev(&funded, GAS_LIMIT, 0).unwrap()
}

impl Node {
    pub(crate) fn temporary() -> Self {
        Self::on(quintet_store::open_temporary().unwrap(), None)
    }

    pub(crate) fn on(store: Arc<dyn Store>, journal: Option<&Path>) -> Self {
        let spec = spec();
        genesis::init(store.as_ref(), &spec).unwrap();
        let config = Config {
            pool: quintet_txpool::Config::default(),
            journal: journal.map(Path::to_owned),
            network_id: spec.network_id(),
            pending: PendingConfig { beneficiary: Address::ZERO, gas_limit_target: GAS_LIMIT },
            instant_finality: true,
        };
        let bus = Arc::new(LocalBus::new());
        let chain = Arc::new(Chain::open(Arc::new(spec), Arc::clone(&store), bus, config).unwrap());
        let server = ChainServer::new(Arc::clone(&chain), CancellationToken::new()).into_server();
        let client = ChainClient::new(Transport::local(Service::Gateway, server));
        Self { store, chain, client }
    }

    pub(crate) async fn send(&self, transaction: &TxEnvelope) {
        let raw = Bytes::from(transaction.encoded_2718());
        self.client.send_transaction(raw, true, false).await.unwrap();
    }

    pub(crate) async fn build(&self, timestamp: u64) -> Option<BuiltWork> {
        let request = BuildRequest { timestamp, gas_limit_target: GAS_LIMIT, ..BuildRequest::default() };
        self.client.build_block(request).await.unwrap()
    }

    pub(crate) async fn build_empty(&self, timestamp: u64) -> BuiltWork {
        let gas_limit_target = GAS_LIMIT;
        let request =
            BuildRequest { timestamp, gas_limit_target, allow_empty: true, ..BuildRequest::default() };
        self.client.build_block(request).await.unwrap().unwrap()
    }

    pub(crate) async fn seal(&self, timestamp: u64) -> Submitted {
        let work = self.build(timestamp).await.expect("something to include");
        self.client.submit_block(&work.block, 0).await.unwrap()
    }
}

/// A transfer of `value` wei from one dev account to address 0x…42.
pub(crate) fn transfer(from: usize, nonce: u64, value: u64) -> TxEnvelope {
    let transaction = TxEip1559 {
        chain_id: 1337,
        nonce,
        gas_limit: 21_000,
        max_fee_per_gas: 3_000_000_000,
        max_priority_fee_per_gas: 1_000_000_000,
        to: TxKind::Call(Address::with_last_byte(0x42)),
        value: U256::from(value),
        ..TxEip1559::default()
    };
    dev_account(from).sign(transaction).into()
}
