//! Writing: one commit as one transaction.

use super::copy::{self, bigint};
use super::numeric::Wei;
use super::rows::{Batch, BlockRows, MAX_VALUE};
use super::session::{Known, Session};
use super::{adopt, trie, unwind};
use crate::{Commit, StoreError};
use alloy_primitives::{B256, Bytes};
use quintet_types::BlockRef;
use std::collections::{BTreeMap, HashSet};

/// Longest name of a small value, in bytes.
pub(super) const MAX_NAME: usize = 256;
/// What errors say was being done.
const ACTION: &str = "write a commit";

/// Checks the commit and writes it, and leaves in `known` what the store then holds.
pub(super) async fn apply(
    session: &mut Session,
    known: &mut Known,
    commit: &Commit,
    batch: Batch,
) -> Result<(), StoreError> {
    let trie_before = known.trie;
    if let Some(target) = commit.unwind_to {
        unwind::unwind(session, known, target).await?;
    }
    let lowest = known.head;
    if lowest.is_some_and(|head| head.number == 0) && !commit.blocks.is_empty() {
        // The chain is executed after all: what history there was has places that are not the chain's.
        delete_places_above(session, 0).await?;
    }
    for executed in &commit.blocks {
        follow(known, executed.block.block_ref(), executed.block.header().parent_hash)?;
    }
    if let Some(block) = commit.history.first() {
        adopt::check_at_genesis(known, block.block.block_ref())?;
    }
    blocks(session, batch).await?;
    if let Some(block) = commit.adopt {
        adopt::adopt(session, known, block).await?;
    }
    if let Some(flush) = &commit.trie {
        trie::flush(session, flush, known.trie.is_none()).await?;
        known.trie = Some(flush.block);
    }
    // A trie that did not move stays canonical unless its block was taken away.
    if known.trie != trie_before || lowest.map(|block| block.number) < known.trie.map(|block| block.number) {
        check_trie_block(session, known).await?;
    }
    meta(session, &commit.meta).await?;
    remember(session, known).await
}

/// Writes what the store must remember of itself.
pub(super) async fn remember(session: &mut Session, known: &Known) -> Result<(), StoreError> {
    let (number, hash) = (known.trie.map(|block| bigint(block.number)), known.trie.map(|block| block.hash));
    let hash = hash.as_ref().map(B256::as_slice);
    let update =
        "UPDATE store_state SET last_commit = $1, trie_number = $2, trie_hash = $3, first_state = $4";
    session.execute(ACTION, update, &[&known.last_commit, &number, &hash, &bigint(known.floor)]).await
}

/// Takes `block` for the head, if it follows the one that is.
fn follow(known: &mut Known, block: BlockRef, parent_hash: B256) -> Result<(), StoreError> {
    let head = known.head;
    let follows =
        head.is_none_or(|head| head.number.checked_add(1) == Some(block.number) && head.hash == parent_hash);
    if !follows {
        return Err(StoreError::NotChained { block, head });
    }
    known.head = Some(block);
    Ok(())
}

async fn blocks(session: &mut Session, batch: Batch) -> Result<(), StoreError> {
    let Batch { blocks, side_blocks, history, accounts, storage, code } = batch;
    let side_blocks: Vec<_> = side_blocks.into_iter().chain(history).collect();
    if !blocks.is_empty() || !side_blocks.is_empty() {
        let held = held(session, blocks.iter().chain(&side_blocks)).await?;
        let highest = blocks.iter().map(|block| block.block.number).max();
        let places = blocks.iter().chain(&side_blocks).map(|block| block.block.number);
        partitions(
            session,
            places.chain(highest.and_then(|number| number.checked_add(session.partition_blocks))),
        )
        .await?;
        canonical(session, &blocks).await?;
        forget_places(session, &side_blocks).await?;
        numbers(session, blocks.iter().chain(&side_blocks), &held).await?;
        by_partition(session, blocks, side_blocks, &held).await?;
    }
    copy_rows(session, "accounts", [accounts]).await?;
    copy_rows(session, "storage", [storage]).await?;
    codes(session, &code).await
}

/// Writes code, some of which may be there.
pub(super) async fn codes(session: &mut Session, code: &BTreeMap<B256, Bytes>) -> Result<(), StoreError> {
    if code.is_empty() {
        return Ok(());
    }
    let hashes: Vec<&[u8]> = code.keys().map(B256::as_slice).collect();
    let codes: Vec<&[u8]> = code.values().map(AsRef::as_ref).collect();
    let insert = "INSERT INTO code SELECT * FROM unnest($1::bytea[], $2::bytea[]) ON CONFLICT DO NOTHING";
    session.execute(ACTION, insert, &[&hashes, &codes]).await
}

/// History may have been written before, with another block of the same number: its transactions and logs go.
async fn forget_places(session: &mut Session, blocks: &[BlockRows]) -> Result<(), StoreError> {
    let history = blocks.iter().filter(|rows| rows.update.receipts.is_some());
    let numbers: Vec<i64> = history.map(|rows| bigint(rows.block.number)).collect();
    if numbers.is_empty() {
        return Ok(());
    }
    let written = "SELECT DISTINCT number FROM blocks WHERE number = ANY($1) AND receipts IS NOT NULL";
    let rows = session.query(ACTION, written, &[&numbers]).await?;
    let numbers = rows.iter().map(|row| super::read::column(&session.database, row, 0));
    let numbers: Vec<i64> = numbers.collect::<Result<_, _>>()?;
    delete_places(session, &numbers).await
}

/// Deletes the transactions and logs of all blocks above this number.
pub(super) async fn delete_places_above(session: &mut Session, number: u64) -> Result<(), StoreError> {
    for delete in ["DELETE FROM transactions WHERE block > $1", "DELETE FROM logs WHERE block > $1"] {
        session.execute(ACTION, delete, &[&bigint(number)]).await?;
    }
    Ok(())
}

/// Deletes the transactions and logs of blocks, by their numbers.
pub(super) async fn delete_places(session: &mut Session, numbers: &[i64]) -> Result<(), StoreError> {
    if numbers.is_empty() {
        return Ok(());
    }
    session.execute(ACTION, "DELETE FROM transactions WHERE block = ANY($1)", &[&numbers]).await?;
    session.execute(ACTION, "DELETE FROM logs WHERE block = ANY($1)", &[&numbers]).await
}

/// Which of the blocks the store has already, as side blocks or blocks that were canonical once.
async fn held(
    session: &mut Session,
    blocks: impl Iterator<Item = &BlockRows>,
) -> Result<HashSet<B256>, StoreError> {
    let hashes: Vec<&[u8]> = blocks.map(|block| block.block.hash.as_slice()).collect();
    let rows =
        session.query(ACTION, "SELECT hash FROM block_numbers WHERE hash = ANY($1)", &[&hashes]).await?;
    rows.iter().map(|row| super::read::hash_of(&session.database, row, 0)).collect()
}

/// Makes the partitions that these blocks lie in, where they are not there. A partition is made apart and
/// then attached, which does not keep readers waiting.
async fn partitions(session: &mut Session, numbers: impl Iterator<Item = u64>) -> Result<(), StoreError> {
    let size = session.partition_blocks;
    let missing: std::collections::BTreeSet<u64> =
        numbers.map(|number| number / size).filter(|place| !session.partitions.contains(place)).collect();
    for place in missing {
        let Some(low) = place.checked_mul(size).filter(|low| i64::try_from(*low).is_ok()) else { continue };
        let high = low.checked_add(size).and_then(|high| i64::try_from(high).ok());
        let high = high.map_or_else(|| "MAXVALUE".to_owned(), |high| high.to_string());
        let make = |table| {
            format!(
                "CREATE TABLE {table}_p{place} (LIKE {table} INCLUDING DEFAULTS INCLUDING STORAGE); \
                 ALTER TABLE {table} ATTACH PARTITION {table}_p{place} FOR VALUES FROM ({low}) TO ({high});"
            )
        };
        let statements: String = ["blocks", "transactions", "logs"].into_iter().map(make).collect();
        let made = session.client.batch_execute(&statements).await;
        made.map_err(|error| session.database.error("make a partition", &error))?;
        session.partitions.insert(place);
    }
    Ok(())
}

async fn canonical(session: &mut Session, blocks: &[BlockRows]) -> Result<(), StoreError> {
    let mut rows = copy::Rows::default();
    for BlockRows { block, .. } in blocks {
        rows.row(2);
        rows.u64(block.number);
        rows.bytes(block.hash.as_slice());
    }
    copy_rows(session, "canonical", [rows.0.into()]).await
}

async fn numbers(
    session: &mut Session,
    blocks: impl Iterator<Item = &BlockRows>,
    held: &HashSet<B256>,
) -> Result<(), StoreError> {
    let mut rows = copy::Rows::default();
    for BlockRows { block, .. } in blocks.filter(|rows| !held.contains(&rows.block.hash)) {
        rows.row(2);
        rows.bytes(block.hash.as_slice());
        rows.u64(block.number);
    }
    copy_rows(session, "block_numbers", [rows.0.into()]).await
}

/// Rows of one partition, block by block.
#[derive(Default)]
struct Partition {
    blocks: Vec<Bytes>,
    transactions: Vec<Bytes>,
    logs: Vec<Bytes>,
}

/// Writes what is kept by block straight into the partitions.
async fn by_partition(
    session: &mut Session,
    blocks: Vec<BlockRows>,
    side_blocks: Vec<BlockRows>,
    held: &HashSet<B256>,
) -> Result<(), StoreError> {
    let mut partitions = BTreeMap::<u64, Partition>::new();
    for rows in blocks.into_iter().chain(side_blocks) {
        let partition = partitions.entry(rows.block.number / session.partition_blocks).or_default();
        if held.contains(&rows.block.hash) {
            update(session, &rows).await?;
        } else {
            partition.blocks.push(rows.row.0.into());
        }
        partition.transactions.push(rows.transactions.0.into());
        partition.logs.push(rows.logs.0.into());
    }
    for (place, partition) in partitions {
        copy_rows(session, &format!("blocks_p{place}"), partition.blocks).await?;
        copy_rows(session, &format!("transactions_p{place}"), partition.transactions).await?;
        copy_rows(session, &format!("logs_p{place}"), partition.logs).await?;
    }
    Ok(())
}

/// A block that is held already may be executed only now.
async fn update(session: &mut Session, rows: &BlockRows) -> Result<(), StoreError> {
    let BlockRef { number, hash } = rows.block;
    let (receipts, changes) = (rows.update.receipts.as_deref(), rows.update.changes.as_deref());
    let total_difficulty = Wei(rows.update.total_difficulty);
    let update = "UPDATE blocks SET total_difficulty = $3, receipts = coalesce($4, receipts), \
                  changes = coalesce($5, changes) WHERE number = $1 AND hash = $2";
    let params: super::read::Params<'_> =
        &[&bigint(number), &hash.as_slice(), &total_difficulty, &receipts, &changes];
    session.execute(ACTION, update, params).await
}

/// Sends rows to a table, unless there are none.
pub(super) async fn copy_rows(
    session: &mut Session,
    table: &str,
    chunks: impl IntoIterator<Item = Bytes>,
) -> Result<(), StoreError> {
    let mut chunks = chunks.into_iter().filter(|chunk| !chunk.is_empty()).map(alloy_to_bytes).peekable();
    if chunks.peek().is_none() {
        return Ok(());
    }
    let work = async {
        let statement = session.statement(&format!("COPY {table} FROM STDIN (FORMAT binary)")).await?;
        copy::send(&session.client, &statement, chunks).await
    };
    let sent = work.await;
    sent.map(drop).map_err(|error| session.database.error(ACTION, &error))
}

fn alloy_to_bytes(bytes: Bytes) -> bytes::Bytes {
    bytes.0
}

/// The trie can be moved along the canonical chain only, so its block must be on it.
async fn check_trie_block(session: &mut Session, known: &Known) -> Result<(), StoreError> {
    let Some(block) = known.trie else { return Ok(()) };
    let left_behind = StoreError::TrieLeftBehind { block };
    let Ok(number) = i64::try_from(block.number) else { return Err(left_behind) };
    let rows = session.query(ACTION, "SELECT hash FROM canonical WHERE number = $1", &[&number]).await?;
    let hash = rows.first().map(|row| super::read::hash_of(&session.database, row, 0)).transpose()?;
    if hash == Some(block.hash) { Ok(()) } else { Err(left_behind) }
}

pub(super) async fn meta(
    session: &mut Session,
    values: &[(String, Option<alloy_primitives::Bytes>)],
) -> Result<(), StoreError> {
    for (name, value) in values {
        within("name", name.len(), MAX_NAME)?;
        match value {
            Some(value) => {
                within("record", value.len(), MAX_VALUE)?;
                let insert = "INSERT INTO meta VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
                session.execute(ACTION, insert, &[name, &value.as_ref()]).await?;
            }
            None => session.execute(ACTION, "DELETE FROM meta WHERE name = $1", &[name]).await?,
        }
    }
    Ok(())
}

pub(super) const fn within(what: &'static str, length: usize, limit: usize) -> Result<(), StoreError> {
    if length <= limit { Ok(()) } else { Err(StoreError::TooLong { what, length, limit }) }
}
