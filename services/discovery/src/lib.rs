//! The discovery service: finds nodes for `p2p` to dial.
//!
//! - [`Discovery`] (`node.rs`) starts the parts; `server.rs` answers the RPCs.
//! - `socket.rs`, `v4`, `v5`: one UDP socket, and the two protocols on it; [`dns`]: node lists in DNS.
//! - `local.rs` holds the record that all of them announce, `endpoint.rs` what others say of the node's address, and
//!   [`nat`] maps ports.
//! - [`candidates`] carries nodes to those who want them, `forks.rs` tells which are of the chain.
//! - [`database`] keeps nodes over restarts.
//!
//! What must hold: packets of strangers cost bounded memory and time, and nobody who did not prove his address gets an answer
//! that is larger than his question.

pub mod bootnodes;
pub mod candidates;
mod config;
pub mod database;
pub mod dns;
mod endpoint;
mod error;
pub mod forks;
mod local;
pub mod nat;
mod node;
mod server;
mod socket;
mod store;
mod v4;
mod v5;

pub use config::{Config, DiscoveryConfig, NetworkConfig, Settings};
pub use error::{DiscoveryError, RequestError};
pub use local::EntryError;
pub use node::Discovery;

use quintet_service::grpc::GrpcServer;
use quintet_service::{Context, Service};

/// Starts the service on the context's supervisor: binds its ports and serves until shutdown.
///
/// # Errors
/// When the configuration is wrong, or a port cannot be had.
pub async fn run(config: Config, context: Context) -> Result<(), DiscoveryError> {
    let settings = config.settings()?;
    let server = GrpcServer::bind(&config.grpc, context.readiness.clone()).await?;
    let discovery = Discovery::start(settings, &context).await?;
    let server = server.with(discovery.into_server());
    context.supervisor.spawn("gRPC server", server.serve(context.supervisor.token()));
    tracing::info!(service = %Service::Discovery, "started");
    Ok(())
}
