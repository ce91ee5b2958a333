//! Ethash: sizes of caches and datasets, seeds, caches and hashes.

use super::json::{self, same};
use crate::runner::Sink;
use alloy_primitives::{B64, B256, Bytes, keccak256};
use alloy_rlp::Decodable;
use quintet_ethash::{Cache, EPOCH_LENGTH, Epoch, hashimoto_light, seal_hash};
use quintet_types::Header;
use serde::Deserialize;
use std::collections::BTreeMap;

pub(super) fn run_cache_sizes(sink: &mut Sink<'_>) -> Result<(), String> {
    run_sizes(sink, Epoch::cache_size)
}

pub(super) fn run_dataset_sizes(sink: &mut Sink<'_>) -> Result<(), String> {
    run_sizes(sink, Epoch::dataset_size)
}

fn run_sizes(sink: &mut Sink<'_>, size: fn(Epoch) -> u64) -> Result<(), String> {
    let sizes: Vec<u64> = json::read(&sink.bytes()?)?;
    for (index, want) in (0..).zip(sizes) {
        let name = format!("epoch {index}");
        if sink.samples(&name) {
            sink.check("", &name, || same("size", &size(epoch(index * EPOCH_LENGTH)?), &want));
        }
    }
    Ok(())
}

fn epoch(block: u64) -> Result<Epoch, String> {
    Epoch::of_block(block).map_err(|error| error.to_string())
}

#[derive(Deserialize)]
struct HashCase {
    block_number: u64,
    header_hash: B256,
    nonce: B64,
    mix_hash: B256,
    final_hash: B256,
}

pub(super) fn run_hashes(sink: &mut Sink<'_>) -> Result<(), String> {
    let cases: Vec<HashCase> = json::read(&sink.bytes()?)?;
    for case in cases {
        let name = format!("block {}", case.block_number);
        if sink.samples(&name) {
            sink.check("", &name, || {
                let cache = Cache::generate(epoch(case.block_number)?);
                let hash = hashimoto_light(&cache, &case.header_hash, case.nonce.into());
                same("mix hash", &hash.mix, &case.mix_hash)?;
                same("result", &hash.result, &case.final_hash)
            });
        }
    }
    Ok(())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PowCase {
    nonce: B64,
    #[serde(rename = "mixHash")]
    mix_hash: B256,
    header: Bytes,
    seed: B256,
    result: B256,
    cache_size: u64,
    full_size: u64,
    header_hash: B256,
    cache_hash: B256,
}

/// `PoWTests`.
pub(super) fn run_pow(sink: &mut Sink<'_>) -> Result<(), String> {
    let cases: BTreeMap<String, PowCase> = json::read(&sink.bytes()?)?;
    for (name, case) in &cases {
        sink.check("", name, || run_pow_case(case));
    }
    Ok(())
}

fn run_pow_case(case: &PowCase) -> Result<(), String> {
    let header = Header::decode(&mut &case.header[..]).map_err(|error| error.to_string())?;
    let epoch = epoch(header.number)?;
    same("seed", &epoch.seed_hash(), &case.seed)?;
    same("size of the cache", &epoch.cache_size(), &case.cache_size)?;
    same("size of the dataset", &epoch.dataset_size(), &case.full_size)?;
    same("hash of the header", &seal_hash(&header), &case.header_hash)?;
    same("nonce of the header", &header.nonce, &case.nonce)?;
    let cache = Cache::generate(epoch);
    let bytes: Vec<u8> = cache.items().iter().flat_map(|item| item.to_bytes()).collect();
    same("hash of the cache", &keccak256(bytes), &case.cache_hash)?;
    let hash = hashimoto_light(&cache, &case.header_hash, case.nonce.into());
    same("mix hash", &hash.mix, &case.mix_hash)?;
    same("result", &hash.result, &case.result)
}
