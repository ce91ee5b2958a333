//! W3C trace context across processes and queues: in request headers, and as the `traceparent` text that events
//! and peer frames carry.

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::{SpanContext, TraceContextExt};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use quintet_types::TraceContext;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// Writes the context of `span` into `headers` as `traceparent` and `tracestate`. Starts the span: its parent
/// can no longer be set.
pub fn inject(span: &Span, headers: &mut HeaderMap) {
    TraceContextPropagator::new().inject_context(&span.context(), &mut Headers(headers));
}

/// Makes `span` a child of the context in `headers`, if there is one. Must come before the span is entered.
pub fn extract(span: &Span, headers: &HeaderMap) {
    if span.is_disabled() || !headers.contains_key("traceparent") {
        return;
    }
    let parent = TraceContextPropagator::new()
        .extract_with_context(&opentelemetry::Context::new(), &HeadersRef(headers));
    if parent.span().span_context().is_valid() {
        // It fails only where no span is exported, and then there is no parent to set.
        let _ = span.set_parent(parent);
    }
}

/// The context of the current span; empty when it is not traced.
pub fn current_trace() -> TraceContext {
    trace_of(&Span::current())
}

/// The context of `span`; empty when it is not traced. Starts the span: its parent can no longer be set.
pub fn trace_of(span: &Span) -> TraceContext {
    if span.is_disabled() {
        return TraceContext::default();
    }
    let context = span.context();
    let span = context.span();
    let id = span.span_context();
    if !id.is_valid() {
        return TraceContext::default();
    }
    let flags = id.trace_flags().to_u8();
    TraceContext(format!("00-{}-{}-{flags:02x}", id.trace_id(), id.span_id()).into())
}

/// Makes `span` a child of `parent`, unless that is empty. Must come before the span is entered.
pub fn set_parent(span: &Span, parent: &TraceContext) {
    if span.is_disabled() {
        return;
    }
    if let Some(parent) = parse(parent) {
        // As in `extract`.
        let _ = span.set_parent(opentelemetry::Context::new().with_remote_span_context(parent));
    }
}

/// Links `span` to work that it continues without being its child: a block's import to the transactions in the
/// block. An empty context is no link.
pub fn add_link(span: &Span, to: &TraceContext) {
    if span.is_disabled() {
        return;
    }
    if let Some(to) = parse(to) {
        span.add_link(to);
    }
}

fn parse(context: &TraceContext) -> Option<SpanContext> {
    if context.0.is_empty() {
        return None;
    }
    let context = TraceContextPropagator::new()
        .extract_with_context(&opentelemetry::Context::new(), &Traceparent(&context.0));
    let id = context.span().span_context().clone();
    id.is_valid().then_some(id)
}

struct Headers<'a>(&'a mut HeaderMap);

impl Injector for Headers<'_> {
    fn set(&mut self, key: &str, value: String) {
        if value.is_empty() {
            return;
        }
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(key), HeaderValue::try_from(value)) {
            self.0.insert(name, value);
        }
    }
}

struct HeadersRef<'a>(&'a HeaderMap);

impl Extractor for HeadersRef<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

struct Traceparent<'a>(&'a str);

impl Extractor for Traceparent<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        (key == "traceparent").then_some(self.0)
    }

    fn keys(&self) -> Vec<&str> {
        vec!["traceparent"]
    }
}

#[cfg(test)]
mod tests {
    use super::parse;
    use quintet_types::TraceContext;

    #[test]
    fn only_well_formed_contexts_are_taken() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let id = parse(&TraceContext(good.into())).expect("valid");
        assert_eq!(id.trace_id().to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert!(id.is_sampled() && id.is_remote());
        for bad in ["", "00-0-0-01", "nonsense", "00-00000000000000000000000000000000-b7ad6b7169203331-01"] {
            assert_eq!(parse(&TraceContext(bad.into())), None, "{bad:?}");
        }
    }
}
