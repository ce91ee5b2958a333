//! How the gateway reads the chain: the overlay of recent deltas, a cache of values at the overlay's base, then
//! the store. No read asks `chain`.
//!
//! - [`source`] puts deadlines on the store where it is behind a network, and knows whether it answers.
//! - [`follow`] keeps the view at the head, by deltas, and from the store ([`catchup`]) where some were missed.
//!
//! What must hold: a request reads one [`View`] from its beginning to its end, so it sees one chain; a read that
//! a reorg has overtaken fails with [`RpcError::ChainChanged`] and is run again on a newer view, see [`Reads::retry`].

#![allow(clippy::option_option, reason = "the outer: is it known here; the inner: does the account exist")]

mod base;
mod blocks;
mod catchup;
mod counts;
mod follow;
mod index;
mod source;
mod state;
mod stored;
mod view;

pub(crate) use blocks::BlockJson;
pub(crate) use follow::{follow, follow_markers};
pub(crate) use state::StateAt;
pub(crate) use view::View;

use crate::decode::{BlockId, BlockTag};
use crate::error::RpcError;
use alloy_primitives::{B256, Bytes};
use arc_swap::ArcSwap;
use base::BaseCache;
use blocks::BlockCaches;
use catchup::{Found, Fresh};
use counts::Counts;
use index::Index;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use quintet_store::{Store, StoreError, TransactionLocation};
use quintet_types::{BlockRef, ExecutedBlock, StateDiff, StateError, StateReader};
use source::{Guarded, Health};
use std::collections::VecDeque;
use std::sync::Arc;
use stored::StoredState;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How often a read that reorgs overtake is run again.
const ATTEMPTS: usize = 16;

/// The blocks that `chain` has marked.
#[derive(Clone, Copy, Debug, Default)]
struct Markers {
    /// The newest block that will not leave the chain, as far as anybody honest can tell.
    safe: Option<BlockRef>,
    /// The newest block that can never leave the chain.
    finalized: Option<BlockRef>,
}

#[derive(Clone)]
struct CodeWeights;

impl Weighter<B256, Bytes> for CodeWeights {
    fn weight(&self, _: &B256, code: &Bytes) -> u64 {
        128 + code.len() as u64
    }
}

/// Everything that methods read from.
pub(crate) struct Reads {
    source: Guarded,
    view: ArcSwap<View>,
    markers: ArcSwap<Markers>,
    index: Index,
    cache: BaseCache,
    blocks: BlockCaches,
    codes: Cache<B256, Bytes, CodeWeights>,
    counts: Counts,
    heads: watch::Sender<u64>,
    overlay: usize,
}

impl Reads {
    /// Reads from `store`, whose chain must have a head. `overlay` is how many recent blocks are held, `cache` how
    /// many bytes the caches may take.
    pub(crate) fn new(store: Arc<dyn Store>, overlay: usize, cache: u64) -> Result<Self, RpcError> {
        let source = Guarded::new(store).map_err(|error| RpcError::internal(&error))?;
        let values = BaseCache::new(cache / 4);
        let index = Index::default();
        let fresh = Fresh::read(&*source.store)?;
        let view = fresh.into_view(&source.store, &values, index.epoch());
        let heads = watch::Sender::new(view.head().number);
        Ok(Self {
            source,
            view: ArcSwap::from_pointee(view),
            markers: ArcSwap::default(),
            index,
            cache: values,
            blocks: BlockCaches::new(cache / 8 * 5),
            codes: Cache::with_weighter(256, cache / 8, CodeWeights),
            counts: Counts::new(),
            heads,
            overlay: overlay.max(1),
        })
    }

    /// The store.
    pub(crate) fn store(&self) -> &dyn Store {
        &*self.source.store
    }

    /// Whether the store answers.
    pub(crate) fn health(&self) -> &Arc<Health> {
        &self.source.health
    }

    /// While the store is away, looks for it, until `token` is cancelled.
    pub(crate) async fn watch_store(&self, token: CancellationToken) {
        self.source.watch(&token).await;
    }

    /// The chain as it is held now.
    pub(crate) fn view(&self) -> Arc<View> {
        self.view.load_full()
    }

    /// The head's number.
    pub(crate) fn head_number(&self) -> u64 {
        self.view.load().header().number
    }

    /// Follows the head's number.
    pub(crate) fn heads(&self) -> watch::Receiver<u64> {
        self.heads.subscribe()
    }

    /// Runs a read on the current view, and again on a newer one while reorgs overtake it.
    pub(crate) fn retry<T>(
        &self,
        mut read: impl FnMut(&Arc<View>) -> Result<T, RpcError>,
    ) -> Result<T, RpcError> {
        let mut view = self.view();
        for _ in 0..ATTEMPTS {
            match read(&view) {
                Err(RpcError::ChainChanged) => {}
                answer => return answer,
            }
            let newer = self.view();
            if Arc::ptr_eq(&newer, &view) {
                // The store is ahead of the events by the time that a delta takes to come here.
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            view = newer;
        }
        Err(RpcError::ChainChanged)
    }

    /// The state after a canonical block of `view`.
    pub(crate) fn state_at(&self, view: &Arc<View>, block: BlockRef) -> StateAt<'_> {
        StateAt::new(self, Arc::clone(view), block)
    }

    /// The state after the head, without its hash being looked up again.
    pub(crate) fn state_at_head(&self, view: &Arc<View>) -> StateAt<'_> {
        self.state_at(view, view.head())
    }

    /// The state that the pending block leaves, on the head.
    pub(crate) fn pending_state(&self, view: &Arc<View>, diff: Arc<StateDiff>) -> StateAt<'_> {
        self.state_at(view, view.head()).with_pending(diff)
    }

    /// The canonical block with this number.
    pub(crate) fn canonical(&self, view: &View, number: u64) -> Result<Option<BlockRef>, RpcError> {
        if number > view.header().number {
            return Ok(None);
        }
        let hash = self.canonical_hash(view, number)?;
        Ok(hash.map(|hash| BlockRef { number, hash }))
    }

    /// The hash of the canonical block with this number, which is not above the view's head. What the view does not
    /// know itself is below its base, and stays as it is until a reorg takes the base away.
    fn canonical_hash(&self, view: &View, number: u64) -> Result<Option<B256>, StateError> {
        if let Some(hash) = view.known_hash(number).or_else(|| self.cached_hash(view, number)) {
            return Ok(Some(hash));
        }
        let hash = view.base_state.block_hash(number)?;
        if let Some(hash) = hash {
            self.cache.put_hash(view.base_stamp, number, hash);
        }
        Ok(hash)
    }

    /// Only as long as the view's base is on the chain that is shown now.
    fn cached_hash(&self, view: &View, number: u64) -> Option<B256> {
        self.cache.hash(number).filter(|_| self.index.epoch() == view.epoch)
    }

    /// Where the view's chain has a transaction.
    pub(crate) fn transaction(
        &self,
        view: &View,
        hash: &B256,
    ) -> Result<Option<TransactionLocation>, RpcError> {
        if let Some(location) = self.index.transaction(hash, view.head().number) {
            // Of another chain than the view's while a reorg is under way.
            let known = view.known_hash(location.block.number) == Some(location.block.hash);
            return if known { Ok(Some(location)) } else { Err(RpcError::ChainChanged) };
        }
        if let Some(location) = self.cache.location(hash).filter(|_| self.index.epoch() == view.epoch) {
            return Ok(Some(location));
        }
        let Some(location) = self.source.store.transaction_location(hash)? else { return Ok(None) };
        if location.block.number > view.head().number {
            return Ok(None);
        }
        if self.canonical(view, location.block.number)? != Some(location.block) {
            return Err(RpcError::ChainChanged);
        }
        if location.block.number <= view.base.number {
            self.cache.put_location(view.base_stamp, *hash, location);
        }
        Ok(Some(location))
    }

    /// Code by its hash: never stale. That of recent blocks is in their deltas.
    fn code(&self, view: &View, hash: &B256) -> Result<Option<Bytes>, StoreError> {
        if let Some(code) = self.codes.get(hash) {
            return Ok(Some(code));
        }
        let recent = view.recent.iter().rev().find_map(|executed| executed.diff.code.get(hash));
        let code = match recent {
            Some(code) => Some(code.clone()),
            None => self.source.store.code(hash)?,
        };
        if let Some(code) = &code {
            self.codes.insert(*hash, code.clone());
        }
        Ok(code)
    }

    /// The block that a tag means; `None` when there is no such block, an error where geth has one. The pending
    /// block is not in the view: the caller has seen to it.
    pub(crate) fn resolve_tag(&self, view: &View, tag: BlockTag) -> Result<Option<BlockRef>, RpcError> {
        match tag {
            BlockTag::Latest | BlockTag::Pending => Ok(Some(view.head())),
            BlockTag::Earliest => self.canonical(view, 0),
            BlockTag::Number(number) => self.canonical(view, number),
            BlockTag::Safe => {
                self.markers.load().safe.map(Some).ok_or_else(|| RpcError::server("safe block not found"))
            }
            BlockTag::Finalized => self
                .markers
                .load()
                .finalized
                .map(Some)
                .ok_or_else(|| RpcError::server("finalized block not found")),
        }
    }

    /// The canonical block whose state a method is to read.
    pub(crate) fn resolve_state(&self, view: &View, id: BlockId) -> Result<BlockRef, RpcError> {
        match id {
            BlockId::Tag(tag) => {
                self.resolve_tag(view, tag)?.ok_or_else(|| RpcError::server("header not found"))
            }
            BlockId::Hash { hash, .. } => {
                let block = self.block_ref(view, &hash)?;
                let block = block.ok_or_else(|| RpcError::server("header for hash not found"))?;
                // Only canonical blocks have state, whether the caller requires one or not (EIP-1898).
                if self.canonical(view, block.number)? != Some(block) {
                    return Err(RpcError::server("hash is not currently canonical"));
                }
                Ok(block)
            }
        }
    }

    /// Number and hash of any block held.
    pub(crate) fn block_ref(&self, view: &View, hash: &B256) -> Result<Option<BlockRef>, RpcError> {
        let header = self.header(view, hash)?;
        Ok(header.map(|header| BlockRef { number: header.number, hash: *hash }))
    }

    /// Whether the store's head is the view's.
    fn is_at_head(&self, view: &View) -> bool {
        self.source.store.head().is_ok_and(|head| head == Some(view.head()))
    }

    /// How the store's chain lies to the view's.
    fn look(&self, view: &View) -> Result<Found, RpcError> {
        Found::look(&*self.source.store, view, self.overlay)
    }

    /// Starts again from what the store was found to hold.
    fn restart(&self, fresh: Fresh) -> Arc<View> {
        let epoch = self.index.begin_epoch();
        self.index.clear();
        self.publish(fresh.into_view(&self.source.store, &self.cache, epoch))
    }

    /// Puts blocks on top of the chain, after taking `reverted` (newest first) off it. They must be children of
    /// each other and of the block below. `None`, with nothing changed, when the overlay does not reach back far
    /// enough.
    fn advance(&self, view: &View, reverted: usize, blocks: &[Arc<ExecutedBlock>]) -> Option<Arc<View>> {
        if reverted > view.recent.len() || (reverted == view.recent.len() && blocks.is_empty()) {
            return None;
        }
        let mut recent: VecDeque<_> = view.recent.iter().cloned().collect();
        let mut next = view.clone();
        if reverted > 0 {
            next.epoch = self.index.begin_epoch();
            for block in recent.drain(recent.len() - reverted..).rev() {
                self.index.remove(&block);
            }
        }
        for executed in blocks {
            self.index.add(executed);
            recent.push_back(Arc::clone(executed));
        }
        let head = recent.back()?;
        next.head = Arc::clone(&head.block);
        next.head_receipts = Arc::clone(&head.receipts);
        next.total_difficulty = head.total_difficulty;
        while recent.len() > self.overlay {
            let Some(oldest) = recent.pop_front() else { break };
            let below = next.base;
            let block = oldest.block.block_ref();
            next.base = block;
            next.base_state = Arc::new(StoredState::new(Arc::clone(&self.source.store), block));
            next.base_stamp = self.cache.advance(block.number, &oldest.diff);
            self.cache.put_hash(next.base_stamp, below.number, below.hash);
            self.index.remove(&oldest);
        }
        next.recent = recent.into();
        Some(self.publish(next))
    }

    fn publish(&self, view: View) -> Arc<View> {
        let view = Arc::new(view);
        self.view.store(Arc::clone(&view));
        self.heads.send_replace(view.header().number);
        metrics::gauge!("quintet_gateway_head_number").set(view.header().number as f64);
        view
    }

    /// Takes note of the markers that `chain` keeps.
    fn set_markers(&self, safe: Option<BlockRef>, finalized: Option<BlockRef>) {
        self.markers.store(Arc::new(Markers { safe, finalized }));
    }
}
