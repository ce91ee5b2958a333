//! How the gateway reads the chain: the overlay of recent deltas, a cache of values at the overlay's base, then
//! the store. No read asks `chain`.
//!
//! What must hold: a request reads one [`View`] from its beginning to its end, so it sees one chain; a read that
//! a reorg has overtaken fails with [`RpcError::ChainChanged`] and is run again on a newer view, see [`Reads::retry`].

#![allow(clippy::option_option, reason = "the outer: is it known here; the inner: does the account exist")]

mod base;
mod blocks;
mod follow;
mod index;
mod state;
mod view;

pub(crate) use blocks::BlockJson;
pub(crate) use follow::{follow, follow_markers};
pub(crate) use state::StateAt;
pub(crate) use view::View;

use crate::decode::{BlockId, BlockTag};
use crate::error::RpcError;
use alloy_primitives::B256;
use arc_swap::ArcSwap;
use base::BaseCache;
use blocks::BlockCaches;
use index::Index;
use quintet_store::{Store, StoreError};
use quintet_types::{BlockRef, ExecutedBlock, StateDiff};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::watch;

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

/// Everything that methods read from.
pub(crate) struct Reads {
    store: Arc<dyn Store>,
    view: ArcSwap<View>,
    markers: ArcSwap<Markers>,
    index: Index,
    cache: BaseCache,
    blocks: BlockCaches,
    heads: watch::Sender<u64>,
    overlay: usize,
}

impl Reads {
    /// Reads from `store`, whose chain must have a head. `overlay` is how many recent blocks are held, `cache` how
    /// many bytes the caches may take.
    pub(crate) fn new(store: Arc<dyn Store>, overlay: usize, cache: u64) -> Result<Self, RpcError> {
        let values = BaseCache::new(cache / 4);
        let index = Index::default();
        let view = fresh_view(&*store, &values, index.epoch())?;
        let heads = watch::Sender::new(view.head().number);
        Ok(Self {
            store,
            view: ArcSwap::from_pointee(view),
            markers: ArcSwap::default(),
            index,
            cache: values,
            blocks: BlockCaches::new(cache / 4 * 3),
            heads,
            overlay: overlay.max(1),
        })
    }

    /// The store.
    pub(crate) fn store(&self) -> &dyn Store {
        &*self.store
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
    pub(crate) fn state_at(&self, view: &Arc<View>, block: BlockRef) -> Result<StateAt<'_>, RpcError> {
        Ok(StateAt::new(self, Arc::clone(view), block)?)
    }

    /// The state after the head, without its hash being looked up again.
    pub(crate) fn state_at_head(&self, view: &Arc<View>) -> Result<StateAt<'_>, RpcError> {
        self.state_at(view, view.head())
    }

    /// The state that the pending block leaves, on the head.
    pub(crate) fn pending_state(
        &self,
        view: &Arc<View>,
        diff: Arc<StateDiff>,
    ) -> Result<StateAt<'_>, RpcError> {
        Ok(self.state_at(view, view.head())?.with_pending(diff))
    }

    /// The canonical block with this number.
    pub(crate) fn canonical(&self, view: &View, number: u64) -> Result<Option<BlockRef>, RpcError> {
        if number > view.header().number {
            return Ok(None);
        }
        let hash = match view.known_hash(number) {
            Some(hash) => Some(hash),
            None => self.store.canonical_hash(number)?,
        };
        Ok(hash.map(|hash| BlockRef { number, hash }))
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
        if let Some(executed) = view.recent_by_hash(hash) {
            return Ok(Some(executed.block.block_ref()));
        }
        let number = self.store.block_number(hash)?;
        Ok(number.map(|number| BlockRef { number, hash: *hash }))
    }

    /// Starts again from the store's head: after a start, and where deltas are missing.
    fn resync(&self) -> Result<Arc<View>, RpcError> {
        let epoch = self.index.begin_epoch();
        self.index.clear();
        Ok(self.publish(fresh_view(&*self.store, &self.cache, epoch)?))
    }

    /// Puts blocks on top of the chain, after taking `reverted` (newest first) off it. They must be children of
    /// each other and of the block below.
    fn advance(
        &self,
        view: &View,
        reverted: usize,
        blocks: &[Arc<ExecutedBlock>],
    ) -> Result<Arc<View>, RpcError> {
        let mut recent: VecDeque<_> = view.recent.iter().cloned().collect();
        let mut next = view.clone();
        if reverted > 0 {
            next.epoch = self.index.begin_epoch();
            for _ in 0..reverted {
                let Some(block) = recent.pop_back() else { return self.resync() };
                self.index.remove(block.block.header().number, &block.diff);
            }
        }
        for executed in blocks {
            self.index.add(executed.block.header().number, &executed.diff);
            recent.push_back(Arc::clone(executed));
        }
        if let Some(head) = recent.back() {
            next.head = Arc::clone(&head.block);
            next.head_receipts = Arc::clone(&head.receipts);
            next.total_difficulty = head.total_difficulty;
        } else {
            return self.resync();
        }
        while recent.len() > self.overlay {
            let Some(oldest) = recent.pop_front() else { break };
            let block = oldest.block.block_ref();
            next.base = block;
            next.base_state = Arc::from(self.store.state_at(block.number)?);
            next.base_stamp = self.cache.advance(block.number, &oldest.diff);
            self.index.remove(block.number, &oldest.diff);
        }
        next.recent = recent.into();
        Ok(self.publish(next))
    }

    fn publish(&self, view: View) -> Arc<View> {
        let view = Arc::new(view);
        self.view.store(Arc::clone(&view));
        self.heads.send_replace(view.header().number);
        view
    }

    /// Takes note of the markers that `chain` keeps.
    fn set_markers(&self, safe: Option<BlockRef>, finalized: Option<BlockRef>) {
        self.markers.store(Arc::new(Markers { safe, finalized }));
    }
}

/// The store's head, without any overlay.
fn fresh_view(store: &dyn Store, cache: &BaseCache, epoch: u64) -> Result<View, RpcError> {
    let missing = || RpcError::Unavailable("the chain has no genesis block yet".to_owned());
    let base = store.head()?.ok_or_else(missing)?;
    let base_state = Arc::from(store.state_at(base.number)?);
    let head = store.block(&base.hash)?.ok_or(StoreError::Reverted { block: base })?;
    let receipts = store.receipts(&base.hash)?.unwrap_or_default();
    let total_difficulty = store.total_difficulty(&base.hash)?.unwrap_or_default();
    Ok(View {
        head: Arc::new(head),
        head_receipts: Arc::new(receipts),
        total_difficulty,
        recent: Vec::new(),
        base,
        base_stamp: cache.reset(base.number),
        base_state,
        epoch,
    })
}
