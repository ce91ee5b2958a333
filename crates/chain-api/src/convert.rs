//! Conversions between domain types and the contract's messages.

use crate::{ChainError, ChainUpdate, PendingVersion, PooledTransaction, StateProgress, SyncProgress, diff};
use alloy_consensus::TxEnvelope;
use alloy_eips::eip2718::{Decodable2718, Encodable2718};
use alloy_primitives::{Address, B256, U256};
use alloy_rlp::{Decodable, Encodable};
use bytes::Bytes;
use quintet_proto::{chain::v1 as proto, common::v1 as common};
use quintet_types::{
    Block, BlockDelta, BlockRef, ChainEvent, ExecutedBlock, PoolEvent, PoolTransaction, RecoveredBlock,
    TraceContext, decode_receipts, encode_receipts,
};
use std::sync::Arc;

/// RLP of a value, as message bytes.
pub fn rlp(value: &impl Encodable) -> Bytes {
    let mut out = Vec::with_capacity(value.length());
    value.encode(&mut out);
    out.into()
}

/// A value from exactly its RLP.
pub(crate) fn from_rlp<T: Decodable>(mut bytes: &[u8], what: &'static str) -> Result<T, ChainError> {
    let value = T::decode(&mut bytes).map_err(|_| ChainError::Malformed(what))?;
    if bytes.is_empty() { Ok(value) } else { Err(ChainError::Malformed(what)) }
}

/// Message form of a block's number and hash.
pub fn block_id(block: BlockRef) -> common::BlockId {
    common::BlockId { number: block.number, hash: Bytes::copy_from_slice(block.hash.as_slice()) }
}

pub(crate) fn block_ref(id: &common::BlockId) -> Result<BlockRef, ChainError> {
    Ok(BlockRef { number: id.number, hash: hash(&id.hash, "block hash")? })
}

pub(crate) fn hash(bytes: &[u8], what: &'static str) -> Result<B256, ChainError> {
    B256::try_from(bytes).map_err(|_| ChainError::Malformed(what))
}

/// A big-endian quantity of up to 32 bytes, without leading zeros.
pub fn quantity(value: U256) -> Bytes {
    value.to_be_bytes_trimmed_vec().into()
}

pub(crate) fn from_quantity(bytes: &[u8], what: &'static str) -> Result<U256, ChainError> {
    U256::try_from_be_slice(bytes).ok_or(ChainError::Malformed(what))
}

/// A block from exactly its RLP.
///
/// # Errors
/// When the bytes are not exactly one block.
pub fn block_from_bytes(bytes: &[u8]) -> Result<Block, ChainError> {
    from_rlp(bytes, "block")
}

impl From<SyncProgress> for proto::SyncProgress {
    fn from(progress: SyncProgress) -> Self {
        let SyncProgress { starting_block, current_block, highest_block, state } = progress;
        let state = (state != StateProgress::default()).then(|| state.into());
        Self { starting_block, current_block, highest_block, state }
    }
}

impl From<proto::SyncProgress> for SyncProgress {
    fn from(message: proto::SyncProgress) -> Self {
        let proto::SyncProgress { starting_block, current_block, highest_block, state } = message;
        let state = state.map(StateProgress::from).unwrap_or_default();
        Self { starting_block, current_block, highest_block, state }
    }
}

impl From<StateProgress> for proto::StateProgress {
    fn from(progress: StateProgress) -> Self {
        Self {
            accounts: progress.accounts,
            account_bytes: progress.account_bytes,
            codes: progress.codes,
            code_bytes: progress.code_bytes,
            slots: progress.slots,
            slot_bytes: progress.slot_bytes,
            healed_nodes: progress.healed_nodes,
            healed_node_bytes: progress.healed_node_bytes,
            healed_codes: progress.healed_codes,
            healed_code_bytes: progress.healed_code_bytes,
            missing_nodes: progress.missing_nodes,
            missing_codes: progress.missing_codes,
        }
    }
}

impl From<proto::StateProgress> for StateProgress {
    fn from(message: proto::StateProgress) -> Self {
        Self {
            accounts: message.accounts,
            account_bytes: message.account_bytes,
            codes: message.codes,
            code_bytes: message.code_bytes,
            slots: message.slots,
            slot_bytes: message.slot_bytes,
            healed_nodes: message.healed_nodes,
            healed_node_bytes: message.healed_node_bytes,
            healed_codes: message.healed_codes,
            healed_code_bytes: message.healed_code_bytes,
            missing_nodes: message.missing_nodes,
            missing_codes: message.missing_codes,
        }
    }
}

impl From<PendingVersion> for proto::PendingVersion {
    fn from(version: PendingVersion) -> Self {
        Self { parent_hash: Bytes::copy_from_slice(version.parent.as_slice()), pool_version: version.pool }
    }
}

/// Message form of an executed block.
pub fn executed_to_proto(executed: &ExecutedBlock) -> proto::ExecutedBlock {
    let block = &executed.block;
    let senders: Vec<u8> = block.senders.iter().flat_map(|sender| sender.0.0).collect();
    proto::ExecutedBlock {
        id: Some(block_id(block.block_ref())),
        block: rlp(&block.block),
        senders: senders.into(),
        receipts: encode_receipts(&executed.receipts).into(),
        diff: diff::encode(&executed.diff).into(),
        total_difficulty: quantity(executed.total_difficulty),
    }
}

/// An executed block from its message.
///
/// # Errors
/// When a field is not what the contract says.
pub fn executed_from_proto(message: &proto::ExecutedBlock) -> Result<ExecutedBlock, ChainError> {
    let id = message.id.as_ref().ok_or(ChainError::Malformed("executed block without id"))?;
    let block: Block = block_from_bytes(&message.block)?;
    let (senders, rest) = message.senders.as_chunks::<20>();
    if !rest.is_empty() || senders.len() != block.body.transactions.len() {
        return Err(ChainError::Malformed("senders"));
    }
    let senders = senders.iter().map(|sender| Address::from(*sender)).collect();
    let receipts = decode_receipts(&message.receipts).map_err(|_| ChainError::Malformed("receipts"))?;
    let diff = diff::decode(&message.diff).map_err(|_| ChainError::Malformed("state diff"))?;
    Ok(ExecutedBlock {
        block: Arc::new(RecoveredBlock { hash: block_ref(id)?.hash, block, senders }),
        receipts: Arc::new(receipts),
        diff: Arc::new(diff),
        total_difficulty: from_quantity(&message.total_difficulty, "total difficulty")?,
    })
}

/// Message form of a pool transaction.
pub fn pooled_to_proto(transaction: &TxEnvelope, sender: Address, pending: bool) -> proto::PoolTransaction {
    proto::PoolTransaction {
        transaction: transaction.encoded_2718().into(),
        sender: Bytes::copy_from_slice(sender.as_slice()),
        pending,
    }
}

pub(crate) fn pooled_from_proto(message: &proto::PoolTransaction) -> Result<PooledTransaction, ChainError> {
    let transaction = TxEnvelope::decode_2718_exact(&message.transaction)
        .map_err(|_| ChainError::Malformed("pool transaction"))?;
    let sender = Address::try_from(message.sender.as_ref()).map_err(|_| ChainError::Malformed("sender"))?;
    Ok(PooledTransaction { transaction, sender, pending: message.pending })
}

/// Message form of what `StreamEvents` delivers; also what an event bus between processes carries.
pub fn update_to_proto(update: &ChainUpdate) -> proto::StreamEventsResponse {
    use proto::stream_events_response::Event;
    let (trace, event) = match update {
        ChainUpdate::Chain(ChainEvent::Block(delta)) => {
            (Some(&delta.trace), Event::Block(executed_to_proto(&delta.executed)))
        }
        ChainUpdate::Chain(ChainEvent::Reverted(blocks)) => {
            let blocks = blocks.iter().copied().map(block_id).collect();
            (None, Event::Reverted(proto::Reverted { blocks }))
        }
        ChainUpdate::Pool(PoolEvent::Pending(pooled)) => {
            let message = pooled_to_proto(&pooled.transaction, pooled.sender, true);
            (Some(&pooled.trace), Event::PendingTransaction(message))
        }
        ChainUpdate::Gap(head) => (None, Event::Gap(proto::Gap { head: Some(block_id(*head)) })),
    };
    let traceparent = trace.map(|trace| trace.0.to_string()).unwrap_or_default();
    proto::StreamEventsResponse { traceparent, event: Some(event) }
}

/// What `StreamEvents` delivers, from its message.
///
/// # Errors
/// When a field is not what the contract says.
pub fn update_from_proto(message: &proto::StreamEventsResponse) -> Result<ChainUpdate, ChainError> {
    use proto::stream_events_response::Event;
    let trace = TraceContext(message.traceparent.as_str().into());
    match message.event.as_ref().ok_or(ChainError::Malformed("empty event"))? {
        Event::Block(block) => {
            let executed = executed_from_proto(block)?;
            Ok(ChainUpdate::Chain(ChainEvent::Block(Arc::new(BlockDelta { executed, trace }))))
        }
        Event::Reverted(reverted) => {
            let blocks = reverted.blocks.iter().map(block_ref).collect::<Result<_, _>>()?;
            Ok(ChainUpdate::Chain(ChainEvent::Reverted(blocks)))
        }
        Event::PendingTransaction(message) => {
            let PooledTransaction { transaction, sender, .. } = pooled_from_proto(message)?;
            let hash = *transaction.tx_hash();
            let pooled = PoolTransaction { hash, sender, transaction, trace };
            Ok(ChainUpdate::Pool(PoolEvent::Pending(Arc::new(pooled))))
        }
        Event::Gap(gap) => {
            let head = gap.head.as_ref().ok_or(ChainError::Malformed("gap without head"))?;
            Ok(ChainUpdate::Gap(block_ref(head)?))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_told_whole_and_nothing_of_a_state_where_none_is_fetched() {
        let blocks =
            SyncProgress { starting_block: 1, current_block: 2, highest_block: 3, ..SyncProgress::default() };
        let message = proto::SyncProgress::from(blocks);
        assert_eq!(message.state, None);
        assert_eq!(SyncProgress::from(message), blocks);
        let state = StateProgress {
            accounts: 4,
            account_bytes: 5,
            codes: 6,
            code_bytes: 7,
            slots: 8,
            slot_bytes: 9,
            healed_nodes: 10,
            healed_node_bytes: 11,
            healed_codes: 12,
            healed_code_bytes: 13,
            missing_nodes: 14,
            missing_codes: 15,
        };
        let progress = SyncProgress { state, ..blocks };
        assert_eq!(SyncProgress::from(proto::SyncProgress::from(progress)), progress);
    }
}
