//! `quintet-conformance`: runs the conformance vectors and prints what came of them.

use clap::Parser;
use quintet_conformance::{Options, Sample, Shown, run};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Instant;
use std::{env, io};

/// The variable that names the folder of the archives.
const VECTORS: &str = "QUINTET_VECTORS";

/// Run the conformance vectors
#[derive(Parser, Debug)]
#[command(version)]
struct Args {
    /// Only suites whose name contains this, as "01", "state" or "06 RLP"; several, separated by commas
    #[arg(long, value_delimiter = ',')]
    suite: Vec<String>,
    /// Only cases whose file or name contains this
    #[arg(long)]
    filter: Option<String>,
    /// Only N of M tests, the same in every run
    #[arg(long, value_name = "N/M")]
    sample: Option<Sample>,
    /// Threads [default: one per processor]
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    jobs: usize,
    /// Folder of the archives [env: QUINTET_VECTORS]
    #[arg(long, value_name = "DIR")]
    vectors: Option<PathBuf>,
    /// Show every failure, and by which rule what was refused
    #[arg(long, short)]
    verbose: bool,
    /// Failures to show without --verbose
    #[arg(long, default_value_t = 20)]
    failures: usize,
}

fn main() -> io::Result<ExitCode> {
    let args = Args::parse();
    if let Some(vectors) = &args.vectors
        && env::var_os(VECTORS).as_deref() != Some(vectors.as_os_str())
    {
        // The test kit finds the archives by the variable, which only a new process can be given.
        let status =
            Command::new(env::current_exe()?).args(env::args_os().skip(1)).env(VECTORS, vectors).status()?;
        return Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)));
    }
    let options = Options { suites: args.suite, filter: args.filter, sample: args.sample, jobs: args.jobs };
    let start = Instant::now();
    let report = run(&options)?;
    let failures = if args.verbose { usize::MAX } else { args.failures };
    let mut out = io::stdout().lock();
    write!(out, "{}", Shown { report: &report, failures, refusals: args.verbose })?;
    let total = report.total();
    let (passed, failed, skipped) = (total.passed, total.failed, total.skipped);
    writeln!(out, "\n{passed} passed, {failed} failed, {skipped} skipped in {:.0?}", start.elapsed())?;
    Ok(if report.is_success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
