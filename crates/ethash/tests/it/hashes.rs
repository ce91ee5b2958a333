//! Sizes, caches and hashes.

use alloy_primitives::{B256, hex, keccak256};
use alloy_rlp::Decodable;
use quintet_ethash::{
    Cache, EPOCH_LENGTH, Epoch, EthashError, Hashimoto, MAX_EPOCH, Work, hashimoto_light, seal_hash,
    verify_seal,
};
use quintet_testkit::vectors::archive;
use quintet_types::Header;
use serde_json::Value;
use std::fs;
use std::path::Path;

fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn hash(value: &Value) -> B256 {
    value.as_str().unwrap().parse().unwrap()
}

fn nonce(value: &Value) -> u64 {
    u64::from_str_radix(value.as_str().unwrap(), 16).unwrap()
}

/// The execution specs' lists.
#[test]
fn sizes_of_every_epoch() {
    let Some(folder) = archive("09") else { return };
    let caches = json(&folder.join("ethash-cache_sizes_2048_epochs.json"));
    let datasets = json(&folder.join("ethash-dataset_sizes_2048_epochs.json"));
    let (caches, datasets) = (caches.as_array().unwrap(), datasets.as_array().unwrap());
    assert_eq!((caches.len() as u64, datasets.len() as u64), (MAX_EPOCH, MAX_EPOCH));
    for (index, (cache, dataset)) in (0..).zip(caches.iter().zip(datasets)) {
        let epoch = Epoch::of_block(index * EPOCH_LENGTH).unwrap();
        let sizes = (epoch.cache_size(), epoch.dataset_size());
        assert_eq!(sizes, (cache.as_u64().unwrap(), dataset.as_u64().unwrap()), "{index}");
    }
}

/// chfast/ethash's cases. The later epochs' caches take seconds without optimisation.
#[test]
fn hashes_of_mainnet() {
    let Some(folder) = archive("09") else { return };
    let cases = json(&folder.join("ethash-hash-cases-apache.json"));
    let cases = cases.as_array().unwrap();
    assert!(cases.len() >= 3);
    let full = std::env::var_os("QUINTET_FULL").is_some();
    for case in cases.iter().take(if full { usize::MAX } else { 2 }) {
        let epoch = Epoch::of_block(case["block_number"].as_u64().unwrap()).unwrap();
        let cache = Cache::generate(epoch);
        let found = hashimoto_light(&cache, &hash(&case["header_hash"]), nonce(&case["nonce"]));
        let expected = Hashimoto { mix: hash(&case["mix_hash"]), result: hash(&case["final_hash"]) };
        assert_eq!(found, expected, "{case}");
    }
}

/// ethereum/tests' cases: headers of epoch 0, whose mix is right and whose work is too little.
#[test]
fn the_common_tests() {
    let Some(folder) = archive("06") else { return };
    let cases = json(&folder.join("PoWTests/ethash_tests.json"));
    let cases = cases.as_object().unwrap();
    assert_eq!(cases.len(), 2);
    let cache = Cache::generate(Epoch::of_block(0).unwrap());
    for (name, case) in cases {
        let epoch = cache.epoch();
        assert_eq!(epoch.seed_hash(), hash(&case["seed"]));
        assert_eq!(epoch.cache_size(), case["cache_size"].as_u64().unwrap());
        assert_eq!(epoch.dataset_size(), case["full_size"].as_u64().unwrap());
        assert_eq!(keccak256(cache.bytes()), hash(&case["cache_hash"]));
        let header = hex::decode(case["header"].as_str().unwrap()).unwrap();
        let header = Header::decode(&mut header.as_slice()).unwrap();
        assert_eq!(seal_hash(&header), hash(&case["header_hash"]), "{name}");
        let found = hashimoto_light(&cache, &seal_hash(&header), nonce(&case["nonce"]));
        assert_eq!(found, Hashimoto { mix: header.mix_hash, result: hash(&case["result"]) }, "{name}");
        let verdict = verify_seal(Work::Light(&cache), &header);
        assert!(matches!(verdict, Err(EthashError::InvalidWork { .. })), "{name}: {verdict:?}");
    }
}
