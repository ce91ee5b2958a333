//! Random histories, compared with plain maps entry by entry and block by block.

use super::Place;
use super::base::Adopted;
use super::state::walked;
use crate::chain::{Change, State, address, extend};
use alloy_primitives::{B256, Bytes, U256, keccak256};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use quintet_store::{Commit, Store, TrieFlush};
use quintet_types::ExecutedBlock;
use std::collections::BTreeMap;

const ADDRESSES: u64 = 5;
const SLOTS: u64 = 4;

/// One commit: how many blocks to take away, and the new blocks' changes.
type Step = (usize, Vec<Vec<(u64, Change)>>, Vec<(Vec<u8>, Option<u8>)>);

fn change() -> impl Strategy<Value = Change> {
    let slots = || vec((0..SLOTS, 0..3_u64), 0..4);
    prop_oneof![
        (0..3_u64, 0..3_u64).prop_map(|(nonce, balance)| Change::Pay(nonce, balance)),
        slots().prop_map(Change::Write),
        Just(Change::Destroy),
        slots().prop_map(Change::Renew),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let block = vec((0..ADDRESSES, change()), 0..5);
    let node = (vec(0..3_u8, 0..3), any::<Option<u8>>());
    (prop_oneof![3 => Just(0), 1 => 0..6_usize], vec(block, 0..4), vec(node, 0..4))
}

/// What the store must hold.
#[derive(Default)]
struct Model {
    /// The number of the first of [`Self::blocks`]: above zero, its state is the base.
    first: u64,
    blocks: Vec<ExecutedBlock>,
    states: Vec<State>,
    nodes: BTreeMap<Vec<u8>, u8>,
}

impl Model {
    /// Applies a step and returns it as a commit.
    fn step(&mut self, salt: u64, (depth, blocks, nodes): &Step) -> Commit {
        let keep = self.blocks.len().saturating_sub(*depth).max(1).min(self.blocks.len());
        let unwind_to = (keep < self.blocks.len()).then(|| self.first + keep as u64 - 1);
        self.blocks.truncate(keep);
        self.states.truncate(keep);
        for changes in blocks {
            let mut state = self.states.last().cloned().unwrap_or_default();
            let parent = self.blocks.last().map(|block| block.block.block_ref());
            self.blocks.push(extend(&mut state, parent, salt, changes));
            self.states.push(state);
        }
        let trie = self.blocks.last().map(|head| TrieFlush {
            block: head.block.block_ref(),
            wiped_prefixes: if salt.is_multiple_of(5) { vec![vec![1]] } else { vec![] },
            nodes: nodes.iter().cloned().collect::<BTreeMap<_, _>>().into_iter().map(as_node).collect(),
        });
        if let Some(flush) = &trie {
            self.nodes.retain(|key, _| !flush.wiped_prefixes.iter().any(|prefix| key.starts_with(prefix)));
            for (key, node) in &flush.nodes {
                match node {
                    Some(node) => self.nodes.insert(key.clone(), node[0]),
                    None => self.nodes.remove(key),
                };
            }
        }
        Commit { unwind_to, blocks: self.blocks[keep..].to_vec(), trie, ..Commit::default() }
    }

    fn check(&self, store: &dyn Store) {
        for (number, (block, state)) in (self.first..).zip(self.blocks.iter().zip(&self.states)) {
            if number > self.first || number == 0 {
                assert_eq!(store.diff(number).unwrap(), *block.diff, "diff of block {number}");
            }
            if self.first == 0 {
                assert_eq!(walked(store, number), *state, "walk at block {number}");
            }
            let reader = store.state_at(number).unwrap();
            for index in 0..ADDRESSES {
                let address = address(index);
                let expected = state.get(&address);
                let account = reader.account(&address).unwrap();
                assert_eq!(account, expected.map(|entry| entry.0), "account {index} at block {number}");
                assert_eq!(store.account_at(&address, number).unwrap(), account);
                assert_eq!(store.accounts_at(&[address], number).unwrap(), [account]);
                for slot in (0..SLOTS).map(U256::from) {
                    let Some((account, slots)) = expected else { continue };
                    let value = reader.storage(&address, account.incarnation, &slot).unwrap();
                    assert_eq!(
                        value,
                        slots.get(&slot).copied().unwrap_or_default(),
                        "slot {slot} at {number}"
                    );
                    let keys = [(address, account.incarnation, slot)];
                    assert_eq!(store.slots_at(&keys, number).unwrap(), [value]);
                }
                let Some((account, slots)) = expected else { continue };
                let hashed = store.hashed_storage_at(&address, account.incarnation, number).unwrap();
                let hash = |(slot, value): (&U256, &U256)| (keccak256(slot.to_be_bytes::<32>()), *value);
                assert_eq!(hashed, slots.iter().map(hash).collect(), "storage of {index} at {number}");
            }
        }
        for key in (0..3_u8).flat_map(|a| (0..3).map(move |b| vec![a, b])) {
            for key in [key.clone(), key[..1].to_vec(), vec![]] {
                let node = self.nodes.get(&key).map(|byte| Bytes::from(vec![*byte]));
                assert_eq!(store.trie_node(&key).unwrap(), node);
            }
        }
        self.check_edges(store);
    }

    fn check_edges(&self, store: &dyn Store) {
        let end = self.first + self.blocks.len() as u64;
        assert_eq!(store.head().unwrap(), self.blocks.last().map(|block| block.block.block_ref()));
        assert_eq!(store.canonical_hash(end).unwrap(), None::<B256>);
        assert!(store.state_at(end).is_err());
        // Nothing is left above the head.
        for index in 0..ADDRESSES {
            let newest = self.states.last().and_then(|state| state.get(&address(index))).map(|entry| entry.0);
            assert_eq!(store.account_at(&address(index), u64::MAX).unwrap(), newest);
        }
    }
}

fn as_node((key, node): (Vec<u8>, Option<u8>)) -> (Vec<u8>, Option<Bytes>) {
    (key, node.map(|byte| Bytes::from(vec![byte])))
}

/// Runs random histories from `first` on, which is the store's head.
fn run(store: &dyn Store, first: &ExecutedBlock, state: &State) {
    // One store for all cases would keep side blocks; each history starts with a salt of its own instead.
    let config = Config { cases: 48, failure_persistence: None, ..Config::default() };
    let salts = std::cell::Cell::new(0);
    let block = first.block.block_ref();
    let clean = || {
        let trie = TrieFlush { block, wiped_prefixes: vec![vec![]], nodes: vec![] };
        let unwind_to = Some(block.number);
        store.commit(Commit { unwind_to, trie: Some(trie), ..Commit::default() }).unwrap();
    };
    let run = |steps: Vec<Step>| {
        clean();
        let mut model = Model { first: block.number, ..Model::default() };
        model.blocks.push(first.clone());
        model.states.push(state.clone());
        for step in &steps {
            salts.set(salts.get() + 1);
            store.commit(model.step(salts.get(), step)).unwrap();
        }
        model.check(store);
        Ok(())
    };
    TestRunner::new(config).run(&vec(step(), 1..8), run).unwrap();
}

pub(crate) fn any_history_reads_like_the_model(place: &Place) {
    let store = place();
    let first = extend(&mut State::new(), None, 0, &[]);
    store.commit(crate::chain::commit(std::slice::from_ref(&first))).unwrap();
    run(&*store, &first, &State::new());
}

pub(crate) fn any_history_over_a_base_reads_like_the_model(place: &Place) {
    let store = place();
    let changes = [
        (0, Change::Pay(1, 1)),
        (1, Change::Renew(vec![(0, 1), (1, 2), (3, 1)])),
        (2, Change::Write(vec![(2, 2)])),
        (3, Change::Renew(vec![])),
    ];
    let adopted = Adopted::new(&*store, 3, &changes);
    run(&*store, &adopted.head, &adopted.state);
}
