//! Reads: one statement each, on a connection of the pool.

use super::Engine;
use super::base::{SlotHashes, account_hash, slot_hashes};
use super::copy::bigint;
use super::error::{Database, connection_lost};
use super::numeric::Wei;
use crate::{StateChanges, StoreError, TableStats, TransactionLocation, TrieFlush, codec, receipts};
use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256, hex};
use alloy_rlp::Decodable;
use postgres_types::{FromSql, ToSql};
use quintet_types::{
    Account, AccountDiff, Block, BlockRef, Body, Header, Receipts, RecoveredBlock, StateDiff,
};
use tokio_postgres::Row;

/// A statement's parameters.
pub(super) type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

/// Attempts at a read whose connection turns out to be lost, as all that the pool holds are when the server
/// restarts.
const ATTEMPTS: usize = 3;

pub(super) const HEAD: &str = "SELECT number, hash FROM canonical ORDER BY number DESC LIMIT 1";
const CANONICAL: &str = "SELECT hash FROM canonical WHERE number = $1";
const NUMBER: &str = "SELECT number FROM block_numbers WHERE hash = $1";
const TRANSACTION: &str = "SELECT c.number, c.hash, t.index FROM transactions t \
     JOIN canonical c ON c.number = t.block WHERE t.hash = $1 LIMIT 1";
/// Versions, and beneath them the base: what has the lower rank counts. The base is asked by hashes, which are null when
/// it is not in force. The first column is the first block whose state is held, as the same snapshot has it.
const ACCOUNT: &str = "SELECT s.first_state, r.nonce, r.balance, r.code_hash, r.incarnation \
     FROM store_state s LEFT JOIN LATERAL ( \
       (SELECT nonce, balance, code_hash, incarnation, 0 AS rank FROM accounts \
        WHERE address = $1 AND block <= $2 ORDER BY block DESC LIMIT 1) \
       UNION ALL SELECT nonce, balance, code_hash, $4::bigint, 1 FROM base_accounts WHERE hash = $3 \
       ORDER BY rank LIMIT 1) r ON true";
const ACCOUNTS: &str = "SELECT s.first_state, r.nonce, r.balance, r.code_hash, r.incarnation, k.n \
     FROM store_state s CROSS JOIN unnest($1::bytea[], $3::bytea[]) WITH ORDINALITY AS k(address, hash, n) \
     LEFT JOIN LATERAL ( \
       (SELECT nonce, balance, code_hash, incarnation, 0 AS rank FROM accounts \
        WHERE address = k.address AND block <= $2 ORDER BY block DESC LIMIT 1) \
       UNION ALL SELECT nonce, balance, code_hash, $4::bigint, 1 FROM base_accounts WHERE hash = k.hash \
       ORDER BY rank LIMIT 1) r ON true";
const SLOT: &str = "SELECT s.first_state, r.value FROM store_state s LEFT JOIN LATERAL ( \
       (SELECT value, 0 AS rank FROM storage \
        WHERE address = $1 AND incarnation = $2 AND slot = $3 AND block <= $4 ORDER BY block DESC LIMIT 1) \
       UNION ALL SELECT value, 1 FROM base_storage WHERE account = $5 AND slot = $6 \
       ORDER BY rank LIMIT 1) r ON true";
const SLOTS: &str = "SELECT s.first_state, r.value, k.n FROM store_state s \
     CROSS JOIN unnest($1::bytea[], $2::bigint[], $3::bytea[], $5::bytea[], $6::bytea[]) \
       WITH ORDINALITY AS k(address, incarnation, slot, account, hash, n) \
     LEFT JOIN LATERAL ( \
       (SELECT value, 0 AS rank FROM storage \
        WHERE address = k.address AND incarnation = k.incarnation AND slot = k.slot AND block <= $4 \
        ORDER BY block DESC LIMIT 1) \
       UNION ALL SELECT value, 1 FROM base_storage WHERE account = k.account AND slot = k.hash \
       ORDER BY rank LIMIT 1) r ON true";
const CODE: &str = "SELECT code FROM code WHERE hash = $1";
const CODES: &str = "SELECT hash, code FROM code WHERE hash = ANY($1::bytea[])";
const CHANGES: &str = "SELECT c.hash, b.changes, (SELECT first_state FROM store_state) FROM canonical c \
     JOIN blocks b ON b.number = c.number AND b.hash = c.hash WHERE c.number = $1";
const TRIE_NODE: &str = "SELECT node FROM trie WHERE key = $1";
const TRIE_NODES: &str = "SELECT k.n, t.node FROM unnest($1::bytea[]) WITH ORDINALITY AS k(key, n) \
     JOIN trie t ON t.key = k.key";
const META: &str = "SELECT value FROM meta WHERE name = $1";
pub(super) const STORE_STATE: &str =
    "SELECT trie_number, trie_hash, last_commit, partition_blocks, first_state FROM store_state";
const STATS: &str = "SELECT coalesce(p.inhparent::regclass, s.relid::regclass)::text, \
       sum(greatest(c.reltuples::bigint, s.n_live_tup, 0))::bigint, sum(pg_total_relation_size(s.relid))::bigint \
     FROM pg_stat_user_tables s JOIN pg_class c ON c.oid = s.relid LEFT JOIN pg_inherits p ON p.inhrelid = s.relid \
     WHERE s.schemaname = current_schema() GROUP BY 1";

/// The columns of `blocks` in a lookup by hash.
macro_rules! block_columns {
    ($columns:literal) => {
        concat!(
            "SELECT ",
            $columns,
            " FROM block_numbers n JOIN blocks b ON b.number = n.number AND b.hash = n.hash WHERE n.hash = $1"
        )
    };
}

/// The tables that [`Engine::stats`] measures.
const TABLES: [&str; 12] = [
    "canonical",
    "block_numbers",
    "blocks",
    "transactions",
    "logs",
    "accounts",
    "storage",
    "base_accounts",
    "base_storage",
    "code",
    "trie",
    "meta",
];

impl Engine {
    /// The rows that a statement gives. A lost connection is replaced by another one first.
    pub(super) fn rows(&self, sql: &'static str, params: Params<'_>) -> Result<Vec<Row>, StoreError> {
        self.block_on(async {
            let mut attempt = 1;
            loop {
                let client = self.pool.get().await.map_err(|error| self.database.pool_error(&error))?;
                let query = async {
                    let statement = client.prepare_cached(sql).await?;
                    client.query(&statement, params).await
                };
                match query.await {
                    Ok(rows) => return Ok(rows),
                    Err(error) if attempt < ATTEMPTS && connection_lost(&error) => {
                        drop(deadpool_postgres::Object::take(client));
                        attempt += 1;
                    }
                    Err(error) => return Err(self.database.error("read", &error)),
                }
            }
        })
    }

    /// The first row that a statement gives.
    pub(super) fn row(&self, sql: &'static str, params: Params<'_>) -> Result<Option<Row>, StoreError> {
        Ok(self.rows(sql, params)?.into_iter().next())
    }

    fn column<'a, T: FromSql<'a>>(&self, row: &'a Row, index: usize) -> Result<T, StoreError> {
        column(&self.database, row, index)
    }

    pub(super) fn head(&self) -> Result<Option<BlockRef>, StoreError> {
        self.row(HEAD, &[])?.map(|row| block_ref(&self.database, &row, 0)).transpose()
    }

    pub(super) fn canonical_hash(&self, number: u64) -> Result<Option<B256>, StoreError> {
        let Ok(number) = i64::try_from(number) else { return Ok(None) };
        self.row(CANONICAL, &[&number])?.map(|row| hash_of(&self.database, &row, 0)).transpose()
    }

    pub(super) fn block_number(&self, hash: &B256) -> Result<Option<u64>, StoreError> {
        let row = self.row(NUMBER, &[&hash.as_slice()])?;
        row.map(|row| Ok(self.column::<i64>(&row, 0)?.cast_unsigned())).transpose()
    }

    pub(super) fn header(&self, hash: &B256) -> Result<Option<Header>, StoreError> {
        let row = self.row(block_columns!("b.header"), &[&hash.as_slice()])?;
        row.map(|row| self.decoded(hash, &row, 0)).transpose()
    }

    pub(super) fn body(&self, hash: &B256) -> Result<Option<Body>, StoreError> {
        let row = self.row(block_columns!("b.body"), &[&hash.as_slice()])?;
        row.map(|row| self.decoded(hash, &row, 0)).transpose()
    }

    pub(super) fn senders(&self, hash: &B256) -> Result<Option<Vec<Address>>, StoreError> {
        let row = self.row(block_columns!("b.senders"), &[&hash.as_slice()])?;
        row.map(|row| self.addresses(hash, &row, 0)).transpose()
    }

    pub(super) fn block(&self, hash: &B256) -> Result<Option<RecoveredBlock>, StoreError> {
        let row = self.row(block_columns!("b.header, b.body, b.senders"), &[&hash.as_slice()])?;
        let Some(row) = row else { return Ok(None) };
        let block = Block { header: self.decoded(hash, &row, 0)?, body: self.decoded(hash, &row, 1)? };
        Ok(Some(RecoveredBlock { hash: *hash, block, senders: self.addresses(hash, &row, 2)? }))
    }

    pub(super) fn total_difficulty(&self, hash: &B256) -> Result<Option<U256>, StoreError> {
        let row = self.row(block_columns!("b.total_difficulty"), &[&hash.as_slice()])?;
        row.map(|row| Ok(self.column::<Wei>(&row, 0)?.0)).transpose()
    }

    pub(super) fn receipts(&self, hash: &B256) -> Result<Option<Receipts>, StoreError> {
        let row = self.row(block_columns!("b.receipts"), &[&hash.as_slice()])?;
        let Some(row) = row else { return Ok(None) };
        let record: Option<&[u8]> = self.column(&row, 0)?;
        let decode =
            |record| receipts::decode(record).map_err(|error| bad("blocks", hash.as_slice(), &error));
        record.map(decode).transpose()
    }

    fn decoded<T: Decodable>(&self, hash: &B256, row: &Row, index: usize) -> Result<T, StoreError> {
        let record: &[u8] = self.column(row, index)?;
        alloy_rlp::decode_exact(record).map_err(|error| bad("blocks", hash.as_slice(), &error))
    }

    fn addresses(&self, hash: &B256, row: &Row, index: usize) -> Result<Vec<Address>, StoreError> {
        let record: &[u8] = self.column(row, index)?;
        match record.as_chunks::<20>() {
            (senders, []) => Ok(senders.iter().map(Address::from).collect()),
            _ => Err(bad("blocks", hash.as_slice(), &"its senders are cut")),
        }
    }

    pub(super) fn transaction_location(
        &self,
        hash: &B256,
    ) -> Result<Option<TransactionLocation>, StoreError> {
        let Some(row) = self.row(TRANSACTION, &[&hash.as_slice()])? else { return Ok(None) };
        let index: i32 = self.column(&row, 2)?;
        Ok(Some(TransactionLocation {
            block: block_ref(&self.database, &row, 0)?,
            index: index.cast_unsigned(),
        }))
    }

    pub(super) fn account(&self, address: &Address, block: u64) -> Result<Option<Account>, StoreError> {
        self.over_base(block, |floor| {
            let hash = account_hash(address, floor);
            let params: Params<'_> = &[&address.as_slice(), &at(block), &hash, &bigint(floor)];
            let Some(row) = self.row(ACCOUNT, params)? else { return Ok((floor, None)) };
            Ok((self.floor_of(&row)?, account(&self.database, &row, 1)?))
        })
    }

    pub(super) fn accounts(
        &self,
        addresses: &[Address],
        block: u64,
    ) -> Result<Vec<Option<Account>>, StoreError> {
        let keys: Vec<&[u8]> = addresses.iter().map(|address| address.as_slice()).collect();
        self.over_base(block, |floor| {
            let hashes: Vec<_> = addresses.iter().map(|address| account_hash(address, floor)).collect();
            let mut accounts = vec![None; addresses.len()];
            let mut found = floor;
            for row in self.rows(ACCOUNTS, &[&keys, &at(block), &hashes, &bigint(floor)])? {
                found = self.floor_of(&row)?;
                if let Some(place) = accounts.get_mut(self.ordinal(&row, 5)?) {
                    *place = account(&self.database, &row, 1)?;
                }
            }
            Ok((found, accounts))
        })
    }

    pub(super) fn slot(
        &self,
        address: &Address,
        incarnation: u64,
        slot: &U256,
        block: u64,
    ) -> Result<U256, StoreError> {
        let key = slot.to_be_bytes::<32>();
        self.over_base(block, |floor| {
            let hashes = slot_hashes(address, incarnation, slot, floor);
            let params: Params<'_> = &[
                &address.as_slice(),
                &bigint(incarnation),
                &key.as_slice(),
                &at(block),
                &hashes.account,
                &hashes.slot,
            ];
            let Some(row) = self.row(SLOT, params)? else { return Ok((floor, U256::ZERO)) };
            Ok((self.floor_of(&row)?, value_of(&self.database, &row, 1)?))
        })
    }

    pub(super) fn slots(&self, slots: &[(Address, u64, U256)], block: u64) -> Result<Vec<U256>, StoreError> {
        let addresses: Vec<&[u8]> = slots.iter().map(|(address, ..)| address.as_slice()).collect();
        let incarnations: Vec<i64> = slots.iter().map(|(_, incarnation, _)| bigint(*incarnation)).collect();
        let keys: Vec<_> = slots.iter().map(|(.., slot)| slot.to_be_bytes::<32>()).collect();
        let keys: Vec<&[u8]> = keys.iter().map(<[u8; 32]>::as_slice).collect();
        self.over_base(block, |floor| {
            let hashes = slots.iter().map(|(address, incarnation, slot)| {
                let SlotHashes { account, slot } = slot_hashes(address, *incarnation, slot, floor);
                (account, slot)
            });
            let (owners, hashes): (Vec<_>, Vec<_>) = hashes.unzip();
            let mut values = vec![U256::ZERO; slots.len()];
            let mut found = floor;
            let params: Params<'_> = &[&addresses, &incarnations, &keys, &at(block), &owners, &hashes];
            for row in self.rows(SLOTS, params)? {
                found = self.floor_of(&row)?;
                if let Some(place) = values.get_mut(self.ordinal(&row, 2)?) {
                    *place = value_of(&self.database, &row, 1)?;
                }
            }
            Ok((found, values))
        })
    }

    /// Which of the keys asked for a row answers: a column counted from one.
    fn ordinal(&self, row: &Row, column: usize) -> Result<usize, StoreError> {
        let ordinal: i64 = self.column(row, column)?;
        Ok(usize::try_from(ordinal - 1).unwrap_or(usize::MAX))
    }

    pub(super) fn code(&self, hash: &B256) -> Result<Option<Bytes>, StoreError> {
        let row = self.row(CODE, &[&hash.as_slice()])?;
        row.map(|row| bytes_of(&self.database, &row, 0)).transpose()
    }

    /// A canonical block's hash, and what it changed.
    pub(super) fn changes(&self, number: u64) -> Result<(B256, StateChanges), StoreError> {
        let unknown = || StoreError::UnknownBlock { number };
        let at = i64::try_from(number).map_err(|_| unknown())?;
        let row = self.row(CHANGES, &[&at])?.ok_or_else(unknown)?;
        let hash = hash_of(&self.database, &row, 0)?;
        let floor = self.column::<i64>(&row, 2)?.cast_unsigned();
        if number <= floor && floor > 0 {
            // The base has what the block left, but not what it found.
            return Err(StoreError::StateNotHeld { block: number.saturating_sub(1), first: floor });
        }
        let record: Option<&[u8]> = self.column(&row, 1)?;
        let changes = record.and_then(codec::changes);
        let changes =
            changes.ok_or_else(|| bad("blocks", hash.as_slice(), &"its changes cannot be decoded"))?;
        Ok((hash, changes))
    }

    /// A canonical block's diff, rebuilt. The block is looked at again at the end: a reorg meanwhile would
    /// have mixed two chains.
    pub(super) fn diff(&self, number: u64) -> Result<StateDiff, StoreError> {
        let (hash, changes) = self.changes(number)?;
        let addresses: Vec<_> = changes.accounts.iter().map(|change| change.address).collect();
        let slots: Vec<_> = changes
            .accounts
            .iter()
            .flat_map(|change| change.slots.iter().map(|slot| (change.address, change.incarnation, *slot)))
            .collect();
        let before = match number.checked_sub(1) {
            Some(parent) => self.accounts(&addresses, parent)?,
            None => vec![None; addresses.len()],
        };
        let after = self.accounts(&addresses, number)?;
        let mut values = self.slots(&slots, number)?.into_iter();
        let mut diff = StateDiff::default();
        for (change, (before, after)) in changes.accounts.iter().zip(before.into_iter().zip(after)) {
            let storage = change.slots.iter().copied().zip(values.by_ref()).collect();
            diff.accounts.insert(change.address, AccountDiff { before, after, storage });
        }
        let hashes: Vec<&[u8]> = changes.code.iter().map(B256::as_slice).collect();
        if !hashes.is_empty() {
            for row in self.rows(CODES, &[&hashes])? {
                diff.code.insert(hash_of(&self.database, &row, 0)?, bytes_of(&self.database, &row, 1)?);
            }
        }
        if self.canonical_hash(number)? != Some(hash) {
            return Err(StoreError::Reverted { block: BlockRef { number, hash } });
        }
        Ok(diff)
    }

    pub(super) fn trie_node(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        if key.len() > TrieFlush::MAX_KEY {
            return Ok(None);
        }
        self.row(TRIE_NODE, &[&key])?.map(|row| bytes_of(&self.database, &row, 0)).transpose()
    }

    pub(super) fn trie_nodes(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Bytes>>, StoreError> {
        let mut nodes = vec![None; keys.len()];
        for row in self.rows(TRIE_NODES, &[&keys])? {
            if let Some(place) = nodes.get_mut(self.ordinal(&row, 0)?) {
                *place = Some(bytes_of(&self.database, &row, 1)?);
            }
        }
        Ok(nodes)
    }

    pub(super) fn trie_block(&self) -> Result<Option<BlockRef>, StoreError> {
        match self.row(STORE_STATE, &[])? {
            Some(row) => trie_block(&self.database, &row),
            None => Ok(None),
        }
    }

    pub(super) fn meta(&self, name: &str) -> Result<Option<Bytes>, StoreError> {
        // No text of PostgreSQL holds a zero.
        if name.len() > super::commit::MAX_NAME || name.contains('\0') {
            return Ok(None);
        }
        self.row(META, &[&name])?.map(|row| bytes_of(&self.database, &row, 0)).transpose()
    }

    /// Rows as the server's statistics have them: an estimate.
    pub(super) fn stats(&self) -> Result<Vec<TableStats>, StoreError> {
        let mut stats = TABLES.map(|name| TableStats { name, entries: 0, bytes: 0 });
        for row in self.rows(STATS, &[])? {
            let (name, entries, bytes): (&str, i64, i64) =
                (self.column(&row, 0)?, self.column(&row, 1)?, self.column(&row, 2)?);
            if let Some(table) = stats.iter_mut().find(|table| table.name == name) {
                (table.entries, table.bytes) = (entries.cast_unsigned(), bytes.cast_unsigned());
            }
        }
        Ok(stats.into())
    }
}

/// A block that versions are read at; those above what PostgreSQL can hold are above every version.
pub(super) fn at(block: u64) -> i64 {
    i64::try_from(block).unwrap_or(i64::MAX)
}

pub(super) fn column<'a, T: FromSql<'a>>(
    database: &Database,
    row: &'a Row,
    index: usize,
) -> Result<T, StoreError> {
    row.try_get(index).map_err(|error| database.error("read a row", &error))
}

/// An account in four columns from `first` on: nonce, balance, code hash, incarnation.
pub(super) fn account(database: &Database, row: &Row, first: usize) -> Result<Option<Account>, StoreError> {
    let Some(nonce) = column::<Option<i64>>(database, row, first)? else { return Ok(None) };
    let Wei(balance) = column(database, row, first + 1)?;
    let code_hash: Option<&[u8]> = column(database, row, first + 2)?;
    let code_hash = match code_hash {
        Some(bytes) => B256::try_from(bytes).map_err(|_| bad("accounts", bytes, &"not a hash"))?,
        None => KECCAK256_EMPTY,
    };
    let incarnation: i64 = column(database, row, first + 3)?;
    let (nonce, incarnation) = (nonce.cast_unsigned(), incarnation.cast_unsigned());
    Ok(Some(Account { nonce, balance, code_hash, incarnation }))
}

/// The value of a slot; zero where there is none.
pub(super) fn value_of(database: &Database, row: &Row, index: usize) -> Result<U256, StoreError> {
    let bytes: Option<&[u8]> = column(database, row, index)?;
    let bytes = bytes.unwrap_or_default();
    codec::uint(bytes).ok_or_else(|| bad("storage", bytes, &"not a value"))
}

pub(super) fn hash_of(database: &Database, row: &Row, index: usize) -> Result<B256, StoreError> {
    let bytes: &[u8] = column(database, row, index)?;
    B256::try_from(bytes).map_err(|_| bad("canonical", bytes, &"not a hash"))
}

/// A number and, in the next column, a hash.
pub(super) fn block_ref(database: &Database, row: &Row, first: usize) -> Result<BlockRef, StoreError> {
    let number: i64 = column(database, row, first)?;
    Ok(BlockRef { number: number.cast_unsigned(), hash: hash_of(database, row, first + 1)? })
}

/// The trie's block in a row of [`STORE_STATE`].
pub(super) fn trie_block(database: &Database, row: &Row) -> Result<Option<BlockRef>, StoreError> {
    let number: Option<i64> = column(database, row, 0)?;
    number.map(|_| block_ref(database, row, 0)).transpose()
}

pub(super) fn bytes_of(database: &Database, row: &Row, index: usize) -> Result<Bytes, StoreError> {
    let bytes: &[u8] = column(database, row, index)?;
    Ok(Bytes::copy_from_slice(bytes))
}

pub(super) fn bad(table: &'static str, key: &[u8], detail: &dyn std::fmt::Display) -> StoreError {
    StoreError::BadRecord { table, key: hex::encode(key), detail: detail.to_string() }
}
