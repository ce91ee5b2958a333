//! Compares embedded engines on the store's account versions: rows of 28-byte keys (`address | !block`) and
//! 16-byte values, each commit sorted and synced, then reads of the newest version at or below a block.
//!
//! `cargo run --release` in this folder.

use fjall::{Database as Fjall, Keyspace, KeyspaceCreateOptions, PersistMode};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use redb::{ReadableDatabase, TableDefinition};
use signet_libmdbx::{DatabaseFlags, Environment, Geometry, WriteFlags};
use std::path::Path;
use std::time::{Duration, Instant};

type Key = [u8; 28];
type Row = (Key, [u8; 16]);
type Failure = Box<dyn std::error::Error>;

const ACCOUNTS: u64 = 200_000;
const TABLE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("accounts");

/// What is asked of an engine.
trait Engine {
    /// Writes rows in the order of their keys, durably.
    fn commit(&mut self, rows: &[Row]) -> Result<(), Failure>;
    /// For each key: whether the first row at or after it is of the same address. One snapshot.
    fn read(&self, keys: &[Key]) -> Result<usize, Failure>;
}

struct Mdbx(Environment);

impl Mdbx {
    fn open(path: &Path) -> Result<Self, Failure> {
        let geometry =
            Geometry { size: Some(0..1 << 36), growth_step: Some(16 << 20), ..Geometry::default() };
        let env = Environment::builder().set_max_dbs(1).set_geometry(geometry).open(path)?;
        let tx = env.begin_rw_unsync()?;
        tx.create_db(Some("accounts"), DatabaseFlags::empty())?;
        tx.commit()?;
        Ok(Self(env))
    }
}

impl Engine for Mdbx {
    fn commit(&mut self, rows: &[Row]) -> Result<(), Failure> {
        let tx = self.0.begin_rw_unsync()?;
        let table = tx.open_db(Some("accounts"))?;
        let mut cursor = tx.cursor(table)?;
        for (key, value) in rows {
            cursor.put(key, value, WriteFlags::UPSERT)?;
        }
        drop(cursor);
        Ok(tx.commit()?)
    }

    fn read(&self, keys: &[Key]) -> Result<usize, Failure> {
        let tx = self.0.begin_ro_unsync()?;
        let mut cursor = tx.cursor(tx.open_db(Some("accounts"))?)?;
        let mut found = 0;
        for key in keys {
            let row: Option<(Key, [u8; 16])> = cursor.set_range(key)?;
            found += usize::from(row.is_some_and(|(row, _)| row[..20] == key[..20]));
        }
        Ok(found)
    }
}

struct Redb(redb::Database);

impl Engine for Redb {
    fn commit(&mut self, rows: &[Row]) -> Result<(), Failure> {
        let tx = self.0.begin_write()?;
        let mut table = tx.open_table(TABLE)?;
        for (key, value) in rows {
            table.insert(key.as_slice(), value.as_slice())?;
        }
        drop(table);
        Ok(tx.commit()?)
    }

    fn read(&self, keys: &[Key]) -> Result<usize, Failure> {
        let tx = self.0.begin_read()?;
        let table = tx.open_table(TABLE)?;
        let mut found = 0;
        for key in keys {
            if let Some(row) = table.range(key.as_slice()..)?.next() {
                found += usize::from(row?.0.value()[..20] == key[..20]);
            }
        }
        Ok(found)
    }
}

struct Lsm(Fjall, Keyspace);

impl Engine for Lsm {
    fn commit(&mut self, rows: &[Row]) -> Result<(), Failure> {
        let mut batch = self.0.batch().durability(Some(PersistMode::SyncData));
        for (key, value) in rows {
            batch.insert(&self.1, key.as_slice(), value.as_slice());
        }
        Ok(batch.commit()?)
    }

    fn read(&self, keys: &[Key]) -> Result<usize, Failure> {
        let mut found = 0;
        for key in keys {
            if let Some(row) = self.1.range(key.as_slice()..).next() {
                found += usize::from(row.key()?[..20] == key[..20]);
            }
        }
        Ok(found)
    }
}

/// A version's key; addresses are spread evenly.
fn key(account: u64, block: u64) -> Key {
    let mut key = [0; 28];
    key[..8].copy_from_slice(&account.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    key[8..16].copy_from_slice(&account.to_be_bytes());
    key[20..].copy_from_slice(&(!block).to_be_bytes());
    key
}

/// Commits `commits` times `rows` rows; returns rows a second and the slowest commit.
fn write(
    engine: &mut dyn Engine,
    block: &mut u64,
    commits: u32,
    rows: u32,
) -> Result<(f64, Duration), Failure> {
    let mut random = SmallRng::seed_from_u64(*block);
    let (mut spent, mut slowest) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..commits {
        *block += 1;
        let row = |_| (key(random.random_range(0..ACCOUNTS), *block), random.random());
        let mut batch: Vec<Row> = (0..rows).map(row).collect();
        batch.sort_unstable();
        let started = Instant::now();
        engine.commit(&batch)?;
        spent += started.elapsed();
        slowest = slowest.max(started.elapsed());
    }
    Ok((f64::from(commits * rows) / spent.as_secs_f64(), slowest))
}

fn measure(name: &str, path: &Path, engine: &mut dyn Engine) -> Result<(), Failure> {
    let mut block = 0;
    let batches = write(engine, &mut block, 40, 50_000)?;
    let blocks = write(engine, &mut block, 100, 2_000)?;
    let mut random = SmallRng::seed_from_u64(7);
    let keys: Vec<_> = (0..1_000_000)
        .map(|_| key(random.random_range(0..ACCOUNTS), random.random_range(0..=block)))
        .collect();
    engine.read(&keys)?;
    let started = Instant::now();
    let found = engine.read(&keys)?;
    let reads = keys.len() as f64 / started.elapsed().as_secs_f64();
    println!(
        "| {name} | {:.0} | {:.0?} | {:.0} | {:.0?} | {reads:.0} | {} |",
        batches.0,
        batches.1,
        blocks.0,
        blocks.1,
        size(path)? >> 20
    );
    assert!(found > keys.len() / 2, "{name} lost rows");
    Ok(())
}

/// Bytes that the engine takes on the disk.
fn size(path: &Path) -> Result<u64, Failure> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        bytes += if kind.is_dir() { size(&entry.path())? } else { blocks(&entry.metadata()?) };
    }
    Ok(bytes)
}

fn blocks(file: &std::fs::Metadata) -> u64 {
    use std::os::unix::fs::MetadataExt;
    file.blocks() * 512
}

fn main() -> Result<(), Failure> {
    println!(
        "| engine | rows/s, 50,000 a commit | slowest | rows/s, 2,000 a commit | slowest | reads/s | MiB |"
    );
    println!("|---|---|---|---|---|---|---|");
    let directory = tempfile::tempdir()?;
    measure("libmdbx", directory.path(), &mut Mdbx::open(directory.path())?)?;
    let directory = tempfile::tempdir()?;
    let mut engine = Redb(redb::Database::create(directory.path().join("redb"))?);
    measure("redb", directory.path(), &mut engine)?;
    let directory = tempfile::tempdir()?;
    let database = Fjall::builder(directory.path()).cache_size(256 << 20).open()?;
    let accounts = database.keyspace("accounts", KeyspaceCreateOptions::default)?;
    measure("fjall", directory.path(), &mut Lsm(database, accounts))?;
    Ok(())
}
