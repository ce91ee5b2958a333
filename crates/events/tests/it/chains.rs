//! Small chains of deltas, and pool events.

use alloy_consensus::{SignableTransaction, TxEnvelope, TxLegacy};
use alloy_primitives::{Address, B256, Signature, U256};
use quintet_types::{
    Block, BlockDelta, BlockRef, ChainEvent, ExecutedBlock, Header, PoolEvent, PoolTransaction,
    RecoveredBlock, TraceContext, Work,
};
use std::sync::Arc;

/// A block on `parent`; `branch` tells siblings apart.
pub(crate) fn child(parent: BlockRef, branch: u64) -> ChainEvent {
    let header = Header {
        number: parent.number + 1,
        parent_hash: parent.hash,
        timestamp: branch,
        ..Header::default()
    };
    let block = RecoveredBlock {
        hash: header.hash_slow(),
        block: Block { header, ..Block::default() },
        senders: Vec::new(),
    };
    let executed = ExecutedBlock {
        block: Arc::new(block),
        receipts: Arc::default(),
        diff: Arc::default(),
        total_difficulty: U256::ZERO,
    };
    ChainEvent::Block(Arc::new(BlockDelta { executed, trace: TraceContext("of the block".into()) }))
}

/// `length` blocks on `parent`, oldest first.
pub(crate) fn chain(parent: BlockRef, branch: u64, length: usize) -> Vec<ChainEvent> {
    let next = |parent: &BlockRef| child(*parent, branch);
    std::iter::successors(Some(next(&parent)), |event| Some(next(&block_ref(event)))).take(length).collect()
}

/// The block that an event adds.
pub(crate) fn block_ref(event: &ChainEvent) -> BlockRef {
    match event {
        ChainEvent::Block(delta) => delta.block_ref(),
        ChainEvent::Reverted(_) => panic!("not a block"),
    }
}

/// The revert of these blocks, given oldest first.
pub(crate) fn reverted(blocks: &[ChainEvent]) -> ChainEvent {
    ChainEvent::Reverted(blocks.iter().rev().map(block_ref).collect())
}

/// The block that the chains of these tests start from.
pub(crate) fn genesis() -> BlockRef {
    BlockRef { number: 0, hash: B256::repeat_byte(0x47) }
}

/// A pending transaction, told apart by its nonce.
pub(crate) fn pending(nonce: u64) -> PoolEvent {
    let signed = TxLegacy { nonce, ..TxLegacy::default() }.into_signed(Signature::test_signature());
    let transaction = TxEnvelope::Legacy(signed);
    PoolEvent::Pending(Arc::new(PoolTransaction {
        hash: *transaction.tx_hash(),
        sender: Address::ZERO,
        transaction,
        trace: TraceContext("of the transaction".into()),
    }))
}

/// Work on the block with this number, under this token.
pub(crate) fn work(token: u64, number: u64) -> Arc<Work> {
    let header = Header { number, parent_hash: B256::repeat_byte(1), ..Header::default() };
    let (seal_hash, trace) = (header.hash_slow(), TraceContext("of the work".into()));
    Arc::new(Work { header, seal_hash, token, trace })
}
