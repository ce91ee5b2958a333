//! Candidates from discovery, and what discovery is to say of us so that we are one for others.

use super::enode;
use crate::hub::Hub;
use alloy_eip2124::{EnrForkIdEntry, ForkHash, ForkId};
use futures::StreamExt;
use quintet_chain_api::LinkStatus;
use quintet_discovery_api::{DiscoveryClient, EnrEntry};
use quintet_enode::Enode;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

/// How long discovery may take to sign a record.
const ANNOUNCE: Duration = Duration::from_secs(5);
/// How often discovery is told where it is asked for nothing: it may have been away.
const REPEAT: Duration = Duration::from_secs(10);
/// An entry of the record that says no more than that it is there.
const PRESENT: &[u8] = &[alloy_rlp::EMPTY_LIST_CODE];

/// Tells discovery our fork id, and takes candidates that have it, where they are wanted; all again when the fork id is another, or
/// discovery was away.
pub(super) async fn find(discovery: DiscoveryClient, hub: &Hub, found: &mpsc::Sender<Enode>) {
    let [first, most] = hub.settings.limits.reconnect;
    let mut pause = first;
    let mut statuses = hub.link.statuses();
    let mut own = hub.owns();
    loop {
        if own.wait_for(Option::is_some).await.is_err() {
            return;
        }
        let Ok(status) = statuses.wait_for(Option::is_some).await.map(|status| *status) else { return };
        let fork = status.map(|status| fork(&status));
        announce(&discovery, hub, fork).await;
        if !hub.settings.discover {
            // The time over, or another fork id: both lead to the same.
            let _ = timeout(REPEAT, other_fork(&mut statuses, fork)).await;
            continue;
        }
        match discovery.candidates(fork).await {
            Ok(mut candidates) => loop {
                let next = tokio::select! {
                    next = candidates.next() => next,
                    () = other_fork(&mut statuses, fork) => break,
                };
                let Some(Ok(candidate)) = next else { break };
                pause = first;
                let Some(node) = enode(&candidate.node) else { continue };
                if found.send(node).await.is_err() {
                    return;
                }
            },
            Err(error) => tracing::debug!(%error, retry = ?pause, "no candidates from discovery"),
        }
        tokio::time::sleep(pause).await;
        pause = pause.saturating_mul(2).min(most);
    }
}

const fn fork(status: &LinkStatus) -> ([u8; 4], u64) {
    (status.fork_hash, status.fork_next)
}

/// Waits until our fork id is another.
async fn other_fork(statuses: &mut watch::Receiver<Option<LinkStatus>>, is: Option<([u8; 4], u64)>) {
    let gone = statuses.wait_for(|status| status.as_ref().map(fork) != is).await.is_err();
    if gone {
        std::future::pending::<()>().await;
    }
}

/// Has discovery's record say which chain the node is on, and that it serves `snap`. That record is the first instance's.
async fn announce(discovery: &DiscoveryClient, hub: &Hub, fork: Option<([u8; 4], u64)>) {
    let Some((hash, next)) = fork.filter(|_| hub.own().is_some_and(|own| own.identity == 0)) else { return };
    let eth = EnrForkIdEntry::from(ForkId { hash: ForkHash(hash), next });
    let entries = vec![
        EnrEntry { key: "eth".to_owned(), value: alloy_rlp::encode(eth).into() },
        EnrEntry { key: "snap".to_owned(), value: PRESENT.into() },
    ];
    match timeout(ANNOUNCE, discovery.set_enr_entries(entries)).await {
        Ok(Ok(sequence)) => tracing::debug!(sequence, "the node's record says its fork id"),
        Ok(Err(error)) => tracing::debug!(%error, "the node's record does not say its fork id"),
        Err(_) => tracing::debug!("discovery did not take the node's fork id in time"),
    }
}
