//! `quintet dev`: a development network.

use super::{absolute, pending};
use crate::cli::DevArgs;
use crate::error::NodeError;
use crate::process::{self, Setup};
use alloy_primitives::hex;
use quintet_chain::sync::SyncMode;
use quintet_chain::{Config, genesis};
use quintet_chainspec::ChainSpec;
use quintet_devnet::DevAccount;
use quintet_gateway::{Signer, Signers};
use quintet_miner::MinerConfig;
use std::fmt::Write as _;
use std::sync::Arc;

/// Runs a development network.
///
/// # Errors
/// When it does not start, or a part of it fails.
pub(crate) fn dev(args: DevArgs) -> Result<(), NodeError> {
    let accounts = args.devnet.accounts()?;
    let spec = args.devnet.spec(&accounts, args.gas_limit, args.block_time)?;
    let store = if args.data.is_given() { args.data.open(true)? } else { quintet_store::open_temporary()? };
    genesis::init(store.as_ref(), &spec)?;
    println!("{}", banner(&args, &accounts, &spec));
    let miner = MinerConfig {
        mine: true,
        etherbase: args.etherbase.or_else(|| accounts.first().map(|account| account.address)),
        gas_limit: args.gas_limit,
        gas_price: 0,
        block_time: args.block_time,
        ..MinerConfig::default()
    };
    let chain = Config {
        pool: (&args.shared.pool).into(),
        journal: args.data.datadir.is_some().then(|| args.data.journal()).transpose()?,
        pending: pending(&miner),
        instant_finality: true,
        ..Config::of(&spec)
    };
    let signers = accounts.iter().map(|account| Signer::from_secret(&account.secret()));
    let signers = Signers::new(signers.collect::<Result<_, _>>()?);
    let datadir = args.data.datadir.map(absolute);
    let spec = Arc::new(spec);
    let sync_mode = SyncMode::default();
    let setup = Setup { spec, store, chain, miner, signers, datadir, network: None, sync_mode, dev: true };
    process::run(args.shared, setup)
}

/// What `quintet dev` says of its accounts. The keys are those of a well-known mnemonic: never send anything
/// of value to them.
fn banner(args: &DevArgs, accounts: &[DevAccount], spec: &ChainSpec) -> String {
    let mut text =
        format!("Quintet {} development network\n\nAvailable accounts\n", env!("CARGO_PKG_VERSION"));
    for (index, account) in accounts.iter().enumerate() {
        let _ = writeln!(text, "({index}) {} ({} ETH)", account.address, args.devnet.balance);
    }
    text.push_str("\nPrivate keys\n");
    for (index, account) in accounts.iter().enumerate() {
        let _ = writeln!(text, "({index}) 0x{}", hex::encode(account.secret()));
    }
    let _ = write!(text, "\nMnemonic: {}\nChain id: {}\n", args.devnet.mnemonic, spec.chain_id());
    text.push_str("\nThese keys are public. Never use them on another network.\n");
    text
}
