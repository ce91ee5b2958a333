//! A collector of OpenTelemetry spans: a real OTLP/gRPC receiver that keeps what it is sent.

use opentelemetry_proto::tonic::collector::trace::v1 as otlp;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::Span as Record;
pub use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
pub use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use parking_lot::Mutex;
use std::fmt;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_stream::wrappers::TcpListenerStream;

/// How long spans are waited for.
const DEADLINE: Duration = Duration::from_secs(30);
/// Between looks at the spans that came.
const POLL: Duration = Duration::from_millis(20);

/// A receiver on a free port, for as long as the runtime that it was started on.
#[derive(Clone, Debug)]
pub struct Collector {
    endpoint: String,
    store: Store,
}

#[derive(Clone, Debug, Default)]
struct Store(Arc<Mutex<Vec<Span>>>);

#[tonic::async_trait]
impl TraceService for Store {
    async fn export(
        &self,
        request: tonic::Request<otlp::ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<otlp::ExportTraceServiceResponse>, tonic::Status> {
        for group in request.into_inner().resource_spans {
            let attributes = group.resource.unwrap_or_default().attributes;
            let of = |key| text(&attributes, key).unwrap_or_default().to_owned();
            let (service, instance) = (of("service.name"), of("service.instance.id"));
            let spans = group.scope_spans.into_iter().flat_map(|scope| scope.spans);
            let span = |record| Span { service: service.clone(), instance: instance.clone(), record };
            self.0.lock().extend(spans.map(span));
        }
        Ok(tonic::Response::new(otlp::ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    /// Starts one on a free port.
    ///
    /// # Panics
    /// When there is none.
    pub async fn start() -> Self {
        Self::listen("127.0.0.1:0").await
    }

    /// Starts one on an address.
    ///
    /// # Panics
    /// When it is taken.
    pub async fn listen(address: &str) -> Self {
        let listener = tokio::net::TcpListener::bind(address).await.expect("the address is free");
        let endpoint = format!("http://{}", listener.local_addr().expect("bound"));
        let store = Store::default();
        let server = tonic::transport::Server::builder().add_service(TraceServiceServer::new(store.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        Self { endpoint, store }
    }

    /// What `OTEL_EXPORTER_OTLP_ENDPOINT` must be for spans to come here.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The spans that came so far.
    pub fn spans(&self) -> Spans {
        Spans(self.store.0.lock().clone())
    }

    /// Forgets the spans that came so far.
    pub fn clear(&self) {
        self.store.0.lock().clear();
    }

    /// Waits until `find` finds what it looks for in the spans that came so far.
    ///
    /// # Panics
    /// When it does not within half a minute; the message shows the spans.
    pub async fn wait_for<T>(&self, what: &str, find: impl Fn(&Spans) -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            let spans = self.spans();
            if let Some(found) = find(&spans) {
                return found;
            }
            assert!(start.elapsed() < DEADLINE, "no {what} among\n{spans}");
            tokio::time::sleep(POLL).await;
        }
    }
}

/// A span, and the service whose resource it came under.
#[derive(Clone, Debug)]
pub struct Span {
    /// The resource's `service.name`.
    pub service: String,
    /// The resource's `service.instance.id`, which tells replicas apart.
    pub instance: String,
    /// What was sent.
    pub record: Record,
}

impl Span {
    /// The id of its trace, in hexadecimal.
    pub fn trace_id(&self) -> String {
        hex(&self.record.trace_id)
    }

    /// Its own id, in hexadecimal.
    pub fn span_id(&self) -> String {
        hex(&self.record.span_id)
    }

    /// The value of an attribute that is a text.
    pub fn text(&self, key: &str) -> Option<&str> {
        text(&self.record.attributes, key)
    }

    /// The value of an attribute that is an integer.
    pub fn integer(&self, key: &str) -> Option<i64> {
        match value(&self.record.attributes, key)? {
            Value::IntValue(integer) => Some(*integer),
            _ => None,
        }
    }

    /// Whether it is a child of `parent`, in its trace.
    pub fn is_child_of(&self, parent: &Self) -> bool {
        self.record.parent_span_id == parent.record.span_id && self.is_in_trace_of(parent)
    }

    /// Whether both are in one trace.
    pub fn is_in_trace_of(&self, other: &Self) -> bool {
        self.record.trace_id == other.record.trace_id
    }

    /// Whether it has no parent.
    pub fn is_root(&self) -> bool {
        self.record.parent_span_id.is_empty()
    }

    /// Whether it links to `other`.
    pub fn links_to(&self, other: &Self) -> bool {
        let other = &other.record;
        self.record.links.iter().any(|link| link.span_id == other.span_id && link.trace_id == other.trace_id)
    }

    /// Whether it is marked as failed.
    pub fn failed(&self) -> bool {
        self.record.status.as_ref().is_some_and(|status| status.code() == StatusCode::Error)
    }
}

/// Spans, in the order in which they came: children often before their parents.
#[derive(Clone, Debug, Default)]
pub struct Spans(Vec<Span>);

impl Spans {
    /// All of them.
    pub fn iter(&self) -> std::slice::Iter<'_, Span> {
        self.0.iter()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those with this name and kind.
    pub fn named(&self, name: &str, kind: SpanKind) -> Vec<&Span> {
        let named = |span: &&Span| span.record.name == name && span.record.kind == kind as i32;
        self.0.iter().filter(named).collect()
    }

    /// The only one with this name and kind.
    ///
    /// # Panics
    /// When there is none, or more than one.
    pub fn one(&self, name: &str, kind: SpanKind) -> &Span {
        let found = self.named(name, kind);
        assert_eq!(found.len(), 1, "spans {name:?} of {kind:?} among\n{self}");
        found[0]
    }

    /// The child of `parent` with this name, if there is one.
    pub fn child(&self, parent: &Span, name: &str) -> Option<&Span> {
        self.0.iter().find(|span| span.record.name == name && span.is_child_of(parent))
    }

    /// The span that `span` is a child of, if it came.
    pub fn parent(&self, span: &Span) -> Option<&Span> {
        self.0.iter().find(|parent| span.is_child_of(parent))
    }

    fn write_tree(&self, out: &mut String, span: &Span, depth: usize) {
        let Record { name, kind, links, .. } = &span.record;
        let kind =
            SpanKind::try_from(*kind).map_or("?", |kind| kind.as_str_name().trim_start_matches("SPAN_KIND_"));
        let (id, trace) = (span.span_id(), span.trace_id());
        let links: Vec<_> = links.iter().map(|link| hex(&link.span_id)).collect();
        let _ = write!(
            out,
            "{:indent$}{}: {name} ({kind}, {id} of {trace}",
            "",
            span.service,
            indent = 2 * depth
        );
        let _ = writeln!(out, "{}{})", if links.is_empty() { "" } else { ", links to " }, links.join(" "));
        for child in self.0.iter().filter(|child| child.is_child_of(span)) {
            self.write_tree(out, child, depth + 1);
        }
    }
}

impl<'a> IntoIterator for &'a Spans {
    type Item = &'a Span;
    type IntoIter = std::slice::Iter<'a, Span>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// The trees.
impl fmt::Display for Spans {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::new();
        for top in self.0.iter().filter(|span| self.parent(span).is_none()) {
            self.write_tree(&mut out, top, 0);
        }
        formatter.write_str(&out)
    }
}

fn hex(bytes: &[u8]) -> String {
    alloy_primitives::hex::encode(bytes)
}

fn value<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a Value> {
    attributes.iter().find(|attribute| attribute.key == key)?.value.as_ref()?.value.as_ref()
}

fn text<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    match value(attributes, key)? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}
