//! The binary's configuration.

use quintet_service::ProcessConfig;
use quintet_service::grpc::GrpcConfig;

/// Everything that `quintet-p2p` can be told.
#[derive(Clone, Debug, clap::Parser)]
#[command(
    name = "quintet-p2p",
    version,
    about = "Holds the sessions with peers for Quintet (quintet.p2p.v1)"
)]
#[command(mut_arg("grpc.port", |arg| arg.default_value("9602")))]
pub struct Config {
    /// What every process has.
    #[command(flatten)]
    pub process: ProcessConfig,
    /// Where it serves.
    #[command(flatten)]
    pub grpc: GrpcConfig,
}
