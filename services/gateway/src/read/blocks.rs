//! Blocks and receipts, decoded and serialised once: caches of bounded size over what never changes.

use super::counts::{Kind, Origin};
use super::{Reads, View};
use crate::error::RpcError;
use crate::render;
use alloy_primitives::{B256, U256};
use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use quintet_types::{Header, Receipts, RecoveredBlock};
use std::sync::Arc;

/// What of a block is serialised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum BlockJson {
    /// With its transactions' hashes.
    Hashes,
    /// With whole transactions.
    Full,
}

#[derive(Clone)]
struct Weights;

impl Weighter<B256, Arc<RecoveredBlock>> for Weights {
    fn weight(&self, _: &B256, block: &Arc<RecoveredBlock>) -> u64 {
        1024 + block.block.body.transactions.len() as u64 * 512
    }
}

impl Weighter<B256, Arc<Receipts>> for Weights {
    fn weight(&self, _: &B256, receipts: &Arc<Receipts>) -> u64 {
        let logs: usize = receipts.iter().map(|receipt| receipt.logs().len()).sum();
        256 + receipts.len() as u64 * 384 + logs as u64 * 320
    }
}

impl Weighter<(B256, BlockJson), Bytes> for Weights {
    fn weight(&self, _: &(B256, BlockJson), json: &Bytes) -> u64 {
        128 + json.len() as u64
    }
}

/// The caches.
pub(super) struct BlockCaches {
    blocks: Cache<B256, Arc<RecoveredBlock>, Weights>,
    receipts: Cache<B256, Arc<Receipts>, Weights>,
    headers: Cache<B256, Arc<Header>>,
    json: Cache<(B256, BlockJson), Bytes, Weights>,
}

impl BlockCaches {
    /// Empty caches of about `bytes` together.
    pub(super) fn new(bytes: u64) -> Self {
        // An upper bound on entries of about a kilobyte; the caches grow as they fill.
        let headers = usize::try_from(bytes / 16 / 1024).unwrap_or(usize::MAX).max(256);
        Self {
            blocks: Cache::with_weighter(256, bytes / 4, Weights),
            receipts: Cache::with_weighter(256, bytes / 4, Weights),
            headers: Cache::new(headers),
            json: Cache::with_weighter(256, bytes / 16 * 7, Weights),
        }
    }
}

impl Reads {
    /// Any block held, with its senders.
    pub(crate) fn block(&self, view: &View, hash: &B256) -> Result<Option<Arc<RecoveredBlock>>, RpcError> {
        let held = if view.head.hash == *hash {
            Some(&view.head)
        } else {
            view.recent_by_hash(hash).map(|executed| &executed.block)
        };
        if let Some(block) = held {
            self.counts.note(Kind::Block, Origin::Overlay);
            return Ok(Some(Arc::clone(block)));
        }
        if let Some(block) = self.blocks.blocks.get(hash) {
            self.counts.note(Kind::Block, Origin::Cache);
            return Ok(Some(block));
        }
        self.counts.note(Kind::Block, Origin::Store);
        let Some(block) = self.source.store.block(hash)?.map(Arc::new) else { return Ok(None) };
        self.blocks.blocks.insert(*hash, Arc::clone(&block));
        Ok(Some(block))
    }

    /// The receipts of a block that is or once was canonical.
    pub(crate) fn receipts(&self, view: &View, hash: &B256) -> Result<Option<Arc<Receipts>>, RpcError> {
        let held = if view.head.hash == *hash {
            Some(&view.head_receipts)
        } else {
            view.recent_by_hash(hash).map(|executed| &executed.receipts)
        };
        if let Some(receipts) = held {
            self.counts.note(Kind::Receipts, Origin::Overlay);
            return Ok(Some(Arc::clone(receipts)));
        }
        if let Some(receipts) = self.blocks.receipts.get(hash) {
            self.counts.note(Kind::Receipts, Origin::Cache);
            return Ok(Some(receipts));
        }
        self.counts.note(Kind::Receipts, Origin::Store);
        let Some(receipts) = self.source.store.receipts(hash)?.map(Arc::new) else { return Ok(None) };
        self.blocks.receipts.insert(*hash, Arc::clone(&receipts));
        Ok(Some(receipts))
    }

    /// The header of any block held.
    pub(crate) fn header(&self, view: &View, hash: &B256) -> Result<Option<Arc<Header>>, RpcError> {
        if let Some(header) = self.blocks.headers.get(hash) {
            return Ok(Some(header));
        }
        let header = if view.head.hash == *hash {
            Some(view.header().clone())
        } else if let Some(executed) = view.recent_by_hash(hash) {
            Some(executed.block.header().clone())
        } else {
            self.source.store.header(hash)?
        };
        let Some(header) = header.map(Arc::new) else { return Ok(None) };
        self.blocks.headers.insert(*hash, Arc::clone(&header));
        Ok(Some(header))
    }

    /// The header of a canonical block, by its number.
    pub(crate) fn canonical_header(
        &self,
        view: &View,
        number: u64,
    ) -> Result<Option<(B256, Arc<Header>)>, RpcError> {
        let Some(block) = self.canonical(view, number)? else { return Ok(None) };
        Ok(self.header(view, &block.hash)?.map(|header| (block.hash, header)))
    }

    /// Sum of the difficulties up to and with any block held.
    pub(crate) fn total_difficulty(&self, view: &View, hash: &B256) -> Result<Option<U256>, RpcError> {
        if view.head.hash == *hash {
            return Ok(Some(view.total_difficulty));
        }
        if let Some(executed) = view.recent_by_hash(hash) {
            return Ok(Some(executed.total_difficulty));
        }
        Ok(self.source.store.total_difficulty(hash)?)
    }

    /// The object of any block held. Serialised once: a block never changes.
    pub(crate) fn block_json(
        &self,
        view: &View,
        hash: &B256,
        kind: BlockJson,
    ) -> Result<Option<Bytes>, RpcError> {
        if let Some(json) = self.blocks.json.get(&(*hash, kind)) {
            self.counts.note(Kind::Block, Origin::Cache);
            return Ok(Some(json));
        }
        let Some(block) = self.block(view, hash)? else { return Ok(None) };
        let total_difficulty = self.total_difficulty(view, hash)?;
        let mut out = Vec::with_capacity(2048);
        render::write_block(&mut out, &block, total_difficulty.as_ref(), kind == BlockJson::Full, false);
        let json = Bytes::from(out);
        self.blocks.json.insert((*hash, kind), json.clone());
        Ok(Some(json))
    }
}
