//! Counts the calls that a server has not finished answering, so that shutdown waits for these and not for
//! clients: a connected client that hangs cannot hold the service up.

use crate::names::Service;
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body_util::BodyExt;
use std::task::{Context, Poll};
use tokio_util::task::TaskTracker;
use tonic::body::Body;

/// Puts every call of the contract on `calls` until its answer, body included, is done with. Health and
/// reflection are not waited for: a client may watch health for ever.
#[derive(Clone, Debug)]
pub(super) struct InFlightLayer {
    pub(super) calls: TaskTracker,
}

impl<S> tower::Layer<S> for InFlightLayer {
    type Service = InFlight<S>;

    fn layer(&self, inner: S) -> InFlight<S> {
        InFlight { inner, calls: self.calls.clone() }
    }
}

/// A service under [`InFlightLayer`].
#[derive(Clone, Debug)]
pub(super) struct InFlight<S> {
    inner: S,
    calls: TaskTracker,
}

impl<S, A> tower::Service<Request<A>> for InFlight<S>
where
    S: tower::Service<Request<A>, Response = Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<Body>, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let counted = Service::from_rpc_path(request.uri().path()).map(|_| self.calls.token());
        let call = self.inner.call(request);
        let Some(counted) = counted else { return Box::pin(call) };
        Box::pin(async move {
            let answer = call.await?;
            Ok(answer.map(|body| {
                Body::new(body.map_frame(move |frame| {
                    // The body owns the token.
                    let _ = &counted;
                    frame
                }))
            }))
        })
    }
}
