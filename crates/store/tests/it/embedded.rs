//! The embedded engine keeps the contract.

use crate::contract::Place;
use quintet_store::{Durability, Options, open, open_temporary};

/// A directory that lives as long as the case.
fn place() -> Place {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { durability: Durability::None, ..Options::default() };
    Box::new(move || open(directory.path(), &options).unwrap())
}

contract!(place);

#[test]
fn a_durable_store_commits() {
    let directory = tempfile::tempdir().unwrap();
    let blocks = crate::chain::chain(3);
    let store = open(directory.path(), &Options::default()).unwrap();
    for block in &blocks {
        store.commit(crate::chain::commit(std::slice::from_ref(block))).unwrap();
    }
    drop(store);
    let store = open(directory.path(), &Options::default()).unwrap();
    assert_eq!(store.head().unwrap(), Some(blocks[2].block.block_ref()));
}

#[test]
fn temporary_stores_are_apart_and_work() {
    let (first, second) = (open_temporary().unwrap(), open_temporary().unwrap());
    first.commit(crate::chain::commit(&crate::chain::chain(2))).unwrap();
    assert_eq!(first.head().unwrap().unwrap().number, 1);
    assert_eq!(second.head().unwrap(), None);
    assert!(!first.reads_block());
}

#[test]
fn a_full_store_says_so_and_stays_readable() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { max_size: 1 << 20, ..Options::default() };
    let store = open(directory.path(), &options).unwrap();
    store.commit(crate::chain::commit(&crate::chain::chain(2))).unwrap();
    let meta = vec![("large".to_owned(), Some(vec![7; 2 << 20].into()))];
    let refused = store.commit(quintet_store::Commit { meta, ..Default::default() }).unwrap_err();
    assert!(refused.to_string().contains("has reached its size limit of 1048576 bytes"), "{refused}");
    assert_eq!(store.head().unwrap().unwrap().number, 1);
    let meta = vec![("small".to_owned(), Some(vec![7; 10].into()))];
    store.commit(quintet_store::Commit { meta, ..Default::default() }).unwrap();
    assert_eq!(store.meta("large").unwrap(), None);
}

#[test]
fn old_snapshots_are_let_go() {
    let store = open_temporary().unwrap();
    let blocks = crate::chain::chain(1);
    store.commit(crate::chain::commit(&blocks)).unwrap();
    let held = store.state_at(0).unwrap();
    // Each commit replaces the same value: were the reader pinning its snapshot, the file would have to hold
    // them all.
    for round in 0..200_u8 {
        let meta = vec![("value".to_owned(), Some(vec![round; 1 << 20].into()))];
        store.commit(quintet_store::Commit { meta, ..Default::default() }).unwrap();
        assert!(held.account(&crate::chain::address(1)).unwrap().is_some());
    }
    let bytes: u64 = store.stats().unwrap().iter().map(|table| table.bytes).sum();
    assert!(bytes < 4 << 20, "{bytes}");
}

#[test]
fn a_history_longer_than_a_stretch_is_adopted() {
    crate::contract::a_long_history_is_adopted(&*open_temporary().unwrap(), 2100);
}
