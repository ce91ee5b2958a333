//! Every message of every version comes back as it was, is refused when cut, and never upsets the decoder.

use crate::samples::{b256, bytes, message, u256};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use quintet_eth_wire::{
    AccountData, AccountRange, ByteCodes, EthMessage, EthMessageId, EthVersion, GetAccountRange,
    GetByteCodes, GetStorageRanges, GetTrieNodes, SlimAccount, SlotData, SnapMessage, SnapMessageId,
    StorageRanges, TrieNodes, request_id, snap_request_id,
};

fn check_eth(version: EthVersion, before: &EthMessage) -> Result<(), TestCaseError> {
    let bytes = before.encode(version);
    let code = before.id().code();
    let after = EthMessage::decode(version, code, &bytes);
    prop_assert_eq!(after.as_ref(), Ok(before));
    let tagged = before.id().is_request_or_answer() && version.has_request_ids();
    prop_assert_eq!(request_id(version, code, &bytes).is_some(), tagged);
    for end in [0, (bytes.len() - 1) / 2, bytes.len() - 1] {
        prop_assert!(EthMessage::decode(version, code, &bytes[..end]).is_err());
    }
    let longer = [&bytes[..], &[0x80]].concat();
    prop_assert!(EthMessage::decode(version, code, &longer).is_err());
    Ok(())
}

#[test]
fn eth_messages_come_back() {
    for version in EthVersion::ALL {
        for id in EthMessageId::ALL.into_iter().filter(|id| id.exists_in(version)) {
            let mut runner =
                TestRunner::new(Config { cases: 24, failure_persistence: None, ..Config::default() });
            runner.run(&message(version, id), |before| check_eth(version, &before)).unwrap();
        }
    }
}

fn account() -> impl Strategy<Value = AccountData> {
    (b256(), any::<u64>(), u256(), prop::option::of(b256()), prop::option::of(b256())).prop_map(
        |(hash, nonce, balance, root, code)| {
            let storage_root = root.unwrap_or(alloy_consensus::constants::EMPTY_ROOT_HASH);
            let code_hash = code.unwrap_or(alloy_primitives::KECCAK256_EMPTY);
            AccountData { hash, account: SlimAccount { nonce, balance, storage_root, code_hash } }
        },
    )
}

fn snap(id: SnapMessageId) -> BoxedStrategy<SnapMessage> {
    let many = || prop::collection::vec(bytes(40), 0..5);
    let hashes = || prop::collection::vec(b256(), 0..5);
    match id {
        SnapMessageId::GetAccountRange => (any::<(u64, u64)>(), b256(), b256(), b256())
            .prop_map(|((id, bytes), root, origin, limit)| {
                SnapMessage::GetAccountRange(GetAccountRange { id, root, origin, limit, bytes })
            })
            .boxed(),
        SnapMessageId::AccountRange => (any::<u64>(), prop::collection::vec(account(), 0..5), many())
            .prop_map(|(id, accounts, proof)| SnapMessage::AccountRange(AccountRange { id, accounts, proof }))
            .boxed(),
        SnapMessageId::GetStorageRanges => {
            let ends = (prop::option::of(b256()), prop::option::of(b256()));
            (any::<(u64, u64)>(), b256(), hashes(), ends)
                .prop_map(|((id, bytes), root, accounts, (origin, limit))| {
                    let request = GetStorageRanges { id, root, accounts, origin, limit, bytes };
                    SnapMessage::GetStorageRanges(request)
                })
                .boxed()
        }
        SnapMessageId::StorageRanges => {
            let slot = (b256(), bytes(33)).prop_map(|(hash, data)| SlotData { hash, data });
            let slots = prop::collection::vec(prop::collection::vec(slot, 0..5), 0..5);
            (any::<u64>(), slots, many())
                .prop_map(|(id, slots, proof)| SnapMessage::StorageRanges(StorageRanges { id, slots, proof }))
                .boxed()
        }
        SnapMessageId::GetByteCodes => (any::<(u64, u64)>(), hashes())
            .prop_map(|((id, bytes), hashes)| SnapMessage::GetByteCodes(GetByteCodes { id, hashes, bytes }))
            .boxed(),
        SnapMessageId::ByteCodes => (any::<u64>(), many())
            .prop_map(|(id, codes)| SnapMessage::ByteCodes(ByteCodes { id, codes }))
            .boxed(),
        SnapMessageId::GetTrieNodes => (any::<(u64, u64)>(), b256(), prop::collection::vec(many(), 0..4))
            .prop_map(|((id, bytes), root, paths)| {
                SnapMessage::GetTrieNodes(GetTrieNodes { id, root, paths, bytes })
            })
            .boxed(),
        SnapMessageId::TrieNodes => (any::<u64>(), many())
            .prop_map(|(id, nodes)| SnapMessage::TrieNodes(TrieNodes { id, nodes }))
            .boxed(),
    }
}

#[test]
fn snap_messages_come_back() {
    for id in SnapMessageId::ALL {
        let mut runner =
            TestRunner::new(Config { cases: 64, failure_persistence: None, ..Config::default() });
        let run = runner.run(&snap(id), |before| {
            let bytes = before.encode();
            let after = SnapMessage::decode(id.code(), &bytes);
            prop_assert_eq!(after.as_ref(), Ok(&before));
            prop_assert_eq!(snap_request_id(id.code(), &bytes), Some(before.request_id()));
            for end in 0..bytes.len().min(200) {
                prop_assert!(SnapMessage::decode(id.code(), &bytes[..end]).is_err());
            }
            Ok(())
        });
        run.unwrap();
    }
}

proptest! {
    /// Whatever a peer sends, the decoder answers.
    #[test]
    fn garbage_is_survived(bytes in prop::collection::vec(any::<u8>(), 0..400), list: bool) {
        let mut bytes = bytes;
        if list {
            let payload_length = bytes.len();
            let mut wrapped = Vec::new();
            alloy_rlp::Header { list: true, payload_length }.encode(&mut wrapped);
            wrapped.append(&mut bytes);
            bytes = wrapped;
        }
        for code in 0..0x20 {
            for version in EthVersion::ALL {
                let _ = EthMessage::decode(version, code, &bytes);
                let _ = request_id(version, code, &bytes);
            }
            let _ = (SnapMessage::decode(code, &bytes), snap_request_id(code, &bytes));
        }
    }
}
