//! The head's way from genesis to a block whose state was fetched: what lies between becomes canonical.

use super::commit::{copy_rows, delete_places, delete_places_above};
use super::copy::{Rows, bigint};
use super::read::{bad, block_ref, column, hash_of};
use super::rows::{log_rows, transaction_rows};
use super::session::{Known, Session};
use crate::{NOT_AT_GENESIS, StoreError, receipts};
use alloy_primitives::{Address, B256};
use alloy_rlp::Decodable;
use quintet_types::{Block, BlockRef, RecoveredBlock};
use tokio_postgres::Row;

const ACTION: &str = "adopt a state";
/// Blocks that one statement makes canonical.
const STRETCH: u64 = 8192;
/// Blocks whose transactions are written again at once.
const AGAIN: usize = 64;

/// Makes the block `$1`, `$2` and its ancestors down to number `$3` canonical, as far as they are held: how many these
/// are, the last one's parent, and the highest that is not held as history.
const STRETCH_DOWN: &str = "WITH RECURSIVE chain AS ( \
       SELECT number, hash, parent_hash, receipts IS NOT NULL AS whole FROM blocks WHERE number = $1 AND hash = $2 \
       UNION ALL \
       SELECT b.number, b.hash, b.parent_hash, b.receipts IS NOT NULL \
       FROM chain c JOIN blocks b ON b.number = c.number - 1 AND b.hash = c.parent_hash WHERE c.number > $3), \
     marked AS (INSERT INTO canonical (number, hash) SELECT number, hash FROM chain ORDER BY number) \
     SELECT count(*), (array_agg(parent_hash ORDER BY number))[1], \
       max(number) FILTER (WHERE NOT whole), (array_agg(hash ORDER BY number DESC) FILTER (WHERE NOT whole))[1] \
     FROM chain";
const FORKED: &str = "SELECT number FROM blocks WHERE number BETWEEN 1 AND $1 AND receipts IS NOT NULL \
     GROUP BY number HAVING count(*) > 1 ORDER BY number";
const WHOLE: &str = "SELECT b.number, b.hash, b.header, b.body, b.senders, b.receipts FROM canonical c \
     JOIN blocks b ON b.number = c.number AND b.hash = c.hash WHERE c.number = ANY($1)";

/// Fails unless the head is the genesis block, to which `block` is to be joined without being executed.
pub(super) fn check_at_genesis(known: &Known, block: BlockRef) -> Result<BlockRef, StoreError> {
    match known.head {
        Some(head) if head.number == 0 => Ok(head),
        _ => Err(StoreError::Malformed { block, detail: NOT_AT_GENESIS }),
    }
}

/// Makes `block` the head, and its state the base.
pub(super) async fn adopt(
    session: &mut Session,
    known: &mut Known,
    block: BlockRef,
) -> Result<(), StoreError> {
    let genesis = check_at_genesis(known, block)?;
    if block.number == 0 || i64::try_from(block.number).is_err() {
        return Err(StoreError::Malformed { block, detail: "no block with this number can be adopted" });
    }
    let mut at = block;
    while at.number > 0 {
        at = stretch(session, at).await?;
    }
    if at.hash != genesis.hash {
        let detail = "its first ancestor is not a child of this chain's genesis block";
        return Err(StoreError::Malformed { block, detail });
    }
    place_again(session, block.number).await?;
    for forget in
        ["DELETE FROM accounts", "DELETE FROM storage", "UPDATE blocks SET changes = NULL WHERE number = 0"]
    {
        session.execute(ACTION, forget, &[]).await?;
    }
    (known.head, known.trie, known.floor) = (Some(block), Some(block), block.number);
    Ok(())
}

/// Makes a block and some of its ancestors canonical; gives the next one.
async fn stretch(session: &mut Session, highest: BlockRef) -> Result<BlockRef, StoreError> {
    let lowest = highest.number.saturating_sub(STRETCH).max(1);
    let params: super::read::Params<'_> =
        &[&bigint(highest.number), &highest.hash.as_slice(), &bigint(lowest)];
    let rows = session.query(ACTION, STRETCH_DOWN, params).await?;
    let row =
        rows.first().ok_or(StoreError::Malformed { block: highest, detail: "it is not in the store" })?;
    let count = column::<i64>(&session.database, row, 0)?.cast_unsigned();
    if column::<Option<i64>>(&session.database, row, 2)?.is_some() {
        let block = block_ref(&session.database, row, 2)?;
        return Err(StoreError::Malformed { block, detail: "its receipts are not in the store" });
    }
    let missing = |block| StoreError::Malformed { block, detail: "its header is not in the store" };
    if count == 0 {
        return Err(missing(highest));
    }
    let next =
        BlockRef { number: highest.number.saturating_sub(count), hash: hash_of(&session.database, row, 1)? };
    if next.number >= lowest { Err(missing(next)) } else { Ok(next) }
}

/// Where there are other blocks of history than the canonical ones, transactions and logs may be theirs: they are
/// written again. Those above the new head go.
async fn place_again(session: &mut Session, head: u64) -> Result<(), StoreError> {
    let above = "SELECT number FROM blocks WHERE number > $1 AND receipts IS NOT NULL LIMIT 1";
    if !session.query(ACTION, above, &[&bigint(head)]).await?.is_empty() {
        delete_places_above(session, head).await?;
    }
    let rows = session.query(ACTION, FORKED, &[&bigint(head)]).await?;
    let numbers = rows.iter().map(|row| column(&session.database, row, 0));
    let numbers: Vec<i64> = numbers.collect::<Result<_, _>>()?;
    for numbers in numbers.chunks(AGAIN) {
        delete_places(session, numbers).await?;
        let (mut transactions, mut logs) = (Rows::default(), Rows::default());
        for row in session.query(ACTION, WHOLE, &[&numbers]).await? {
            let (block, receipts) = whole(session, &row)?;
            transaction_rows(&block, &receipts, &mut transactions);
            log_rows(block.header().number, &receipts, &mut logs);
        }
        copy_rows(session, "transactions", [transactions.0.into()]).await?;
        copy_rows(session, "logs", [logs.0.into()]).await?;
    }
    Ok(())
}

/// A block with its receipts.
fn whole(session: &Session, row: &Row) -> Result<(RecoveredBlock, quintet_types::Receipts), StoreError> {
    let database = &session.database;
    let hash: B256 = hash_of(database, row, 1)?;
    let record = |index| column::<&[u8]>(database, row, index);
    let block = Block { header: decoded(&hash, record(2)?)?, body: decoded(&hash, record(3)?)? };
    let senders = match record(4)?.as_chunks::<20>() {
        (senders, []) => senders.iter().map(Address::from).collect(),
        _ => return Err(bad("blocks", hash.as_slice(), &"its senders are cut")),
    };
    let receipts = receipts::decode(record(5)?).map_err(|error| bad("blocks", hash.as_slice(), &error))?;
    Ok((RecoveredBlock { hash, block, senders }, receipts))
}

fn decoded<T: Decodable>(hash: &B256, record: &[u8]) -> Result<T, StoreError> {
    alloy_rlp::decode_exact(record).map_err(|error| bad("blocks", hash.as_slice(), &error))
}
