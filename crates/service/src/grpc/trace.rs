//! Spans of gRPC calls, with OpenTelemetry's attributes for RPC: one on the caller's side, one on the server's.
//!
//! A span lasts until the head of the response: what streams after it is in spans of its own.

use crate::names::Service;
use crate::propagation;
use http::{HeaderMap, Request, Response};
use std::future::Future;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tonic::Code;
use tracing::field::Empty;
use tracing::{Instrument, Span};

/// Name of the span field that says which service a span belongs to. Needed where a span is created by a
/// library crate on a service's behalf; see [`crate::telemetry`].
pub const SERVICE_FIELD: &str = "quintet.service";

/// Service and method of a gRPC path.
fn service_and_method(path: &str) -> (&str, &str) {
    path.strip_prefix('/').unwrap_or(path).split_once('/').unwrap_or((path, ""))
}

/// The caller's span of one call.
pub(super) fn client_span(caller: Service, path: &str) -> Span {
    let (service, method) = service_and_method(path);
    tracing::info_span!(
        "rpc",
        otel.name = path.strip_prefix('/').unwrap_or(path),
        otel.kind = "client",
        otel.status_code = Empty,
        quintet.service = caller.full_name(),
        rpc.system = "grpc",
        rpc.service = service,
        rpc.method = method,
        rpc.grpc.status_code = Empty,
    )
}

/// The server's span of one call, child of the context in `headers`. Calls to health and reflection have none.
pub(super) fn server_span(path: &str, headers: &HeaderMap) -> Span {
    let Some(callee) = Service::from_rpc_path(path) else { return Span::none() };
    let (service, method) = service_and_method(path);
    let span = tracing::info_span!(
        "rpc",
        otel.name = path.strip_prefix('/').unwrap_or(path),
        otel.kind = "server",
        otel.status_code = Empty,
        quintet.service = callee.full_name(),
        rpc.system = "grpc",
        rpc.service = service,
        rpc.method = method,
        rpc.grpc.status_code = Empty,
    );
    propagation::extract(&span, headers);
    span
}

/// The status that the head of a response tells: an error comes there at once, success after the body.
fn head_status<B>(response: &Response<B>) -> Code {
    response.headers().get("grpc-status").map_or(Code::Ok, |value| Code::from_bytes(value.as_bytes()))
}

/// Whether a status is the server's fault, by the conventions for server spans.
const fn is_server_fault(code: Code) -> bool {
    matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    )
}

fn record(span: &Span, code: Code, failed: bool) {
    span.record("rpc.grpc.status_code", code as i32);
    if failed {
        span.record("otel.status_code", "error");
    }
}

/// Runs a call within the caller's span, and records how it ended.
pub(super) async fn observe_client<B, E>(
    span: Span,
    call: impl Future<Output = Result<Response<B>, E>>,
) -> Result<Response<B>, E> {
    let answer = call.instrument(span.clone()).await;
    let code = status(&answer);
    record(&span, code, code != Code::Ok);
    answer
}

/// Runs a handler within the server's span, and records how it ended.
pub(super) async fn observe_server<B, E>(
    span: Span,
    call: impl Future<Output = Result<Response<B>, E>>,
) -> Result<Response<B>, E> {
    let answer = call.instrument(span.clone()).await;
    let code = answer.as_ref().map_or(Code::Internal, head_status);
    record(&span, code, is_server_fault(code));
    answer
}

/// Takes the time of a call over the network. Servers are asked for any path: unknown ones are one method.
pub(super) fn measure(metric: &'static str, path: &str, code: Code, elapsed: Duration) {
    let method = if code == Code::Unimplemented { "unknown" } else { path.strip_prefix('/').unwrap_or(path) };
    metrics::histogram!(metric, "method" => method.to_owned(), "code" => format!("{code:?}")).record(elapsed);
}

/// How a call ended, as far as it is known; a caller that got no answer at all did not reach the server.
pub(super) fn status<B, E>(answer: &Result<Response<B>, E>) -> Code {
    answer.as_ref().map_or(Code::Unavailable, head_status)
}

/// Puts every call that a server takes from the network in a span, child of the caller's, and takes its time.
#[derive(Clone, Copy, Debug, Default)]
pub struct TraceLayer;

impl<S> tower::Layer<S> for TraceLayer {
    type Service = Traced<S>;

    fn layer(&self, inner: S) -> Traced<S> {
        Traced { inner }
    }
}

/// A service under [`TraceLayer`].
#[derive(Clone, Debug)]
pub struct Traced<S> {
    inner: S,
}

impl<S, A, B> tower::Service<Request<A>> for Traced<S>
where
    S: tower::Service<Request<A>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: 'static,
    B: 'static,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = futures::future::Either<
        S::Future,
        futures::future::BoxFuture<'static, Result<Response<B>, S::Error>>,
    >;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let path = request.uri().path();
        if Service::from_rpc_path(path).is_none() {
            return futures::future::Either::Left(self.inner.call(request));
        }
        let (path, started) = (path.to_owned(), Instant::now());
        let span = server_span(&path, request.headers());
        let call = span.in_scope(|| self.inner.call(request));
        futures::future::Either::Right(Box::pin(async move {
            let answer = observe_server(span.clone(), call).await;
            let (code, elapsed) = (status(&answer), started.elapsed());
            measure("quintet_grpc_server_duration_seconds", &path, code, elapsed);
            span.in_scope(
                || tracing::debug!(target: "quintet_service", path, ?code, ?elapsed, "RPC answered"),
            );
            answer
        }))
    }
}
