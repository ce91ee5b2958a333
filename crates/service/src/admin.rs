//! The admin port, for operators and orchestrators: `/livez`, `/readyz` and `/metrics`.

use crate::error::ServiceError;
use crate::metrics::Metrics;
use crate::net::bind_tcp;
use crate::readiness::Readiness;
use crate::tasks::Supervisor;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpListener;

/// How often histograms take in their samples.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Where the admin server listens.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Admin port")]
pub struct AdminConfig {
    /// Address of the admin server.
    #[arg(id = "admin.addr", long = "admin.addr", value_name = "HOST", default_value = "127.0.0.1")]
    pub addr: String,
    /// Port of /livez, /readyz and /metrics; without it there is no admin server.
    #[arg(id = "admin.port", long = "admin.port", value_name = "PORT")]
    pub port: Option<u16>,
}

/// Starts the admin server, if a port is configured, and gives its address.
///
/// # Errors
/// When the port cannot be had or metrics cannot be recorded.
pub async fn start(
    config: &AdminConfig,
    readiness: &Readiness,
    supervisor: &Supervisor,
) -> Result<Option<SocketAddr>, ServiceError> {
    let Some(port) = config.port else { return Ok(None) };
    let listener = bind_tcp(&config.addr, port, "--admin.port").await?;
    let failed = |error: std::io::Error| ServiceError::Server { server: "admin", source: error.into() };
    let address = listener.local_addr().map_err(failed)?;
    let metrics = Metrics::install()?;
    tracing::info!(%address, "admin server started");
    let token = supervisor.token();
    let upkeep = metrics.clone();
    supervisor.spawn("metrics upkeep", async move {
        let mut ticks = tokio::time::interval(UPKEEP_INTERVAL);
        while token.run_until_cancelled(ticks.tick()).await.is_some() {
            upkeep.upkeep();
        }
        Ok::<(), ServiceError>(())
    });
    supervisor.spawn("admin server", serve(listener, metrics, readiness.clone(), supervisor.clone()));
    Ok(Some(address))
}

async fn serve(
    listener: TcpListener,
    metrics: Metrics,
    readiness: Readiness,
    supervisor: Supervisor,
) -> Result<(), ServiceError> {
    let router = axum::Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz).with_state(readiness.clone()))
        .route("/metrics", get(render).with_state((metrics, readiness)));
    axum::serve(listener, router)
        .with_graceful_shutdown(supervisor.token().cancelled_owned())
        .await
        .map_err(|error| ServiceError::Server { server: "admin", source: error.into() })
}

async fn readyz(State(readiness): State<Readiness>) -> (StatusCode, String) {
    let ready = readiness.is_ready();
    let (status, verdict) =
        if ready { (StatusCode::OK, "ready\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "not ready\n") };
    (status, readiness.report() + verdict)
}

async fn render(State((metrics, readiness)): State<(Metrics, Readiness)>) -> impl IntoResponse {
    let text = metrics.render() + &readiness.render();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
}
