//! What a sync works with, and its beginning: whether a peer's chain is better than ours, and where they part.

use super::ancestor::{AncestorSearch, MAX_FORK, MAX_HEADERS, SealedHeader, block_ref};
use super::check::{Rejected, Tip};
use super::choose::Plan;
use super::download::Download;
use super::network::{Fault, HeadersRequest, Network, PeerHead, PeerId, PeerView, RequestError, Start};
use super::snap::Way;
use super::status::SyncStatus;
use super::{SyncError, SyncOptions};
use crate::chain::Chain;
use crate::error::ChainError;
use quintet_types::{BlockRef, Header};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// What a sync works with.
pub(crate) struct Context {
    pub(crate) chain: Arc<Chain>,
    pub(crate) network: Arc<dyn Network>,
    pub(crate) options: SyncOptions,
    pub(crate) status: Arc<SyncStatus>,
    pub(crate) rejected: Arc<Rejected>,
}

impl Context {
    /// Runs work on the chain off the async threads.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Chain) -> Result<T, ChainError> + Send + 'static,
    ) -> Result<T, SyncError> {
        let chain = Arc::clone(&self.chain);
        let done = tokio::task::spawn_blocking(move || work(&chain)).await;
        done.map_err(ChainError::from).and_then(|done| done).map_err(SyncError::Node)
    }

    /// Headers that the master must give.
    pub(crate) async fn ask(
        &self,
        master: PeerId,
        patience: Duration,
        request: HeadersRequest,
    ) -> Result<Vec<SealedHeader>, SyncError> {
        let answer = limited("headers", patience, self.network.headers(master, request)).await;
        answer.map(sealed).map_err(|error| master_failed(master, &error))
    }

    /// The header of the master's head, if its chain is better than ours.
    pub(crate) async fn head_of(
        &self,
        master: &PeerView,
        patience: Duration,
    ) -> Result<SealedHeader, SyncError> {
        let request = HeadersRequest::one(Start::Hash(master.head.hash));
        let mut headers = self.ask(master.id, patience, request).await?;
        let head = headers.pop().filter(|head| headers.is_empty() && head.hash() == master.head.hash);
        let head = head.ok_or(SyncError::Fault(master.id, Fault::NoHead))?;
        let hash = head.hash();
        let found = self.blocking(move |chain| Ok(chain.store.total_difficulty(&hash)?)).await?;
        if let Some(found) = found {
            return Err(match master.head.total_difficulty {
                Some(claimed) if claimed > found => {
                    SyncError::Fault(master.id, Fault::LyingDifficulty { claimed, found })
                }
                _ => SyncError::NotAhead(master.id, hash),
            });
        }
        let ours = self.chain.head();
        let by_number =
            master.head.total_difficulty.is_none() || self.chain.spec.is_merged_after(ours.total_difficulty);
        if by_number && head.inner().number <= ours.block.number {
            return Err(SyncError::NotAhead(master.id, hash));
        }
        Ok(head)
    }

    /// The newest of the master's blocks that follow ours, if there are some.
    pub(crate) async fn newer_than(&self, plan: &Plan, ours: BlockRef) -> Result<PeerHead, SyncError> {
        let Plan { master, patience, .. } = plan;
        let start = Start::Number(ours.number.saturating_add(1));
        let request = HeadersRequest { start, limit: MAX_HEADERS, skip: 0, reverse: false };
        let headers = self.ask(master.id, *patience, request).await?;
        let newest = headers.last().ok_or(SyncError::NotAhead(master.id, ours.hash))?;
        Ok(PeerHead { hash: newest.hash(), number: Some(newest.inner().number), total_difficulty: None })
    }

    /// The newest block that the master's chain and ours have in common.
    async fn ancestor(&self, plan: &Plan, remote: u64) -> Result<BlockRef, SyncError> {
        let local = self.chain.head().block.number;
        if local == 0 {
            // There is nothing else to have in common; the statuses have, and the first header is to follow it.
            return Ok(self.genesis());
        }
        // What is below a state that was fetched cannot be replaced.
        let first = self.blocking(|chain| Ok(chain.store.first_state()?)).await?;
        let history = self.blocking(Chain::history_tip).await?.map_or(0, |tip| tip.number);
        let search =
            AncestorSearch::new(self.genesis(), local, remote, local.saturating_sub(MAX_FORK).max(first));
        // History of a state that was given up was never executed.
        let held = move |chain: &Chain, block: BlockRef| {
            let held = if block.number > history {
                chain.store.block_number(&block.hash)?.is_some()
            } else {
                chain.store.canonical_hash(block.number)? == Some(block.hash)
            };
            Ok(held)
        };
        self.search(plan, search, held).await
    }

    pub(super) fn genesis(&self) -> BlockRef {
        BlockRef { number: 0, hash: self.chain.spec.genesis_hash() }
    }

    /// Asks the master until the ancestor is found among the blocks that are `held`.
    pub(super) async fn search(
        &self,
        Plan { master, patience, .. }: &Plan,
        mut search: AncestorSearch,
        held: impl Fn(&Chain, BlockRef) -> Result<bool, ChainError> + Copy + Send + 'static,
    ) -> Result<BlockRef, SyncError> {
        loop {
            let headers = self.ask(master.id, *patience, search.request()).await?;
            let blocks: Vec<BlockRef> = headers.iter().map(block_ref).collect();
            let all_held = move |chain: &Chain| blocks.into_iter().map(|block| held(chain, block)).collect();
            let all_held: Vec<bool> = self.blocking(all_held).await?;
            match search.answer(&headers, &all_held) {
                Ok(Some(ancestor)) => return Ok(ancestor),
                Ok(None) => {}
                Err(fault) => return Err(SyncError::Fault(master.id, fault)),
            }
        }
    }

    pub(super) async fn tip_at(&self, block: BlockRef) -> Result<Tip, SyncError> {
        let head = self.blocking(move |chain| chain.stored_head(block)).await?;
        let header = SealedHeader::new_unchecked(head.header, block.hash);
        Ok(Tip { header, total_difficulty: head.total_difficulty })
    }

    /// Fetches and imports what the master's chain has above ours. Cancelled, it ends once nothing is imported any
    /// more.
    pub(crate) async fn synchronise(&self, plan: Plan, token: &CancellationToken) -> Result<(), SyncError> {
        let way = token.run_until_cancelled(self.way(&plan)).await;
        if let Way::Snap(head) = way.unwrap_or(Err(SyncError::Cancelled))? {
            return self.synchronise_state(plan, *head, token).await;
        }
        let begin = token.run_until_cancelled(self.begin(&plan)).await;
        let tip = begin.unwrap_or(Err(SyncError::Cancelled))?;
        Download::new(self, plan, tip).run(token).await
    }

    async fn begin(&self, plan: &Plan) -> Result<Tip, SyncError> {
        let Plan { master, patience, .. } = plan;
        let head = self.head_of(master, *patience).await?;
        let ancestor = self.ancestor(plan, head.inner().number).await?;
        let tip = self.tip_at(ancestor).await?;
        let (number, hash) = (head.inner().number, head.hash());
        if number > ancestor.number.saturating_add(1) {
            let ancestor = ancestor.number;
            tracing::info!(peer = %master.id, ancestor, number, %hash, "Block synchronisation started");
        }
        self.status.begin(ancestor.number, number);
        Ok(tip)
    }
}

/// Headers with their hashes.
pub(crate) fn sealed(headers: Vec<Header>) -> Vec<SealedHeader> {
    let seal = |header: Header| {
        let hash = header.hash_slow();
        SealedHeader::new_unchecked(header, hash)
    };
    headers.into_iter().map(seal).collect()
}

/// A request that is given up after `patience`, whatever its own deadline; counted.
pub(crate) async fn limited<T>(
    kind: &'static str,
    patience: Duration,
    request: impl Future<Output = Result<T, RequestError>>,
) -> Result<T, RequestError> {
    let result = timeout(patience, request).await.unwrap_or(Err(RequestError::Timeout));
    let outcome = match &result {
        Ok(_) => "answered",
        Err(RequestError::Timeout) => "timeout",
        Err(RequestError::Gone) => "gone",
        Err(RequestError::Malformed(_)) => "malformed",
    };
    metrics::counter!("quintet_chain_sync_requests_total", "kind" => kind, "outcome" => outcome).increment(1);
    result
}

/// What follows when the master does not answer.
pub(crate) fn master_failed(master: PeerId, error: &RequestError) -> SyncError {
    match error {
        RequestError::Timeout => SyncError::Fault(master, Fault::Stalling),
        RequestError::Gone | RequestError::Malformed(_) => SyncError::Gone(master),
    }
}
