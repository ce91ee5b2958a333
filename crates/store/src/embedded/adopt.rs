//! The head's way from genesis to a block whose state was fetched: what lies between becomes canonical.

use super::commit::Writer;
use super::files::SCHEMA_WITH_BASE;
use super::keys;
use super::rows::{Rows, Sink, add_historic_places};
use super::view::{FLOOR_KEY, SCHEMA_KEY, TRIE_BLOCK_KEY, checked};
use crate::StoreError;
use alloy_primitives::B256;
use quintet_types::BlockRef;
use std::borrow::Cow;

/// Blocks whose hashes are in memory at once.
const STRETCH: u64 = 1024;

/// What a walk from a block down to genesis has found.
struct Walk {
    /// The block itself, and ancestors of it a stretch apart, the highest first.
    marks: Vec<BlockRef>,
    /// The lowest number with another block that is held as history: from there on transactions may have been put
    /// into their places by a chain that was given up.
    forked: Option<u64>,
}

impl Writer<'_> {
    /// Makes `block` the head, and its state the base. Its ancestors are walked twice: downwards, to see that each is
    /// there, and upwards, to write their markers in order.
    pub(super) fn adopt(&self, block: BlockRef) -> Result<(), StoreError> {
        let genesis = self.check_at_genesis(block)?;
        if block.number == 0 {
            return Err(StoreError::Malformed { block, detail: "the genesis block needs not be adopted" });
        }
        let Walk { marks, forked } = self.walk_down(block, genesis)?;
        let mut markers = Sink::new(self, self.view.tables.canonical)?;
        let mut lowest = 1;
        for mark in marks.into_iter().rev() {
            let stretch = self.stretch(mark, lowest)?;
            for BlockRef { number, hash } in &stretch {
                markers.put(&number.to_be_bytes(), hash.as_slice())?;
            }
            if forked.is_some_and(|forked| forked <= mark.number) {
                self.place_again(&stretch)?;
            }
            lowest = mark.number.saturating_add(1);
        }
        drop(markers);
        let tables = self.view.tables;
        for table in [tables.accounts, tables.storage, tables.changes] {
            self.view.tx.clear_db(table.db).map_err(|error| self.view.place.error("clear", error))?;
        }
        let record = keys::block(block.number, &block.hash);
        self.put(tables.system, FLOOR_KEY, &record)?;
        self.put(tables.system, TRIE_BLOCK_KEY, &record)?;
        self.put(tables.system, SCHEMA_KEY, &SCHEMA_WITH_BASE.to_be_bytes())
    }

    /// From `block` to `genesis`; every block in between must be held as history.
    fn walk_down(&self, block: BlockRef, genesis: BlockRef) -> Result<Walk, StoreError> {
        let mut walk = Walk { marks: Vec::new(), forked: None };
        let mut at = block;
        for number in (1..=block.number).rev() {
            at.number = number;
            if (block.number - number).is_multiple_of(STRETCH) {
                walk.marks.push(at);
            }
            let parent = self.parent(at)?;
            if self.of_another(at)? {
                walk.forked = Some(number);
            }
            at.hash = parent;
        }
        if at.hash != genesis.hash {
            let detail = "its first ancestor is not a child of this chain's genesis block";
            return Err(StoreError::Malformed { block, detail });
        }
        Ok(walk)
    }

    /// The parent of a block that must be held.
    fn parent(&self, block: BlockRef) -> Result<B256, StoreError> {
        let malformed = |detail| StoreError::Malformed { block, detail };
        let (_, header) =
            self.view.header(&block.hash)?.ok_or_else(|| malformed("its header is not in the store"))?;
        if header.number != block.number {
            return Err(malformed("its header has another number"));
        }
        Ok(header.parent_hash)
    }

    /// Whether another block of the same number is held as history. Fails if the block itself is not.
    fn of_another(&self, block: BlockRef) -> Result<bool, StoreError> {
        let malformed = |detail| StoreError::Malformed { block, detail };
        let (tables, place) = (self.view.tables, self.view.place);
        let key = keys::block(block.number, &block.hash);
        if self.view.get(tables.bodies, &key)?.is_none() {
            return Err(malformed("its body is not in the store"));
        }
        let table = tables.receipts;
        let failed = |error| place.read_error(table, error);
        let mut cursor = self.cursor(table)?;
        let (mut own, mut another) = (false, false);
        let number = block.number.to_be_bytes();
        let mut row: Option<(Cow<'_, [u8]>, ())> = cursor.set_range(&number).map_err(failed)?;
        while let Some((found, ())) = row.filter(|(found, ())| found.starts_with(&number)) {
            if *found == key {
                own = true;
            } else {
                another = true;
            }
            row = cursor.next().map_err(failed)?;
        }
        if own { Ok(another) } else { Err(malformed("its receipts are not in the store")) }
    }

    /// The blocks from number `lowest` up to and with `highest`.
    fn stretch(&self, highest: BlockRef, lowest: u64) -> Result<Vec<BlockRef>, StoreError> {
        let mut blocks = Vec::new();
        let mut at = highest;
        for number in (lowest..=highest.number).rev() {
            at.number = number;
            blocks.push(at);
            at.hash = self.parent(at)?;
        }
        blocks.reverse();
        Ok(blocks)
    }

    /// Writes the places of the blocks' transactions again.
    fn place_again(&self, blocks: &[BlockRef]) -> Result<(), StoreError> {
        let table = self.view.tables.bodies;
        let mut rows = Rows::default();
        for block in blocks {
            let body = self.view.body(&block.hash)?;
            let body = checked(table, block.hash.as_slice(), body)?;
            add_historic_places(&mut rows, *block, &body);
        }
        rows.write(self, self.view.tables.transactions)
    }
}
