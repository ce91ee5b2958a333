//! What the gateway tells its subscriptions and filters, after the view shows it.

use alloy_primitives::B256;
use parking_lot::Mutex;
use quintet_types::{PoolTransaction, Receipts, RecoveredBlock, TraceContext};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::broadcast;

/// Notices that wait for a slow subscription; one that falls further behind is dropped.
const QUEUE: usize = 4096;
/// Pending transactions that filters can still be told of.
const REMEMBERED: usize = 1 << 15;

/// A block and its receipts.
#[derive(Clone, Debug)]
pub(crate) struct BlockNotice {
    pub(crate) block: Arc<RecoveredBlock>,
    pub(crate) receipts: Arc<Receipts>,
    /// The trace of the block's import.
    pub(crate) trace: TraceContext,
}

/// Something that happened.
#[derive(Clone, Debug)]
pub(crate) enum Notice {
    /// A block was added on top of the head.
    Block(BlockNotice),
    /// The head left the chain.
    Reverted(BlockNotice),
    /// A transaction became executable.
    Pending(Arc<PoolTransaction>),
}

/// Where notices are sent and heard. Clones are the same place.
#[derive(Clone, Debug)]
pub(crate) struct Notices {
    sender: broadcast::Sender<Notice>,
    pool: Arc<Mutex<PendingLog>>,
}

impl Notices {
    /// A place without listeners.
    pub(crate) fn new() -> Self {
        let (sender, _) = broadcast::channel(QUEUE);
        Self { sender, pool: Arc::default() }
    }

    /// Tells everybody who listens.
    pub(crate) fn send(&self, notice: Notice) {
        if let Notice::Pending(transaction) = &notice {
            self.pool.lock().push(transaction.hash);
        }
        // Fails only when nobody listens.
        let _ = self.sender.send(notice);
    }

    /// Hears everything from now on.
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Notice> {
        self.sender.subscribe()
    }

    /// Where the log of pending transactions ends now.
    pub(crate) fn pending_cursor(&self) -> u64 {
        self.pool.lock().end()
    }

    /// The transactions that became pending since `cursor` and are still remembered, and where the log ends now.
    pub(crate) fn pending_since(&self, cursor: u64) -> (Vec<B256>, u64) {
        let log = self.pool.lock();
        (log.since(cursor), log.end())
    }
}

/// The newest pending transactions, numbered.
#[derive(Debug, Default)]
struct PendingLog {
    forgotten: u64,
    hashes: VecDeque<B256>,
}

impl PendingLog {
    fn push(&mut self, hash: B256) {
        self.hashes.push_back(hash);
        if self.hashes.len() > REMEMBERED {
            self.hashes.pop_front();
            self.forgotten += 1;
        }
    }

    fn end(&self) -> u64 {
        self.forgotten + self.hashes.len() as u64
    }

    fn since(&self, cursor: u64) -> Vec<B256> {
        let skip = usize::try_from(cursor.saturating_sub(self.forgotten)).unwrap_or(usize::MAX);
        self.hashes.iter().skip(skip).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_sees_what_came_after_it() {
        let mut log = PendingLog::default();
        log.push(B256::with_last_byte(1));
        let cursor = log.end();
        log.push(B256::with_last_byte(2));
        assert_eq!(log.since(cursor), [B256::with_last_byte(2)]);
        assert!(log.since(log.end()).is_empty());
        for _ in 0..REMEMBERED {
            log.push(B256::ZERO);
        }
        assert_eq!(log.since(cursor).len(), REMEMBERED);
        assert_eq!(log.end(), REMEMBERED as u64 + 2);
    }
}
