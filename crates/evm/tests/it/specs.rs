//! Chains on which one fork is active from the start.

use quintet_chainspec::ChainSpec;
use serde_json::{Map, Value, json};

/// The fork fields of a `genesis.json`, and the name that the vectors have for the fork that each brings.
const FORKS: [(&str, &str); 15] = [
    ("Homestead", "homesteadBlock"),
    ("EIP150", "eip150Block"),
    ("EIP158", "eip155Block"),
    ("EIP158", "eip158Block"),
    ("Byzantium", "byzantiumBlock"),
    ("Constantinople", "constantinopleBlock"),
    ("ConstantinopleFix", "petersburgBlock"),
    ("Istanbul", "istanbulBlock"),
    ("Berlin", "berlinBlock"),
    ("London", "londonBlock"),
    ("Paris", "terminalTotalDifficulty"),
    ("Shanghai", "shanghaiTime"),
    ("Cancun", "cancunTime"),
    ("Prague", "pragueTime"),
    ("Osaka", "osakaTime"),
];

/// A chain with id 1 that begins with this fork; proof of work before the merge.
///
/// Constantinople gets a Petersburg that never comes: without any, the schedule takes the two together.
pub(crate) fn spec(fork: &str) -> ChainSpec {
    let mut config = Map::from_iter([("chainId".to_owned(), json!(1))]);
    let last = FORKS.iter().rposition(|(name, _)| *name == fork);
    assert!(fork == "Frontier" || last.is_some(), "unknown fork {fork}");
    for (_, field) in FORKS.iter().take(last.map_or(0, |last| last + 1)) {
        config.insert((*field).to_owned(), json!(0));
    }
    if fork == "Constantinople" {
        config.insert("petersburgBlock".to_owned(), json!(u64::MAX));
    }
    config.insert("blobSchedule".to_owned(), blob_schedule());
    config.insert("ethash".to_owned(), json!({}));
    config.insert("depositContractAddress".to_owned(), json!("0x00000000219ab540356cbb839cbe05303d7705fa"));
    let genesis = json!({
        "config": Value::Object(config),
        "difficulty": "0x1",
        "gasLimit": "0x1c9c380",
        "alloc": {},
    });
    ChainSpec::from_json(&genesis.to_string()).unwrap()
}

fn blob_schedule() -> Value {
    json!({
        "cancun": { "target": 3, "max": 6, "baseFeeUpdateFraction": 3_338_477 },
        "prague": { "target": 6, "max": 9, "baseFeeUpdateFraction": 5_007_716 },
        "osaka": { "target": 6, "max": 9, "baseFeeUpdateFraction": 5_007_716 },
    })
}
