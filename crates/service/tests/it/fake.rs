//! A server of `quintet.chain.v1.ChainService` reduced to one behaviour: its path decides how it answers.

use http::{Request, Response};
use std::convert::Infallible;
use std::task::{Context, Poll};
use std::time::Duration;
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;

/// Answers `/…/GetHead` with success, after some work in a library crate's span; `/…/Slow` likewise after 300 ms;
/// anything else with `NOT_FOUND`.
#[derive(Clone, Debug)]
pub(crate) struct FakeChain;

impl NamedService for FakeChain {
    const NAME: &'static str = "quintet.chain.v1.ChainService";
}

pub(crate) const GET_HEAD: &str = "/quintet.chain.v1.ChainService/GetHead";
pub(crate) const SLOW: &str = "/quintet.chain.v1.ChainService/Slow";
pub(crate) const UNKNOWN: &str = "/quintet.chain.v1.ChainService/Unknown";

impl tower::Service<Request<Body>> for FakeChain {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = futures::future::BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(async move {
            tracing::info_span!(target: "quintet_store", "read").in_scope(|| {
                tracing::info_span!(target: "quintet_trie", "node").in_scope(|| ());
            });
            let found = [GET_HEAD, SLOW].contains(&request.uri().path());
            if request.uri().path() == SLOW {
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
            let status = if found { Status::ok("") } else { Status::not_found("no such method") };
            Ok(status.into_http())
        })
    }
}

/// Calls `path` over `transport`, as a generated client would; gives the value of `grpc-status`.
pub(crate) async fn call(mut transport: quintet_service::grpc::Transport, path: &str) -> String {
    let request = Request::post(path).header("content-type", "application/grpc").header("te", "trailers");
    let request = request.body(Body::empty()).expect("valid request");
    let response = tower::Service::call(&mut transport, request).await.expect("an answer");
    let status = response.headers().get("grpc-status").expect("a status");
    status.to_str().expect("text").to_owned()
}
