//! The embedded engine, on libmdbx: a memory-mapped B-tree with one writer and readers that never wait.
//!
//! The same engine serves as the store "in memory": in a temporary directory, without syncing to the disk.

mod adopt;
mod base;
mod commit;
mod fetched;
mod files;
mod keys;
mod rows;
mod snapshots;
mod state;
mod tables;
mod view;
mod walk;

use crate::{
    Commit, FetchedState, StateChanges, Store, StoreError, TableStats, TransactionLocation, TrieFlush,
};
use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_trie::TrieAccount;
use commit::Writer;
use parking_lot::Mutex;
use quintet_types::{
    Account, Block, BlockRef, Body, Header, Receipts, RecoveredBlock, StateDiff, StateReader,
};
use signet_libmdbx::{Environment, Ro};
use snapshots::{Snapshot, Snapshots};
use state::State;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tables::{Place, Tables};
use tempfile::TempDir;
use view::View;

/// What a commit survives once it has returned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// The death of the process, and the loss of power.
    #[default]
    Sync,
    /// The death of the process; a loss of power takes back the commits since the last [`Store::sync`], or of
    /// the last seconds, and leaves the store whole. For imports in bulk.
    Lazy,
    /// The death of the process only. After a crash of the machine the embedded engine's file may be damaged;
    /// PostgreSQL makes no difference between this and [`Self::Lazy`].
    None,
}

/// How to open a store.
#[derive(Clone, Debug)]
pub struct Options {
    /// What commits survive.
    pub durability: Durability,
    /// Whether to make the directory, and a store in it, where there is none.
    pub create: bool,
    /// Upper limit of the data file, in bytes. It is reserved as address space, not as memory or disk.
    pub max_size: usize,
}

impl Default for Options {
    /// Durable, made if absent, up to 1 TiB.
    fn default() -> Self {
        Self { durability: Durability::Sync, create: true, max_size: 1 << 40 }
    }
}

/// Opens the store in directory `path`.
///
/// # Errors
/// [`StoreError::InUse`] when a process, even this one, has it open; [`StoreError::Absent`],
/// [`StoreError::Missing`], [`StoreError::Schema`] or [`StoreError::Damaged`] as the directory is found.
pub fn open(path: &Path, options: &Options) -> Result<Arc<dyn Store>, StoreError> {
    Ok(Arc::new(Embedded(Arc::new(Engine::open(path, options, None)?))))
}

/// Opens an empty store that is gone when it is dropped: the embedded engine in a directory under the
/// system's temporary one, never synced, so that small chains stay in the page cache.
///
/// # Errors
/// When the directory cannot be made.
pub fn open_temporary() -> Result<Arc<dyn Store>, StoreError> {
    let directory = tempfile::Builder::new().prefix("quintet-store-").tempdir();
    let directory = directory.map_err(|source| StoreError::Io {
        action: "create a directory in",
        path: std::env::temp_dir(),
        source: Arc::new(source),
    })?;
    let path = directory.path().to_owned();
    let options = Options { durability: Durability::None, max_size: 64 << 30, ..Options::default() };
    Ok(Arc::new(Embedded(Arc::new(Engine::open(&path, &options, Some(directory))?))))
}

/// The engine. The fields are dropped in their order: the lock only after the environment, the directory
/// last.
struct Engine {
    snapshots: Snapshots,
    tables: Tables,
    env: Environment,
    place: Place,
    writer: Mutex<()>,
    /// The snapshot of the last commit that took canonical blocks away, set before others can see it.
    last_unwind: AtomicU64,
    _lock: files::Lock,
    _temporary: Option<TempDir>,
}

impl Engine {
    fn open(path: &Path, options: &Options, temporary: Option<TempDir>) -> Result<Self, StoreError> {
        let files::Opened { tables, env, place, lock } = files::open(path, options)?;
        Ok(Self {
            snapshots: Snapshots::new(env.clone(), tables.system, place.clone()),
            tables,
            env,
            place,
            writer: Mutex::new(()),
            last_unwind: AtomicU64::new(0),
            _lock: lock,
            _temporary: temporary,
        })
    }

    const fn view<'a>(&'a self, snapshot: &'a Snapshot) -> View<'a, Ro> {
        View { tx: &snapshot.tx, tables: &self.tables, place: &self.place, floor: snapshot.floor }
    }

    /// Runs `read` on the newest snapshot.
    fn read<T>(&self, read: impl FnOnce(View<'_, Ro>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let snapshot = self.snapshots.take(0)?;
        let result = read(self.view(&snapshot));
        self.snapshots.give_back(snapshot);
        result
    }

    fn commit(&self, commit: Commit) -> Result<(), StoreError> {
        let span =
            tracing::debug_span!("store.commit", blocks = commit.blocks.len(), unwind_to = commit.unwind_to);
        let _entered = span.enter();
        self.write(|writer| commit::write(writer, commit))
    }

    /// Runs `write` in one transaction; it says whether canonical blocks were taken away.
    fn write(&self, write: impl FnOnce(&Writer<'_>) -> Result<bool, StoreError>) -> Result<(), StoreError> {
        let _writer = self.writer.lock();
        let failed = |error| self.place.error("commit", error);
        let tx = self.env.begin_rw_unsync().map_err(failed)?;
        let id = tx.id().map_err(failed)?;
        let unwound = write(&Writer::new(&tx, &self.tables, &self.place)?)?;
        if unwound {
            self.last_unwind.store(id, Ordering::SeqCst);
        }
        tx.commit().map_err(failed)?;
        self.snapshots.advance(id);
        Ok(())
    }
}

/// The handle that is given out; the state readers share the engine with it.
struct Embedded(Arc<Engine>);

impl Store for Embedded {
    fn head(&self) -> Result<Option<BlockRef>, StoreError> {
        self.0.read(|view| view.head())
    }

    fn canonical_hash(&self, number: u64) -> Result<Option<B256>, StoreError> {
        self.0.read(|view| view.canonical_hash(number))
    }

    fn block_number(&self, hash: &B256) -> Result<Option<u64>, StoreError> {
        self.0.read(|view| view.block_number(hash))
    }

    fn header(&self, hash: &B256) -> Result<Option<Header>, StoreError> {
        self.0.read(|view| Ok(view.header(hash)?.map(|(_, header)| header)))
    }

    fn body(&self, hash: &B256) -> Result<Option<Body>, StoreError> {
        self.0.read(|view| view.body(hash))
    }

    fn senders(&self, hash: &B256) -> Result<Option<Vec<Address>>, StoreError> {
        self.0.read(|view| view.senders(hash))
    }

    fn block(&self, hash: &B256) -> Result<Option<RecoveredBlock>, StoreError> {
        self.0.read(|view| {
            let parts = (view.header(hash)?, view.body(hash)?, view.senders(hash)?);
            let (Some((_, header)), Some(body), Some(senders)) = parts else { return Ok(None) };
            Ok(Some(RecoveredBlock { hash: *hash, block: Block { header, body }, senders }))
        })
    }

    fn total_difficulty(&self, hash: &B256) -> Result<Option<U256>, StoreError> {
        self.0.read(|view| Ok(view.header(hash)?.map(|(total, _)| total)))
    }

    fn receipts(&self, hash: &B256) -> Result<Option<Receipts>, StoreError> {
        self.0.read(|view| {
            let table = view.tables.receipts;
            let record = view.of_block(table, hash)?;
            record.map(|record| view::decoded(table, hash, crate::receipts::decode(&record))).transpose()
        })
    }

    fn transaction_location(&self, hash: &B256) -> Result<Option<TransactionLocation>, StoreError> {
        self.0.read(|view| view.transaction_location(hash))
    }

    fn account_at(&self, address: &Address, block: u64) -> Result<Option<Account>, StoreError> {
        self.0.read(|view| view.account(address, block))
    }

    fn storage_at(
        &self,
        address: &Address,
        incarnation: u64,
        slot: &U256,
        block: u64,
    ) -> Result<U256, StoreError> {
        self.0.read(|view| view.storage(address, incarnation, slot, block))
    }

    fn has_storage(&self, address: &Address, incarnation: u64, block: u64) -> Result<bool, StoreError> {
        let state = State::new(Arc::clone(&self.0), block)?;
        walk::any_slot(&state, &walk::Storage { address, incarnation })
    }

    fn first_state(&self) -> Result<u64, StoreError> {
        self.0.read(|view| Ok(view.floor))
    }

    fn base_accounts(&self, from: &B256, most: usize) -> Result<Vec<(B256, TrieAccount)>, StoreError> {
        self.0.read(|view| view.base_accounts(from, most))
    }

    fn base_slots(&self, account: &B256, from: &B256, most: usize) -> Result<Vec<(B256, U256)>, StoreError> {
        self.0.read(|view| view.base_slots(account, from, most))
    }

    fn code(&self, hash: &B256) -> Result<Option<Bytes>, StoreError> {
        self.0.read(|view| view.bytes(view.tables.code, hash.as_slice()))
    }

    fn state_at(&self, block: u64) -> Result<Box<dyn StateReader>, StoreError> {
        Ok(Box::new(State::new(Arc::clone(&self.0), block)?))
    }

    fn changes(&self, block: u64) -> Result<StateChanges, StoreError> {
        self.0.read(|view| view.changes(block))
    }

    fn diff(&self, block: u64) -> Result<StateDiff, StoreError> {
        self.0.read(|view| view.diff(block))
    }

    fn trie_node(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        if key.len() > TrieFlush::MAX_KEY {
            return Ok(None);
        }
        self.0.read(|view| view.bytes(view.tables.trie, key))
    }

    fn trie_block(&self) -> Result<Option<BlockRef>, StoreError> {
        self.0.read(|view| view.trie_block())
    }

    fn meta(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        if key.len() > commit::MAX_NAME {
            return Ok(None);
        }
        self.0.read(|view| view.bytes(view.tables.meta, key.as_bytes()))
    }

    fn commit(&self, commit: Commit) -> Result<(), StoreError> {
        self.0.commit(commit)
    }

    fn write_fetched(&self, part: FetchedState) -> Result<(), StoreError> {
        self.0.write(|writer| writer.fetched(part).map(|()| false))
    }

    fn sync(&self) -> Result<(), StoreError> {
        let _writer = self.0.writer.lock();
        self.0.env.sync(true).map(drop).map_err(|error| self.0.place.error("sync", error))
    }

    fn for_each_account_version(
        &self,
        block: u64,
        from: Address,
        visit: &mut dyn FnMut(Address, Option<Account>) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        walk::accounts(&State::new(Arc::clone(&self.0), block)?, from, visit)
    }

    fn for_each_slot_version(
        &self,
        address: &Address,
        incarnation: u64,
        block: u64,
        from: U256,
        visit: &mut dyn FnMut(U256, U256) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let state = State::new(Arc::clone(&self.0), block)?;
        walk::storage(&state, &walk::Storage { address, incarnation }, from, visit)
    }

    fn stats(&self) -> Result<Vec<TableStats>, StoreError> {
        self.0.read(|view| view.tables.all().into_iter().map(|table| view.stats(table)).collect())
    }

    fn reads_block(&self) -> bool {
        false
    }
}
