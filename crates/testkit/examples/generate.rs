//! Writes a generated chain to files: `genesis.json`, `chain.rlp` (as `geth export` writes it), and `chain.json`
//! with what is in it (`keys_changed`: accounts and slots that differ after a block, over all blocks).
//!
//! ```text
//! cargo run --release -p quintet-testkit --example generate -- --txs 100000 --out DIR
//! ```

use alloy_rlp::Encodable as _;
use anyhow::{Context as _, Result};
use clap::{Parser, ValueEnum};
use quintet_testkit::generate::{Generator, Network, Options};
use serde_json::json;
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::PathBuf;
use std::time::Instant;

/// Writes a generated chain to files. The same arguments give the same files.
#[derive(Parser)]
struct Arguments {
    /// Least number of transactions: the last block is filled up
    #[arg(long, default_value_t = 100_000)]
    txs: usize,
    /// Directory of the files
    #[arg(long)]
    out: PathBuf,
    /// What everything random follows from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Who makes the blocks
    #[arg(long, value_enum, default_value_t = Engine::Ethash)]
    network: Engine,
    /// Accounts that have wei from the start
    #[arg(long, default_value_t = 20_000)]
    accounts: usize,
    /// How many of them send, and hold tokens
    #[arg(long, default_value_t = 20_000)]
    senders: usize,
}

#[derive(Clone, Copy, ValueEnum)]
enum Engine {
    Ethash,
    Clique,
    Beacon,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let network = match arguments.network {
        Engine::Ethash => Network::Ethash,
        Engine::Clique => Network::Clique,
        Engine::Beacon => Network::Beacon,
    };
    let mut options = Options::benchmark(network).with_seed(arguments.seed);
    options.accounts = arguments.accounts;
    options.senders = arguments.senders.min(arguments.accounts);
    write(&arguments, options)
}

fn write(arguments: &Arguments, options: Options) -> Result<()> {
    let started = Instant::now();
    let out = &arguments.out;
    fs::create_dir_all(out).with_context(|| out.display().to_string())?;
    let mut generator = Generator::new(options);
    fs::write(out.join("genesis.json"), generator.genesis_json())?;
    // The file gets its name when it is whole.
    let partial = out.join("chain.rlp.partial");
    let mut file = BufWriter::new(File::create(&partial)?);
    let mut rlp = Vec::new();
    generator.spec().genesis_block().encode(&mut rlp);
    let (mut transactions, mut gas, mut bytes, mut failed, mut keys) = (0, 0, rlp.len(), 0, 0);
    let mut touched = HashSet::new();
    while transactions < arguments.txs {
        file.write_all(&rlp)?;
        rlp.clear();
        let executed = generator.next_block();
        let block = &executed.block.block;
        block.encode(&mut rlp);
        bytes += rlp.len();
        transactions += block.body.transactions.len();
        gas += block.header.gas_used;
        failed += executed.receipts.iter().filter(|receipt| !receipt.status()).count();
        let changed = executed.diff.accounts.values();
        keys += changed.map(|change| 1 + change.storage.len()).sum::<usize>();
        touched.extend(executed.diff.accounts.keys().copied());
    }
    file.write_all(&rlp)?;
    file.into_inner()?.sync_all()?;
    let head = generator.head();
    let summary = json!({
        "blocks": head.number, "transactions": transactions, "failed": failed, "gas": gas,
        "gas_per_transaction": gas / transactions.max(1) as u64, "bytes": bytes, "accounts_touched": touched.len(),
        "keys_changed": keys,
        "head": head.hash, "state_root": generator.header().state_root, "seed": arguments.seed,
        "seconds": started.elapsed().as_secs_f64(),
    });
    fs::write(out.join("chain.json"), format!("{summary:#}\n"))?;
    fs::rename(partial, out.join("chain.rlp"))?;
    println!("{summary}");
    Ok(())
}
