//! The binary `quintet-chain`.

use quintet_chain::ProcessArgs;
use quintet_service::Service;
use std::process::ExitCode;

fn main() -> ExitCode {
    quintet_service::main(Service::Chain, |args: &ProcessArgs| &args.process, quintet_chain::run)
}
