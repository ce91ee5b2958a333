//! What a signer prepares.

use crate::network::{Network, Signer};
use alloy_primitives::{B256, U256};
use quintet_clique::{
    EXTRA_SEAL, EXTRA_VANITY, NONCE_AUTHORIZE, NONCE_DROP, Proposals, signers_of_checkpoint,
};
use quintet_types::Header;
use std::time::Duration;

const PERIOD: u64 = 5;

fn network() -> (Network, Vec<Signer>) {
    let signers = Signer::many(3);
    (Network::new(PERIOD, 4, signers.iter().map(|signer| signer.address)), signers)
}

#[test]
fn only_votes_that_would_change_something_are_cast() {
    let (network, signers) = network();
    let someone = Signer::named("someone").address;
    let vote = |proposals: &[_], pick| {
        let snapshot = network.snapshot();
        let number = network.tip.number + 1;
        let mut header = Header { number, parent_hash: network.tip.hash_slow(), ..Header::default() };
        let proposals: Proposals = proposals.iter().copied().collect();
        let parent = (&network.tip, &*snapshot);
        network.clique.prepare(&mut header, parent, &signers[1].address, &proposals, pick).unwrap();
        (header.beneficiary, header.nonce)
    };
    let first = signers[0].address;
    let nobody = (alloy_primitives::Address::ZERO, NONCE_DROP);
    assert_eq!(vote(&[], 7), nobody);
    assert_eq!(vote(&[(first, true), (someone, false)], 7), nobody);
    assert_eq!(vote(&[(someone, true)], 7), (someone, NONCE_AUTHORIZE));
    assert_eq!(vote(&[(first, false)], 7), (first, NONCE_DROP));
    let both = [(someone, true), (first, false)];
    assert_ne!(vote(&both, 0), vote(&both, 1));
    assert_eq!(vote(&both, 0), vote(&both, 2));
}

#[test]
fn checkpoints_list_the_signers_and_carry_no_vote() {
    let (mut network, signers) = network();
    for number in 1..4 {
        network.extend(&signers[number % 3]);
    }
    let proposals = Proposals::from([(Signer::named("someone").address, true)]);
    let header = network.prepared(&signers[1], &proposals);
    assert_eq!((header.beneficiary, header.nonce), (alloy_primitives::Address::ZERO, NONCE_DROP));
    assert_eq!(signers_of_checkpoint(&header).unwrap(), network.snapshot().signers_in_order());
    network.add(network.sealed(header, &signers[1])).unwrap();
}

#[test]
fn the_caller_gives_clock_and_vanity() {
    let (network, signers) = network();
    let snapshot = network.snapshot();
    let prepared = |timestamp: u64, vanity: &[u8]| {
        let mut header = Header {
            number: 1,
            parent_hash: network.tip.hash_slow(),
            timestamp,
            extra_data: vanity.to_vec().into(),
            mix_hash: B256::repeat_byte(1),
            ..Header::default()
        };
        let parent = (&network.tip, &*snapshot);
        network.clique.prepare(&mut header, parent, &signers[1].address, &Proposals::new(), 0).unwrap();
        header
    };
    let first = network.tip.timestamp + PERIOD;
    assert_eq!(prepared(0, b"").timestamp, first);
    assert_eq!(prepared(first + 9, b"").timestamp, first + 9);
    for (vanity, kept) in [(&b""[..], &b""[..]), (b"hello", b"hello"), (&[7; 99], &[7; EXTRA_VANITY])] {
        let header = prepared(0, vanity);
        assert_eq!(header.extra_data.len(), EXTRA_VANITY + EXTRA_SEAL);
        assert!(header.extra_data.starts_with(kept));
        assert!(header.extra_data[kept.len()..].iter().all(|byte| *byte == 0));
        assert_eq!((header.mix_hash, header.difficulty), (B256::ZERO, U256::from(2)));
    }
}

#[test]
fn a_header_of_another_parent_is_not_prepared() {
    let (network, signers) = network();
    let snapshot = network.snapshot();
    for (number, parent_hash) in [(1, B256::ZERO), (2, network.tip.hash_slow())] {
        let mut header = Header { number, parent_hash, ..Header::default() };
        let parent = (&network.tip, &*snapshot);
        let refused = network.clique.prepare(&mut header, parent, &signers[1].address, &Proposals::new(), 0);
        assert_eq!(refused.unwrap_err().to_string(), "unknown ancestor");
    }
}

#[test]
fn a_signer_out_of_turn_leaves_time_to_the_others() {
    let wiggle = |count| {
        let signers = Signer::many(count);
        Network::new(1, 4, signers.iter().map(|signer| signer.address)).snapshot().longest_wiggle()
    };
    assert_eq!(wiggle(1), Duration::from_millis(500));
    assert_eq!(wiggle(5), Duration::from_millis(1500));
}
