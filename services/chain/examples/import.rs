//! Measures an import: where the time of each stage goes.
//!
//! ```text
//! cargo run --release -p quintet-chain --example import -- genesis.json chain.rlp [--fakepow] [--store WHERE]
//! ```
//!
//! `WHERE` is a directory or a PostgreSQL URL; without it the store is a temporary one.

use alloy_rlp::Decodable as _;
use clap::Parser;
use quintet_chain::{BulkOptions, Chain, Config, Progress, genesis};
use quintet_chainspec::ChainSpec;
use quintet_events::LocalBus;
use quintet_store::{Durability, Store};
use quintet_testkit::postgres::{Fsync, Postgres};
use quintet_types::Block;
use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use std::{fs, iter};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
struct Arguments {
    /// The network's `genesis.json`
    genesis: PathBuf,
    /// Blocks, as `geth export` writes them
    chain: PathBuf,
    /// Take seals of proof of work for valid
    #[arg(long)]
    fakepow: bool,
    /// Directory or PostgreSQL URL; a temporary store if not given
    #[arg(long)]
    store: Option<String>,
    /// A PostgreSQL of its own, gone afterwards
    #[arg(long, conflicts_with = "store")]
    postgres: bool,
    /// Stop after this many blocks
    #[arg(long)]
    blocks: Option<usize>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    quintet_types::install_crypto();
    let server = arguments.postgres.then(|| Postgres::start_with(Fsync::On, &[]));
    let database = server.as_ref().map(Postgres::create_database);
    let store = open(arguments.store.as_deref().or(database.as_deref()))?;
    let spec = ChainSpec::from_json(&fs::read_to_string(&arguments.genesis)?)?;
    genesis::init(store.as_ref(), &spec)?;
    let config = Config { check_work: !arguments.fakepow, ..Config::of(&spec) };
    let chain = Chain::open(Arc::new(spec), Arc::clone(&store), Arc::new(LocalBus::new()), config)?;
    let file = fs::read(&arguments.chain)?;
    let mut rest = file.as_slice();
    let blocks = iter::from_fn(|| (!rest.is_empty()).then(|| Block::decode(&mut rest)))
        .take(arguments.blocks.unwrap_or(usize::MAX));
    let done = chain.import_chain(blocks, &BulkOptions::default(), &|_| {})?;
    store.sync()?;
    report(&done);
    Ok(())
}

fn open(place: Option<&str>) -> Result<Arc<dyn Store>, Box<dyn Error>> {
    let Some(place) = place else { return Ok(quintet_store::open_temporary()?) };
    let options =
        quintet_store::Options { durability: Durability::None, ..quintet_store::Options::default() };
    Ok(quintet_store::open_at(place, &options)?)
}

fn report(done: &Progress) {
    let (seconds, mgas) = (done.elapsed.as_secs_f64(), done.gas as f64 / 1e6);
    println!(
        "{} blocks, {} transactions, {mgas:.0} Mgas in {seconds:.2} s: {:.0} transactions/s, {:.0} Mgas/s",
        done.blocks,
        done.transactions,
        done.transactions as f64 / seconds,
        mgas / seconds,
    );
    let stages = done.stages;
    let named: [(&str, Duration); 8] = [
        ("decode", stages.decode),
        ("recover", stages.recover),
        ("seal", stages.seal),
        ("body", stages.body),
        ("execute", stages.execute),
        ("receipts", stages.receipts),
        ("state root", stages.state_root),
        ("commit", stages.commit),
    ];
    for (name, time) in named {
        let micros = time.as_secs_f64() * 1e6 / done.transactions.max(1) as f64;
        println!("{name:>10} {:>7.3} ms/Mgas {micros:>6.1} µs/transaction", time.as_secs_f64() * 1e3 / mgas);
    }
    if let Some(peak) = peak_memory() {
        println!("peak memory {peak}");
    }
}

/// Most memory that the process had, as the system counts it.
fn peak_memory() -> Option<String> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
