//! The binary `quintet`: the five services in one process, and the operator's commands.

mod chainfile;
mod cli;
mod commands;
mod data;
mod error;
mod interrupt;
mod process;
mod progress;
mod verify;

use cli::{Cli, Command};
use error::NodeError;
use std::process::ExitCode;

/// Many small allocations in flight on few threads: half the system allocator's time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli: Cli = quintet_service::config::parse_or_exit();
    quintet_types::install_crypto();
    let outcome = match cli.command {
        Command::Dev(args) => commands::dev(*args),
        Command::Init(args) => commands::init(&args),
        Command::Node(args) => commands::node(*args),
        Command::Import(args) => commands::import(&args),
        Command::Export(args) => commands::export(&args),
        Command::Db(args) => commands::db(&args),
        Command::Verify(args) => commands::verify(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Fatal: {error}");
            match error {
                NodeError::Interrupted => interrupt::EXIT_CODE.into(),
                _ => ExitCode::FAILURE,
            }
        }
    }
}
