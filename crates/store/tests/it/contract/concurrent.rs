//! Readers beside a writer.

use super::Place;
use crate::chain::{address, chain, commit};
use alloy_primitives::U256;
use quintet_store::{Commit, Store, StoreError};
use std::sync::atomic::{AtomicBool, Ordering};

/// Blocks of the chain, each of which says its number in account 1 and in slot 1 of account 2.
const LENGTH: u64 = 60;

pub(crate) fn readers_run_beside_commits(place: &Place) {
    let store = place();
    let blocks = chain(LENGTH);
    store.commit(commit(&blocks[..1])).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..4).map(|_| scope.spawn(|| read_until(&*store, &done))).collect();
        for round in 0..3 {
            for block in &blocks[1..] {
                store.commit(commit(std::slice::from_ref(block))).unwrap();
                let head = store.head().unwrap().unwrap();
                assert_eq!(head, block.block.block_ref(), "a read after a commit sees it");
            }
            if round < 2 {
                store.commit(Commit { unwind_to: Some(0), ..Commit::default() }).unwrap();
            }
        }
        done.store(true, Ordering::Relaxed);
        let reads: u64 = readers.into_iter().map(|reader| reader.join().unwrap()).sum();
        assert!(reads > 0);
    });
}

/// Reads the newest block's state again and again; what is read must fit together.
fn read_until(store: &dyn Store, done: &AtomicBool) -> u64 {
    let mut reads = 0;
    while !done.load(Ordering::Relaxed) {
        let number = store.head().unwrap().unwrap().number;
        let state = match store.state_at(number) {
            Ok(state) => state,
            Err(StoreError::UnknownBlock { .. }) => continue,
            Err(error) => panic!("{error}"),
        };
        let account = state.account(&address(1));
        let slot = state.storage(&address(2), 0, &U256::from(1));
        match (account, slot) {
            (Ok(account), Ok(slot)) => {
                assert_eq!(account.unwrap().nonce, number);
                assert_eq!(slot, U256::from(number + 1));
                reads += 1;
            }
            (Err(error), _) | (_, Err(error)) => {
                assert!(error.to_string().contains("left the canonical chain"), "{error}");
            }
        }
    }
    reads
}
