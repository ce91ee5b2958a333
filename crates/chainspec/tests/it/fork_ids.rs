//! EIP-2124's vectors, and today's fork ids of the public networks.

use alloy_primitives::hex;
use alloy_rlp::{Decodable, Encodable};
use quintet_chainspec::{ChainSpec, ForkHash, ForkId, Head, ValidationError};
use quintet_testkit::networks::eip2124_network;
use quintet_testkit::vectors::archive;
use serde_json::Value;
use std::fs;

fn fork_hash(text: &Value) -> ForkHash {
    let digits = text.as_str().unwrap().trim_start_matches("0x");
    ForkHash(u32::from_str_radix(digits, 16).unwrap().to_be_bytes())
}

fn vectors() -> Option<Value> {
    let folder = archive("09")?;
    Some(serde_json::from_str(&fs::read_to_string(folder.join("eip2124-forkid.json")).unwrap()).unwrap())
}

#[test]
fn creation() {
    let Some(vectors) = vectors() else { return };
    let cases = vectors["creation"].as_array().unwrap();
    assert!(cases.len() > 30);
    for case in cases {
        let spec = eip2124_network(case["network"].as_str().unwrap().split(' ').next().unwrap()).unwrap();
        let head = Head { number: case["head"].as_u64().unwrap(), timestamp: 0 };
        let expected = ForkId { hash: fork_hash(&case["hash"]), next: case["next"].as_u64().unwrap() };
        assert_eq!(spec.fork_id(head), expected, "{case}");
    }
}

#[test]
fn validation() {
    let Some(vectors) = vectors() else { return };
    let cases = vectors["validation"].as_array().unwrap();
    assert!(cases.len() > 10);
    let spec = eip2124_network("mainnet").unwrap();
    for case in cases {
        let head = Head { number: case["head"].as_u64().unwrap(), timestamp: 0 };
        let next = case["remote_next"].as_u64().unwrap();
        let remote = ForkId { hash: fork_hash(&case["remote_hash"]), next };
        let outcome = match spec.validate_fork_id(remote, head) {
            Ok(()) => "accept",
            Err(ValidationError::RemoteStale { .. }) => "ErrRemoteStale",
            Err(ValidationError::LocalIncompatibleOrStale { .. }) => "ErrLocalIncompatibleOrStale",
        };
        assert_eq!(outcome, case["expect"].as_str().unwrap(), "{case}");
    }
}

#[test]
fn encoding() {
    let Some(vectors) = vectors() else { return };
    for case in vectors["rlp"].as_array().unwrap() {
        let next = u64::from_str_radix(case["next"].as_str().unwrap().trim_start_matches("0x"), 16).unwrap();
        let id = ForkId { hash: fork_hash(&case["hash"]), next };
        let mut encoded = Vec::new();
        id.encode(&mut encoded);
        assert_eq!(hex::encode(&encoded), case["rlp"].as_str().unwrap());
        assert_eq!(ForkId::decode(&mut encoded.as_slice()).unwrap(), id);
    }
}

/// The ids that the networks' nodes announce (go-ethereum's and EIP texts publish them).
#[test]
fn forks_by_time() {
    let id = |network: &str, number, timestamp| {
        let id = ChainSpec::preset(network).unwrap().fork_id(Head { number, timestamp });
        (u32::from_be_bytes(id.hash.0), id.next)
    };
    // Mainnet: Gray Glacier, Shanghai, Cancun, Prague.
    assert_eq!(id("mainnet", 15_050_000, 1_681_338_454), (0xf0af_d0e3, 1_681_338_455));
    assert_eq!(id("mainnet", 20_000_000, 1_681_338_455), (0xdce9_6c2d, 1_710_338_135));
    assert_eq!(id("mainnet", 20_000_000, 1_710_338_135), (0x9f3d_2254, 1_746_612_311));
    assert_eq!(id("mainnet", 30_000_000, 1_746_612_311), (0xc376_cf8b, 1_764_798_551));
    // Sepolia: genesis, the network split, Shanghai, Cancun, Prague.
    assert_eq!(id("sepolia", 0, 0), (0xfe33_66e7, 1_735_371));
    assert_eq!(id("sepolia", 1_735_371, 0), (0xb96c_bd13, 1_677_557_088));
    assert_eq!(id("sepolia", 1_735_372, 1_677_557_088), (0xf7f9_bc08, 1_706_655_072));
    assert_eq!(id("sepolia", 1_735_372, 1_706_655_072), (0x88cf_81d9, 1_741_159_776));
    assert_eq!(id("sepolia", 1_735_372, 1_741_159_776), (0xed88_b5fd, 1_760_427_360));
    // Holesky: genesis, Shanghai, Cancun. Hoodi: genesis.
    assert_eq!(id("holesky", 0, 0), (0xc61a_6098, 1_696_000_704));
    assert_eq!(id("holesky", 123, 1_696_000_704), (0xfd4f_016b, 1_707_305_664));
    assert_eq!(id("holesky", 123, 1_707_305_664), (0x9b19_2ad0, 1_740_434_112));
    assert_eq!(id("hoodi", 0, 0), (0xbef7_1d30, 1_742_999_832));
}
