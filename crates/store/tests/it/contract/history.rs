//! Blocks that are held without being executed, and how they become canonical.

use super::Place;
use crate::chain::{
    Change, State, block, chain, commit, executed, extend, fetched, historic, history, transaction,
};
use alloy_primitives::{B256, U256};
use quintet_store::{Commit, HistoricBlock, Store, StoreError, TransactionLocation};
use quintet_types::{BlockRef, ExecutedBlock, StateDiff};
use std::sync::Arc;

fn adopt(store: &dyn Store, block: BlockRef) -> Result<(), StoreError> {
    store.commit(Commit { adopt: Some(block), ..Commit::default() })
}

fn location(store: &dyn Store, nonce: u64) -> Option<TransactionLocation> {
    store.transaction_location(transaction(nonce).tx_hash()).unwrap()
}

pub(crate) fn history_is_not_canonical_before_it_is_adopted(place: &Place) {
    let store = place();
    let blocks = chain(6);
    let references: Vec<_> = blocks.iter().map(|block| block.block.block_ref()).collect();
    store.commit(commit(&blocks[..1])).unwrap();
    // In any order, and again.
    for part in [3..6, 1..4, 2..3] {
        store.commit(history(&blocks[part])).unwrap();
    }
    drop(store);
    let store = place();
    assert_eq!(store.head().unwrap(), Some(references[0]));
    for written in &blocks[1..] {
        let BlockRef { number, hash } = written.block.block_ref();
        assert_eq!(store.canonical_hash(number).unwrap(), None);
        assert_eq!(location(&*store, number * 1000), None);
        assert!(matches!(store.state_at(number), Err(StoreError::UnknownBlock { .. })));
        assert_eq!(store.block_number(&hash).unwrap(), Some(number));
        assert_eq!(store.block(&hash).unwrap().as_ref(), Some(&*written.block));
        assert_eq!(store.receipts(&hash).unwrap().as_ref(), Some(&*written.receipts));
        assert_eq!(store.total_difficulty(&hash).unwrap(), Some(written.total_difficulty));
    }
    assert_eq!((store.first_state().unwrap(), store.diff(0).unwrap()), (0, (*blocks[0].diff).clone()));

    // Not all of the history is adopted.
    adopt(&*store, references[4]).unwrap();
    let check = |store: &dyn Store| {
        assert_eq!(store.head().unwrap(), Some(references[4]));
        assert_eq!(store.trie_block().unwrap(), Some(references[4]));
        assert_eq!(store.first_state().unwrap(), 4);
        for block in &references[..5] {
            assert_eq!(store.canonical_hash(block.number).unwrap(), Some(block.hash));
            let found = location(store, block.number * 1000);
            assert_eq!(found, Some(TransactionLocation { block: *block, index: 0 }));
        }
        assert_eq!(store.canonical_hash(5).unwrap(), None);
        assert_eq!(location(store, 5000), None);
    };
    check(&*store);
    drop(store);
    check(&*place());
}

pub(crate) fn side_blocks_become_history(place: &Place) {
    let store = place();
    let blocks = chain(4);
    store.commit(commit(&blocks[..1])).unwrap();
    let side_blocks = blocks[1..].iter().map(|block| (Arc::clone(&block.block), U256::from(1))).collect();
    store.commit(Commit { side_blocks, ..Commit::default() }).unwrap();
    let refused = adopt(&*store, blocks[3].block.block_ref()).unwrap_err();
    assert!(refused.to_string().contains("receipts are not in the store"), "{refused}");
    // Named twice in one commit, too.
    let side_blocks = vec![(Arc::clone(&blocks[2].block), U256::from(1))];
    store.commit(Commit { side_blocks, ..history(&blocks[1..]) }).unwrap();
    let hash = blocks[2].block.hash;
    assert_eq!(store.total_difficulty(&hash).unwrap(), Some(blocks[2].total_difficulty));
    adopt(&*store, blocks[3].block.block_ref()).unwrap();
    assert_eq!(store.receipts(&hash).unwrap().as_ref(), Some(&*blocks[2].receipts));
    assert_eq!(location(&*store, 2000).unwrap().block, blocks[2].block.block_ref());
}

pub(crate) fn what_cannot_be_adopted_is_refused(place: &Place) {
    let store = place();
    let blocks = chain(5);
    let references: Vec<_> = blocks.iter().map(|block| block.block.block_ref()).collect();
    let malformed = |block: BlockRef, words: &str| match adopt(&*store, block).unwrap_err() {
        StoreError::Malformed { block, detail } if detail.contains(words) => block,
        error => panic!("{error}"),
    };
    malformed(references[2], "nothing but its genesis block");
    store.commit(commit(&blocks[..1])).unwrap();
    malformed(references[0], "");
    assert_eq!(malformed(references[3], "header is not"), references[3]);
    // A gap.
    store.commit(history(&blocks[3..])).unwrap();
    store.commit(history(&blocks[1..2])).unwrap();
    assert_eq!(malformed(references[4], "header is not"), references[2]);
    malformed(BlockRef { number: 7, hash: references[4].hash }, "");
    // Another chain's genesis.
    let mut state = State::new();
    let stranger = extend(&mut state, None, 99, &[]);
    let child = extend(&mut state, Some(stranger.block.block_ref()), 0, &[]);
    store.commit(history(std::slice::from_ref(&child))).unwrap();
    malformed(child.block.block_ref(), "genesis");
    // Nothing was written by any of these, nor by what came with them.
    let refused = Commit { adopt: Some(references[1]), ..history(&blocks[2..3]) };
    let refused = Commit { unwind_to: Some(7), ..refused };
    assert!(store.commit(refused).is_err());
    assert_eq!(store.receipts(&references[2].hash).unwrap(), None);
    assert_eq!((store.head().unwrap(), store.first_state().unwrap()), (Some(references[0]), 0));
    assert_eq!(store.diff(0).unwrap(), *blocks[0].diff);
    store.commit(Commit { adopt: Some(references[4]), ..history(&blocks[2..3]) }).unwrap();
    assert_eq!(store.head().unwrap(), Some(references[4]));
    malformed(references[4], "nothing but its genesis block");
}

pub(crate) fn history_needs_a_chain_of_genesis_alone(place: &Place) {
    let store = place();
    let blocks = chain(4);
    let refused = store.commit(history(&blocks[1..2])).unwrap_err();
    assert!(matches!(refused, StoreError::Malformed { .. }), "{refused}");
    store.commit(commit(&blocks[..2])).unwrap();
    for part in [&blocks[1..2], &blocks[2..]] {
        let refused = store.commit(history(part)).unwrap_err();
        assert!(matches!(refused, StoreError::Malformed { .. }), "{refused}");
    }
    assert_eq!(store.block(&blocks[2].block.hash).unwrap(), None);
    store.commit(Commit { unwind_to: Some(0), ..Commit::default() }).unwrap();
    let short = HistoricBlock { receipts: Arc::default(), ..historic(&blocks[2]) };
    let refused = store.commit(Commit { history: vec![short], ..Commit::default() }).unwrap_err();
    assert!(refused.to_string().contains("one receipt for each transaction"), "{refused}");
    // A chain that was unwound to its genesis may begin anew.
    store.commit(history(&blocks[1..])).unwrap();
    adopt(&*store, blocks[3].block.block_ref()).unwrap();
    assert_eq!(location(&*store, 1000).unwrap().block, blocks[1].block.block_ref());
}

/// Blocks on `parent`, each with the transactions of these numbers.
fn branch(parent: &ExecutedBlock, salt: u64, transactions: &[&[u64]]) -> Vec<ExecutedBlock> {
    let mut blocks: Vec<ExecutedBlock> = Vec::new();
    for nonces in transactions {
        let parent = blocks.last().unwrap_or(parent).block.block_ref();
        let transactions = nonces.iter().map(|nonce| transaction(*nonce)).collect();
        blocks.push(executed(block(Some(parent), salt, transactions), StateDiff::default()));
    }
    blocks
}

pub(crate) fn transactions_are_those_of_the_adopted_chain(place: &Place) {
    let genesis = executed(block(None, 0, vec![]), StateDiff::default());
    let common = branch(&genesis, 0, &[&[1], &[2]]);
    // The other branch has some of the transactions earlier or later, one of its own, and lacks some.
    let ours = branch(&common[1], 1, &[&[3, 4], &[5], &[6, 7], &[8]]);
    let theirs = branch(&common[1], 2, &[&[8, 9], &[4, 3]]);
    let orders: [&[&[ExecutedBlock]]; 4] = [
        &[&ours, &theirs],
        &[&theirs, &ours],
        &[&ours, &theirs, &ours[2..]],
        &[&theirs[..1], &ours, &theirs[1..]],
    ];
    let store = place();
    store.commit(commit(std::slice::from_ref(&genesis))).unwrap();
    store.commit(history(&common)).unwrap();
    for order in orders {
        for part in order {
            store.commit(history(part)).unwrap();
        }
        assert!((1..10).all(|nonce| location(&*store, nonce).is_none()));
    }
    // Both in one commit.
    store.commit(history(&[ours.clone(), theirs.clone()].concat())).unwrap();
    adopt(&*store, ours[3].block.block_ref()).unwrap();
    let mut held = 0;
    for written in common.iter().chain(&ours) {
        for (index, transaction) in (0..).zip(&written.block.block.body.transactions) {
            let found = store.transaction_location(transaction.tx_hash()).unwrap();
            assert_eq!(found, Some(TransactionLocation { block: written.block.block_ref(), index }));
            held += 1;
        }
    }
    assert_eq!((held, location(&*store, 9)), (8, None));
    assert!(store.block(&theirs[1].block.hash).unwrap().is_some());
}

pub(crate) fn history_above_the_adopted_block_is_not_seen(place: &Place) {
    let store = place();
    let genesis = executed(block(None, 0, vec![]), StateDiff::default());
    let blocks = branch(&genesis, 0, &[&[1], &[2], &[3, 4], &[5]]);
    store.commit(commit(std::slice::from_ref(&genesis))).unwrap();
    store.commit(history(&blocks)).unwrap();
    store.write_fetched(fetched(&State::new())).unwrap();
    adopt(&*store, blocks[1].block.block_ref()).unwrap();
    assert_eq!([3, 4, 5].map(|nonce| location(&*store, nonce)), [None; 3]);
    // Another block takes the place of one that was held; then the first one returns.
    let other = branch(&blocks[1], 7, &[&[4, 6]]);
    store.commit(commit(&other)).unwrap();
    let at =
        |block: &ExecutedBlock, index| Some(TransactionLocation { block: block.block.block_ref(), index });
    assert_eq!([3, 4, 5, 6].map(|n| location(&*store, n)), [None, at(&other[0], 0), None, at(&other[0], 1)]);
    let again = blocks[2..].to_vec();
    store.commit(Commit { unwind_to: Some(2), blocks: again, ..Commit::default() }).unwrap();
    let found = [3, 4, 5, 6].map(|nonce| location(&*store, nonce));
    assert_eq!(found, [at(&blocks[2], 0), at(&blocks[2], 1), at(&blocks[3], 0), None]);
    assert_eq!(store.diff(3).unwrap(), StateDiff::default());
    assert_eq!(store.changes(4).unwrap().accounts, []);
}

pub(crate) fn a_chain_may_be_executed_after_all(place: &Place) {
    let store = place();
    let genesis = executed(block(None, 0, vec![transaction(100)]), StateDiff::default());
    let given_up = branch(&genesis, 0, &[&[1], &[2, 3], &[4]]);
    let own = branch(&genesis, 1, &[&[3], &[1], &[5], &[6]]);
    store.commit(commit(std::slice::from_ref(&genesis))).unwrap();
    store.commit(history(&given_up)).unwrap();
    store.commit(history(&own[..1])).unwrap();
    store.commit(commit(&own[..2])).unwrap();
    store.commit(commit(&own[2..])).unwrap();
    let at = |block: &ExecutedBlock| Some(TransactionLocation { block: block.block.block_ref(), index: 0 });
    let expected = [at(&own[1]), None, at(&own[0]), None, at(&own[2]), at(&own[3]), at(&genesis)];
    assert_eq!([1, 2, 3, 4, 5, 6, 100].map(|nonce| location(&*store, nonce)), expected);
    assert_eq!((store.first_state().unwrap(), store.diff(1).unwrap()), (0, StateDiff::default()));
    store.commit(Commit { unwind_to: Some(0), blocks: given_up, ..Commit::default() }).unwrap();
    let found = [1, 2, 3, 4, 5].map(|nonce| location(&*store, nonce).map(|found| found.block.number));
    assert_eq!(found, [Some(1), Some(2), Some(2), Some(3), None]);
}

/// A chain longer than an engine walks at once.
pub(crate) fn a_long_history_is_adopted(store: &dyn Store, length: u64) {
    let genesis = executed(block(None, 0, vec![]), StateDiff::default());
    store.commit(commit(std::slice::from_ref(&genesis))).unwrap();
    let mut hashes = vec![genesis.block.hash];
    let mut parent = genesis.block.block_ref();
    let mut part = Vec::new();
    for number in 1..=length {
        let transactions = if number % 7 == 0 { vec![transaction(number)] } else { vec![] };
        let next = executed(block(Some(parent), 0, transactions), StateDiff::default());
        parent = next.block.block_ref();
        hashes.push(parent.hash);
        part.push(historic(&next));
        if part.len() == 2000 || number == length {
            store.commit(Commit { history: std::mem::take(&mut part), ..Commit::default() }).unwrap();
        }
    }
    // A sibling low down, so that everything above it is looked after.
    let low = BlockRef { number: 4, hash: hashes[4] };
    let sibling = executed(block(Some(low), 9, vec![transaction(length)]), StateDiff::default());
    store.commit(history(&[sibling])).unwrap();
    adopt(store, parent).unwrap();
    assert_eq!(store.head().unwrap(), Some(parent));
    for (number, hash) in (0..).zip(&hashes) {
        assert_eq!(store.canonical_hash(number).unwrap(), Some(*hash), "block {number}");
    }
    for number in (7..=length).step_by(7) {
        let block = BlockRef { number, hash: hashes[usize::try_from(number).unwrap()] };
        assert_eq!(location(store, number), Some(TransactionLocation { block, index: 0 }));
    }
    let state = [(1, Change::Pay(1, 1))];
    let next = extend(&mut State::new(), Some(parent), 0, &state);
    store.commit(commit(&[next])).unwrap();
    assert_ne!(store.canonical_hash(length + 1).unwrap(), None::<B256>);
}
