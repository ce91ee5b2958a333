//! Several miners in one process, on one chain and a real Redis: one leads.

use crate::in_process::mining;
use crate::scripted_chain::{ScriptedChain, genesis};
use quintet_chain_api::ChainClient;
use quintet_miner::{Miner, MinerConfig};
use quintet_miner_api::MinerClient;
use quintet_proto::chain::v1::chain_service_server::ChainServiceServer;
use quintet_redis::Keyspace;
use quintet_service::grpc::Transport;
use quintet_service::{Readiness, Service};
use quintet_testkit::redis::Redis;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

/// By then another must lead.
pub(crate) const TAKEOVER: Duration = Duration::from_secs(5);

/// One replica. It dies when this is dropped.
pub(crate) struct Replica {
    pub(crate) client: MinerClient,
    pub(crate) readiness: Readiness,
    stop: CancellationToken,
    task: JoinHandle<Result<(), quintet_miner::MinerError>>,
    _stop: DropGuard,
}

impl Replica {
    pub(crate) fn start(chain: &ScriptedChain, redis: &Redis, config: &MinerConfig) -> Self {
        let transport = Transport::local(Service::Miner, ChainServiceServer::new(chain.clone()));
        let redis = quintet_redis::Redis::new(&redis.url(0)).expect("an address");
        let events = Arc::clone(&chain.bus);
        let miner = Miner::replicated(config, ChainClient::new(transport), events, redis).expect("valid");
        let client = MinerClient::new(Transport::local(Service::Gateway, miner.server()));
        let (stop, readiness) = (CancellationToken::new(), Readiness::new());
        let task = tokio::spawn(miner.run(readiness.clone(), stop.clone()));
        Self { client, readiness, _stop: stop.clone().drop_guard(), stop, task }
    }

    /// Ends without a word, as a killed process does.
    pub(crate) async fn die(self) {
        self.task.abort();
        assert!(self.task.await.expect_err("aborted").is_cancelled());
    }

    async fn leave(self) {
        self.stop.cancel();
        let ended = tokio::time::timeout(TAKEOVER, self.task).await.expect("in time");
        assert!(matches!(ended, Ok(Ok(()))), "{ended:?}");
    }

    pub(crate) async fn wait_for_report(&self, line: &str) {
        let waiting = async {
            while !self.readiness.report().contains(line) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(20), waiting).await;
        assert!(waited.is_ok(), "never {line:?}: {}", self.readiness.report());
    }
}

/// Who holds the lease.
pub(crate) async fn holder(redis: &Redis) -> Option<String> {
    let redis = quintet_redis::Redis::new(&redis.url(0)).expect("an address");
    let mut connection = redis.commands().expect("usable");
    let key = Keyspace::of(&genesis().hash_slow()).key("miner:lease");
    redis::cmd("GET").arg(key).query_async(&mut connection).await.expect("answered")
}

/// Waits until a replica other than `before` holds the lease.
pub(crate) async fn wait_for_leader(redis: &Redis, before: Option<&str>, patience: Duration) -> String {
    let waiting = async {
        loop {
            match holder(redis).await {
                Some(holder) if Some(holder.as_str()) != before => return holder,
                _ => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    };
    tokio::time::timeout(patience, waiting).await.expect("a leader in time")
}

/// A chain, Redis, the replica that leads, and two that stand by.
pub(crate) async fn three() -> (ScriptedChain, Redis, [Replica; 3]) {
    let (chain, redis) = (ScriptedChain::new(), Redis::start());
    let first = Replica::start(&chain, &redis, &mining());
    wait_for_leader(&redis, None, TAKEOVER).await;
    let replicas =
        [first, Replica::start(&chain, &redis, &mining()), Replica::start(&chain, &redis, &mining())];
    for replica in &replicas {
        replica.wait_for_report("[+]lease ok").await;
    }
    (chain, redis, replicas)
}

pub(crate) async fn seal_one(chain: &ScriptedChain) {
    let before = chain.blocks().len();
    chain.add_transaction().await;
    chain.wait_for_blocks(before + 1).await;
}

/// What `chain` must see, whatever happens: tokens that never fall, and each transaction in one block.
fn assert_in_order(chain: &ScriptedChain, transactions: u32) {
    let taken: Vec<_> = chain.submissions().into_iter().filter(|submission| submission.taken).collect();
    assert!(taken.windows(2).all(|pair| pair[0].token <= pair[1].token), "{taken:?}");
    assert!(taken.iter().all(|submission| submission.token > 0));
    assert_eq!(taken.len(), chain.blocks().len());
    assert_eq!(chain.transactions().iter().sum::<u32>(), transactions);
}

#[tokio::test]
async fn one_makes_the_blocks_and_another_takes_over_when_it_dies() {
    let (chain, redis, [leader, second, third]) = three().await;
    seal_one(&chain).await;
    seal_one(&chain).await;
    let submissions = chain.submissions();
    assert!(submissions.iter().all(|submission| submission.taken), "nobody else tries: {submissions:?}");
    let first_token = chain.newest_token();
    assert_eq!(submissions[0].token, first_token);

    let before = holder(&redis).await;
    leader.die().await;
    chain.add_transaction().await;
    let taken_over = tokio::time::timeout(TAKEOVER, chain.wait_for_blocks(3)).await;
    assert!(taken_over.is_ok(), "nobody took over");
    assert!(chain.newest_token() > first_token);
    assert_ne!(holder(&redis).await, before);
    for replica in [&second, &third] {
        assert!(replica.readiness.is_ready(), "{}", replica.readiness.report());
    }
    assert_in_order(&chain, 3);
}

#[tokio::test]
async fn a_leader_that_leaves_hands_over_at_once() {
    let (chain, redis, [leader, _second, _third]) = three().await;
    seal_one(&chain).await;
    let before = holder(&redis).await;
    leader.leave().await;
    // The lease would have lasted longer.
    wait_for_leader(&redis, before.as_deref(), Duration::from_secs(2)).await;
    seal_one(&chain).await;
    assert_in_order(&chain, 2);
}

#[tokio::test]
async fn without_redis_the_leader_goes_on_and_says_so() {
    let (chain, mut redis, [leader, second, third]) = three().await;
    seal_one(&chain).await;
    let token = chain.newest_token();
    redis.stop();
    for replica in [&leader, &second, &third] {
        replica.wait_for_report("[~]lease degraded").await;
        assert!(replica.readiness.is_ready(), "{}", replica.readiness.report());
    }
    assert!(leader.readiness.report().contains("leading on"), "{}", leader.readiness.report());
    assert!(second.readiness.report().contains("standing by"), "{}", second.readiness.report());
    // For longer than the lease.
    for _ in 0..8 {
        seal_one(&chain).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert!(chain.submissions().iter().all(|submission| submission.token == token));

    // It comes back empty: whoever takes the lease does so under a higher token.
    redis.start_again();
    for replica in [&leader, &second, &third] {
        replica.wait_for_report("[+]lease ok").await;
    }
    seal_one(&chain).await;
    chain.wait_until("a higher token", |chain| chain.newest_token() > token).await;
    assert_in_order(&chain, 10);
}

#[tokio::test]
async fn a_hanging_redis_is_one_that_is_away() {
    let (chain, mut redis, [leader, second, _third]) = three().await;
    redis.pause();
    for replica in [&leader, &second] {
        replica.wait_for_report("[~]lease degraded").await;
    }
    for _ in 0..5 {
        seal_one(&chain).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    redis.resume();
    leader.wait_for_report("[+]lease ok").await;
    seal_one(&chain).await;
    assert_in_order(&chain, 6);
}

#[tokio::test]
async fn an_emptied_redis_gives_no_lower_token() {
    let (chain, redis, _replicas) = three().await;
    for count in 1..=5 {
        seal_one(&chain).await;
        let token = chain.newest_token();
        redis.flush();
        wait_for_leader(&redis, None, TAKEOVER).await;
        // Whoever led may have made one more block before it heard.
        seal_one(&chain).await;
        chain.add_transaction().await;
        chain
            .wait_until("all in blocks", |chain| chain.transactions().iter().sum::<u32>() == 3 * count)
            .await;
        assert!(chain.newest_token() >= token);
    }
    assert_in_order(&chain, 15);
}

#[tokio::test]
async fn through_faults_of_every_kind_tokens_never_fall_and_no_transaction_is_lost() {
    let (chain, mut redis, replicas) = three().await;
    let mut replicas = std::collections::VecDeque::from(replicas);
    let mut added = 0;
    for round in 0..8 {
        for _ in 0..5 {
            chain.add_transaction().await;
            added += 1;
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        match round % 4 {
            0 => redis.flush(),
            1 => {
                // Sooner or later the leader is the eldest.
                replicas.pop_front().expect("three").die().await;
                replicas.push_back(Replica::start(&chain, &redis, &mining()));
            }
            2 => redis.start_again(),
            _ => {
                chain.set_down(true);
                tokio::time::sleep(Duration::from_millis(300)).await;
                chain.set_down(false);
            }
        }
    }
    chain.wait_until("empty pool", |chain| chain.transactions().iter().sum::<u32>() == added).await;
    assert_in_order(&chain, added);
}

#[tokio::test]
async fn a_refused_token_is_given_up_for_a_higher_one() {
    let (chain, redis) = (ScriptedChain::new(), Redis::start());
    let replica = Replica::start(&chain, &redis, &mining());
    seal_one(&chain).await;
    // As when the clock of Redis was far ahead once, and Redis was emptied since.
    let foreign = chain.newest_token() + 1_000_000_000;
    chain.see_token(foreign);
    seal_one(&chain).await;
    let tried: Vec<_> = chain.submissions().iter().map(|tried| (tried.number, tried.taken)).collect();
    assert_eq!(tried, [(1, true), (2, true)], "stood by when it was refused work");
    assert!(chain.newest_token() > foreign);
    assert!(replica.readiness.is_ready(), "{}", replica.readiness.report());
}

#[tokio::test]
async fn who_cannot_reach_chain_does_not_keep_the_lease() {
    let (chain, redis) = (ScriptedChain::new(), Redis::start());
    let link = chain.link();
    let leader = Replica::start(&link, &redis, &mining());
    let before = wait_for_leader(&redis, None, TAKEOVER).await;
    let _standby = Replica::start(&chain, &redis, &mining());
    seal_one(&chain).await;
    link.set_cut(true);
    seal_one(&chain).await;
    assert_ne!(holder(&redis).await, Some(before));
    leader.wait_for_report("[-]chain failed").await;
    link.set_cut(false);
    leader.wait_for_report("[+]chain ok").await;
    seal_one(&chain).await;
    assert_in_order(&chain, 3);
}

#[tokio::test]
async fn a_chain_of_another_network_is_an_error() {
    let (chain, redis) = (ScriptedChain::new(), Redis::start());
    let replica = Replica::start(&chain, &redis, &mining());
    seal_one(&chain).await;
    chain.set_down(true);
    chain.add_transaction().await;
    replica.wait_for_report("[-]chain failed: waiting for the chain service").await;
    chain.change_network();
    chain.set_down(false);
    replica.wait_for_report("on another network than before").await;
    assert!(!replica.readiness.is_ready());
    assert_eq!(chain.blocks().len(), 0, "no block for it");
}
