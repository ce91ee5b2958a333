//! Writing a state that is fetched from peers, part by part.

use super::commit::{codes, meta};
use super::copy::bigint;
use super::numeric::Wei;
use super::session::{Known, Session};
use super::{commit, trie};
use crate::{FetchedState, STATE_IS_HELD, StoreError, TrieFlush, codec};
use alloy_primitives::{B256, KECCAK256_EMPTY, U256};
use alloy_trie::{EMPTY_ROOT_HASH, TrieAccount};
use quintet_types::BlockRef;
use std::collections::BTreeMap;

const ACTION: &str = "write a part of a state";
/// Rows in one statement.
const AT_ONCE: usize = 20_000;

const INSERT_ACCOUNTS: &str = "INSERT INTO base_accounts (hash, nonce, balance, storage_root, code_hash) \
     SELECT * FROM unnest($1::bytea[], $2::bigint[], $3::numeric[], $4::bytea[], $5::bytea[]) \
     ON CONFLICT (hash) DO UPDATE SET nonce = excluded.nonce, balance = excluded.balance, \
       storage_root = excluded.storage_root, code_hash = excluded.code_hash";
const INSERT_SLOTS: &str = "INSERT INTO base_storage (account, slot, value) \
     SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::bytea[]) \
     ON CONFLICT (account, slot) DO UPDATE SET value = excluded.value";
const DELETE_SLOTS: &str = "DELETE FROM base_storage s USING unnest($1::bytea[], $2::bytea[]) AS k(account, slot) \
     WHERE s.account = k.account AND s.slot = k.slot";
const WIPE_SLOTS: &str = "DELETE FROM base_storage WHERE account = $1 AND slot BETWEEN $2 AND $3";

/// Writes a part into the base, which nobody reads yet.
pub(super) async fn apply(
    session: &mut Session,
    known: &Known,
    part: FetchedState,
) -> Result<(), StoreError> {
    if known.floor > 0 {
        let block = BlockRef { number: known.floor, hash: B256::ZERO };
        return Err(StoreError::Malformed { block, detail: STATE_IS_HELD });
    }
    wipe_nodes(session, &part.wiped_nodes).await?;
    wipe(session, &part).await?;
    accounts(session, part.accounts).await?;
    slots(session, part.slots).await?;
    codes(session, &part.code.into_iter().collect()).await?;
    let flush = TrieFlush { nodes: part.nodes, ..TrieFlush::default() };
    trie::flush(session, &flush, false).await?;
    meta(session, &part.meta).await?;
    commit::remember(session, known).await
}

async fn wipe_nodes(session: &mut Session, ranges: &[(Vec<u8>, Option<Vec<u8>>)]) -> Result<(), StoreError> {
    for (from, to) in ranges {
        let longest = from.len().max(to.as_ref().map_or(0, Vec::len));
        commit::within("trie key", longest, TrieFlush::MAX_KEY)?;
        match to {
            Some(to) => {
                let wipe = "DELETE FROM trie WHERE key >= $1 AND key < $2";
                session.execute(ACTION, wipe, &[from, to]).await?;
            }
            None => session.execute(ACTION, "DELETE FROM trie WHERE key >= $1", &[from]).await?,
        }
    }
    Ok(())
}

async fn wipe(session: &mut Session, part: &FetchedState) -> Result<(), StoreError> {
    for (from, to) in &part.wiped_accounts {
        for wipe in [
            "DELETE FROM base_accounts WHERE hash BETWEEN $1 AND $2",
            "DELETE FROM base_storage WHERE account BETWEEN $1 AND $2",
        ] {
            session.execute(ACTION, wipe, &[&from.as_slice(), &to.as_slice()]).await?;
        }
    }
    for (account, from, to) in &part.wiped_slots {
        let params: super::read::Params<'_> = &[&account.as_slice(), &from.as_slice(), &to.as_slice()];
        session.execute(ACTION, WIPE_SLOTS, params).await?;
    }
    Ok(())
}

async fn accounts(session: &mut Session, accounts: Vec<(B256, TrieAccount)>) -> Result<(), StoreError> {
    // Of an account that is named twice, the last counts; in order, so that neighbours are written together.
    let accounts: Vec<_> = accounts.into_iter().collect::<BTreeMap<_, _>>().into_iter().collect();
    for accounts in accounts.chunks(AT_ONCE) {
        let keys: Vec<&[u8]> = accounts.iter().map(|(hash, _)| hash.as_slice()).collect();
        let nonces: Vec<i64> = accounts.iter().map(|(_, account)| bigint(account.nonce)).collect();
        let balances: Vec<Wei> = accounts.iter().map(|(_, account)| Wei(account.balance)).collect();
        let roots = accounts.iter().map(|(_, account)| unless(&account.storage_root, &EMPTY_ROOT_HASH));
        let codes = accounts.iter().map(|(_, account)| unless(&account.code_hash, &KECCAK256_EMPTY));
        let (roots, codes): (Vec<_>, Vec<_>) = (roots.collect(), codes.collect());
        session.execute(ACTION, INSERT_ACCOUNTS, &[&keys, &nonces, &balances, &roots, &codes]).await?;
    }
    Ok(())
}

/// The hash, unless it is that of nothing.
fn unless<'a>(hash: &'a B256, empty: &B256) -> Option<&'a [u8]> {
    (hash != empty).then_some(hash.as_slice())
}

async fn slots(session: &mut Session, slots: Vec<(B256, B256, U256)>) -> Result<(), StoreError> {
    let slots: BTreeMap<_, _> =
        slots.into_iter().map(|(account, slot, value)| ((account, slot), value)).collect();
    let (gone, set): (Vec<_>, Vec<_>) = slots.iter().partition(|(_, value)| value.is_zero());
    for slots in gone.chunks(AT_ONCE) {
        let (accounts, keys) = columns(slots);
        session.execute(ACTION, DELETE_SLOTS, &[&accounts, &keys]).await?;
    }
    for slots in set.chunks(AT_ONCE) {
        let (accounts, keys) = columns(slots);
        let value = |value: &U256| {
            let mut bytes = Vec::new();
            codec::put_uint(value, &mut bytes);
            bytes
        };
        let values: Vec<Vec<u8>> = slots.iter().map(|(_, slot)| value(slot)).collect();
        session.execute(ACTION, INSERT_SLOTS, &[&accounts, &keys, &values]).await?;
    }
    Ok(())
}

/// The keys of slots, column by column.
fn columns<'a>(slots: &[(&'a (B256, B256), &U256)]) -> (Vec<&'a [u8]>, Vec<&'a [u8]>) {
    slots.iter().map(|((account, slot), _)| (account.as_slice(), slot.as_slice())).unzip()
}
