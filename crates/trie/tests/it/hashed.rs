//! Slots that are known by their hashes only.

use crate::model::Flat;
use alloy_primitives::{Address, B256, U256, keccak256};
use proptest::prelude::*;
use quintet_trie::{AccountChange, TrieChanges, root_from_scratch, state_root, update_with};
use quintet_types::Account;
use std::collections::BTreeMap;

const ADDRESS: Address = Address::repeat_byte(1);

fn hash(slot: U256) -> B256 {
    keccak256(slot.to_be_bytes::<32>())
}

/// Slots as an account's change gives them: which are named by hash, and whether the storage is wiped before.
#[derive(Clone, Debug)]
struct Step {
    slots: BTreeMap<U256, (U256, bool)>,
    wipe: bool,
    gone: bool,
}

fn step() -> impl Strategy<Value = Step> {
    let slot = ((0..12u64).prop_map(U256::from), ((0..4u64).prop_map(U256::from), any::<bool>()));
    let slots = prop::collection::btree_map(slot.0, slot.1, 0..8);
    (slots, prop::bool::weighted(0.2), prop::bool::weighted(0.1)).prop_map(|(slots, wipe, gone)| Step {
        slots,
        wipe,
        gone,
    })
}

fn change(step: &Step) -> TrieChanges {
    let mut change = AccountChange { wipe_storage: step.wipe, ..AccountChange::default() };
    if !step.gone {
        change.account = Some(Account::new(0));
        for (slot, (value, by_hash)) in &step.slots {
            if *by_hash {
                change.hashed_storage.insert(hash(*slot), *value);
            } else {
                change.storage.insert(*slot, *value);
            }
        }
    }
    TrieChanges { accounts: [(ADDRESS, change)].into() }
}

fn apply(state: &mut Option<BTreeMap<U256, U256>>, step: &Step) {
    if step.gone {
        *state = None;
        return;
    }
    let slots = state.get_or_insert_default();
    if step.wipe {
        slots.clear();
    }
    for (slot, (value, _)) in &step.slots {
        slots.insert(*slot, *value);
    }
}

proptest! {
    /// In one step or in many, whichever way slots are named.
    #[test]
    fn the_later_value_holds(steps in prop::collection::vec(step(), 1..6)) {
        let mut state = None;
        let mut nodes = Flat::default();
        let mut all = TrieChanges::default();
        for step in &steps {
            apply(&mut state, step);
            let changes = change(step);
            let (root, update) = update_with(&nodes, &changes).unwrap();
            nodes.apply(&update);
            all.extend(changes);
            let expected = state.clone().map(|slots| (ADDRESS, Account::new(0), slots));
            prop_assert_eq!(root, root_from_scratch(expected));
        }
        let mut at_once = Flat::default();
        let (root, update) = update_with(&at_once, &all).unwrap();
        at_once.apply(&update);
        prop_assert_eq!(root, state_root(&nodes).unwrap());
        prop_assert_eq!(at_once, nodes);
        let change = &all.accounts[&ADDRESS];
        prop_assert!(change.storage.keys().all(|slot| !change.hashed_storage.contains_key(&hash(*slot))));
    }
}

#[test]
fn of_one_change_the_plain_value_holds() {
    let slot = U256::from(5);
    let mut both = TrieChanges::default();
    let change = AccountChange {
        account: Some(Account::new(0)),
        wipe_storage: false,
        storage: [(slot, U256::from(1))].into(),
        hashed_storage: [(hash(slot), U256::from(2))].into(),
    };
    both.accounts.insert(ADDRESS, change.clone());
    let expected = root_from_scratch([(ADDRESS, Account::new(0), [(slot, U256::from(1))])]);
    assert_eq!(update_with(&Flat::default(), &both).unwrap().0, expected);
    let mut extended = TrieChanges::default();
    extended.accounts.insert(ADDRESS, AccountChange { account: Some(Account::new(0)), ..Default::default() });
    extended.extend(both);
    assert_eq!(update_with(&Flat::default(), &extended).unwrap().0, expected);
    let merged = &extended.accounts[&ADDRESS];
    assert_eq!((&merged.storage, merged.hashed_storage.len()), (&change.storage, 0));
}
