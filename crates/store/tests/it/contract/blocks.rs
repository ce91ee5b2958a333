//! Blocks, receipts, small values, and commits that are refused.

use super::Place;
use crate::chain::{block, chain, commit, executed, transaction};
use alloy_primitives::{B256, Bytes, U256};
use quintet_store::{Commit, StoreError};
use quintet_types::StateDiff;
use std::sync::Arc;

pub(crate) fn an_empty_store_answers(place: &Place) {
    let store = place();
    assert_eq!(store.head().unwrap(), None);
    assert_eq!(store.canonical_hash(0).unwrap(), None);
    assert_eq!(store.block(&B256::ZERO).unwrap(), None);
    assert_eq!(store.receipts(&B256::ZERO).unwrap(), None);
    assert_eq!(store.transaction_location(&B256::ZERO).unwrap(), None);
    assert_eq!(store.trie_block().unwrap(), None);
    assert_eq!(store.code(&B256::ZERO).unwrap(), None);
    assert!(store.stats().unwrap().len() > 5);
    store.commit(Commit::default()).unwrap();
    assert_eq!(store.head().unwrap(), None);
}

pub(crate) fn blocks_read_back(place: &Place) {
    let store = place();
    let blocks = chain(5);
    store.commit(commit(&blocks[..1])).unwrap();
    store.commit(commit(&blocks[1..])).unwrap();
    assert_eq!(store.head().unwrap(), Some(blocks[4].block.block_ref()));
    for written in &blocks {
        let block = &written.block;
        let number = block.header().number;
        assert_eq!(store.canonical_hash(number).unwrap(), Some(block.hash));
        assert_eq!(store.block_number(&block.hash).unwrap(), Some(number));
        assert_eq!(store.header(&block.hash).unwrap().as_ref(), Some(block.header()));
        assert_eq!(store.body(&block.hash).unwrap().as_ref(), Some(&block.block.body));
        assert_eq!(store.senders(&block.hash).unwrap().as_ref(), Some(&block.senders));
        assert_eq!(store.block(&block.hash).unwrap().as_ref(), Some(&**block));
        assert_eq!(store.total_difficulty(&block.hash).unwrap(), Some(written.total_difficulty));
        assert_eq!(store.receipts(&block.hash).unwrap().as_ref(), Some(&*written.receipts));
        for (index, transaction) in block.block.body.transactions.iter().enumerate() {
            let location = store.transaction_location(transaction.tx_hash()).unwrap().unwrap();
            assert_eq!((location.block, location.index as usize), (block.block_ref(), index));
        }
    }
}

pub(crate) fn side_blocks_stay_aside(place: &Place) {
    let store = place();
    let blocks = chain(3);
    store.commit(commit(&blocks)).unwrap();
    let side = Arc::new(block(Some(blocks[1].block.block_ref()), 9, vec![transaction(77)]));
    let side_blocks =
        vec![(Arc::clone(&side), U256::MAX), (Arc::clone(&blocks[2].block), U256::from(393_216))];
    store.commit(Commit { side_blocks, ..Commit::default() }).unwrap();
    assert_eq!(store.block(&side.hash).unwrap().as_ref(), Some(&*side));
    assert_eq!(store.total_difficulty(&side.hash).unwrap(), Some(U256::MAX));
    assert_eq!(store.block_number(&side.hash).unwrap(), Some(2));
    assert_eq!(store.receipts(&side.hash).unwrap(), None);
    assert_eq!(store.canonical_hash(2).unwrap(), Some(blocks[2].block.hash));
    assert_eq!(store.transaction_location(transaction(77).tx_hash()).unwrap(), None);
}

pub(crate) fn blocks_must_chain(place: &Place) {
    let store = place();
    let blocks = chain(4);
    store.commit(commit(&blocks[..2])).unwrap();
    let stranger = executed(block(Some(blocks[0].block.block_ref()), 5, vec![]), StateDiff::default());
    let orphan = block(Some(stranger.block.block_ref()), 5, vec![]);
    let orphan = executed(orphan, StateDiff::default());
    for wrong in [&blocks[3..], &blocks[1..2], &blocks[..1], &[stranger], &[orphan]] {
        let refused = store.commit(commit(wrong)).unwrap_err();
        let StoreError::NotChained { block, head } = &refused else { panic!("{refused}") };
        assert_eq!(*block, wrong[0].block.block_ref());
        assert_eq!(*head, Some(blocks[1].block.block_ref()));
    }
    let gap = [blocks[2].clone(), blocks[2].clone()];
    assert!(matches!(store.commit(commit(&gap)), Err(StoreError::NotChained { .. })));
    assert_eq!(store.head().unwrap(), Some(blocks[1].block.block_ref()));
    store.commit(commit(&blocks[2..])).unwrap();
}

pub(crate) fn malformed_blocks_are_refused(place: &Place) {
    let store = place();
    let mut lonely = block(None, 0, vec![transaction(1)]);
    lonely.senders.clear();
    let refused = store.commit(commit(&[executed(lonely, StateDiff::default())])).unwrap_err();
    assert!(matches!(refused, StoreError::Malformed { .. }), "{refused}");
    assert_eq!(store.head().unwrap(), None);
}

pub(crate) fn a_refused_commit_writes_nothing(place: &Place) {
    let store = place();
    let blocks = chain(4);
    store.commit(commit(&blocks[..3])).unwrap();
    let refused = Commit {
        unwind_to: Some(0),
        blocks: vec![blocks[3].clone()],
        side_blocks: vec![(Arc::new(block(None, 4, vec![])), U256::ZERO)],
        meta: vec![("name".into(), Some(Bytes::from_static(b"value")))],
        ..Commit::default()
    };
    assert!(store.commit(refused).is_err());
    assert_eq!(store.head().unwrap(), Some(blocks[2].block.block_ref()));
    assert_eq!(store.meta("name").unwrap(), None);
    assert_eq!(store.block(&block(None, 4, vec![]).hash).unwrap(), None);
    assert_eq!(store.diff(2).unwrap(), *blocks[2].diff);
}

pub(crate) fn meta_values_come_and_go(place: &Place) {
    let store = place();
    let set = |name: &str, value: Option<&'static [u8]>| {
        let meta = vec![(name.to_owned(), value.map(Bytes::from_static))];
        store.commit(Commit { meta, ..Commit::default() }).unwrap();
    };
    set("config", Some(b"{}"));
    set("empty", Some(b""));
    set("config", Some(b"{\"chainId\":1}"));
    assert_eq!(store.meta("config").unwrap(), Some(Bytes::from_static(b"{\"chainId\":1}")));
    assert_eq!(store.meta("empty").unwrap(), Some(Bytes::new()));
    set("config", None);
    set("never", None);
    assert_eq!(store.meta("config").unwrap(), None);
}

pub(crate) fn long_names_are_refused(place: &Place) {
    let store = place();
    let name = "n".repeat(100_000);
    assert_eq!(store.meta(&name).unwrap(), None);
    let meta = vec![(name, Some(Bytes::new()))];
    let refused = store.commit(Commit { meta, ..Commit::default() }).unwrap_err();
    assert!(matches!(refused, StoreError::TooLong { length: 100_000, .. }), "{refused}");
    assert_eq!(store.trie_node(&[1; 10_000]).unwrap(), None);
}

pub(crate) fn large_records_fit(place: &Place) {
    let store = place();
    let code = Bytes::from(vec![0x5b; 100_000]);
    let hash = alloy_primitives::keccak256(&code);
    let mut diff = StateDiff::default();
    diff.code.insert(hash, code.clone());
    let genesis = executed(block(None, 0, (0..3000).map(transaction).collect()), diff);
    store.commit(commit(std::slice::from_ref(&genesis))).unwrap();
    assert_eq!(store.code(&hash).unwrap(), Some(code));
    assert_eq!(store.block(&genesis.block.hash).unwrap().as_ref(), Some(&*genesis.block));
    assert_eq!(store.receipts(&genesis.block.hash).unwrap().unwrap().len(), 3000);
}

pub(crate) fn everything_survives_reopening(place: &Place) {
    let blocks = chain(4);
    let store = place();
    store.commit(commit(&blocks)).unwrap();
    let meta = vec![("name".into(), Some(Bytes::from_static(b"value")))];
    store.commit(Commit { meta, ..Commit::default() }).unwrap();
    drop(store);
    let store = place();
    assert_eq!(store.head().unwrap(), Some(blocks[3].block.block_ref()));
    assert_eq!(store.meta("name").unwrap(), Some(Bytes::from_static(b"value")));
    for written in &blocks {
        assert_eq!(store.diff(written.block.header().number).unwrap(), *written.diff);
        assert_eq!(store.block(&written.block.hash).unwrap().as_ref(), Some(&*written.block));
    }
}
