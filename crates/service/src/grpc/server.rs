//! Serves a service's RPCs on a port, with health and reflection, until shutdown.

use super::inflight::InFlightLayer;
use super::trace::TraceLayer;
use crate::error::ServiceError;
use crate::net::bind_tcp;
use crate::readiness::Readiness;
use http::Request;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::service::{Routes, RoutesBuilder};
use tonic::transport::Server;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

/// How long the last answers may take to reach clients once their handlers are done with them.
const FLUSH_GRACE: Duration = Duration::from_millis(250);

/// Where a service listens for gRPC.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "gRPC")]
pub struct GrpcConfig {
    /// Address that the gRPC server listens on.
    #[arg(id = "grpc.addr", long = "grpc.addr", value_name = "HOST", default_value = "127.0.0.1")]
    pub addr: String,
    /// Port of the gRPC server; 0 takes any free one.
    #[arg(id = "grpc.port", long = "grpc.port", value_name = "PORT", default_value_t = 0)]
    pub port: u16,
}

/// A gRPC server being put together.
pub struct GrpcServer {
    routes: RoutesBuilder,
    names: Vec<&'static str>,
    listener: TcpListener,
    readiness: Readiness,
}

impl GrpcServer {
    /// Binds the port. `readiness` is what the health service reports.
    ///
    /// # Errors
    /// [`ServiceError::Bind`] when the address cannot be had.
    pub async fn bind(config: &GrpcConfig, readiness: Readiness) -> Result<Self, ServiceError> {
        let listener = bind_tcp(&config.addr, config.port, "--grpc.port").await?;
        Ok(Self { routes: Routes::builder(), names: Vec::new(), listener, readiness })
    }

    /// The address that it is bound to.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Adds a generated server.
    #[must_use]
    pub fn with<S>(mut self, service: S) -> Self
    where
        S: tower::Service<Request<Body>, Error = Infallible> + NamedService + Clone + Send + Sync + 'static,
        S::Response: axum::response::IntoResponse,
        S::Future: Send + 'static,
    {
        self.names.push(S::NAME);
        self.routes.add_service(service);
        self
    }

    /// Serves until `token` is cancelled and the calls then under way are answered. Open streams are such calls:
    /// their handlers must end on the same token. Clients that stay connected are not waited for.
    ///
    /// # Errors
    /// When the server fails.
    pub async fn serve(self, token: CancellationToken) -> Result<(), ServiceError> {
        let Self { mut routes, names, listener, readiness } = self;
        let fail = |source| ServiceError::Server { server: "gRPC", source };
        let (reporter, health) = tonic_health::server::health_reporter();
        routes.add_service(health);
        let reflection = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(quintet_proto::FILE_DESCRIPTOR_SET)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        routes.add_service(reflection().build_v1().map_err(|error| fail(error.into()))?);
        routes.add_service(reflection().build_v1alpha().map_err(|error| fail(error.into()))?);
        if let Ok(address) = listener.local_addr() {
            tracing::info!(%address, services = names.join(","), "gRPC server started");
        }
        let calls = TaskTracker::new();
        let server = Server::builder()
            .tcp_nodelay(true)
            .layer(InFlightLayer { calls: calls.clone() })
            .layer(TraceLayer)
            .add_routes(routes.routes())
            .serve_with_incoming_shutdown(TcpListenerStream::new(listener), token.clone().cancelled_owned());
        let answered = async {
            token.cancelled().await;
            calls.close();
            calls.wait().await;
            tokio::time::sleep(FLUSH_GRACE).await;
            Ok(())
        };
        let server = async {
            tokio::select! {
                served = server => served,
                answered = answered => answered,
            }
        };
        let report = report_health(reporter, names, readiness, token.clone());
        let (served, ()) = tokio::join!(server, report);
        served.map_err(|error| fail(error.into()))
    }
}

/// Keeps the health service in step with readiness; at shutdown it tells clients to go elsewhere.
async fn report_health(
    reporter: HealthReporter,
    names: Vec<&'static str>,
    readiness: Readiness,
    token: CancellationToken,
) {
    let mut ready = readiness.is_ready();
    loop {
        let status = if ready { ServingStatus::Serving } else { ServingStatus::NotServing };
        set_health(&reporter, &names, status).await;
        tokio::select! {
            now = readiness.changed_from(ready) => ready = now,
            () = token.cancelled() => break,
        }
    }
    set_health(&reporter, &names, ServingStatus::NotServing).await;
}

async fn set_health(reporter: &HealthReporter, names: &[&'static str], status: ServingStatus) {
    // The empty name is the server as a whole.
    for name in names.iter().copied().chain([""]) {
        reporter.set_service_status(name, status).await;
    }
}
