//! The public port: accepts connections, and speaks HTTP/1.1 and WebSocket on them.
//!
//! Requests go from hyper to the dispatcher without layers in between: on the hot path there is no boxed future,
//! no span while nobody traces, and one buffer for the answer.

mod access;
mod alive;
mod body;
mod http;
mod peer_events;
mod subscription;
mod websocket;

use crate::auth::Gate;
use crate::dispatch::Dispatcher;
use access::{Cors, Origins, VirtualHosts};
use alive::Alive;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// An idle connection is closed after this long, as geth does; a request's head has to come in that time too.
const IDLE_TIMEOUT: Duration = Duration::from_mins(2);
/// Connections at once on one listener; more wait to be accepted.
const MOST_CONNECTIONS: usize = 16_384;
/// How long to wait when the process is out of file descriptors.
const ACCEPT_DELAY: Duration = Duration::from_millis(50);

/// JSON-RPC over HTTP POST.
pub(crate) struct HttpService {
    pub(crate) dispatcher: Dispatcher,
    pub(crate) prefix: String,
    cors: Cors,
    vhosts: VirtualHosts,
}

/// JSON-RPC over WebSocket.
pub(crate) struct WsService {
    pub(crate) dispatcher: Dispatcher,
    pub(crate) prefix: String,
    origins: Origins,
}

impl HttpService {
    pub(crate) fn new(dispatcher: Dispatcher, offer: &crate::config::HttpOffer) -> Self {
        Self {
            dispatcher,
            prefix: offer.offer.prefix.clone(),
            cors: Cors::new(&offer.cors),
            vhosts: VirtualHosts::new(&offer.vhosts),
        }
    }
}

impl WsService {
    pub(crate) fn new(dispatcher: Dispatcher, offer: &crate::config::WsOffer) -> Self {
        Self { dispatcher, prefix: offer.offer.prefix.clone(), origins: Origins::new(&offer.origins) }
    }
}

/// What one listener serves.
pub(crate) struct Served {
    pub(crate) http: Option<HttpService>,
    pub(crate) ws: Option<WsService>,
    /// Who is let in.
    pub(crate) gate: Gate,
    /// Ends connections.
    pub(crate) token: CancellationToken,
    /// Whether the token was cancelled: looked at for every answer, which the token's lock is too slow for.
    pub(crate) ending: AtomicBool,
    /// Counts connections that have become WebSockets.
    pub(crate) sockets: TaskTracker,
}

/// Serves a listener until the token is cancelled, then lets what is under way finish.
pub(crate) async fn serve(listener: TcpListener, served: Arc<Served>) {
    let permits = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let connections = TaskTracker::new();
    let accept = async {
        loop {
            let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, peer)) => {
                    let served = Arc::clone(&served);
                    connections.spawn(async move {
                        connection(stream, peer, served).await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::debug!(target: "quintet_gateway", %error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_DELAY).await;
                }
            }
        }
    };
    served.token.run_until_cancelled(accept).await;
    served.ending.store(true, Ordering::Relaxed);
    drop(listener);
    connections.close();
    connections.wait().await;
    served.sockets.close();
    served.sockets.wait().await;
}

async fn connection(stream: TcpStream, peer: SocketAddr, served: Arc<Served>) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(target: "quintet_gateway", %error, %peer, "connection lost");
        return;
    }
    let _alive = Alive::connection("http");
    let token = served.token.clone();
    let service = service_fn(|request| {
        let served = Arc::clone(&served);
        async move { Ok::<_, std::convert::Infallible>(http::respond_to(&served, peer.ip(), request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = token.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(target: "quintet_gateway", %error, %peer, "connection ended");
    }
}
