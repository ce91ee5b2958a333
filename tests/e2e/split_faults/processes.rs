//! Processes: a gateway that hangs, a chain that is killed again and again.

use super::{RECOVERY, check_store, finish, options, recovered, under_load};
use crate::fixture::{call, to_u64, until};
use quintet_testkit::split::Service;
use serde_json::json;
use std::time::Duration;

/// How long a gateway hangs.
const PAUSE: Duration = Duration::from_secs(10);
/// How often the chain is killed.
const KILLS: u64 = 6;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_hangs_and_catches_up() {
    let (mut split, mut load) = under_load(options()).await;
    split.pause(Service::Gateway(0)).await;
    tokio::time::sleep(PAUSE).await;
    load.progress("while a gateway hangs", RECOVERY).await;
    let head = to_u64(&call(&split.rpc(1), "eth_blockNumber", json!([])).await);
    split.resume(Service::Gateway(0)).await;
    let rpc = split.rpc(0);
    until("the head that it missed", async || {
        (to_u64(&call(&rpc, "eth_blockNumber", json!([])).await) >= head).then_some(())
    })
    .await;
    recovered(&mut split, &mut load, "a gateway's awakening").await;
    finish(split, load).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chain_is_killed_in_its_commits_and_loses_nothing() {
    let (mut split, mut load) = under_load(options()).await;
    for kill in 0..KILLS {
        // Moments that differ, so that they hit different steps of a commit.
        tokio::time::sleep(Duration::from_millis(300 + 137 * kill)).await;
        split.kill(Service::Chain).await;
        check_store(&split).await;
        split.launch(Service::Chain);
        load.progress("after a kill of chain", RECOVERY).await;
    }
    recovered(&mut split, &mut load, "kills of chain").await;
    assert!(u64::try_from(load.acknowledged()).is_ok_and(|count| count > KILLS));
    finish(split, load).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_is_stopped_drains_and_says_why_subscriptions_end() {
    let (mut split, load) = under_load(options()).await;
    let mut ws = split.ws(0).await;
    let heads = ws.subscribe(json!(["newHeads"])).await.expect("subscribed");
    ws.next(&heads).await.expect("a head");
    let mut told = tokio::spawn(async move {
        loop {
            if let Err(end) = ws.next_or_end(&heads).await {
                return end.to_string();
            }
        }
    });
    split.stop(Service::Gateway(0)).await;
    let end = tokio::time::timeout(RECOVERY, &mut told).await.expect("an end").expect("no panic");
    assert!(end.contains("Close(Some(CloseFrame"), "no reason: {end}");
    assert!(end.to_lowercase().contains("shut"), "not the reason: {end}");
    split.launch(Service::Gateway(0));
    split.wait_ready(Service::Gateway(0)).await;
    finish(split, load).await;
}
