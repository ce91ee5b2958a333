//! The PostgreSQL engine: the chain as tables that people can query, shared by one writer and any number of
//! readers, in other processes too.
//!
//! What must hold:
//! - A commit is one transaction, and its bulk goes through binary `COPY`.
//! - One writer at a time: it holds an advisory lock on its connection, and looks again at what the store
//!   holds when
//!   it has to connect anew.
//! - Reads are single statements, each of which sees one commit.
//!
//! Calls wait for the network: they must not be made on a thread that runs async tasks. The connections are
//! driven by threads of the engine's own.

mod adopt;
mod base;
mod commit;
mod connect;
mod copy;
mod error;
mod fetched;
mod numeric;
mod read;
mod rows;
mod session;
mod state;
mod trie;
mod unwind;
mod walk;

use crate::{
    Commit, Durability, FetchedState, Options, StateChanges, Store, StoreError, TableStats,
    TransactionLocation,
};
use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_trie::TrieAccount;
use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod, Runtime as PoolRuntime};
use error::Database;
use parking_lot::Mutex;
use quintet_types::{Account, BlockRef, Body, Header, Receipts, RecoveredBlock, StateDiff, StateReader};
use session::{Work, Writer};
use state::State;
use std::future::Future;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio_postgres::NoTls;

/// The SQL under `migrations/`, embedded.
mod embedded {
    refinery::embed_migrations!("migrations");
}

/// Threads that drive the connections: they do nothing but move bytes.
const THREADS: usize = 2;
/// Keys from which on a read of many is worth two connections.
const MANY_KEYS: usize = 256;

/// How to open a store in PostgreSQL.
#[derive(Clone, Debug)]
pub struct PostgresOptions {
    /// What commits survive; with [`Durability::Sync`] the server's `synchronous_commit` holds.
    pub durability: Durability,
    /// Whether to make the tables where there are none.
    pub create: bool,
    /// Never writes, and needs no lock: any number of processes may read beside the one that writes.
    pub read_only: bool,
    /// Connections for reads, made as they are needed.
    pub readers: usize,
    /// Blocks in a partition of the tables that are kept by block; what a store was made with holds.
    pub partition_blocks: u64,
    /// How long one attempt to connect may take.
    pub connect_timeout: Duration,
    /// For how long the writer goes on trying to connect again, when it must find out what became of a
    /// commit.
    pub patience: Duration,
}

impl Default for PostgresOptions {
    /// Durable, made if absent, 16 connections, half a million blocks in a partition.
    fn default() -> Self {
        Self {
            durability: Durability::Sync,
            create: true,
            read_only: false,
            readers: 16,
            partition_blocks: 500_000,
            connect_timeout: Duration::from_secs(5),
            patience: Duration::from_secs(20),
        }
    }
}

/// Opens the store in the database at `url`, as `postgres://user:password@host:port/database`.
///
/// # Errors [`StoreError::Unavailable`] when the server cannot be reached; [`StoreError::DatabaseInUse`] when
/// another writer is there; [`StoreError::DatabaseAbsent`] or [`StoreError::DatabaseSchema`] as the database
/// is found.
pub fn open_postgres(url: &str, options: &PostgresOptions) -> Result<Arc<dyn Store>, StoreError> {
    Ok(Arc::new(Postgres(Arc::new(Engine::open(url, options)?))))
}

/// Whether a store's location is that of a database, rather than a path.
pub fn is_postgres(location: &str) -> bool {
    location.starts_with("postgres://") || location.starts_with("postgresql://")
}

/// Opens the store at `location`: a directory, or a database as `postgres://…`.
///
/// # Errors
/// Those of [`crate::open`] and [`open_postgres`].
pub fn open_at(location: &str, options: &Options) -> Result<Arc<dyn Store>, StoreError> {
    if !is_postgres(location) {
        return crate::open(Path::new(location), options);
    }
    let Options { durability, create, .. } = *options;
    open_postgres(location, &PostgresOptions { durability, create, ..PostgresOptions::default() })
}

/// Pauses between attempts to connect: longer each time.
#[derive(Default)]
struct Wait(u32);

impl Wait {
    async fn sleep(&mut self) {
        self.0 = (self.0 * 2).clamp(20, 1000);
        tokio::time::sleep(Duration::from_millis(self.0.into())).await;
    }
}

/// The engine.
struct Engine {
    pool: Pool,
    /// `None` in an engine that only reads.
    writer: Option<Mutex<Writer>>,
    /// The first block whose state is held, as far as a read has told.
    floor: AtomicU64,
    database: Database,
    handle: Handle,
    runtime: Option<Runtime>,
}

impl Engine {
    fn open(url: &str, options: &PostgresOptions) -> Result<Self, StoreError> {
        let config = connect::config(url, options)?;
        let database = Database::new(&config);
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("quintet-postgres")
            .enable_all()
            .build()
            .map_err(|error| database.unavailable(format!("cannot start threads: {error}")))?;
        let opened = runtime.block_on(Self::connect(&config, options, &database));
        let (pool, writer) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                runtime.shutdown_background();
                return Err(error);
            }
        };
        let handle = runtime.handle().clone();
        let writer = writer.map(Mutex::new);
        Ok(Self { pool, writer, floor: AtomicU64::new(0), database, handle, runtime: Some(runtime) })
    }

    async fn connect(
        config: &tokio_postgres::Config,
        options: &PostgresOptions,
        database: &Database,
    ) -> Result<(Pool, Option<Writer>), StoreError> {
        let readers = connect::reader(config, options);
        let writer = if options.read_only {
            let mut client = connect::connect(&readers, database).await?;
            connect::prepare(&mut client, options, database).await?;
            None
        } else {
            Some(Writer::open(config, options, database).await?)
        };
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let pool = Pool::builder(Manager::from_config(readers, NoTls, recycling))
            .max_size(options.readers.max(1))
            .wait_timeout(Some(options.patience))
            .create_timeout(Some(options.connect_timeout))
            .runtime(PoolRuntime::Tokio1)
            .build()
            .map_err(|error| database.unavailable(error.to_string()))?;
        Ok((pool, writer))
    }

    /// Waits for `work`, which the engine's threads drive.
    fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.handle.block_on(work)
    }

    fn writer(&self) -> Result<&Mutex<Writer>, StoreError> {
        self.writer.as_ref().ok_or_else(|| StoreError::ReadOnly {
            url: self.database.url.clone(),
            detail: "it was opened for reading only".to_owned(),
        })
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // Dropped as it is, the runtime would wait for its threads, and panic where waiting is not allowed.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The handle that is given out; the state readers share the engine with it.
struct Postgres(Arc<Engine>);

/// Reads many keys on two connections at once: the server runs a statement on one core.
fn by_halves<K: Sync, V: Send>(
    keys: &[K],
    read: impl Fn(&[K]) -> Result<Vec<V>, StoreError> + Sync,
) -> Result<Vec<V>, StoreError> {
    if keys.len() < MANY_KEYS {
        return read(keys);
    }
    let (first, second) = keys.split_at(keys.len() / 2);
    std::thread::scope(|scope| {
        let second = scope.spawn(|| read(second));
        let mut values = read(first)?;
        values.extend(second.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
        Ok(values)
    })
}

impl Store for Postgres {
    fn head(&self) -> Result<Option<BlockRef>, StoreError> {
        self.0.head()
    }

    fn canonical_hash(&self, number: u64) -> Result<Option<B256>, StoreError> {
        self.0.canonical_hash(number)
    }

    fn block_number(&self, hash: &B256) -> Result<Option<u64>, StoreError> {
        self.0.block_number(hash)
    }

    fn header(&self, hash: &B256) -> Result<Option<Header>, StoreError> {
        self.0.header(hash)
    }

    fn body(&self, hash: &B256) -> Result<Option<Body>, StoreError> {
        self.0.body(hash)
    }

    fn senders(&self, hash: &B256) -> Result<Option<Vec<Address>>, StoreError> {
        self.0.senders(hash)
    }

    fn block(&self, hash: &B256) -> Result<Option<RecoveredBlock>, StoreError> {
        self.0.block(hash)
    }

    fn total_difficulty(&self, hash: &B256) -> Result<Option<U256>, StoreError> {
        self.0.total_difficulty(hash)
    }

    fn receipts(&self, hash: &B256) -> Result<Option<Receipts>, StoreError> {
        self.0.receipts(hash)
    }

    fn transaction_location(&self, hash: &B256) -> Result<Option<TransactionLocation>, StoreError> {
        self.0.transaction_location(hash)
    }

    fn account_at(&self, address: &Address, block: u64) -> Result<Option<Account>, StoreError> {
        self.0.account(address, block)
    }

    fn storage_at(
        &self,
        address: &Address,
        incarnation: u64,
        slot: &U256,
        block: u64,
    ) -> Result<U256, StoreError> {
        self.0.slot(address, incarnation, slot, block)
    }

    fn accounts_at(&self, addresses: &[Address], block: u64) -> Result<Vec<Option<Account>>, StoreError> {
        by_halves(addresses, |addresses| self.0.accounts(addresses, block))
    }

    fn slots_at(&self, slots: &[(Address, u64, U256)], block: u64) -> Result<Vec<U256>, StoreError> {
        by_halves(slots, |slots| self.0.slots(slots, block))
    }

    fn has_storage(&self, address: &Address, incarnation: u64, block: u64) -> Result<bool, StoreError> {
        let state = State::new(Arc::clone(&self.0), block)?;
        walk::any_slot(&state, &walk::Storage { address, incarnation })
    }

    fn first_state(&self) -> Result<u64, StoreError> {
        self.0.first_state()
    }

    fn base_accounts(&self, from: &B256, most: usize) -> Result<Vec<(B256, TrieAccount)>, StoreError> {
        self.0.base_accounts(from, most)
    }

    fn base_slots(&self, account: &B256, from: &B256, most: usize) -> Result<Vec<(B256, U256)>, StoreError> {
        self.0.base_slots(account, from, most)
    }

    fn code(&self, hash: &B256) -> Result<Option<Bytes>, StoreError> {
        self.0.code(hash)
    }

    fn state_at(&self, block: u64) -> Result<Box<dyn StateReader>, StoreError> {
        Ok(Box::new(State::new(Arc::clone(&self.0), block)?))
    }

    fn changes(&self, block: u64) -> Result<StateChanges, StoreError> {
        Ok(self.0.changes(block)?.1)
    }

    fn diff(&self, block: u64) -> Result<StateDiff, StoreError> {
        self.0.diff(block)
    }

    fn trie_node(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.0.trie_node(key)
    }

    fn trie_nodes(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Bytes>>, StoreError> {
        by_halves(keys, |keys| self.0.trie_nodes(keys))
    }

    fn trie_block(&self) -> Result<Option<BlockRef>, StoreError> {
        self.0.trie_block()
    }

    fn meta(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        self.0.meta(key)
    }

    fn commit(&self, commit: Commit) -> Result<(), StoreError> {
        let span = tracing::info_span!(
            "PostgreSQL commit",
            otel.kind = "client",
            db.system.name = "postgresql",
            db.operation.name = "COMMIT",
            blocks = commit.blocks.len().cast_signed(),
            unwind_to = commit.unwind_to.map(u64::cast_signed),
        );
        let _entered = span.enter();
        let floor = self.0.writer()?.lock().floor();
        let batch = rows::build(&commit, floor)?;
        let mut writer = self.0.writer()?.lock();
        self.0.block_on(writer.write(Work::Commit(&commit, batch)))
    }

    fn write_fetched(&self, part: FetchedState) -> Result<(), StoreError> {
        let mut writer = self.0.writer()?.lock();
        self.0.block_on(writer.write(Work::Fetched(part)))
    }

    fn sync(&self) -> Result<(), StoreError> {
        let mut writer = self.0.writer()?.lock();
        self.0.block_on(writer.sync())
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
        self.0.stats()
    }

    fn reads_block(&self) -> bool {
        true
    }
}
