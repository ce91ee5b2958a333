//! Answers of peers to requests, by kind.

use super::RequestError;
use super::rate::RequestKind;
use alloy_consensus::TxEnvelope;
use alloy_primitives::Bytes;
use quintet_eth_wire::{AccountRange, StorageRanges};
use quintet_types::{Body, Header, Receipts};

/// What came for a request.
#[derive(Debug)]
pub(crate) enum Reply {
    Headers(Vec<Header>),
    Bodies(Vec<Body>),
    Receipts(Vec<Receipts>),
    NodeData(Vec<Bytes>),
    PooledTransactions(Vec<TxEnvelope>),
    AccountRange(AccountRange),
    StorageRanges(StorageRanges),
    ByteCodes(Vec<Bytes>),
    TrieNodes(Vec<Bytes>),
    /// It was no answer to the request; the text says why.
    Malformed(String),
}

impl Reply {
    /// What it answers; `None` for what answers nothing.
    pub(crate) const fn kind(&self) -> Option<RequestKind> {
        Some(match self {
            Self::Headers(_) => RequestKind::Headers,
            Self::Bodies(_) => RequestKind::Bodies,
            Self::Receipts(_) => RequestKind::Receipts,
            Self::NodeData(_) => RequestKind::NodeData,
            Self::PooledTransactions(_) => RequestKind::PooledTransactions,
            Self::AccountRange(_) => RequestKind::AccountRange,
            Self::StorageRanges(_) => RequestKind::StorageRanges,
            Self::ByteCodes(_) => RequestKind::ByteCodes,
            Self::TrieNodes(_) => RequestKind::TrieNodes,
            Self::Malformed(_) => return None,
        })
    }

    /// How many things came: what throughput is counted in.
    pub(crate) fn items(&self) -> usize {
        match self {
            Self::Headers(headers) => headers.len(),
            Self::Bodies(bodies) => bodies.len(),
            Self::Receipts(receipts) => receipts.len(),
            Self::NodeData(data) | Self::ByteCodes(data) | Self::TrieNodes(data) => data.len(),
            Self::PooledTransactions(transactions) => transactions.len(),
            Self::AccountRange(range) => range.accounts.len(),
            Self::StorageRanges(ranges) => ranges.slots.iter().map(Vec::len).sum(),
            Self::Malformed(_) => 0,
        }
    }

    /// That it is not the answer which was waited for. Answers are matched by their kinds, so it takes a mistake here.
    pub(crate) fn into_error(self, kind: RequestKind) -> RequestError {
        let reason = match self {
            Self::Malformed(reason) => reason,
            other => format!("{:?} instead", other.kind()),
        };
        RequestError::Malformed { kind, reason }
    }
}
