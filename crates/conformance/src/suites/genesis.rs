//! Genesis files: the block that follows from each, by its hash.

use super::json::{self, same};
use crate::report::Outcome;
use crate::runner::Sink;
use alloy_primitives::{B256, b256, hex};
use alloy_rlp::Encodable;
use quintet_chainspec::{ChainConfig, ChainSpec, Genesis};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

fn parse(text: &str) -> Result<Genesis, String> {
    Genesis::from_json(text).map_err(|error| error.to_string())
}

fn text(bytes: Vec<u8>) -> Result<String, String> {
    String::from_utf8(bytes).map_err(|error| error.to_string())
}

fn preset(name: &str) -> Result<ChainSpec, String> {
    ChainSpec::preset(name).map_err(|error| error.to_string())
}

/// `GenesisTests`: files in cpp-ethereum's dialect, with the whole block.
pub(super) fn run_blocks(sink: &mut Sink<'_>) -> Result<(), String> {
    let cases: BTreeMap<String, Value> = json::read(&sink.bytes()?)?;
    for (name, case) in &cases {
        sink.check("", name, || {
            let mut block = Vec::new();
            parse(&case.to_string())?.block().encode(&mut block);
            same("block", &hex::encode(block).as_str(), &case["result"].as_str().unwrap_or_default())
        });
    }
    Ok(())
}

#[derive(Deserialize)]
struct MainnetHash {
    #[serde(rename = "genesis_rlp_hex")]
    block: String,
    #[serde(rename = "genesis_state_root")]
    state_root: B256,
    #[serde(rename = "genesis_hash")]
    hash: B256,
}

/// `BasicTests/genesishashestest`: mainnet.
pub(super) fn run_mainnet_hash(sink: &mut Sink<'_>) -> Result<(), String> {
    let want: MainnetHash = json::read(&sink.bytes()?)?;
    sink.check("Mainnet", "genesis", || {
        let spec = preset("mainnet")?;
        let mut block = Vec::new();
        spec.genesis_block().encode(&mut block);
        same("block", &hex::encode(block), &want.block)?;
        same("state root", &spec.genesis_header().state_root, &want.state_root)?;
        same("hash", &spec.genesis_hash(), &want.hash)
    });
    Ok(())
}

const MAINNET: B256 = b256!("d4e56740f876aef8c010b86a40d5f56745a118d0906a34e69aec8c0db1cb8fa3");
const GOERLI: B256 = b256!("bf7e331f7f7c1dd2e05159666b3bf8bc7a8a3a9eb1d518969eab529dd9b88c1a");

/// The published hash of each network's genesis block.
const NETWORKS: &[(&str, B256)] = &[
    ("mainnet", MAINNET),
    ("classic", MAINNET),
    ("goerli", GOERLI),
    ("sepolia", b256!("25a5cc106eea7138acab33231d7160d69cb777ee0c2c553fcddf5138993e6dd9")),
    ("holesky", b256!("b5f7f912443c940f21fd611f12828d75b534364ed9e95ca4e307729a4661bde4")),
    ("hoodi", b256!("bbe312868b376a3001692a646dd2d7d1e4406380dfd86b98aa8a34d1557c971b")),
    ("dev", b256!("2f980576711e3617a5e4d83dd539548ec0f7792007d505a3d2e9674833af2d7c")),
    ("kotti", b256!("14c2283285a88fe5fce9bf5c573ab03d6616695d717b12a127188bcacfc743c4")),
    ("mordor", b256!("a68ebde7932eccb177d38d55dcc6461a019dd795a681e59b5a3e4f3a7259a3f1")),
    ("rinkeby", b256!("6341fd3daf94b748c72ced5a5b26028f2474f5f00d824504e4fa37a75767e177")),
    ("ropsten", b256!("41941023680923e0fe4d74a34bdac8141f2540e3ae90623718e47d66d1ca4a2d")),
];

/// Archive 13: files of public networks, in geth's form and in Besu's.
pub(super) fn run_network(sink: &mut Sink<'_>) -> Result<(), String> {
    let network = sink.stem().to_owned();
    let listed = NETWORKS.iter().find(|(name, _)| *name == network);
    let (_, want) = *listed.ok_or_else(|| format!("no hash is known of network {network}"))?;
    let mut genesis = parse(&text(sink.bytes()?)?)?;
    sink.check(&network, "hash", || {
        // Some files leave the configuration to the client, which decides on the fields of the header.
        if genesis.config.is_none() {
            genesis.config = if network == "dev" {
                Some(all_at_genesis())
            } else {
                preset(&network)?.genesis().config.clone()
            };
        }
        same("hash", &genesis.header().hash_slow(), &want)
    });
    Ok(())
}

/// Reth's development network: every fork up to Shanghai from the start, as when its hash was published.
fn all_at_genesis() -> ChainConfig {
    json::network_config("Shanghai").unwrap_or_default()
}

/// Hive's smoke tests: the files that are named beside their hashes.
pub(super) fn run_hive(sink: &mut Sink<'_>) -> Result<(), String> {
    let expected: BTreeMap<String, B256> = json::read(&sink.bytes()?)?;
    for (file, want) in &expected {
        let text = text(sink.sibling(file)?)?;
        sink.case("", file, |_| {
            let hash = parse(&text).map(|genesis| genesis.header().hash_slow());
            Outcome::from(hash.and_then(|hash| same("hash", &hash, want)))
        });
    }
    Ok(())
}
