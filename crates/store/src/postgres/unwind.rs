//! Taking canonical blocks away: their markers, transactions, logs and state versions go; the blocks stay.

use super::copy::bigint;
use super::read::{column, hash_of};
use super::session::{Known, Session};
use crate::{StateChanges, StoreError, codec};
use alloy_primitives::hex;
use quintet_types::BlockRef;

const ACTION: &str = "unwind the chain";
/// Blocks whose versions are deleted at once.
const STRETCH: u64 = 256;

const CHANGES: &str = "SELECT c.number, c.hash, b.changes FROM canonical c \
     JOIN blocks b ON b.number = c.number AND b.hash = c.hash WHERE c.number > $1 AND c.number <= $2";
const ACCOUNTS: &str = "DELETE FROM accounts a USING unnest($1::bytea[], $2::bigint[]) AS k(address, block) \
     WHERE a.address = k.address AND a.block = k.block";
const STORAGE: &str = "DELETE FROM storage s \
     USING unnest($1::bytea[], $2::bigint[], $3::bytea[], $4::bigint[]) AS k(address, incarnation, slot, block) \
     WHERE s.address = k.address AND s.incarnation = k.incarnation AND s.slot = k.slot AND s.block = k.block";

/// Makes `target` the head.
pub(super) async fn unwind(session: &mut Session, known: &mut Known, target: u64) -> Result<(), StoreError> {
    let unknown = || StoreError::UnknownBlock { number: target };
    let head = known.head.filter(|head| target <= head.number).ok_or_else(unknown)?;
    let rows =
        session.query(ACTION, "SELECT hash FROM canonical WHERE number = $1", &[&bigint(target)]).await?;
    let hash = hash_of(&session.database, rows.first().ok_or_else(unknown)?, 0)?;
    if target < known.floor {
        return Err(StoreError::StateNotHeld { block: target, first: known.floor });
    }
    let mut high = head.number;
    while high > target {
        let low = high.saturating_sub(STRETCH).max(target);
        versions(session, low, high).await?;
        high = low;
    }
    if head.number > target {
        for delete in [
            "DELETE FROM transactions WHERE block > $1",
            "DELETE FROM logs WHERE block > $1",
            "DELETE FROM canonical WHERE number > $1",
        ] {
            session.execute(ACTION, delete, &[&bigint(target)]).await?;
        }
    }
    known.head = Some(BlockRef { number: target, hash });
    Ok(())
}

/// Deletes the versions that the blocks above `low`, up to `high`, wrote.
async fn versions(session: &mut Session, low: u64, high: u64) -> Result<(), StoreError> {
    let mut keys = Keys::default();
    for row in session.query(ACTION, CHANGES, &[&bigint(low), &bigint(high)]).await? {
        let number: i64 = column(&session.database, &row, 0)?;
        let record: Option<&[u8]> = column(&session.database, &row, 2)?;
        let changes = record.and_then(codec::changes).ok_or_else(|| StoreError::BadRecord {
            table: "blocks",
            key: hash_of(&session.database, &row, 1).map(hex::encode).unwrap_or_default(),
            detail: "its changes cannot be decoded".to_owned(),
        })?;
        keys.add(number, &changes);
    }
    let Keys { addresses, blocks, owners, incarnations, slots, slot_blocks } = keys;
    if !addresses.is_empty() {
        session.execute(ACTION, ACCOUNTS, &[&addresses, &blocks]).await?;
    }
    if !slots.is_empty() {
        session.execute(ACTION, STORAGE, &[&owners, &incarnations, &slots, &slot_blocks]).await?;
    }
    Ok(())
}

/// Keys of versions, column by column.
#[derive(Default)]
struct Keys {
    addresses: Vec<Vec<u8>>,
    blocks: Vec<i64>,
    owners: Vec<Vec<u8>>,
    incarnations: Vec<i64>,
    slots: Vec<Vec<u8>>,
    slot_blocks: Vec<i64>,
}

impl Keys {
    fn add(&mut self, block: i64, changes: &StateChanges) {
        for change in &changes.accounts {
            self.addresses.push(change.address.to_vec());
            self.blocks.push(block);
            for slot in &change.slots {
                self.owners.push(change.address.to_vec());
                self.incarnations.push(bigint(change.incarnation));
                self.slots.push(slot.to_be_bytes_vec());
                self.slot_blocks.push(block);
            }
        }
    }
}
