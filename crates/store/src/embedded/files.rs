//! The store's directory: its lock, its marker, and the environment in it.
//!
//! `LOCK` is held for as long as the store is open. `STORE` says that a store was made here, so that a data
//! file that vanishes is not taken for an empty chain.

use super::tables::{Place, Tables};
use super::view::{SCHEMA_KEY, View};
use super::{Durability, Options};
use crate::StoreError;
use signet_libmdbx::sys::PageSize;
use signet_libmdbx::{Environment, EnvironmentFlags, Geometry, Mode, SyncMode, WriteFlags};
use std::fs::{File, TryLockError};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

/// The version of the tables and their records. A change of either is a new one.
const SCHEMA: u32 = 1;
/// The version of a store whose state was adopted: one that knows of no base would misread it.
pub(super) const SCHEMA_WITH_BASE: u32 = 2;
const LOCK: &str = "LOCK";
const MARKER: &str = "STORE";
/// The name that the engine gives its data file.
const DATA: &str = "mdbx.dat";
const MARKER_TEXT: &str = "Quintet chain store. Keep this file: without it a lost mdbx.dat goes unnoticed.\n";
/// Bytes by which the data file grows and, when that much is free, shrinks.
const GROWTH_STEP: isize = 16 << 20;
const PAGE: usize = 4096;
/// Bytes of the pages that every data file begins with.
const METAS: u64 = 3 * PAGE as u64;
/// Bytes written after which [`Durability::Lazy`] syncs by itself.
const LAZY_SYNC: usize = 256 << 20;
/// Reads at once, over all threads and processes.
const MAX_READERS: u64 = 1024;
/// What an open store holds of its directory. The order matters at drop: the lock goes last.
pub(super) struct Opened {
    pub(super) tables: Tables,
    pub(super) env: Environment,
    pub(super) place: Place,
    pub(super) lock: Lock,
}

/// Opens the store in `directory`, or makes one if the options say so.
pub(super) fn open(directory: &Path, options: &Options) -> Result<Opened, StoreError> {
    if options.create {
        std::fs::create_dir_all(directory).map_err(|error| io("create", directory, error))?;
    }
    let data = directory.join(DATA);
    let marker = directory.join(MARKER);
    if !options.create && !is_there(&data)? && !is_there(&marker)? {
        return Err(StoreError::Absent { path: directory.to_owned() });
    }
    let lock = lock(directory)?;
    if is_there(&marker)? {
        check_length(&data)?;
    }
    let place = Place { path: data, limit: options.max_size as u64 };
    let env = open_whole(directory, options, &place)?;
    let tables = tables(&env, &place, directory)?;
    if !is_there(&marker)? {
        write_marker(directory, &marker)?;
    }
    Ok(Opened { tables, env, place, lock })
}

/// The lock on a directory. The system gives it back when the process ends, however it does.
pub(super) struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing the file is not enough while a child process, just forked, still shares it.
        if let Err(error) = self.0.unlock() {
            tracing::warn!(%error, "cannot unlock the chain store's directory");
        }
    }
}

/// Takes the directory for this process alone.
fn lock(directory: &Path) -> Result<Lock, StoreError> {
    let path = directory.join(LOCK);
    let file = File::options().create(true).truncate(false).read(true).write(true).open(&path);
    let file = file.map_err(|error| io("open", &path, error))?;
    match file.try_lock() {
        Ok(()) => Ok(Lock(file)),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse { path: directory.to_owned() }),
        Err(TryLockError::Error(error)) => Err(io("lock", &path, error)),
    }
}

/// Opens the environment, unless its file ends before its last page. The engine would fill such a file up with
/// zeros when it does not take itself for the only user; then it is cut off again, for the next try to see.
fn open_whole(directory: &Path, options: &Options, place: &Place) -> Result<Environment, StoreError> {
    let path = place.path.as_path();
    let length = || {
        Ok(if is_there(path)? {
            std::fs::metadata(path).map_err(|error| io("read", path, error))?.len()
        } else {
            0
        })
    };
    let before: u64 = length()?;
    let failed = |error| place.error("open", error);
    let env = environment(directory, options).map_err(failed)?;
    let needed = (env.info().map_err(failed)?.last_pgno() as u64 + 1) * PAGE as u64;
    if before < METAS || before >= needed {
        return Ok(env);
    }
    drop(env);
    let cut = File::options().write(true).open(path).and_then(|file| file.set_len(before));
    cut.map_err(|error| io("truncate", path, error))?;
    let detail = format!("it is truncated to {before} bytes of at least {needed}");
    Err(StoreError::Damaged { path: path.to_owned(), detail })
}

fn environment(directory: &Path, options: &Options) -> Result<Environment, signet_libmdbx::MdbxError> {
    let sync_mode = match options.durability {
        Durability::Sync => SyncMode::Durable,
        Durability::Lazy => SyncMode::SafeNoSync,
        Durability::None => SyncMode::UtterlyNoSync,
    };
    let flags = EnvironmentFlags {
        mode: Mode::ReadWrite { sync_mode },
        // Reads are of single rows: reading ahead would only fill memory.
        no_rdahead: true,
        // Pages come zeroed where it matters; what is left over in them is the chain's own data.
        no_meminit: true,
        coalesce: true,
        ..EnvironmentFlags::default()
    };
    let mut builder = Environment::builder();
    if options.durability == Durability::Lazy {
        builder.set_sync_bytes(LAZY_SYNC);
    }
    builder.set_flags(flags).set_max_dbs(Tables::COUNT).set_max_readers(MAX_READERS).set_geometry(Geometry {
        size: Some(0..options.max_size),
        growth_step: Some(GROWTH_STEP),
        shrink_threshold: Some(4 * GROWTH_STEP),
        page_size: Some(PageSize::Set(PAGE)),
    });
    builder.open(directory)
}

/// Opens the tables, and checks or, in an empty environment, writes the schema's version.
fn tables(env: &Environment, place: &Place, directory: &Path) -> Result<Tables, StoreError> {
    let failed = |error| place.error("open", error);
    let tx = env.begin_rw_unsync().map_err(failed)?;
    let tables = Tables::create(&tx).map_err(failed)?;
    let view = View { tx: &tx, tables: &tables, place, floor: 0 };
    let found = view.get(tables.system, SCHEMA_KEY)?.map(std::borrow::Cow::into_owned);
    match found.as_deref() {
        Some(bytes) if bytes == SCHEMA.to_be_bytes() || bytes == SCHEMA_WITH_BASE.to_be_bytes() => {}
        None if view.last(tables.numbers)?.is_none() => {
            tx.put(tables.system.db, SCHEMA_KEY, SCHEMA.to_be_bytes(), WriteFlags::UPSERT).map_err(failed)?;
        }
        found => {
            let found = found.map_or_else(
                || "unknown".to_owned(),
                |bytes| {
                    bytes
                        .try_into()
                        .map_or_else(|_| "unknown".to_owned(), |bytes| u32::from_be_bytes(bytes).to_string())
                },
            );
            return Err(StoreError::Schema { path: directory.to_owned(), found, expected: SCHEMA });
        }
    }
    tx.commit().map_err(failed)?;
    Ok(tables)
}

/// Refuses a data file that is gone, or so short that the engine would take it for one that it had only begun
/// to make. It finds by itself when a longer one ends too early.
fn check_length(data: &Path) -> Result<(), StoreError> {
    match std::fs::metadata(data) {
        Ok(found) if found.len() >= METAS => Ok(()),
        Ok(found) => {
            let detail = format!("it is truncated to {} bytes", found.len());
            Err(StoreError::Damaged { path: data.to_owned(), detail })
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(StoreError::Missing { path: data.to_owned() })
        }
        Err(error) => Err(io("read", data, error)),
    }
}

fn write_marker(directory: &Path, marker: &Path) -> Result<(), StoreError> {
    let write = || {
        let mut file = File::create(marker)?;
        file.write_all(MARKER_TEXT.as_bytes())?;
        file.sync_all()?;
        File::open(directory)?.sync_all()
    };
    write().map_err(|error| io("write", marker, error))
}

fn is_there(path: &Path) -> Result<bool, StoreError> {
    path.try_exists().map_err(|error| io("find", path, error))
}

fn io(action: &'static str, path: &Path, source: std::io::Error) -> StoreError {
    if source.kind() == std::io::ErrorKind::StorageFull {
        return StoreError::DiskFull { path: path.to_owned() };
    }
    StoreError::Io { action, path: path.to_owned(), source: Arc::new(source) }
}
