//! The `eth` protocol.

mod block;
mod id;
mod receipts;
mod status;
mod transactions;

pub use block::{BlockHashNumber, BlockRange, GetBlockHeaders, HashOrNumber, NewBlock};
pub use id::EthMessageId;
pub use status::{ChainStatus, Status};
pub use transactions::PooledHashes;

use crate::codec::{Budget, Fields, UNLIMITED, list, message, plain, string};
use crate::{EthVersion, ListBuilder, MAX_NODE_DATA_SERVE, MAX_RESPONSE_ITEMS, Malformed, WireError};
use alloy_consensus::TxEnvelope;
use alloy_primitives::{B256, Bytes as ByteString};
use alloy_rlp::{Decodable, Encodable, Header};
use block::read_body;
use bytes::Bytes;
use quintet_types::{Body, Receipts};

/// A request or an answer, with its id. There are no ids before `eth/66`: it is not written there, and 0 when
/// read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tagged<T> {
    /// Chosen by who asks; the answer has the same.
    pub id: u64,
    /// What is asked or answered.
    pub body: T,
}

/// A message of `eth`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EthMessage {
    /// Opens the session.
    Status(Status),
    /// Announces blocks.
    NewBlockHashes(Vec<BlockHashNumber>),
    /// Broadcasts transactions, none with blobs. A legacy one may come wrapped in a byte string, as ethereumjs sends it.
    Transactions(Vec<TxEnvelope>),
    /// Asks for headers.
    GetBlockHeaders(Tagged<GetBlockHeaders>),
    /// Headers, in the order asked for.
    BlockHeaders(Tagged<Vec<alloy_consensus::Header>>),
    /// Asks for the bodies of the blocks with these hashes.
    GetBlockBodies(Tagged<Vec<B256>>),
    /// Bodies, in the order asked for, without those that are not known.
    BlockBodies(Tagged<Vec<Body>>),
    /// Propagates a block.
    NewBlock(Box<NewBlock>),
    /// Announces transactions.
    NewPooledTransactionHashes(PooledHashes),
    /// Asks for transactions of the pool.
    GetPooledTransactions(Tagged<Vec<B256>>),
    /// Transactions, in the order asked for, without those that are not known; with their blobs.
    PooledTransactions(Tagged<Vec<TxEnvelope>>),
    /// Asks for trie nodes and codes.
    GetNodeData(Tagged<Vec<B256>>),
    /// Trie nodes and codes, in the order asked for, without those that are not known.
    NodeData(Tagged<Vec<ByteString>>),
    /// Asks for the receipts of the blocks with these hashes.
    GetReceipts(Tagged<Vec<B256>>),
    /// Receipts of blocks, in the order asked for.
    Receipts(Tagged<Vec<Receipts>>),
    /// Announces which blocks can be had.
    BlockRangeUpdate(BlockRange),
}

impl EthMessage {
    /// Its code.
    pub const fn id(&self) -> EthMessageId {
        match self {
            Self::Status(_) => EthMessageId::Status,
            Self::NewBlockHashes(_) => EthMessageId::NewBlockHashes,
            Self::Transactions(_) => EthMessageId::Transactions,
            Self::GetBlockHeaders(_) => EthMessageId::GetBlockHeaders,
            Self::BlockHeaders(_) => EthMessageId::BlockHeaders,
            Self::GetBlockBodies(_) => EthMessageId::GetBlockBodies,
            Self::BlockBodies(_) => EthMessageId::BlockBodies,
            Self::NewBlock(_) => EthMessageId::NewBlock,
            Self::NewPooledTransactionHashes(_) => EthMessageId::NewPooledTransactionHashes,
            Self::GetPooledTransactions(_) => EthMessageId::GetPooledTransactions,
            Self::PooledTransactions(_) => EthMessageId::PooledTransactions,
            Self::GetNodeData(_) => EthMessageId::GetNodeData,
            Self::NodeData(_) => EthMessageId::NodeData,
            Self::GetReceipts(_) => EthMessageId::GetReceipts,
            Self::Receipts(_) => EthMessageId::Receipts,
            Self::BlockRangeUpdate(_) => EthMessageId::BlockRangeUpdate,
        }
    }

    /// Its RLP in the form of `version`, which must have the message ([`EthMessageId::exists_in`]). A Status has
    /// the form of its own version.
    pub fn encode(&self, version: EthVersion) -> Bytes {
        match self {
            Self::Status(status) => status.encode(),
            Self::NewBlockHashes(blocks) => encode_list(blocks),
            Self::Transactions(transactions) => encode_list(transactions),
            Self::GetBlockHeaders(query) => encode_headers_query(version, query),
            Self::BlockHeaders(headers) => encode_tagged(version, headers),
            Self::BlockBodies(bodies) => encode_tagged(version, bodies),
            Self::PooledTransactions(transactions) => encode_tagged(version, transactions),
            Self::NodeData(values) => encode_tagged(version, values),
            Self::GetBlockBodies(hashes)
            | Self::GetPooledTransactions(hashes)
            | Self::GetNodeData(hashes)
            | Self::GetReceipts(hashes) => encode_tagged(version, hashes),
            Self::NewBlock(new) => {
                let mut out = Vec::new();
                NewBlock::encode_parts(&new.block, &new.total_difficulty, &mut out);
                out.into()
            }
            Self::NewPooledTransactionHashes(pooled) if version.has_typed_announcements() => {
                pooled.encode_typed().into()
            }
            Self::NewPooledTransactionHashes(pooled) => encode_list(&pooled.hashes),
            Self::Receipts(blocks) => {
                let mut list = ListBuilder::new();
                for receipts in &blocks.body {
                    list.push_receipts(version, receipts);
                }
                list.finish_with_id(wire_id(version, blocks.id))
            }
            Self::BlockRangeUpdate(range) => alloy_rlp::encode(range).into(),
        }
    }

    /// Decodes the message with this code, counted from the protocol's offset.
    ///
    /// # Errors
    /// When the version has no such message, and when the bytes are not one.
    pub fn decode(version: EthVersion, code: u64, bytes: &[u8]) -> Result<Self, WireError> {
        let id = EthMessageId::from_code(version, code).ok_or(WireError::UnknownCode {
            protocol: EthVersion::PROTOCOL,
            version: version.number(),
            code,
        })?;
        message(id.name(), bytes, |input, budget| Self::read(version, id, input, budget))
    }

    fn read(
        version: EthVersion,
        id: EthMessageId,
        input: &mut &[u8],
        budget: &mut Budget,
    ) -> Result<Self, Malformed> {
        let hashes = |input: &mut &[u8], budget: &mut Budget| {
            tagged(version, input, |input| list(input, budget, UNLIMITED, plain::<B256>))
        };
        Ok(match id {
            EthMessageId::Status => Self::Status(Status::read(version, input)?),
            EthMessageId::NewBlockHashes => {
                Self::NewBlockHashes(list(input, budget, UNLIMITED, BlockHashNumber::read)?)
            }
            EthMessageId::Transactions => {
                Self::Transactions(list(input, budget, UNLIMITED, transactions::broadcast)?)
            }
            EthMessageId::GetBlockHeaders => {
                Self::GetBlockHeaders(tagged(version, input, GetBlockHeaders::read)?)
            }
            EthMessageId::BlockHeaders => Self::BlockHeaders(tagged(version, input, |input| {
                list(input, budget, MAX_RESPONSE_ITEMS, plain)
            })?),
            EthMessageId::GetBlockBodies => Self::GetBlockBodies(hashes(input, budget)?),
            EthMessageId::BlockBodies => Self::BlockBodies(tagged(version, input, |input| {
                list(input, budget, MAX_RESPONSE_ITEMS, read_body)
            })?),
            EthMessageId::NewBlock => Self::NewBlock(Box::new(NewBlock::read(input, budget)?)),
            EthMessageId::NewPooledTransactionHashes => {
                let typed = version.has_typed_announcements();
                let read = if typed { PooledHashes::read_typed } else { PooledHashes::read_hashes };
                Self::NewPooledTransactionHashes(read(input, budget)?)
            }
            EthMessageId::GetPooledTransactions => Self::GetPooledTransactions(hashes(input, budget)?),
            EthMessageId::PooledTransactions => Self::PooledTransactions(tagged(version, input, |input| {
                list(input, budget, MAX_RESPONSE_ITEMS, transactions::pooled)
            })?),
            EthMessageId::GetNodeData => Self::GetNodeData(hashes(input, budget)?),
            EthMessageId::NodeData => Self::NodeData(tagged(version, input, |input| {
                list(input, budget, MAX_NODE_DATA_SERVE, string)
            })?),
            EthMessageId::GetReceipts => Self::GetReceipts(hashes(input, budget)?),
            EthMessageId::Receipts => Self::Receipts(tagged(version, input, |input| {
                list(input, budget, MAX_RESPONSE_ITEMS, |input, budget| {
                    receipts::read_block(version, input, budget)
                })
            })?),
            EthMessageId::BlockRangeUpdate => {
                let mut fields = Fields::open(input)?;
                let range = BlockRange::read(&mut fields)?;
                fields.end()?;
                Self::BlockRangeUpdate(range)
            }
        })
    }
}

/// The id of a request or an answer, read without the rest of it; `None` where there is none, also because the bytes
/// are no such message.
pub fn request_id(version: EthVersion, code: u64, mut bytes: &[u8]) -> Option<u64> {
    let id = EthMessageId::from_code(version, code)?;
    if !version.has_request_ids() || !id.is_request_or_answer() {
        return None;
    }
    let mut payload = Header::decode_bytes(&mut bytes, true).ok()?;
    u64::decode(&mut payload).ok()
}

/// The id as it is written.
fn wire_id(version: EthVersion, id: u64) -> Option<u64> {
    version.has_request_ids().then_some(id)
}

fn encode_list<T: Encodable>(items: &[T]) -> Bytes {
    let mut list = ListBuilder::new();
    list.extend(items);
    list.finish()
}

fn encode_tagged<T: Encodable>(version: EthVersion, items: &Tagged<Vec<T>>) -> Bytes {
    let mut list = ListBuilder::new();
    list.extend(&items.body);
    list.finish_with_id(wire_id(version, items.id))
}

fn encode_headers_query(version: EthVersion, query: &Tagged<GetBlockHeaders>) -> Bytes {
    let Some(id) = wire_id(version, query.id) else { return alloy_rlp::encode(query.body).into() };
    let mut out = Vec::with_capacity(64);
    let payload_length = id.length().saturating_add(query.body.length());
    Header { list: true, payload_length }.encode(&mut out);
    id.encode(&mut out);
    query.body.encode(&mut out);
    out.into()
}

fn tagged<'a, T>(
    version: EthVersion,
    input: &mut &'a [u8],
    read: impl FnOnce(&mut &'a [u8]) -> Result<T, Malformed>,
) -> Result<Tagged<T>, Malformed> {
    if !version.has_request_ids() {
        return Ok(Tagged { id: 0, body: read(input)? });
    }
    let mut fields = Fields::open(input)?;
    let id = fields.next()?;
    let body = read(fields.rest())?;
    fields.end()?;
    Ok(Tagged { id, body })
}
