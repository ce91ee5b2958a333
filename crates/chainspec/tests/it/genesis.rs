//! Genesis hashes: of public networks, of hive's and execution-apis' chains, of ethereum/tests.

use alloy_primitives::{B256, b256, hex};
use alloy_rlp::{Decodable, Encodable};
use quintet_chainspec::{ChainSpec, ChainSpecError, Consensus, Genesis};
use quintet_testkit::vectors::archive;
use quintet_types::Header;
use serde_json::Value;
use std::fs;
use std::path::Path;

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn genesis(path: &Path) -> Genesis {
    Genesis::from_json(&read(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The header of the first block of a file of blocks, one RLP list after the other.
fn first_header(path: &Path) -> Header {
    let bytes = fs::read(path).unwrap();
    let mut payload = alloy_rlp::Header::decode_bytes(&mut bytes.as_slice(), true).unwrap();
    Header::decode(&mut payload).unwrap()
}

#[test]
fn public_networks() {
    let Some(folder) = archive("13") else { return };
    let expected = [
        (
            "geth-format/mainnet.json",
            b256!("d4e56740f876aef8c010b86a40d5f56745a118d0906a34e69aec8c0db1cb8fa3"),
        ),
        (
            "geth-format/goerli.json",
            b256!("bf7e331f7f7c1dd2e05159666b3bf8bc7a8a3a9eb1d518969eab529dd9b88c1a"),
        ),
        (
            "geth-format/goerli.genesis",
            b256!("bf7e331f7f7c1dd2e05159666b3bf8bc7a8a3a9eb1d518969eab529dd9b88c1a"),
        ),
        (
            "geth-format/sepolia.json",
            b256!("25a5cc106eea7138acab33231d7160d69cb777ee0c2c553fcddf5138993e6dd9"),
        ),
        (
            "geth-format/holesky.json",
            b256!("b5f7f912443c940f21fd611f12828d75b534364ed9e95ca4e307729a4661bde4"),
        ),
        ("geth-format/hoodi.json", b256!("bbe312868b376a3001692a646dd2d7d1e4406380dfd86b98aa8a34d1557c971b")),
        (
            "besu-format/classic.json",
            b256!("d4e56740f876aef8c010b86a40d5f56745a118d0906a34e69aec8c0db1cb8fa3"),
        ),
        (
            "besu-format/goerli.json",
            b256!("bf7e331f7f7c1dd2e05159666b3bf8bc7a8a3a9eb1d518969eab529dd9b88c1a"),
        ),
        ("besu-format/kotti.json", b256!("14c2283285a88fe5fce9bf5c573ab03d6616695d717b12a127188bcacfc743c4")),
        (
            "besu-format/mordor.json",
            b256!("a68ebde7932eccb177d38d55dcc6461a019dd795a681e59b5a3e4f3a7259a3f1"),
        ),
        (
            "besu-format/rinkeby.json",
            b256!("6341fd3daf94b748c72ced5a5b26028f2474f5f00d824504e4fa37a75767e177"),
        ),
        (
            "besu-format/ropsten.json",
            b256!("41941023680923e0fe4d74a34bdac8141f2540e3ae90623718e47d66d1ca4a2d"),
        ),
    ];
    for (file, hash) in expected {
        let mut genesis = genesis(&folder.join(file));
        // The files of networks whose first header has a base fee lack the configuration that says so.
        if genesis.config.is_none() {
            let network = Path::new(file).file_stem().unwrap().to_str().unwrap();
            genesis.config = ChainSpec::preset(network).unwrap().genesis().config.clone();
        }
        assert_eq!(genesis.header().hash_slow(), hash, "{file}");
    }
}

/// Some files carry their state root. (Sepolia's copy carries another network's: its hash above is the proof.)
#[test]
fn state_roots_in_the_files() {
    let Some(folder) = archive("13") else { return };
    for file in ["mainnet", "goerli", "holesky"] {
        let path = folder.join(format!("geth-format/{file}.json"));
        let listed: Value = serde_json::from_str(&read(&path)).unwrap();
        let root: B256 = serde_json::from_value(listed["stateRoot"].clone()).unwrap();
        assert_eq!(genesis(&path).state_root(), root, "{file}");
    }
}

/// The embedded accounts are those of the published files, account by account.
#[test]
fn presets_hold_the_published_accounts() {
    let Some(folder) = archive("13") else { return };
    for (network, file) in [
        ("mainnet", "geth-format/mainnet.json"),
        ("sepolia", "geth-format/sepolia.json"),
        ("holesky", "geth-format/holesky.json"),
        ("hoodi", "geth-format/hoodi.json"),
        ("goerli", "geth-format/goerli.json"),
        ("ropsten", "besu-format/ropsten.json"),
        ("rinkeby", "besu-format/rinkeby.json"),
    ] {
        let preset = ChainSpec::preset(network).unwrap();
        assert_eq!(preset.genesis().alloc, genesis(&folder.join(file)).alloc, "{network}");
    }
}

#[test]
fn hive_chains() {
    let Some(folder) = archive("14") else { return };
    let smoke = folder.join("hive-smoke-genesis");
    let expected: Value = serde_json::from_str(&read(&smoke.join("expected-hashes.json"))).unwrap();
    let expected = expected.as_object().unwrap();
    assert_eq!(expected.len(), 2);
    for (file, hash) in expected {
        let genesis = genesis(&smoke.join(file));
        assert_eq!(genesis.header().hash_slow().to_string(), hash.as_str().unwrap(), "{file}");
        assert!(matches!(ChainSpec::new(genesis), Err(ChainSpecError::NoConfig)));
    }
    for (chain, file, blocks) in [
        ("hive-simplechain", "genesis.json", "chain.rlp"),
        ("core-geth-foundation-condense-state", "foundation.conf.json", "export.rlp"),
    ] {
        let spec = ChainSpec::from_json(&read(&folder.join(chain).join(file))).unwrap();
        assert_eq!(spec.consensus(), Consensus::Ethash);
        let first = first_header(&folder.join(chain).join(blocks));
        let first = if first.number == 0 { first.hash_slow() } else { first.parent_hash };
        assert_eq!(spec.genesis_hash(), first, "{chain}");
    }
}

#[test]
fn execution_apis_chains() {
    let Some(folder) = archive("10") else { return };
    for chain in ["tests-7474e630-premerge-pow", "tests-50d1e5e0-osaka"] {
        let spec = ChainSpec::from_json(&read(&folder.join(chain).join("genesis.json"))).unwrap();
        let recorded = read(&folder.join(chain).join("debug_getRawBlock/get-genesis.io"));
        let answer = recorded.lines().find_map(|line| line.strip_prefix("<< ")).unwrap();
        let answer: Value = serde_json::from_str(answer).unwrap();
        let mut block = Vec::new();
        spec.genesis_block().encode(&mut block);
        assert_eq!(hex::encode_prefixed(block), answer["result"].as_str().unwrap(), "{chain}");
        let again = Genesis::from_json(&spec.genesis().to_json().unwrap()).unwrap();
        assert_eq!(&again, spec.genesis(), "{chain}");
    }
}

#[test]
fn clique_chains() {
    if let Some(folder) = archive("20") {
        let spec = ChainSpec::from_json(&read(&folder.join("genesis.json"))).unwrap();
        assert_eq!(spec.consensus(), Consensus::Clique { period: 1, epoch: 40 });
        let first = first_header(&folder.join("chain.rlp"));
        let first = if first.number == 0 { first.hash_slow() } else { first.parent_hash };
        assert_eq!(spec.genesis_hash(), first);
    }
    let Some(folder) = archive("12") else { return };
    let folder = folder.join("besu-clique-5-blocks");
    let spec = ChainSpec::from_json(&read(&folder.join("clique_to_pos.json"))).unwrap();
    assert_eq!(spec.consensus(), Consensus::Clique { period: 10, epoch: 30_000 });
    let first = first_header(&folder.join("clique.blocks"));
    assert_eq!(spec.genesis_hash(), if first.number == 0 { first.hash_slow() } else { first.parent_hash });
    let mut unsigned = spec.genesis().clone();
    unsigned.extra_data = vec![0; 96].into();
    assert_eq!(ChainSpec::new(unsigned).unwrap_err().to_string(), "can't start clique chain without signers");
}

#[test]
fn ethereum_tests() {
    let Some(folder) = archive("06") else { return };
    let cases: Value =
        serde_json::from_str(&read(&folder.join("GenesisTests/basic_genesis_tests.json"))).unwrap();
    let cases = cases.as_object().unwrap();
    assert_eq!(cases.len(), 3);
    for (name, case) in cases {
        let genesis = Genesis::from_json(&case.to_string()).unwrap();
        let mut block = Vec::new();
        genesis.block().encode(&mut block);
        assert_eq!(hex::encode(block), case["result"].as_str().unwrap(), "{name}");
    }
}
