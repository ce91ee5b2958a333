//! The pool's journal file: what makes an acknowledged transaction survive a crash.
//!
//! One thread appends. It writes whatever has queued up while the disk was busy and syncs once for all of it,
//! so the cost of a sync is shared by every transaction that arrives meanwhile.

use crate::error::ChainError;
use quintet_txpool::journal::{self, Entry};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{mpsc, oneshot};

/// Appends that may wait for the disk; a sender beyond that waits for its turn.
const QUEUE: usize = 8192;
/// Appends that share one sync at the most.
const BATCH: usize = 4096;
/// The file is rewritten with what the pool still holds when it has grown to this many bytes, and doubled.
const COMPACT_AT: u64 = 32 << 20;

/// Encodes every transaction that the pool holds, for compaction.
pub(crate) type Contents = Box<dyn Fn() -> Vec<u8> + Send>;

struct Append {
    record: Vec<u8>,
    done: oneshot::Sender<Result<(), Arc<io::Error>>>,
}

/// A handle to the journal. Cheap to clone; the file closes with the last one.
#[derive(Clone, Debug)]
pub(crate) struct Journal {
    queue: mpsc::Sender<Append>,
}

impl Journal {
    /// Reads the journal at `path`, creating it if there is none. A record that a crash cut short was never
    /// acknowledged, and is dropped.
    ///
    /// # Errors
    /// When the file cannot be read, or is damaged elsewhere than at its end.
    pub(crate) fn read(path: &Path) -> Result<Vec<Entry>, ChainError> {
        let mut bytes = Vec::new();
        match File::open(path) {
            Ok(mut file) => file.read_to_end(&mut bytes).map_err(io_error)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(io_error(error)),
        };
        let mut records = journal::decode(&bytes);
        let mut entries = Vec::new();
        for entry in records.by_ref() {
            let damaged = |source| ChainError::JournalDamaged { path: path.display().to_string(), source };
            entries.push(entry.map_err(damaged)?);
        }
        if records.torn_bytes() > 0 {
            tracing::warn!(
                bytes = records.torn_bytes(),
                "dropped an unacknowledged record at the end of the journal"
            );
        }
        Ok(entries)
    }

    /// Starts the appending thread on a fresh file with what `contents` gives.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn open(path: PathBuf, contents: Contents) -> Result<Self, ChainError> {
        let file = rewrite(&path, &contents()).map_err(io_error)?;
        let length = file.metadata().map_err(io_error)?.len();
        let (queue, appends) = mpsc::channel(QUEUE);
        let appender = Appender { path, file, length, compact_at: COMPACT_AT.max(length * 2), contents };
        std::thread::Builder::new()
            .name("txpool-journal".to_owned())
            .spawn(move || appender.run(appends))
            .map_err(io_error)?;
        Ok(Self { queue })
    }

    /// Appends one record; returns once it is on the disk.
    ///
    /// # Errors
    /// When it is not.
    pub(crate) async fn append(&self, record: Vec<u8>) -> Result<(), ChainError> {
        let (done, outcome) = oneshot::channel();
        let closed = || ChainError::Journal(Arc::new(io::Error::other("the journal is closed")));
        self.queue.send(Append { record, done }).await.map_err(|_| closed())?;
        outcome.await.map_err(|_| closed())?.map_err(ChainError::Journal)
    }
}

struct Appender {
    path: PathBuf,
    file: File,
    /// Bytes of the file that hold whole, synced records.
    length: u64,
    compact_at: u64,
    contents: Contents,
}

impl Appender {
    fn run(mut self, mut appends: mpsc::Receiver<Append>) {
        let mut batch = Vec::with_capacity(64);
        let mut bytes = Vec::new();
        while appends.blocking_recv_many(&mut batch, BATCH) > 0 {
            bytes.clear();
            for append in &batch {
                bytes.extend_from_slice(&append.record);
            }
            let start = Instant::now();
            let outcome = self.write(&bytes).map_err(Arc::new);
            metrics::histogram!("quintet_chain_journal_sync_duration_seconds").record(start.elapsed());
            metrics::counter!("quintet_chain_journal_records_total").increment(batch.len() as u64);
            if let Err(error) = &outcome {
                tracing::error!(%error, path = %self.path.display(), "cannot write the transaction journal");
            }
            for append in batch.drain(..) {
                // A caller that has gone away does not need the answer.
                let _ = append.done.send(outcome.clone());
            }
            self.compact();
            metrics::gauge!("quintet_chain_journal_bytes").set(self.length as f64);
        }
    }

    /// Appends and syncs; cuts off what a failed write left.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let written = self.file.write_all(bytes).and_then(|()| self.file.sync_data());
        match written {
            Ok(()) => self.length += bytes.len() as u64,
            Err(_) => self.file.set_len(self.length)?,
        }
        written
    }

    /// Rewrites a file that has grown. What is in the pool but not written yet is in both; a record twice does
    /// no harm. On failure the old file stays.
    fn compact(&mut self) {
        if self.length < self.compact_at {
            return;
        }
        let replaced = rewrite(&self.path, &(self.contents)()).and_then(|file| {
            self.length = file.metadata()?.len();
            self.file = file;
            Ok(())
        });
        if let Err(error) = replaced {
            tracing::warn!(%error, "cannot compact the transaction journal");
        }
        self.compact_at = COMPACT_AT.max(self.length * 2);
    }
}

/// Replaces the file at `path` by `bytes` in one step, and opens it for appending.
fn rewrite(path: &Path, bytes: &[u8]) -> io::Result<File> {
    let fresh = path.with_extension("new");
    let mut file = File::create(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&fresh, path)?;
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    OpenOptions::new().append(true).open(path)
}

fn io_error(error: io::Error) -> ChainError {
    ChainError::Journal(Arc::new(error))
}
