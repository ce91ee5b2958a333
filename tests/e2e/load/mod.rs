//! Load on a node of any shape, and what must hold whatever happens to its parts meanwhile: every acknowledged
//! transaction is mined once, nonces have no gaps, subscribers get every head once and in order, and no read is
//! answered from another block than the one it names.
//!
//! Senders, readers and watchers go on by themselves until [`Load::finish`], which checks all of it.

mod check;
mod ledger;
mod plan;
mod readers;
mod senders;

pub(crate) use plan::{Plan, deploy_tally};

use ledger::Ledger;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Readers that hop between the replicas.
const READERS: usize = 2;
/// How long everything that was acknowledged may take to be mined when nothing is broken any more.
const SETTLE: Duration = Duration::from_secs(45);
const POLL: Duration = Duration::from_millis(50);

/// Running load.
pub(crate) struct Load {
    state: Arc<State>,
    sending: watch::Sender<bool>,
    watching: watch::Sender<bool>,
    senders: JoinSet<()>,
    watchers: JoinSet<()>,
}

/// What the tasks share.
struct State {
    urls: Vec<String>,
    plan: Plan,
    ledger: Mutex<Ledger>,
}

impl State {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().expect("not poisoned")
    }
}

impl Load {
    /// Puts the replicas at these addresses, such as `http://127.0.0.1:8545`, under load. WebSocket is on the same
    /// ports.
    pub(crate) async fn start(urls: Vec<String>) -> Self {
        let plan = Plan::new(&urls[0]).await;
        let state = Arc::new(State { urls, plan, ledger: Mutex::default() });
        let (sending, watching) = (watch::Sender::new(true), watch::Sender::new(true));
        let (mut senders, mut watchers) = (JoinSet::new(), JoinSet::new());
        for sender in 0..state.plan.senders.len() {
            senders.spawn(senders::send(Arc::clone(&state), sender, sending.subscribe()));
        }
        for reader in 0..READERS {
            senders.spawn(readers::read(Arc::clone(&state), reader, sending.subscribe()));
        }
        for replica in 0..state.urls.len() {
            watchers.spawn(readers::watch(Arc::clone(&state), replica, watching.subscribe()));
        }
        let mut load = Self { state, sending, watching, senders, watchers };
        load.progress("under way", SETTLE).await;
        load
    }

    /// Waits until of every sender a transaction that was acknowledged from now on is mined.
    pub(crate) async fn progress(&mut self, when: &str, deadline: Duration) {
        let start = Instant::now();
        let before = self.state.ledger().acknowledged_counts();
        loop {
            self.check_tasks();
            let mined = self.state.ledger().mined.clone();
            let senders = 0..self.state.plan.senders.len();
            let passed = |sender| mined.get(&sender).copied() > before.get(&sender).copied();
            if senders.clone().all(passed) {
                return;
            }
            let errors = self.complaints();
            assert!(
                start.elapsed() < deadline,
                "{when}: no progress in {deadline:?}: acknowledged before {before:?}, mined {mined:?}; {errors}"
            );
            tokio::time::sleep(POLL).await;
        }
    }

    /// How many reads were answered so far.
    pub(crate) fn reads(&self) -> usize {
        self.state.ledger().reads.len()
    }

    /// How many transactions were acknowledged so far.
    pub(crate) fn acknowledged(&self) -> usize {
        self.state.ledger().acknowledged.len()
    }

    /// What the replicas answered instead of results so far, and how often.
    pub(crate) fn complaints(&self) -> String {
        self.state.ledger().complaints()
    }

    /// A failed check in a task fails the test at once.
    fn check_tasks(&mut self) {
        for tasks in [&mut self.senders, &mut self.watchers] {
            if let Some(ended) = tasks.try_join_next() {
                ended.expect("a check failed");
                panic!("load ended by itself");
            }
        }
    }

    /// Stops sending, waits until everything acknowledged is mined, and checks all that the clients saw.
    pub(crate) async fn finish(mut self) {
        self.check_tasks();
        self.sending.send_replace(false);
        while let Some(ended) = self.senders.join_next().await {
            ended.expect("a check failed");
        }
        check::settle(&self.state, SETTLE).await;
        self.watching.send_replace(false);
        while let Some(ended) = self.watchers.join_next().await {
            ended.expect("a check failed");
        }
        check::check(&self.state).await;
    }
}

/// Whether the tasks are to end.
fn ended(go: &watch::Receiver<bool>) -> bool {
    !*go.borrow()
}
