//! The miner service as a process of its own.

use quintet_miner::{Config, start};
use quintet_service::Service;
use std::process::ExitCode;

fn main() -> ExitCode {
    quintet_service::main(Service::Miner, |config: &Config| &config.process, start)
}
