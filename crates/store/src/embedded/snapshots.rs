//! Read transactions, kept open between reads.
//!
//! A transaction of the engine pins the pages of its snapshot. So nobody holds one for longer than a call
//! (a walk: a short stretch), and the pool keeps only transactions on the newest snapshot, whose pages are in use
//! anyway.

use super::base;
use super::tables::{Place, Table};
use crate::StoreError;
use parking_lot::Mutex;
use signet_libmdbx::Environment;
use signet_libmdbx::tx::aliases::RoTxUnsync;
use std::sync::atomic::{AtomicU64, Ordering};

/// Transactions that wait for the next read. More than this many reads at once is rare.
const MAX_IDLE: usize = 64;

/// A read transaction, and the number of the commit that it sees.
pub(super) struct Snapshot {
    pub(super) tx: RoTxUnsync,
    pub(super) id: u64,
    /// The first block whose state it holds.
    pub(super) floor: u64,
}

/// The pool.
pub(super) struct Snapshots {
    idle: Mutex<Vec<Snapshot>>,
    /// The oldest snapshot that may still be handed out: that of the last commit that returned.
    newest: AtomicU64,
    env: Environment,
    system: Table,
    place: Place,
}

impl Snapshots {
    pub(super) const fn new(env: Environment, system: Table, place: Place) -> Self {
        Self { idle: Mutex::new(Vec::new()), newest: AtomicU64::new(0), env, system, place }
    }

    /// A snapshot not older than the last commit that returned, nor than snapshot `seen`.
    pub(super) fn take(&self, seen: u64) -> Result<Snapshot, StoreError> {
        let oldest = self.newest.load(Ordering::SeqCst).max(seen);
        while let Some(snapshot) = self.pop() {
            if snapshot.id >= oldest {
                return Ok(snapshot);
            }
        }
        self.begin()
    }

    /// Keeps the snapshot for the next read, unless a commit has made it old.
    pub(super) fn give_back(&self, snapshot: Snapshot) {
        let mut idle = self.idle.lock();
        // Checked under the lock, so that `advance` either sees the snapshot or has set the bar before.
        if snapshot.id >= self.newest.load(Ordering::SeqCst) && idle.len() < MAX_IDLE {
            idle.push(snapshot);
        } else {
            drop(idle);
            drop(snapshot);
        }
    }

    /// Lets go of all snapshots older than commit `id`; called once it is done.
    pub(super) fn advance(&self, id: u64) {
        self.newest.store(id, Ordering::SeqCst);
        let old = std::mem::take(&mut *self.idle.lock());
        drop(old);
    }

    fn pop(&self) -> Option<Snapshot> {
        self.idle.lock().pop()
    }

    fn begin(&self) -> Result<Snapshot, StoreError> {
        let begin = || {
            let tx = self.env.begin_ro_unsync()?;
            let id = tx.id()?;
            Ok((tx, id))
        };
        let (tx, id) = begin().map_err(|error| self.place.error("begin a read", error))?;
        let floor = base::floor(&tx, self.system, &self.place)?.map_or(0, |block| block.number);
        Ok(Snapshot { tx, id, floor })
    }
}
