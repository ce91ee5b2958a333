//! Replicas as processes, on a real Redis: paused, killed, ended, and cut off from Redis.

use crate::replicas::{TAKEOVER, holder, seal_one, wait_for_leader};
use crate::scripted_chain::{ScriptedChain, genesis};
use quintet_events::RedisBus;
use quintet_proto::chain::v1::chain_service_server::ChainServiceServer;
use quintet_redis::Keyspace;
use quintet_service::Readiness;
use quintet_service::grpc::{GrpcConfig, GrpcServer};
use quintet_testkit::process::{Program, free_port};
use quintet_testkit::redis::Redis;
use quintet_testkit::service::Service;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::{CancellationToken, DropGuard};

const ETHERBASE: &str = "0x71562b71999873db5b286df957af199ec94617f7";

struct Network {
    chain: ScriptedChain,
    redis: Redis,
    program: Program,
    _stop: DropGuard,
}

impl Network {
    /// A chain service on a port, which publishes on Redis.
    async fn start() -> Self {
        let redis = Redis::start();
        let bus_redis = quintet_redis::Redis::new(&redis.url(0)).expect("an address");
        let bus = RedisBus::new(bus_redis, Keyspace::of(&genesis().hash_slow()));
        let chain = ScriptedChain::on(Arc::new(bus));
        let config = GrpcConfig { addr: "127.0.0.1".to_owned(), port: free_port() };
        let server = GrpcServer::bind(&config, Readiness::new()).await.expect("bound");
        let token = CancellationToken::new();
        tokio::spawn(server.with(ChainServiceServer::new(chain.clone())).serve(token.clone()));
        let program = Program::new(env!("CARGO_BIN_EXE_quintet-miner"))
            .env("QUINTET_CHAIN_URL", format!("http://127.0.0.1:{}", config.port))
            .env("QUINTET_REDIS", redis.url(0))
            .args(["--mine", "--miner.etherbase", ETHERBASE]);
        Self { chain, redis, program, _stop: token.drop_guard() }
    }

    /// The leader, and another.
    async fn pair(&self) -> (Service, Service) {
        let leader = Service::start(&self.program).await;
        wait_for_leader(&self.redis, None, TAKEOVER).await;
        wait_for_leading(&leader, true).await;
        let standby = Service::start(&self.program).await;
        wait_for_leading(&standby, false).await;
        (leader, standby)
    }
}

/// Waits until its metrics and its readiness say whether it leads.
async fn wait_for_leading(service: &Service, leads: bool) {
    let line = format!("quintet_miner_leader {}\n", u8::from(leads));
    let waiting = async {
        loop {
            let ready = service.admin("/readyz").await.1.contains("[+]lease ok");
            if ready && service.admin("/metrics").await.1.contains(&line) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(20), waiting).await;
    assert!(waited.is_ok(), "never {line}:\n{}", service.process.log());
}

/// The leader is held up for longer than its lease, and goes on.
async fn pause(sealed_in_between: bool) {
    let network = Network::start().await;
    let (mut leader, standby) = network.pair().await;
    let chain = &network.chain;
    seal_one(chain).await;
    let (token, before) = (chain.newest_token(), holder(&network.redis).await);
    leader.process.send_signal("STOP").await;
    wait_for_leader(&network.redis, before.as_deref(), TAKEOVER).await;
    wait_for_leading(&standby, true).await;
    if sealed_in_between {
        seal_one(chain).await;
    }
    let taken_over = chain.submissions().len();
    // Both hear of it, and chain may not have seen the new token.
    chain.add_transaction().await;
    leader.process.send_signal("CONT").await;
    chain.wait_until("a block", |chain| chain.submissions().len() > taken_over).await;
    wait_for_leading(&leader, false).await;
    seal_one(chain).await;
    let since = &chain.submissions()[taken_over..];
    assert!(since.iter().all(|submission| submission.token > token), "{token}: {since:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_leader_makes_no_block_under_its_old_token() {
    pause(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn not_even_when_chain_has_not_seen_a_newer_one() {
    pause(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_leader_is_replaced_and_one_that_is_ended_at_once() {
    let network = Network::start().await;
    let (mut leader, standby) = network.pair().await;
    seal_one(&network.chain).await;
    let before = holder(&network.redis).await;
    leader.process.kill().await;
    wait_for_leader(&network.redis, before.as_deref(), TAKEOVER).await;
    seal_one(&network.chain).await;
    wait_for_leading(&standby, true).await;

    let third = Service::start(&network.program).await;
    wait_for_leading(&third, false).await;
    let before = holder(&network.redis).await;
    standby.assert_ends_on_sigterm().await;
    // The lease would have lasted longer.
    wait_for_leader(&network.redis, before.as_deref(), Duration::from_secs(2)).await;
    seal_one(&network.chain).await;
    let metrics = third.admin("/metrics").await.1;
    assert!(metrics.contains("quintet_miner_takeovers_total 1\n"), "{metrics}");
    let token = network.chain.newest_token();
    assert!(metrics.contains(&format!("quintet_miner_lease_token {token}\n")), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_chains_own_stream_is_followed() {
    let mut network = Network::start().await;
    let (leader, _standby) = network.pair().await;
    seal_one(&network.chain).await;
    network.redis.stop();
    wait_for_report(&leader, "[~]events degraded").await;
    for _ in 0..3 {
        seal_one(&network.chain).await;
    }
    network.redis.start_again();
    wait_for_report(&leader, "[+]events ok").await;
    wait_for_leader(&network.redis, None, TAKEOVER).await;
    for _ in 0..3 {
        seal_one(&network.chain).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_hears_what_the_leader_prepares() {
    let network = Network::start().await;
    let (leader, standby) = network.pair().await;
    seal_one(&network.chain).await;
    for (service, metric) in [(&leader, "published"), (&standby, "received")] {
        let line = format!("quintet_events_{metric}_total{{topic=\"work\"}} 1\n");
        wait_for(service, "/metrics", &line).await;
    }
}

#[tokio::test]
async fn an_address_of_redis_that_is_none_is_one_clear_error() {
    let program = Program::new(env!("CARGO_BIN_EXE_quintet-miner"))
        .env("QUINTET_CHAIN_URL", "http://127.0.0.1:1")
        .env("QUINTET_REDIS", "postgres://:s3cret@db");
    quintet_testkit::service::assert_refuses(&program, "--redis: ").await;
}

async fn wait_for_report(service: &Service, line: &str) {
    wait_for(service, "/readyz", line).await;
}

async fn wait_for(service: &Service, path: &str, line: &str) {
    let waiting = async {
        while !service.admin(path).await.1.contains(line) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(20), waiting).await;
    assert!(waited.is_ok(), "never {line:?}:\n{}", service.process.log());
}
