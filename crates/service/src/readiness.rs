//! Whether the service can do its work: named checks, each of which holds or says why not.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use tokio::sync::watch;

type Checks = BTreeMap<Arc<str>, Result<(), String>>;

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
        check.set(Err("starting".to_owned()));
        check
    }

    /// Whether every check holds.
    pub fn is_ready(&self) -> bool {
        self.checks.borrow().values().all(Result::is_ok)
    }

    /// Every check, one a line: `[+]store ok`, `[-]head failed: 3 blocks behind`.
    pub fn report(&self) -> String {
        let mut text = String::new();
        for (name, state) in self.checks.borrow().iter() {
            // Writing to a string cannot fail.
            let _ = match state {
                Ok(()) => writeln!(text, "[+]{name} ok"),
                Err(reason) => writeln!(text, "[-]{name} failed: {reason}"),
            };
        }
        text
    }

    /// Waits until readiness differs from `ready`; gives the new one.
    pub async fn changed_from(&self, ready: bool) -> bool {
        let mut checks = self.checks.subscribe();
        // The sender lives as long as `self`.
        let _ = checks.wait_for(|checks| checks.values().all(Result::is_ok) != ready).await;
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
        self.set(Ok(()));
    }

    /// The check fails, and why, for an operator to read.
    pub fn fail(&self, reason: impl Into<String>) {
        self.set(Err(reason.into()));
    }

    fn set(&self, state: Result<(), String>) {
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
        store.ok();
        head.fail("3 blocks behind");
        assert_eq!(readiness.report(), "[-]head failed: 3 blocks behind\n[+]store ok\n");
        let waiting = readiness.clone();
        let change = tokio::spawn(async move { waiting.changed_from(false).await });
        head.ok();
        assert!(change.await.expect("no panic"));
        assert!(readiness.is_ready());
    }
}
