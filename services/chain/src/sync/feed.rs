//! Between the downloader and the import: whole blocks in order, of history with their receipts, bounded by bytes. The
//! import takes them in sessions, between which others may write to the chain.

use super::SyncOptions;
use super::status::SyncStatus;
use crate::bulk::{ImportError, Summary};
use crate::chain::Chain;
use crate::history::RootedReceipts;
use parking_lot::{Condvar, Mutex};
use quintet_types::{Block, BlockRef};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// After this long a session ends, so that a miner's block or an operator's call has its turn.
const SESSION: Duration = Duration::from_secs(5);

/// A block, and its receipts if it is history.
pub(crate) type Fed = (Block, RootedReceipts);

/// The queue of blocks.
#[derive(Debug)]
pub(crate) struct Feed {
    state: Mutex<State>,
    filled: Condvar,
    room: Notify,
    limit: usize,
}

#[derive(Debug, Default)]
struct State {
    blocks: VecDeque<(Fed, usize)>,
    weight: usize,
    /// No more comes.
    whole: bool,
    closed: bool,
}

impl Feed {
    /// A queue that has room until it holds `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self { state: Mutex::default(), filled: Condvar::new(), room: Notify::new(), limit }
    }

    pub(crate) fn has_room(&self) -> bool {
        self.state.lock().weight < self.limit
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.state.lock().blocks.is_empty()
    }

    pub(crate) fn push(&self, block: Fed, weight: usize) {
        let mut state = self.state.lock();
        state.weight = state.weight.saturating_add(weight);
        state.blocks.push_back((block, weight));
        drop(state);
        self.filled.notify_all();
    }

    /// Nothing is pushed any more: the session under way ends with the last block, and waits for no other.
    pub(crate) fn finish(&self) {
        let mut state = self.state.lock();
        let news = !std::mem::replace(&mut state.whole, true);
        drop(state);
        if news {
            self.filled.notify_all();
        }
    }

    /// Returns once there may be room again.
    pub(crate) async fn room(&self) {
        self.room.notified().await;
    }

    /// Drops what it holds: the session under way ends, and no other begins.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        state.weight = 0;
        let blocks = std::mem::take(&mut state.blocks);
        drop(state);
        self.filled.notify_all();
        drop(blocks);
    }

    /// The next block, if it comes within `patience`. Blocks the thread.
    fn next(&self, patience: Duration) -> Option<Fed> {
        let deadline = Instant::now() + patience;
        let mut state = self.state.lock();
        while state.blocks.is_empty() && !state.whole && !state.closed {
            if self.filled.wait_until(&mut state, deadline).timed_out() && state.blocks.is_empty() {
                return None;
            }
        }
        let (block, weight) = state.blocks.pop_front()?;
        state.weight = state.weight.saturating_sub(weight);
        let wake = state.weight < self.limit;
        drop(state);
        if wake {
            self.room.notify_one();
        }
        Some(block)
    }
}

/// Takes blocks until none has come for `patience`, or the session is over. Blocks the thread that takes them.
fn session(feed: &Feed, patience: Duration) -> impl Iterator<Item = Fed> {
    let end = Instant::now() + SESSION;
    std::iter::from_fn(move || if Instant::now() < end { feed.next(patience) } else { None })
}

/// Imports a session's blocks. Blocks the thread.
pub(crate) fn import_session(
    chain: &Chain,
    feed: &Feed,
    options: &SyncOptions,
) -> Result<Summary, ImportError<Infallible>> {
    let blocks = session(feed, options.patience).map(|(block, _)| Ok(block));
    chain.import_chain(blocks, &options.bulk, &|_| {})
}

/// Imports a session's blocks as history above `parent`. Blocks the thread.
pub(crate) fn history_session(
    chain: &Chain,
    feed: &Feed,
    options: &SyncOptions,
    parent: BlockRef,
    status: &SyncStatus,
) -> Result<Summary, ImportError<Infallible>> {
    let blocks = session(feed, options.patience).map(Ok);
    chain.import_history(parent, blocks, &options.bulk, &|progress| status.reach(progress.head.number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use quintet_types::{Body, Header};

    fn block(number: u64) -> Fed {
        let header = Header { number, ..Header::default() };
        (Block { header, body: Body::default() }, RootedReceipts::none())
    }

    #[tokio::test]
    async fn it_has_room_by_weight_and_tells_when() {
        let feed = Feed::new(10);
        feed.push(block(1), 6);
        assert!(feed.has_room());
        feed.push(block(2), 6);
        assert!(!feed.has_room());
        assert_eq!(feed.next(Duration::ZERO).unwrap().0.header.number, 1);
        tokio::time::timeout(Duration::from_secs(5), feed.room()).await.unwrap();
        assert!(feed.has_room());
        assert_eq!(feed.next(Duration::ZERO).unwrap().0.header.number, 2);
        assert!(feed.next(Duration::from_millis(1)).is_none());
        assert!(feed.is_empty());
    }

    #[test]
    fn after_the_last_block_nothing_is_waited_for() {
        let feed = Feed::new(10);
        feed.push(block(1), 1);
        feed.finish();
        assert_eq!(feed.next(Duration::from_mins(10)).unwrap().0.header.number, 1);
        assert!(feed.next(Duration::from_mins(10)).is_none());
    }

    #[test]
    fn once_closed_it_gives_nothing_and_waits_for_nothing() {
        let feed = Feed::new(10);
        feed.push(block(1), 1);
        feed.close();
        assert!(feed.next(Duration::from_mins(10)).is_none());
    }
}
