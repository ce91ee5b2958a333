//! Writing a state that is fetched from peers, part by part.

use super::base;
use super::commit::{Writer, within};
use super::keys;
use super::rows::Rows;
use super::tables::Table;
use crate::codec;
use crate::{FetchedState, STATE_IS_HELD, StoreError, TrieFlush};
use alloy_primitives::{B256, U256};
use std::borrow::Cow;

impl Writer<'_> {
    /// Writes a part into the base, which nobody reads yet.
    pub(super) fn fetched(&self, mut part: FetchedState) -> Result<(), StoreError> {
        let (tables, tx) = (self.view.tables, self.view.tx);
        if let Some(block) = base::floor(tx, tables.system, self.view.place)? {
            return Err(StoreError::Malformed { block, detail: STATE_IS_HELD });
        }
        for (from, to) in &part.wiped_nodes {
            within("trie key", from.len().max(to.as_ref().map_or(0, Vec::len)), TrieFlush::MAX_KEY)?;
            self.wipe_range(tables.trie, from, |key| to.as_ref().is_none_or(|to| key < to.as_slice()))?;
        }
        for (from, to) in &part.wiped_accounts {
            self.wipe_accounts(from, to)?;
        }
        for (account, from, to) in &part.wiped_slots {
            let last = keys::base_slot(account, to);
            self.wipe_range(tables.base_storage, &keys::base_slot(account, from), |key| key <= &last[..])?;
        }
        self.accounts(&part)?;
        self.slots(&part.slots)?;
        let mut code = Rows::<32>::default();
        for (hash, bytes) in &part.code {
            code.add(hash.0, |out| out.extend_from_slice(bytes));
        }
        code.write(self, tables.code)?;
        self.nodes(&mut part.nodes)?;
        self.meta(part.meta)
    }

    fn wipe_accounts(&self, from: &B256, to: &B256) -> Result<(), StoreError> {
        let tables = self.view.tables;
        if from.is_zero() && *to == B256::repeat_byte(0xff) {
            for table in [tables.base_accounts, tables.base_storage] {
                self.view.tx.clear_db(table.db).map_err(|error| self.view.place.error("clear", error))?;
            }
            return Ok(());
        }
        self.wipe_range(tables.base_accounts, from.as_slice(), |key| key <= to.as_slice())?;
        let last = keys::base_slot(to, &B256::repeat_byte(0xff));
        self.wipe_range(tables.base_storage, from.as_slice(), |key| key <= &last[..])
    }

    fn accounts(&self, part: &FetchedState) -> Result<(), StoreError> {
        let mut rows = Rows::<32>::default();
        for (hash, account) in &part.accounts {
            rows.add(hash.0, |out| codec::put_base_account(account, out));
        }
        rows.write(self, self.view.tables.base_accounts)
    }

    fn slots(&self, slots: &[(B256, B256, U256)]) -> Result<(), StoreError> {
        let table = self.view.tables.base_storage;
        let mut rows = Rows::<{ keys::BASE_SLOT }>::default();
        for (account, slot, value) in slots {
            let key = keys::base_slot(account, slot);
            if value.is_zero() {
                self.delete(table, &key)?;
            } else {
                rows.add(key, |out| codec::put_uint(value, out));
            }
        }
        rows.write(self, table)
    }

    /// Deletes the rows from `from` on for which `within` holds.
    fn wipe_range(
        &self,
        table: Table,
        from: &[u8],
        within: impl Fn(&[u8]) -> bool,
    ) -> Result<(), StoreError> {
        let place = self.view.place;
        let failed = |error| place.read_error(table, error);
        let mut cursor = self.cursor(table)?;
        loop {
            // A deleted row's place is taken by the next one.
            let row: Option<(Cow<'_, [u8]>, ())> =
                if from.is_empty() { cursor.first() } else { cursor.set_range(from) }.map_err(failed)?;
            if !row.is_some_and(|(key, ())| within(&key)) {
                return Ok(());
            }
            cursor.del().map_err(|error| place.error("delete", error))?;
        }
    }
}
