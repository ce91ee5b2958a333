//! The p2p service: holds the sessions with peers.
//!
//! - [`P2p::start`] puts it together; `server.rs` answers its RPCs.
//! - `listener.rs` and `dial` bring connections, `connection.rs` and `session.rs` make peers of them, and `hub.rs` knows
//!   who is connected, who may be, and what is to be dialled.
//! - `linger.rs` has the sockets of sessions that are over, so that the other side hears why.
//! - `link` speaks with `chain`, which gives the node its identity and gets every `eth` and `snap` message.
//!
//! What must hold: a peer may cost itself its connection and its reputation, and the node bounded memory and time. Who to
//! dial, who is banned, and what waits for `chain` are decided by synchronous structs that know no clock.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

mod config;
mod connection;
mod dial;
mod error;
mod events;
mod expiring;
mod forks;
mod head;
mod hub;
mod limits;
mod linger;
mod link;
mod listener;
mod metrics;
mod nodes;
mod outbox;
mod peer;
mod reputation;
mod server;
mod session;
mod session_io;
mod status;

pub use config::{Config, PeersConfig, Settings};
pub use error::P2pError;
pub use limits::Limits;
pub use server::P2p;

use dial::Dialer;
use hub::Hub;
use link::Link;
use quintet_discovery_api::DiscoveryClient;
use quintet_rlpx::DisconnectReason;
use quintet_service::config::ConfigError;
use quintet_service::grpc::{GrpcServer, Transport};
use quintet_service::{Context, Service, bind_tcp};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long a call to another service may take to be answered.
const CALL: Duration = Duration::from_secs(10);
/// How long farewells may take at shutdown.
const FAREWELLS: Duration = Duration::from_secs(2);

impl P2p {
    /// Starts the service on the context's supervisor: binds the port for peers, links to `chain`, and takes and dials peers
    /// from the moment at which `chain` has said who the node is. `chain` must reach the link's service, and should reach
    /// the chain service, which tells the network's forks.
    ///
    /// # Errors
    /// When the port cannot be had.
    pub async fn start(
        settings: Settings,
        chain: Transport,
        discovery: Option<Transport>,
        context: &Context,
    ) -> Result<Self, P2pError> {
        let listener = bind_tcp(&settings.addr, settings.port, "--port").await?;
        let address = listener
            .local_addr()
            .map_err(|error| ConfigError::wrong_value("port", &settings.port.to_string(), &error))?;
        let limits = settings.limits;
        let link = Arc::new(Link::new(chain, limits.peer_queue, limits.link_queue));
        let hub = Arc::new(Hub::new(settings, Arc::clone(&link)));
        hub.set_port(address.port());
        let discovery = discovery.map(DiscoveryClient::new);
        let supervisor = &context.supervisor;
        let (token, sessions) = (supervisor.token(), TaskTracker::new());
        let check = context.readiness.register("chain");
        supervisor.spawn("p2p link", {
            let (hub, token) = (Arc::clone(&hub), token.clone());
            async move {
                link.run(hub, check, token).await;
                Ok::<(), Infallible>(())
            }
        });
        let listening = listener::run(Arc::clone(&hub), listener, sessions.clone(), token.clone());
        supervisor.spawn("p2p listener", listening);
        let dialer = Dialer {
            hub: Arc::clone(&hub),
            discovery: discovery.clone(),
            sessions: sessions.clone(),
            token: token.clone(),
        };
        supervisor.spawn("p2p dialer", dialer.run());
        supervisor.spawn("p2p sessions", end_sessions(Arc::clone(&hub), sessions, token.clone()));
        tracing::info!(%address, name = hub.settings.name, maxpeers = hub.settings.max_peers, "p2p started");
        Ok(Self { hub, discovery, address, token })
    }
}

/// Says farewell to all peers at shutdown.
async fn end_sessions(
    hub: Arc<Hub>,
    sessions: TaskTracker,
    token: CancellationToken,
) -> Result<(), Infallible> {
    token.cancelled().await;
    hub.disconnect_all(DisconnectReason::Quitting);
    sessions.close();
    // Whoever does not take it in time is cut off.
    let farewells = async {
        sessions.wait().await;
        hub.lingering.ended().await;
    };
    let _ = tokio::time::timeout(FAREWELLS, farewells).await;
    Ok(())
}

/// Starts the service as a process of its own: its RPCs on a port, and the other services over the network.
///
/// # Errors
/// When the configuration is wrong or a port cannot be had.
pub async fn run(config: Config, context: Context) -> Result<(), P2pError> {
    let settings = Settings::load(&config.node, &config.peers, config.datadir.as_deref())?;
    let remote = |flag: &str, url: &str| {
        Transport::remote(Service::P2p, url, CALL)
            .map_err(|error| ConfigError::wrong_value(flag, url, &error))
    };
    let chain = remote("chain.url", &config.chain_url)?;
    let discovery = config.discovery_url.as_deref().filter(|url| !url.is_empty());
    let discovery = discovery.map(|url| remote("discovery.url", url)).transpose()?;
    let server = GrpcServer::bind(&config.grpc, context.readiness.clone()).await?;
    let p2p = P2p::start(settings, chain, discovery, &context).await?;
    let server = server.with(p2p.into_server());
    context.supervisor.spawn("gRPC server", server.serve(context.supervisor.token()));
    Ok(())
}
