//! Asks for announced transactions: the fetcher's decisions, carried out.

use super::receive::take_in;
use crate::peers::Peers;
use crate::peers::fetcher::Fetch;
use crate::peers::message::Offence;
use crate::peers::rate::RequestKind;
use alloy_primitives::B256;
use alloy_primitives::map::B256Set;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// What comes within this time is decided on together.
const GATHER: Duration = Duration::from_millis(20);
/// How long nothing need be looked at when nothing is due.
const IDLE: Duration = Duration::from_mins(1);

/// Asks for announced transactions until shutdown.
pub(crate) async fn fetch_announced(peers: Peers, token: CancellationToken) -> Result<(), crate::ChainError> {
    loop {
        let due = peers.shared.fetcher.lock().next_due();
        let due = due.map_or(IDLE, |due| due.saturating_duration_since(Instant::now()));
        tokio::select! {
            () = token.cancelled() => return Ok(()),
            () = tokio::time::sleep(due) => {}
            () = peers.shared.fetch.notified() => tokio::time::sleep(GATHER).await,
        }
        let first = B256::random();
        let fetches = peers.shared.fetcher.lock().poll(Instant::now(), first);
        for fetch in fetches {
            tokio::spawn(carry_out(peers.clone(), fetch));
        }
        let waiting = peers.shared.fetcher.lock().len();
        metrics::gauge!("quintet_chain_peer_announced_transactions").set(waiting as f64);
    }
}

/// One request.
async fn carry_out(peers: Peers, fetch: Fetch) {
    let Fetch { peer: id, hashes } = fetch;
    let asked: B256Set = hashes.iter().copied().collect();
    let answer = peers.pooled_transactions(&id, hashes).await;
    let Some(peer) = peers.get(&id) else {
        // What it announced with its last words is not asked of it any more.
        peers.shared.fetcher.lock().drop_peer(&id);
        return;
    };
    let outcome = match answer {
        Ok(transactions) if transactions.iter().all(|transaction| asked.contains(transaction.tx_hash())) => {
            take_in(&peers, &peer, transactions, true).await
        }
        Ok(_) => {
            peers.shared.fetcher.lock().failed(id);
            Err(Offence::Unasked(RequestKind::PooledTransactions))
        }
        Err(error) => {
            tracing::debug!(peer = %id, %error, "Announced transactions were not had");
            peers.shared.fetcher.lock().failed(id);
            Ok(())
        }
    };
    peers.shared.fetch.notify_one();
    if let Err(offence) = outcome {
        peer.pay(&offence);
    }
}
