//! What the journal gives back after a crash.

use crate::blobs::{blob_tx, cell_sidecar};
use crate::helpers::{address, transfer};
use proptest::prelude::*;
use quintet_txpool::journal::{Damage, Entry, decode, encode};

fn entries(count: u64) -> Vec<Entry> {
    (0..count)
        .map(|nonce| Entry { local: nonce % 2 == 0, transaction: transfer(address(1), nonce, 7) })
        .collect()
}

fn encode_all(entries: &[Entry]) -> Vec<u8> {
    entries.iter().flat_map(|entry| encode(&entry.transaction, entry.local)).collect()
}

#[test]
fn round_trip() {
    let mut written = entries(5);
    written.push(Entry { local: true, transaction: blob_tx(address(2), 0, cell_sidecar()) });
    let bytes = encode_all(&written);
    let mut decoder = decode(&bytes);
    let read: Result<Vec<_>, _> = decoder.by_ref().collect();
    assert_eq!(read.unwrap(), written);
    assert_eq!((decoder.torn_bytes(), decoder.offset()), (0, bytes.len()));
}

#[test]
fn every_torn_tail_is_left_out_and_counted() {
    let written = entries(3);
    let bytes = encode_all(&written);
    let two = encode_all(&written[..2]).len();
    for end in two..bytes.len() {
        let mut decoder = decode(&bytes[..end]);
        let read: Result<Vec<_>, _> = decoder.by_ref().collect();
        assert_eq!(read.unwrap(), written[..2]);
        assert_eq!((decoder.torn_bytes(), decoder.offset()), (end - two, two));
    }
}

#[test]
fn a_tail_of_zeros_or_of_an_unfinished_body_is_torn() {
    let written = entries(2);
    let mut bytes = encode_all(&written);
    bytes.extend([0; 50]);
    let mut decoder = decode(&bytes);
    assert_eq!(decoder.by_ref().map(Result::unwrap).count(), 2);
    assert_eq!(decoder.torn_bytes(), 50);

    let mut bytes = encode_all(&written);
    *bytes.last_mut().unwrap() ^= 1;
    let mut decoder = decode(&bytes);
    assert_eq!(decoder.by_ref().map(Result::unwrap).count(), 1);
    assert_eq!(decoder.torn_bytes(), encode_all(&written[1..]).len());
}

#[test]
fn damage_in_the_middle_says_where_and_what() {
    let written = entries(3);
    let good = encode_all(&written);
    let first = encode_all(&written[..1]).len();
    for (at, damage) in [(first, Damage::HeaderChecksum), (first + 20, Damage::BodyChecksum)] {
        let mut bytes = good.clone();
        bytes[at] ^= 0x80;
        let mut decoder = decode(&bytes);
        assert_eq!(decoder.next().unwrap().unwrap(), written[0]);
        let error = decoder.next().unwrap().unwrap_err();
        assert_eq!((error.offset, &error.damage), (first, &damage));
        assert_eq!(error.to_string(), format!("transaction journal is corrupt at byte {first}: {damage}"));
        assert!(decoder.next().is_none() && decoder.torn_bytes() == 0);
    }
}

proptest! {
    #[test]
    fn foreign_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut decoder = decode(&bytes);
        let read = decoder.by_ref().count();
        prop_assert!(read <= bytes.len() / 13 + 1);
        prop_assert!(decoder.offset() + decoder.torn_bytes() <= bytes.len());
    }

    #[test]
    fn one_flipped_bit_never_passes(bit in 0_usize..8 * 400) {
        let written = entries(4);
        let mut bytes = encode_all(&written);
        let bit = bit % (bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        let read: Vec<_> = decode(&bytes).map_while(Result::ok).collect();
        prop_assert!(read.len() < written.len());
        prop_assert_eq!(&read[..], &written[..read.len()]);
    }
}
