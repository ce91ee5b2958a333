//! Whether the service can do its work: named checks, each of which holds or says why not.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use tokio::sync::watch;

/// The metric of [`Readiness::render`].
pub(crate) const CHECK_STATE: &str = "quintet_check_state";
/// What it says.
pub(crate) const CHECK_HELP: &str = "Readiness checks: 1 holds, 0.5 degraded, 0 fails.";

type Checks = BTreeMap<Arc<str>, State>;

/// What a check says.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// It holds.
    Ok,
    /// It holds, but not as it should.
    Degraded(String),
    /// It does not hold.
    Failed(String),
}

impl State {
    const fn holds(&self) -> bool {
        !matches!(self, Self::Failed(_))
    }
}

/// The checks of one process. Clones share them.
#[derive(Clone, Debug)]
pub struct Readiness {
    checks: watch::Sender<Checks>,
}

impl Default for Readiness {
    fn default() -> Self {
        Self::new()
    }
}

impl Readiness {
    /// No checks: ready.
    pub fn new() -> Self {
        Self { checks: watch::Sender::new(Checks::new()) }
    }

    /// Registers a check, which fails with "starting" until its handle says otherwise. Two checks of the same
    /// name are one.
    pub fn register(&self, name: &str) -> Check {
        let check = Check { name: name.into(), checks: self.checks.clone() };
        check.fail("starting");
        check
    }

    /// Whether every check holds.
    pub fn is_ready(&self) -> bool {
        self.checks.borrow().values().all(State::holds)
    }

    /// Every check, one a line: `[+]store ok`, `[~]events degraded: Redis is away`, `[-]head failed: 3 blocks
    /// behind`.
    pub fn report(&self) -> String {
        let mut text = String::new();
        for (name, state) in self.checks.borrow().iter() {
            // Writing to a string cannot fail.
            let _ = match state {
                State::Ok => writeln!(text, "[+]{name} ok"),
                State::Degraded(reason) => writeln!(text, "[~]{name} degraded: {reason}"),
                State::Failed(reason) => writeln!(text, "[-]{name} failed: {reason}"),
            };
        }
        text
    }

    /// Every check as a gauge in Prometheus' text format: 1 where it holds, 0.5 where it is degraded, 0 where it fails.
    pub(crate) fn render(&self) -> String {
        let checks = self.checks.borrow();
        if checks.is_empty() {
            return String::new();
        }
        let mut text = format!("# HELP {CHECK_STATE} {CHECK_HELP}\n# TYPE {CHECK_STATE} gauge\n");
        for (name, state) in checks.iter() {
            let value = match state {
                State::Ok => 1.0,
                State::Degraded(_) => 0.5,
                State::Failed(_) => 0.0,
            };
            // Names are our own words: nothing in them needs quoting. Writing to a string cannot fail.
            let _ = writeln!(text, "{CHECK_STATE}{{check=\"{name}\"}} {value}");
        }
        text
    }

    /// Waits until readiness differs from `ready`; gives the new one.
    pub async fn changed_from(&self, ready: bool) -> bool {
        let mut checks = self.checks.subscribe();
        // The sender lives as long as `self`.
        let _ = checks.wait_for(|checks| checks.values().all(State::holds) != ready).await;
        !ready
    }
}

/// One check, held by the component that it is about. It stays at its last state when dropped.
#[derive(Clone, Debug)]
pub struct Check {
    name: Arc<str>,
    checks: watch::Sender<Checks>,
}

impl Check {
    /// The check holds.
    pub fn ok(&self) {
        self.set(State::Ok);
    }

    /// The check holds, but an operator should know of something: the service goes on with less.
    pub fn degraded(&self, reason: impl Into<String>) {
        self.set(State::Degraded(reason.into()));
    }

    /// The check fails, and why, for an operator to read.
    pub fn fail(&self, reason: impl Into<String>) {
        self.set(State::Failed(reason.into()));
    }

    fn set(&self, state: State) {
        self.checks.send_if_modified(|checks| {
            if checks.get(&self.name) == Some(&state) {
                return false;
            }
            checks.insert(Arc::clone(&self.name), state);
            true
        });
    }
}

#[cfg(test)]
mod tests {
    use super::Readiness;

    #[tokio::test]
    async fn every_check_must_hold() {
        let readiness = Readiness::new();
        assert!(readiness.is_ready());
        let (store, head) = (readiness.register("store"), readiness.register("head"));
        assert!(!readiness.is_ready());
        store.degraded("slow");
        head.fail("3 blocks behind");
        assert_eq!(readiness.report(), "[-]head failed: 3 blocks behind\n[~]store degraded: slow\n");
        let metrics = readiness.render();
        for line in ["quintet_check_state{check=\"head\"} 0\n", "quintet_check_state{check=\"store\"} 0.5\n"]
        {
            assert!(metrics.contains(line), "{metrics}");
        }
        let waiting = readiness.clone();
        let change = tokio::spawn(async move { waiting.changed_from(false).await });
        head.ok();
        assert!(change.await.expect("no panic"));
        assert!(readiness.is_ready());
    }
}
