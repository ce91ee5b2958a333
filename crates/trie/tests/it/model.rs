//! A state as plain maps, random blocks on it, and a store of nodes as an ordered map of bytes.

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use proptest::prelude::*;
use quintet_trie::{Nibbles, NodeReader, Owner, TrieError, TrieUpdate, node_key, storage_prefix};
use quintet_types::{Account, AccountDiff, StateDiff};
use std::collections::BTreeMap;

pub(crate) type State = BTreeMap<Address, (Account, BTreeMap<U256, U256>)>;

#[derive(Clone, Debug)]
pub(crate) enum Op {
    Balance(u8, u64),
    Store(u8, u16, u8),
    Destroy(u8),
    Recreate(u8, BTreeMap<u16, u8>),
}

#[derive(Clone, Debug)]
pub(crate) struct Block(Vec<Op>);

impl Block {
    /// Hundreds of accounts, one of them with thousands of slots.
    pub(crate) fn large(number: u64) -> Self {
        let mut ops = Vec::new();
        for n in 0..250u8 {
            ops.push(match (u64::from(n) + number) % 7 {
                0 if number > 1 => Op::Destroy(n),
                1 => Op::Recreate(n, (0..100).map(|slot| (slot, n.max(1))).collect()),
                2 => Op::Store(n, u16::from(n) % 5, n),
                _ => Op::Balance(n, u64::from(n) * number),
            });
        }
        let value = |slot: u16| u8::try_from((u64::from(slot) * number) % 5).unwrap();
        ops.extend((0..3000).map(|slot| Op::Store(251, slot, value(slot))));
        Self(ops)
    }

    /// One slot of one of [`Block::large`]'s accounts.
    pub(crate) fn touch(address: Address) -> Self {
        let n = (0..=255).find(|n| self::address(*n) == address).unwrap();
        Self(vec![Op::Store(n, 7777, 1)])
    }
}

fn op() -> impl Strategy<Value = Op> {
    let account = 0..40u8;
    prop_oneof![
        3 => (account.clone(), any::<u64>()).prop_map(|(n, wei)| Op::Balance(n, wei)),
        6 => (account.clone(), 0..60u16, 0..4u8).prop_map(|(n, slot, value)| Op::Store(n, slot, value)),
        2 => account.clone().prop_map(Op::Destroy),
        1 => (account, prop::collection::btree_map(0..60u16, 0..4u8, 0..9))
            .prop_map(|(n, slots)| Op::Recreate(n, slots)),
    ]
}

pub(crate) fn block() -> impl Strategy<Value = Block> {
    prop::collection::vec(op(), 0..80).prop_map(Block)
}

pub(crate) fn address(n: u8) -> Address {
    Address::repeat_byte(n)
}

/// The state after a block, and what the block changed.
pub(crate) fn execute(before: &State, block: &Block, number: u64) -> (State, StateDiff) {
    let mut after = before.clone();
    for op in &block.0 {
        match op {
            Op::Balance(n, wei) => {
                let (account, _) =
                    after.entry(address(*n)).or_insert((Account::new(number), BTreeMap::new()));
                account.balance = U256::from(*wei);
                account.nonce += 1;
            }
            Op::Store(n, slot, value) => {
                let entry = after.entry(address(*n)).or_insert((Account::new(number), BTreeMap::new()));
                entry.0.code_hash = keccak256([*n]);
                store(&mut entry.1, *slot, *value);
            }
            Op::Destroy(n) => drop(after.remove(&address(*n))),
            Op::Recreate(n, slots) => {
                let mut storage = BTreeMap::new();
                for (slot, value) in slots {
                    store(&mut storage, *slot, *value);
                }
                after.insert(address(*n), (Account::new(number), storage));
            }
        }
    }
    let diff = diff(before, &after);
    (after, diff)
}

fn store(storage: &mut BTreeMap<U256, U256>, slot: u16, value: u8) {
    // A few values are long, so that some leaves are and some are not.
    let value = if value == 3 { U256::MAX } else { U256::from(value) };
    match value {
        U256::ZERO => drop(storage.remove(&U256::from(slot))),
        value => drop(storage.insert(U256::from(slot), value)),
    }
}

fn diff(before: &State, after: &State) -> StateDiff {
    let mut diff = StateDiff::default();
    for address in before.keys().chain(after.keys()) {
        let (old, new) = (before.get(address), after.get(address));
        if old == new {
            continue;
        }
        let mut change =
            AccountDiff { before: old.map(|old| old.0), after: new.map(|new| new.0), ..Default::default() };
        if let Some((_, slots)) = new {
            let none = BTreeMap::new();
            let old = if change.storage_wiped() { &none } else { old.map_or(&none, |old| &old.1) };
            let value = |of: &BTreeMap<U256, U256>, slot| of.get(slot).copied().unwrap_or_default();
            let keys = old.keys().chain(slots.keys());
            let differs = keys.filter(|slot| value(old, slot) != value(slots, slot));
            change.storage = differs.map(|slot| (*slot, value(slots, slot))).collect();
        }
        diff.accounts.insert(*address, change);
    }
    diff
}

/// Nodes under their store keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flat(BTreeMap<Vec<u8>, Bytes>);

impl Flat {
    pub(crate) fn apply(&mut self, update: &TrieUpdate) {
        update.wiped.iter().for_each(|hashed| self.drop_storage(hashed));
        for ((owner, path), node) in &update.nodes {
            let key = node_key(owner, path);
            match node {
                Some(rlp) => drop(self.0.insert(key, rlp.clone())),
                None => drop(self.0.remove(&key)),
            }
        }
    }

    pub(crate) fn drop_storage(&mut self, hashed: &B256) {
        self.0.retain(|key, _| !key.starts_with(&storage_prefix(hashed)));
    }

    /// Drops all nodes but those of one storage.
    pub(crate) fn keep_storage(&mut self, hashed: &B256) {
        self.0.retain(|key, _| key.starts_with(&storage_prefix(hashed)));
    }

    /// Whether the node is new.
    pub(crate) fn insert(&mut self, key: Vec<u8>, node: Bytes) -> bool {
        self.0.insert(key, node).is_none()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Puts other bytes in place of the n-th node.
    pub(crate) fn damage(&mut self, n: usize, bytes: Bytes) {
        let at = n % self.0.len();
        *self.0.values_mut().nth(at).unwrap() = bytes;
    }
}

impl NodeReader for Flat {
    fn node(&self, owner: &Owner, path: &Nibbles) -> Result<Option<Bytes>, TrieError> {
        Ok(self.0.get(&node_key(owner, path)).cloned())
    }
}
