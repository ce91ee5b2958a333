//! What the leader prepares, as the others hear of it.

use crate::in_process::mining;
use crate::orders::wait_for_status;
use crate::replicas::{Replica, TAKEOVER, seal_one, three, wait_for_leader};
use crate::scripted_chain::{ScriptedChain, genesis};
use crate::trace::collect;
use alloy_primitives::B256;
use futures::StreamExt as _;
use opentelemetry::trace::SpanKind;
use opentelemetry_sdk::trace::SpanData;
use quintet_events::{EventBus, RedisBus};
use quintet_miner_api::MinerStatus;
use quintet_redis::Keyspace;
use quintet_testkit::redis::Redis;
use quintet_types::{Header, TraceContext, Work};
use std::sync::Arc;
use std::time::Duration;

/// A leader tells of work.
fn publish(bus: &dyn EventBus, token: u64, number: u64, parent: u8) {
    let header = Header { number, parent_hash: B256::repeat_byte(parent), ..Header::default() };
    let work = Work { header, seal_hash: B256::ZERO, token, trace: TraceContext::default() };
    bus.work().expect("it carries work").publish_work(Arc::new(work)).expect("published");
}

/// The newest token in Redis.
async fn newest_token(redis: &Redis) -> u64 {
    let redis = quintet_redis::Redis::new(&redis.url(0)).expect("an address");
    let key = Keyspace::of(&genesis().hash_slow()).key("miner:token");
    let mut connection = redis.commands().expect("usable");
    redis::cmd("GET").arg(key).query_async(&mut connection).await.expect("a token")
}

fn is_on(status: &MinerStatus, parent: B256) -> bool {
    status.parent.is_some_and(|block| block.hash == parent)
}

#[tokio::test]
async fn the_leaders_work_reaches_a_standby_in_the_trace_of_its_block() {
    let (collected, _subscriber) = collect();
    let redis = Redis::start();
    let at = quintet_redis::Redis::new(&redis.url(0)).expect("an address");
    let bus = RedisBus::new(at, Keyspace::of(&genesis().hash_slow()));
    let mut works = bus.work().expect("it carries work").follow_work();
    let chain = ScriptedChain::on(Arc::new(bus));
    let _leader = Replica::start(&chain, &redis, &mining());
    wait_for_leader(&redis, None, TAKEOVER).await;
    let standby = Replica::start(&chain, &redis, &mining());
    standby.wait_for_report("[+]lease ok").await;
    seal_one(&chain).await;

    let work = tokio::time::timeout(TAKEOVER, works.next()).await.expect("in time").expect("work");
    let sealed = &chain.blocks()[0];
    assert_eq!((&work.header, work.token), (sealed, chain.newest_token()), "this seal fills nothing in");
    assert_eq!(work.seal_hash, sealed.hash_slow());
    let named = |spans: &[SpanData], name: &str| spans.iter().find(|span| span.name == name).cloned();
    let told = |spans: &[SpanData]| {
        ["miner: seal block", "XADD work", "new work"].iter().all(|name| named(spans, name).is_some())
    };
    chain.wait_until("all spans", |_| told(&collected.0.lock())).await;
    let spans = collected.0.lock().clone();
    let publish = spans.iter().find(|span| work.trace.0.contains(&span.span_context.span_id().to_string()));
    let publish = publish.expect("the trace in the entry is that of a span");
    assert_eq!((&*publish.name, &publish.span_kind), ("publish", &SpanKind::Producer));
    let block = spans.iter().find(|span| span.span_context.span_id() == publish.parent_span_id);
    assert_eq!(block.expect("its parent").name, "miner: seal block");
    for (name, kind) in [("XADD work", SpanKind::Producer), ("new work", SpanKind::Consumer)] {
        let span = named(&spans, name).expect("waited for");
        assert_eq!((span.parent_span_id, span.span_kind), (publish.span_context.span_id(), kind), "{name}");
    }
}

#[tokio::test]
async fn a_standby_names_what_is_prepared_until_the_head_or_the_lease_moves_on() {
    let (chain, redis, [leader, standby, other]) = three().await;
    let token = newest_token(&redis).await;
    // A former leader's is not believed.
    publish(&*chain.bus, token - 1, 1, 0xaa);
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let status = standby.client.status().await.expect("status");
        assert!(!is_on(&status, B256::repeat_byte(0xaa)), "{status:?}");
    }
    publish(&*chain.bus, token, 1, 0xbb);
    wait_for_status(&standby.client, "the leader's work", |status| is_on(status, B256::repeat_byte(0xbb)))
        .await;
    assert!(
        !is_on(&leader.client.status().await.expect("status"), B256::repeat_byte(0xbb)),
        "its own is known"
    );

    seal_one(&chain).await;
    let head = chain.blocks()[0].hash_slow();
    wait_for_status(&standby.client, "past it", |status| is_on(status, head)).await;

    // On two that stand by, one of which will lead.
    publish(&*chain.bus, token, 2, 0xcc);
    for replica in [&standby, &other] {
        wait_for_status(&replica.client, "work", |status| is_on(status, B256::repeat_byte(0xcc))).await;
    }
    leader.die().await;
    for replica in [&standby, &other] {
        wait_for_status(&replica.client, "the next leader's", |status| is_on(status, head)).await;
    }

    // Nobody prepares anything any more.
    publish(&*chain.bus, newest_token(&redis).await, 2, 0xdd);
    let on_work = |status: &MinerStatus| is_on(status, B256::repeat_byte(0xdd));
    tokio::select! {
        () = wait_for_status(&standby.client, "work", on_work) => {}
        () = wait_for_status(&other.client, "work", on_work) => {}
    }
    standby.client.stop().await.expect("stopped");
    for replica in [&standby, &other] {
        wait_for_status(&replica.client, "no work", |status| status.parent.is_none()).await;
    }
}
