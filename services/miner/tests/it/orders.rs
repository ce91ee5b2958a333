//! What an operator tells one replica is told to all.

use crate::in_process::mining;
use crate::replicas::{Replica, TAKEOVER, seal_one, three, wait_for_leader};
use crate::scripted_chain::ScriptedChain;
use alloy_primitives::{Address, Bytes, U256};
use quintet_miner::MinerConfig;
use quintet_miner_api::{MinerClient, MinerStatus};
use quintet_service::grpc::ErrorKind;
use quintet_testkit::redis::Redis;
use std::time::Duration;

pub(crate) async fn wait_for_status(client: &MinerClient, what: &str, holds: impl Fn(&MinerStatus) -> bool) {
    let waiting = async {
        while !holds(&client.status().await.expect("status")) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(20), waiting).await.is_ok(), "never {what}");
}

#[tokio::test]
async fn a_standby_takes_orders_for_the_leader() {
    let (chain, _redis, [leader, standby, other]) = three().await;
    standby.client.stop().await.expect("stopped");
    assert!(!standby.client.status().await.expect("status").sealing, "it knows what it was told");
    for replica in [&leader, &other] {
        wait_for_status(&replica.client, "stopped", |status| !status.sealing).await;
    }
    chain.add_transaction().await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(chain.blocks().len(), 0);

    let etherbase = Address::repeat_byte(9);
    standby.client.set_etherbase(etherbase).await.expect("set");
    other.client.set_extra(Bytes::from_static(b"\0shared")).await.expect("set");
    standby.client.set_gas_limit(7_000_000).await.expect("set");
    leader.client.set_gas_price(U256::from(u128::MAX)).await.expect("set");
    other.client.start(0).await.expect("started");
    chain.wait_for_blocks(1).await;
    let check = |header: &quintet_types::Header| {
        assert_eq!((header.beneficiary, header.gas_limit), (etherbase, 7_000_000));
        assert_eq!(header.extra_data, Bytes::from_static(b"\0shared"));
    };
    check(&chain.blocks()[0]);

    // And they outlive the leader.
    leader.die().await;
    chain.add_transaction().await;
    chain.wait_for_blocks(2).await;
    check(&chain.blocks()[1]);
    assert_eq!(chain.builds().last().expect("built").minimum_tip.as_ref(), [0xff; 16]);
}

#[tokio::test]
async fn every_replica_tells_what_the_leader_does() {
    let (chain, _redis, replicas) = three().await;
    seal_one(&chain).await;
    let head = chain.blocks()[0].hash_slow();
    for replica in &replicas {
        wait_for_status(&replica.client, "the leader's parent", |status| {
            status.sealing && status.parent.is_some_and(|parent| parent.hash == head)
        })
        .await;
    }
}

#[tokio::test]
async fn nobody_starts_without_an_etherbase() {
    let (chain, redis) = (ScriptedChain::new(), Redis::start());
    let replicas = [(); 2].map(|()| Replica::start(&chain, &redis, &MinerConfig::default()));
    for replica in &replicas {
        replica.wait_for_report("[+]lease ok").await;
        let refused = replica.client.start(0).await.expect_err("no etherbase");
        assert_eq!(refused.kind, ErrorKind::FailedPrecondition);
        assert_eq!(refused.message, "etherbase missing: etherbase must be explicitly specified");
    }
    // One is told who gets the fees, and another, at once, to start.
    replicas[0].client.set_etherbase(Address::repeat_byte(3)).await.expect("set");
    replicas[1].client.start(0).await.expect("started");
    seal_one(&chain).await;
    assert_eq!(chain.blocks()[0].beneficiary, Address::repeat_byte(3));
}

#[tokio::test]
async fn orders_need_redis_and_outlive_it() {
    let (chain, mut redis, [leader, standby, _third]) = three().await;
    let etherbase = Address::repeat_byte(6);
    standby.client.set_etherbase(etherbase).await.expect("set");
    // What was answered is kept by who answered, at least.
    redis.stop();
    for replica in [&leader, &standby] {
        let refused = replica.client.set_etherbase(Address::repeat_byte(5)).await.expect_err("Redis is away");
        assert_eq!(refused.kind, ErrorKind::Unavailable, "{}", refused.message);
        assert!(refused.message.contains("replicas cannot be told"), "{}", refused.message);
    }
    seal_one(&chain).await;
    redis.start_again();
    // Redis forgot them and they are written again: a replica that comes now follows them, not its flags.
    let late = Replica::start(&chain, &redis, &MinerConfig { etherbase: None, mine: false, ..mining() });
    for replica in [&leader, &standby, &late] {
        let follows = |status: &MinerStatus| status.sealing && status.etherbase == Some(etherbase);
        wait_for_status(&replica.client, "following", follows).await;
    }
    wait_for_leader(&redis, None, TAKEOVER).await;
    seal_one(&chain).await;
    assert_eq!(chain.blocks().last().expect("some").beneficiary, etherbase);
}

#[tokio::test]
async fn before_the_chain_is_known_orders_wait() {
    let (chain, redis) = (ScriptedChain::new(), Redis::start());
    chain.set_down(true);
    let replica = Replica::start(&chain, &redis, &mining());
    replica.wait_for_report("[-]lease failed: waiting for the chain service").await;
    let refused = replica.client.stop().await.expect_err("too early");
    assert_eq!(refused.kind, ErrorKind::Unavailable, "{}", refused.message);
    chain.set_down(false);
    replica.wait_for_report("[+]lease ok").await;
    replica.client.stop().await.expect("stopped");
}
