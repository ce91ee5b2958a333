//! What geth refuses is refused: encodings that are not canonical, surplus fields, values out of range.

use crate::samples::{with_sidecar, without_sidecar};
use alloy_primitives::{B256, hex};
use alloy_rlp::{Encodable, Error as RlpError};
use proptest::prelude::*;
use quintet_eth_wire::{
    EthMessage, EthMessageId, EthVersion, ListBuilder, Malformed, SnapMessage, SnapMessageId, Status,
    WireError,
};

fn eth(version: EthVersion, id: EthMessageId, bytes: &[u8]) -> Result<EthMessage, Malformed> {
    EthMessage::decode(version, id.code(), bytes).map_err(|error| match error {
        WireError::Malformed { reason, message } => {
            assert_eq!(message, id.name());
            reason
        }
        other => panic!("{other}"),
    })
}

fn rlp<T>(error: RlpError) -> Result<T, Malformed> {
    Err(Malformed::Rlp(error))
}

#[test]
fn codes_that_a_version_does_not_have() {
    for (version, code) in [
        (EthVersion::Eth62, 0x0d),
        (EthVersion::Eth63, 0x08),
        (EthVersion::Eth67, 0x0e),
        (EthVersion::Eth68, 0x11),
        (EthVersion::Eth69, 0x0b),
        (EthVersion::Eth69, u64::MAX),
    ] {
        let unknown = WireError::UnknownCode { protocol: "eth", version: version.number(), code };
        assert_eq!(EthMessage::decode(version, code, &[0xc0]), Err(unknown));
    }
    let unknown = WireError::UnknownCode { protocol: "snap", version: 1, code: 8 };
    assert_eq!(unknown.to_string(), "snap/1 has no message 0x08");
    assert_eq!(SnapMessage::decode(8, &[0xc0]), Err(unknown));
}

#[test]
fn queries_of_headers() {
    let query = |bytes: &[u8]| eth(EthVersion::Eth66, EthMessageId::GetBlockHeaders, bytes);
    assert!(query(&hex!("c701c50a05058001")).is_err());
    assert!(query(&hex!("c601c40a050580")).is_ok());
    assert!(query(&hex!("c601c40a050501")).is_ok());
    // A flag of 2, one with a leading zero, a number with one, one in a long form.
    assert!(query(&hex!("c601c40a050502")).is_err());
    assert_eq!(query(&hex!("c601c40a050500")), rlp(RlpError::LeadingZero));
    assert_eq!(query(&hex!("c801c682000a050580")), rlp(RlpError::LeadingZero));
    assert_eq!(query(&hex!("c701c5810a050580")), rlp(RlpError::NonCanonicalSingleByte));
    assert_eq!(query(&hex!("c801c6b8010a050580")), rlp(RlpError::NonCanonicalSize));
    // A field more, in the query and beside it; one less; a list for a number; no id.
    assert_eq!(query(&hex!("c701c50a05058001")), Err(Malformed::Surplus(1)));
    assert_eq!(query(&hex!("c701c40a05058001")), Err(Malformed::Surplus(1)));
    assert_eq!(query(&hex!("c501c30a0505")), rlp(RlpError::InputTooShort));
    assert_eq!(query(&hex!("c601c4c0050580")), rlp(RlpError::UnexpectedList));
    assert_eq!(query(&hex!("c40a050580")), rlp(RlpError::UnexpectedString));
    // An origin that is neither a number nor a hash.
    assert!(query(&hex!("cf01cd89010203040506070809050580")).is_err());
    let long = [&hex!("e801e6a2")[..], &[7; 34], &hex!("050580")].concat();
    assert!(query(&long).is_err());
}

/// A legacy transaction and one of EIP-1559, as `eth` has them.
const LEGACY: [u8; 105] = hex!(
    "f867088504a817c8088302e2489435353535353535353535353535353535353535358202008025a064b1702d9298fee62dfeccc57d322a463ad55ca201256d01f62b45b2e1c21c12a064b1702d9298fee62dfeccc57d322a463ad55ca201256d01f62b45b2e1c21c10"
);

fn typed() -> Vec<u8> {
    let fields = hex!(
        "f86b0180843b9aca0084773594008252089435353535353535353535353535353535353535358080c001a064b1702d9298fee62dfeccc57d322a463ad55ca201256d01f62b45b2e1c21c12a064b1702d9298fee62dfeccc57d322a463ad55ca201256d01f62b45b2e1c21c10"
    );
    let mut bytes = vec![2, 0xf8, u8::try_from(fields.len() - 2).unwrap()];
    bytes.extend_from_slice(&fields[2..]);
    bytes
}

fn transactions(items: &[&[u8]]) -> Result<usize, Malformed> {
    let mut list = ListBuilder::new();
    for item in items {
        list.push_rlp(item);
    }
    match eth(EthVersion::Eth68, EthMessageId::Transactions, &list.finish())? {
        EthMessage::Transactions(transactions) => Ok(transactions.len()),
        other => panic!("{}", other.id().name()),
    }
}

fn string(bytes: &[u8]) -> Vec<u8> {
    alloy_rlp::encode(bytes)
}

#[test]
fn transactions_are_wrapped_as_the_protocol_says() {
    let typed = typed();
    assert_eq!(transactions(&[&LEGACY, &string(&typed)]), Ok(2));
    // Typed but not wrapped, wrapped with a byte more, and of types that are none.
    assert!(transactions(&[&typed]).is_err());
    assert_eq!(transactions(&[&string(&[&typed[..], &[0]].concat())]), Err(Malformed::Surplus(1)));
    for kind in [0, 5, 0x7f, 0x80, 0xbf] {
        let other = [&[kind][..], &typed[1..]].concat();
        assert_eq!(transactions(&[&string(&other)]), Err(Malformed::TransactionType(kind)));
    }
    assert_eq!(transactions(&[&[0x02]]), rlp(RlpError::InputTooShort));
    assert_eq!(transactions(&[&[0x80]]), rlp(RlpError::InputTooShort));
    // A field more in the fields of a legacy one.
    let mut longer = LEGACY.to_vec();
    longer[1] += 1;
    longer.push(0x01);
    assert!(transactions(&[&longer]).is_err());
}

/// As ethereumjs broadcasts them; nothing else may be so.
#[test]
fn legacy_transactions_may_be_wrapped_where_they_are_broadcast() {
    let wrapped = string(&LEGACY);
    assert_eq!(transactions(&[&wrapped, &LEGACY]), Ok(2));
    assert_eq!(transactions(&[&string(&wrapped)]), Err(Malformed::TransactionType(0xb8)));
    assert_eq!(transactions(&[&string(&[&LEGACY[..], &[0]].concat())]), Err(Malformed::Surplus(1)));
    let mut pooled = ListBuilder::new();
    pooled.push_rlp(&wrapped);
    let refused = eth(EthVersion::Eth68, EthMessageId::PooledTransactions, &pooled.finish_with_id(Some(1)));
    assert_eq!(refused, Err(Malformed::TransactionType(0xf8)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]
    #[test]
    fn blobs_are_announced_and_never_broadcast(whole in with_sidecar(), bare in without_sidecar()) {
        for blob in [&whole, &bare] {
            let mut list = ListBuilder::new();
            list.push(blob);
            let refused = eth(EthVersion::Eth68, EthMessageId::Transactions, &list.finish());
            prop_assert_eq!(refused, Err(Malformed::BlobBroadcast(*blob.tx_hash())));
        }
        let mut list = ListBuilder::new();
        list.push(&bare);
        let refused = eth(EthVersion::Eth68, EthMessageId::PooledTransactions, &list.finish_with_id(Some(1)));
        prop_assert_eq!(refused, Err(Malformed::MissingSidecar(*bare.tx_hash())));
    }
}

#[test]
fn announcements_have_a_type_and_a_size_for_each_hash() {
    let hash = string(&[9; 32]);
    let message = |types: &[u8], sizes: &[u8], hashes: usize| {
        let mut list = ListBuilder::new();
        list.push_bytes(types);
        list.push_with(|out| sizes.iter().map(|size| u64::from(*size)).collect::<Vec<_>>().encode(out));
        let mut inner = ListBuilder::new();
        (0..hashes).for_each(|_| inner.push_rlp(&hash));
        list.push_rlp(&inner.finish());
        eth(EthVersion::Eth68, EthMessageId::NewPooledTransactionHashes, &list.finish())
    };
    assert!(message(&[0, 2], &[100, 200], 2).is_ok());
    assert!(message(&[], &[], 0).is_ok());
    for (types, sizes, hashes) in [(1, 2, 2), (2, 1, 2), (2, 2, 1), (0, 0, 1)] {
        let refused = message(&vec![0; types], &vec![5; sizes], hashes);
        assert_eq!(refused, Err(Malformed::Announcement { types, sizes, hashes }));
    }
    // The form of eth/66 is refused under eth/68, and the other way round.
    let mut old = ListBuilder::new();
    old.push_rlp(&hash);
    let old = old.finish();
    assert!(eth(EthVersion::Eth67, EthMessageId::NewPooledTransactionHashes, &old).is_ok());
    assert!(eth(EthVersion::Eth68, EthMessageId::NewPooledTransactionHashes, &old).is_err());
}

/// A status in the form of each version, by the specification.
#[test]
fn status_of_each_version() {
    let (genesis, head) = (string(&[0xaa; 32]), string(&[0xbb; 32]));
    let difficulty = hex!("83020000");
    let fork_id = hex!("c984fc64ec0483118c30");
    let wrap = |fields: &[&[u8]]| {
        let mut list = ListBuilder::new();
        for field in fields {
            list.push_rlp(field);
        }
        list.finish()
    };
    let old = wrap(&[&[63], &[1], &difficulty, &head, &genesis]);
    let status = Status::decode(EthVersion::Eth63, &old).unwrap();
    assert_eq!((status.head, status.genesis), (B256::repeat_byte(0xbb), B256::repeat_byte(0xaa)));
    assert_eq!((status.fork_id, status.range), (None, None));
    assert_eq!(status.encode(), old);

    let with_fork = wrap(&[&[68], &[1], &difficulty, &head, &genesis, &fork_id]);
    let status = Status::decode(EthVersion::Eth68, &with_fork).unwrap();
    assert_eq!(status.fork_id.unwrap().next, 1_150_000);
    assert_eq!(status.total_difficulty.unwrap().to::<u64>(), 0x2_0000);
    assert_eq!(status.encode(), with_fork);

    let ranged = wrap(&[&[69], &[1], &genesis, &fork_id, &[3], &[9], &head]);
    let status = Status::decode(EthVersion::Eth69, &ranged).unwrap();
    let range = status.range.unwrap();
    assert_eq!((range.earliest, range.latest, status.head), (3, 9, B256::repeat_byte(0xbb)));
    assert_eq!(status.total_difficulty, None);
    assert_eq!(status.encode(), ranged);

    let reason = |version, bytes: &[u8]| match Status::decode(version, bytes) {
        Err(WireError::Malformed { reason, .. }) => reason,
        other => panic!("{other:?}"),
    };
    assert_eq!(reason(EthVersion::Eth68, &ranged), Malformed::StatusVersion { got: 69, want: 68 });
    assert_eq!(reason(EthVersion::Eth66, &old), Malformed::StatusVersion { got: 63, want: 66 });
    let backwards = wrap(&[&[69], &[1], &genesis, &fork_id, &[9], &[3], &head]);
    assert_eq!(reason(EthVersion::Eth69, &backwards), Malformed::BlockRange { earliest: 9, latest: 3 });
    let heavy = wrap(&[&[63], &[1], &hex!("8d10000000000000000000000000"), &head, &genesis]);
    assert_eq!(reason(EthVersion::Eth63, &heavy), Malformed::TotalDifficulty(101));
    let surplus = wrap(&[&[63], &[1], &difficulty, &head, &genesis, &fork_id]);
    assert_eq!(reason(EthVersion::Eth63, &surplus), Malformed::Surplus(fork_id.len()));
}

#[test]
fn block_ranges_that_end_before_they_begin() {
    let update = |earliest: u8, latest: u8| {
        let mut list = ListBuilder::new();
        list.push(&earliest);
        list.push(&latest);
        list.push_bytes(&[1; 32]);
        eth(EthVersion::Eth69, EthMessageId::BlockRangeUpdate, &list.finish())
    };
    assert!(update(4, 4).is_ok());
    assert_eq!(update(5, 4), Err(Malformed::BlockRange { earliest: 5, latest: 4 }));
}

/// Receipts in the form of `eth/69`, and what is none.
#[test]
fn receipts_without_bloom() {
    let receipts = |receipt: &[u8]| {
        let mut block = ListBuilder::new();
        block.push_rlp(receipt);
        let mut blocks = ListBuilder::new();
        blocks.push_rlp(&block.finish());
        eth(EthVersion::Eth69, EthMessageId::Receipts, &blocks.finish_with_id(Some(1)))
    };
    assert!(receipts(&hex!("c68001825208c0")).is_ok());
    assert!(receipts(&hex!("c60201825208c0")).is_ok());
    assert_eq!(receipts(&hex!("c60501825208c0")), Err(Malformed::TransactionType(5)));
    assert_eq!(receipts(&hex!("c60001825208c0")), rlp(RlpError::LeadingZero));
    assert!(receipts(&hex!("c60202825208c0")).is_err());
    assert_eq!(receipts(&hex!("c70201825208c001")), Err(Malformed::Surplus(1)));
    assert!(receipts(&hex!("870182520880c001")).is_err());
}

#[test]
fn snap_fields_have_their_lengths() {
    let hash = string(&[3; 32]);
    let decode = |id: SnapMessageId, fields: &[&[u8]]| {
        let mut list = ListBuilder::new();
        for field in fields {
            list.push_rlp(field);
        }
        SnapMessage::decode(id.code(), &list.finish()).map_err(|error| match error {
            WireError::Malformed { reason, .. } => reason,
            other => panic!("{other}"),
        })
    };
    let ranges = |origin: &[u8], limit: &[u8]| {
        decode(SnapMessageId::GetStorageRanges, &[&[1], &hash, &[0xc0], origin, limit, &[5]])
    };
    assert!(ranges(&hash, &[0x80]).is_ok());
    let short = string(&[3; 31]);
    assert_eq!(ranges(&short, &[0x80]), Err(Malformed::Length { field: "origin", length: 31 }));
    assert_eq!(ranges(&[0x80], &[0x01]), Err(Malformed::Length { field: "limit", length: 1 }));

    let account = |body: &[u8]| {
        let mut entry = ListBuilder::new();
        entry.push_rlp(&hash);
        entry.push_rlp(body);
        let mut accounts = ListBuilder::new();
        accounts.push_rlp(&entry.finish());
        decode(SnapMessageId::AccountRange, &[&[1], &accounts.finish(), &[0xc0]])
    };
    assert!(account(&hex!("c480808080")).is_ok());
    assert!(account(&hex!("c3808080")).is_err());
    assert_eq!(account(&hex!("c58080808001")), Err(Malformed::Surplus(1)));
    assert_eq!(account(&hex!("c480800180")), Err(Malformed::Length { field: "storage root", length: 1 }));
    assert_eq!(account(&hex!("c480808001")), Err(Malformed::Length { field: "code hash", length: 1 }));
    assert_eq!(account(&hex!("c400808080")), Err(Malformed::Rlp(RlpError::LeadingZero)));
}
