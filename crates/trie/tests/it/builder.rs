//! Tries made of leaves in order, against updates and against alloy's hash builder.

use crate::leaves::{self, Leaves, any_leaves, hashed_leaves};
use crate::model::{self, Block, Flat, State, block};
use alloy_primitives::{B256, U256, keccak256};
use proptest::prelude::*;
use quintet_trie::{Builder, EMPTY_ROOT_HASH, FullRoot, Owner, TrieAccount, root_from_scratch, update};
use std::collections::BTreeMap;

fn build<V: AsRef<[u8]>>(owner: Owner, leaves: impl IntoIterator<Item = (B256, V)>, into: &mut Flat) -> B256 {
    let mut builder = Builder::new(owner);
    let mut out = |key, node| assert!(into.insert(key, node), "a node twice");
    for (key, value) in leaves {
        builder.push(&key, value.as_ref(), &mut out);
    }
    builder.finish(&mut out)
}

fn check(leaves: &Leaves) {
    let mut built = Flat::default();
    let values = leaves.iter().map(|(key, value)| (*key, leaves::value(value)));
    let root = build(leaves::owner(), values, &mut built);
    assert_eq!(root, leaves::root(leaves));
    assert_eq!(built, leaves::nodes(leaves));
}

/// All tries of a state.
fn check_state(state: &State, store: &Flat) {
    let mut built = Flat::default();
    let mut accounts = BTreeMap::new();
    for (address, (account, storage)) in state {
        let hashed = keccak256(address);
        let slot =
            |(slot, value): (&U256, &U256)| (keccak256(slot.to_be_bytes::<32>()), leaves::value(value));
        let slots: BTreeMap<_, _> = storage.iter().map(slot).collect();
        let storage_root = build(Owner::Storage(hashed), slots, &mut built);
        assert_eq!(storage_root, FullRoot::new().add(address, account, storage.clone()));
        let account = TrieAccount {
            nonce: account.nonce,
            balance: account.balance,
            storage_root,
            code_hash: account.code_hash,
        };
        accounts.insert(hashed, alloy_rlp::encode(account));
    }
    let root = build(Owner::State, accounts, &mut built);
    let all = state.iter().map(|(address, (account, storage))| (*address, *account, storage.clone()));
    assert_eq!(root, root_from_scratch(all));
    assert_eq!(&built, store);
}

proptest! {
    #[test]
    fn any_leaves_make_the_nodes_of_an_update(leaves in any_leaves(60)) {
        check(&leaves);
    }

    #[test]
    fn few_leaves_too(leaves in any_leaves(3)) {
        check(&leaves);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn states_are_those_of_blocks(blocks in prop::collection::vec(block(), 1..4)) {
        let (mut state, mut store) = (State::new(), Flat::default());
        for (number, block) in (1..).zip(&blocks) {
            let (after, diff) = model::execute(&state, block, number);
            store.apply(&update(&store, &diff).unwrap().1);
            state = after;
        }
        check_state(&state, &store);
    }
}

#[test]
fn large_tries_are_those_of_updates() {
    check(&hashed_leaves(5_000));
    let (state, diff) = model::execute(&State::new(), &Block::large(1), 1);
    let mut store = Flat::default();
    store.apply(&update(&store, &diff).unwrap().1);
    check_state(&state, &store);
}

#[test]
fn no_leaves_and_one_leaf() {
    check(&Leaves::new());
    let mut built = Flat::default();
    assert_eq!(
        build(leaves::owner(), Leaves::new().keys().map(|key| (*key, [1])), &mut built),
        EMPTY_ROOT_HASH
    );
    assert!(built.is_empty());
    check(&hashed_leaves(1));
    check(&[(B256::ZERO, U256::from(1))].into());
}

/// Two leaves in a branch that is shorter than a hash, under an extension that is not, or is the root.
#[test]
fn leaves_that_differ_in_the_last_nibble() {
    let last = |n: u8| B256::with_last_byte(n);
    check(&[(last(1), U256::from(1)), (last(2), U256::from(2))].into());
    check(&[(last(1), U256::from(1)), (last(2), U256::MAX)].into());
    check(
        &[(last(1), U256::from(1)), (last(0x11), U256::from(1)), (B256::repeat_byte(9), U256::from(1))]
            .into(),
    );
    check(&(0..=255).map(|n| (last(n), U256::from(1))).collect());
}

#[test]
fn what_no_trie_holds_is_passed_over() {
    let leaves = hashed_leaves(50);
    let mut twice = Vec::new();
    for (key, value) in &leaves {
        twice.push((*key, leaves::value(value)));
        twice.push((*key, leaves::value(&U256::from(7))));
        twice.push((B256::ZERO, leaves::value(&U256::from(7))));
        twice.push((B256::repeat_byte(0xff), alloy_primitives::Bytes::new()));
    }
    let mut built = Flat::default();
    assert_eq!(build(leaves::owner(), twice, &mut built), leaves::root(&leaves));
    assert_eq!(built, leaves::nodes(&leaves));
}
