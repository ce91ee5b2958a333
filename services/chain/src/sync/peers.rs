//! The peers behind the links of p2p instances, as sync sees them.

use super::network::{
    Change, Fault, HeadersRequest, Kind, Network, PeerHead, PeerId, PeerView, RequestError, Start,
};
use crate::peers::{
    self, AccountRange, GetAccountRange, GetBlockHeaders, GetByteCodes, GetStorageRanges, GetTrieNodes,
    HashOrNumber, PeerChange, Peers, RequestKind, StorageRanges,
};
use alloy_primitives::{B256, Bytes, U256};
use futures::StreamExt;
use futures::stream::BoxStream;
use quintet_types::{Block, BlockRef, Body, Header, Receipts};
use std::time::Duration;
use tokio_stream::wrappers::BroadcastStream;

/// devp2p's disconnect reason "useless peer", geth's for who fails a sync.
const USELESS_PEER: u32 = 3;

impl From<peers::RequestError> for RequestError {
    fn from(error: peers::RequestError) -> Self {
        match error {
            peers::RequestError::Timeout(_) => Self::Timeout,
            peers::RequestError::Gone => Self::Gone,
            error @ (peers::RequestError::Malformed { .. } | peers::RequestError::Unsupported { .. }) => {
                Self::Malformed(error.to_string())
            }
        }
    }
}

impl From<PeerChange> for Change {
    fn from(change: PeerChange) -> Self {
        match change {
            PeerChange::Up(peer) => Self::Up(peer.id),
            PeerChange::Down(peer) => Self::Down(peer),
            PeerChange::Head(peer) => Self::Head(peer),
            PeerChange::Announced { peer, blocks, traceparent } => {
                Self::Announced { peer, blocks, trace: traceparent }
            }
            PeerChange::Block { peer, block, td, traceparent } => {
                Self::Block { peer, block, total_difficulty: td, trace: traceparent }
            }
        }
    }
}

#[tonic::async_trait]
impl Network for Peers {
    fn peers(&self) -> Vec<PeerView> {
        let view = |peer: &peers::Peer| {
            let peers::PeerHead { hash, number, total_difficulty, earliest } = peer.head();
            let head = PeerHead { hash, number, total_difficulty };
            PeerView { id: peer.id, head, earliest, snap: peer.snap }
        };
        self.list().iter().map(|peer| view(peer)).collect()
    }

    fn changes(&self) -> BoxStream<'static, Change> {
        // Who is too slow misses some, and finds peers and heads at its next look.
        let changes = BroadcastStream::new(self.subscribe());
        changes.filter_map(|change| async { change.ok().map(Change::from) }).boxed()
    }

    async fn headers(&self, peer: PeerId, request: HeadersRequest) -> Result<Vec<Header>, RequestError> {
        let start = match request.start {
            Start::Hash(hash) => HashOrNumber::Hash(hash),
            Start::Number(number) => HashOrNumber::Number(number),
        };
        let HeadersRequest { limit, skip, reverse, .. } = request;
        Ok(Self::headers(self, &peer, GetBlockHeaders { start, limit, skip, reverse }).await?)
    }

    async fn bodies(&self, peer: PeerId, hashes: Vec<B256>) -> Result<Vec<Body>, RequestError> {
        Ok(Self::bodies(self, &peer, hashes).await?)
    }

    async fn receipts(&self, peer: PeerId, hashes: Vec<B256>) -> Result<Vec<Receipts>, RequestError> {
        match Self::receipts(self, &peer, hashes).await {
            // It has none to give.
            Err(peers::RequestError::Unsupported { .. }) => Ok(Vec::new()),
            answer => Ok(answer?),
        }
    }

    async fn account_range(
        &self,
        peer: PeerId,
        request: GetAccountRange,
    ) -> Result<AccountRange, RequestError> {
        Ok(Self::account_range(self, &peer, request).await?)
    }

    async fn storage_ranges(
        &self,
        peer: PeerId,
        request: GetStorageRanges,
    ) -> Result<StorageRanges, RequestError> {
        Ok(Self::storage_ranges(self, &peer, request).await?)
    }

    async fn byte_codes(&self, peer: PeerId, request: GetByteCodes) -> Result<Vec<Bytes>, RequestError> {
        Ok(Self::byte_codes(self, &peer, request).await?)
    }

    async fn trie_nodes(&self, peer: PeerId, request: GetTrieNodes) -> Result<Vec<Bytes>, RequestError> {
        Ok(Self::trie_nodes(self, &peer, request).await?)
    }

    fn capacity(&self, peer: PeerId, kind: Kind, target: Duration) -> usize {
        let kind = match kind {
            Kind::Headers => RequestKind::Headers,
            Kind::Bodies => RequestKind::Bodies,
            Kind::Receipts => RequestKind::Receipts,
            Kind::State => RequestKind::AccountRange,
        };
        self.get(&peer).map_or(1, |peer| peer.capacity(kind, target))
    }

    fn penalise(&self, peer: PeerId, fault: &Fault) {
        Self::penalise(self, &peer, fault.weight(), &fault.to_string());
        if fault.is_severe() {
            self.disconnect(&peer, USELESS_PEER);
        }
    }

    fn broadcast_block(&self, block: &Block, total_difficulty: U256) {
        Self::broadcast_block(self, block, total_difficulty);
    }

    fn announce_block(&self, block: BlockRef) {
        Self::announce_block(self, block);
    }

    fn synced(&self) {
        self.accept_transactions();
    }
}
