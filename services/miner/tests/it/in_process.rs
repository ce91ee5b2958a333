//! The miner and the chain in one process, as in the one-process node.

use crate::scripted_chain::{BLOCK_CAPACITY, ScriptedChain};
use alloy_primitives::{Address, B256, Bytes, U256};
use quintet_chain_api::ChainClient;
use quintet_miner::{Miner, MinerConfig};
use quintet_miner_api::{MinerClient, SealerKind};
use quintet_proto::chain::v1::chain_service_server::ChainServiceServer;
use quintet_service::grpc::{ErrorKind, Transport};
use quintet_service::{Readiness, Service};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::{CancellationToken, DropGuard};

const ETHERBASE: Address = Address::repeat_byte(0xe7);

pub(crate) struct Running {
    pub(crate) chain: ScriptedChain,
    client: MinerClient,
    readiness: Readiness,
    _stop: DropGuard,
}

pub(crate) fn run(config: &MinerConfig) -> Running {
    let chain = ScriptedChain::new();
    let running = run_on(&chain, config);
    Running { chain, ..running }
}

fn run_on(chain: &ScriptedChain, config: &MinerConfig) -> Running {
    let transport = Transport::local(Service::Miner, ChainServiceServer::new(chain.clone()));
    let miner = Miner::new(config, ChainClient::new(transport), Arc::clone(&chain.bus)).expect("valid");
    let client = MinerClient::new(Transport::local(Service::Gateway, miner.server()));
    let (token, readiness) = (CancellationToken::new(), Readiness::new());
    tokio::spawn(miner.run(readiness.clone(), token.clone()));
    Running { chain: chain.clone(), client, readiness, _stop: token.drop_guard() }
}

pub(crate) fn mining() -> MinerConfig {
    MinerConfig { mine: true, etherbase: Some(ETHERBASE), ..MinerConfig::default() }
}

#[tokio::test]
async fn a_transaction_is_sealed_at_once_and_nothing_without_one() {
    let Running { chain, _stop, .. } = run(&mining());
    chain.wait_until("first attempt", |chain| !chain.builds().is_empty()).await;
    assert_eq!(chain.blocks().len(), 0);
    let begun = std::time::Instant::now();
    chain.add_transaction().await;
    chain.wait_for_blocks(1).await;
    assert!(begun.elapsed() < Duration::from_millis(500), "{:?}", begun.elapsed());
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(chain.transactions(), [1], "no empty block follows");
    let header = &chain.blocks()[0];
    assert_eq!((header.beneficiary, header.gas_limit), (ETHERBASE, 30_000_000));
    assert_eq!(header.extra_data, Bytes::from(MinerConfig::default().extra_data.into_bytes()));
    assert_ne!(header.mix_hash, B256::ZERO);
}

#[tokio::test]
async fn under_load_block_follows_block_until_the_pool_is_empty() {
    let Running { chain, _stop, .. } = run(&mining());
    let total = 20 * BLOCK_CAPACITY + 3;
    for _ in 0..total {
        chain.add_transaction().await;
    }
    chain.wait_until("empty pool", |chain| chain.transactions().iter().sum::<u32>() == total).await;
    let blocks = chain.blocks();
    assert!(blocks.len() > 20);
    assert!(chain.transactions().iter().all(|count| *count > 0));
    assert!(blocks.windows(2).all(|pair| pair[0].timestamp < pair[1].timestamp));
    let randao: std::collections::BTreeSet<_> = blocks.iter().map(|header| header.mix_hash).collect();
    assert_eq!(randao.len(), blocks.len());
}

#[tokio::test]
async fn with_a_block_time_blocks_come_by_the_clock() {
    let Running { chain, _stop, .. } = run(&MinerConfig { block_time: 1, ..mining() });
    chain.add_transaction().await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(chain.blocks().len(), 0, "before the first slot");
    chain.wait_for_blocks(2).await;
    assert_eq!(chain.transactions()[..2], [1, 0]);
}

#[tokio::test]
async fn an_unavailable_chain_is_waited_for() {
    let chain = ScriptedChain::new();
    chain.set_down(true);
    let Running { readiness, _stop, .. } = run_on(&chain, &mining());
    chain.add_transaction().await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!readiness.is_ready());
    assert!(readiness.report().contains("waiting for the chain service"), "{}", readiness.report());
    chain.set_down(false);
    chain.wait_for_blocks(1).await;
    assert!(readiness.is_ready());
    // And again, once it ran.
    chain.set_down(true);
    chain.add_transaction().await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    chain.set_down(false);
    chain.wait_for_blocks(2).await;
}

#[tokio::test]
async fn settings_are_set_and_checked() {
    let Running { chain, client, _stop, .. } = run(&MinerConfig::default());
    let refused = client.start(0).await.expect_err("no etherbase");
    assert_eq!(refused.kind, ErrorKind::FailedPrecondition);
    assert_eq!(refused.message, "etherbase missing: etherbase must be explicitly specified");
    let refused = client.set_extra(vec![b'x'; 33].into()).await.expect_err("too long");
    assert_eq!(
        (refused.kind, refused.message.as_str()),
        (ErrorKind::InvalidArgument, "extra exceeds max length. 33 > 32")
    );
    let refused = client.set_gas_price(U256::MAX).await.expect_err("too much");
    assert_eq!(refused.kind, ErrorKind::InvalidArgument);

    client.set_etherbase(ETHERBASE).await.expect("set");
    client.set_extra(Bytes::from_static(b"mine")).await.expect("set");
    client.set_gas_limit(12_345_678).await.expect("set");
    client.set_gas_price(U256::from(77)).await.expect("set");
    client.start(0).await.expect("started");
    let status = client.status().await.expect("status");
    assert_eq!(
        (status.sealing, status.etherbase, status.sealer),
        (true, Some(ETHERBASE), SealerKind::Instant)
    );
    chain.add_transaction().await;
    chain.wait_for_blocks(1).await;
    let header = chain.blocks()[0].clone();
    assert_eq!((header.extra_data, header.gas_limit), (Bytes::from_static(b"mine"), 12_345_678));
    assert_eq!(chain.builds()[0].minimum_tip.as_ref(), [77]);

    client.stop().await.expect("stopped");
    assert!(!client.status().await.expect("status").sealing);
    chain.add_transaction().await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(chain.blocks().len(), 1);
    client.start(0).await.expect("started");
    chain.wait_for_blocks(2).await;
}

#[tokio::test]
async fn what_is_missing_is_named() {
    let Running { client, _stop, .. } = run(&MinerConfig::default());
    let info = client.info().await.expect("info");
    assert_eq!(info.service, "miner");
    for (error, engine) in [
        (client.work().await.expect_err("missing"), "ethash"),
        (client.submit_hashrate(1, B256::ZERO).await.expect_err("missing"), "ethash"),
        (client.submit_work(1, B256::ZERO, B256::ZERO).await.expect_err("missing"), "ethash"),
        (client.propose(ETHERBASE, true).await.expect_err("missing"), "clique"),
        (client.discard(ETHERBASE).await.expect_err("missing"), "clique"),
    ] {
        assert_eq!(error.kind, ErrorKind::Unimplemented);
        assert!(error.message.contains(engine), "{}", error.message);
    }
}

#[tokio::test]
async fn the_bus_ending_is_an_error() {
    let transport = Transport::local(Service::Miner, ChainServiceServer::new(ScriptedChain::new()));
    let miner = Miner::new(&mining(), ChainClient::new(transport), Arc::new(EndedBus)).expect("valid");
    let ended = miner.run(Readiness::new(), CancellationToken::new()).await;
    assert!(matches!(ended, Err(quintet_miner::MinerError::EventsEnded)), "{ended:?}");
}

/// A bus whose subscriptions end at once.
struct EndedBus;

impl quintet_events::EventBus for EndedBus {
    fn publish(
        &self,
        _: quintet_events::Event,
    ) -> futures::future::BoxFuture<'_, Result<(), quintet_events::BusError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn subscribe(
        &self,
        _: quintet_events::Topics,
        _: Option<quintet_types::BlockRef>,
    ) -> quintet_events::Subscription {
        quintet_events::Subscription::new(futures::stream::empty(), Arc::default())
    }
}
