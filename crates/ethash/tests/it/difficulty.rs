//! The difficulty of ethereum/tests, and of Ethereum Classic.

use alloy_consensus::constants::EMPTY_OMMER_ROOT_HASH;
use alloy_primitives::{B256, U256};
use quintet_chainspec::ChainSpec;
use quintet_ethash::next_difficulty;
use quintet_testkit::vectors::{archive, files};
use quintet_types::Header;
use serde_json::Value;
use std::fs;

/// The forks' fields, in order.
const FORKS: [(&str, &[&str]); 8] = [
    ("Frontier", &[]),
    ("Homestead", &["homesteadBlock"]),
    ("Byzantium", &["eip150Block", "eip155Block", "eip158Block", "byzantiumBlock"]),
    ("Constantinople", &["constantinopleBlock", "petersburgBlock"]),
    ("Berlin", &["istanbulBlock", "muirGlacierBlock", "berlinBlock"]),
    ("London", &["londonBlock"]),
    ("ArrowGlacier", &["arrowGlacierBlock"]),
    ("GrayGlacier", &["grayGlacierBlock"]),
];

fn spec(config: &str) -> ChainSpec {
    let text =
        format!(r#"{{"config": {{"chainId": 1{config}}}, "gasLimit": 1, "difficulty": 1, "alloc": {{}}}}"#);
    ChainSpec::from_json(&text).unwrap()
}

/// The fields of so many forks, all at genesis.
fn from_the_start(count: usize) -> String {
    let fields = FORKS.iter().take(count).flat_map(|(_, fields)| *fields);
    fields.fold(String::new(), |text, field| text + &format!(r#", "{field}": 0"#))
}

/// A network on which this fork is in force from the start.
fn network(fork: &str) -> ChainSpec {
    let count = 1 + FORKS.iter().position(|(name, _)| *name == fork).unwrap_or_else(|| panic!("{fork}"));
    spec(&from_the_start(count))
}

fn number(case: &Value, field: &str) -> U256 {
    case[field].as_str().unwrap_or_else(|| panic!("no {field} in {case}")).parse().unwrap()
}

fn check(spec: &ChainSpec, case: &Value, context: &str) {
    let u64 = |field| number(case, field).to::<u64>();
    let empty = ["0x00", "0x1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347"];
    let no_uncles = case["parentUncles"].as_str().is_none_or(|uncles| empty.contains(&uncles));
    let parent = Header {
        number: u64("currentBlockNumber") - 1,
        timestamp: u64("parentTimestamp"),
        difficulty: number(case, "parentDifficulty"),
        ommers_hash: if no_uncles { EMPTY_OMMER_ROOT_HASH } else { B256::repeat_byte(1) },
        ..Header::default()
    };
    let found = next_difficulty(spec, u64("currentTimestamp"), &parent);
    assert_eq!(found, number(case, "currentDifficulty"), "{context}: {case}");
}

#[test]
fn the_difficulty_tests() {
    let Some(folder) = archive("06") else { return };
    let mut count = 0;
    for path in files(&folder.join("DifficultyTests"), "json") {
        let suite: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        for forks in suite.as_object().unwrap().values() {
            for (fork, cases) in forks.as_object().unwrap().iter().filter(|(fork, _)| *fork != "_info") {
                let spec = network(fork);
                for (name, case) in cases.as_object().unwrap() {
                    check(&spec, case, &format!("{} {name}", path.display()));
                    count += 1;
                }
            }
        }
    }
    assert_eq!(count, 9299);
}

/// Older tests by network, on its schedule up to Byzantium or Constantinople.
#[test]
fn the_basic_tests() {
    let Some(folder) = archive("06") else { return };
    let frontier = "";
    let homestead = r#", "homesteadBlock": 0"#;
    let forks = |homestead: u64, byzantium: u64| {
        let fields = ["homesteadBlock", "eip150Block", "eip155Block", "eip158Block"];
        let text = format!(r#", "byzantiumBlock": {byzantium}"#);
        fields.iter().fold(text, |text, field| text + &format!(r#", "{field}": {homestead}"#))
    };
    let suites = [
        ("difficulty.json", frontier.to_owned()),
        ("difficultyCustomHomestead.json", homestead.to_owned()),
        ("difficultyCustomMainNetwork.json", forks(1_150_000, 4_370_000)),
        ("difficultyMainNetwork.json", forks(1_150_000, 4_370_000)),
        ("difficultyRopsten.json", forks(0, 1_700_000) + r#", "constantinopleBlock": 4230000"#),
    ];
    for (name, config) in suites {
        let suite = fs::read_to_string(folder.join("BasicTests").join(name)).unwrap();
        let suite: Value = serde_json::from_str(&suite).unwrap();
        let spec = spec(&config);
        assert!(!suite.as_object().unwrap().is_empty());
        // As in geth's tests, no parent is below the floor: they do not agree on whether the bomb comes before
        // it.
        let floor = U256::from(131_072);
        let cases = suite.as_object().unwrap().iter();
        for (case_name, case) in cases.filter(|(_, case)| number(case, "parentDifficulty") >= floor) {
            check(&spec, case, &format!("{name} {case_name}"));
        }
    }
}

fn bomb(spec: &ChainSpec, block: u64) -> U256 {
    // Ten seconds after its parent a block is as hard as that one, but for the bomb.
    let parent = Header {
        number: block - 1,
        difficulty: U256::from(1u64 << 40),
        ommers_hash: EMPTY_OMMER_ROOT_HASH,
        ..Header::default()
    };
    next_difficulty(spec, 10, &parent) - parent.difficulty
}

/// ECIP-1010: as at block 3,000,000 up to 5,000,000, then as two million blocks before. ECIP-1041: none from
/// 5,900,000.
#[test]
fn the_bomb_of_ethereum_classic() {
    let with = |classic: &str| spec(&format!(r#", "homesteadBlock": 1150000{classic}"#));
    let classic =
        with(r#", "ecip1010PauseBlock": 3000000, "ecip1010Length": 2000000, "disposalBlock": 5900000"#);
    let cases = [
        (2_900_000, 1u64 << 27),
        (2_999_999, 1 << 27),
        (3_000_000, 1 << 28),
        (4_999_999, 1 << 28),
        (5_000_000, 1 << 28),
        (5_099_999, 1 << 28),
        (5_100_000, 1 << 29),
        (5_899_999, 1 << 36),
        (5_900_000, 0),
        (20_000_000, 0),
    ];
    for (block, expected) in cases {
        assert_eq!(bomb(&classic, block), U256::from(expected), "{block}");
    }
    let paused = with(r#", "ecip1010PauseBlock": 3000000"#);
    assert_eq!(bomb(&paused, 9_000_000), U256::from(1u64 << 28));
}

/// A fork that only delays the bomb may be left out, and a later one holds without it.
#[test]
fn delays_of_the_bomb_are_independent() {
    let base = from_the_start(4);
    let london = r#", "istanbulBlock": 0, "berlinBlock": 0, "londonBlock": 0"#;
    let at = |rest: &str| bomb(&spec(&format!("{base}{rest}")), 12_000_000);
    assert_eq!(at(""), U256::from(1u64 << 40) << 28);
    assert_eq!(at(r#", "istanbulBlock": 0, "berlinBlock": 0"#), U256::from(1u64 << 40) << 28);
    assert_eq!(at(london), U256::from(1u64 << 21));
    assert_eq!(at(&format!(r#"{london}, "grayGlacierBlock": 0"#)), U256::from(1u64 << 4));
}

/// Values that only a hostile or broken peer sends.
#[test]
fn extremes_do_not_overflow() {
    let spec = network("GrayGlacier");
    for difficulty in [U256::ZERO, U256::ONE, U256::MAX] {
        for number in [0, u64::MAX - 1, u64::MAX] {
            for (parent_time, time) in [(0, u64::MAX), (u64::MAX, 0), (5, 5)] {
                let parent = Header { number, timestamp: parent_time, difficulty, ..Header::default() };
                assert!(next_difficulty(&spec, time, &parent) >= U256::from(131_072));
            }
        }
    }
}
