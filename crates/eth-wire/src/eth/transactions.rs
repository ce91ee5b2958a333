//! Transactions: broadcast, announced, asked for.

use crate::Malformed;
use crate::codec::{Budget, Fields, UNLIMITED, list, plain, take_item};
use alloy_consensus::{EthereumTxEnvelope, TxEip4844Variant, TxEnvelope};
use alloy_eips::eip2718::{Decodable2718, Eip2718Error, IsTyped2718, LEGACY_TX_TYPE_ID};
use alloy_primitives::B256;
use alloy_rlp::{Encodable, Header};

/// Announced transactions. Before `eth/68` only their hashes are on the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PooledHashes {
    /// Hashes.
    pub hashes: Vec<B256>,
    /// From `eth/68` on, each transaction's type, and the length of its EIP-2718 encoding with all that comes with it.
    /// Empty before.
    pub types: Vec<u8>,
    /// See [`Self::types`].
    pub sizes: Vec<u32>,
}

impl PooledHashes {
    /// Appends one.
    pub fn push(&mut self, hash: B256, kind: u8, size: u32) {
        self.hashes.push(hash);
        self.types.push(kind);
        self.sizes.push(size);
    }

    /// The form of `eth/68`: `[types, [size…], [hash…]]` (EIP-5793).
    pub(crate) fn encode_typed(&self) -> Vec<u8> {
        let types = self.types.as_slice();
        let lengths = [types.length(), self.sizes.length(), self.hashes.length()];
        let payload_length = lengths.into_iter().fold(0, usize::saturating_add);
        let mut out = Vec::with_capacity(payload_length.saturating_add(9));
        Header { list: true, payload_length }.encode(&mut out);
        types.encode(&mut out);
        self.sizes.encode(&mut out);
        self.hashes.encode(&mut out);
        out
    }

    pub(crate) fn read_typed(input: &mut &[u8], budget: &mut Budget) -> Result<Self, Malformed> {
        let mut fields = Fields::open(input)?;
        let types = fields.bytes()?.to_vec();
        let sizes = list(fields.rest(), budget, UNLIMITED, plain::<u32>)?;
        let hashes = list(fields.rest(), budget, UNLIMITED, plain::<B256>)?;
        fields.end()?;
        if types.len() != hashes.len() || sizes.len() != hashes.len() {
            let (types, sizes, hashes) = (types.len(), sizes.len(), hashes.len());
            return Err(Malformed::Announcement { types, sizes, hashes });
        }
        Ok(Self { hashes, types, sizes })
    }

    pub(crate) fn read_hashes(input: &mut &[u8], budget: &mut Budget) -> Result<Self, Malformed> {
        let hashes = list(input, budget, UNLIMITED, plain::<B256>)?;
        Ok(Self { hashes, types: Vec::new(), sizes: Vec::new() })
    }
}

/// A transaction or receipt as lists hold it (EIP-2976): a list when legacy, else a byte string that begins with the
/// type. Stricter than alloy's own decoder, which also takes a typed one that is not wrapped.
pub(crate) fn typed<T: Decodable2718 + IsTyped2718>(
    input: &mut &[u8],
    _: &mut Budget,
) -> Result<T, Malformed> {
    if input.first().is_some_and(|first| *first >= alloy_rlp::EMPTY_LIST_CODE) {
        let mut legacy = take_item(input)?;
        return match T::fallback_decode(&mut legacy) {
            Ok(_) if !legacy.is_empty() => Err(Malformed::Surplus(legacy.len())),
            Ok(value) => Ok(value),
            Err(error) => Err(reason(error)),
        };
    }
    let payload = Header::decode_bytes(input, false)?;
    let (kind, mut fields) = payload.split_first().ok_or(alloy_rlp::Error::InputTooShort)?;
    if fields.is_empty() {
        return Err(Malformed::Rlp(alloy_rlp::Error::InputTooShort));
    }
    if *kind == LEGACY_TX_TYPE_ID || !T::is_type(*kind) {
        return Err(Malformed::TransactionType(*kind));
    }
    match T::typed_decode(*kind, &mut fields) {
        Ok(_) if !fields.is_empty() => Err(Malformed::Surplus(fields.len())),
        Ok(value) => Ok(value),
        Err(error) => Err(reason(error)),
    }
}

const fn reason(error: Eip2718Error) -> Malformed {
    match error {
        Eip2718Error::UnexpectedType(kind) => Malformed::TransactionType(kind),
        Eip2718Error::RlpError(error) => Malformed::Rlp(error),
        _ => Malformed::Rlp(alloy_rlp::Error::Custom("not a transaction")),
    }
}

/// A transaction that is broadcast. One with blobs must not be (EIP-4844). A legacy one may be wrapped as if it were
/// typed: geth refuses that, but it is how ethereumjs broadcasts them.
pub(crate) fn broadcast(input: &mut &[u8], budget: &mut Budget) -> Result<TxEnvelope, Malformed> {
    let mut wrapped = Header::decode_bytes(&mut &**input, false).unwrap_or_default();
    if wrapped.first().is_some_and(|first| *first >= alloy_rlp::EMPTY_LIST_CODE) {
        take_item(input)?;
        let transaction = typed(&mut wrapped, budget)?;
        return if wrapped.is_empty() { Ok(transaction) } else { Err(Malformed::Surplus(wrapped.len())) };
    }
    match typed(input, budget)? {
        EthereumTxEnvelope::Eip4844(blob) => Err(Malformed::BlobBroadcast(*blob.hash())),
        transaction => Ok(transaction),
    }
}

/// A transaction that was asked for. One with blobs comes with them (EIP-4844, EIP-7594).
pub(crate) fn pooled(input: &mut &[u8], budget: &mut Budget) -> Result<TxEnvelope, Malformed> {
    match typed(input, budget)? {
        EthereumTxEnvelope::Eip4844(blob) if matches!(blob.tx(), TxEip4844Variant::TxEip4844(_)) => {
            Err(Malformed::MissingSidecar(*blob.hash()))
        }
        transaction => Ok(transaction),
    }
}
