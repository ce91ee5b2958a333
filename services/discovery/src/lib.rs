//! The discovery service: finds nodes for `p2p` to dial.
//!
//! It serves its contract, health and reflection. The node table and the protocols that fill it (discv4, discv5) are
//! not there yet: every RPC that needs them answers `UNIMPLEMENTED` and says so.

mod config;
mod error;
mod server;

pub use config::Config;
pub use error::DiscoveryError;
pub use server::Discovery;

use quintet_service::grpc::GrpcServer;
use quintet_service::{Context, Service};

/// Starts the service on the context's supervisor: binds its port and serves until shutdown.
///
/// # Errors
/// When the port cannot be had.
pub async fn run(config: Config, context: Context) -> Result<(), DiscoveryError> {
    let server = GrpcServer::bind(&config.grpc, context.readiness.clone()).await?;
    let server = server.with(Discovery::new().into_server());
    context.supervisor.spawn("gRPC server", server.serve(context.supervisor.token()));
    tracing::info!(service = %Service::Discovery, "started");
    Ok(())
}
