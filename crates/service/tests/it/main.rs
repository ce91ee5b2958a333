//! The shared service parts over real sockets and in real processes.

mod admin;
mod fake;
mod grpc;
mod telemetry;
