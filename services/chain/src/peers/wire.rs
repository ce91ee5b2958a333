//! Requests and answers on the wire.

use super::Peer;
use super::rate::RequestKind as Kind;
use super::reply::Reply;
use super::{GetAccountRange, GetBlockHeaders, GetByteCodes, GetStorageRanges, GetTrieNodes};
use alloy_primitives::B256;
use bytes::Bytes;
use quintet_chain_api::WireProtocol;
use quintet_eth_wire::{EthMessage, EthMessageId, EthVersion, SnapMessage, SnapMessageId, Tagged, WireError};

/// The protocol of `snap` messages.
pub(crate) const SNAP: WireProtocol = WireProtocol::Snap(1);

/// Something to be asked of a peer.
#[derive(Clone, Debug)]
pub(crate) enum Question {
    Headers(GetBlockHeaders),
    Bodies(Vec<B256>),
    Receipts(Vec<B256>),
    NodeData(Vec<B256>),
    PooledTransactions(Vec<B256>),
    AccountRange(GetAccountRange),
    StorageRanges(GetStorageRanges),
    ByteCodes(GetByteCodes),
    TrieNodes(GetTrieNodes),
}

impl Question {
    /// What is asked for.
    pub(crate) const fn kind(&self) -> Kind {
        match self {
            Self::Headers(_) => Kind::Headers,
            Self::Bodies(_) => Kind::Bodies,
            Self::Receipts(_) => Kind::Receipts,
            Self::NodeData(_) => Kind::NodeData,
            Self::PooledTransactions(_) => Kind::PooledTransactions,
            Self::AccountRange(_) => Kind::AccountRange,
            Self::StorageRanges(_) => Kind::StorageRanges,
            Self::ByteCodes(_) => Kind::ByteCodes,
            Self::TrieNodes(_) => Kind::TrieNodes,
        }
    }

    /// The most items that an answer may have.
    pub(crate) fn most(&self) -> usize {
        match self {
            Self::Headers(request) => usize::try_from(request.limit).unwrap_or(usize::MAX),
            Self::Bodies(hashes)
            | Self::Receipts(hashes)
            | Self::NodeData(hashes)
            | Self::PooledTransactions(hashes) => hashes.len(),
            Self::ByteCodes(request) => request.hashes.len(),
            // Of a path with further ones the first is not asked for itself.
            Self::TrieNodes(request) => {
                request.paths.iter().map(|paths| paths.len().saturating_sub(1).max(1)).sum()
            }
            // Bounded by the message's size; whether it goes beyond the limit is for its proof to say.
            Self::AccountRange(_) | Self::StorageRanges(_) => usize::MAX,
        }
    }

    /// Whether the peer's protocols have it.
    pub(crate) fn is_supported(&self, peer: &Peer) -> bool {
        match self {
            Self::Headers(_) | Self::Bodies(_) => true,
            Self::Receipts(_) => peer.version.has_receipts(),
            Self::NodeData(_) => peer.version.has_node_data(),
            Self::PooledTransactions(_) => peer.version.has_pooled_transactions(),
            Self::AccountRange(_) | Self::StorageRanges(_) | Self::ByteCodes(_) | Self::TrieNodes(_) => {
                peer.snap
            }
        }
    }

    /// The message's protocol, code and RLP.
    pub(crate) fn encode(self, peer: &Peer, id: u64) -> (WireProtocol, u64, Bytes) {
        let message = match self {
            Self::Headers(body) => EthMessage::GetBlockHeaders(Tagged { id, body }),
            Self::Bodies(body) => EthMessage::GetBlockBodies(Tagged { id, body }),
            Self::Receipts(body) => EthMessage::GetReceipts(Tagged { id, body }),
            Self::NodeData(body) => EthMessage::GetNodeData(Tagged { id, body }),
            Self::PooledTransactions(body) => EthMessage::GetPooledTransactions(Tagged { id, body }),
            Self::AccountRange(request) => {
                return snap(&SnapMessage::GetAccountRange(GetAccountRange { id, ..request }));
            }
            Self::StorageRanges(request) => {
                return snap(&SnapMessage::GetStorageRanges(GetStorageRanges { id, ..request }));
            }
            Self::ByteCodes(request) => {
                return snap(&SnapMessage::GetByteCodes(GetByteCodes { id, ..request }));
            }
            Self::TrieNodes(request) => {
                return snap(&SnapMessage::GetTrieNodes(GetTrieNodes { id, ..request }));
            }
        };
        (peer.eth(), message.id().code(), message.encode(peer.version))
    }
}

fn snap(message: &SnapMessage) -> (WireProtocol, u64, Bytes) {
    (SNAP, message.id().code(), message.encode())
}

/// What an `eth` message answers.
pub(crate) const fn answers(id: EthMessageId) -> Option<Kind> {
    Some(match id {
        EthMessageId::BlockHeaders => Kind::Headers,
        EthMessageId::BlockBodies => Kind::Bodies,
        EthMessageId::Receipts => Kind::Receipts,
        EthMessageId::NodeData => Kind::NodeData,
        EthMessageId::PooledTransactions => Kind::PooledTransactions,
        _ => return None,
    })
}

/// What a `snap` message answers.
pub(crate) const fn snap_answers(id: SnapMessageId) -> Option<Kind> {
    Some(match id {
        SnapMessageId::AccountRange => Kind::AccountRange,
        SnapMessageId::StorageRanges => Kind::StorageRanges,
        SnapMessageId::ByteCodes => Kind::ByteCodes,
        SnapMessageId::TrieNodes => Kind::TrieNodes,
        _ => return None,
    })
}

/// The answer in an `eth` message that is one.
///
/// # Errors
/// When the bytes are not such a message.
pub(crate) fn decode_answer(version: EthVersion, code: u64, payload: &[u8]) -> Result<Reply, WireError> {
    Ok(match EthMessage::decode(version, code, payload)? {
        EthMessage::BlockHeaders(answer) => Reply::Headers(answer.body),
        EthMessage::BlockBodies(answer) => Reply::Bodies(answer.body),
        EthMessage::Receipts(answer) => Reply::Receipts(answer.body),
        EthMessage::NodeData(answer) => Reply::NodeData(answer.body),
        EthMessage::PooledTransactions(answer) => Reply::PooledTransactions(answer.body),
        other => Reply::Malformed(format!("{} is no answer", other.id().name())),
    })
}

/// The answer in a `snap` message that is one.
///
/// # Errors
/// When the bytes are not such a message.
pub(crate) fn decode_snap_answer(code: u64, payload: &[u8]) -> Result<Reply, WireError> {
    Ok(match SnapMessage::decode(code, payload)? {
        SnapMessage::AccountRange(answer) => Reply::AccountRange(answer),
        SnapMessage::StorageRanges(answer) => Reply::StorageRanges(answer),
        SnapMessage::ByteCodes(answer) => Reply::ByteCodes(answer.codes),
        SnapMessage::TrieNodes(answer) => Reply::TrieNodes(answer.nodes),
        other => Reply::Malformed(format!("{} is no answer", other.id().name())),
    })
}
