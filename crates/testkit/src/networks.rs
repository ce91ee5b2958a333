//! The networks that EIP-2124, ethereum/tests and execution-spec-tests name: `Berlin`, `FrontierToHomesteadAt5`,
//! `CancunToPragueAtTime15k`, `ArrowGlacierToParisAtDiffC0000`.

use alloy_primitives::{U256, address};
use quintet_chainspec::{BlobParams, ChainConfig, ChainSpec, EthashConfig, Genesis};

/// Sets one fork's activation.
type SetFork = fn(&mut ChainConfig, u64);

/// The forks in order, each with the names that the tests have for it.
const FORKS: [(&[&str], SetFork); 22] = [
    (&["Frontier"], |_, _| ()),
    (&["Homestead"], |config, at| config.homestead_block = Some(at)),
    (&["EIP150", "TangerineWhistle"], |config, at| config.eip150_block = Some(at)),
    (&["EIP158", "SpuriousDragon"], |config, at| {
        config.eip155_block = Some(at);
        config.eip158_block = Some(at);
    }),
    (&["Byzantium"], |config, at| config.byzantium_block = Some(at)),
    // Its successor is set aside, as an absent Petersburg would mean Constantinople's own block.
    (&["Constantinople"], |config, at| {
        config.constantinople_block = Some(at);
        config.petersburg_block = Some(u64::MAX);
    }),
    (&["ConstantinopleFix", "Petersburg"], |config, at| config.petersburg_block = Some(at)),
    (&["Istanbul"], |config, at| config.istanbul_block = Some(at)),
    (&["MuirGlacier"], |config, at| config.muir_glacier_block = Some(at)),
    (&["Berlin"], |config, at| config.berlin_block = Some(at)),
    (&["London"], |config, at| config.london_block = Some(at)),
    (&["ArrowGlacier"], |config, at| config.arrow_glacier_block = Some(at)),
    (&["GrayGlacier"], |config, at| config.gray_glacier_block = Some(at)),
    (&["Paris", "Merge"], |config, at| config.terminal_total_difficulty = Some(U256::from(at))),
    (&["Shanghai"], |config, at| config.shanghai_time = Some(at)),
    (&["Cancun"], |config, at| config.cancun_time = Some(at)),
    (&["Prague"], |config, at| config.prague_time = Some(at)),
    (&["Osaka"], |config, at| config.osaka_time = Some(at)),
    (&["BPO1"], |config, at| config.bpo1_time = Some(at)),
    (&["BPO2"], |config, at| config.bpo2_time = Some(at)),
    (&["BPO3"], |config, at| config.bpo3_time = Some(at)),
    (&["BPO4"], |config, at| config.bpo4_time = Some(at)),
];

/// The configuration of a network that the tests name, chain id 1; `None` if the name is not understood. A
/// fixture that brings its own blob schedule overrides the one here.
pub fn test_network(name: &str) -> Option<ChainConfig> {
    let mut config = ChainConfig {
        ethash: Some(EthashConfig {}),
        deposit_contract_address: Some(address!("00000000219ab540356cBB839Cbe05303d7705Fa")),
        blob_schedule: blob_schedule(),
        ..ChainConfig::default()
    };
    let Some((from, to, at)) = transition(name) else {
        activate(&mut config, 0, index(name)?, 0);
        return Some(config);
    };
    let first = index(from)?;
    activate(&mut config, 0, first, 0);
    if to == "Dao" {
        config.dao_fork_block = Some(at);
        config.dao_fork_support = true;
    } else {
        activate(&mut config, first + 1, index(to)?, at);
    }
    Some(config)
}

fn activate(config: &mut ChainConfig, first: usize, last: usize, at: u64) {
    for (_, set) in FORKS.iter().take(last + 1).skip(first) {
        set(config, at);
    }
}

fn index(name: &str) -> Option<usize> {
    FORKS.iter().position(|(names, _)| names.contains(&name))
}

/// `AToBAt5` (block), `AToBAtTime15k` (seconds), `AToBAtDiffC0000` (total difficulty, hex).
fn transition(name: &str) -> Option<(&str, &str, u64)> {
    let (from, rest) = name.split_once("To")?;
    let (to, at) = rest.split_once("At")?;
    let at = if let Some(difficulty) = at.strip_prefix("Diff") {
        u64::from_str_radix(difficulty, 16).ok()?
    } else {
        let digits = at.strip_prefix("Time").unwrap_or(at);
        match digits.strip_suffix('k') {
            Some(thousands) => thousands.parse::<u64>().ok()? * 1000,
            None => digits.parse().ok()?,
        }
    };
    Some((from, to, at))
}

fn blob_schedule() -> std::collections::BTreeMap<String, BlobParams> {
    let entry = |name: &str, target_blob_count, max_blob_count, update_fraction| {
        let params = BlobParams {
            target_blob_count,
            max_blob_count,
            update_fraction,
            max_blobs_per_tx: max_blob_count,
            ..BlobParams::cancun()
        };
        (name.to_owned(), params)
    };
    [
        entry("cancun", 3, 6, 3_338_477),
        entry("prague", 6, 9, 5_007_716),
        entry("osaka", 6, 9, 5_007_716),
        entry("bpo1", 10, 15, 8_346_193),
        entry("bpo2", 14, 21, 11_684_671),
        entry("bpo3", 21, 32, 20_609_697),
        entry("bpo4", 14, 21, 13_739_630),
    ]
    .into()
}

/// A public network as the authors of EIP-2124 knew it: without the forks after these. `None` for a name that no
/// preset has.
pub fn eip2124_network(name: &str) -> Option<ChainSpec> {
    let genesis = ChainSpec::preset(name).ok()?.genesis().clone();
    let config = genesis.config.clone()?;
    let config = ChainConfig {
        istanbul_block: config.istanbul_block.filter(|_| name != "mainnet"),
        muir_glacier_block: None,
        berlin_block: None,
        london_block: None,
        arrow_glacier_block: None,
        gray_glacier_block: None,
        merge_netsplit_block: None,
        shanghai_time: None,
        cancun_time: None,
        prague_time: None,
        osaka_time: None,
        bpo1_time: None,
        bpo2_time: None,
        ..config
    };
    ChainSpec::new(Genesis { config: Some(config), ..genesis }).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use quintet_chainspec::{ChainSpec, Fork, Genesis};

    fn spec(name: &str) -> ChainSpec {
        ChainSpec::new(Genesis { config: test_network(name), ..Genesis::default() }).unwrap()
    }

    #[test]
    fn networks_are_understood() {
        assert_eq!(spec("Constantinople").fork_at(1, 0, false), Fork::Constantinople);
        assert_eq!(spec("ConstantinopleFix").fork_at(1, 0, false), Fork::Petersburg);
        let homestead = spec("FrontierToHomesteadAt5");
        assert_eq!(homestead.fork_at(4, 0, false), Fork::Frontier);
        assert_eq!(homestead.fork_at(5, 0, false), Fork::Homestead);
        assert_eq!(spec("HomesteadToDaoAt5").dao_fork().map(|dao| dao.block), Some(5));
        let merge = spec("ArrowGlacierToParisAtDiffC0000");
        assert_eq!(merge.fork_at(1, 0, false), Fork::ArrowGlacier);
        assert_eq!(merge.terminal_total_difficulty(), Some(U256::from(0xC_0000)));
        let prague = spec("CancunToPragueAtTime15k");
        assert_eq!(prague.fork_at(1, 14_999, true), Fork::Cancun);
        assert_eq!(prague.fork_at(1, 15_000, true), Fork::Prague);
        assert_eq!(
            spec("BPO2ToBPO3AtTime15k").blob_params_at(15_000).map(|params| params.max_blob_count),
            Some(32)
        );
        assert_eq!(test_network("Verkle"), None);
    }
}
