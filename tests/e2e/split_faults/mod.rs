//! What can happen to a split node: its parts and the network between them go away, hang, and come back, under load. No
//! acknowledged transaction is lost, no read is answered from another block than it says, and whoever cannot do its
//! work says why.

mod miners;
mod network;
mod processes;
mod servers;
mod starts;
mod telemetry;

use crate::fixture::quintet;
use crate::load::Load;
use quintet_testkit::split::{Options, Service, Split, Status};
use std::time::Duration;

/// Until a service has noticed that something it needs is gone.
const NOTICE: Duration = Duration::from_secs(15);
/// Until everything is as it should be after the last fault is gone.
const RECOVERY: Duration = Duration::from_secs(25);

/// Two gateways and two miners.
fn options() -> Options {
    Options::beside(env!("CARGO_BIN_EXE_quintet"))
}

/// A split node under load.
async fn under_load(options: Options) -> (Split, Load) {
    let split = Split::start(options).await;
    let load = Load::start(split.urls()).await;
    (split, load)
}

/// Waits until every service says that nothing is wrong, and transactions are mined.
async fn recovered(split: &mut Split, load: &mut Load, from: &str) {
    for service in split.services() {
        let what = format!("sound after {from}");
        split.wait_for(service, &what, RECOVERY, Status::is_sound).await;
    }
    load.progress(&format!("after {from}"), RECOVERY).await;
}

/// Ends the load with its checks, and the node in order; the store must be whole, with one block at each height.
async fn finish(split: Split, load: Load) {
    check_heights(&split);
    finish_with_side_blocks(split, load).await;
}

/// The same, where two miners may have led at once for a moment.
async fn finish_with_side_blocks(mut split: Split, load: Load) {
    load.finish().await;
    split.stop_all().await;
    check_store(&split).await;
}

/// At most one block was accepted at each height.
fn check_heights(split: &Split) {
    let twice = "SELECT number, count(*) FROM blocks GROUP BY number HAVING count(*) > 1";
    assert_eq!(split.postgres.sql(split.database(), twice), "", "heights with more than one block");
}

/// The state at the head has its root. The chain must not run.
async fn check_store(split: &Split) {
    let verify =
        quintet("db").args(["verify", "--store", split.store_url(), "--datadir"]).arg(split.datadir());
    let verify = verify.run().await;
    assert!(verify.status.success(), "{verify:?}");
    assert!(verify.stdout.contains("state root"), "{verify:?}");
}

/// All services that answer JSON-RPC.
fn gateways(split: &Split) -> Vec<Service> {
    (0..split.gateways()).map(Service::Gateway).collect()
}

/// Waits until a service says on `/readyz` that something is wrong, in words that contain one of these.
async fn complains(split: &mut Split, service: Service, words: &[&str]) {
    let what = format!("complaining of {words:?}");
    let wanted = |text: &str| words.iter().any(|word| text.to_lowercase().contains(word));
    split.wait_for(service, &what, NOTICE, |status| !status.is_sound() && wanted(&status.text)).await;
}
