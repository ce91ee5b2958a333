//! The life of a process: telemetry up, admin port up, the service started, run until shutdown, spans flushed.

use crate::admin::{self, AdminConfig};
use crate::config;
use crate::error::ServiceError;
use crate::health;
use crate::metrics::catalogue;
use crate::names::Service;
use crate::readiness::Readiness;
use crate::tasks::{Signals, Supervisor};
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
    /// How long to go on serving after a signal asked to stop, with readiness failing, so that load balancers look
    /// elsewhere first.
    #[arg(id = "shutdown.drain", long = "shutdown.drain", value_name = "DURATION", default_value = "0s",
        help_heading = "Process", value_parser = config::duration)]
    pub shutdown_drain: Duration,
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
    let outcome = supervise(process, services, context, start).await;
    telemetry.shutdown(FLUSH_DEADLINE).await;
    outcome
}

async fn supervise<F, E>(
    process: &ProcessConfig,
    services: &[Service],
    context: Context,
    start: impl FnOnce(Context) -> F,
) -> Result<(), E>
where
    F: Future<Output = Result<(), E>>,
    E: From<ServiceError>,
{
    let supervisor = context.supervisor.clone();
    let readiness = context.readiness.clone();
    let mut signals = Signals::new()?;
    // The admin port comes before the service has registered what it needs: until it has started it is not ready.
    let whole = readiness.register("start");
    let starting = async {
        admin::start(&process.admin, &context.readiness, &supervisor).await?;
        catalogue::begin(services);
        start(context).await?;
        whole.ok();
        Ok::<(), E>(())
    };
    // A start may wait long for what is not there yet, and must not keep the process from ending.
    let started = tokio::select! {
        started = starting => started,
        name = signals.next() => {
            tracing::info!("{name} received while starting, shutting down");
            supervisor.shutdown();
            Ok(())
        }
    };
    if started.is_ok() {
        drain(process.shutdown_drain, &readiness, &supervisor, &mut signals).await;
    }
    let ended = supervisor.finish(process.shutdown_timeout, &mut signals).await;
    // The reason why it did not start comes before what followed from it.
    started?;
    Ok(ended?)
}

/// Waits until the service is to stop. From then on it is not ready; what it serves goes on for as long as `time`, or
/// until a second signal.
async fn drain(time: Duration, readiness: &Readiness, supervisor: &Supervisor, signals: &mut Signals) {
    let token = supervisor.token();
    let name = tokio::select! {
        name = signals.next() => name,
        () = token.cancelled() => return,
    };
    readiness.register("process").fail("shutting down");
    if time.is_zero() {
        tracing::info!("{name} received, shutting down");
        return;
    }
    tracing::info!("{name} received, draining for {time:?} (--shutdown.drain) before shutting down");
    tokio::select! {
        () = tokio::time::sleep(time) => {}
        _ = signals.next() => tracing::info!("second signal, draining no longer"),
        () = token.cancelled() => {}
    }
}

/// The whole `main` of a service's binary: its subcommand `health`, or else parses its configuration, runs it, and tells how it ended in the exit
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
    let mut args = std::env::args_os();
    let program = args.next();
    if args.next().is_some_and(|arg| arg == health::SUBCOMMAND) {
        return health::main(program.into_iter().chain(args));
    }
    let config: C = config::parse_with_help_or_exit(health::HELP);
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

#[cfg(test)]
mod tests {
    use super::drain;
    use crate::readiness::Readiness;
    use crate::tasks::{Signals, Supervisor};
    use std::process::Command;
    use std::time::{Duration, Instant};

    const LONG: Duration = Duration::from_mins(1);

    fn terminate() {
        let killed = Command::new("kill").args(["-TERM", &std::process::id().to_string()]).status();
        assert!(killed.expect("kill runs").success());
    }

    /// Signals reach every listener of the process: these cases are one test.
    #[tokio::test(flavor = "multi_thread")]
    async fn readiness_fails_before_anything_ends() {
        let (readiness, supervisor) = (Readiness::new(), Supervisor::new());
        readiness.register("store").ok();
        let mut signals = Signals::new().expect("signals");
        let (ready, token) = (readiness.clone(), supervisor.token());
        let draining = tokio::spawn({
            let (readiness, supervisor) = (readiness.clone(), supervisor.clone());
            async move {
                drain(LONG, &readiness, &supervisor, &mut signals).await;
                signals
            }
        });
        assert!(ready.is_ready());
        terminate();
        assert!(!tokio::time::timeout(LONG, ready.changed_from(true)).await.expect("a signal came"));
        assert_eq!(ready.report(), "[-]process failed: shutting down\n[+]store ok\n");
        assert!(!token.is_cancelled() && !draining.is_finished(), "it still serves");
        // A second signal ends the draining.
        let start = Instant::now();
        terminate();
        let mut signals = draining.await.expect("no panic");
        assert!(start.elapsed() < LONG);

        // A task that fails ends it without a signal.
        supervisor.shutdown();
        drain(LONG, &Readiness::new(), &supervisor, &mut signals).await;
        supervisor.finish(LONG, &mut signals).await.expect("orderly");
    }
}
