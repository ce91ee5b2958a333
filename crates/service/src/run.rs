//! The life of a process: telemetry up, admin port up, the service started, run until shutdown, spans flushed.

use crate::admin::{self, AdminConfig};
use crate::config;
use crate::error::ServiceError;
use crate::names::Service;
use crate::readiness::Readiness;
use crate::tasks::Supervisor;
use crate::telemetry::{self, TelemetryConfig};
use std::future::Future;
use std::process::ExitCode;
use std::time::Duration;

/// How long the last spans may take to be sent.
const FLUSH_DEADLINE: Duration = Duration::from_secs(3);

/// What every process is configured with, whatever services run in it.
#[derive(Clone, Debug, clap::Args)]
pub struct ProcessConfig {
    /// Logs and spans.
    #[command(flatten)]
    pub telemetry: TelemetryConfig,
    /// The admin port.
    #[command(flatten)]
    pub admin: AdminConfig,
    /// How long to wait at shutdown for what is under way.
    #[arg(id = "shutdown.timeout", long = "shutdown.timeout", value_name = "DURATION", default_value = "10s",
        help_heading = "Process", value_parser = config::duration)]
    pub shutdown_timeout: Duration,
}

/// What a starting service is given by its process.
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// Where its tasks run.
    pub supervisor: Supervisor,
    /// Where it says whether it can do its work.
    pub readiness: Readiness,
}

/// Runs a process with `services` to its end: `start` starts them on the context's supervisor and returns.
///
/// # Errors
/// When something does not start, a task ends before shutdown, or shutdown is not complete in time.
pub async fn run<F, E>(
    process: &ProcessConfig,
    services: &[Service],
    start: impl FnOnce(Context) -> F,
) -> Result<(), E>
where
    F: Future<Output = Result<(), E>>,
    E: From<ServiceError>,
{
    let telemetry = telemetry::init(&process.telemetry, services)?;
    let context = Context::default();
    let outcome = supervise(process, context, start).await;
    telemetry.shutdown(FLUSH_DEADLINE).await;
    outcome
}

async fn supervise<F, E>(
    process: &ProcessConfig,
    context: Context,
    start: impl FnOnce(Context) -> F,
) -> Result<(), E>
where
    F: Future<Output = Result<(), E>>,
    E: From<ServiceError>,
{
    let supervisor = context.supervisor.clone();
    let started = async {
        admin::start(&process.admin, &context.readiness, &supervisor).await?;
        start(context).await
    };
    let started = started.await;
    if started.is_err() {
        supervisor.shutdown();
    }
    let ended = supervisor.run_until_shutdown(process.shutdown_timeout).await;
    // The reason why it did not start comes before what followed from it.
    started?;
    Ok(ended?)
}

/// The whole `main` of a service's binary: parses its configuration, runs it, and tells how it ended in the exit
/// code, with the reason on standard error.
pub fn main<C, F, E>(
    service: Service,
    process: impl FnOnce(&C) -> &ProcessConfig,
    start: impl FnOnce(C, Context) -> F,
) -> ExitCode
where
    C: clap::Parser + Clone,
    F: Future<Output = Result<(), E>>,
    E: From<ServiceError> + std::fmt::Display,
{
    let config: C = config::parse_or_exit();
    let process = process(&config).clone();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("Fatal: cannot start the async runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(run(&process, &[service], |context| start(config, context)));
    // Blocking work that outlived its task must not hold the process.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Fatal: {error}");
            ExitCode::FAILURE
        }
    }
}
