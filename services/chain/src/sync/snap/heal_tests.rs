//! What was fetched becomes the wanted state, whatever it was, and however often that is interrupted and wants another one.

use super::ask::NodeAt;
use super::build::build;
use super::heal::Healer;
use super::report::Missing;
use alloy_primitives::{B256, Bytes, KECCAK256_EMPTY, U256, keccak256};
use quintet_store::{Durability, FetchedState, Options, Store, open};
use quintet_trie::{Builder, EMPTY_ROOT_HASH, Owner, TrieAccount, node_key};
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use std::collections::BTreeMap;
use tokio_util::sync::CancellationToken;

type Slots = BTreeMap<B256, U256>;

/// A state, and its trie.
#[derive(Clone, Debug, Default, PartialEq)]
struct Sample {
    accounts: BTreeMap<B256, (TrieAccount, Slots)>,
    nodes: BTreeMap<Vec<u8>, Bytes>,
    codes: BTreeMap<B256, Bytes>,
    root: B256,
}

/// Some hashes that share their first nibbles with others, and some that do not.
fn hash(random: &mut StdRng) -> B256 {
    let mut hash = keccak256([random.random_range(0..40_u8)]);
    match random.random_range(0..4) {
        0 => hash[..4].fill(0),
        1 => hash[..3].fill(0xf0),
        2 => hash[1..31].fill(0x0a),
        _ => {}
    }
    hash
}

impl Sample {
    fn new(random: &mut StdRng) -> Self {
        let mut sample = Self::default();
        for _ in 0..random.random_range(0..60) {
            let slots = if random.random_bool(0.5) { 0 } else { random.random_range(1..30) };
            // Small values make nodes that are short enough to be inside others.
            let slots: Slots =
                (0..slots).map(|_| (hash(random), U256::from(random.random_range(1..200)))).collect();
            let code = Bytes::from(vec![random.random_range(1..8_u8); 3]);
            let has_code = random.random_bool(0.3);
            let code_hash = if has_code { keccak256(&code) } else { KECCAK256_EMPTY };
            if has_code {
                sample.codes.insert(code_hash, code);
            }
            let balance = U256::from(random.random_range(0..4));
            let account = TrieAccount { nonce: 1, balance, storage_root: EMPTY_ROOT_HASH, code_hash };
            sample.accounts.insert(hash(random), (account, slots));
        }
        sample.seal();
        sample
    }

    /// A state that has much in common with this one.
    fn changed(&self, random: &mut StdRng) -> Self {
        let other = Self::new(random);
        let mut changed = Self::default();
        for (hash, (account, slots)) in self.accounts.iter().chain(&other.accounts) {
            if random.random_bool(0.8) {
                changed.accounts.insert(*hash, (*account, slots.clone()));
            }
            if random.random_bool(0.3)
                && let Some((_, slots)) = changed.accounts.get_mut(hash)
            {
                slots.insert(self::hash(random), U256::from(1));
                slots.pop_first();
            }
        }
        changed.codes = self.codes.clone().into_iter().chain(other.codes).collect();
        changed.seal();
        changed
    }

    fn seal(&mut self) {
        let nodes = &mut self.nodes;
        let mut add = |key, node| assert!(nodes.insert(key, node).is_none());
        let mut state = Builder::new(Owner::State);
        for (hash, (account, slots)) in &mut self.accounts {
            let mut storage = Builder::new(Owner::Storage(*hash));
            for (slot, value) in slots.iter() {
                storage.push(slot, &alloy_rlp::encode(value), &mut add);
            }
            account.storage_root = storage.finish(&mut add);
            state.push(hash, &alloy_rlp::encode(*account), &mut add);
        }
        self.root = state.finish(&mut add);
    }

    /// Parts of this state and of another one, as if they had been fetched.
    fn mixed(&self, other: &Self, random: &mut StdRng) -> FetchedState {
        let (mut accounts, mut slots) = (BTreeMap::new(), BTreeMap::new());
        let mut code = BTreeMap::new();
        for sample in [self, other] {
            for (hash, (account, all)) in &sample.accounts {
                if random.random_bool(0.8) {
                    accounts.insert(*hash, *account);
                }
                let some = all.iter().filter(|_| random.random_bool(0.9));
                slots.extend(some.map(|(slot, value)| ((*hash, *slot), *value)));
            }
            code.extend(sample.codes.clone());
        }
        // Codes are there with their accounts, and slots are never left of an account that has none.
        let has_slots = |hash: &B256| {
            accounts.get(hash).is_some_and(|account: &TrieAccount| account.storage_root != EMPTY_ROOT_HASH)
        };
        slots.retain(|(hash, _), _| has_slots(hash));
        let slots = slots.into_iter().map(|((hash, slot), value)| (hash, slot, value)).collect();
        let (accounts, code) = (accounts.into_iter().collect(), code.into_iter().collect());
        FetchedState { accounts, slots, code, ..FetchedState::default() }
    }

    fn assert_held(&self, store: &dyn Store) {
        let accounts = store.base_accounts(&B256::ZERO, 1000).unwrap();
        let expected: Vec<_> = self.accounts.iter().map(|(hash, (account, _))| (*hash, *account)).collect();
        assert_eq!(accounts, expected);
        for (hash, (account, slots)) in &self.accounts {
            let held = store.base_slots(hash, &B256::ZERO, 1000).unwrap();
            assert_eq!(held, slots.clone().into_iter().collect::<Vec<_>>(), "{hash}");
            assert!(
                account.code_hash == KECCAK256_EMPTY || store.code(&account.code_hash).unwrap().is_some()
            );
        }
        for (key, node) in &self.nodes {
            assert_eq!(store.trie_node(key).unwrap().as_ref(), Some(node), "{key:x?}");
        }
        let held = store.stats().unwrap().into_iter().find(|table| table.name == "trie").unwrap();
        assert_eq!(held.entries, self.nodes.len() as u64, "no other nodes");
    }
}

/// Heals until it is done, or for so many rounds. Says whether it is done.
fn heal(store: &dyn Store, wanted: &Sample, random: &mut StdRng, rounds: usize) -> bool {
    let mut healer = Healer::new(store, wanted.root).unwrap();
    for _ in 0..rounds {
        if healer.is_done() {
            break;
        }
        let mut asked = healer.ask_nodes(random.random_range(1..20));
        asked.shuffle(random);
        let lost = asked.split_off(random.random_range(0..=asked.len()));
        healer.want_nodes_again(lost);
        let node = |at: NodeAt| (at.clone(), wanted.nodes[&node_key(&at.owner, &at.path)].clone());
        healer.nodes(store, asked.into_iter().map(node).collect()).unwrap();
        let codes = healer.ask_codes(random.random_range(1..3));
        for code in codes {
            healer.code(code, wanted.codes[&code].clone());
        }
        if random.random_bool(0.3) {
            store.write_fetched(healer.take_out()).unwrap();
        }
        assert_eq!(healer.missing() == Missing::default(), healer.is_done());
    }
    // What was not written is lost.
    if healer.is_done() || random.random_bool(0.5) {
        store.write_fetched(healer.take_out()).unwrap();
    }
    healer.is_done()
}

#[test]
fn what_was_fetched_becomes_the_wanted_state() {
    for seed in 0..30 {
        let random = &mut StdRng::seed_from_u64(seed);
        let directory = tempfile::tempdir().unwrap();
        let store =
            open(directory.path(), &Options { durability: Durability::None, ..Options::default() }).unwrap();
        let store: &dyn Store = store.as_ref();
        let first = Sample::new(random);
        let second = first.changed(random);
        store.write_fetched(first.mixed(&second, random)).unwrap();
        build(store, &CancellationToken::new()).unwrap().unwrap();
        let third = second.changed(random);
        let states = [&first, &second, &third];
        for _ in 0..random.random_range(0..6) {
            let wanted = states[random.random_range(0..3)];
            let rounds = random.random_range(0..40);
            if heal(store, wanted, random, rounds) {
                wanted.assert_held(store);
            }
        }
        let wanted = states[random.random_range(0..3)];
        assert!(heal(store, wanted, random, usize::MAX), "seed {seed}");
        wanted.assert_held(store);
    }
}

#[test]
fn a_whole_state_is_built_and_needs_no_healing() {
    let random = &mut StdRng::seed_from_u64(7);
    let directory = tempfile::tempdir().unwrap();
    let store =
        open(directory.path(), &Options { durability: Durability::None, ..Options::default() }).unwrap();
    let store: &dyn Store = store.as_ref();
    let sample = Sample::new(random);
    let accounts = sample.accounts.iter().map(|(hash, (account, _))| (*hash, *account)).collect();
    let slots = sample.accounts.iter().flat_map(|(hash, (_, slots))| {
        slots.iter().map(|(slot, value)| (*hash, *slot, *value)).collect::<Vec<_>>()
    });
    let code = sample.codes.clone().into_iter().collect();
    store
        .write_fetched(FetchedState { accounts, slots: slots.collect(), code, ..FetchedState::default() })
        .unwrap();
    let root = build(store, &CancellationToken::new()).unwrap();
    assert_eq!(root, Some(sample.root));
    sample.assert_held(store);
    assert!(Healer::new(store, sample.root).unwrap().is_done());
}
