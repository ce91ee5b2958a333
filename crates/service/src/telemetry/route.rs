//! Gives each span to the service that it belongs to, where several share a process and a trace.
//!
//! A span belongs to the service that its `quintet.service` field names, else to the service whose own crate created
//! it, else (a library crate) to its parent's service. This is settled when the span starts, by the sampler, as the
//! sampler alone sees both the new span and its parent's context. It writes the service into the span's trace
//! state, which children inherit, and the exporter sorts finished spans by it: one queue, one exporter and one OTLP
//! resource per service.

use crate::error::BoxError;
use crate::grpc::SERVICE_FIELD;
use crate::names::Service;
use futures::future::join_all;
use opentelemetry::trace::{Link, SpanKind, TraceContextExt, TraceId, TraceState};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_otlp::SpanExporter as OtlpExporter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Config, SamplingResult, ShouldSample, SpanData, SpanExporter};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Our entry in the W3C trace state; its value is the service's short name.
const STATE_KEY: &str = "quintet";

/// The sampler of the `OTEL_TRACES_SAMPLER` variable, which also settles what service a span belongs to.
#[derive(Clone, Debug)]
pub(super) struct RoutingSampler {
    inner: Box<dyn ShouldSample>,
    /// Where spans of no service go.
    fallback: Service,
    /// Whether `chain` runs in this process.
    has_chain: bool,
    /// Trace states with our entry alone, by the order of [`Service::ALL`].
    states: Vec<(Service, TraceState)>,
}

impl RoutingSampler {
    pub(super) fn new(services: &[Service]) -> Result<Self, BoxError> {
        let fallback = services.first().copied().ok_or("no service to trace")?;
        let state = |service: Service| Ok((service, TraceState::NONE.insert(STATE_KEY, service.name())?));
        let states = Service::ALL.into_iter().map(state).collect::<Result<_, BoxError>>()?;
        let has_chain = services.contains(&Service::Chain);
        Ok(Self { inner: Config::default().sampler, fallback, has_chain, states })
    }

    fn service_of(&self, attributes: &[KeyValue], parent: Option<Service>) -> Service {
        let text = |key: &str| {
            attributes.iter().rev().find(|attribute| attribute.key.as_str() == key).and_then(|attribute| {
                if let Value::String(text) = &attribute.value { Some(text.as_str()) } else { None }
            })
        };
        let target = text("target").unwrap_or_default();
        text(SERVICE_FIELD)
            .and_then(Service::from_full_name)
            .or_else(|| Service::from_target(target))
            .or(parent)
            .or_else(|| self.has_chain.then(|| library_owner(target)).flatten())
            .unwrap_or(self.fallback)
    }

    /// `state` with our entry naming `service`.
    fn mark(&self, state: TraceState, parent: Option<Service>, service: Service) -> TraceState {
        if parent == Some(service) {
            return state;
        }
        if state == TraceState::NONE
            || parent.is_some_and(|parent| self.states.contains(&(parent, state.clone())))
        {
            let ours = self.states.iter().find(|(owner, _)| *owner == service);
            return ours.map_or(state, |(_, ours)| ours.clone());
        }
        // Key and value are valid, so it cannot fail.
        state.insert(STATE_KEY, service.name()).unwrap_or(state)
    }
}

/// The service that a library crate works for when no parent tells.
fn library_owner(target: &str) -> Option<Service> {
    let name = target.split("::").next().unwrap_or_default();
    matches!(name, "quintet_evm" | "quintet_store" | "quintet_trie" | "quintet_txpool" | "quintet_events")
        .then_some(Service::Chain)
}

fn marked_service(state: &TraceState) -> Option<Service> {
    state.get(STATE_KEY).and_then(Service::from_name)
}

impl ShouldSample for RoutingSampler {
    fn should_sample(
        &self,
        parent_context: Option<&Context>,
        trace_id: TraceId,
        name: &str,
        span_kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let mut result =
            self.inner.should_sample(parent_context, trace_id, name, span_kind, attributes, links);
        let parent =
            parent_context.and_then(|parent| marked_service(parent.span().span_context().trace_state()));
        let service = self.service_of(attributes, parent);
        result.trace_state = self.mark(result.trace_state, parent, service);
        result
    }
}

/// One OTLP exporter for each service of the process.
#[derive(Debug)]
pub(super) struct RoutingExporter {
    exporters: Vec<(Service, OtlpExporter)>,
    /// Whether the last batch was not taken.
    failing: AtomicBool,
}

impl RoutingExporter {
    pub(super) fn new(exporters: Vec<(Service, OtlpExporter, Resource)>) -> Self {
        let with_resource = |(service, mut exporter, resource): (Service, OtlpExporter, Resource)| {
            exporter.set_resource(&resource);
            (service, exporter)
        };
        let exporters = exporters.into_iter().map(with_resource).collect();
        Self { exporters, failing: AtomicBool::new(false) }
    }

    /// Says once that spans are lost, and once that they are not any more.
    fn report(&self, sent: &OTelSdkResult) {
        if self.failing.swap(sent.is_err(), Ordering::Relaxed) == sent.is_err() {
            return;
        }
        match sent {
            Ok(()) => tracing::info!("spans are exported again"),
            Err(error) => {
                tracing::warn!(%error, "spans are not exported; they are lost until the collector takes them");
            }
        }
    }
}

impl SpanExporter for RoutingExporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let mut rest = batch;
        let mut parts = Vec::with_capacity(self.exporters.len());
        for (service, exporter) in self.exporters.iter().skip(1).rev() {
            let (own, others) = rest
                .into_iter()
                .partition(|span| marked_service(span.span_context.trace_state()) == Some(*service));
            parts.push((exporter, own));
            rest = others;
        }
        // The first takes its own, and what belongs to no service of this process.
        parts.extend(self.exporters.first().map(|(_, exporter)| (exporter, rest)));
        let sent = parts.into_iter().filter(|(_, spans): &(_, Vec<_>)| !spans.is_empty());
        let sent = join_all(sent.map(|(exporter, spans)| exporter.export(spans))).await.into_iter().collect();
        self.report(&sent);
        // The SDK would do no more about an error than to log it, for every batch.
        Ok(())
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporters
            .iter()
            .map(|(_, exporter)| exporter.shutdown_with_timeout(timeout))
            .fold(Ok(()), Result::and)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporters.iter().map(|(_, exporter)| exporter.force_flush()).fold(Ok(()), Result::and)
    }
}
