//! How far a sync is, for those who ask.

use parking_lot::Mutex;
use quintet_chain_api::{StateProgress, SyncProgress};
use std::time::Duration;
use tokio::time::Instant;

/// Log lines of a long sync are this far apart.
const REPORT_EVERY: Duration = Duration::from_secs(8);

/// What is told of a sync under way, and whether mining waits for it.
#[derive(Debug, Default)]
pub struct SyncStatus(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    run: Option<Run>,
    /// Whether a sync has ended since the start of the process.
    settled: bool,
}

#[derive(Clone, Copy, Debug)]
struct Run {
    starting: u64,
    highest: u64,
    /// The newest block that is held below a state on its way in.
    reached: u64,
    /// What there is of that state.
    state: StateProgress,
    began: Instant,
    reported: Instant,
    reported_at: u64,
}

impl SyncStatus {
    /// The progress of a sync that is behind the block it goes to, with the head at `current`.
    pub fn progress(&self, current: u64) -> Option<SyncProgress> {
        let run = self.0.lock().run.filter(|run| current < run.highest)?;
        Some(SyncProgress {
            starting_block: run.starting,
            current_block: current.max(run.reached),
            highest_block: run.highest,
            state: run.state,
        })
    }

    /// Whether a miner is to wait: while the first sync runs. As in geth, what comes later does not stop a miner, or
    /// any peer could.
    pub fn holds_mining(&self) -> bool {
        let state = self.0.lock();
        state.run.is_some() && !state.settled
    }

    /// A sync begins above block `starting`, towards `highest`.
    pub(crate) fn begin(&self, starting: u64, highest: u64) {
        let now = Instant::now();
        let state = StateProgress::default();
        let run =
            Run { starting, highest, reached: 0, state, began: now, reported: now, reported_at: starting };
        self.0.lock().run = Some(run);
        metrics::gauge!("quintet_chain_sync_running").set(1.0);
        metrics::gauge!("quintet_chain_sync_highest_block").set(highest as f64);
    }

    /// The same, unless one is under way: of that, `highest` is a higher block.
    pub(crate) fn go_on(&self, starting: u64, highest: u64) {
        if self.0.lock().run.is_none() {
            self.begin(starting, highest);
        }
        self.raise(highest);
        self.reach(starting);
    }

    /// History is held up to a block.
    pub(crate) fn reach(&self, number: u64) {
        if let Some(run) = &mut self.0.lock().run {
            run.reached = number;
        }
    }

    /// So much of a state is held.
    pub(crate) fn has_state(&self, state: StateProgress) {
        if let Some(run) = &mut self.0.lock().run {
            run.state = state;
        }
    }

    /// A higher block is known.
    pub(crate) fn raise(&self, highest: u64) {
        if let Some(run) = &mut self.0.lock().run
            && highest > run.highest
        {
            run.highest = highest;
            metrics::gauge!("quintet_chain_sync_highest_block").set(highest as f64);
        }
    }

    /// Says how far it is, if it has not for a while.
    pub(crate) fn report(&self, current: u64, peers: usize) {
        let now = Instant::now();
        let mut state = self.0.lock();
        let Some(run) = &mut state.run else { return };
        let current = current.max(run.reached);
        let passed = now.saturating_duration_since(run.reported);
        if passed < REPORT_EVERY {
            return;
        }
        let rate = current.saturating_sub(run.reported_at) as f64 / passed.as_secs_f64();
        (run.reported, run.reported_at) = (now, current);
        let Run { starting, highest, began, .. } = *run;
        drop(state);
        tracing::info!(
            starting, current, highest, peers, blocks_per_second = rate.round(),
            elapsed = ?now.saturating_duration_since(began), "Syncing"
        );
    }

    /// The sync has ended, for good or ill.
    pub(crate) fn end(&self) {
        let mut state = self.0.lock();
        state.settled |= state.run.take().is_some();
        drop(state);
        metrics::gauge!("quintet_chain_sync_running").set(0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn progress_is_told_while_the_head_is_behind() {
        let status = SyncStatus::default();
        assert_eq!(status.progress(0), None);
        status.begin(5, 90);
        status.raise(100);
        status.raise(50);
        let progress = status.progress(7).unwrap();
        assert_eq!((progress.starting_block, progress.current_block, progress.highest_block), (5, 7, 100));
        assert_eq!(status.progress(100), None);
        status.end();
        assert_eq!(status.progress(7), None);
    }

    #[tokio::test]
    async fn history_is_progress_though_the_head_stands_still() {
        let status = SyncStatus::default();
        status.go_on(0, 90);
        status.reach(40);
        assert_eq!(status.progress(0).map(|progress| progress.current_block), Some(40));
        // The pivot moves on.
        status.go_on(40, 100);
        let progress = status.progress(0).unwrap();
        assert_eq!((progress.starting_block, progress.current_block, progress.highest_block), (0, 40, 100));
        assert!(status.holds_mining());
    }

    #[tokio::test]
    async fn a_state_is_counted_until_its_sync_ends() {
        let status = SyncStatus::default();
        let state = StateProgress { accounts: 7, missing_nodes: 3, ..StateProgress::default() };
        status.has_state(state);
        assert_eq!(status.progress(0), None, "nothing is synced");
        status.go_on(0, 90);
        assert_eq!(status.progress(0).map(|progress| progress.state), Some(StateProgress::default()));
        status.has_state(state);
        // The pivot moves on, and what came of the state stays.
        status.go_on(40, 100);
        status.raise(110);
        assert_eq!(status.progress(0).map(|progress| progress.state), Some(state));
        status.end();
        status.begin(40, 100);
        assert_eq!(status.progress(40).map(|progress| progress.state), Some(StateProgress::default()));
    }

    #[tokio::test]
    async fn only_the_first_sync_holds_mining() {
        let status = SyncStatus::default();
        status.end();
        assert!(!status.holds_mining());
        status.begin(0, 9);
        assert!(status.holds_mining());
        status.end();
        assert!(!status.holds_mining());
        status.begin(9, 99);
        assert!(!status.holds_mining());
    }
}
