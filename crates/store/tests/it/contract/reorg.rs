//! Blocks that leave the canonical chain, and those that take their place.

use super::Place;
use super::state::walked;
use crate::chain::{Change, State, address, block, chain, commit, executed, extend, transaction};
use alloy_primitives::U256;
use quintet_store::{Commit, StoreError, TransactionLocation};
use quintet_types::StateDiff;

pub(crate) fn a_reorg_replaces_versions(place: &Place) {
    let store = place();
    let mut state = State::new();
    let first = [(1, Change::Pay(0, 10)), (2, Change::Renew(vec![(1, 1), (2, 2)]))];
    let genesis = extend(&mut state, None, 0, &first);
    let mut ours = state.clone();
    let old = [(1, Change::Pay(1, 9)), (2, Change::Destroy), (3, Change::Renew(vec![(5, 5)]))];
    let a1 = extend(&mut ours, Some(genesis.block.block_ref()), 1, &old);
    let a2 = extend(&mut ours, Some(a1.block.block_ref()), 1, &[(2, Change::Renew(vec![(1, 7)]))]);
    store.commit(commit(&[genesis.clone(), a1.clone(), a2.clone()])).unwrap();

    let b1 = extend(&mut state, Some(genesis.block.block_ref()), 2, &[(2, Change::Write(vec![(2, 0)]))]);
    let blocks = vec![b1.clone()];
    store.commit(Commit { unwind_to: Some(0), blocks, ..Commit::default() }).unwrap();
    assert_eq!(store.head().unwrap(), Some(b1.block.block_ref()));
    assert_eq!(store.canonical_hash(2).unwrap(), None);
    assert_eq!(walked(&*store, 1), state);
    assert_eq!(store.diff(1).unwrap(), *b1.diff);
    assert_eq!(store.account_at(&address(3), u64::MAX).unwrap(), None);
    assert_eq!(store.storage_at(&address(3), 1, &U256::from(5), u64::MAX).unwrap(), U256::ZERO);
    for gone in [&a1, &a2] {
        assert_eq!(store.block(&gone.block.hash).unwrap().as_ref(), Some(&*gone.block));
        assert_eq!(store.receipts(&gone.block.hash).unwrap().as_ref(), Some(&*gone.receipts));
        assert_eq!(store.total_difficulty(&gone.block.hash).unwrap(), Some(gone.total_difficulty));
    }
}

pub(crate) fn a_transaction_moves_with_its_block(place: &Place) {
    let store = place();
    let genesis = executed(block(None, 0, vec![]), StateDiff::default());
    let parent = Some(genesis.block.block_ref());
    let old = executed(block(parent, 1, vec![transaction(1), transaction(2)]), StateDiff::default());
    let new = executed(block(parent, 2, vec![transaction(3), transaction(1)]), StateDiff::default());
    store.commit(commit(&[genesis, old.clone()])).unwrap();
    let blocks = vec![new.clone()];
    store.commit(Commit { unwind_to: Some(0), blocks, ..Commit::default() }).unwrap();
    let location = |nonce| store.transaction_location(transaction(nonce).tx_hash()).unwrap();
    let at = |index| Some(TransactionLocation { block: new.block.block_ref(), index });
    assert_eq!([location(1), location(2), location(3)], [at(1), None, at(0)]);
}

pub(crate) fn a_block_returns(place: &Place) {
    let store = place();
    let blocks = chain(5);
    store.commit(commit(&blocks)).unwrap();
    store.commit(Commit { unwind_to: Some(1), ..Commit::default() }).unwrap();
    assert_eq!(store.head().unwrap(), Some(blocks[1].block.block_ref()));
    assert!(matches!(store.state_at(2).err(), Some(StoreError::UnknownBlock { number: 2 })));
    store.commit(commit(&blocks[2..])).unwrap();
    assert_eq!(store.head().unwrap(), Some(blocks[4].block.block_ref()));
    for written in &blocks {
        assert_eq!(store.diff(written.block.header().number).unwrap(), *written.diff);
    }
    store.commit(Commit { unwind_to: Some(4), ..Commit::default() }).unwrap();
    assert_eq!(store.head().unwrap(), Some(blocks[4].block.block_ref()));
}

pub(crate) fn readers_notice_a_reorg(place: &Place) {
    let store = place();
    let blocks = chain(4);
    store.commit(commit(&blocks)).unwrap();
    let (below, above) = (store.state_at(1).unwrap(), store.state_at(3).unwrap());
    let sibling = executed(block(Some(blocks[1].block.block_ref()), 5, vec![]), StateDiff::default());
    let child = executed(block(Some(sibling.block.block_ref()), 5, vec![]), StateDiff::default());
    let blocks = vec![sibling, child];
    store.commit(Commit { unwind_to: Some(1), blocks, ..Commit::default() }).unwrap();
    assert_eq!(below.account(&address(1)).unwrap().unwrap().nonce, 1);
    let gone = above.account(&address(1)).unwrap_err().to_string();
    assert!(gone.contains("left the canonical chain while its state was read"), "{gone}");
    assert!(above.block_hash(0).is_err());
    assert_eq!(store.state_at(3).unwrap().account(&address(1)).unwrap().unwrap().nonce, 1);
}

pub(crate) fn unwinding_needs_a_canonical_block(place: &Place) {
    let store = place();
    let unwind = |number| store.commit(Commit { unwind_to: Some(number), ..Commit::default() });
    assert!(matches!(unwind(0), Err(StoreError::UnknownBlock { number: 0 })));
    store.commit(commit(&chain(3))).unwrap();
    assert!(matches!(unwind(3), Err(StoreError::UnknownBlock { number: 3 })));
    assert_eq!(store.head().unwrap().unwrap().number, 2);
}
