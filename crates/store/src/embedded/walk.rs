//! Walks over the state at one block, for dumps and for computing a root from scratch.
//!
//! A walk takes a new snapshot every so many rows, so that a long one does not keep old pages alive.

use super::keys;
use super::state::State;
use super::view::{View, checked};
use crate::StoreError;
use crate::codec;
use alloy_primitives::{Address, U256};
use quintet_types::Account;
use signet_libmdbx::Ro;
use std::ops::ControlFlow;

/// Entries read from one snapshot.
const STRETCH: usize = 4096;

/// What was found, and the key at which to go on; `None` at the end.
type Stretch<K, V> = (Vec<(K, V)>, Option<K>);

/// Calls `visit` with each account that has a version, from `from` on.
pub(super) fn accounts(
    state: &State,
    from: Address,
    visit: &mut dyn FnMut(Address, Option<Account>) -> ControlFlow<()>,
) -> Result<(), StoreError> {
    let mut next = Some(from);
    while let Some(from) = next {
        let (found, rest) = state.read(|view| account_stretch(view, from, state.block().number))?;
        for (address, account) in found {
            if visit(address, account).is_break() {
                return Ok(());
            }
        }
        next = rest;
    }
    Ok(())
}

/// The accounts of one stretch.
fn account_stretch(
    view: View<'_, Ro>,
    from: Address,
    block: u64,
) -> Result<Stretch<Address, Option<Account>>, StoreError> {
    view.held(block)?;
    let table = view.tables.accounts;
    let mut found = Vec::new();
    let mut address = from;
    for _ in 0..STRETCH {
        let Some((key, value)) = view.seek(table, &keys::account(&address, block))? else {
            return Ok((found, None));
        };
        let at = checked(table, &key, keys::account_parts(&key))?;
        if at != address {
            // The address has no version at or below the block; its neighbour may have.
            address = at;
            continue;
        }
        let exists = !value.is_empty();
        let account = exists.then(|| checked(table, &key, codec::account(&value))).transpose()?;
        found.push((address, account));
        match after(address.as_slice()) {
            Some(next) => address = Address::from(next),
            None => return Ok((found, None)),
        }
    }
    Ok((found, Some(address)))
}

/// Which storage is walked.
pub(super) struct Storage<'a> {
    pub(super) address: &'a Address,
    pub(super) incarnation: u64,
}

/// Calls `visit` with each slot that has a version, from `from` on.
pub(super) fn storage(
    state: &State,
    storage: &Storage<'_>,
    from: U256,
    visit: &mut dyn FnMut(U256, U256) -> ControlFlow<()>,
) -> Result<(), StoreError> {
    let mut next = Some(from);
    while let Some(from) = next {
        let stretch = |view: View<'_, Ro>| slot_stretch(view, storage, from, state.block().number, |_| false);
        let (found, rest) = state.read(stretch)?;
        for (slot, value) in found {
            if visit(slot, value).is_break() {
                return Ok(());
            }
        }
        next = rest;
    }
    Ok(())
}

/// Whether there is a slot that is not zero. Slots of the base count whatever became of them: nobody asks about an
/// account that could have changed its storage.
pub(super) fn any_slot(state: &State, storage: &Storage<'_>) -> Result<bool, StoreError> {
    let set = |value: &U256| !value.is_zero();
    let mut next = Some(U256::ZERO);
    while let Some(from) = next {
        let stretch = |view: View<'_, Ro>| slot_stretch(view, storage, from, state.block().number, set);
        let (found, rest) = state.read(stretch)?;
        if found.last().is_some_and(|(_, value)| set(value)) {
            return Ok(true);
        }
        next = rest;
    }
    state.read(|view| Ok(view.has_base(storage.incarnation) && view.has_base_slots(storage.address)?))
}

/// The slots of one stretch, until one's value is `enough`.
fn slot_stretch(
    view: View<'_, Ro>,
    storage: &Storage<'_>,
    from: U256,
    block: u64,
    enough: fn(&U256) -> bool,
) -> Result<Stretch<U256, U256>, StoreError> {
    view.held(block)?;
    let table = view.tables.storage;
    let mut found = Vec::new();
    let mut slot = from;
    for _ in 0..STRETCH {
        let key = keys::storage(storage.address, storage.incarnation, &slot, block);
        let Some((key_found, value)) = view.seek(table, &key)? else { return Ok((found, None)) };
        if key_found.get(..28) != key.get(..28) {
            return Ok((found, None));
        }
        let at = checked(table, &key_found, keys::storage_slot(&key_found))?;
        if at != slot {
            slot = at;
            continue;
        }
        let value = checked(table, &key_found, codec::uint(&value))?;
        found.push((slot, value));
        match slot.checked_add(U256::from(1)) {
            Some(next) => slot = next,
            None => return Ok((found, None)),
        }
        if enough(&value) {
            break;
        }
    }
    Ok((found, Some(slot)))
}

/// The next address in order; `None` behind the last.
fn after(address: &[u8]) -> Option<[u8; 20]> {
    let mut next: [u8; 20] = address.try_into().ok()?;
    for byte in next.iter_mut().rev() {
        let (sum, carry) = byte.overflowing_add(1);
        *byte = sum;
        if !carry {
            return Some(next);
        }
    }
    None
}
