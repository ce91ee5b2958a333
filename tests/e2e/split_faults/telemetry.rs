//! The collector of spans: refusing, then silent. Nobody waits for it.

use super::{RECOVERY, finish, options, under_load};
use crate::fixture::until;
use quintet_testkit::otlp::Collector;
use quintet_testkit::proxy::Proxy;
use quintet_testkit::split::{Options, Service, Split};
use std::time::Duration;

/// Waits until `chain` has logged this, which it does once, however many batches are lost.
async fn chain_says(split: &Split, text: &str) {
    until(text, async || split.log(Service::Chain).contains(text).then_some(())).await;
    assert_eq!(split.log(Service::Chain).matches(text).count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_collector_goes_away_and_comes_back() {
    let collector = Collector::start().await;
    let link = Proxy::start(collector.endpoint().trim_start_matches("http://"));
    link.cut();
    let endpoint = format!("http://127.0.0.1:{}", link.port());
    let (split, mut load) = under_load(Options { otlp: Some(endpoint), ..options() }).await;
    load.progress("while the collector refuses", RECOVERY).await;
    chain_says(&split, "spans are not exported").await;
    assert!(collector.spans().is_empty());
    link.stall();
    for _ in 0..3 {
        load.progress("while the collector is silent", RECOVERY).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    link.heal();
    let some = |spans: &quintet_testkit::otlp::Spans| (!spans.is_empty()).then_some(());
    collector.wait_for("spans after the collector's return", some).await;
    load.progress("when the collector is back", RECOVERY).await;
    chain_says(&split, "spans are exported again").await;
    // It is silent again while all services end.
    link.stall();
    finish(split, load).await;
}
