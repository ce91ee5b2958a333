//! The binary's configuration.

use quintet_service::ProcessConfig;
use quintet_service::grpc::GrpcConfig;

/// Everything that `quintet-discovery` can be told.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "quintet-discovery", version, about = "Finds nodes for Quintet (quintet.discovery.v1)")]
#[command(mut_arg("grpc.port", |arg| arg.default_value("9601")))]
pub struct Config {
    /// What every process has.
    #[command(flatten)]
    pub process: ProcessConfig,
    /// Where it serves.
    #[command(flatten)]
    pub grpc: GrpcConfig,
}
