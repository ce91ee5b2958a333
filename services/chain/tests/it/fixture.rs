//! A development chain with the service's client on it.

use alloy_consensus::proofs::calculate_receipt_root;
use alloy_consensus::{TxEip1559, TxEnvelope};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Address, B256, Bytes, TxKind, U256, keccak256};
use alloy_trie::TrieAccount;
use alloy_trie::root::{state_root_unsorted, storage_root_unsorted};
use quintet_chain::{
    BulkOptions, Chain, ChainError, ChainServer, Config, ImportError, Imported, Summary, genesis,
};
use quintet_chain_api::{BuildRequest, BuiltWork, ChainClient, Submitted};
use quintet_chainspec::ChainSpec;
use quintet_events::{EventBus, LocalBus};
use quintet_service::Service;
use quintet_service::grpc::Transport;
use quintet_store::Store;
use quintet_testkit::accounts::{dev_account, dev_accounts};
use quintet_types::{Account, Block, RecoveredBlock};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ops::ControlFlow;
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

/// A chain of any network, with nothing around it.
pub(crate) struct Bare {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) chain: Arc<Chain>,
    pub(crate) bus: Arc<LocalBus>,
}

impl Bare {
    pub(crate) fn temporary(spec: &Arc<ChainSpec>) -> Self {
        Self::on(quintet_store::open_temporary().unwrap(), spec, false)
    }

    /// With seals of proof of work looked at, or not.
    pub(crate) fn on(store: Arc<dyn Store>, spec: &Arc<ChainSpec>, check_work: bool) -> Self {
        quintet_types::install_crypto();
        genesis::init(store.as_ref(), spec).unwrap();
        let config = Config { check_work, ..Config::of(spec) };
        let bus = Arc::new(LocalBus::new());
        let shared = Arc::clone(&bus) as Arc<dyn EventBus>;
        let chain = Chain::open(Arc::clone(spec), Arc::clone(&store), shared, config).unwrap();
        Self { store, chain: Arc::new(chain), bus }
    }

    pub(crate) fn import(&self, block: &Arc<RecoveredBlock>) -> Result<Imported, ChainError> {
        self.chain.import(RecoveredBlock::clone(block), 0)
    }

    /// Imports blocks by the pipeline.
    pub(crate) fn import_all(
        &self,
        blocks: &[Block],
        options: &BulkOptions,
    ) -> Result<Summary, ImportError<Infallible>> {
        self.chain.import_chain(blocks.iter().cloned().map(Ok), options, &|_| {})
    }

    /// That everything there is to the head is right: its state has its root, computed from scratch, and so
    /// has the trie after a restart.
    pub(crate) fn assert_whole(&self) {
        let head = self.store.head().unwrap().unwrap();
        assert_eq!(self.chain.head().block, head);
        let root = self.store.header(&head.hash).unwrap().unwrap().state_root;
        assert_eq!(root_from_scratch(self.store.as_ref(), head.number), root, "state of the head");
        for number in 0..=head.number {
            let hash = self.store.canonical_hash(number).unwrap().expect("no gap");
            let body = self.store.body(&hash).unwrap().expect("a body");
            let receipts = self.store.receipts(&hash).unwrap().expect("receipts");
            assert_eq!(receipts.len(), body.transactions.len());
            assert_eq!(
                calculate_receipt_root(&receipts),
                self.store.header(&hash).unwrap().unwrap().receipts_root
            );
        }
    }
}

/// The state root after a canonical block, from every account and slot that the store has at it: versions, and the base
/// beneath them.
pub(crate) fn root_from_scratch(store: &dyn Store, number: u64) -> B256 {
    let mut accounts = BTreeMap::new();
    if store.first_state().unwrap() > 0 {
        for (hash, account) in store.base_accounts(&B256::ZERO, usize::MAX).unwrap() {
            let slots = store.base_slots(&hash, &B256::ZERO, usize::MAX).unwrap();
            accounts.insert(hash, TrieAccount { storage_root: storage_root_unsorted(slots), ..account });
        }
    }
    let mut versions = Vec::new();
    let visit = &mut |address, account| {
        versions.push((address, account));
        ControlFlow::Continue(())
    };
    store.for_each_account_version(number, Address::ZERO, visit).unwrap();
    for (address, account) in versions {
        let hash = keccak256(address);
        let Some(Account { nonce, balance, code_hash, incarnation }) = account else {
            accounts.remove(&hash);
            continue;
        };
        let slots = store.hashed_storage_at(&address, incarnation, number).unwrap();
        let storage_root = storage_root_unsorted(slots);
        accounts.insert(hash, TrieAccount { nonce, balance, storage_root, code_hash });
    }
    state_root_unsorted(accounts)
}

/// Small batches and queues, so that every part of the pipeline has something to do with few blocks.
pub(crate) fn small_batches() -> BulkOptions {
    BulkOptions {
        batch_blocks: 4,
        queue_bytes: 32 << 10,
        cache_bytes: 1 << 10,
        threads: 2,
        ..BulkOptions::default()
    }
}

impl Node {
    pub(crate) fn temporary() -> Self {
        Self::on(quintet_store::open_temporary().unwrap(), None)
    }

    pub(crate) fn on(store: Arc<dyn Store>, journal: Option<&Path>) -> Self {
        let spec = spec();
        genesis::init(store.as_ref(), &spec).unwrap();
        let config =
            Config { journal: journal.map(Path::to_owned), instant_finality: true, ..Config::of(&spec) };
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
