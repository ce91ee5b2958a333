//! The binary `quintet-gateway`.

use quintet_gateway::ProcessArgs;
use quintet_service::Service;
use std::process::ExitCode;

fn main() -> ExitCode {
    quintet_service::main(Service::Gateway, |args: &ProcessArgs| &args.process, quintet_gateway::start)
}
