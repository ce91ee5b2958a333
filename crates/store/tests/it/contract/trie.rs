//! The trie's nodes.

use super::Place;
use crate::chain::{chain, commit};
use alloy_primitives::Bytes;
use quintet_store::{Commit, Store, StoreError, TrieFlush};
use quintet_types::BlockRef;

fn flush(store: &dyn Store, block: BlockRef, wiped: &[&[u8]], nodes: &[(&[u8], Option<&str>)]) {
    let node = |node: &str| Bytes::from(node.as_bytes().to_vec());
    let trie = TrieFlush {
        block,
        wiped_prefixes: wiped.iter().map(|prefix| prefix.to_vec()).collect(),
        nodes: nodes.iter().map(|(key, value)| (key.to_vec(), value.map(node))).collect(),
    };
    store.commit(Commit { trie: Some(trie), ..Commit::default() }).unwrap();
}

fn node(store: &dyn Store, key: &[u8]) -> Option<String> {
    store.trie_node(key).unwrap().map(|node| String::from_utf8(node.to_vec()).unwrap())
}

pub(crate) fn trie_nodes_by_key(place: &Place) {
    let store = place();
    let blocks = chain(2);
    store.commit(commit(&blocks)).unwrap();
    let (first, second) = (blocks[0].block.block_ref(), blocks[1].block.block_ref());
    flush(&*store, first, &[], &[(b"b", Some("B")), (b"", Some("root")), (b"ab", Some("AB"))]);
    assert_eq!(store.trie_block().unwrap(), Some(first));
    flush(&*store, second, &[], &[(b"b", None), (b"zz", None), (b"ab", Some("new")), (b"c", Some("C"))]);
    assert_eq!(store.trie_block().unwrap(), Some(second));
    let nodes = [&b""[..], b"ab", b"b", b"c", b"a"].map(|key| node(&*store, key));
    assert_eq!(
        nodes,
        ["root", "new", "", "C", ""].map(|text| Some(text.to_owned()).filter(|t| !t.is_empty()))
    );
}

pub(crate) fn wiped_prefixes_go_first(place: &Place) {
    let store = place();
    let blocks = chain(1);
    store.commit(commit(&blocks)).unwrap();
    let block = blocks[0].block.block_ref();
    let keys: Vec<_> = (0..2000_u16).map(|index| [&[1][..], &index.to_be_bytes()].concat()).collect();
    let mut nodes: Vec<(&[u8], _)> = keys.iter().map(|key| (key.as_slice(), Some("node"))).collect();
    nodes.extend([(&[0, 9][..], Some("before")), (&[1][..], Some("itself")), (&[2][..], Some("after"))]);
    flush(&*store, block, &[], &nodes);
    flush(&*store, block, &[&[1], &[7]], &[(&[1, 0, 5], Some("anew"))]);
    assert_eq!(node(&*store, &[0, 9]).as_deref(), Some("before"));
    assert_eq!(node(&*store, &[2]).as_deref(), Some("after"));
    assert_eq!(node(&*store, &[1]), None);
    for key in &keys {
        let expected = (key[..] == [1, 0, 5]).then_some("anew");
        assert_eq!(node(&*store, key).as_deref(), expected);
    }
    flush(&*store, block, &[&[]], &[(&[3], Some("alone"))]);
    assert_eq!([&[0, 9][..], &[2], &[3]].map(|key| node(&*store, key).is_some()), [false, false, true]);
    let nodes = vec![(vec![0; TrieFlush::MAX_KEY + 1], None)];
    let trie = Some(TrieFlush { block, wiped_prefixes: vec![], nodes });
    assert!(matches!(store.commit(Commit { trie, ..Commit::default() }), Err(StoreError::TooLong { .. })));
}

pub(crate) fn the_trie_stays_canonical(place: &Place) {
    let store = place();
    let blocks = chain(4);
    store.commit(commit(&blocks)).unwrap();
    let reference = |number: usize| blocks[number].block.block_ref();
    flush(&*store, reference(2), &[], &[]);
    let unwind = |to, trie| store.commit(Commit { unwind_to: Some(to), trie, ..Commit::default() });
    let moved = |block| Some(TrieFlush { block, ..TrieFlush::default() });
    let refused = unwind(1, None).unwrap_err();
    assert!(matches!(refused, StoreError::TrieLeftBehind { block } if block == reference(2)), "{refused}");
    assert!(unwind(1, moved(reference(2))).is_err());
    assert!(unwind(3, moved(BlockRef { number: 1, hash: reference(2).hash })).is_err());
    assert_eq!(store.head().unwrap(), Some(reference(3)));
    unwind(2, None).unwrap();
    unwind(1, moved(reference(1))).unwrap();
    assert_eq!(store.trie_block().unwrap(), Some(reference(1)));
}
