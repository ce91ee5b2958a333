//! One header for each rule, which breaks that rule alone.

use crate::network::{Network, Signer};
use alloy_primitives::{Address, B64, B256, Bytes, U256};
use proptest::prelude::*;
use quintet_clique::{
    CliqueError, EXTRA_SEAL, EXTRA_VANITY, NONCE_AUTHORIZE, NONCE_DROP, Proposals, seal_hash,
};
use quintet_types::Header;

const PERIOD: u64 = 5;
const EPOCH: u64 = 4;

/// Three signers and a chain of `blocks` blocks, each by the one whose turn it was.
fn network(blocks: usize) -> (Network, Vec<Signer>) {
    let signers = Signer::many(3);
    let mut network = Network::new(PERIOD, EPOCH, signers.iter().map(|signer| signer.address));
    for number in 1..=blocks {
        network.extend(&signers[number % 3]);
    }
    (network, signers)
}

/// The error of a header that `spoil` made wrong before it was sealed.
fn error(blocks: usize, spoil: impl FnOnce(&mut Header)) -> String {
    let (network, signers) = network(blocks);
    let signer = &signers[(blocks + 1) % 3];
    let mut header = network.prepared(signer, &Proposals::new());
    assert_eq!(network.check(&network.sealed(header.clone(), signer)).unwrap(), signer.address);
    spoil(&mut header);
    let header = network.sealed(header, signer);
    network.check(&header).expect_err("it is wrong").to_string()
}

fn extra_error(blocks: usize, spoil: impl FnOnce(&mut Vec<u8>)) -> String {
    error(blocks, |header| {
        let mut extra = header.extra_data.to_vec();
        spoil(&mut extra);
        header.extra_data = extra.into();
    })
}

/// Blocks before an ordinary one, and before a checkpoint.
const ORDINARY: usize = 2;
const CHECKPOINT: usize = 3;

#[test]
fn votes() {
    let nonce = |nonce| move |header: &mut Header| header.nonce = nonce;
    assert_eq!(error(ORDINARY, nonce(B64::repeat_byte(1))), "vote nonce not 0x00..0 or 0xff..f");
    assert_eq!(error(CHECKPOINT, nonce(B64::repeat_byte(1))), "vote nonce not 0x00..0 or 0xff..f");
    assert_eq!(error(CHECKPOINT, nonce(NONCE_AUTHORIZE)), "vote nonce in checkpoint block non-zero");
    let beneficiary = |header: &mut Header| header.beneficiary = Signer::named("someone").address;
    assert_eq!(error(CHECKPOINT, beneficiary), "beneficiary in checkpoint block non-zero");
}

#[test]
fn extra_data() {
    let (network, signers) = network(ORDINARY);
    let header = network.prepared(&signers[0], &Proposals::new());
    for (length, expected) in [
        (0, "extra-data 32 byte vanity prefix missing"),
        (EXTRA_VANITY - 1, "extra-data 32 byte vanity prefix missing"),
        (EXTRA_VANITY, "extra-data 65 byte signature suffix missing"),
        (EXTRA_VANITY + EXTRA_SEAL - 1, "extra-data 65 byte signature suffix missing"),
    ] {
        let header = Header { extra_data: vec![0; length].into(), ..header.clone() };
        assert_eq!(network.check(&header).unwrap_err().to_string(), expected);
    }
    let short = Header { extra_data: vec![0; EXTRA_SEAL - 1].into(), ..header };
    let missing = "extra-data 65 byte signature suffix missing";
    assert_eq!(network.clique.recover_signer(&short).unwrap_err().to_string(), missing);
    assert_eq!(seal_hash(&short).unwrap_err().to_string(), missing);
}

#[test]
fn lists_of_signers() {
    let insert = |count: usize| {
        move |extra: &mut Vec<u8>| {
            extra.splice(EXTRA_VANITY..EXTRA_VANITY, vec![0xff; count]);
        }
    };
    let remove = |from: usize| {
        move |extra: &mut Vec<u8>| {
            extra.drain(from..from + 20);
        }
    };
    assert_eq!(extra_error(ORDINARY, insert(20)), "non-checkpoint block contains extra signer list");
    assert_eq!(extra_error(ORDINARY, insert(1)), "non-checkpoint block contains extra signer list");
    assert_eq!(extra_error(CHECKPOINT, insert(1)), "invalid signer list on checkpoint block");
    let mismatching = "mismatching signer list on checkpoint block";
    assert_eq!(extra_error(CHECKPOINT, insert(20)), mismatching);
    assert_eq!(extra_error(CHECKPOINT, remove(EXTRA_VANITY)), mismatching);
    assert_eq!(extra_error(CHECKPOINT, remove(EXTRA_VANITY + 40)), mismatching);
    let turn = |extra: &mut Vec<u8>| extra[EXTRA_VANITY..EXTRA_VANITY + 60].rotate_left(20);
    assert_eq!(extra_error(CHECKPOINT, turn), mismatching);
}

#[test]
fn fields_that_mean_nothing_here() {
    let mix = |header: &mut Header| header.mix_hash = B256::with_last_byte(1);
    assert_eq!(error(ORDINARY, mix), "non-zero mix digest");
    let uncles = |header: &mut Header| header.ommers_hash = B256::ZERO;
    assert_eq!(error(ORDINARY, uncles), "non empty uncle hash");
}

#[test]
fn difficulty() {
    let difficulty = |value: u64| move |header: &mut Header| header.difficulty = U256::from(value);
    assert_eq!(error(ORDINARY, difficulty(0)), "invalid difficulty");
    assert_eq!(error(ORDINARY, difficulty(3)), "invalid difficulty");
    assert_eq!(error(ORDINARY, difficulty(1)), "wrong difficulty");
    // Out of turn, though it says that it is.
    let (network, signers) = network(ORDINARY);
    let header = network.prepared(&signers[1], &Proposals::new());
    assert_eq!(header.difficulty, U256::from(1));
    network.check(&network.sealed(header.clone(), &signers[1])).unwrap();
    let header = network.sealed(Header { difficulty: U256::from(2), ..header }, &signers[1]);
    assert_eq!(network.check(&header).unwrap_err().to_string(), "wrong difficulty");
}

#[test]
fn time() {
    assert_eq!(error(ORDINARY, |header| header.timestamp -= 1), "invalid timestamp");
    let later = |header: &mut Header| header.timestamp += 1;
    let (network, signers) = network(ORDINARY);
    let mut header = network.prepared(&signers[0], &Proposals::new());
    later(&mut header);
    network.check(&network.sealed(header, &signers[0])).unwrap();
}

#[test]
fn signers() {
    let (network, signers) = network(ORDINARY);
    let error = |signer: &Signer| {
        let header = network.sealed(network.prepared(signer, &Proposals::new()), signer);
        let refused = network.check(&header).unwrap_err();
        // What is refused cannot be applied either.
        let applied = network.clique.apply(&network.snapshot(), &[header]).unwrap_err();
        assert_eq!(applied.to_string(), refused.to_string());
        refused.to_string()
    };
    assert_eq!(error(&Signer::named("someone")), "unauthorized signer");
    assert_eq!(error(&signers[2]), "recently signed");
}

/// The second block of a network of five, by the signer of the first.
#[test]
fn the_first_blocks_are_no_exception_to_recently_signed() {
    let signers = Signer::many(5);
    let mut network = Network::new(PERIOD, EPOCH, signers.iter().map(|signer| signer.address));
    network.extend(&signers[1]);
    let header = network.sealed(network.prepared(&signers[1], &Proposals::new()), &signers[1]);
    assert_eq!(network.check(&header).unwrap_err().to_string(), "recently signed");
}

#[test]
fn seals() {
    let (network, signers) = network(ORDINARY);
    let sealed = network.sealed(network.prepared(&signers[0], &Proposals::new()), &signers[0]);
    let with = |spoil: fn(&mut [u8])| {
        let mut extra = sealed.extra_data.to_vec();
        spoil(&mut extra[EXTRA_VANITY..]);
        let header = Header { extra_data: Bytes::from(extra), ..sealed.clone() };
        network.check(&header).unwrap_err().to_string()
    };
    assert_eq!(with(|seal| seal[64] = 4), "invalid signature recovery id");
    assert_eq!(with(|seal| seal[64] = 27), "invalid signature recovery id");
    assert_eq!(with(|seal| seal[..64].fill(0)), "recovery failed");
    assert_eq!(with(|seal| seal[..64].fill(0xff)), "recovery failed");
    // Another's signature, or that of another header, is that of nobody who may sign.
    assert_eq!(with(|seal| seal[64] ^= 1), "unauthorized signer");
    let stolen = Header { gas_limit: 1, ..sealed.clone() };
    assert_eq!(network.check(&stolen).unwrap_err().to_string(), "unauthorized signer");
}

#[test]
fn ancestors() {
    let (network, signers) = network(ORDINARY);
    let sealed = network.sealed(network.prepared(&signers[0], &Proposals::new()), &signers[0]);
    let orphan = Header { parent_hash: B256::ZERO, ..sealed.clone() };
    let jump = Header { number: 9, ..sealed };
    let snapshot = network.snapshot();
    for header in [&orphan, &jump] {
        let refused = network.clique.check_seal(header, &snapshot).unwrap_err();
        assert!(matches!(refused, CliqueError::UnknownAncestor), "{refused}");
        let refused = network.clique.apply(&snapshot, std::slice::from_ref(header)).unwrap_err();
        assert!(matches!(refused, CliqueError::InvalidVotingChain), "{refused}");
    }
    let genesis = crate::network::genesis([signers[0].address]);
    let refused = network.clique.check_seal(&genesis, &snapshot).unwrap_err();
    assert_eq!(refused.to_string(), "unknown block");
}

/// The seal hash is that of the header as it was before it was sealed, whatever the fork.
#[test]
fn seal_hashes_cover_the_fields_of_later_forks() {
    let (network, signers) = network(ORDINARY);
    let header = network.prepared(&signers[0], &Proposals::new());
    let london = Header { base_fee_per_gas: Some(7), ..header.clone() };
    assert_ne!(seal_hash(&header).unwrap(), seal_hash(&london).unwrap());
    let unsealed = Header { extra_data: vec![0; EXTRA_VANITY].into(), ..london.clone() };
    assert_eq!(seal_hash(&london).unwrap(), unsealed.hash_slow());
    assert_eq!(seal_hash(&network.sealed(london.clone(), &signers[0])).unwrap(), seal_hash(&london).unwrap());
}

prop_compose! {
    /// A header on the chain's tip, right or wrong in what clique looks at.
    fn any_header()(
        number in prop_oneof![4 => Just(3u64), 1 => any::<u64>()],
        nonce in prop_oneof![Just(NONCE_AUTHORIZE), Just(NONCE_DROP), Just(B64::with_last_byte(1))],
        beneficiary in prop_oneof![Just(Address::ZERO), Just(Address::repeat_byte(1))],
        difficulty in 0..4u64,
        seconds in 0..2 * PERIOD,
        extra in prop_oneof![
            4 => Just(vec![0; EXTRA_VANITY + EXTRA_SEAL]),
            1 => prop::collection::vec(any::<u8>(), 0..200),
        ],
    ) -> (Header, u64) {
        let (extra_data, difficulty) = (extra.into(), U256::from(difficulty));
        (Header { number, nonce, beneficiary, difficulty, extra_data, ..Header::default() }, seconds)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Whatever a header says: what is accepted can be applied, and nothing panics.
    #[test]
    fn what_passes_can_be_applied((header, seconds) in any_header(), signer in prop::option::of(0..3usize)) {
        let (network, signers) = network(ORDINARY);
        let (parent_hash, timestamp) = (network.tip.hash_slow(), network.tip.timestamp + seconds);
        let mut header = Header { parent_hash, timestamp, ..header };
        if let Some(signer) = signer {
            let sign = |hash| signers[signer].sign(hash);
            let _ = network.clique.seal(&mut header, sign);
        }
        let _ = network.clique.check_fields(&header);
        let applied = network.clique.apply(&network.snapshot(), &[header.clone()]);
        if let Ok(signer) = network.check(&header) {
            prop_assert_eq!(applied.unwrap().recents[&header.number], signer);
        }
    }
}
