//! The tables' ordered keys. Numbers are big-endian; a version's block is inverted, so that the first key at
//! or after `entry | !N` is the entry's newest version at or below block N.

use alloy_primitives::{Address, B256, U256};

/// Length of `address | !block`.
pub(super) const ACCOUNT: usize = 28;
/// Length of `address | incarnation | slot | !block`.
pub(super) const STORAGE: usize = 68;
/// Length of `number | hash`.
pub(super) const BLOCK: usize = 40;
/// Length of `account hash | slot hash`.
pub(super) const BASE_SLOT: usize = 64;

/// `address | !block`.
pub(super) fn account(address: &Address, block: u64) -> [u8; ACCOUNT] {
    let mut key = [0; ACCOUNT];
    let (head, version) = key.split_at_mut(20);
    head.copy_from_slice(address.as_slice());
    version.copy_from_slice(&(!block).to_be_bytes());
    key
}

/// `address | incarnation | slot | !block`.
pub(super) fn storage(address: &Address, incarnation: u64, slot: &U256, block: u64) -> [u8; STORAGE] {
    let mut key = [0; STORAGE];
    let (head, rest) = key.split_at_mut(20);
    let (middle, rest) = rest.split_at_mut(8);
    let (tail, version) = rest.split_at_mut(32);
    head.copy_from_slice(address.as_slice());
    middle.copy_from_slice(&incarnation.to_be_bytes());
    tail.copy_from_slice(&slot.to_be_bytes::<32>());
    version.copy_from_slice(&(!block).to_be_bytes());
    key
}

/// `number | hash`: all blocks in the order of their numbers, so that a growing chain appends.
pub(super) fn block(number: u64, hash: &B256) -> [u8; BLOCK] {
    let mut key = [0; BLOCK];
    let (head, rest) = key.split_at_mut(8);
    head.copy_from_slice(&number.to_be_bytes());
    rest.copy_from_slice(hash.as_slice());
    key
}

/// `account hash | slot hash`.
pub(super) fn base_slot(account: &B256, slot: &B256) -> [u8; BASE_SLOT] {
    let mut key = [0; BASE_SLOT];
    let (head, rest) = key.split_at_mut(32);
    head.copy_from_slice(account.as_slice());
    rest.copy_from_slice(slot.as_slice());
    key
}

/// The address of an account's key; `None` if it is not one.
pub(super) fn account_parts(key: &[u8]) -> Option<Address> {
    (key.len() == ACCOUNT).then(|| Address::from_slice(key.get(..20).unwrap_or_default()))
}

/// The slot of a storage key; `None` if it is not one.
pub(super) fn storage_slot(key: &[u8]) -> Option<U256> {
    if key.len() != STORAGE {
        return None;
    }
    key.get(28..60).and_then(U256::try_from_be_slice)
}

/// A big-endian number; `None` if the bytes are not eight.
pub(super) fn number(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_be_bytes)
}
