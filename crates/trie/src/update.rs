//! From a change of the state to the new root: storage tries first, each on its own, then the account trie.

use crate::merge::{Change, Merged, PARALLEL_CHANGES, StorageRoot, Value, merge};
use crate::{NodeReader, Owner, TrieChanges, TrieError, TrieUpdate};
use alloy_primitives::{Address, B256, U256, keccak256};
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
    });
    run(reader, &targets.collect::<Vec<_>>())
}

/// The state root of the tries behind `reader`.
///
/// # Errors
/// When the root node cannot be read.
pub fn state_root(reader: &dyn NodeReader) -> Result<B256, TrieError> {
    Ok(reader.node(&Owner::State, &Nibbles::new())?.map_or(EMPTY_ROOT_HASH, keccak256))
}

struct Target<'a> {
    address: &'a Address,
    account: Option<Account>,
    wipe: bool,
    storage: &'a BTreeMap<U256, U256>,
}

fn run(reader: &dyn NodeReader, targets: &[Target<'_>]) -> Result<(B256, TrieUpdate), TrieError> {
    let work: usize = targets.iter().map(|target| 1 + target.storage.len()).sum();
    let accounts = if work < PARALLEL_CHANGES {
        targets.iter().map(|target| update_account(reader, target)).collect::<Result<Vec<_>, _>>()?
    } else {
        targets.par_iter().map(|target| update_account(reader, target)).collect::<Result<Vec<_>, _>>()?
    };
    let mut wiped = std::collections::BTreeSet::new();
    let mut changes = Vec::with_capacity(accounts.len());
    let mut nodes = Vec::new();
    for AccountResult { hashed, change, storage } in accounts {
        changes.push(change);
        if let Some(storage) = storage {
            if storage.wiped {
                wiped.insert(hashed);
            }
            let owner = Owner::Storage(hashed);
            nodes.extend(storage.nodes.into_iter().map(|(path, node)| ((owner, path), node)));
        }
    }
    changes.sort_unstable_by_key(|change| change.key);
    let state = merge(reader, &Owner::State, false, &changes)?;
    nodes.extend(state.nodes.into_iter().map(|(path, node)| ((Owner::State, path), node)));
    Ok((state.root, TrieUpdate { nodes: nodes.into_iter().collect(), wiped }))
}

struct AccountResult {
    hashed: B256,
    change: Change,
    storage: Option<Merged>,
}

fn update_account(reader: &dyn NodeReader, target: &Target<'_>) -> Result<AccountResult, TrieError> {
    let hashed = keccak256(target.address);
    let wipe = target.wipe || target.account.is_none();
    let storage = if wipe || !target.storage.is_empty() {
        // Storage of an account that is gone has no place, whatever the changes list.
        let slots = if target.account.is_some() { slot_changes(target.storage) } else { Vec::new() };
        Some(merge(reader, &Owner::Storage(hashed), wipe, &slots)?)
    } else {
        None
    };
    let value = match target.account {
        None => Value::Delete,
        Some(account) => {
            let root = storage.as_ref();
            let storage = root.map_or(StorageRoot::Unchanged, |storage| StorageRoot::Changed {
                old: storage.old_root,
                new: storage.root,
            });
            Value::Account { account, storage }
        }
    };
    Ok(AccountResult { hashed, change: Change { key: Nibbles::unpack_array(&hashed.0), value }, storage })
}

fn slot_changes(storage: &BTreeMap<U256, U256>) -> Vec<Change> {
    let change = |(slot, value): (&U256, &U256)| Change {
        key: Nibbles::unpack_array(&keccak256(slot.to_be_bytes::<32>()).0),
        value: if value.is_zero() { Value::Delete } else { Value::Slot(*value) },
    };
    let mut changes: Vec<Change> = if storage.len() < PARALLEL_CHANGES {
        storage.iter().map(change).collect()
    } else {
        let slots: Vec<_> = storage.iter().collect();
        slots.into_par_iter().map(change).collect()
    };
    changes.sort_unstable_by_key(|change| change.key);
    changes
}
