//! Walks over the state at one block, for dumps and for computing a root from scratch.
//!
//! Each step of a walk is an index seek to the next key's newest version, taken by a recursive query, so that
//! the many versions of a busy key are passed over. A stretch of so many steps is one statement.

use super::base::account_hash;
use super::copy::bigint;
use super::read::{account, column, value_of};
use super::state::{State, at_block};
use crate::StoreError;
use alloy_primitives::{Address, U256};
use quintet_types::Account;
use std::ops::ControlFlow;

/// Keys in one statement's stretch.
const STRETCH: usize = 4096;

const ACCOUNTS: &str = at_block!(
    "r.nonce, r.balance, r.code_hash, r.incarnation, r.address",
    "WITH RECURSIVE walk AS ( \
       (SELECT address, nonce, balance, code_hash, incarnation, 1 AS step FROM accounts \
        WHERE address >= $2 AND block <= $1 ORDER BY address, block DESC LIMIT 1) \
       UNION ALL \
       SELECT n.address, n.nonce, n.balance, n.code_hash, n.incarnation, walk.step + 1 \
       FROM walk CROSS JOIN LATERAL ( \
         SELECT address, nonce, balance, code_hash, incarnation FROM accounts \
         WHERE address > walk.address AND block <= $1 ORDER BY address, block DESC LIMIT 1) n \
       WHERE walk.step < 4096) \
     SELECT address, nonce, balance, code_hash, incarnation FROM walk"
);
const SLOTS: &str = at_block!(
    "r.value, r.slot",
    "WITH RECURSIVE walk AS ( \
       (SELECT slot, value, 1 AS step FROM storage \
        WHERE address = $2 AND incarnation = $3 AND slot >= $4 AND block <= $1 \
        ORDER BY slot, block DESC LIMIT 1) \
       UNION ALL \
       SELECT n.slot, n.value, walk.step + 1 \
       FROM walk CROSS JOIN LATERAL ( \
         SELECT slot, value FROM storage \
         WHERE address = $2 AND incarnation = $3 AND slot > walk.slot AND block <= $1 \
         ORDER BY slot, block DESC LIMIT 1) n \
       WHERE walk.step < 4096) \
     SELECT slot, value FROM walk"
);
const ANY_SLOT: &str = at_block!(
    "r.value",
    "WITH RECURSIVE walk AS ( \
       (SELECT slot, value FROM storage \
        WHERE address = $2 AND incarnation = $3 AND block <= $1 ORDER BY slot, block DESC LIMIT 1) \
       UNION ALL \
       SELECT n.slot, n.value \
       FROM walk CROSS JOIN LATERAL ( \
         SELECT slot, value FROM storage \
         WHERE address = $2 AND incarnation = $3 AND slot > walk.slot AND block <= $1 \
         ORDER BY slot, block DESC LIMIT 1) n) \
     (SELECT value FROM walk WHERE value <> '' LIMIT 1) \
     UNION ALL (SELECT value FROM base_storage WHERE account = $4 LIMIT 1) LIMIT 1"
);

/// Calls `visit` with each account that has a version, from `from` on.
pub(super) fn accounts(
    state: &State,
    from: Address,
    visit: &mut dyn FnMut(Address, Option<Account>) -> ControlFlow<()>,
) -> Result<(), StoreError> {
    let database = &state.engine.database;
    let mut from = Some(from.0.0);
    while let Some(start) = from {
        let rows = state.rows(ACCOUNTS, &[&state.number, &start.as_slice()])?;
        from = None;
        for row in &rows {
            // Without a key, the row says only that there are none.
            let Some(key) = column::<Option<&[u8]>>(database, row, 5)? else { return Ok(()) };
            let Ok(address) = Address::try_from(key) else { continue };
            if visit(address, account(database, row, 1)?).is_break() {
                return Ok(());
            }
            from = if rows.len() < STRETCH { None } else { after(address.0.0) };
        }
    }
    Ok(())
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
    let database = &state.engine.database;
    let (address, incarnation) = (storage.address.as_slice(), bigint(storage.incarnation));
    let mut from = Some(from.to_be_bytes::<32>());
    while let Some(start) = from {
        let rows = state.rows(SLOTS, &[&state.number, &address, &incarnation, &start.as_slice()])?;
        from = None;
        for row in &rows {
            let Some(key) = column::<Option<&[u8]>>(database, row, 2)? else { return Ok(()) };
            let Ok(slot) = <[u8; 32]>::try_from(key) else { continue };
            let value = value_of(database, row, 1)?;
            if visit(U256::from_be_bytes(slot), value).is_break() {
                return Ok(());
            }
            from = if rows.len() < STRETCH { None } else { after(slot) };
        }
    }
    Ok(())
}

/// Whether any slot is not zero. Slots of the base count whatever became of them: nobody asks about an account that
/// could have changed its storage.
pub(super) fn any_slot(state: &State, storage: &Storage<'_>) -> Result<bool, StoreError> {
    let (address, incarnation) = (storage.address.as_slice(), bigint(storage.incarnation));
    let of_base = storage.incarnation == state.floor;
    let hash = account_hash(storage.address, state.floor).filter(|_| of_base);
    let rows = state.rows(ANY_SLOT, &[&state.number, &address, &incarnation, &hash])?;
    match rows.first() {
        Some(row) => Ok(column::<Option<&[u8]>>(&state.engine.database, row, 1)?.is_some()),
        None => Ok(false),
    }
}

/// The next key in order; `None` behind the last.
fn after<const N: usize>(mut key: [u8; N]) -> Option<[u8; N]> {
    for byte in key.iter_mut().rev() {
        let (sum, carry) = byte.overflowing_add(1);
        *byte = sum;
        if !carry {
            return Some(key);
        }
    }
    None
}
