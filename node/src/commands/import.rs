//! `quintet import`: blocks from files, as fast as they can be checked.
//!
//! Every run begins with the first file's first block; what is canonical already is passed over. Whatever ends a run,
//! all blocks before that are in the store, and the next run goes on behind them.

use super::{import_remote, init_network, offline_chain, stored_spec, to_its_end};
use crate::chainfile::{ChainFile, ChainFileError, Place};
use crate::cli::ImportArgs;
use crate::error::NodeError;
use crate::interrupt::Interrupt;
use crate::progress::{self, Progress};
use alloy_primitives::B256;
use parking_lot::Mutex;
use quintet_chain::{BulkOptions, Chain, ChainError, Config, ImportError, Summary};
use quintet_store::Store;
use quintet_types::{Block, BlockRef};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::fs;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, ScopedJoinHandle, Thread};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// Blocks whose places in their files are remembered: more than can be on their way at once.
const REMEMBERED: usize = 1 << 17;
const MEGA: f64 = 1e6;
/// Time between two looks at how far the import is.
const REPORT_INTERVAL: Duration = Duration::from_millis(200);
/// Verbosity that shows warnings.
const WARN: u8 = 2;
/// Verbosity that is the default, and shows every commit.
const INFO: u8 = 3;

/// Imports files of blocks.
///
/// # Errors
/// Names the block that was not taken, and its place in its file; or the place where a file is damaged.
pub(crate) fn import(args: &ImportArgs) -> Result<(), NodeError> {
    let mut logging = args.logging.clone();
    if std::io::stderr().is_terminal() && logging.verbosity == INFO {
        // The bar says what the log would say of every commit.
        logging.verbosity = WARN;
    }
    to_its_end(&logging, |interrupt| {
        let source = Source::new(&args.files, interrupt)?;
        if let Some(url) = &args.chain_url {
            return told(import_remote::run(url, source, !args.fake_pow, &Handle::current())?, args.json);
        }
        let store = args.data.open_for_bulk(args.network.is_some())?;
        init_network(store.as_ref(), args.network.as_deref())?;
        let spec = stored_spec(store.as_ref())?;
        let config = Config {
            check_work: !args.fake_pow,
            ethash_directory: Some(args.data.ethash(&args.ethash)?),
            ..Config::of(&spec)
        };
        let chain = offline_chain(spec, Arc::clone(&store), config)?;
        told(run(&chain, store.as_ref(), source), args.json)
    })
}

/// Prints what was done, and gives how it ended.
fn told(run: Run, json: bool) -> Result<(), NodeError> {
    if json {
        println!("{}", run.to_json());
    } else {
        println!("{}", run.to_text());
    }
    run.outcome
}

/// What an import did, and how it ended.
pub(super) struct Run {
    pub(super) done: Option<Summary>,
    pub(super) head: BlockRef,
    pub(super) elapsed: Duration,
    pub(super) outcome: Result<(), NodeError>,
}

fn run(chain: &Chain, store: &dyn Store, source: Source<'_>) -> Run {
    let start = Instant::now();
    let track = Arc::clone(&source.track);
    track.set_known(chain.head().block.number);
    let report = Report::new(Arc::clone(&track), source.size);
    let imported = thread::scope(|scope| {
        let reporter = scope.spawn(|| report.until_done());
        let _end = End::of(&report, &reporter);
        chain.import_chain(source, &BulkOptions::default(), &|done| report.set_newest(Some(*done)))
    });
    let newest = report.newest.into_inner();
    let (done, outcome) = match imported {
        Ok(summary) => (Some(summary), Ok(())),
        Err(error) => (newest, Err(failure(error, &track))),
    };
    // Commits of an import in bulk are on the disk when this says so.
    let outcome = outcome.and(store.sync().map_err(NodeError::from));
    Run { done, head: chain.head().block, elapsed: start.elapsed(), outcome }
}

/// The error, with the place of the block that it is about.
fn failure(error: ImportError<SourceError>, track: &Track) -> NodeError {
    let error = match error {
        ImportError::Source(SourceError::File(error)) => return error.into(),
        ImportError::Source(SourceError::Interrupted) => return NodeError::Interrupted,
        ImportError::Chain(error) => error,
    };
    let place = match &error {
        ChainError::InvalidBlock { hash, .. } | ChainError::UnknownAncestor { hash, .. } => {
            track.find(hash).map(|met| met.place)
        }
        _ => None,
    };
    match place {
        Some(place) => NodeError::Import { place, source: Box::new(error) },
        None => error.into(),
    }
}

/// A block of a file.
#[derive(Clone, Debug)]
struct Met {
    hash: B256,
    place: Place,
    /// Bytes read of all files when it came.
    read: u64,
}

/// What came out of the files so far.
#[derive(Default)]
pub(super) struct Track {
    /// The blocks that came last.
    met: Mutex<VecDeque<Met>>,
    /// Number of the head before the import.
    known: Mutex<u64>,
    /// Bytes read of all files.
    read: Arc<AtomicU64>,
    /// Of these, bytes of blocks that were there before.
    skipped: AtomicU64,
}

impl Track {
    /// Blocks up to this number were there before.
    pub(super) fn set_known(&self, number: u64) {
        *self.known.lock() = number;
    }

    /// Whether a block of this number was there before.
    pub(super) fn is_known(&self, number: u64) -> bool {
        number <= *self.known.lock()
    }

    /// Hash of the block that came last.
    pub(super) fn newest_hash(&self) -> B256 {
        self.met.lock().back().map(|met| met.hash).unwrap_or_default()
    }

    /// Where a block came from.
    pub(super) fn place_of(&self, hash: &B256) -> Option<Place> {
        self.find(hash).map(|met| met.place)
    }

    fn meet(&self, block: &Block, place: Place) {
        let read = self.read.load(Ordering::Relaxed);
        if self.is_known(block.header.number) {
            self.skipped.store(read, Ordering::Relaxed);
        }
        let mut met = self.met.lock();
        if met.len() == REMEMBERED {
            met.pop_front();
        }
        met.push_back(Met { hash: block.header.hash_slow(), place, read });
    }

    fn find(&self, hash: &B256) -> Option<Met> {
        self.met.lock().iter().rev().find(|met| met.hash == *hash).cloned()
    }
}

/// Why no more blocks come.
pub(super) enum SourceError {
    File(ChainFileError),
    Interrupted,
}

/// The blocks of all files, one after another.
pub(super) struct Source<'a> {
    file: Option<ChainFile>,
    files: VecDeque<PathBuf>,
    pub(super) track: Arc<Track>,
    pub(super) size: u64,
    interrupt: &'a Interrupt,
}

impl<'a> Source<'a> {
    /// The files, which must all be there: an import does not begin that cannot be completed.
    fn new(files: &[PathBuf], interrupt: &'a Interrupt) -> Result<Self, NodeError> {
        let size = |path: &PathBuf| {
            let failed = |source| ChainFileError::Open { path: path.clone(), source };
            fs::metadata(path).map(|file| file.len()).map_err(failed)
        };
        let sizes: Result<Vec<_>, _> = files.iter().map(size).collect();
        Ok(Self {
            file: None,
            files: files.iter().cloned().collect(),
            track: Arc::default(),
            size: sizes?.iter().sum(),
            interrupt,
        })
    }

    /// The next block, and its RLP as it is in the file.
    pub(super) fn next_raw(&mut self) -> Option<Result<(Block, Vec<u8>), SourceError>> {
        if self.interrupt.requested() {
            return Some(Err(SourceError::Interrupted));
        }
        self.try_next().map_err(SourceError::File).transpose()
    }

    fn try_next(&mut self) -> Result<Option<(Block, Vec<u8>)>, ChainFileError> {
        loop {
            let file = match &mut self.file {
                Some(file) => file,
                empty => {
                    let Some(path) = self.files.pop_front() else { return Ok(None) };
                    tracing::info!(file = %path.display(), "Importing blockchain");
                    empty.insert(ChainFile::open(&path, &self.track.read)?)
                }
            };
            if let Some(raw) = file.next_block()? {
                let block = raw.decode()?;
                self.track.meet(&block, raw.place);
                return Ok(Some((block, raw.rlp)));
            }
            self.file = None;
        }
    }
}

impl Iterator for Source<'_> {
    type Item = Result<Block, SourceError>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.next_raw()?.map(|(block, _)| block))
    }
}

/// Tells how far the import is, from time to time.
pub(super) struct Report {
    track: Arc<Track>,
    size: u64,
    start: Instant,
    /// After the last commit.
    newest: Mutex<Option<Summary>>,
    done: AtomicBool,
}

/// Ends the report when the import ends, however it does.
pub(super) struct End<'a> {
    done: &'a AtomicBool,
    reporter: Thread,
}

impl<'a> End<'a> {
    pub(super) fn of<T>(report: &'a Report, reporter: &ScopedJoinHandle<'_, T>) -> Self {
        Self { done: &report.done, reporter: reporter.thread().clone() }
    }
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Release);
        self.reporter.unpark();
    }
}

impl Report {
    pub(super) fn new(track: Arc<Track>, size: u64) -> Self {
        Self { track, size, start: Instant::now(), newest: Mutex::new(None), done: AtomicBool::new(false) }
    }

    /// Takes note of how far it is.
    pub(super) fn set_newest(&self, newest: Option<Summary>) {
        *self.newest.lock() = newest;
    }

    /// Reports until all is done.
    pub(super) fn until_done(&self) {
        let mut progress = Progress::bytes("Importing", self.size);
        let mut before = (0, 0, self.start);
        while !self.done.load(Ordering::Acquire) {
            thread::park_timeout(REPORT_INTERVAL);
            let newest = *self.newest.lock();
            let (number, blocks, gas) =
                newest.map_or((0, 0, 0), |done| (done.head.number, done.blocks, done.gas));
            let (place, eta) = self.place(newest.as_ref());
            let message = |since: (u64, u64, Instant)| {
                let rate = 1.0 / since.2.elapsed().as_secs_f64().max(1e-9);
                let blocks = blocks.saturating_sub(since.0) as f64 * rate;
                (blocks.round(), (gas.saturating_sub(since.1) as f64 / MEGA * rate * 10.0).round() / 10.0)
            };
            let bar = progress.at_byte(place, || {
                let (blocks, mgas) = message((0, 0, self.start));
                format!("block {number}, {blocks} blocks/s, {mgas} Mgas/s, ETA {eta}")
            });
            if !bar && progress.is_due() {
                let (blocksps, mgasps) = message(before);
                let percent = place.saturating_mul(100) / self.size.max(1);
                tracing::info!(number, blocks, percent, blocksps, mgasps, %eta, "Importing");
                before = (blocks, gas, Instant::now());
            }
        }
    }

    /// The bytes of the files that are done with, and the time that the others will take.
    fn place(&self, newest: Option<&Summary>) -> (u64, String) {
        let skipped = self.track.skipped.load(Ordering::Relaxed);
        let committed = newest.and_then(|done| self.track.find(&done.head.hash)).map_or(0, |met| met.read);
        let place = committed.max(skipped);
        let rest = self.size.saturating_sub(place) as f64 / place.saturating_sub(skipped) as f64;
        (place, progress::seconds(self.start.elapsed().as_secs_f64() * rest))
    }
}

impl Run {
    fn counts(&self) -> (u64, u64, u64, u64) {
        self.done.map_or((0, 0, 0, 0), |done| (done.blocks, done.skipped, done.transactions, done.gas))
    }

    fn to_text(&self) -> String {
        let (blocks, skipped, transactions, gas) = self.counts();
        let seconds = self.elapsed.as_secs_f64();
        let (mgas, rate) = (gas as f64 / MEGA, 1.0 / seconds.max(1e-9));
        format!(
            "Imported {blocks} blocks ({skipped} were there), {transactions} transactions, {mgas:.3} Mgas in \
             {seconds:.3} s: {:.0} tx/s, {:.1} Mgas/s; the head is block {} [{}]",
            transactions as f64 * rate,
            mgas * rate,
            self.head.number,
            self.head.hash
        )
    }

    fn to_json(&self) -> Value {
        let (blocks, skipped, transactions, gas) = self.counts();
        let mut value = json!({
            "blocks": blocks, "skipped": skipped, "transactions": transactions, "gas": gas,
            "seconds": self.elapsed.as_secs_f64(),
            "head": { "number": self.head.number, "hash": self.head.hash },
            "peak_rss_bytes": peak_rss(),
        });
        let stages = self.done.map(|done| done.stages).unwrap_or_default();
        let ms = |time: Duration| (time.as_secs_f64() * 1e6).round() / 1e3;
        value["stages_ms"] = json!({
            "decode": ms(stages.decode), "recover": ms(stages.recover), "seal": ms(stages.seal),
            "body": ms(stages.body), "execute": ms(stages.execute), "receipts": ms(stages.receipts),
            "state_root": ms(stages.state_root), "commit": ms(stages.commit),
        });
        if let Err(error) = &self.outcome {
            value["error"] = json!(error.to_string());
        }
        value
    }
}

/// The most memory that this process ever held, in bytes, where the system says so.
fn peak_rss() -> Option<u64> {
    let status = fs::read_to_string(Path::new("/proc/self/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1024)
}
