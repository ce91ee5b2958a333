//! What keeps a service from starting, or ends it.

use std::io;

/// A boxed error of a task.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a service did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] crate::config::ConfigError),
    /// A socket could not be bound.
    #[error("listen tcp {address}: bind: {reason} ({advice})")]
    Bind {
        /// The address asked for.
        address: String,
        /// The system's reason, in the words that geth's users know.
        reason: String,
        /// What the user can do, with the flag's name.
        advice: String,
    },
    /// Telemetry could not be set up.
    #[error("telemetry: {0}")]
    Telemetry(#[source] BoxError),
    /// Metrics could not be set up.
    #[error("metrics: {0}")]
    Metrics(#[source] BoxError),
    /// A server failed while it ran.
    #[error("{server} server failed: {source}")]
    Server {
        /// Which server.
        server: &'static str,
        /// Why.
        #[source]
        source: BoxError,
    },
    /// A task that runs as long as the service came to an end.
    #[error("task {task} ended unexpectedly")]
    TaskEnded {
        /// Its name.
        task: String,
    },
    /// A task failed.
    #[error("task {task} failed: {source}")]
    TaskFailed {
        /// Its name.
        task: String,
        /// Why.
        #[source]
        source: BoxError,
    },
    /// A task panicked: a bug.
    #[error("task {task} panicked: {message}")]
    TaskPanicked {
        /// Its name.
        task: String,
        /// What the panic said.
        message: String,
    },
    /// Shutdown took longer than `--shutdown.timeout`, or was asked for a second time.
    #[error("{reason}; still running: {}", tasks.join(", "))]
    ShutdownIncomplete {
        /// Why it was not waited for any longer.
        reason: String,
        /// The tasks that had not ended; they were aborted.
        tasks: Vec<String>,
    },
    /// A signal handler could not be installed.
    #[error("signal handler: {0}")]
    Signal(#[source] io::Error),
}
