//! The one transport under every gRPC client: in the same process a generated server called directly, with no
//! HTTP/2 in between, or a channel to another machine. Users of a client cannot tell which.
//!
//! Both carry the caller's trace context in the request's headers and put the call in a client span.

use super::trace;
use crate::names::Service;
use futures::FutureExt;
use futures::future::{self, BoxFuture};
use http::{Request, Response};
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use std::{fmt, io};
use tonic::body::Body;
use tonic::transport::{Channel, Endpoint};

/// What a transport fails with; tonic turns it into a `Status`.
pub type TransportError = Box<dyn std::error::Error + Send + Sync>;
type Call = BoxFuture<'static, Result<Response<Body>, TransportError>>;

/// How long a connection may take to come up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// An idle connection is asked for a sign of life this often, and given up when none comes in time.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Carries requests to one service. Cheap to clone: generated clients are cloned for each call.
#[derive(Clone)]
pub struct Transport {
    caller: Service,
    wire: Arc<dyn Wire>,
}

/// The way to the server, behind one allocation-free clone.
trait Wire: Send + Sync {
    fn call(&self, request: Request<Body>) -> Call;
    fn describe(&self) -> &str;
}

impl Transport {
    /// A transport for `caller` to a generated server (`FooServer::new(implementation)`) in this process.
    /// A call runs on the caller's task; dropping it cancels the handler, as a reset stream would.
    pub fn local<S>(caller: Service, server: S) -> Self
    where
        S: tower::Service<Request<Body>, Response = Response<Body>, Error = Infallible>
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
    {
        Self { caller, wire: Arc::new(Local(server)) }
    }

    /// A transport for `caller` to `uri` (`http://host:port`). It connects at the first call and again whenever
    /// the connection is lost. A call fails with `DEADLINE_EXCEEDED` or `CANCELLED` when no answer has begun
    /// after `deadline`.
    ///
    /// # Errors
    /// When `uri` is not the address of a server. Panics outside a tokio runtime.
    pub fn remote(caller: Service, uri: &str, deadline: Duration) -> Result<Self, io::Error> {
        let bad = |error: tonic::transport::Error| {
            io::Error::new(io::ErrorKind::InvalidInput, format!("{uri:?} is no gRPC address: {error}"))
        };
        let endpoint = Endpoint::from_shared(uri.to_owned()).map_err(bad)?;
        if !matches!(endpoint.uri().scheme_str(), Some("http" | "https")) {
            let text = format!("{uri:?} is no gRPC address: expected http://host:port");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let channel = endpoint
            .user_agent(concat!("quintet/", env!("CARGO_PKG_VERSION")))
            .map_err(bad)?
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(deadline)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .connect_lazy();
        Ok(Self { caller, wire: Arc::new(Remote { channel, uri: uri.to_owned() }) })
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Transport")
            .field("caller", &self.caller)
            .field("to", &self.wire.describe())
            .finish()
    }
}

impl tower::Service<Request<Body>> for Transport {
    type Response = Response<Body>;
    type Error = TransportError;
    type Future = Call;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Call {
        let span = trace::client_span(self.caller, request.uri().path());
        if span.is_disabled() {
            return self.wire.call(request);
        }
        crate::propagation::inject(&span, request.headers_mut());
        let call = span.in_scope(|| self.wire.call(request));
        Box::pin(trace::observe_client(span, call))
    }
}

struct Local<S>(S);

impl<S> Wire for Local<S>
where
    S: tower::Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + Sync,
    S::Future: Send + 'static,
{
    fn call(&self, request: Request<Body>) -> Call {
        // Generated servers are always ready.
        let mut server = self.0.clone();
        let span = trace::server_span(request.uri().path(), request.headers());
        if span.is_disabled() {
            return server.call(request).map(|answer| answer.map_err(|never| match never {})).boxed();
        }
        let answer =
            span.in_scope(|| server.call(request)).map(|answer| answer.map_err(|never| match never {}));
        Box::pin(trace::observe_server(span, answer))
    }

    fn describe(&self) -> &'static str {
        "this process"
    }
}

struct Remote {
    channel: Channel,
    uri: String,
}

impl Wire for Remote {
    fn call(&self, request: Request<Body>) -> Call {
        let mut channel = self.channel.clone();
        let (path, started) = (request.uri().path().to_owned(), Instant::now());
        Box::pin(async move {
            let ready = future::poll_fn(|context| tower::Service::poll_ready(&mut channel, context)).await;
            let answer = match ready {
                Ok(()) => tower::Service::call(&mut channel, request).await,
                Err(error) => Err(error),
            };
            let code = trace::status(&answer);
            trace::measure("quintet_grpc_client_duration_seconds", &path, code, started.elapsed());
            Ok(answer?)
        })
    }

    fn describe(&self) -> &str {
        &self.uri
    }
}
