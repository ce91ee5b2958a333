//! Reads of many records at once, and whether there is any storage.

use super::Place;
use crate::chain::{Change, State, address, chain, commit, extend};
use alloy_primitives::U256;
use quintet_store::{Commit, StoreError, TrieFlush};

pub(crate) fn many_reads_at_once(place: &Place) {
    let store = place();
    let blocks = chain(5);
    store.commit(commit(&blocks)).unwrap();
    let head = blocks[4].block.block_ref();
    let nodes = (0..600_u16).map(|index| (index.to_be_bytes().to_vec(), Some(vec![7; 3].into()))).collect();
    let trie = Some(TrieFlush { block: head, wiped_prefixes: vec![], nodes });
    store.commit(Commit { trie, ..Commit::default() }).unwrap();
    // Some are there, some are not, one is asked for twice.
    let addresses = [9, 2, 1, 1, 7].map(address);
    let slots = [(2, 0, 1), (2, 0, 2), (2, 3, 1), (9, 0, 1), (2, 0, 1)]
        .map(|(owner, incarnation, slot)| (address(owner), incarnation, U256::from(slot)));
    for block in [0, 3, 4, u64::MAX] {
        let accounts: Vec<_> =
            addresses.iter().map(|address| store.account_at(address, block).unwrap()).collect();
        assert_eq!(store.accounts_at(&addresses, block).unwrap(), accounts);
        assert_eq!(accounts.iter().filter(|account| account.is_some()).count(), 3);
        let values: Vec<_> =
            slots.iter().map(|(a, i, s)| store.storage_at(a, *i, s, block).unwrap()).collect();
        assert_eq!(store.slots_at(&slots, block).unwrap(), values);
        assert_eq!(values[0], U256::from(block.min(4) + 1));
    }
    let keys: Vec<Vec<u8>> = vec![vec![2, 0], vec![], vec![0, 1], vec![2, 0], vec![9; 300]];
    let found: Vec<_> = store.trie_nodes(&keys).unwrap().into_iter().map(|node| node.is_some()).collect();
    assert_eq!(found, [true, false, true, true, false]);
    assert!(store.accounts_at(&[], 0).unwrap().is_empty());
    assert!(store.slots_at(&[], 0).unwrap().is_empty());
    assert!(store.trie_nodes(&[]).unwrap().is_empty());
}

pub(crate) fn storage_is_known_to_be_empty(place: &Place) {
    let store = place();
    let mut state = State::new();
    let mut parent = None;
    let steps = [
        vec![(1, Change::Renew(vec![(7, 1)])), (2, Change::Pay(1, 1))],
        vec![(1, Change::Write(vec![(7, 0)]))],
        vec![(1, Change::Write(vec![(3, 0), (7, 0), (9, 5)]))],
        vec![(1, Change::Renew(vec![]))],
    ];
    for step in &steps {
        let block = extend(&mut state, parent, 0, step);
        parent = Some(block.block.block_ref());
        store.commit(commit(&[block])).unwrap();
    }
    let any = |owner, incarnation, block| {
        let answer = store.has_storage(&address(owner), incarnation, block).unwrap();
        let reader = store.state_at(block).unwrap();
        assert_eq!(reader.has_storage(&address(owner), incarnation).unwrap(), answer);
        answer
    };
    assert_eq!([0, 1, 2, 3].map(|block| any(1, 0, block)), [true, false, true, true]);
    assert!(!any(1, 3, 3) && !any(2, 0, 3) && !any(9, 0, 3));
    let unknown = store.has_storage(&address(1), 0, 4).unwrap_err();
    assert!(matches!(unknown, StoreError::UnknownBlock { number: 4 }), "{unknown}");
}

pub(crate) fn syncing_changes_nothing(place: &Place) {
    let store = place();
    store.sync().unwrap();
    let blocks = chain(2);
    store.commit(commit(&blocks)).unwrap();
    store.sync().unwrap();
    store.sync().unwrap();
    assert_eq!(store.head().unwrap(), Some(blocks[1].block.block_ref()));
}
