//! The state after one block, as the EVM reads it.

use super::Engine;
use super::base::{account_hash, slot_hashes};
use super::copy::bigint;
use super::read::{Params, account, column, hash_of, value_of};
use super::walk;
use crate::StoreError;
use alloy_primitives::{Address, B256, Bytes, U256};
use quintet_types::{Account, BlockRef, StateError, StateReader};
use std::sync::Arc;
use tokio_postgres::Row;

/// Every statement here begins with these words: its first column is the hash of the canonical block `$1`, as
/// the same snapshot has it, also when nothing else is found.
macro_rules! at_canonical {
    ($columns:literal, $rest:literal) => {
        concat!(
            "SELECT c.hash, ",
            $columns,
            " FROM (SELECT (SELECT hash FROM canonical WHERE number = $1) AS hash) c LEFT JOIN LATERAL (",
            $rest,
            ") r ON true"
        )
    };
}

/// The same for reads of the state: there is no hash either if the state after the block is not held.
macro_rules! at_block {
    ($columns:literal, $rest:literal) => {
        concat!(
            "SELECT c.hash, ",
            $columns,
            " FROM (SELECT (SELECT hash FROM canonical \
             WHERE number = $1 AND number >= (SELECT first_state FROM store_state)) AS hash) c LEFT JOIN LATERAL (",
            $rest,
            ") r ON true"
        )
    };
}
pub(super) use at_block;

/// The block, and the first one whose state is held.
const BLOCK: &str = "SELECT first_state, (SELECT hash FROM canonical WHERE number = $1) FROM store_state";
const ACCOUNT: &str = at_block!(
    "r.nonce, r.balance, r.code_hash, r.incarnation",
    "(SELECT nonce, balance, code_hash, incarnation, 0 AS rank FROM accounts \
      WHERE address = $2 AND block <= $1 ORDER BY block DESC LIMIT 1) \
     UNION ALL SELECT nonce, balance, code_hash, $4::bigint, 1 FROM base_accounts WHERE hash = $3 \
     ORDER BY rank LIMIT 1"
);
const SLOT: &str = at_block!(
    "r.value",
    "(SELECT value, 0 AS rank FROM storage \
      WHERE address = $2 AND incarnation = $3 AND slot = $4 AND block <= $1 ORDER BY block DESC LIMIT 1) \
     UNION ALL SELECT value, 1 FROM base_storage WHERE account = $5 AND slot = $6 \
     ORDER BY rank LIMIT 1"
);
const CODE: &str = at_canonical!("r.code", "SELECT code FROM code WHERE hash = $2");
const ANCESTOR: &str =
    at_canonical!("r.ancestor", "SELECT hash AS ancestor FROM canonical WHERE number = $2");

/// Reads at one canonical block. Versions are never overwritten, so that each read may see another commit:
/// all give the same answer, until a reorg takes the block away, which every read looks for.
pub(super) struct State {
    pub(super) engine: Arc<Engine>,
    block: BlockRef,
    /// The block's number as a parameter.
    pub(super) number: i64,
    /// The first block whose state is held.
    pub(super) floor: u64,
}

impl State {
    /// Fails if the canonical chain has no block with this number, or its state is not held.
    pub(super) fn new(engine: Arc<Engine>, number: u64) -> Result<Self, StoreError> {
        let unknown = || StoreError::UnknownBlock { number };
        let parameter = i64::try_from(number).map_err(|_| unknown())?;
        let row = engine.row(BLOCK, &[&parameter])?.ok_or_else(unknown)?;
        let floor = engine.floor_of(&row)?;
        let hash =
            column::<Option<&[u8]>>(&engine.database, &row, 1)?.map(|_| hash_of(&engine.database, &row, 1));
        let block = BlockRef { number, hash: hash.ok_or_else(unknown)?? };
        if number < floor {
            return Err(StoreError::StateNotHeld { block: number, first: floor });
        }
        Ok(Self { block, engine, number: parameter, floor })
    }

    /// The rows of a statement made by [`at_block`] or [`at_canonical`]: at least one.
    pub(super) fn rows(&self, sql: &'static str, params: Params<'_>) -> Result<Vec<Row>, StoreError> {
        let rows = self.engine.rows(sql, params)?;
        let hash = match rows.first() {
            Some(row) => column::<Option<&[u8]>>(&self.engine.database, row, 0)?,
            None => None,
        };
        if hash == Some(self.block.hash.as_slice()) {
            return Ok(rows);
        }
        let (block, first) = (self.block.number, self.engine.first_state()?);
        if block < first {
            return Err(StoreError::StateNotHeld { block, first });
        }
        Err(StoreError::Reverted { block: self.block })
    }

    fn account(&self, address: &Address) -> Result<Option<Account>, StoreError> {
        let hash = account_hash(address, self.floor);
        let rows = self.rows(ACCOUNT, &[&self.number, &address.as_slice(), &hash, &bigint(self.floor)])?;
        rows.first().map_or(Ok(None), |row| account(&self.engine.database, row, 1))
    }

    fn storage(&self, address: &Address, incarnation: u64, slot: &U256) -> Result<U256, StoreError> {
        let hashes = slot_hashes(address, incarnation, slot, self.floor);
        let key = slot.to_be_bytes::<32>();
        let params: Params<'_> = &[
            &self.number,
            &address.as_slice(),
            &bigint(incarnation),
            &key.as_slice(),
            &hashes.account,
            &hashes.slot,
        ];
        let rows = self.rows(SLOT, params)?;
        rows.first().map_or(Ok(U256::ZERO), |row| value_of(&self.engine.database, row, 1))
    }

    /// The second column of the first row, which is there unless nothing was found.
    fn bytes(&self, sql: &'static str, params: Params<'_>) -> Result<Option<Bytes>, StoreError> {
        let rows = self.rows(sql, params)?;
        let Some(row) = rows.first() else { return Ok(None) };
        let bytes = column::<Option<&[u8]>>(&self.engine.database, row, 1)?;
        Ok(bytes.map(Bytes::copy_from_slice))
    }
}

impl StateReader for State {
    fn account(&self, address: &Address) -> Result<Option<Account>, StateError> {
        self.account(address).map_err(StateError::new)
    }

    fn storage(&self, address: &Address, incarnation: u64, slot: &U256) -> Result<U256, StateError> {
        self.storage(address, incarnation, slot).map_err(StateError::new)
    }

    fn has_storage(&self, address: &Address, incarnation: u64) -> Result<bool, StateError> {
        walk::any_slot(self, &walk::Storage { address, incarnation }).map_err(StateError::new)
    }

    fn code(&self, hash: &B256) -> Result<Option<Bytes>, StateError> {
        self.bytes(CODE, &[&self.number, &hash.as_slice()]).map_err(StateError::new)
    }

    fn block_hash(&self, number: u64) -> Result<Option<B256>, StateError> {
        if number > self.block.number {
            return Ok(None);
        }
        let hash = self.bytes(ANCESTOR, &[&self.number, &bigint(number)]).map_err(StateError::new)?;
        Ok(hash.and_then(|bytes| B256::try_from(bytes.as_ref()).ok()))
    }
}
