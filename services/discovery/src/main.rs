//! The binary `quintet-discovery`.

use quintet_service::Service;
use std::process::ExitCode;

fn main() -> ExitCode {
    quintet_service::main(
        Service::Discovery,
        |config: &quintet_discovery::Config| &config.process,
        quintet_discovery::run,
    )
}
