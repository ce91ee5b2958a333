//! Named, supervised tasks: they all run as long as the service does. One that ends, fails or panics before
//! shutdown ends the service, and the error names it. SIGTERM and SIGINT begin an orderly shutdown, which has
//! a deadline; what has not ended by then makes it an error.

use crate::error::{BoxError, ServiceError};
use futures::FutureExt;
use std::any::Any;
use std::collections::BTreeMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Starts tasks and watches over them. Clones share the same tasks.
#[derive(Clone, Debug, Default)]
pub struct Supervisor {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    token: CancellationToken,
    tracker: TaskTracker,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    running: BTreeMap<u64, Running>,
    /// The first failure: the cause, where later ones are often its effects.
    failure: Option<ServiceError>,
}

#[derive(Debug)]
struct Running {
    name: String,
    /// Set right after the task was spawned.
    abort: Option<AbortHandle>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of a task's end, and shuts down when it should have run on.
    fn ended(&self, id: u64, name: String, outcome: Result<Result<(), BoxError>, Box<dyn Any + Send>>) {
        let failure = match outcome {
            Ok(Ok(())) if self.token.is_cancelled() => None,
            Ok(Ok(())) => Some(ServiceError::TaskEnded { task: name }),
            Ok(Err(source)) => Some(ServiceError::TaskFailed { task: name, source }),
            Err(panic) => {
                Some(ServiceError::TaskPanicked { task: name, message: panic_message(panic.as_ref()) })
            }
        };
        let mut state = self.state();
        state.running.remove(&id);
        if let Some(failure) = failure {
            tracing::error!("{failure}");
            state.failure.get_or_insert(failure);
            self.token.cancel();
        }
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

impl Supervisor {
    /// A supervisor without tasks.
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancelled when shutdown begins: tasks must then finish what they hold and return.
    pub fn token(&self) -> CancellationToken {
        self.shared.token.clone()
    }

    /// Begins the shutdown.
    pub fn shutdown(&self) {
        self.shared.token.cancel();
    }

    /// Spawns a task that must run until [`Self::token`] is cancelled and then return `Ok`. Any other end is
    /// fatal to the service.
    pub fn spawn<F, E>(&self, name: impl Into<String>, task: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError>,
    {
        let name = name.into();
        let mut state = self.shared.state();
        let id = state.next;
        state.next += 1;
        state.running.insert(id, Running { name: name.clone(), abort: None });
        let shared = Arc::clone(&self.shared);
        // The lock is held until the handle is in place, so the task cannot be taken off before it was put on.
        let handle = self.shared.tracker.spawn(async move {
            let outcome = AssertUnwindSafe(task).catch_unwind().await;
            shared.ended(id, name, outcome.map(|result| result.map_err(Into::into)));
        });
        if let Some(running) = state.running.get_mut(&id) {
            running.abort = Some(handle.abort_handle());
        }
    }

    /// Runs until SIGTERM, SIGINT, [`Self::shutdown`] or the end of a task, then waits up to `timeout` for the
    /// tasks to finish. A second signal stops the waiting.
    ///
    /// # Errors
    /// The first task's failure, or [`ServiceError::ShutdownIncomplete`] with the tasks that had to be aborted.
    pub async fn run_until_shutdown(self, timeout: Duration) -> Result<(), ServiceError> {
        let mut signals = Signals::new()?;
        tokio::select! {
            name = signals.next() => tracing::info!("{name} received, shutting down"),
            () = self.shared.token.cancelled() => {}
        }
        self.finish(timeout, &mut signals).await
    }

    /// Shuts down: waits up to `timeout` for the tasks to finish. A signal stops the waiting.
    ///
    /// # Errors
    /// See [`Self::run_until_shutdown`].
    pub(crate) async fn finish(self, timeout: Duration, signals: &mut Signals) -> Result<(), ServiceError> {
        self.shared.token.cancel();
        self.shared.tracker.close();
        let cut_short = tokio::select! {
            () = self.shared.tracker.wait() => None,
            () = tokio::time::sleep(timeout) => {
                Some(format!("shutdown not complete after {timeout:?} (--shutdown.timeout)"))
            }
            name = signals.next() => Some(format!("shutdown interrupted by a second signal ({name})")),
        };
        let mut state = self.shared.state();
        let running = std::mem::take(&mut state.running);
        let failure = state.failure.take();
        drop(state);
        let mut tasks = Vec::with_capacity(running.len());
        for task in running.into_values() {
            task.abort.inspect(AbortHandle::abort);
            tasks.push(task.name);
        }
        match (failure, cut_short) {
            (Some(failure), _) => Err(failure),
            (None, Some(reason)) => Err(ServiceError::ShutdownIncomplete { reason, tasks }),
            (None, None) => Ok(()),
        }
    }
}

/// The signals that ask a service to stop.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(crate) fn new() -> Result<Self, ServiceError> {
        let listen = |kind| signal(kind).map_err(ServiceError::Signal);
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    pub(crate) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Supervisor;
    use crate::error::{BoxError, ServiceError};
    use std::future::pending;
    use std::time::Duration;

    const LONG: Duration = Duration::from_secs(30);

    async fn until_cancelled(supervisor: &Supervisor) -> Result<(), BoxError> {
        supervisor.token().cancelled().await;
        Ok(())
    }

    fn spawn_steady(supervisor: &Supervisor) {
        let of_task = supervisor.clone();
        supervisor.spawn("steady", async move { until_cancelled(&of_task).await });
    }

    #[tokio::test]
    async fn a_failing_task_ends_the_others_and_is_named() {
        let supervisor = Supervisor::new();
        spawn_steady(&supervisor);
        supervisor.spawn("fetcher", async { Err::<(), BoxError>("disk full".into()) });
        let error = supervisor.run_until_shutdown(LONG).await.expect_err("fatal");
        assert_eq!(error.to_string(), "task fetcher failed: disk full");
    }

    #[tokio::test]
    async fn a_task_that_returns_early_is_fatal() {
        let supervisor = Supervisor::new();
        spawn_steady(&supervisor);
        supervisor.spawn("pool", async { Ok::<(), BoxError>(()) });
        let error = supervisor.run_until_shutdown(LONG).await.expect_err("fatal");
        assert_eq!(error.to_string(), "task pool ended unexpectedly");
    }

    #[tokio::test]
    async fn a_panic_is_fatal() {
        let supervisor = Supervisor::new();
        spawn_steady(&supervisor);
        supervisor.spawn("codec", async {
            if LONG.is_zero() { Ok::<(), BoxError>(()) } else { panic!("bad frame") }
        });
        let error = supervisor.run_until_shutdown(LONG).await.expect_err("fatal");
        assert_eq!(error.to_string(), "task codec panicked: bad frame");
    }

    #[tokio::test]
    async fn an_orderly_shutdown_waits_for_the_tasks() {
        let supervisor = Supervisor::new();
        let token = supervisor.token();
        let (sender, mut receiver) = tokio::sync::mpsc::channel(1);
        supervisor.spawn("writer", async move {
            token.cancelled().await;
            tokio::time::sleep(Duration::from_millis(50)).await;
            sender.send("flushed").await
        });
        supervisor.shutdown();
        supervisor.run_until_shutdown(LONG).await.expect("orderly");
        assert_eq!(receiver.try_recv().ok(), Some("flushed"));
    }

    #[tokio::test]
    async fn a_task_that_does_not_stop_makes_shutdown_an_error() {
        let supervisor = Supervisor::new();
        spawn_steady(&supervisor);
        supervisor.spawn("stuck", pending::<Result<(), BoxError>>());
        supervisor.shutdown();
        let error = supervisor.run_until_shutdown(Duration::from_millis(50)).await.expect_err("late");
        let ServiceError::ShutdownIncomplete { tasks, .. } = &error else { panic!("{error}") };
        assert_eq!(tasks, &["stuck"]);
        assert!(error.to_string().contains("--shutdown.timeout"), "{error}");
    }
}
