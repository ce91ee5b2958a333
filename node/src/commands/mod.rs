//! What the commands do, one file each.

mod db;
mod dev;
mod export;
mod import;
mod import_remote;
mod node;

pub(crate) use db::{db, verify};
pub(crate) use dev::dev;
pub(crate) use export::export;
pub(crate) use import::import;
pub(crate) use node::{init, node};

use crate::error::NodeError;
use crate::interrupt::Interrupt;
use quintet_chain::{Chain, ChainError, Config, PendingConfig, genesis};
use quintet_chainspec::ChainSpec;
use quintet_events::LocalBus;
use quintet_miner::MinerConfig;
use quintet_service::Service;
use quintet_service::telemetry::{self, TelemetryConfig};
use quintet_store::Store;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How long the last spans may take to be sent.
const FLUSH_DEADLINE: Duration = Duration::from_secs(3);

/// Runs a command that works until it is done, on this thread, with logs and with signals heard,
/// and with a runtime for what is async in it.
fn to_its_end<T>(
    logging: &TelemetryConfig,
    work: impl FnOnce(&Interrupt) -> Result<T, NodeError>,
) -> Result<T, NodeError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(NodeError::Runtime)?;
    let started = async {
        let telemetry = telemetry::init(logging, &[Service::Chain])?;
        Ok::<_, NodeError>((telemetry, Interrupt::listen().map_err(NodeError::Runtime)?))
    };
    let (telemetry, interrupt) = runtime.block_on(started)?;
    let outcome = {
        let _entered = runtime.enter();
        work(&interrupt)
    };
    runtime.block_on(telemetry.shutdown(FLUSH_DEADLINE));
    runtime.shutdown_background();
    outcome
}

/// Writes a public network's genesis block into an empty store, if a network is named.
fn init_network(store: &dyn Store, name: Option<&str>) -> Result<(), NodeError> {
    if let Some(name) = name {
        genesis::init(store, &ChainSpec::preset(name)?)?;
    }
    Ok(())
}

/// The network whose chain the store holds.
fn stored_spec(store: &dyn Store) -> Result<ChainSpec, NodeError> {
    Ok(genesis::stored_spec(store)?.ok_or(ChainError::Uninitialised)?)
}

/// The chain of a command that changes it while no node runs. Nobody listens, and the pool's journal is left to the
/// node that comes next.
fn offline_chain(spec: ChainSpec, store: Arc<dyn Store>, config: Config) -> Result<Chain, NodeError> {
    Ok(Chain::open(Arc::new(spec), store, Arc::new(LocalBus::new()), config)?)
}

/// A path that means the same wherever it is read.
fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

fn pending(miner: &MinerConfig) -> PendingConfig {
    PendingConfig { beneficiary: miner.etherbase.unwrap_or_default(), gas_limit_target: miner.gas_limit }
}
