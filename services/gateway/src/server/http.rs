//! One HTTP request: geth's checks in geth's order, then the dispatcher.

use super::access::Cors;
use super::body::Parts;
use super::{HttpService, Served, websocket};
use crate::auth::{Caller, Gate, Refusal, path_key};
use crate::error::RpcError;
use crate::methods::Output;
use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use http::header::{
    ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, ORIGIN, RETRY_AFTER, VARY,
    WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Frame, Incoming};
use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Bytes of a request's body.
const MOST_BODY: u64 = 5 * 1024 * 1024;
/// How long a body may take to arrive.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a request waits for the block that its caller has seen.
const MIN_BLOCK_TIMEOUT: Duration = Duration::from_secs(5);
/// The number of the block that an answer is about.
const BLOCK: HeaderName = HeaderName::from_static("x-quintet-block");
/// The least block that a caller wants an answer at.
const MIN_BLOCK: HeaderName = HeaderName::from_static("x-quintet-min-block");

/// Answers a request.
pub(super) async fn respond_to(served: &Served, peer: IpAddr, request: Request<Incoming>) -> Response<Parts> {
    let mut response = handle(served, peer, request).await;
    // hyper says so itself, unless the end came while the answer was being computed.
    if served.ending.load(Ordering::Relaxed) && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

async fn handle(served: &Served, peer: IpAddr, request: Request<Incoming>) -> Response<Parts> {
    let gate = &served.gate;
    if let Some(ws) = &served.ws
        && websocket::is_upgrade(request.headers())
    {
        if !is_served(gate, &ws.prefix, request.uri().path()) {
            return empty(StatusCode::NOT_FOUND);
        }
        return match admit(gate, &ws.prefix, peer, &request) {
            Ok(caller) => websocket::upgrade(served, ws, caller, request),
            Err(response) => response,
        };
    }
    let is_served = |http: &&HttpService| is_served(gate, &http.prefix, request.uri().path());
    let Some(http) = served.http.as_ref().filter(is_served) else {
        return empty(StatusCode::NOT_FOUND);
    };
    if !http.vhosts.allow(request.headers()) {
        return refusal(StatusCode::FORBIDDEN, "invalid host specified");
    }
    if !http.cors.is_enabled() {
        return answer(gate, http, peer, request).await;
    }
    if Cors::is_preflight(&request) {
        let mut response = empty(StatusCode::NO_CONTENT);
        http.cors.preflight(request.headers(), response.headers_mut());
        return response;
    }
    let origin = request.headers().get(ORIGIN).cloned();
    let mut response = answer(gate, http, peer, request).await;
    http.cors.actual(origin.as_ref(), response.headers_mut());
    response
}

/// Without a prefix only the root is served, and keys below it where there are keys.
fn is_served(gate: &Gate, prefix: &str, path: &str) -> bool {
    let matches = if prefix.is_empty() { path == "/" } else { path.starts_with(prefix) };
    matches || (gate.takes_keys() && path_key(prefix, path).is_some())
}

/// Who sends a request, or what to answer to somebody who may not.
fn admit<B>(
    gate: &Gate,
    prefix: &str,
    peer: IpAddr,
    request: &Request<B>,
) -> Result<Caller, Response<Parts>> {
    let key = if gate.takes_keys() { path_key(prefix, request.uri().path()) } else { None };
    gate.admit(peer, request.headers(), key).map_err(|refusal| unauthorized(&refusal))
}

async fn answer(
    gate: &Gate,
    http: &HttpService,
    peer: IpAddr,
    request: Request<Incoming>,
) -> Response<Parts> {
    // Load balancers ask whether anybody is there.
    let length = request.body().size_hint().exact();
    if request.method() == Method::GET && length == Some(0) && request.uri().query().is_none() {
        return empty(StatusCode::OK);
    }
    if let Err(response) = validate(&request, length) {
        return response;
    }
    let caller = match admit(gate, &http.prefix, peer, &request) {
        Ok(caller) => caller,
        Err(response) => return response,
    };
    let (head, body) = request.into_parts();
    let body = match read(body).await {
        Ok(body) => body,
        Err(response) => return response,
    };
    // What is rare is boxed: every request moves the whole future, however little of it runs.
    if let Some(wanted) = head.headers.get(MIN_BLOCK)
        && let Err(error) = Box::pin(wait_for_block(http, wanted)).await
    {
        let mut out = Output::new(http.dispatcher.shared.reads.head_number());
        crate::envelope::error(&mut out.json, "null", &error);
        return respond(out);
    }
    let response = respond(http.dispatcher.answer(&body, Some(&head.headers), &caller).await);
    if accepts_gzip(&head.headers) { Box::pin(compress(response)).await } else { response }
}

fn validate(request: &Request<Incoming>, length: Option<u64>) -> Result<(), Response<Parts>> {
    if [Method::PUT, Method::DELETE].contains(request.method()) {
        return Err(refusal(StatusCode::METHOD_NOT_ALLOWED, "method not allowed"));
    }
    if let Some(length) = length.filter(|length| *length > MOST_BODY) {
        let text = format!("content length too large ({length}>{MOST_BODY})");
        return Err(refusal(StatusCode::PAYLOAD_TOO_LARGE, &text));
    }
    if request.method() == Method::OPTIONS {
        return Ok(());
    }
    let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = content_type.map(|value| value.split_once(';').map_or(value, |(media, _)| media).trim());
    let accepted = ["application/json", "application/json-rpc", "application/jsonrequest"];
    if media_type.is_some_and(|media| accepted.iter().any(|accepted| accepted.eq_ignore_ascii_case(media))) {
        return Ok(());
    }
    let text = "invalid content type, only application/json is supported";
    Err(refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, text))
}

/// The whole body. Nearly always it came with the head, in one frame: then it is not copied, and no clock is set.
async fn read(mut body: Incoming) -> Result<Bytes, Response<Parts>> {
    let first = match body.frame().now_or_never() {
        Some(None) => return Ok(Bytes::new()),
        Some(Some(frame)) => data_of(frame)?,
        None => Bytes::new(),
    };
    if body.is_end_stream() {
        return Ok(first);
    }
    let late = |_| refusal(StatusCode::REQUEST_TIMEOUT, "request body was not received in time");
    let rest = tokio::time::timeout(READ_TIMEOUT, read_rest(body, first));
    Box::pin(rest).await.map_err(late)?
}

async fn read_rest(mut body: Incoming, first: Bytes) -> Result<Bytes, Response<Parts>> {
    let mut whole = BytesMut::from(first);
    while let Some(frame) = body.frame().await {
        whole.extend_from_slice(&data_of(frame)?);
        if whole.len() as u64 > MOST_BODY {
            let text = format!("content length too large ({}>{MOST_BODY})", whole.len());
            return Err(refusal(StatusCode::PAYLOAD_TOO_LARGE, &text));
        }
    }
    Ok(whole.freeze())
}

fn data_of(frame: Result<Frame<Bytes>, hyper::Error>) -> Result<Bytes, Response<Parts>> {
    let cut = |_| refusal(StatusCode::BAD_REQUEST, "request body was cut short");
    Ok(frame.map_err(cut)?.into_data().unwrap_or_default())
}

/// Waits until the gateway holds the block that the caller has seen elsewhere.
async fn wait_for_block(http: &HttpService, wanted: &HeaderValue) -> Result<(), RpcError> {
    let wanted: u64 = wanted
        .to_str()
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| RpcError::params("x-quintet-min-block is no block number"))?;
    let reads = &http.dispatcher.shared.reads;
    let mut heads = reads.heads();
    let arrived = tokio::time::timeout(MIN_BLOCK_TIMEOUT, heads.wait_for(|head| *head >= wanted)).await;
    match arrived {
        Ok(Ok(_)) => Ok(()),
        _ => Err(RpcError::Behind { wanted, head: reads.head_number() }),
    }
}

fn respond(out: Output) -> Response<Parts> {
    let body = match out.spliced {
        None => Parts::one(out.json),
        Some((at, middle)) => {
            let mut before = Bytes::from(out.json);
            let after = before.split_off(at.min(before.len()));
            Parts::around(before, middle, after)
        }
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(BLOCK, HeaderValue::from(out.block));
    if let Some(wait) = out.retry_after {
        // Whole seconds, and not zero: those that wait less come too early.
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
    }
    response
}

/// The answer to somebody whose key or token is missing or no good (RFC 6750).
fn unauthorized(refusal: &Refusal) -> Response<Parts> {
    let mut response = self::refusal(StatusCode::UNAUTHORIZED, &refusal.text);
    let challenge = if refusal.was_given {
        "Bearer realm=\"quintet\", error=\"invalid_token\""
    } else {
        "Bearer realm=\"quintet\""
    };
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    response
}

fn accepts_gzip(headers: &HeaderMap) -> bool {
    let accepted = headers.get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
    accepted.is_some_and(|accepted| accepted.contains("gzip"))
}

/// Compresses an answer whole: it is in memory whole anyway.
async fn compress(response: Response<Parts>) -> Response<Parts> {
    use tower::{Layer, ServiceExt};
    let (head, body) = response.into_parts();
    let Ok(body) = body.collect().await.map(http_body_util::Collected::to_bytes);
    let plain = Response::from_parts(head, http_body_util::Full::new(body));
    let mut asked = Request::new(());
    asked.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    let layer = tower_http::compression::CompressionLayer::new().gzip(true);
    let service = layer.layer(tower::service_fn(move |_: Request<()>| {
        let plain = plain.clone();
        async move { Ok::<_, std::convert::Infallible>(plain) }
    }));
    let Ok(compressed) = service.oneshot(asked).await;
    let (head, body) = compressed.into_parts();
    match body.collect().await {
        Ok(body) => {
            let mut response = Response::from_parts(head, Parts::one(body.to_bytes()));
            if response.headers().contains_key(CONTENT_ENCODING) {
                response.headers_mut().insert(VARY, HeaderValue::from_static("Accept-Encoding"));
            }
            response
        }
        Err(_) => refusal(StatusCode::INTERNAL_SERVER_ERROR, "cannot compress the answer"),
    }
}

fn empty(status: StatusCode) -> Response<Parts> {
    let mut response = Response::new(Parts::one(Bytes::new()));
    *response.status_mut() = status;
    response
}

/// An error below JSON-RPC, in the form of Go's `http.Error`.
pub(super) fn refusal(status: StatusCode, text: &str) -> Response<Parts> {
    let mut response = Response::new(Parts::one(format!("{text}\n")));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
