//! Compares the state at a chain's head with the one that vectors list: every account and slot, and no others.

use crate::suites::json::{State, same};
use alloy_primitives::{Address, KECCAK256_EMPTY, U256, keccak256};
use quintet_store::{Store, StoreError};
use quintet_types::Account;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// All accounts after canonical block `number`.
pub(crate) fn accounts(store: &dyn Store, number: u64) -> Result<BTreeMap<Address, Account>, StoreError> {
    let mut accounts = BTreeMap::new();
    store.for_each_account(number, Address::ZERO, &mut |address, account| {
        accounts.insert(address, account);
        ControlFlow::Continue(())
    })?;
    Ok(accounts)
}

/// All slots of an account after canonical block `number`.
pub(crate) fn slots(
    store: &dyn Store,
    address: &Address,
    account: &Account,
    number: u64,
) -> Result<BTreeMap<U256, U256>, StoreError> {
    let mut slots = BTreeMap::new();
    store.for_each_storage(address, account.incarnation, number, U256::ZERO, &mut |slot, value| {
        slots.insert(slot, value);
        ControlFlow::Continue(())
    })?;
    Ok(slots)
}

/// Compares the state after canonical block `number`.
///
/// # Errors
/// The first difference.
pub(crate) fn compare(store: &dyn Store, number: u64, want: &State) -> Result<(), String> {
    let have = accounts(store, number).map_err(|error| error.to_string())?;
    for (address, want) in want {
        let account = have.get(address).ok_or_else(|| format!("account {address} is missing"))?;
        let of = |what: &str| format!("{what} of {address}");
        same(&of("nonce"), &U256::from(account.nonce), &want.nonce)?;
        same(&of("balance"), &account.balance, &want.balance)?;
        let code = if want.code.is_empty() { KECCAK256_EMPTY } else { keccak256(&want.code) };
        same(&of("code hash"), &account.code_hash, &code)?;
        let have = slots(store, address, account, number).map_err(|error| error.to_string())?;
        let set = want.storage.iter().filter(|(_, value)| !value.is_zero());
        if !set.clone().eq(&have) {
            let want: BTreeMap<_, _> = set.collect();
            return Err(format!("storage of {address} is {have:?} instead of {want:?}"));
        }
    }
    match have.keys().find(|address| !want.contains_key(*address)) {
        Some(address) => Err(format!("account {address} should not be")),
        None => Ok(()),
    }
}
