//! Transactions that come from peers, on their way into the pool.

use crate::error::ChainError;
use crate::peers::fetcher::{Delivered, Meta};
use crate::peers::message::{Offence, off_thread};
use crate::peers::peer::Peer;
use crate::peers::{Peers, penalty};
use alloy_consensus::{TxEnvelope, Typed2718};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::B256;
use quintet_eth_wire::PooledHashes;
use quintet_txpool::PoolError;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Transactions that are given to the pool at once (geth's `addTxsBatchSize`).
const BATCH: usize = 128;
/// A peer of whose batch more than this share is of no use is heard again only after [`REST`] (as in geth).
const USELESS_SHARE: usize = BATCH / 4;
const REST: Duration = Duration::from_millis(200);

/// What the pool made of a peer's transactions.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    added: usize,
    known: usize,
    underpriced: usize,
    refused: usize,
}

/// A message that goes into the pool by parts: what becomes of it is told to others as one.
struct Burst<'a>(&'a AtomicUsize);

impl<'a> Burst<'a> {
    fn begin(bursts: &'a AtomicUsize) -> Self {
        bursts.fetch_add(1, Ordering::AcqRel);
        Self(bursts)
    }
}

impl Drop for Burst<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Transactions were broadcast.
///
/// # Errors
/// What the peer has to pay for.
pub(crate) async fn take_broadcast(
    peers: &Peers,
    peer: &Arc<Peer>,
    transactions: Vec<TxEnvelope>,
) -> Result<(), Offence> {
    if !peers.accepts_transactions() {
        return Ok(());
    }
    take_in(peers, peer, transactions, false).await
}

/// Transactions were announced.
pub(crate) fn take_announcement(peers: &Peers, peer: &Arc<Peer>, announced: &PooledHashes) {
    if !peers.accepts_transactions() {
        return;
    }
    {
        let mut known = peer.transactions.lock();
        for hash in &announced.hashes {
            known.insert(*hash);
        }
    }
    let metas = announced.types.iter().zip(&announced.sizes);
    let mut metas = metas.map(|(kind, size)| Meta { kind: *kind, size: *size });
    let news: Vec<(B256, Option<Meta>)> = announced
        .hashes
        .iter()
        .map(|hash| (*hash, metas.next()))
        .filter(|(hash, _)| peers.shared.chain.pool.get(hash).is_none())
        .collect();
    if news.is_empty() {
        return;
    }
    let refused = peers.shared.fetcher.lock().announced(peer.id, news, Instant::now());
    if refused > 0 {
        metrics::counter!("quintet_chain_peer_refused_announcements_total").increment(refused as u64);
    }
    peers.shared.fetch.notify_one();
}

/// Gives a peer's transactions to the pool, and tells the fetcher of them. `direct`: they were asked for.
///
/// # Errors
/// What the peer has to pay for.
pub(crate) async fn take_in(
    peers: &Peers,
    peer: &Arc<Peer>,
    transactions: Vec<TxEnvelope>,
    direct: bool,
) -> Result<(), Offence> {
    {
        let mut known = peer.transactions.lock();
        for transaction in &transactions {
            known.insert(*transaction.tx_hash());
        }
    }
    let mut delivered = Vec::with_capacity(transactions.len());
    let mut offence = None;
    let burst = (transactions.len() > BATCH).then(|| Burst::begin(&peers.shared.bursts));
    let mut rest = transactions.into_iter().peekable();
    while rest.peek().is_some() {
        let batch: Vec<TxEnvelope> = rest.by_ref().take(BATCH).collect();
        let first = delivered.len();
        delivered.extend(batch.iter().map(|transaction| Delivered {
            hash: *transaction.tx_hash(),
            meta: Meta {
                kind: transaction.ty(),
                size: u32::try_from(transaction.encode_2718_len()).unwrap_or(u32::MAX),
            },
            underpriced: false,
        }));
        let outcomes = add(peers, batch).await;
        let tally = judge(&outcomes, delivered.iter_mut().skip(first), &mut offence);
        count(peer, tally);
        if tally.refused > USELESS_SHARE {
            peer.penalise(penalty::BAD_TRANSACTIONS, "stale or invalid transactions");
            tokio::time::sleep(REST).await;
        }
    }
    drop(burst);
    let liars = peers.shared.fetcher.lock().delivered(peer.id, &delivered, direct, Instant::now());
    peers.shared.fetch.notify_one();
    for liar in liars {
        let reason = format!("transaction {} announced with another type or size than it has", liar.hash);
        peers.penalise(&liar.peer, penalty::LYING_ANNOUNCEMENT, &reason);
        peers.disconnect(&liar.peer, penalty::SUBPROTOCOL_ERROR);
    }
    offence.map_or(Ok(()), Err)
}

/// Adds a batch to the pool. A few batches at a time, whoever they are from.
async fn add(peers: &Peers, batch: Vec<TxEnvelope>) -> Vec<Result<(), ChainError>> {
    // The semaphore is never closed.
    let _slot = peers.shared.pool_slots.acquire().await;
    let chain = Arc::clone(&peers.shared.chain);
    off_thread(move || chain.pool.add_remote(batch)).await
}

fn judge<'a>(
    outcomes: &[Result<(), ChainError>],
    delivered: impl Iterator<Item = &'a mut Delivered>,
    offence: &mut Option<Offence>,
) -> Tally {
    let mut tally = Tally::default();
    for (outcome, delivered) in outcomes.iter().zip(delivered) {
        match outcome {
            Ok(()) => tally.added += 1,
            Err(ChainError::Pool(PoolError::AlreadyKnown)) => tally.known += 1,
            Err(ChainError::Pool(error)) if is_underpriced(error) => {
                tally.underpriced += 1;
                delivered.underpriced = true;
            }
            Err(error) => {
                if matches!(error, ChainError::Pool(error) if breaks_sidecar(error)) {
                    *offence = Some(Offence::InvalidBlobs(error.to_string()));
                }
                tally.refused += 1;
            }
        }
    }
    tally
}

/// Refusals of blobs that are not those which the transaction was signed for: whoever passes them on has not looked at them.
/// Which version of proofs is in force is left out: peers near a fork may differ.
const fn breaks_sidecar(error: &PoolError) -> bool {
    matches!(
        error,
        PoolError::KzgVerification(_)
            | PoolError::BlobHashMismatch { .. }
            | PoolError::CommitmentCount { .. }
            | PoolError::ProofCount { .. }
    )
}

/// Refusals that last as long as prices do.
const fn is_underpriced(error: &PoolError) -> bool {
    matches!(
        error,
        PoolError::Underpriced
            | PoolError::ReplaceUnderpriced
            | PoolError::ReplaceBlobNotHigher { .. }
            | PoolError::ReplaceBlobUnderpriced { .. }
            | PoolError::GasPriceTooLow { .. }
    )
}

fn count(peer: &Peer, tally: Tally) {
    let Tally { added, known, underpriced, refused } = tally;
    for (outcome, number) in
        [("added", added), ("known", known), ("underpriced", underpriced), ("refused", refused)]
    {
        metrics::counter!("quintet_chain_peer_transactions_total", "outcome" => outcome)
            .increment(number as u64);
    }
    if refused > USELESS_SHARE {
        tracing::debug!(peer = %peer.id, rejected = refused, "Peer delivering stale or invalid transactions");
    }
}
