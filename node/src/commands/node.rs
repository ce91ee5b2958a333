//! `quintet init` and `quintet node`.

use super::{absolute, init_network, pending};
use crate::cli::{InitArgs, NodeArgs};
use crate::error::NodeError;
use crate::process::{self, Setup};
use quintet_chain::{ChainError, Config, genesis};
use quintet_chainspec::ChainSpec;
use quintet_gateway::Signers;
use std::sync::Arc;

/// Writes a genesis block into a data directory.
///
/// # Errors
/// When the file is not valid, or the directory holds another chain.
pub(crate) fn init(args: &InitArgs) -> Result<(), NodeError> {
    let path = &args.genesis;
    let text =
        std::fs::read_to_string(path).map_err(|source| NodeError::Read { path: path.clone(), source })?;
    let spec =
        ChainSpec::from_json(&text).map_err(|source| NodeError::Genesis { path: path.clone(), source })?;
    let location = args.data.location()?;
    let store = args.data.open(true)?;
    genesis::init(store.as_ref(), &spec)?;
    println!("Successfully wrote genesis state hash={} store={location}", spec.genesis_hash());
    Ok(())
}

/// Runs a node on a data directory.
///
/// # Errors
/// When it does not start, or a part of it fails.
pub(crate) fn node(args: NodeArgs) -> Result<(), NodeError> {
    let store = args.data.open(true)?;
    init_network(store.as_ref(), args.network.as_deref())?;
    let spec = genesis::stored_spec(store.as_ref())?.ok_or(ChainError::Uninitialised)?;
    let chain = Config {
        pool: (&args.shared.pool).into(),
        journal: Some(args.data.journal()?),
        network_id: args.network_id.unwrap_or_else(|| spec.network_id()),
        pending: pending(&args.miner),
        check_work: !args.fake_pow,
        ethash_directory: Some(args.data.ethash(&args.ethash)?),
        ..Config::of(&spec)
    };
    let setup = Setup {
        spec: Arc::new(spec),
        store,
        chain,
        miner: args.miner,
        signers: Signers::default(),
        datadir: Some(absolute(args.data.directory()?)),
        network: Some(args.network_args),
        sync_mode: args.sync.mode,
        dev: false,
    };
    process::run(args.shared, setup)
}
