//! Imports many blocks: a pipeline of stages, each on its own thread, joined by bounded queues.
//!
//! ```text
//! decode ─► prepare ─► (read ahead) ─► execute ─► root ─► commit
//! (caller's  (senders,  (state, from a  (in order,  (receipts, (batches, one
//!  iterator)  seals,     store behind    on the      state      transaction
//!             bodies)    a network)      head state) root)      each)
//! ```
//!
//! What must hold:
//! - Blocks reach the store in order, whole batches of them or nothing. Whatever ends the import, every block
//!   before the end is committed, unless the store itself failed.
//! - A stage that ends abandons the queue before it and closes the one behind it, so that all others end.
//! - A block that does not extend the head waits until all before it are committed, and is then imported by
//!   itself ([`Chain::import`]'s way).
//!
//! History, which is not executed ([`Chain::import_history`]), has one stage, `check`, in place of the three in the middle.

mod ahead;
mod commit;
mod execute;
mod history;
mod nodes;
mod prepare;
mod queue;
mod root;
pub(crate) mod state;
pub(crate) mod weight;

use crate::chain::{Chain, Head};
use crate::error::ChainError;
use crate::history::RootedReceipts;
use crate::import::Seals;
use commit::Work;
use execute::Task;
use parking_lot::{Condvar, Mutex};
use prepare::{Decoded, Prepared};
use queue::Queue;
use quintet_types::{Block, BlockRef};
use state::Caches;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

/// How many blocks are imported at once.
#[derive(Clone, Copy, Debug)]
pub struct BulkOptions {
    /// Most blocks of one commit.
    pub batch_blocks: usize,
    /// Gas after which a commit is made.
    pub batch_gas: u64,
    /// Bytes of executed blocks, in memory, after which a commit is made.
    pub batch_bytes: usize,
    /// Bytes of blocks that may wait before each stage.
    pub queue_bytes: usize,
    /// Bytes of state values that are cached.
    pub cache_bytes: u64,
    /// Threads that recover senders and check seals; 0 for one a core.
    pub threads: usize,
    /// Whether seals are looked at.
    pub seals: Seals,
}

impl Default for BulkOptions {
    fn default() -> Self {
        Self {
            batch_blocks: 1024,
            batch_gas: 400_000_000,
            batch_bytes: 32 << 20,
            queue_bytes: 8 << 20,
            cache_bytes: 64 << 20,
            threads: 0,
            seals: Seals::Checked,
        }
    }
}

/// Time that the stages worked, waiting for each other not counted. Stages overlap, and those that run on
/// several threads count each, so the sum is more than what passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StageTimes {
    /// In the caller's iterator.
    pub decode: Duration,
    /// Recovering senders.
    pub recover: Duration,
    /// Checking seals.
    pub seal: Duration,
    /// Checking bodies against headers.
    pub body: Duration,
    /// Checking headers and executing.
    pub execute: Duration,
    /// Checking receipts against headers.
    pub receipts: Duration,
    /// Computing state roots.
    pub state_root: Duration,
    /// Committing.
    pub commit: Duration,
}

/// How far an import is, and in the end what it did.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Blocks imported.
    pub blocks: u64,
    /// Blocks that were canonical already.
    pub skipped: u64,
    /// Transactions of the imported blocks.
    pub transactions: u64,
    /// Gas of the imported blocks.
    pub gas: u64,
    /// Since the import began.
    pub elapsed: Duration,
    /// The head; of history its newest block.
    pub head: BlockRef,
    /// Where the time went.
    pub stages: StageTimes,
}

/// What an import did.
pub type Summary = Progress;

/// Why an import ended before its blocks did. Every block before is committed.
#[derive(Debug, thiserror::Error)]
pub enum ImportError<E> {
    /// The caller's iterator failed.
    #[error("{0}")]
    Source(E),
    /// A block is not valid, or the node failed.
    #[error(transparent)]
    Chain(#[from] ChainError),
}

impl Chain {
    /// Imports blocks in order, starting anywhere at or below the head's child. Canonical ones are skipped.
    /// `progress` is called after every commit, on this thread. No other block is imported meanwhile.
    ///
    /// # Errors
    /// What ended the import. Blocks before it are committed, and the head is the last of them.
    #[tracing::instrument(name = "import chain", skip_all)]
    pub fn import_chain<E: Send>(
        &self,
        blocks: impl Iterator<Item = Result<Block, E>> + Send,
        options: &BulkOptions,
        progress: &dyn Fn(&Progress),
    ) -> Result<Summary, ImportError<E>> {
        let _writer = self.writer.lock();
        self.takes_blocks()?;
        self.settle()?;
        let pipeline = Pipeline::new(self, *options, Mode::Execution)?;
        let blocks = blocks.map(|block| block.map(|block| (block, RootedReceipts::none())));
        let (source, outcome) = pipeline.run(blocks, progress);
        let closed = self.close_import();
        outcome?;
        closed?;
        pipeline.summary(source)
    }

    /// [`Chain::import_history`] above `tip`, for who holds the writer's lock.
    pub(crate) fn run_history<E: Send>(
        &self,
        tip: Head,
        blocks: impl Iterator<Item = Result<(Block, RootedReceipts), E>> + Send,
        options: &BulkOptions,
        progress: &dyn Fn(&Progress),
    ) -> Result<Summary, ImportError<E>> {
        let newest = Mutex::new(tip.block);
        let pipeline = Pipeline::new(self, *options, Mode::History { tip: Box::new(tip), newest })?;
        let (source, outcome) = pipeline.run(blocks, progress);
        outcome?;
        pipeline.summary(source)
    }

    /// Writes the trie at the end of an import, or brings it back to the head.
    fn close_import(&self) -> Result<(), ChainError> {
        self.settle()?;
        self.trie.write().write()
    }
}

/// Why nothing comes behind this in a queue.
#[derive(Debug)]
struct Stop {
    error: ChainError,
    /// Whether the error, if it is a broken rule, holds for every block of this hash.
    remember: bool,
}

impl Stop {
    const fn lasting(error: ChainError) -> Self {
        Self { error, remember: true }
    }

    const fn passing(error: ChainError) -> Self {
        Self { error, remember: false }
    }
}

/// What is done with blocks.
enum Mode {
    /// They are executed on the head.
    Execution,
    /// They are checked, and held as history.
    History {
        /// What the first one follows.
        tip: Box<Head>,
        /// The newest committed block.
        newest: Mutex<BlockRef>,
    },
}

/// An import under way: what its stages share.
struct Pipeline<'a> {
    chain: &'a Chain,
    options: BulkOptions,
    mode: Mode,
    workers: rayon::ThreadPool,
    decoded: Queue<Result<Decoded, Stop>>,
    prepared: Queue<Result<Prepared, Stop>>,
    /// Prepared blocks whose state was read ahead, where that is worth while.
    ready: Queue<Result<Prepared, Stop>>,
    executed: Queue<Task>,
    batches: Queue<Work>,
    /// Whether reads of the store wait for a network.
    reads_ahead: bool,
    caches: Arc<Caches>,
    /// The newest committed block's number.
    committed: AtomicU64,
    /// Counts the times that the canonical chain was cut.
    reorgs: AtomicU64,
    rooted: Rooted,
    clock: Clock,
    counts: Counts,
}

impl<'a> Pipeline<'a> {
    fn new(chain: &'a Chain, options: BulkOptions, mode: Mode) -> Result<Self, ChainError> {
        let workers = rayon::ThreadPoolBuilder::new()
            .num_threads(options.threads)
            .thread_name(|index| format!("import worker {index}"))
            .build()
            .map_err(|error| ChainError::Thread {
                name: "import worker",
                source: Arc::new(std::io::Error::other(error)),
            })?;
        let head = chain.head().block;
        Ok(Self {
            chain,
            options,
            mode,
            workers,
            decoded: Queue::new(options.queue_bytes),
            prepared: Queue::new(options.queue_bytes),
            ready: Queue::new(options.queue_bytes),
            executed: Queue::new(options.queue_bytes),
            // Two batches: one waits while the one before it is committed.
            batches: Queue::new(1),
            reads_ahead: chain.store.reads_block(),
            caches: Arc::new(Caches::new(options.cache_bytes)),
            committed: AtomicU64::new(head.number),
            reorgs: AtomicU64::new(0),
            rooted: Rooted::new(head),
            clock: Clock::start(),
            counts: Counts::default(),
        })
    }

    /// Works until the blocks end, or something ends it: the caller's error, and what became of the blocks before.
    fn run<E: Send>(
        &self,
        blocks: impl Iterator<Item = Result<(Block, RootedReceipts), E>> + Send,
        progress: &dyn Fn(&Progress),
    ) -> (Option<E>, Result<(), ChainError>) {
        thread::scope(|scope| {
            let decode = match self.start(scope, blocks) {
                Ok(decode) => decode,
                Err(error) => {
                    self.abandon();
                    return (None, Err(error));
                }
            };
            let outcome = self.commit(progress);
            let source = decode.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            (source, outcome)
        })
    }

    /// Starts all stages but the last, which is the caller's.
    fn start<'scope, E: Send + 'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        blocks: impl Iterator<Item = Result<(Block, RootedReceipts), E>> + Send + 'scope,
    ) -> Result<ScopedJoinHandle<'scope, Option<E>>, ChainError> {
        let decode = spawn(scope, "import decode", || self.decode(blocks))?;
        spawn(scope, "import prepare", || self.prepare())?;
        if let Mode::History { tip, .. } = &self.mode {
            spawn(scope, "import check", || self.check_history(Head::clone(tip)))?;
            return Ok(decode);
        }
        if self.reads_ahead {
            spawn(scope, "import ahead", || self.read_ahead())?;
        }
        spawn(scope, "import execute", || self.execute())?;
        spawn(scope, "import root", || self.root())?;
        Ok(decode)
    }

    /// Ends all stages.
    fn abandon(&self) {
        self.decoded.abandon();
        self.prepared.abandon();
        self.ready.abandon();
        self.executed.abandon();
        self.batches.abandon();
    }

    fn summary<E>(&self, source: Option<E>) -> Result<Summary, ImportError<E>> {
        source.map_or_else(|| Ok(self.progress()), |error| Err(ImportError::Source(error)))
    }

    /// Where the import stands.
    fn newest(&self) -> BlockRef {
        match &self.mode {
            Mode::Execution => self.chain.head().block,
            Mode::History { newest, .. } => *newest.lock(),
        }
    }

    fn progress(&self) -> Progress {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Progress {
            blocks: count(&self.counts.blocks),
            skipped: count(&self.counts.skipped),
            transactions: count(&self.counts.transactions),
            gas: count(&self.counts.gas),
            elapsed: self.clock.start.elapsed(),
            head: self.newest(),
            stages: self.clock.stages(),
        }
    }
}

fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: &'static str,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>, ChainError> {
    let thread = thread::Builder::new().name(name.to_owned()).spawn_scoped(scope, work);
    thread.map_err(|error| ChainError::Thread { name, source: Arc::new(error) })
}

/// What was imported.
#[derive(Default)]
struct Counts {
    blocks: AtomicU64,
    skipped: AtomicU64,
    transactions: AtomicU64,
    gas: AtomicU64,
}

/// Where the time goes, in nanoseconds.
struct Clock {
    start: Instant,
    spent: [AtomicU64; 8],
}

/// A part of the work that is measured.
#[derive(Clone, Copy)]
enum Stage {
    Decode,
    Recover,
    Seal,
    Body,
    Execute,
    Receipts,
    StateRoot,
    Commit,
}

impl Clock {
    fn start() -> Self {
        Self { start: Instant::now(), spent: Default::default() }
    }

    fn time<T>(&self, stage: Stage, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let done = work();
        let nanos = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.spent[stage as usize].fetch_add(nanos, Ordering::Relaxed);
        done
    }

    fn stages(&self) -> StageTimes {
        let spent = |stage: Stage| Duration::from_nanos(self.spent[stage as usize].load(Ordering::Relaxed));
        StageTimes {
            decode: spent(Stage::Decode),
            recover: spent(Stage::Recover),
            seal: spent(Stage::Seal),
            body: spent(Stage::Body),
            execute: spent(Stage::Execute),
            receipts: spent(Stage::Receipts),
            state_root: spent(Stage::StateRoot),
            commit: spent(Stage::Commit),
        }
    }
}

/// The newest block whose nodes the trie holds, for those who wait for it.
struct Rooted {
    state: Mutex<RootedState>,
    changed: Condvar,
}

struct RootedState {
    block: BlockRef,
    closed: bool,
}

impl Rooted {
    const fn new(block: BlockRef) -> Self {
        Self { state: Mutex::new(RootedState { block, closed: false }), changed: Condvar::new() }
    }

    fn set(&self, block: BlockRef) {
        self.state.lock().block = block;
        self.changed.notify_all();
    }

    fn close(&self) {
        self.state.lock().closed = true;
        self.changed.notify_all();
    }

    /// Waits until the trie is at `block`; `false` if it will not be.
    fn wait_for(&self, block: BlockRef) -> bool {
        let mut state = self.state.lock();
        while state.block != block && !state.closed {
            self.changed.wait(&mut state);
        }
        state.block == block
    }
}
