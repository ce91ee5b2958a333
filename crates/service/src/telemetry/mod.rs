//! Logs, and spans exported over OTLP.
//!
//! Logs go to standard error. Spans are exported over gRPC when `OTEL_EXPORTER_OTLP_ENDPOINT` (or `…_TRACES_ENDPOINT`)
//! is set, with every other setting in the standard `OTEL_*` variables. Without an exporter no span exists: its
//! place in the code costs one load.
//!
//! Several services may share a process; each span is exported under the service that it belongs to. See [`route`].

mod json;
mod route;

use crate::error::{BoxError, ServiceError};
use crate::names::Service;
use json::JsonFormat;
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use route::{RoutingExporter, RoutingSampler};
use std::io::IsTerminal;
use std::time::Duration;
use tracing_subscriber::filter::{EnvFilter, FilterExt, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

/// How much is logged and how, and which spans are exported.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Logging and tracing")]
pub struct TelemetryConfig {
    /// Logging verbosity: 0=silent, 1=error, 2=warn, 3=info, 4=debug, 5=detail.
    #[arg(id = "verbosity", long = "verbosity", value_name = "LEVEL", default_value_t = 3,
        value_parser = clap::value_parser!(u8).range(0..=5))]
    pub verbosity: u8,
    /// Format of the log.
    #[arg(id = "log.format", long = "log.format", value_name = "FORMAT", value_enum, default_value = "text")]
    pub format: LogFormat,
    /// Levels by module in place of --verbosity, such as "info,quintet_chain=debug"; RUST_LOG does the same.
    #[arg(id = "log.filter", long = "log.filter", value_name = "DIRECTIVES", value_parser = directives)]
    pub filter: Option<String>,
    /// Levels by module of the spans exported over OTLP.
    #[arg(id = "trace.filter", long = "trace.filter", value_name = "DIRECTIVES", default_value = "quintet=info",
        value_parser = directives)]
    pub trace_filter: String,
}

/// Format of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// A line for people.
    Text,
    /// A JSON object a line, with trace and span id.
    Json,
}

/// Checks directives when flags are parsed, so that a wrong one names its flag.
fn directives(text: &str) -> Result<String, String> {
    EnvFilter::builder().parse(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

impl TelemetryConfig {
    fn log_filter(&self) -> Result<EnvFilter, BoxError> {
        let rust_log = std::env::var(EnvFilter::DEFAULT_ENV).ok().filter(|text| !text.is_empty());
        let text = self.filter.clone().or(rust_log).unwrap_or_else(|| {
            // Libraries speak up only when something is wrong, until everything is asked for.
            match self.verbosity {
                0 => "off".to_owned(),
                1 => "error".to_owned(),
                2 => "warn".to_owned(),
                3 => "warn,quintet=info".to_owned(),
                4 => "info,quintet=debug".to_owned(),
                _ => "info,quintet=trace".to_owned(),
            }
        });
        Ok(EnvFilter::builder().parse(text)?)
    }
}

/// The process's telemetry. Shut it down last, so that no span is lost.
#[derive(Debug)]
#[must_use = "spans that are not flushed at the end are lost"]
pub struct Telemetry {
    provider: Option<SdkTracerProvider>,
}

/// Starts logging and, where the environment says so, tracing, for a process with these services (not empty; the
/// first takes the spans that belong to none). Must run in a tokio runtime, once in a process.
///
/// # Errors
/// When an `OTEL_*` variable is wrong, or logging has been started already.
pub fn init(config: &TelemetryConfig, services: &[Service]) -> Result<Telemetry, ServiceError> {
    try_init(config, services).map_err(ServiceError::Telemetry)
}

fn try_init(config: &TelemetryConfig, services: &[Service]) -> Result<Telemetry, BoxError> {
    // The log wants events alone: spans must not come to be for its sake.
    let log_filter = filter_fn(is_event).and(config.log_filter()?);
    let log = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let log: Box<dyn Layer<Registry> + Send + Sync> = match config.format {
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).with_filter(log_filter).boxed(),
        LogFormat::Json => log.event_format(JsonFormat).with_filter(log_filter).boxed(),
    };
    let provider = if export_is_wanted() { Some(provider(services)?) } else { None };
    let spans = match &provider {
        None => None,
        Some(provider) => {
            let filter = EnvFilter::builder().parse(&config.trace_filter)?;
            let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("quintet"));
            Some(layer.with_filter(filter).boxed())
        }
    };
    // The span layer comes first: what it attaches is in place when the log asks for the trace id.
    let layers: Vec<_> = spans.into_iter().chain([log]).collect();
    tracing_subscriber::registry().with(layers).try_init()?;
    Ok(Telemetry { provider })
}

impl Telemetry {
    /// Sends what has not been sent yet, waiting `deadline` at most.
    pub async fn shutdown(self, deadline: Duration) {
        let Some(provider) = self.provider else { return };
        // It blocks, and the exporter needs this runtime's threads to go on.
        let flush = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(deadline));
        match tokio::time::timeout(deadline, flush).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => tracing::warn!("some spans were not exported: {error}"),
            Ok(Err(error)) => tracing::warn!("some spans were not exported: {error}"),
            Err(_) => tracing::warn!("some spans were not exported within {deadline:?}"),
        }
    }

    /// Whether spans are exported.
    pub const fn is_exporting(&self) -> bool {
        self.provider.is_some()
    }
}

fn is_event(metadata: &tracing::Metadata<'_>) -> bool {
    metadata.is_event()
}

/// A variable that is set to something.
fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn export_is_wanted() -> bool {
    let endpoint = setting(opentelemetry_otlp::OTEL_EXPORTER_OTLP_TRACES_ENDPOINT)
        .or_else(|| setting(opentelemetry_otlp::OTEL_EXPORTER_OTLP_ENDPOINT));
    let disabled = setting("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let none = setting("OTEL_TRACES_EXPORTER").is_some_and(|value| value.eq_ignore_ascii_case("none"));
    endpoint.is_some() && !disabled && !none
}

fn provider(services: &[Service]) -> Result<SdkTracerProvider, BoxError> {
    let protocol = setting(opentelemetry_otlp::OTEL_EXPORTER_OTLP_TRACES_PROTOCOL)
        .or_else(|| setting(opentelemetry_otlp::OTEL_EXPORTER_OTLP_PROTOCOL));
    if let Some(protocol) = protocol.filter(|protocol| protocol != "grpc") {
        return Err(format!("OTLP protocol {protocol:?} is not supported, only \"grpc\" is").into());
    }
    let mut exporters = Vec::with_capacity(services.len());
    for service in services {
        let exporter = SpanExporter::builder().with_tonic().build()?;
        exporters.push((*service, exporter, resource(*service)));
    }
    let provider = SdkTracerProvider::builder()
        .with_sampler(RoutingSampler::new(services)?)
        .with_batch_exporter(RoutingExporter::new(exporters))
        .build();
    Ok(provider)
}

/// What is exported about `service`: its name and release, which replica it is, and what the environment adds. A name
/// in `OTEL_SERVICE_NAME` or `OTEL_RESOURCE_ATTRIBUTES` stands, for all services of the process.
fn resource(service: Service) -> Resource {
    let given = |key: &str| {
        setting("OTEL_RESOURCE_ATTRIBUTES").is_some_and(|list| {
            list.split(',').any(|entry| entry.split_once('=').is_some_and(|(name, _)| name.trim() == key))
        })
    };
    let mut builder =
        Resource::builder().with_attribute(KeyValue::new("service.version", crate::info::VERSION));
    if setting("OTEL_SERVICE_NAME").is_none() && !given("service.name") {
        builder = builder.with_service_name(service.full_name());
    }
    if !given("service.instance.id") {
        builder = builder.with_attribute(KeyValue::new("service.instance.id", instance()));
    }
    builder.build()
}

/// What tells this process from its replicas: its host, which in a container is the container's id, and its number
/// there.
fn instance() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}-{}", host.trim(), std::process::id())
}
