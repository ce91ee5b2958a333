//! The p2p service: holds the sessions with peers.
//!
//! It serves its contract, health and reflection. RLPx sessions are not there yet: it truly has no peers, and every RPC
//! that needs a session answers `UNIMPLEMENTED` and says so.

mod config;
mod error;
mod server;

pub use config::Config;
pub use error::P2pError;
pub use server::P2p;

use quintet_service::grpc::GrpcServer;
use quintet_service::{Context, Service};

/// Starts the service on the context's supervisor: binds its port and serves until shutdown.
///
/// # Errors
/// When the port cannot be had.
pub async fn run(config: Config, context: Context) -> Result<(), P2pError> {
    let server = GrpcServer::bind(&config.grpc, context.readiness.clone()).await?;
    let server = server.with(P2p::new().into_server());
    context.supervisor.spawn("gRPC server", server.serve(context.supervisor.token()));
    tracing::info!(service = %Service::P2p, "started");
    Ok(())
}
