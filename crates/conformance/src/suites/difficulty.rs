//! Difficulty tests: the difficulty of a block from its parent's difficulty, time and uncles.

use super::json;
use crate::report::Outcome;
use crate::runner::Sink;
use alloy_consensus::EMPTY_OMMER_ROOT_HASH;
use alloy_primitives::{B256, U256};
use quintet_chainspec::{ChainConfig, ChainSpec, EthashConfig, Genesis};
use quintet_ethash::next_difficulty;
use quintet_types::Header;
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Case {
    parent_timestamp: String,
    parent_difficulty: String,
    parent_uncles: Option<String>,
    current_timestamp: String,
    current_block_number: String,
    current_difficulty: String,
}

/// The difficulty of the easiest block.
const MINIMUM: U256 = U256::from_limbs([131_072, 0, 0, 0]);
/// As in geth's runner: clients differ in whether the bomb counts towards the minimum.
const TOO_EASY: &str = "the parent is easier than any block may be";

type Cases = BTreeMap<String, Case>;

/// `DifficultyTests`: by fork, each in force from genesis.
pub(super) fn run(sink: &mut Sink<'_>) -> Result<(), String> {
    let files: BTreeMap<String, BTreeMap<String, serde_json::Value>> = json::read(&sink.bytes()?)?;
    for (name, forks) in files {
        for (fork, cases) in forks.into_iter().filter(|(fork, _)| fork != "_info") {
            let spec = json::network(&fork)?;
            let cases: Cases = serde_json::from_value(cases).map_err(|error| error.to_string())?;
            run_cases(sink, &spec, &fork, &name, &cases);
        }
    }
    Ok(())
}

/// `BasicTests/difficulty*`: on networks, by the name of the file.
pub(super) fn run_basic(sink: &mut Sink<'_>) -> Result<(), String> {
    let cases: Cases = json::read(&sink.bytes()?)?;
    let (network, spec) = match sink.stem() {
        "difficultyCustomHomestead" => ("Homestead", json::network("Homestead")?),
        "difficultyRopsten" => ("Ropsten", preset("ropsten")?),
        "difficultyMainNetwork" => ("Mainnet", preset("mainnet")?),
        // Made when Byzantium was the newest.
        "difficultyCustomMainNetwork" => ("Byzantium on mainnet", custom_mainnet()?),
        "difficulty" => ("Frontier", json::network("Frontier")?),
        other => return Err(format!("unknown network of {other}")),
    };
    run_cases(sink, &spec, network, "", &cases);
    Ok(())
}

fn preset(name: &str) -> Result<ChainSpec, String> {
    ChainSpec::preset(name).map_err(|error| error.to_string())
}

fn custom_mainnet() -> Result<ChainSpec, String> {
    let config = ChainConfig {
        ethash: Some(EthashConfig {}),
        homestead_block: Some(0),
        eip150_block: Some(0),
        eip155_block: Some(0),
        eip158_block: Some(0),
        byzantium_block: Some(4_370_000),
        ..ChainConfig::default()
    };
    json::spec(Genesis { config: Some(config), ..Genesis::default() })
}

fn run_cases(sink: &mut Sink<'_>, spec: &ChainSpec, fork: &str, prefix: &str, cases: &Cases) {
    for (name, case) in cases {
        let name = format!("{prefix} {name}");
        if !sink.samples(&name) {
            continue;
        }
        sink.case(fork, &name, |_| match json::number(&case.parent_difficulty) {
            Ok(difficulty) if difficulty < MINIMUM => Outcome::Skipped(TOO_EASY.into()),
            _ => run_case(spec, case).into(),
        });
    }
}

fn run_case(spec: &ChainSpec, case: &Case) -> Result<(), String> {
    let small = |text: &str| {
        let number = json::number(text)?;
        u64::try_from(number).map_err(|_| format!("{text} is too large"))
    };
    let parent = Header {
        number: small(&case.current_block_number)?.checked_sub(1).ok_or("no parent")?,
        timestamp: small(&case.parent_timestamp)?,
        difficulty: json::number(&case.parent_difficulty)?,
        ommers_hash: uncles_hash(case.parent_uncles.as_deref())?,
        ..Header::default()
    };
    let have = next_difficulty(spec, small(&case.current_timestamp)?, &parent);
    json::same::<U256>("difficulty", &have, &json::number(&case.current_difficulty)?)
}

/// Newer files say how many uncles there are, older ones their hash.
fn uncles_hash(text: Option<&str>) -> Result<B256, String> {
    match text {
        None | Some("0x00") => Ok(EMPTY_OMMER_ROOT_HASH),
        Some("0x01") => Ok(B256::repeat_byte(1)),
        Some(hash) => hash.parse().map_err(|_| format!("bad hash of uncles {hash}")),
    }
}
