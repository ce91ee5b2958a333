//! One suite for every shape of the node. `QUINTET_E2E` chooses it:
//!
//! - `node` (the default): `quintet dev`, one process;
//! - `split`: every service as a process of its own, over PostgreSQL and Redis;
//! - `compose`: a deployment that runs, whose load balancer is `QUINTET_RPC_URL`, and which `QUINTET_COMPOSE` commands: by
//!   default `docker compose` in the root of the sources. Its services send their spans to port `QUINTET_OTLP_PORT` of
//!   this machine.

mod compose;
mod deployment;
mod filters;
mod one_process;
mod parts;
mod peers;
mod pool;
mod trace;
mod wallet;

use deployment::Deployment;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wallets_are_served_alike_by_all_replicas() {
    let deployment = Deployment::start().await;
    let urls = deployment.urls();
    wallet::a_transaction_is_seen_alike_everywhere(&urls).await;
    wallet::a_client_that_hops_sees_what_it_did(&urls).await;
    wallet::a_block_that_is_far_away_is_a_clear_error(&urls).await;
    wallet::heads_and_logs_come_once_and_in_order(&urls).await;
    filters::a_filter_of_one_replica_works_on_all(&urls).await;
    pool::a_transaction_that_waits_is_seen_everywhere(&urls).await;
    pool::new_pending_transactions_are_told_everywhere(&urls).await;
    deployment.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_are_restarted_under_load() {
    parts::one_after_another(parts::How::Restart).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_are_killed_under_load() {
    parts::one_after_another(parts::How::Kill).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_is_one_trace_over_all_services() {
    trace::a_transaction_is_one_trace().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_stay_while_chain_restarts() {
    peers::stay_while_chain_restarts().await;
}
