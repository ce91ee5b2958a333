//! The binary `quintet`: the five services in one process, and the operator's commands.

mod accounts;
mod cli;
mod commands;
mod error;
mod process;

use cli::{Cli, Command};
use std::process::ExitCode;

/// Many small allocations in flight on few threads: half the system allocator's time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli: Cli = quintet_service::config::parse_or_exit();
    quintet_types::install_crypto();
    let outcome = match cli.command {
        Command::Dev(args) => commands::dev(args),
        Command::Init(args) => commands::init(&args),
        Command::Node(args) => commands::node(args),
        Command::Verify(args) => commands::verify(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Fatal: {error}");
            ExitCode::FAILURE
        }
    }
}
