//! Seals that were really mined.

use alloy_primitives::{U256, hex};
use alloy_rlp::{Decodable, Header as RlpHeader};
use quintet_chainspec::ChainSpec;
use quintet_ethash::{Cache, Epoch, EthashError, Work, next_difficulty, verify_seal, verify_seals};
use quintet_testkit::vectors::{archive, files};
use quintet_types::{Block, Header};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

static CACHE: LazyLock<Cache> = LazyLock::new(|| Cache::generate(Epoch::of_block(0).unwrap()));

fn verify(header: &Header) -> Result<(), EthashError> {
    verify_seal(Work::Light(&CACHE), header)
}

fn is_full() -> bool {
    std::env::var_os("QUINTET_FULL").is_some()
}

/// The headers of a file of blocks, one after the other.
fn headers(path: &Path) -> Vec<Header> {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut rest = bytes.as_slice();
    let mut headers = Vec::new();
    while !rest.is_empty() {
        let mut block = RlpHeader::decode_bytes(&mut rest, true).unwrap();
        headers.push(Header::decode(&mut block).unwrap());
    }
    headers
}

/// Headers whose seals a quick test checks.
fn sample(headers: Vec<Header>, count: usize) -> Vec<Header> {
    let step = if is_full() { 1 } else { headers.len().div_ceil(count).max(1) };
    headers.into_iter().filter(|header| header.number > 0).step_by(step).collect()
}

#[test]
fn mainnet() {
    let Some(folder) = archive("12") else { return };
    let folder = folder.join("mainnet-0-999");
    let headers = headers(&folder.join("blocks.rlp"));
    let spec = ChainSpec::preset("mainnet").unwrap();
    for (parent, header) in headers.iter().zip(headers.iter().skip(1)) {
        assert_eq!(next_difficulty(&spec, header.timestamp, parent), header.difficulty, "{}", header.number);
    }
    let mined = headers.iter().filter(|header| header.number > 0);
    let count = if is_full() { usize::MAX } else { 50 };
    let mined: Vec<Header> = mined.take(count).cloned().collect();
    for (header, outcome) in mined.iter().zip(verify_seals(&CACHE, &mined.iter().collect::<Vec<_>>())) {
        outcome.unwrap_or_else(|error| panic!("block {}: {error}", header.number));
    }
}

#[test]
fn work_that_was_not_done() {
    let Some(folder) = archive("12") else { return };
    let bad = fs::read(folder.join("mainnet-0-999/badpow-block.rlp")).unwrap();
    let bad = Block::decode(&mut bad.as_slice()).unwrap().header;
    let error = verify(&bad).unwrap_err();
    assert!(
        matches!(error, EthashError::InvalidMixDigest { .. } | EthashError::InvalidWork { .. }),
        "{error}"
    );

    let headers = headers(&folder.join("mainnet-0-999/blocks.rlp"));
    let good = headers.into_iter().find(|header| header.number == 1).unwrap();
    let refused = |header: Header| verify(&header).unwrap_err().to_string();
    let nonce = u64::from(good.nonce).wrapping_add(1).into();
    assert_eq!(refused(Header { nonce, ..good.clone() }), "invalid mix digest");
    assert_eq!(refused(Header { gas_used: 1, ..good.clone() }), "invalid mix digest");
    assert_eq!(refused(Header { difficulty: U256::ZERO, ..good.clone() }), "non-positive difficulty");
    let mut batch = vec![good.clone(); 11];
    for bad in [3, 9] {
        batch[bad].nonce = nonce;
    }
    batch[4].difficulty = U256::ZERO;
    batch[5].number = 30_000;
    let outcomes = verify_seals(&CACHE, &batch.iter().collect::<Vec<_>>()).into_iter();
    let outcomes: Vec<String> =
        outcomes.map(|o| o.map_or_else(|e| e.to_string(), |()| String::new())).collect();
    for (at, outcome) in outcomes.iter().enumerate() {
        let expected = match at {
            3 | 9 => "invalid mix digest",
            4 => "non-positive difficulty",
            5 => "block 30000 is not of epoch Epoch { length: 30000, index: 0 }",
            _ => "",
        };
        assert_eq!(outcome, expected, "{at}");
    }
    assert!(matches!(
        verify(&Header { number: 30_000, ..good }),
        Err(EthashError::WrongEpoch { number: 30_000, .. })
    ));
}

/// Single blocks of later epochs, each with a cache of its own.
#[test]
fn mainnet_later() {
    let Some(folder) = archive("12") else { return };
    let folder = folder.join("mainnet-single-blocks");
    let paths = files(&folder, "blocks");
    assert!(paths.len() >= 4);
    for header in paths.iter().flat_map(|path| headers(path)).filter(|header| header.number > 0) {
        if header.number > 1_000_000 && !is_full() {
            continue;
        }
        let cache = Cache::generate(Epoch::of_block(header.number).unwrap());
        verify_seal(Work::Light(&cache), &header)
            .unwrap_or_else(|error| panic!("{}: {error}", header.number));
    }
}

/// Chains that clients mined for their own tests.
#[test]
fn test_chains() {
    let chains = [
        ("11", "chain-data/testBlockchain.blocks"),
        ("11", "chain-data/hive/testBlockchain.blocks"),
        ("14", "core-geth-foundation-condense-state/export.rlp"),
    ];
    for (number, name) in chains {
        let Some(folder) = archive(number) else { continue };
        // One of the chains goes on by proof of stake.
        let mined = headers(&folder.join(name)).into_iter().filter(|header| !header.difficulty.is_zero());
        let sample = sample(mined.collect(), 8);
        assert!(!sample.is_empty());
        for header in sample {
            verify(&header).unwrap_or_else(|error| panic!("{name}, block {}: {error}", header.number));
        }
    }
}

/// The blocks of ethereum/tests that were sealed, and are meant to be good.
#[test]
fn blockchain_tests() {
    let Some(folder) = archive("03") else { return };
    let mut mined = Vec::new();
    for path in files(&folder, "json") {
        let tests: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        for test in tests.as_object().unwrap().values().filter(|test| test["sealEngine"] == "Ethash") {
            let blocks = test["blocks"].as_array().unwrap().iter();
            let good = blocks.filter(|block| block.get("blockHeader").is_some());
            mined.extend(good.map(|block| {
                let bytes = hex::decode(block["rlp"].as_str().unwrap()).unwrap();
                Block::decode(&mut bytes.as_slice()).unwrap().header
            }));
        }
    }
    assert!(mined.len() > 10, "{}", mined.len());
    for header in sample(mined, 40) {
        verify(&header).unwrap_or_else(|error| panic!("{} {}: {error}", header.number, header.hash_slow()));
    }
}
