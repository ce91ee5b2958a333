//! The follower on chains with reorgs, repeats and holes.

use crate::chains::{block_ref, chain, genesis, reverted};
use quintet_events::{Follower, HISTORY, Step};

#[test]
fn extends_block_by_block() {
    let mut follower = Follower::new(genesis());
    for event in chain(genesis(), 1, 2 * HISTORY) {
        assert_eq!(follower.apply(&event), Step::Extend);
        assert_eq!(follower.head(), block_ref(&event));
    }
}

#[test]
fn follows_a_reorg() {
    let old = chain(genesis(), 1, 4);
    let new = chain(block_ref(&old[1]), 2, 3);
    let mut follower = Follower::new(genesis());
    for event in &old {
        assert_eq!(follower.apply(event), Step::Extend);
    }
    let to = block_ref(&old[1]);
    assert_eq!(follower.apply(&reverted(&old[2..])), Step::Revert { to });
    assert_eq!(follower.head(), to);
    for event in &new {
        assert_eq!(follower.apply(event), Step::Extend);
    }
    assert!(follower.holds(to) && !follower.holds(block_ref(&old[2])));
}

#[test]
fn a_hole_is_a_gap_and_changes_nothing() {
    let blocks = chain(genesis(), 1, 5);
    let mut follower = Follower::new(genesis());
    follower.apply(&blocks[0]);
    assert_eq!(follower.apply(&blocks[2]), Step::Gap);
    assert_eq!(follower.head(), block_ref(&blocks[0]));
    follower.reset(block_ref(&blocks[3]));
    assert_eq!(follower.apply(&blocks[4]), Step::Extend);
}

#[test]
fn what_the_store_held_already_is_known() {
    // Read from the store after the subscription began: the first events are repeats.
    let old = chain(genesis(), 1, 3);
    let new = chain(block_ref(&old[1]), 2, 2);
    let mut follower = Follower::new(block_ref(&new[0]));
    for repeat in [&old[0], &old[1], &reverted(&old[2..]), &new[0]] {
        assert_eq!(follower.apply(repeat), Step::Known);
    }
    assert_eq!(follower.apply(&new[1]), Step::Extend);
}

#[test]
fn another_block_at_a_held_height_is_a_gap() {
    let old = chain(genesis(), 1, 2);
    let sibling = chain(block_ref(&old[0]), 2, 1);
    let mut follower = Follower::new(genesis());
    for event in &old {
        assert_eq!(follower.apply(event), Step::Extend);
    }
    assert_eq!(follower.apply(&sibling[0]), Step::Gap);
}

#[test]
fn a_revert_below_what_is_held_is_a_gap() {
    let blocks = chain(genesis(), 1, 4);
    let mut follower = Follower::new(block_ref(&blocks[2]));
    assert_eq!(follower.apply(&blocks[3]), Step::Extend);
    assert_eq!(follower.apply(&reverted(&blocks[1..])), Step::Gap);
    assert_eq!(follower.head(), block_ref(&blocks[3]));
}
