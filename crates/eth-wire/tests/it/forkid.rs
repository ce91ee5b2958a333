//! Fork ids of chains with forks by time (EIP-6122), as a status handshake checks them. Those of EIP-2124 are
//! tested with the chain specification, whose check this is.

use alloy_primitives::B256;
use quintet_chainspec::{ChainSpec, ForkHash, ForkId, Head, ValidationError};

/// Mainnet's later forks: Gray Glacier by block, the others by time.
const GRAY_GLACIER: u64 = 15_050_000;
const SHANGHAI: u64 = 1_681_338_455;
const CANCUN: u64 = 1_710_338_135;
const PRAGUE: u64 = 1_746_612_311;
const BLOCK_FORKS: [u64; 13] = [
    1_150_000,
    1_920_000,
    2_463_000,
    2_675_000,
    4_370_000,
    7_280_000,
    9_069_000,
    9_200_000,
    12_244_000,
    12_965_000,
    13_773_000,
    GRAY_GLACIER,
    SHANGHAI,
];

/// CRC-32 (IEEE) bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(
            crc ^ u32::from(*byte),
            |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 },
        )
    })
}

/// The fork hash of a chain that has passed `forks`.
fn hash(genesis: B256, forks: &[u64]) -> ForkHash {
    let mut bytes = genesis.to_vec();
    for fork in forks {
        bytes.extend_from_slice(&fork.to_be_bytes());
    }
    ForkHash(crc32(&bytes).to_be_bytes())
}

fn outcome(result: Result<(), ValidationError>) -> &'static str {
    match result {
        Ok(()) => "accept",
        Err(ValidationError::RemoteStale { .. }) => "remote is stale",
        Err(ValidationError::LocalIncompatibleOrStale { .. }) => "incompatible",
    }
}

#[test]
fn forks_by_time() {
    let spec = ChainSpec::preset("mainnet").unwrap();
    let genesis = spec.genesis_hash();
    let passed = |count: usize, more: &[u64]| hash(genesis, &[&BLOCK_FORKS[..count], more].concat());
    let (gray, shanghai) = (passed(12, &[]), passed(13, &[]));
    let (cancun, prague) = (passed(13, &[CANCUN]), passed(13, &[CANCUN, PRAGUE]));
    assert_eq!(spec.fork_id(Head { number: GRAY_GLACIER, timestamp: SHANGHAI }).hash, shanghai);
    let before = Head { number: 17_000_000, timestamp: SHANGHAI - 1 };
    let at = Head { number: 17_034_870, timestamp: SHANGHAI };
    let later = Head { number: 20_000_000, timestamp: CANCUN };
    let far = u64::MAX;
    let cases: [(&str, Head, ForkHash, u64, &str); 17] = [
        ("same, none announced", before, gray, 0, "accept"),
        ("same, ours announced", before, gray, SHANGHAI, "accept"),
        ("same, another announced that has not come", before, gray, far, "accept"),
        ("same, one by time announced that has passed here", before, gray, SHANGHAI - 1, "incompatible"),
        ("same, one by block announced that has passed here", before, gray, 16_000_000, "incompatible"),
        ("same after the fork, none announced", at, shanghai, 0, "accept"),
        ("same after the fork, a block long passed", later, cancun, 20_000_000, "incompatible"),
        ("same after the fork, a block still to come", later, cancun, 20_000_001, "accept"),
        ("remote syncs, and knows of the fork", at, gray, SHANGHAI, "accept"),
        ("remote syncs from far behind", later, passed(3, &[]), BLOCK_FORKS[3], "accept"),
        ("remote has not heard of the fork", at, gray, 0, "remote is stale"),
        ("remote expects the fork at another time", at, gray, SHANGHAI + 5, "remote is stale"),
        ("remote missed two forks", later, gray, CANCUN, "remote is stale"),
        ("we sync: remote is a fork ahead", before, shanghai, 0, "accept"),
        ("we sync: remote is three forks ahead", before, prague, 0, "accept"),
        ("remote forked at a time that we do not know", at, passed(13, &[CANCUN - 1]), 0, "incompatible"),
        ("another genesis", at, hash(B256::repeat_byte(1), &BLOCK_FORKS), 0, "incompatible"),
    ];
    for (what, head, hash, next, expected) in cases {
        assert_eq!(outcome(spec.validate_fork_id(ForkId { hash, next }, head)), expected, "{what}");
    }
}
