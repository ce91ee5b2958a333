//! WebSocket connections: requests like those over HTTP, and subscriptions.
//!
//! One task reads requests and hears notices, one writes. Every queue is bounded: a client that does not read its
//! answers stops being read from, one that does not read its notifications is cut off. Every end that is not the
//! client's own is told with a code and a reason, after what was queued and what was being worked on.

use super::alive::Alive;
use super::body::Parts;
use super::http::refusal;
use super::peer_events::PeerEvents;
use super::subscription::{self, Subscriptions};
use super::{Served, WsService};
use crate::auth::Caller;
use crate::dispatch::Dispatcher;
use crate::notice::Notice;
use bytes::Bytes;
use futures::stream::SplitStream;
use futures::{Sink, SinkExt, StreamExt};
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Semaphore, broadcast, mpsc};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};
use tokio_util::sync::CancellationToken;

/// Bytes of one message, as in geth.
const MOST_MESSAGE: usize = 32 * 1024 * 1024;
/// Messages that wait to be written to a client.
const OUTGOING: usize = 4096;
/// Requests of one connection that are worked on at once.
const MOST_REQUESTS: usize = 32;
/// How often a silent client is asked for a sign of life.
const PING_INTERVAL: Duration = Duration::from_secs(30);
/// A message must be written in this time.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long requests under way and queued messages may take once the connection is to end.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(4);
/// How long the client may take to answer the closing handshake.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// How often subscriptions to the sync status look at it.
const SYNC_INTERVAL: Duration = Duration::from_secs(2);

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// The process stops.
const SHUTDOWN: (CloseCode, &str) = (CloseCode::Away, "shutting down");
/// The client does not read what it subscribed to.
const SLOW: (CloseCode, &str) = (CloseCode::Policy, "too slow for its subscriptions");
/// The key with which the client came was taken back, or has expired.
const REVOKED: (CloseCode, &str) = (CloseCode::Policy, "the API key is no longer valid");

/// How a connection comes to its end.
#[derive(Clone)]
struct Ending {
    token: CancellationToken,
    /// What the client is told; nothing if it is gone.
    reason: Arc<OnceLock<Option<(CloseCode, &'static str)>>>,
}

impl Ending {
    /// Ends with the process, if not before.
    fn new(process: &CancellationToken) -> Self {
        Self { token: process.child_token(), reason: Arc::default() }
    }

    fn end(&self, reason: Option<(CloseCode, &'static str)>) {
        // The first one counts.
        let _ = self.reason.set(reason);
        self.token.cancel();
    }

    /// What to tell the client at the end.
    fn reason(&self) -> Option<(CloseCode, &'static str)> {
        // Whoever else ends a connection has said why.
        let is_shutdown = self.token.is_cancelled();
        let reason = *self.reason.get_or_init(|| is_shutdown.then_some(SHUTDOWN));
        self.token.cancel();
        reason
    }

    /// Ends when it is time to: at once if the client does not take what there is for it, else after a while.
    async fn is_due(&self) {
        self.token.cancelled().await;
        if self.reason() != Some(SLOW) {
            tokio::time::sleep(DRAIN_TIMEOUT).await;
        }
    }
}

/// Whether a request wants to become a WebSocket.
pub(super) fn is_upgrade(headers: &HeaderMap) -> bool {
    let has = |name, token: &str| {
        headers.get_all(name).iter().any(|value| {
            let value = value.to_str().unwrap_or_default();
            value.split(',').any(|part| part.trim().eq_ignore_ascii_case(token))
        })
    };
    has(UPGRADE, "websocket") && has(CONNECTION, "upgrade")
}

/// Answers the handshake, and serves the connection once it is done.
pub(super) fn upgrade(
    served: &Served,
    ws: &WsService,
    caller: Caller,
    mut request: Request<Incoming>,
) -> Response<Parts> {
    let headers = request.headers();
    let Some(key) = headers
        .get(SEC_WEBSOCKET_KEY)
        .filter(|_| headers.get(SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "13"))
    else {
        return refusal(StatusCode::BAD_REQUEST, "websocket: not a handshake of version 13");
    };
    if !ws.origins.allow(headers) {
        return refusal(
            StatusCode::FORBIDDEN,
            "websocket: request origin not allowed by Upgrader.CheckOrigin",
        );
    }
    let accept = derive_accept_key(key.as_bytes());
    let Ok(accept) = HeaderValue::from_str(&accept) else {
        return refusal(StatusCode::BAD_REQUEST, "websocket: bad key");
    };
    let upgraded = hyper::upgrade::on(&mut request);
    let (dispatcher, token) = (ws.dispatcher.clone(), served.token.clone());
    served.sockets.spawn(async move {
        match upgraded.await {
            Ok(upgraded) => serve(upgraded, dispatcher, caller, &token).await,
            Err(error) => tracing::debug!(target: "quintet_gateway", %error, "websocket handshake failed"),
        }
    });
    let mut response = Response::new(Parts::one(Bytes::new()));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    response
}

async fn serve(upgraded: Upgraded, dispatcher: Dispatcher, caller: Caller, process: &CancellationToken) {
    let config =
        WebSocketConfig::default().max_message_size(Some(MOST_MESSAGE)).max_frame_size(Some(MOST_MESSAGE));
    let socket = Socket::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await;
    let (sink, stream) = socket.split();
    let (outgoing, queue) = mpsc::channel(OUTGOING);
    let ending = Ending::new(process);
    let _alive = Alive::connection("websocket");
    let writer = write(sink, queue, ending.clone());
    let session = Session {
        notices: dispatcher.shared.notices.subscribe(),
        subscriptions: Subscriptions::default(),
        peer_events: PeerEvents::default(),
        requests: Arc::new(Semaphore::new(MOST_REQUESTS)),
        dispatcher,
        caller,
        outgoing,
        ending,
    };
    let ((), mut stream) = tokio::join!(writer, session.run(stream));
    // A connection that is dropped with something unread in it takes what was just written with it.
    let rest = async { while let Some(Ok(_)) = stream.next().await {} };
    let _ = tokio::time::timeout(CLOSE_TIMEOUT, rest).await;
}

/// Writes what is queued, and pings, until the session ends or the client does not take it.
async fn write(
    mut sink: impl Sink<Message, Error = Error> + Unpin,
    mut queue: mpsc::Receiver<Message>,
    ending: Ending,
) {
    let mut ping = tokio::time::interval(PING_INTERVAL);
    ping.reset();
    let due = ending.is_due();
    tokio::pin!(due);
    loop {
        let message = tokio::select! {
            biased;
            message = queue.recv() => match message {
                Some(message) => message,
                None => break,
            },
            () = &mut due => break,
            _ = ping.tick() => Message::Ping(Bytes::new()),
        };
        // What is queued goes out in one write.
        let written = async {
            sink.feed(message).await?;
            while let Ok(more) = queue.try_recv() {
                sink.feed(more).await?;
            }
            sink.flush().await
        };
        if !matches!(tokio::time::timeout(WRITE_TIMEOUT, written).await, Ok(Ok(()))) {
            ending.end(None);
            return;
        }
    }
    let reason = ending.reason();
    let closed = async {
        if let Some((code, reason)) = reason {
            sink.send(Message::Close(Some(CloseFrame { code, reason: reason.into() }))).await?;
        }
        sink.close().await
    };
    let _ = tokio::time::timeout(CLOSE_TIMEOUT, closed).await;
}

/// One connection.
struct Session {
    dispatcher: Dispatcher,
    outgoing: mpsc::Sender<Message>,
    subscriptions: Subscriptions,
    peer_events: PeerEvents,
    notices: broadcast::Receiver<Notice>,
    requests: Arc<Semaphore>,
    caller: Caller,
    ending: Ending,
}

impl Session {
    /// Works until the end; gives back what the client writes on.
    async fn run(mut self, mut stream: SplitStream<Socket>) -> SplitStream<Socket> {
        let mut sync = tokio::time::interval(SYNC_INTERVAL);
        let token = self.ending.token.clone();
        loop {
            tokio::select! {
                () = token.cancelled() => break,
                message = stream.next() => match message {
                    Some(Ok(Message::Text(text))) => self.request_until(&token, Bytes::from(text)).await,
                    Some(Ok(Message::Binary(bytes))) => self.request_until(&token, bytes).await,
                    Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                    Some(Ok(Message::Close(_))) | None => {
                        self.ending.end(None);
                    }
                    Some(Err(error)) => {
                        tracing::debug!(target: "quintet_gateway", %error, "websocket ended");
                        self.ending.end(None);
                    }
                },
                notice = self.notices.recv(), if !self.subscriptions.is_empty() => match notice {
                    Ok(notice) => self.notify(&notice),
                    Err(RecvError::Lagged(missed)) => {
                        tracing::debug!(target: "quintet_gateway", missed, "websocket client is too slow");
                        metrics::counter!("quintet_gateway_slow_clients_total").increment(1);
                        self.ending.end(Some(SLOW));
                    }
                    Err(RecvError::Closed) => break,
                },
                _ = sync.tick(), if self.subscriptions.has_syncing() => self.notify_sync().await,
                event = self.peer_events.next(&self.dispatcher.shared.p2p), if self.subscriptions.has_peer_events() => {
                    for json in self.subscriptions.peer_notifications(&event) {
                        self.push(json);
                    }
                }
            }
        }
        stream
    }

    /// As [`Self::request`], but no longer than the connection: it may wait for a slow client.
    async fn request_until(&mut self, token: &CancellationToken, body: Bytes) {
        token.run_until_cancelled(self.request(body)).await;
        if self.caller.check().is_err() {
            self.ending.end(Some(REVOKED));
        }
    }

    /// Starts work on a message. Subscribing is done at once, so that its answer comes before its notifications.
    async fn request(&mut self, body: Bytes) {
        if subscription::is_subscription(&body) {
            if self.subscriptions.is_empty() {
                // What was said while nobody listened is not missed.
                self.notices = self.notices.resubscribe();
            }
            let answer = self.subscriptions.answer(&self.dispatcher, &self.caller, &body).await;
            if !self.subscriptions.has_peer_events() {
                // What nobody wants to hear any more is not kept for whoever subscribes next.
                self.peer_events = PeerEvents::default();
            }
            return self.send(answer).await;
        }
        let Ok(permit) = Arc::clone(&self.requests).acquire_owned().await else { return };
        let (dispatcher, outgoing) = (self.dispatcher.clone(), self.outgoing.clone());
        let caller = self.caller.clone();
        tokio::spawn(async move {
            let mut out = dispatcher.answer(&body, None, &caller).await;
            if let Some((at, middle)) = out.spliced.take() {
                let after = out.json.split_off(at.min(out.json.len()));
                out.json.extend_from_slice(&middle);
                out.json.extend_from_slice(&after);
            }
            if let Some(message) = text(out.json) {
                // Fails only when the connection is gone.
                let _ = outgoing.send(message).await;
            }
            drop(permit);
        });
    }

    async fn send(&self, json: Vec<u8>) {
        if let Some(message) = text(json) {
            let _ = self.outgoing.send(message).await;
        }
    }

    fn notify(&self, notice: &Notice) {
        if self.caller.check().is_err() {
            return self.ending.end(Some(REVOKED));
        }
        let messages = self.subscriptions.notifications(notice);
        metrics::counter!("quintet_gateway_notifications_total").increment(messages.len() as u64);
        for json in messages {
            self.push(json);
        }
    }

    async fn notify_sync(&mut self) {
        let status = self.dispatcher.shared.chain.sync_status().await;
        if let Ok(progress) = status {
            for json in self.subscriptions.sync_notifications(progress) {
                self.push(json);
            }
        }
    }

    /// Queues a notification; a client for which there is no room is too slow.
    fn push(&self, json: Vec<u8>) {
        if let Some(message) = text(json)
            && self.outgoing.try_send(message).is_err()
        {
            tracing::debug!(target: "quintet_gateway", "websocket client is too slow for its subscriptions");
            metrics::counter!("quintet_gateway_slow_clients_total").increment(1);
            self.ending.end(Some(SLOW));
        }
    }
}

/// A text message; none for an empty answer.
fn text(json: Vec<u8>) -> Option<Message> {
    if json.is_empty() {
        return None;
    }
    Utf8Bytes::try_from(Bytes::from(json)).ok().map(Message::Text)
}
