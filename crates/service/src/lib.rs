//! What every service binary and the one-process node share: configuration, telemetry, metrics and readiness on
//! an admin port, gRPC with health and reflection, supervised tasks and orderly shutdown.
//!
//! A service is a library with a `Config` built of the `*Config` parts here and a `run` that starts its tasks on a
//! [`Supervisor`]; its binary hands both to [`main`].

pub mod admin;
pub mod config;
mod error;
pub mod grpc;
mod health;
pub mod info;
pub mod metrics;
mod names;
mod net;
pub mod propagation;
mod readiness;
mod run;
mod tasks;
pub mod telemetry;

pub use error::{BoxError, ServiceError};
pub use names::Service;
pub use net::bind_tcp;
pub use readiness::{Check, Readiness};
pub use run::{Context, ProcessConfig, main, run};
pub use tasks::Supervisor;
