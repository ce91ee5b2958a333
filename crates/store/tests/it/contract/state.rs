//! The versioned state.

use super::Place;
use crate::chain::{Change, State, address, chain, codeless, commit, extend};
use alloy_primitives::{Address, U256};
use quintet_store::{Store, StoreError};
use std::collections::BTreeMap;
use std::ops::ControlFlow;

pub(crate) fn versions_are_kept(place: &Place) {
    let store = place();
    let blocks = chain(6);
    store.commit(commit(&blocks)).unwrap();
    for number in 0..6 {
        let state = store.state_at(number).unwrap();
        let account = state.account(&address(1)).unwrap().unwrap();
        assert_eq!((account.nonce, account.balance), (number, U256::from(100 + number)));
        assert_eq!(state.account(&address(99)).unwrap(), None);
        assert_eq!(state.storage(&address(2), 0, &U256::from(1)).unwrap(), U256::from(number + 1));
        assert_eq!(state.storage(&address(2), 0, &U256::from(2)).unwrap(), U256::ZERO);
        assert_eq!(state.storage(&address(2), 1, &U256::from(1)).unwrap(), U256::ZERO);
        for (ancestor, block) in (0..).zip(&blocks) {
            let expected = (ancestor <= number).then_some(block.block.hash);
            assert_eq!(state.block_hash(ancestor).unwrap(), expected);
        }
        assert_eq!(state.block_hash(6).unwrap(), None);
    }
}

pub(crate) fn destroyed_accounts_and_new_lives(place: &Place) {
    let store = place();
    let mut state = State::new();
    let mut parent = None;
    let steps = [
        vec![(1, Change::Renew(vec![(1, 11), (2, 12)]))],
        vec![(1, Change::Write(vec![(1, 0), (3, 13)]))],
        vec![(1, Change::Destroy)],
        vec![],
        vec![(1, Change::Renew(vec![(2, 22)]))],
        vec![(1, Change::Renew(vec![]))],
    ];
    for step in &steps {
        let block = extend(&mut state, parent, 0, step);
        parent = Some(block.block.block_ref());
        store.commit(commit(&[block])).unwrap();
    }
    let incarnation = |block| store.account_at(&address(1), block).unwrap().map(|a| a.incarnation);
    assert_eq!([0, 1, 2, 3, 4, 5].map(incarnation), [Some(0), Some(0), None, None, Some(4), Some(5)]);
    let slot = |life, slot, block| store.storage_at(&address(1), life, &U256::from(slot), block).unwrap();
    assert_eq!([slot(0, 1, 0), slot(0, 2, 0), slot(0, 3, 0)].map(|v| v.to::<u64>()), [11, 12, 0]);
    assert_eq!([slot(0, 1, 1), slot(0, 2, 1), slot(0, 3, 1)].map(|v| v.to::<u64>()), [0, 12, 13]);
    assert_eq!([slot(4, 1, 4), slot(4, 2, 4), slot(5, 2, 5)].map(|v| v.to::<u64>()), [0, 22, 0]);
    let account = store.account_at(&address(1), 4).unwrap().unwrap();
    assert!(!codeless(&account));
    assert_eq!(store.code(&account.code_hash).unwrap().unwrap()[..], 4_u64.to_be_bytes());
}

pub(crate) fn diffs_are_rebuilt(place: &Place) {
    let store = place();
    let mut state = State::new();
    let genesis = extend(&mut state, None, 0, &[(1, Change::Pay(0, 5)), (2, Change::Renew(vec![(1, 1)]))]);
    let changes = [
        (1, Change::Pay(1, 4)),
        (2, Change::Write(vec![(1, 0), (7, 9)])),
        (3, Change::Pay(0, 1)),
        (4, Change::Destroy),
    ];
    let next = extend(&mut state, Some(genesis.block.block_ref()), 0, &changes);
    store.commit(commit(&[genesis.clone(), next.clone()])).unwrap();
    assert_eq!(store.diff(0).unwrap(), *genesis.diff);
    assert_eq!(store.diff(1).unwrap(), *next.diff);
    let listed = store.changes(1).unwrap();
    assert_eq!(listed.accounts.len(), 4);
    let storage: Vec<_> = listed.accounts.iter().filter(|change| !change.slots.is_empty()).collect();
    assert_eq!(storage.len(), 1);
    assert_eq!((storage[0].address, storage[0].incarnation), (address(2), 0));
    assert_eq!(storage[0].slots, [U256::from(1), U256::from(7)]);
}

/// All of the state at a block, as the walks give it.
pub(crate) fn walked(store: &dyn Store, block: u64) -> State {
    let mut state = State::new();
    let mut last = None;
    let visit = &mut |address, account| {
        assert!(last.replace(address).is_none_or(|last: Address| last < address), "in order");
        state.insert(address, (account, BTreeMap::new()));
        ControlFlow::Continue(())
    };
    store.for_each_account(block, Address::ZERO, visit).unwrap();
    for (address, (account, slots)) in &mut state {
        let visit = &mut |slot, value| {
            slots.insert(slot, value);
            ControlFlow::Continue(())
        };
        store.for_each_storage(address, account.incarnation, block, U256::ZERO, visit).unwrap();
    }
    state
}

pub(crate) fn walks_see_one_block(place: &Place) {
    let store = place();
    let mut state = State::new();
    // More entries than one stretch of a walk holds.
    let many: Vec<_> = (0..9000).map(|index| (index, Change::Pay(index, 1))).collect();
    let genesis = extend(&mut state, None, 0, &many);
    let at_genesis = state.clone();
    let slots = (0..9000).map(|slot| (slot, slot + 1)).collect();
    let changes = [(5, Change::Write(slots)), (6, Change::Destroy), (20_000, Change::Pay(1, 1))];
    let next = extend(&mut state, Some(genesis.block.block_ref()), 0, &changes);
    store.commit(commit(&[genesis, next])).unwrap();
    assert_eq!(walked(&*store, 0), at_genesis);
    assert_eq!(walked(&*store, 1), state);

    let all: Vec<_> = state.keys().copied().collect();
    let mut some = Vec::new();
    let visit = &mut |address, _| {
        some.push(address);
        if some.len() == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    store.for_each_account(1, all[100], visit).unwrap();
    assert_eq!(some, all[100..103]);
    let mut some = Vec::new();
    let visit = &mut |slot, _| {
        some.push(slot);
        ControlFlow::Continue(())
    };
    store.for_each_storage(&address(5), 0, 1, U256::from(8998), visit).unwrap();
    assert_eq!(some, [U256::from(8998), U256::from(8999)]);
    let last = Address::repeat_byte(0xff);
    store.for_each_account(1, last, &mut |_, _| panic!("nothing is there")).unwrap();
    let none = &mut |_, _| panic!("nothing is there");
    store.for_each_storage(&address(5), 0, 1, U256::MAX, none).unwrap();
}

pub(crate) fn unknown_blocks_are_named(place: &Place) {
    let store = place();
    store.commit(commit(&chain(2))).unwrap();
    let unknown = |error: StoreError| matches!(error, StoreError::UnknownBlock { number: 2 });
    assert!(unknown(store.state_at(2).err().unwrap()));
    assert!(unknown(store.changes(2).unwrap_err()));
    assert!(unknown(store.diff(2).unwrap_err()));
    let walk = store.for_each_account(2, Address::ZERO, &mut |_, _| ControlFlow::Continue(()));
    assert!(unknown(walk.unwrap_err()));
}
