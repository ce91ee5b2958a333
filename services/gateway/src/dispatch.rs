//! From a request to its answer: finds the method, runs it in a span, measures it, writes the envelope.

use crate::auth::Caller;
use crate::envelope::{self, Kind, Message, Request};
use crate::error::RpcError;
use crate::flights::{Answer, Lead, Role};
use crate::limits::Limiter;
use crate::methods::{Context, Handler, Method, Methods, Output, ReadFn, Stop, wants_pending};
use crate::params::Params;
use crate::shared::{Pending, Shared};
use bytes::Bytes;
use http::HeaderMap;
use serde_json::value::RawValue;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};
use tracing::field::Empty;
use tracing::{Instrument, Span};

/// How often a read that reorgs overtake is run again.
const ATTEMPTS: usize = 32;
/// geth's HTTP servers end a request shortly before their write timeout of 30 seconds.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Answers requests of one transport on one listener.
#[derive(Clone)]
pub(crate) struct Dispatcher {
    pub(crate) shared: Arc<Shared>,
    pub(crate) methods: Arc<Methods>,
    /// Counts requests, where they are limited.
    pub(crate) limiter: Option<Arc<Limiter>>,
}

/// What all requests of one body or message have in common.
#[derive(Clone, Copy)]
struct Origin<'a> {
    headers: Option<&'a HeaderMap>,
    caller: &'a Caller,
}

impl Dispatcher {
    /// Answers one HTTP body or WebSocket message. The output is empty when there is nothing to say.
    pub(crate) async fn answer(&self, body: &[u8], headers: Option<&HeaderMap>, caller: &Caller) -> Output {
        let mut out = Output::new(self.shared.reads.head_number());
        let message = envelope::parse(body);
        let origin = Origin { headers, caller };
        // Where nothing is limited nothing is paid for it.
        if (self.limiter.is_some() || caller.grant.is_some())
            && let Err(error) = Box::pin(self.admit(caller, cost(&message))).await
        {
            let id = match &message {
                Ok(Message::Single(request)) => request.id(),
                _ => "null",
            };
            if let RpcError::RateLimited { wait } = error {
                out.retry_after = Some(wait);
            }
            envelope::error(&mut out.json, id, &error);
            return out;
        }
        match message {
            Err(error) => envelope::error(&mut out.json, "null", &error),
            Ok(Message::Single(request)) => self.single(&request, origin, &mut out).await,
            Ok(Message::Batch(requests)) => Box::pin(self.batch(&requests, origin, &mut out)).await,
        }
        out
    }

    /// Whether a caller may send so many requests now.
    pub(crate) async fn admit(&self, caller: &Caller, cost: u32) -> Result<(), RpcError> {
        caller.check()?;
        match &self.limiter {
            Some(limiter) => limiter.take(caller, cost).await,
            None => Ok(()),
        }
    }

    async fn batch(&self, requests: &[Request<'_>], origin: Origin<'_>, out: &mut Output) {
        if requests.is_empty() {
            return envelope::error(&mut out.json, "null", &RpcError::InvalidRequest("empty batch"));
        }
        let limits = &self.shared.limits;
        if limits.batch_requests != 0 && requests.len() > limits.batch_requests {
            let first = requests.iter().find(|request| matches!(request.kind(), Kind::Call { .. }));
            let id = first.map_or("null", Request::id);
            out.json.push(b'[');
            envelope::error(&mut out.json, id, &RpcError::InvalidRequest("batch too large"));
            return out.json.push(b']');
        }
        let span = tracing::info_span!(
            target: "quintet_gateway",
            "batch",
            otel.kind = "server",
            rpc.system = "jsonrpc",
            rpc.jsonrpc.version = "2.0",
            rpc.batch.size = requests.len().cast_signed(),
        );
        if let Some(headers) = origin.headers {
            quintet_service::propagation::extract(&span, headers);
        }
        self.batch_items(requests, origin.caller, out).instrument(span).await;
    }

    async fn batch_items(&self, requests: &[Request<'_>], caller: &Caller, out: &mut Output) {
        let limit = self.shared.limits.batch_response_bytes;
        let mut results = 0;
        let mut one = Output::new(out.block);
        one.in_batch = true;
        for request in requests {
            one.json.clear();
            if limit != 0 && results > limit {
                if let Kind::Call { id, .. } = request.kind() {
                    envelope::error(&mut one.json, id, &RpcError::ResponseTooLarge);
                }
            } else {
                self.single(request, Origin { headers: None, caller }, &mut one).await;
                results += one.json.len();
                // A long batch of quick calls must not keep the worker to itself.
                tokio::task::consume_budget().await;
            }
            if !one.json.is_empty() {
                out.json.push(if out.json.is_empty() { b'[' } else { b',' });
                out.json.extend_from_slice(&one.json);
            }
        }
        if !out.json.is_empty() {
            out.json.push(b']');
        }
    }

    async fn single(&self, request: &Request<'_>, origin: Origin<'_>, out: &mut Output) {
        match request.kind() {
            Kind::Invalid(id) => {
                envelope::error(&mut out.json, id, &RpcError::InvalidRequest("invalid request"));
            }
            Kind::Notification(name) => {
                // Whatever it says, nobody hears it.
                let _ = self.call("null", &name, request.params(), origin, out).await;
                out.clear();
            }
            Kind::Call { id, method } => {
                envelope::open_result(&mut out.json, id);
                let start = out.json.len();
                match self.call(id, &method, request.params(), origin, out).await {
                    Ok(()) => {
                        debug_assert!(
                            out.json.len() > start || out.spliced.is_some(),
                            "{method} wrote nothing"
                        );
                        out.json.push(b'}');
                    }
                    Err(error) => {
                        out.clear();
                        envelope::error(&mut out.json, id, &error);
                    }
                }
            }
        }
    }

    /// Calls a method, which appends its result.
    async fn call(
        &self,
        id: &str,
        name: &str,
        params: Option<&RawValue>,
        origin: Origin<'_>,
        out: &mut Output,
    ) -> Result<(), RpcError> {
        let method = self.methods.get(name).ok_or_else(|| RpcError::MethodNotFound(name.to_owned()))?;
        let caller = origin.caller;
        caller.check_method(method.name)?;
        let started = Instant::now();
        let span = request_span(method.name, id);
        let answer = if span.is_disabled() {
            self.run(method, params, caller, out).await
        } else {
            if let Some(headers) = origin.headers {
                quintet_service::propagation::extract(&span, headers);
            }
            let answer = Box::pin(self.run(method, params, caller, out).instrument(span.clone())).await;
            record(&span, answer.as_ref().err());
            answer
        };
        method.duration.record(started.elapsed().as_secs_f64());
        if answer.is_err() {
            method.errors.increment(1);
        }
        span.in_scope(|| log(method.name, started.elapsed(), answer.as_ref().err()));
        answer
    }

    async fn run(
        &self,
        method: &Method,
        params: Option<&RawValue>,
        caller: &Caller,
        out: &mut Output,
    ) -> Result<(), RpcError> {
        match method.handler {
            Handler::Read(read) => match self.attempt(params, out, read, None, None) {
                Err(Stop::NeedsPending) => {
                    let pending = Box::pin(self.shared.pending()).await?;
                    self.attempt(params, out, read, Some(&pending), None).map_err(Stop::into_error)
                }
                answer => answer.map_err(Stop::into_error),
            },
            Handler::Evm(call) => {
                self.collapsed(method.name, call, self.shared.evm.timeout(), params, out).await
            }
            Handler::Search(search) => {
                self.collapsed(method.name, search, REQUEST_TIMEOUT, params, out).await
            }
            Handler::Remote(call) => {
                let answer = call(&self.shared, Params::new(params)?, out);
                let limited = tokio::time::timeout(REQUEST_TIMEOUT, answer);
                Box::pin(limited).await.unwrap_or(Err(RpcError::Timeout))
            }
            Handler::Owned(call) => {
                let answer = call(&self.shared, caller, Params::new(params)?, out);
                let limited = tokio::time::timeout(REQUEST_TIMEOUT, answer);
                Box::pin(limited).await.unwrap_or(Err(RpcError::Timeout))
            }
            Handler::Modules => {
                Params::new(params)?.end()?;
                self.methods.write_modules(&mut out.json);
                Ok(())
            }
            Handler::Subscription => Err(RpcError::NotificationsUnsupported),
        }
    }

    /// Runs a read that may take long, once for all who ask for the same at the same time. What is said of the
    /// pending block is different from moment to moment, so that is run for each.
    async fn collapsed(
        &self,
        method: &'static str,
        read: ReadFn,
        timeout: Duration,
        params: Option<&RawValue>,
        out: &mut Output,
    ) -> Result<(), RpcError> {
        if wants_pending(params) {
            return self.long(read, timeout, params, out).await;
        }
        let head = self.shared.reads.view().head().hash;
        match self.shared.flights.begin(method, head, params.map_or("", RawValue::get)) {
            Role::Alone => self.long(read, timeout, params, out).await,
            Role::Lead(lead) => {
                let start = out.json.len();
                let answer = self.long(read, timeout, params, out).await;
                tell(lead, &answer, out, start);
                answer
            }
            Role::Follow(flight) => match Box::pin(flight.wait(REQUEST_TIMEOUT)).await {
                Some(answer) => {
                    out.block = answer.block;
                    out.splice(&answer.result?);
                    Ok(())
                }
                None => self.long(read, timeout, params, out).await,
            },
        }
    }

    /// Runs a read that may take long.
    async fn long(
        &self,
        read: ReadFn,
        timeout: Duration,
        params: Option<&RawValue>,
        out: &mut Output,
    ) -> Result<(), RpcError> {
        let pending = if wants_pending(params) { Some(Box::pin(self.shared.pending()).await?) } else { None };
        let start = out.json.len();
        let run = |cancel: &AtomicBool| {
            // What a first run left that was stopped.
            out.json.truncate(start);
            out.spliced = None;
            self.attempt(params, out, read, pending.as_ref(), Some(cancel))
        };
        self.shared.evm.run_for(timeout, run).await?.map_err(Stop::into_error)
    }

    /// Runs a read on the current view, and again on a newer one while reorgs overtake it.
    fn attempt(
        &self,
        params: Option<&RawValue>,
        out: &mut Output,
        read: ReadFn,
        pending: Option<&Arc<Pending>>,
        cancel: Option<&AtomicBool>,
    ) -> Result<(), Stop> {
        let start = out.json.len();
        let mut view = self.shared.reads.view();
        for _ in 0..ATTEMPTS {
            let mut context =
                Context { shared: &self.shared, view: Arc::clone(&view), pending: pending.cloned(), cancel };
            out.block = view.head().number;
            match read(&mut context, &mut Params::new(params)?, out) {
                Err(Stop::Failed(RpcError::ChainChanged)) => out.json.truncate(start),
                answer => return answer,
            }
            out.spliced = None;
            let newer = self.shared.reads.view();
            if Arc::ptr_eq(&newer, &view) {
                // The store is ahead of the events, by the time that a delta takes to come here.
                std::thread::sleep(Duration::from_millis(1));
            }
            view = newer;
        }
        Err(RpcError::ChainChanged.into())
    }
}

/// How many requests a message counts for.
fn cost(message: &Result<Message<'_>, RpcError>) -> u32 {
    match message {
        Ok(Message::Batch(requests)) => u32::try_from(requests.len()).unwrap_or(u32::MAX).max(1),
        Ok(Message::Single(_)) | Err(_) => 1,
    }
}

/// Tells those who wait for a call what it wrote from `start` on.
fn tell(lead: Lead<'_>, answer: &Result<(), RpcError>, out: &Output, start: usize) {
    lead.end(|| {
        let result = match (answer, &out.spliced) {
            (Err(error), _) => Err(error.clone()),
            (Ok(()), Some((_, json))) => Ok(json.clone()),
            (Ok(()), None) => Ok(Bytes::copy_from_slice(out.json.get(start..).unwrap_or_default())),
        };
        Answer { result, block: out.block }
    });
}

/// The span of one call, by OpenTelemetry's conventions for JSON-RPC.
fn request_span(method: &'static str, id: &str) -> Span {
    tracing::info_span!(
        target: "quintet_gateway",
        "rpc",
        otel.name = method,
        otel.kind = "server",
        otel.status_code = Empty,
        rpc.system = "jsonrpc",
        rpc.method = method,
        rpc.jsonrpc.version = "2.0",
        rpc.jsonrpc.request_id = id.trim_matches('"'),
        rpc.jsonrpc.error_code = Empty,
        rpc.jsonrpc.error_message = Empty,
    )
}

/// One line for each call, for those who ask for such detail.
fn log(method: &str, elapsed: Duration, error: Option<&RpcError>) {
    let error = error.map(tracing::field::display);
    tracing::debug!(target: "quintet_gateway", method, ?elapsed, error, "Served");
}

fn record(span: &Span, error: Option<&RpcError>) {
    if let Some(error) = error {
        span.record("rpc.jsonrpc.error_code", error.code());
        span.record("rpc.jsonrpc.error_message", error.to_string());
        span.record("otel.status_code", "error");
    }
}
