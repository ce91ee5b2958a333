//! What goes over the event bus: block deltas and pool events, which `chain` publishes, and the leading miner's work, each
//! with the trace that caused it.

use crate::{BlockRef, ExecutedBlock, Header};
use alloy_consensus::TxEnvelope;
use alloy_primitives::{Address, B256};
use std::sync::Arc;

/// The W3C trace context of the work that caused something, as its `traceparent` header value; empty when
/// that work was not traced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceContext(pub Arc<str>);

/// One canonical block, hash-chained to the one before by its header's parent hash: a consumer that does not
/// hold the parent has missed something, and resyncs from the store.
#[derive(Clone, Debug)]
pub struct BlockDelta {
    /// The block, its receipts and what it changed. Already committed when the delta is published.
    pub executed: ExecutedBlock,
    /// The trace of the block's import.
    pub trace: TraceContext,
}

impl BlockDelta {
    /// The block's number and hash.
    pub fn block_ref(&self) -> BlockRef {
        self.executed.block.block_ref()
    }
}

/// A change of the canonical chain.
#[derive(Clone, Debug)]
pub enum ChainEvent {
    /// A block was added on top of the head.
    Block(Arc<BlockDelta>),
    /// These blocks, newest first, left the canonical chain; the blocks that replace them follow.
    Reverted(Arc<[BlockRef]>),
}

/// A transaction in the pool.
#[derive(Clone, Debug)]
pub struct PoolTransaction {
    /// The transaction's hash.
    pub hash: B256,
    /// Its recovered sender.
    pub sender: Address,
    /// The transaction in its pooled form: a blob transaction with its sidecar.
    pub transaction: TxEnvelope,
    /// The trace that brought it.
    pub trace: TraceContext,
}

/// A change of the pool that others hear of.
#[derive(Clone, Debug)]
pub enum PoolEvent {
    /// The transaction became executable on the head.
    Pending(Arc<PoolTransaction>),
}

/// What the leading miner prepares: a block without its seal. It is all that another replica needs to search for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    /// The block's header. What the seal fills in is not filled in yet.
    pub header: Header,
    /// What the seal is over.
    pub seal_hash: B256,
    /// The leader's fencing token, which only grows from leader to leader; 0 where there is one miner.
    pub token: u64,
    /// The trace of its publication, which is part of the block's.
    pub trace: TraceContext,
}

impl Work {
    /// The block that it is built on.
    pub const fn parent(&self) -> BlockRef {
        BlockRef { number: self.header.number.saturating_sub(1), hash: self.header.parent_hash }
    }
}
