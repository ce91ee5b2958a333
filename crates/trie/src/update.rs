//! From a change of the state to the new root: storage tries first, each on its own, then the account trie.

use crate::fresh::hash_in_parallel;
use crate::merge::{Change, Merged, PARALLEL_CHANGES, StorageRoot, Value, merge, seal};
use crate::{NodeReader, Owner, TrieChanges, TrieError, TrieUpdate};
use alloy_primitives::{Address, B256, U256};
use alloy_trie::{EMPTY_ROOT_HASH, Nibbles};
use quintet_types::{Account, StateDiff};
use rayon::prelude::*;
use std::collections::BTreeMap;

/// Applies a block's state diff to the tries behind `reader`; returns the new state root and the nodes that
/// changed.
///
/// # Errors
/// When a node cannot be read, or the stored nodes do not form a trie.
pub fn update(reader: &dyn NodeReader, diff: &StateDiff) -> Result<(B256, TrieUpdate), TrieError> {
    let targets = diff.accounts.iter().map(|(address, diff)| Target {
        address,
        account: diff.after,
        wipe: diff.storage_wiped(),
        storage: &diff.storage,
        hashed_storage: &NONE,
    });
    run(reader, &targets.collect::<Vec<_>>())
}

/// As [`update`], for changes that are not one block's diff: the way back in a reorg, or many blocks at once.
///
/// # Errors
/// As [`update`].
pub fn update_with(reader: &dyn NodeReader, changes: &TrieChanges) -> Result<(B256, TrieUpdate), TrieError> {
    let targets = changes.accounts.iter().map(|(address, change)| Target {
        address,
        account: change.account,
        wipe: change.wipe_storage,
        storage: &change.storage,
        hashed_storage: &change.hashed_storage,
    });
    run(reader, &targets.collect::<Vec<_>>())
}

/// The state root of the tries behind `reader`.
///
/// # Errors
/// When the root node cannot be read.
pub fn state_root(reader: &dyn NodeReader) -> Result<B256, TrieError> {
    Ok(reader.root(&Owner::State)?.map_or(EMPTY_ROOT_HASH, |(root, _)| root))
}

struct Target<'a> {
    address: &'a Address,
    account: Option<Account>,
    wipe: bool,
    storage: &'a BTreeMap<U256, U256>,
    hashed_storage: &'a BTreeMap<B256, U256>,
}

/// What a block's diff has of slots by hash.
static NONE: BTreeMap<B256, U256> = BTreeMap::new();

impl Target<'_> {
    fn wipes(&self) -> bool {
        self.wipe || self.account.is_none()
    }

    fn changes_storage(&self) -> bool {
        self.wipes() || self.slots() > 0
    }

    fn slots(&self) -> usize {
        self.storage.len() + self.hashed_storage.len()
    }
}

fn run(reader: &dyn NodeReader, targets: &[Target<'_>]) -> Result<(B256, TrieUpdate), TrieError> {
    let addresses: Vec<&[u8]> = targets.iter().map(|target| target.address.as_slice()).collect();
    let hashed = hash_in_parallel(&addresses);
    let mut storages = merge_storages(reader, targets, &hashed)?;
    seal(reader, &mut storages)?;

    let mut storage_roots = vec![StorageRoot::Unchanged; targets.len()];
    let changed = targets.iter().zip(&mut storage_roots).filter(|(target, _)| target.changes_storage());
    for ((_, root), (_, merged)) in changed.zip(&storages) {
        *root = StorageRoot::Changed { old: merged.old_root, new: merged.root() };
    }
    let mut order: Vec<_> = hashed.iter().zip(targets).zip(storage_roots).collect();
    order.sort_unstable_by_key(|((hashed, _), _)| **hashed);
    let changes: Vec<Change> = order
        .into_iter()
        .map(|((hashed, target), storage)| Change {
            key: Nibbles::unpack_array(&hashed.0),
            value: target.account.map_or(Value::Delete, |account| Value::Account { account, storage }),
        })
        .collect();
    let mut state = [(Owner::State, merge(reader, &Owner::State, false, &changes)?)];
    seal(reader, &mut state)?;

    let mut update = TrieUpdate::default();
    let mut root = EMPTY_ROOT_HASH;
    for (owner, merged) in storages.into_iter().chain(state) {
        // The state comes last.
        root = merged.root();
        update.push(owner, merged);
    }
    Ok((root, update))
}

/// The passes over the storage tries that change, in the order of their targets.
fn merge_storages(
    reader: &dyn NodeReader,
    targets: &[Target<'_>],
    hashed: &[B256],
) -> Result<Vec<(Owner, Merged)>, TrieError> {
    let accounts = targets.iter().zip(hashed);
    let changed: Vec<_> = accounts.filter(|(target, _)| target.changes_storage()).collect();
    let work: usize = changed.iter().map(|(target, _)| 1 + target.slots()).sum();
    let pass = |&(target, hashed): &(&Target<'_>, &B256)| {
        let owner = Owner::Storage(*hashed);
        // Storage of an account that is gone has no place, whatever the changes list.
        let slots = if target.account.is_some() { slot_changes(target) } else { Vec::new() };
        Ok((owner, merge(reader, &owner, target.wipes(), &slots)?))
    };
    if work < PARALLEL_CHANGES {
        changed.iter().map(pass).collect()
    } else {
        changed.par_iter().map(pass).collect()
    }
}

fn slot_changes(target: &Target<'_>) -> Vec<Change> {
    let keys: Vec<[u8; 32]> = target.storage.keys().map(U256::to_be_bytes).collect();
    let keys: Vec<&[u8]> = keys.iter().map(|key| &key[..]).collect();
    let mut slots: Vec<_> = hash_in_parallel(&keys).into_iter().zip(target.storage.values()).collect();
    slots.extend(target.hashed_storage.iter().map(|(hashed, value)| (*hashed, value)));
    // Of a slot that is there twice, the first one stays, which is not the hashed one.
    slots.sort_by_key(|(hashed, _)| *hashed);
    slots.dedup_by_key(|(hashed, _)| *hashed);
    let change = |(hashed, value): (B256, &U256)| Change {
        key: Nibbles::unpack_array(&hashed.0),
        value: if value.is_zero() { Value::Delete } else { Value::Slot(*value) },
    };
    slots.into_iter().map(change).collect()
}
