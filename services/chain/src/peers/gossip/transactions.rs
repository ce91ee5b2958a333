//! Gossip of the pool's transactions: whole to some peers, announced to the rest; and what a new peer is told.

use super::{choice, put};
use crate::peers::Peers;
use crate::peers::outbox::Outbox;
use crate::peers::peer::{Peer, PeerId};
use alloy_consensus::Typed2718;
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::map::{B256Map, B256Set};
use bytes::Bytes;
use quintet_chain_api::{Traced, WireProtocol};
use quintet_eth_wire::{
    EthMessage, EthMessageId, ListBuilder, MAX_ANNOUNCEMENTS, MAX_TRANSACTIONS_SIZE, PooledHashes,
};
use quintet_service::propagation;
use quintet_types::{PoolTransaction, TraceContext};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

/// A transaction of more bytes is announced only (geth's `txMaxBroadcastSize`).
const MAX_BROADCAST_SIZE: usize = 4096;
/// Transactions that are sent on together: those of one announcement.
const BATCH: usize = MAX_ANNOUNCEMENTS;
/// What follows a transaction within this time is sent on with it.
const QUIET: Duration = Duration::from_millis(50);
/// How long a transaction waits for others at most.
const WAIT: Duration = Duration::from_millis(100);
/// How long it waits for the rest of a peer's message, which goes into the pool by parts and goes on as one, as in geth.
const BURST_WAIT: Duration = Duration::from_secs(1);
/// How long the rest of a message to a new peer may wait for room on its link.
const GREETING_TIMEOUT: Duration = Duration::from_secs(30);

/// A transaction as it is sent.
struct Outgoing {
    transaction: Arc<PoolTransaction>,
    encoded: Bytes,
}

impl Outgoing {
    fn new(transaction: Arc<PoolTransaction>) -> Self {
        let encoded = transaction.transaction.encoded_2718().into();
        Self { transaction, encoded }
    }

    /// Whether it may be sent whole to who has not asked for it.
    fn is_broadcast(&self) -> bool {
        !self.transaction.transaction.is_eip4844() && self.encoded.len() <= MAX_BROADCAST_SIZE
    }

    /// Whether a peer of this version can read it: before `eth/65` nobody knew types.
    fn is_readable(&self, peer: &Peer) -> bool {
        peer.version.has_pooled_transactions() || self.transaction.transaction.is_legacy()
    }
}

/// Sends on what becomes executable in the pool.
pub(crate) async fn relay(
    peers: Peers,
    mut pending: Receiver<Arc<PoolTransaction>>,
    token: CancellationToken,
) -> Result<(), crate::ChainError> {
    let shared = Arc::clone(&peers.shared);
    while let Some(batch) = token.run_until_cancelled(gather(&mut pending, &shared.bursts)).await.flatten() {
        if !peers.is_empty() {
            peers.broadcast_transactions(batch);
        }
    }
    token.cancelled().await;
    Ok(())
}

/// Waits for transactions, and takes those that come together; `None` once there will be no more. While there are
/// `bursts`, more will come.
async fn gather<T: Clone>(pending: &mut Receiver<T>, bursts: &AtomicUsize) -> Option<Vec<T>> {
    let mut batch = vec![next(pending).await?];
    let start = Instant::now();
    while batch.len() < BATCH {
        // Looked at first: what a burst has brought by its end is there to be received.
        let more = bursts.load(Ordering::Acquire) > 0;
        let end = start + if more { BURST_WAIT } else { WAIT };
        match timeout_at(end.min(Instant::now() + QUIET), next(pending)).await {
            Ok(Some(next)) => batch.push(next),
            Err(_) if more && Instant::now() < end => {}
            // If there are no more, the next call says so.
            Ok(None) | Err(_) => break,
        }
    }
    Some(batch)
}

async fn next<T: Clone>(pending: &mut Receiver<T>) -> Option<T> {
    loop {
        match pending.recv().await {
            Ok(next) => return Some(next),
            Err(RecvError::Closed) => return None,
            Err(RecvError::Lagged(missed)) => {
                metrics::counter!("quintet_chain_peer_unrelayed_transactions_total").increment(missed);
            }
        }
    }
}

impl Peers {
    /// Sends transactions whole to the square root of the peers, and announces them to the rest, and to all where they
    /// are large or have blobs.
    pub(crate) fn broadcast_transactions(&self, transactions: Vec<Arc<PoolTransaction>>) {
        let mut peers = self.list();
        peers.sort_unstable_by_key(|peer| peer.id);
        let ids: Vec<PeerId> = peers.iter().map(|peer| peer.id).collect();
        // A batch has a trace when it is of one transaction; the others' go on as announcements of theirs would.
        let trace = match &transactions[..] {
            [one] => one.trace.clone(),
            _ => TraceContext::default(),
        };
        let transactions: Vec<Outgoing> = transactions.into_iter().map(Outgoing::new).collect();
        let mut whole: B256Map<Vec<usize>> = B256Map::default();
        let mut announced: B256Map<Vec<usize>> = B256Map::default();
        for (index, outgoing) in transactions.iter().enumerate() {
            let chosen: B256Set = if outgoing.is_broadcast() {
                let sender = &outgoing.transaction.sender;
                choice::chosen(&self.shared.secret, &ids, sender).into_iter().collect()
            } else {
                B256Set::default()
            };
            for peer in &peers {
                if !peer.transactions.lock().insert(outgoing.transaction.hash) || !outgoing.is_readable(peer)
                {
                    continue;
                }
                // Before `eth/65` there are no announcements.
                let announces = peer.version.has_pooled_transactions();
                let list = if chosen.contains(&peer.id) || !announces { &mut whole } else { &mut announced };
                list.entry(peer.id).or_default().push(index);
            }
        }
        for (peers, indices) in groups(&peers, whole) {
            let chosen = indices.iter().filter_map(|index| transactions.get(*index));
            for payload in packs(chosen) {
                send(&peers, EthMessageId::Transactions, "transactions", &payload, &trace);
            }
        }
        for (peers, indices) in groups(&peers, announced) {
            let chosen: Vec<&Outgoing> =
                indices.iter().filter_map(|index| transactions.get(*index)).collect();
            let Some(peer) = peers.first() else { continue };
            for payload in announcements(peer, &chosen) {
                send(&peers, EthMessageId::NewPooledTransactionHashes, "hashes", &payload, &trace);
            }
        }
    }
}

/// Peers that get the same transactions in the same form over the same link.
fn groups(peers: &[Arc<Peer>], lists: B256Map<Vec<usize>>) -> Vec<(Vec<Arc<Peer>>, Vec<usize>)> {
    let mut groups: Vec<(Vec<Arc<Peer>>, Vec<usize>)> = Vec::new();
    for (id, indices) in lists {
        let Some(peer) = peers.iter().find(|peer| peer.id == id) else { continue };
        let same = |(members, list): &&mut (Vec<Arc<Peer>>, Vec<usize>)| {
            let alike =
                |member: &Arc<Peer>| member.eth() == peer.eth() && Arc::ptr_eq(&member.outbox, &peer.outbox);
            members.first().is_some_and(alike) && *list == indices
        };
        match groups.iter_mut().find(same) {
            Some((members, _)) => members.push(Arc::clone(peer)),
            None => groups.push((vec![Arc::clone(peer)], indices)),
        }
    }
    groups
}

/// Transactions messages of bounded size.
fn packs<'a>(transactions: impl Iterator<Item = &'a Outgoing>) -> Vec<Bytes> {
    let mut packs = Vec::new();
    let mut list = ListBuilder::new();
    for outgoing in transactions {
        if list.items() > 0 && list.size().saturating_add(outgoing.encoded.len()) > MAX_TRANSACTIONS_SIZE {
            packs.push(std::mem::take(&mut list).finish());
        }
        list.push_2718(&outgoing.encoded);
    }
    if list.items() > 0 {
        packs.push(list.finish());
    }
    packs
}

/// Announcements in the form of the peer's version.
fn announcements(peer: &Peer, transactions: &[&Outgoing]) -> Vec<Bytes> {
    let encode = |chunk: &[&Outgoing]| {
        let mut hashes = PooledHashes::default();
        for outgoing in chunk {
            let size = u32::try_from(outgoing.encoded.len()).unwrap_or(u32::MAX);
            hashes.push(outgoing.transaction.hash, outgoing.transaction.transaction.ty(), size);
        }
        EthMessage::NewPooledTransactionHashes(hashes).encode(peer.version)
    };
    transactions.chunks(MAX_ANNOUNCEMENTS).map(encode).collect()
}

fn send(peers: &[Arc<Peer>], id: EthMessageId, what: &'static str, payload: &Bytes, trace: &TraceContext) {
    let Some(first) = peers.first() else { return };
    let (outbox, protocol): (&Arc<Outbox>, WireProtocol) = (&first.outbox, first.eth());
    let ids: Vec<PeerId> = peers.iter().map(|peer| peer.id).collect();
    put(outbox, protocol, ids, id, payload, what, trace);
}

/// Tells a new peer of all executable transactions: announced, or whole where there are no announcements.
pub(crate) async fn greet(peers: &Peers, peer: &Arc<Peer>) {
    let content = peers.shared.chain.pool.content();
    let pending: Vec<Outgoing> = content.pending.into_values().flatten().map(Outgoing::new).collect();
    let readable: Vec<&Outgoing> = pending.iter().filter(|outgoing| outgoing.is_readable(peer)).collect();
    if readable.is_empty() {
        return;
    }
    {
        let mut known = peer.transactions.lock();
        for outgoing in &readable {
            known.insert(outgoing.transaction.hash);
        }
    }
    let (id, payloads) = if peer.version.has_pooled_transactions() {
        (EthMessageId::NewPooledTransactionHashes, announcements(peer, &readable))
    } else {
        (EthMessageId::Transactions, packs(readable.into_iter()))
    };
    let trace = propagation::current_trace();
    let messages = async {
        for payload in payloads {
            let value = peer.message(peer.eth(), id.code(), payload);
            if peer.outbox.push(Traced { trace: trace.clone(), value }).await.is_err() {
                break;
            }
        }
    };
    if tokio::time::timeout(GREETING_TIMEOUT, messages).await.is_err() {
        tracing::debug!(peer = %peer.id, "The pool's transactions were not all told to a new peer: its link is slow");
    }
}

#[cfg(test)]
mod tests {
    use super::{BATCH, BURST_WAIT, QUIET, WAIT, gather};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;
    use tokio::sync::broadcast;
    use tokio::time::{Instant, sleep};

    const TICK: Duration = Duration::from_millis(5);

    #[tokio::test(start_paused = true)]
    async fn what_comes_together_is_gathered() {
        let (sender, mut pending) = broadcast::channel(2 * BATCH);
        tokio::spawn(async move {
            for pause in [QUIET / 2, QUIET / 2, QUIET * 2] {
                (0..128).for_each(|n| drop(sender.send(n)));
                sleep(pause).await;
            }
            sender.send(128).unwrap();
        });
        let (start, none) = (Instant::now(), AtomicUsize::new(0));
        assert_eq!(gather(&mut pending, &none).await.unwrap().len(), 3 * 128);
        assert!(start.elapsed() <= WAIT + TICK);
        assert_eq!(gather(&mut pending, &none).await.unwrap(), [128]);
        assert_eq!(gather(&mut pending, &none).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_parts_of_a_burst_go_on_as_one() {
        let (sender, mut pending) = broadcast::channel(2 * BATCH);
        let bursts = Arc::new(AtomicUsize::new(1));
        let ended = Arc::clone(&bursts);
        tokio::spawn(async move {
            for _ in 0..4 {
                (0..128).for_each(|n| drop(sender.send(n)));
                sleep(WAIT * 2).await;
            }
            ended.store(0, Ordering::Release);
            sleep(BURST_WAIT * 2).await;
            ended.store(1, Ordering::Release);
            sender.send(1).unwrap();
            sleep(BURST_WAIT * 2).await;
        });
        let start = Instant::now();
        assert_eq!(gather(&mut pending, &bursts).await.unwrap().len(), 4 * 128);
        assert!(start.elapsed() <= WAIT * 8 + QUIET + TICK);
        // One that does not end is not waited for.
        while bursts.load(Ordering::Acquire) == 0 {
            sleep(TICK).await;
        }
        let start = Instant::now();
        assert_eq!(gather(&mut pending, &bursts).await.unwrap(), [1]);
        assert!(start.elapsed() <= BURST_WAIT + TICK);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_waits_for_long_and_batches_are_bounded() {
        let (sender, mut pending) = broadcast::channel(4 * BATCH);
        (0..=BATCH).for_each(|n| drop(sender.send(n)));
        let (start, none) = (Instant::now(), AtomicUsize::new(0));
        assert_eq!(gather(&mut pending, &none).await.unwrap().len(), BATCH);
        assert_eq!(start.elapsed(), Duration::ZERO);
        assert_eq!(gather(&mut pending, &none).await.unwrap(), [BATCH]);
        // A stream that never ends.
        tokio::spawn(async move {
            while sender.send(0).is_ok() {
                sleep(QUIET / 5).await;
            }
        });
        let start = Instant::now();
        gather(&mut pending, &none).await.unwrap();
        assert!(start.elapsed() <= WAIT + TICK);
    }
}
