//! The trie against a plain model of the state, over blocks, reorgs and layers.

mod builder;
mod hashed;
mod leaves;
mod model;
mod proofs;
mod ranges;

use alloy_primitives::{U256, keccak256};
use model::{Block, Flat, State, block};
use proptest::prelude::*;
use quintet_trie::{
    EMPTY_ROOT_HASH, Layer, Nibbles, NodeCache, NodeReader, Overlay, Owner, TrieChanges, TrieError,
    root_from_scratch, state_root, update, update_with,
};
use quintet_types::StateDiff;
use std::convert::Infallible;

fn inverse(diff: &StateDiff, before: &State) -> TrieChanges {
    let slot = |address: &_, _: &_, slot: &_| {
        Ok::<_, Infallible>(before[address].1.get(slot).copied().unwrap_or_default())
    };
    let hashed = |(slot, value): (&U256, &U256)| (keccak256(slot.to_be_bytes::<32>()), *value);
    let storage = |address: &_, _: &_| Ok(before[address].1.iter().map(hashed).collect());
    let Ok(changes) = TrieChanges::inverse(diff, slot, storage);
    changes
}

fn expected_root(state: &State) -> alloy_primitives::B256 {
    root_from_scratch(state.iter().map(|(address, (account, storage))| (*address, *account, storage.clone())))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn blocks_and_their_inverses(blocks in prop::collection::vec(block(), 1..7)) {
        let mut state = State::new();
        let mut store = Flat::default();
        let mut undo = Vec::new();
        for (number, block) in (1..).zip(&blocks) {
            let (after, diff) = model::execute(&state, block, number);
            let (root, changes) = update(&store, &diff).unwrap();
            undo.push((inverse(&diff, &state), store.clone(), state_root(&store).unwrap()));
            store.apply(&changes);
            prop_assert_eq!(root, expected_root(&after));
            prop_assert_eq!(state_root(&store).unwrap(), root);
            state = after;
        }
        for (changes, before, root) in undo.into_iter().rev() {
            let (back, changes) = update_with(&store, &changes).unwrap();
            store.apply(&changes);
            prop_assert_eq!(back, root);
            prop_assert_eq!(&store, &before);
        }
        prop_assert!(store.is_empty());
    }

    #[test]
    fn many_blocks_in_one_pass(blocks in prop::collection::vec(block(), 2..6)) {
        let mut state = State::new();
        let mut store = Flat::default();
        let mut steps = Flat::default();
        let mut all = TrieChanges::default();
        for (number, block) in (1..).zip(&blocks) {
            let (after, diff) = model::execute(&state, block, number);
            steps.apply(&update(&steps, &diff).unwrap().1);
            if number == 1 {
                store = steps.clone();
            } else {
                all.extend(TrieChanges::from(&diff));
            }
            state = after;
        }
        let (root, changes) = update_with(&store, &all).unwrap();
        store.apply(&changes);
        prop_assert_eq!(root, expected_root(&state));
        prop_assert_eq!(store, steps);
    }

    #[test]
    fn layers_stack_and_merge(blocks in prop::collection::vec(block(), 3)) {
        let mut state = State::new();
        let mut flat = Flat::default();
        let mut diffs = Vec::new();
        for (number, block) in (1..).zip(&blocks) {
            let (after, diff) = model::execute(&state, block, number);
            state = after;
            diffs.push(diff);
        }
        let mut base = Flat::default();
        base.apply(&update(&base, &diffs[0]).unwrap().1);
        let (mut lower, mut upper, mut merged) = (Layer::new(), Layer::new(), Layer::new());
        let second = update(&Overlay::new(&lower, &base), &diffs[1]).unwrap().1;
        lower.apply(second.clone());
        merged.apply(second);
        let below = Overlay::new(&lower, &base);
        let (root, third) = update(&Overlay::new(&upper, &below), &diffs[2]).unwrap();
        upper.apply(third.clone());
        merged.apply(third);
        prop_assert_eq!(root, expected_root(&state));
        prop_assert_eq!(state_root(&Overlay::new(&upper, &below)).unwrap(), root);
        prop_assert_eq!(state_root(&Overlay::new(&merged, &base)).unwrap(), root);
        for diff in &diffs {
            flat.apply(&update(&flat, diff).unwrap().1);
        }
        let mut flushed = base.clone();
        flushed.apply(&merged.to_update());
        prop_assert_eq!(&flushed, &flat);
        let mut twice = base.clone();
        twice.apply(&lower.to_update());
        twice.apply(&upper.to_update());
        prop_assert_eq!(&twice, &flat);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Forth and back, with updates in between that nobody applies, and with a cache that is too small too.
    #[test]
    fn a_cache_changes_nothing(
        blocks in prop::collection::vec(block(), 2..7), capacity in prop_oneof![Just(4_000), Just(1 << 20)],
    ) {
        let cache = NodeCache::new(capacity);
        let mut state = State::new();
        let mut store = Flat::default();
        let mut undo = Vec::new();
        for (number, block) in (1..).zip(&blocks) {
            let (after, diff) = model::execute(&state, block, number);
            let (_, other) = model::execute(&state, &blocks[0], number);
            let (root, _) = update(&cache.over(&store), &other).unwrap();
            prop_assert_eq!(root, update(&store, &other).unwrap().0);
            let (root, changes) = update(&cache.over(&store), &diff).unwrap();
            prop_assert_eq!(root, expected_root(&after));
            undo.push((inverse(&diff, &state), state_root(&store).unwrap()));
            cache.apply(&changes);
            store.apply(&changes);
            state = after;
        }
        for (changes, root) in undo.into_iter().rev() {
            let (back, changes) = update_with(&cache.over(&store), &changes).unwrap();
            prop_assert_eq!(back, root);
            cache.apply(&changes);
            store.apply(&changes);
        }
        prop_assert!(store.is_empty());
    }
}

/// Reads nothing: what it is asked for was not in the cache.
struct Unread;

impl NodeReader for Unread {
    fn node(&self, owner: &Owner, path: &Nibbles) -> Result<Option<alloy_primitives::Bytes>, TrieError> {
        // The state's root is named by nothing, so it is always asked for.
        assert_eq!((*owner, path.len()), (Owner::State, 0), "read of {path:?}");
        Ok(ROOT.with_borrow(Clone::clone))
    }
}

thread_local! {
    static ROOT: std::cell::RefCell<Option<alloy_primitives::Bytes>> = const { std::cell::RefCell::new(None) };
}

#[test]
fn what_was_just_written_is_read_from_the_cache() {
    let cache = NodeCache::new(64 << 20);
    let (state, diff) = model::execute(&State::new(), &Block::large(1), 1);
    let mut store = Flat::default();
    let changes = update(&store, &diff).unwrap().1;
    cache.apply(&changes);
    store.apply(&changes);
    let (address, _) = state.iter().find(|(_, (_, storage))| !storage.is_empty()).unwrap();
    let (after, diff) = model::execute(&state, &Block::touch(*address), 2);
    ROOT.set(store.node(&Owner::State, &Nibbles::new()).unwrap());
    let (root, _) = update(&cache.over(&Unread), &diff).unwrap();
    assert_eq!(root, expected_root(&after));
    assert!(cache.size() > 0);
}

/// Enough changes at once that every part runs in parallel.
#[test]
fn large_blocks_match_too() {
    let mut state = State::new();
    let mut store = Flat::default();
    for number in 1..=4u64 {
        let before = (state.clone(), store.clone());
        let (after, diff) = model::execute(&state, &Block::large(number), number);
        let (root, changes) = update(&store, &diff).unwrap();
        store.apply(&changes);
        assert_eq!(root, expected_root(&after));
        let (back, changes) = update_with(&store, &inverse(&diff, &before.0)).unwrap();
        let mut earlier = store.clone();
        earlier.apply(&changes);
        assert_eq!(earlier, before.1);
        assert_eq!(back, expected_root(&before.0));
        state = after;
    }
}

#[test]
fn an_empty_state_has_the_empty_root() {
    let (root, changes) = update(&Layer::new(), &StateDiff::default()).unwrap();
    assert_eq!(root, EMPTY_ROOT_HASH);
    assert!(changes.is_empty());
    assert_eq!(root_from_scratch(Vec::<(_, _, Vec<_>)>::new()), EMPTY_ROOT_HASH);
}

/// The values that a block already had are no change.
#[test]
fn writing_what_is_there_changes_nothing() {
    let (_, diff) = model::execute(&State::new(), &Block::large(1), 1);
    let mut store = Flat::default();
    let (root, changes) = update(&store, &diff).unwrap();
    store.apply(&changes);
    let mut same = TrieChanges::from(&diff);
    same.accounts.values_mut().for_each(|change| change.wipe_storage = false);
    let (again, changes) = update_with(&store, &same).unwrap();
    assert_eq!(again, root);
    assert!(changes.is_empty(), "{} nodes", changes.nodes.len());
}

struct Failing;

impl NodeReader for Failing {
    fn node(&self, _: &Owner, _: &Nibbles) -> Result<Option<alloy_primitives::Bytes>, TrieError> {
        Err(quintet_types::StateError::new(std::io::Error::other("disk")).into())
    }
}

#[test]
fn a_failing_store_is_an_error() {
    assert!(matches!(update(&Failing, &StateDiff::default()), Err(TrieError::Read(_))));
}

/// A storage trie that is not the one that its account's leaf names must not be built upon.
#[test]
fn lost_storage_nodes_are_noticed() {
    let (state, diff) = model::execute(&State::new(), &Block::large(1), 1);
    let mut store = Flat::default();
    store.apply(&update(&store, &diff).unwrap().1);
    let (address, _) = state.iter().find(|(_, (_, storage))| !storage.is_empty()).unwrap();
    store.drop_storage(&alloy_primitives::keccak256(address));
    let (_, diff) = model::execute(&state, &Block::touch(*address), 2);
    let result = update(&store, &diff);
    assert!(matches!(result, Err(TrieError::HashMismatch { owner: Owner::Storage(_), .. })), "{result:?}");
}
