//! Requests to peers: one function for each kind. An answer has the request's id and kind, and no more items than were
//! asked for; whether it is true is for the caller to find out.

use super::peer::message;
use super::rate::RequestKind as Kind;
use super::reply::Reply;
use super::wire::Question;
use super::{
    AccountRange, GetAccountRange, GetBlockHeaders, GetByteCodes, GetStorageRanges, GetTrieNodes, Peer,
    PeerId, Peers, RequestError, StorageRanges,
};
use alloy_consensus::TxEnvelope;
use alloy_primitives::{B256, Bytes};
use quintet_chain_api::Traced;
use quintet_service::propagation;
use quintet_types::{Body, Header, Receipts};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// How often a request that waits for its turn looks whether a late answer is overdue.
const TURN_CHECK: Duration = Duration::from_secs(1);

impl Peers {
    /// Headers from a number or a hash on.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn headers(
        &self,
        peer: &PeerId,
        request: GetBlockHeaders,
    ) -> Result<Vec<Header>, RequestError> {
        match self.ask(peer, Question::Headers(request)).await? {
            Reply::Headers(headers) => Ok(headers),
            other => Err(other.into_error(Kind::Headers)),
        }
    }

    /// Bodies of blocks, in the order of the hashes. Those that the peer does not have are left out.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn bodies(&self, peer: &PeerId, hashes: Vec<B256>) -> Result<Vec<Body>, RequestError> {
        match self.ask(peer, Question::Bodies(hashes)).await? {
            Reply::Bodies(bodies) => Ok(bodies),
            other => Err(other.into_error(Kind::Bodies)),
        }
    }

    /// Receipts of blocks, with their blooms, in the order of the hashes. Those that the peer does not have are left
    /// out.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn receipts(&self, peer: &PeerId, hashes: Vec<B256>) -> Result<Vec<Receipts>, RequestError> {
        match self.ask(peer, Question::Receipts(hashes)).await? {
            Reply::Receipts(receipts) => Ok(receipts),
            other => Err(other.into_error(Kind::Receipts)),
        }
    }

    /// Trie nodes and codes by their hashes, as far as the peer has them, in their order (eth/63 to 66).
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn node_data(&self, peer: &PeerId, hashes: Vec<B256>) -> Result<Vec<Bytes>, RequestError> {
        match self.ask(peer, Question::NodeData(hashes)).await? {
            Reply::NodeData(data) => Ok(data),
            other => Err(other.into_error(Kind::NodeData)),
        }
    }

    /// Transactions of the peer's pool (from eth/65 on).
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn pooled_transactions(
        &self,
        peer: &PeerId,
        hashes: Vec<B256>,
    ) -> Result<Vec<TxEnvelope>, RequestError> {
        match self.ask(peer, Question::PooledTransactions(hashes)).await? {
            Reply::PooledTransactions(transactions) => Ok(transactions),
            other => Err(other.into_error(Kind::PooledTransactions)),
        }
    }

    /// Accounts of a state (snap/1). The request's id is set here.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn account_range(
        &self,
        peer: &PeerId,
        request: GetAccountRange,
    ) -> Result<AccountRange, RequestError> {
        match self.ask(peer, Question::AccountRange(request)).await? {
            Reply::AccountRange(range) => Ok(range),
            other => Err(other.into_error(Kind::AccountRange)),
        }
    }

    /// Slots of accounts (snap/1). The request's id is set here.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn storage_ranges(
        &self,
        peer: &PeerId,
        request: GetStorageRanges,
    ) -> Result<StorageRanges, RequestError> {
        match self.ask(peer, Question::StorageRanges(request)).await? {
            Reply::StorageRanges(ranges) => Ok(ranges),
            other => Err(other.into_error(Kind::StorageRanges)),
        }
    }

    /// Codes by their hashes (snap/1). The request's id is set here.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn byte_codes(&self, peer: &PeerId, request: GetByteCodes) -> Result<Vec<Bytes>, RequestError> {
        match self.ask(peer, Question::ByteCodes(request)).await? {
            Reply::ByteCodes(codes) => Ok(codes),
            other => Err(other.into_error(Kind::ByteCodes)),
        }
    }

    /// Trie nodes by their paths (snap/1). The request's id is set here.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn trie_nodes(&self, peer: &PeerId, request: GetTrieNodes) -> Result<Vec<Bytes>, RequestError> {
        match self.ask(peer, Question::TrieNodes(request)).await? {
            Reply::TrieNodes(nodes) => Ok(nodes),
            other => Err(other.into_error(Kind::TrieNodes)),
        }
    }

    /// Asks, and waits for the answer until the request's time-out.
    async fn ask(&self, peer: &PeerId, question: Question) -> Result<Reply, RequestError> {
        let peer = self.get(peer).ok_or(RequestError::Gone)?;
        let kind = question.kind();
        if !question.is_supported(&peer) {
            return Err(RequestError::Unsupported { kind, version: peer.version });
        }
        let timeout = self.shared.round_trip.lock().timeout();
        let outcome = tokio::time::timeout(timeout, self.exchange(&peer, question)).await;
        let outcome = outcome.unwrap_or_else(|_| {
            peer.rate.lock().update(kind, timeout, 0);
            tracing::debug!(peer = %peer.id, kind = kind.name(), ?timeout, "Request timed out");
            Err(RequestError::Timeout(kind))
        });
        let name = match &outcome {
            Ok(_) => "answered",
            Err(RequestError::Timeout(_)) => "timeout",
            Err(RequestError::Malformed { .. }) => "malformed",
            Err(_) => "gone",
        };
        metrics::counter!("quintet_chain_peer_requests_total", "kind" => kind.name(), "outcome" => name)
            .increment(1);
        outcome
    }

    async fn exchange(&self, peer: &Arc<Peer>, question: Question) -> Result<Reply, RequestError> {
        let kind = question.kind();
        let id = self.shared.next_id.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        take_turn(peer, id, &question, sender).await?;
        // Whatever ends the waiting, the request's end is noted.
        let _turn = Turn { peer: Arc::clone(peer), id };
        let (protocol, code, payload) = question.encode(peer, id);
        let command = message(vec![peer.id], protocol, code, payload);
        let trace = propagation::current_trace();
        peer.outbox.push(Traced { trace, value: command }).await.map_err(|_| RequestError::Gone)?;
        match answer.await {
            Ok(Reply::Malformed(reason)) => Err(RequestError::Malformed { kind, reason }),
            Ok(reply) => Ok(reply),
            Err(_) => Err(RequestError::Gone),
        }
    }
}

/// Waits until the request may be sent, and notes it.
async fn take_turn(
    peer: &Arc<Peer>,
    id: u64,
    question: &Question,
    sender: oneshot::Sender<Reply>,
) -> Result<(), RequestError> {
    loop {
        let ended = peer.ended.notified();
        tokio::pin!(ended);
        ended.as_mut().enable();
        {
            let mut pending = peer.pending.lock();
            if pending.is_closed() {
                return Err(RequestError::Gone);
            }
            let now = Instant::now();
            if pending.is_free(question.kind(), now) {
                pending.begin(id, question.kind(), question.most(), now, sender);
                return Ok(());
            }
        }
        // A late answer that never comes frees the kind without a word: look again from time to time.
        let _ = tokio::time::timeout(TURN_CHECK, ended).await;
    }
}

/// A request under way: its end, whichever it is, lets the next one of its kind go.
struct Turn {
    peer: Arc<Peer>,
    id: u64,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.peer.pending.lock().give_up(self.id, Instant::now());
        self.peer.ended.notify_waiters();
    }
}
