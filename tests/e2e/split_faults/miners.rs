//! The miners' lease: one leads, and when it dies, hangs or loses Redis, another takes over within five seconds.

use super::{RECOVERY, finish, options, recovered, under_load};
use crate::fixture::until;
use quintet_testkit::split::{Options, Peer, Service, Split};
use std::time::{Duration, Instant};

/// Until another leads.
const TAKEOVER: Duration = Duration::from_secs(5);

/// The miners that say that they lead.
async fn leaders(split: &Split, among: &[usize]) -> Vec<usize> {
    let mut leaders = Vec::new();
    for miner in among {
        let leads = split.metric(Service::Miner(*miner), "quintet_miner_leader", &[]).await;
        if leads.is_some_and(|leads| leads > 0.5) {
            leaders.push(*miner);
        }
    }
    leaders
}

/// Waits until one of these miners leads; gives it.
async fn leader(split: &Split, among: &[usize]) -> usize {
    until("leader", async || leaders(split, among).await.first().copied()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_miner_takes_over_in_five_seconds() {
    let (mut split, mut load) = under_load(Options { miners: 3, ..options() }).await;
    let all = [0, 1, 2];
    for how in ["killed", "hung", "cut from Redis", "stalled from Redis", "stopped"] {
        let old = leader(&split, &all).await;
        let service = Service::Miner(old);
        let rest: Vec<_> = all.into_iter().filter(|miner| *miner != old).collect();
        match how {
            "killed" => split.kill(service).await,
            "hung" => split.pause(service).await,
            "cut from Redis" => split.link(service, Peer::Redis).cut(),
            "stalled from Redis" => split.link(service, Peer::Redis).stall(),
            _ => split.stop(service).await,
        }
        let start = Instant::now();
        let new = leader(&split, &rest).await;
        let took = start.elapsed();
        assert!(took <= TAKEOVER, "miner {new} took over from the {how} miner {old} after {took:?}");
        println!("miner {new} took over from the {how} miner {old} after {took:?}");
        load.progress(&format!("after the leader was {how}"), RECOVERY).await;
        match how {
            "hung" => split.resume(service).await,
            "killed" | "stopped" => split.launch(service),
            _ => split.link(service, Peer::Redis).heal(),
        }
        recovered(&mut split, &mut load, how).await;
        until("a single leader", async || (leaders(&split, &all).await.len() == 1).then_some(())).await;
    }
    finish(split, load).await;
}
