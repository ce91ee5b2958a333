//! Seals: what is hashed, how low the hash must be, and whether a header's seal holds.

use crate::cache::Cache;
use crate::dataset::Dataset;
use crate::epoch::Epoch;
use crate::error::EthashError;
use crate::hashimoto::{Hashimoto, LIGHT_BATCH, hashimoto_full, hashimoto_light, hashimoto_light_batch};
use alloy_primitives::{B256, U256, keccak256};
use alloy_rlp::Encodable;
use quintet_types::Header;

/// What a seal is checked with.
#[derive(Clone, Copy, Debug)]
pub enum Work<'a> {
    /// An epoch's cache: under a millisecond for one hash.
    Light(&'a Cache),
    /// An epoch's dataset: microseconds.
    Full(&'a Dataset),
}

impl Work<'_> {
    /// The epoch whose seals it checks.
    pub const fn epoch(&self) -> Epoch {
        match self {
            Self::Light(cache) => cache.epoch(),
            Self::Full(dataset) => dataset.epoch(),
        }
    }

    /// The hash of a seal hash and nonce.
    pub fn hashimoto(&self, seal_hash: &B256, nonce: u64) -> Hashimoto {
        match self {
            Self::Light(cache) => hashimoto_light(cache, seal_hash, nonce),
            Self::Full(dataset) => hashimoto_full(dataset, seal_hash, nonce),
        }
    }
}

/// What is sealed: the hash of the header without mix hash and nonce, with its base fee if it has one.
pub fn seal_hash(header: &Header) -> B256 {
    let fields: [&dyn Encodable; 13] = [
        &header.parent_hash,
        &header.ommers_hash,
        &header.beneficiary,
        &header.state_root,
        &header.transactions_root,
        &header.receipts_root,
        &header.logs_bloom,
        &header.difficulty,
        &header.number,
        &header.gas_limit,
        &header.gas_used,
        &header.timestamp,
        &header.extra_data,
    ];
    let base_fee = header.base_fee_per_gas.iter().map(|fee| fee as &dyn Encodable);
    let fields = fields.into_iter().chain(base_fee);
    let payload_length = fields.clone().map(Encodable::length).sum();
    let mut out = Vec::with_capacity(payload_length + 4);
    alloy_rlp::Header { list: true, payload_length }.encode(&mut out);
    fields.for_each(|field| field.encode(&mut out));
    keccak256(out)
}

/// The highest hash that is work enough for a difficulty: 2^256 divided by it.
pub fn boundary(difficulty: U256) -> B256 {
    // 2^256 - d, divided by d, is one less than 2^256 divided by d.
    let less = difficulty.wrapping_neg().checked_div(difficulty).unwrap_or(U256::MAX);
    less.saturating_add(U256::ONE).into()
}

/// Checks a header's seal with its epoch's cache or dataset. The header's number is taken as it is: a caller
/// checks it first, or bounds it by what the network can have reached, before it makes a cache for it.
///
/// # Errors
/// [`EthashError::InvalidDifficulty`], [`EthashError::InvalidMixDigest`] or [`EthashError::InvalidWork`], in
/// this order; [`EthashError::WrongEpoch`] when the cache is not the header's.
pub fn verify_seal(work: Work<'_>, header: &Header) -> Result<(), EthashError> {
    check_claim(work.epoch(), header)?;
    judge(header, work.hashimoto(&seal_hash(header), header.nonce.into()))
}

/// Checks the seals of several headers of one epoch with its cache, on this thread, several times as fast as
/// one after the other. The outcomes are in the headers' order.
pub fn verify_seals(cache: &Cache, headers: &[&Header]) -> Vec<Result<(), EthashError>> {
    let (batches, rest) = headers.as_chunks::<LIGHT_BATCH>();
    let mut outcomes = Vec::with_capacity(headers.len());
    for batch in batches {
        let seals = batch.each_ref().map(|header| (seal_hash(header), header.nonce.into()));
        let hashes = hashimoto_light_batch(cache, &seals);
        let judged = batch.iter().zip(hashes);
        outcomes.extend(
            judged.map(|(header, found)| {
                check_claim(cache.epoch(), header).and_then(|()| judge(header, found))
            }),
        );
    }
    outcomes.extend(rest.iter().map(|header| verify_seal(Work::Light(cache), header)));
    outcomes
}

fn check_claim(epoch: Epoch, header: &Header) -> Result<(), EthashError> {
    if header.number / epoch.length() != epoch.index() {
        return Err(EthashError::WrongEpoch { number: header.number, epoch });
    }
    if header.difficulty.is_zero() {
        return Err(EthashError::InvalidDifficulty);
    }
    Ok(())
}

fn judge(header: &Header, found: Hashimoto) -> Result<(), EthashError> {
    if found.mix != header.mix_hash {
        return Err(EthashError::InvalidMixDigest { have: header.mix_hash, want: found.mix });
    }
    let boundary = boundary(header.difficulty);
    if found.result > boundary {
        return Err(EthashError::InvalidWork { result: found.result, boundary });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boundaries_divide_two_to_the_256() {
        let of = |difficulty: u64| U256::from_be_bytes(boundary(U256::from(difficulty)).0);
        assert_eq!(of(1), U256::MAX);
        assert_eq!(of(2), U256::ONE << 255);
        assert_eq!(of(3), U256::MAX / U256::from(3));
        assert_eq!(of(131_072), U256::ONE << 239);
        assert_eq!(boundary(U256::MAX), B256::with_last_byte(1));
    }
}
