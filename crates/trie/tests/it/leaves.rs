//! One trie by its leaves, with any keys: those that share long beginnings too, which no hashes do.

use crate::model::Flat;
use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_trie::HashBuilder;
use proptest::prelude::*;
use quintet_trie::{AccountChange, Nibbles, NodeReader, Owner, TrieChanges, update_with};
use quintet_types::Account;
use std::collections::BTreeMap;

pub(crate) type Leaves = BTreeMap<B256, U256>;

/// A key that shares `shared` nibbles with others of its family.
fn key(family: u8, shared: usize, rest: u8) -> B256 {
    let mut path = Nibbles::unpack(B256::repeat_byte(family * 0x55)).slice(..shared);
    while path.len() < 64 {
        path.push_unchecked(if path.len() == shared { rest & 0xf } else { rest >> 4 });
    }
    B256::from_slice(&path.pack())
}

pub(crate) fn any_key() -> impl Strategy<Value = B256> {
    let related = (0..3u8, prop_oneof![0..65usize, 60..65usize], any::<u8>());
    prop_oneof![
        related.prop_map(|(family, shared, rest)| key(family, shared, rest)),
        any::<[u8; 32]>().prop_map(B256::from),
        any::<u8>().prop_map(|n| keccak256([n])),
    ]
}

/// Some values so short that leaves are inlined in their parents, some as long as values get.
pub(crate) fn any_value() -> impl Strategy<Value = U256> {
    prop_oneof![
        3 => (1..4u64).prop_map(U256::from),
        1 => any::<u64>().prop_map(|n| U256::from(n) | U256::from(1)),
        1 => Just(U256::MAX),
    ]
}

pub(crate) fn any_leaves(most: usize) -> impl Strategy<Value = Leaves> {
    prop::collection::btree_map(any_key(), any_value(), 0..=most)
}

/// `count` leaves whose keys are hashes.
pub(crate) fn hashed_leaves(count: u64) -> Leaves {
    (1..=count).map(|n| (keccak256(n.to_be_bytes()), U256::from(n) << (n % 200))).collect()
}

pub(crate) fn value(value: &U256) -> Bytes {
    alloy_rlp::encode(value).into()
}

const ADDRESS: Address = Address::ZERO;

pub(crate) fn owner() -> Owner {
    Owner::Storage(keccak256(ADDRESS))
}

/// The root by alloy's hash builder.
pub(crate) fn root(leaves: &Leaves) -> B256 {
    let mut builder = HashBuilder::default();
    for (key, of) in leaves {
        builder.add_leaf(Nibbles::unpack(key), &value(of));
    }
    builder.root()
}

/// The nodes that an update leaves of a contract's storage.
pub(crate) fn nodes(leaves: &Leaves) -> Flat {
    let change = AccountChange {
        account: Some(Account::new(0)),
        hashed_storage: leaves.clone(),
        ..AccountChange::default()
    };
    let mut flat = Flat::default();
    let changes = TrieChanges { accounts: [(ADDRESS, change)].into() };
    flat.apply(&update_with(&flat, &changes).unwrap().1);
    flat.keep_storage(&keccak256(ADDRESS));
    flat
}

/// The nodes on the way to a key, but for those in their parents.
pub(crate) fn prove(nodes: &Flat, key: &B256) -> Vec<Bytes> {
    let key = Nibbles::unpack(key);
    (0..=64).filter_map(|length| nodes.node(&owner(), &key.slice(..length)).unwrap()).collect()
}
