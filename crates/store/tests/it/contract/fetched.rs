//! A state on its way in.

use super::Place;
use crate::chain::{State, address, chain, commit, fetched, history};
use alloy_primitives::{B256, Bytes, U256, keccak256};
use quintet_store::{Commit, FetchedState, Store, StoreError, TrieAccount};
use quintet_types::Account;
use std::collections::BTreeMap;

fn hash(byte: u8) -> B256 {
    B256::repeat_byte(byte)
}

fn account(nonce: u64) -> TrieAccount {
    TrieAccount { nonce, balance: U256::MAX - U256::from(nonce), ..TrieAccount::default() }
}

fn accounts(store: &dyn Store) -> Vec<(u8, u64)> {
    let found = store.base_accounts(&B256::ZERO, 1000).unwrap();
    found.into_iter().map(|(hash, account)| (hash[0], account.nonce)).collect()
}

fn slots(store: &dyn Store, account: u8) -> Vec<(u8, u64)> {
    let found = store.base_slots(&hash(account), &B256::ZERO, 1000).unwrap();
    found.into_iter().map(|(hash, value)| (hash[0], value.to())).collect()
}

pub(crate) fn fetched_parts_read_back(place: &Place) {
    let store = place();
    let blocks = chain(1);
    store.commit(commit(&blocks)).unwrap();
    let code = Bytes::from_static(b"code");
    let storage_root = hash(9);
    let full = TrieAccount { storage_root, code_hash: keccak256(&code), ..account(u64::MAX) };
    let part = FetchedState {
        accounts: vec![(hash(3), account(3)), (hash(1), account(1)), (hash(2), full)],
        slots: vec![
            (hash(2), hash(8), U256::MAX),
            (hash(2), hash(4), U256::from(4)),
            (hash(3), hash(0), U256::from(1)),
        ],
        code: vec![(full.code_hash, code.clone()), (full.code_hash, code.clone())],
        nodes: vec![
            (vec![], Some(Bytes::from_static(b"root"))),
            (vec![1], Some(Bytes::from_static(b"node"))),
        ],
        meta: vec![("progress".into(), Some(Bytes::from_static(b"1")))],
        ..FetchedState::default()
    };
    store.write_fetched(part).unwrap();
    store.write_fetched(FetchedState::default()).unwrap();
    drop(store);
    let store = place();
    let whole = [(hash(1), account(1)), (hash(2), full), (hash(3), account(3))];
    assert_eq!(store.base_accounts(&B256::ZERO, 10).unwrap(), whole);
    assert_eq!(store.base_accounts(&hash(2), 1).unwrap(), whole[1..2]);
    assert_eq!(store.base_accounts(&B256::with_last_byte(1), 2).unwrap(), whole[..2]);
    assert!(store.base_accounts(&hash(4), 10).unwrap().is_empty());
    assert!(store.base_accounts(&B256::ZERO, 0).unwrap().is_empty());
    let both = [(hash(4), U256::from(4)), (hash(8), U256::MAX)];
    assert_eq!(store.base_slots(&hash(2), &B256::ZERO, 10).unwrap(), both);
    assert_eq!(store.base_slots(&hash(2), &hash(5), 10).unwrap(), both[1..]);
    assert_eq!(store.base_slots(&hash(2), &hash(4), 1).unwrap(), both[..1]);
    assert!(store.base_slots(&hash(2), &hash(9), 10).unwrap().is_empty());
    assert!(store.base_slots(&hash(1), &B256::ZERO, 10).unwrap().is_empty());
    assert_eq!(store.code(&full.code_hash).unwrap(), Some(code));
    assert_eq!(store.trie_node(&[1]).unwrap().unwrap()[..], b"node"[..]);
    assert_eq!(store.meta("progress").unwrap().unwrap()[..], b"1"[..]);
    // Nobody reads any of it as a state yet.
    assert_eq!((store.head().unwrap(), store.first_state().unwrap()), (Some(blocks[0].block.block_ref()), 0));
    let state =
        State::from([(address(50), (Account::new(0), BTreeMap::from([(U256::from(1), U256::from(1))])))]);
    store.write_fetched(fetched(&state)).unwrap();
    assert_eq!(store.account_at(&address(50), 0).unwrap(), None);
    assert_eq!(store.storage_at(&address(50), 0, &U256::from(1), 0).unwrap(), U256::ZERO);
    assert!(store.hashed_storage_at(&address(50), 0, 0).unwrap().is_empty());
    assert!(!store.has_storage(&address(50), 0, 0).unwrap());
    let stats = store.stats().unwrap();
    assert!(
        ["base_accounts", "base_storage"].iter().all(|name| stats.iter().any(|table| table.name == *name))
    );
}

pub(crate) fn fetched_ranges_are_wiped_first(place: &Place) {
    let store = place();
    store.commit(commit(&chain(1))).unwrap();
    let node = |key: &[u8]| (key.to_vec(), Some(Bytes::from_static(b"node")));
    let part = FetchedState {
        accounts: (1..=9).map(|byte| (hash(byte), account(1))).collect(),
        slots: (1..=9).flat_map(|a| (1..=5).map(move |s| (hash(a), hash(s), U256::from(s)))).collect(),
        nodes: [&[][..], &[0], &[1], &[1, 1], &[1, 2], &[2], &[3], &[4, 4]].map(node).to_vec(),
        ..FetchedState::default()
    };
    store.write_fetched(part.clone()).unwrap();
    let changed = FetchedState {
        wiped_nodes: vec![(vec![1, 1], Some(vec![2])), (vec![3], None), (vec![9], Some(vec![8]))],
        wiped_accounts: vec![(hash(2), hash(4)), (hash(6), hash(6)), (hash(9), hash(8))],
        wiped_slots: vec![
            (hash(1), hash(2), hash(3)),
            (hash(8), hash(5), hash(9)),
            (hash(9), hash(9), hash(1)),
        ],
        // What is written in a range is written after it was emptied; what is there is replaced; the last counts.
        accounts: vec![(hash(3), account(5)), (hash(3), account(3)), (hash(7), account(7))],
        slots: vec![
            (hash(3), hash(3), U256::from(33)),
            (hash(1), hash(3), U256::from(13)),
            (hash(7), hash(1), U256::from(70)),
            (hash(7), hash(1), U256::from(71)),
            (hash(7), hash(2), U256::ZERO),
            (hash(7), hash(9), U256::ZERO),
        ],
        nodes: vec![node(&[1, 2]), (vec![0], None), (vec![7], None)],
        meta: vec![("progress".into(), None)],
        ..FetchedState::default()
    };
    store.write_fetched(changed).unwrap();
    assert_eq!(accounts(&*store), [(1, 1), (3, 3), (5, 1), (7, 7), (8, 1), (9, 1)]);
    let expected = [
        (1, vec![(1, 1), (3, 13), (4, 4), (5, 5)]),
        (2, vec![]),
        (3, vec![(3, 33)]),
        (4, vec![]),
        (6, vec![]),
        (7, vec![(1, 71), (3, 3), (4, 4), (5, 5)]),
        (8, vec![(1, 1), (2, 2), (3, 3), (4, 4)]),
        (9, vec![(1, 1), (2, 2), (3, 3), (4, 4), (5, 5)]),
    ];
    for (account, expected) in expected {
        assert_eq!(slots(&*store, account), expected, "slots of {account}");
    }
    let held = |key: &[u8]| store.trie_node(key).unwrap().is_some();
    let keys: [&[u8]; 8] = [&[], &[0], &[1], &[1, 1], &[1, 2], &[2], &[3], &[4, 4]];
    assert_eq!(keys.map(held), [true, false, true, false, true, true, false, false]);

    // Everything, and the same parts anew.
    let all = FetchedState {
        wiped_nodes: vec![(vec![], None)],
        wiped_accounts: vec![(B256::ZERO, hash(0xff))],
        ..FetchedState::default()
    };
    store.write_fetched(all).unwrap();
    assert!(accounts(&*store).is_empty() && slots(&*store, 1).is_empty());
    assert_eq!(store.trie_node(&[]).unwrap(), None);
    store.write_fetched(part.clone()).unwrap();
    store.write_fetched(part).unwrap();
    assert_eq!(accounts(&*store).len(), 9);
    assert_eq!(slots(&*store, 9).len(), 5);
    let long = FetchedState { wiped_nodes: vec![(vec![0; 300], None)], ..FetchedState::default() };
    assert!(matches!(store.write_fetched(long), Err(StoreError::TooLong { .. })));
}

pub(crate) fn a_state_is_not_fetched_over_another(place: &Place) {
    let store = place();
    let blocks = chain(3);
    store.commit(commit(&blocks[..1])).unwrap();
    let part = || FetchedState { accounts: vec![(hash(1), account(1))], ..FetchedState::default() };
    store.write_fetched(part()).unwrap();
    let adopt = Some(blocks[2].block.block_ref());
    let meta = vec![("progress".to_owned(), None)];
    store.commit(Commit { adopt, meta, ..history(&blocks[1..]) }).unwrap();
    let check = |store: &dyn Store| {
        let other = FetchedState { wiped_accounts: vec![(B256::ZERO, hash(0xff))], ..part() };
        let refused = store.write_fetched(other).unwrap_err();
        assert!(matches!(refused, StoreError::Malformed { block, .. } if block.number == 2), "{refused}");
        assert_eq!(accounts(store), [(1, 1)]);
    };
    check(&*store);
    drop(store);
    check(&*place());
}
