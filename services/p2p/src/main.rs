//! The binary `quintet-p2p`.

use quintet_service::Service;
use std::process::ExitCode;

fn main() -> ExitCode {
    quintet_service::main(Service::P2p, |config: &quintet_p2p::Config| &config.process, quintet_p2p::run)
}
