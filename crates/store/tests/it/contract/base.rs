//! A fetched state, and what the blocks on top of it change.

use super::Place;
use super::state::walked;
use crate::chain::{Change, State, address, chain, commit, extend, fetched, history, slot_hash};
use alloy_primitives::{Address, U256, keccak256};
use quintet_store::{Commit, Store, StoreError, TrieFlush};
use quintet_types::ExecutedBlock;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// A store whose state was fetched.
pub(super) struct Adopted {
    /// The block that was adopted.
    pub(super) head: ExecutedBlock,
    /// The state after it, all accounts in the incarnation that the base gives them.
    pub(super) state: State,
}

impl Adopted {
    /// Adopts the state that `changes` make in block `number`. Its genesis has accounts of its own, which are gone or
    /// have changed by then.
    pub(super) fn new(store: &dyn Store, number: u64, changes: &[(u64, Change)]) -> Self {
        let mut early = State::new();
        let alloc =
            [(0, Change::Pay(9, 9)), (1, Change::Renew(vec![(0, 9), (2, 9)])), (7, Change::Pay(7, 7))];
        let genesis = extend(&mut early, None, 0, &alloc);
        store.commit(commit(std::slice::from_ref(&genesis))).unwrap();
        let mut state = State::new();
        let mut blocks = vec![genesis];
        for at in 1..=number {
            let parent = blocks.last().map(|block| block.block.block_ref());
            blocks.push(extend(&mut state, parent, 0, if at == number { changes } else { &[] }));
        }
        store.write_fetched(fetched(&state)).unwrap();
        let head = blocks[blocks.len() - 1].clone();
        let adopt = Some(head.block.block_ref());
        store.commit(Commit { adopt, ..history(&blocks[1..]) }).unwrap();
        for (account, _) in state.values_mut() {
            account.incarnation = number;
        }
        Self { head, state }
    }
}

/// Holds the state after `block` against `state`, in every way of reading it.
fn check(store: &dyn Store, block: u64, state: &State) {
    let reader = store.state_at(block).unwrap();
    let addresses: Vec<Address> = (0..12).map(address).collect();
    let accounts = store.accounts_at(&addresses, block).unwrap();
    for (index, (address, account)) in addresses.iter().zip(accounts).enumerate() {
        let expected = state.get(address);
        assert_eq!(account, expected.map(|entry| entry.0), "account {index} at block {block}");
        assert_eq!(store.account_at(address, block).unwrap(), account);
        assert_eq!(reader.account(address).unwrap(), account);
        let Some((account, slots)) = expected else { continue };
        let keys: Vec<_> = (0..12).map(|slot| (*address, account.incarnation, U256::from(slot))).collect();
        for ((_, incarnation, slot), value) in keys.iter().zip(store.slots_at(&keys, block).unwrap()) {
            let expected = slots.get(slot).copied().unwrap_or_default();
            assert_eq!(value, expected, "slot {slot} of {index} at block {block}");
            assert_eq!(store.storage_at(address, *incarnation, slot, block).unwrap(), value);
            assert_eq!(reader.storage(address, *incarnation, slot).unwrap(), value);
        }
        let hashed: BTreeMap<_, _> = slots.iter().map(|(slot, value)| (slot_hash(slot), *value)).collect();
        assert_eq!(store.hashed_storage_at(address, account.incarnation, block).unwrap(), hashed);
    }
}

pub(crate) fn versions_lie_over_the_base(place: &Place) {
    let store = place();
    let base = [
        (1, Change::Pay(3, 30)),
        (2, Change::Write(vec![(1, 1), (2, 2), (3, 3)])),
        (3, Change::Renew(vec![(1, 10), (2, 20)])),
        (4, Change::Renew(vec![(5, 50)])),
        (5, Change::Pay(0, 5)),
    ];
    let Adopted { head, mut state } = Adopted::new(&*store, 5, &base);
    assert_eq!(store.head().unwrap(), Some(head.block.block_ref()));
    assert_eq!(store.first_state().unwrap(), 5);
    let mut states = vec![state.clone()];
    let mut parent = head.block.block_ref();
    let steps = [
        vec![
            (1, Change::Pay(4, 29)),
            (2, Change::Write(vec![(1, 0), (2, 22), (7, 7)])),
            (3, Change::Destroy),
        ],
        vec![(3, Change::Renew(vec![(2, 21)])), (4, Change::Renew(vec![])), (5, Change::Destroy)],
        vec![
            (2, Change::Write(vec![(1, 11), (3, 0)])),
            (5, Change::Pay(1, 1)),
            (8, Change::Write(vec![(1, 1)])),
        ],
        vec![(2, Change::Destroy), (3, Change::Write(vec![(2, 0)]))],
    ];
    for step in &steps {
        let block = extend(&mut state, Some(parent), 0, step);
        parent = block.block.block_ref();
        store.commit(commit(std::slice::from_ref(&block))).unwrap();
        assert_eq!(store.diff(parent.number).unwrap(), *block.diff);
        assert_eq!(store.changes(parent.number).unwrap().accounts.len(), step.len());
        states.push(state.clone());
    }
    drop(store);
    let store = place();
    for (number, state) in (5..).zip(&states) {
        check(&*store, number, state);
    }
    // What the genesis had is no version any more: it would hide the base, or show what is gone.
    assert_eq!(store.account_at(&address(7), 5).unwrap(), None);
    // A walk can only name what has a version; what only storage changed of has one for that.
    let named = |block| walked(&*store, block).into_keys().collect::<std::collections::BTreeSet<_>>();
    assert_eq!(named(6), [1, 2].map(address).into());
    assert!(walked(&*store, 5).is_empty());
    let mut gone = Vec::new();
    let visit = &mut |address: Address, account: Option<_>| {
        gone.extend(account.is_none().then_some(address));
        ControlFlow::Continue(())
    };
    store.for_each_account_version(6, Address::ZERO, visit).unwrap();
    assert_eq!(gone, [address(3)]);
    let mut slots = Vec::new();
    let visit = &mut |slot: U256, value: U256| {
        slots.push((slot.to::<u64>(), value.to::<u64>()));
        ControlFlow::Continue(())
    };
    store.for_each_slot_version(&address(2), 5, 6, U256::ZERO, visit).unwrap();
    assert_eq!(slots, [(1, 0), (2, 22), (7, 7)]);
}

pub(crate) fn the_state_below_the_base_is_not_held(place: &Place) {
    let store = place();
    let Adopted { head, .. } = Adopted::new(&*store, 4, &[(1, Change::Pay(1, 1))]);
    let refused = |block: u64, error: StoreError| match error {
        StoreError::StateNotHeld { block: named, first: 4 } => assert_eq!(named, block),
        error => panic!("{error}"),
    };
    for block in 0..4 {
        refused(block, store.state_at(block).err().unwrap());
        refused(block, store.account_at(&address(1), block).unwrap_err());
        refused(block, store.accounts_at(&[address(1), address(2)], block).unwrap_err());
        refused(block, store.storage_at(&address(1), 0, &U256::ZERO, block).unwrap_err());
        refused(block, store.slots_at(&[(address(1), 0, U256::ZERO)], block).unwrap_err());
        refused(block, store.has_storage(&address(1), 0, block).unwrap_err());
        refused(block, store.hashed_storage_at(&address(1), 0, block).unwrap_err());
        let walk = store.for_each_account(block, Address::ZERO, &mut |_, _| ControlFlow::Continue(()));
        refused(block, walk.unwrap_err());
        // Blocks, receipts and headers are there all the same.
        let hash = store.canonical_hash(block).unwrap().unwrap();
        assert!(store.block(&hash).unwrap().is_some() && store.receipts(&hash).unwrap().is_some());
    }
    // What block 4 changed is told by the states on both sides of it.
    for block in 0..=4_u64 {
        refused(block.saturating_sub(1), store.changes(block).unwrap_err());
        refused(block.saturating_sub(1), store.diff(block).unwrap_err());
    }
    assert!(matches!(store.diff(5), Err(StoreError::UnknownBlock { number: 5 })));
    assert!(matches!(store.state_at(5), Err(StoreError::UnknownBlock { number: 5 })));
    let reader = store.state_at(4).unwrap();
    assert_eq!(reader.block_hash(4).unwrap(), Some(head.block.hash));
    assert_eq!(reader.block_hash(1).unwrap(), store.canonical_hash(1).unwrap());
    let text = store.state_at(2).err().unwrap().to_string();
    assert!(text.contains("state of block 2 is not held") && text.contains("block 4 on"), "{text}");
}

pub(crate) fn an_adopted_state_is_unwound_to(place: &Place) {
    let store = place();
    let base = [(1, Change::Pay(1, 1)), (2, Change::Write(vec![(1, 1), (2, 2)]))];
    let Adopted { head, state } = Adopted::new(&*store, 3, &base);
    let at = head.block.block_ref();
    let grow = |salt| {
        let mut state = state.clone();
        let changes = [(1, Change::Destroy), (2, Change::Write(vec![(1, 0), (5, salt)]))];
        let block = extend(&mut state, Some(at), salt, &changes);
        let next = extend(&mut state, Some(block.block.block_ref()), salt, &[(2, Change::Destroy)]);
        ([block, next], state)
    };
    let ((ours, our_state), (theirs, their_state)) = (grow(1), grow(2));
    store.commit(commit(&ours)).unwrap();
    check(&*store, 5, &our_state);
    let refused = store.commit(Commit { unwind_to: Some(2), ..Commit::default() }).unwrap_err();
    assert!(matches!(refused, StoreError::StateNotHeld { block: 2, first: 3 }), "{refused}");
    let refused = store.commit(Commit { unwind_to: Some(0), ..Commit::default() }).unwrap_err();
    assert!(matches!(refused, StoreError::StateNotHeld { block: 0, first: 3 }), "{refused}");
    assert_eq!(store.head().unwrap(), Some(ours[1].block.block_ref()));
    let blocks = theirs.to_vec();
    store.commit(Commit { unwind_to: Some(3), blocks, ..Commit::default() }).unwrap();
    check(&*store, 3, &state);
    check(&*store, 5, &their_state);
    store.commit(Commit { unwind_to: Some(3), ..Commit::default() }).unwrap();
    assert_eq!(store.head().unwrap(), Some(at));
    assert_eq!(store.trie_block().unwrap(), Some(at));
    check(&*store, 3, &state);
    let trie = Some(TrieFlush { block: theirs[0].block.block_ref(), ..TrieFlush::default() });
    store.commit(Commit { trie, ..commit(&theirs) }).unwrap();
    let refused = store.commit(Commit { unwind_to: Some(3), ..Commit::default() }).unwrap_err();
    assert!(matches!(refused, StoreError::TrieLeftBehind { .. }), "{refused}");
}

pub(crate) fn a_base_is_known_to_have_storage(place: &Place) {
    let store = place();
    // Accounts as EIP-7610 asks about: without code and nonce, one of them with storage.
    let base = [(1, Change::Write(vec![(7, 1)])), (2, Change::Pay(0, 1))];
    let Adopted { head, mut state } = Adopted::new(&*store, 3, &base);
    let changes = [(1, Change::Renew(vec![])), (3, Change::Write(vec![(7, 1)]))];
    let block = extend(&mut state, Some(head.block.block_ref()), 0, &changes);
    store.commit(commit(&[block])).unwrap();
    let any = |owner, incarnation, block| {
        let answer = store.has_storage(&address(owner), incarnation, block).unwrap();
        let reader = store.state_at(block).unwrap();
        assert_eq!(reader.has_storage(&address(owner), incarnation).unwrap(), answer);
        answer
    };
    assert!(any(1, 3, 3) && any(1, 3, 4), "in the base");
    assert!(!any(1, 4, 4), "a new life");
    assert!(!any(2, 3, 3) && !any(9, 3, 3) && !any(9, 0, 3));
    assert!(any(3, 4, 4), "in a version");
}

pub(crate) fn a_state_reader_notices_an_adoption(place: &Place) {
    let store = place();
    let blocks = chain(3);
    store.commit(commit(&blocks[..1])).unwrap();
    let reader = store.state_at(0).unwrap();
    assert!(reader.account(&address(1)).unwrap().is_some());
    assert_eq!(store.account_at(&address(1), 0).unwrap().unwrap().nonce, 0);
    let account = quintet_types::Account { nonce: 77, ..quintet_types::Account::new(0) };
    let state = State::from([(address(1), (account, BTreeMap::new()))]);
    store.write_fetched(fetched(&state)).unwrap();
    let adopt = Some(blocks[2].block.block_ref());
    store.commit(Commit { adopt, ..history(&blocks[1..]) }).unwrap();
    for error in [
        reader.account(&address(1)).unwrap_err(),
        reader.storage(&address(2), 0, &U256::from(1)).unwrap_err(),
        reader.has_storage(&address(2), 0).unwrap_err(),
    ] {
        assert!(error.to_string().contains("state of block 0 is not held"), "{error}");
    }
    assert_eq!(reader.block_hash(0).unwrap(), Some(blocks[0].block.hash));
    assert_eq!(store.account_at(&address(1), 2).unwrap().unwrap().nonce, 77);
    assert_eq!(store.base_accounts(&keccak256(address(1)), 5).unwrap().len(), 1);
}
