//! What the commands do.

use crate::accounts::{self, DevAccount};
use crate::cli::{DevArgs, InitArgs, NodeArgs, VerifyArgs};
use crate::error::NodeError;
use crate::process::{self, Setup};
use alloy_primitives::{Address, U256, hex};
use quintet_chain::{ChainError, Config, PendingConfig, genesis};
use quintet_chainspec::ChainSpec;
use quintet_gateway::{Signer, Signers};
use quintet_miner::MinerConfig;
use quintet_store::{Options, Store};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Wei of one ether.
const ETHER: u64 = 1_000_000_000_000_000_000;

/// Runs a development network.
///
/// # Errors
/// When it does not start, or a part of it fails.
pub(crate) fn dev(args: DevArgs) -> Result<(), NodeError> {
    let accounts = accounts::derive(&args.mnemonic, args.accounts)?;
    let balance = U256::from(args.balance) * U256::from(ETHER);
    let funded: Vec<_> = accounts.iter().map(|account| (account.address, balance)).collect();
    let spec = ChainSpec::dev(&funded, args.gas_limit, args.block_time)?;
    let store = match &args.datadir {
        Some(datadir) => quintet_store::open(&chaindata(datadir), &Options::default())?,
        None => quintet_store::open_temporary()?,
    };
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
        journal: args.datadir.as_deref().map(journal),
        network_id: spec.network_id(),
        pending: pending(&miner),
        instant_finality: true,
    };
    let signers = accounts.iter().map(|account| Signer::from_secret(&account.secret()));
    let signers = Signers::new(signers.collect::<Result<_, _>>()?);
    process::run(args.shared, Setup { spec: Arc::new(spec), store, chain, miner, signers, dev: true })
}

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
    let datadir = datadir(args.datadir.as_deref())?;
    let store = quintet_store::open(&chaindata(&datadir), &Options::default())?;
    genesis::init(store.as_ref(), &spec)?;
    println!("Successfully wrote genesis state hash={} datadir={}", spec.genesis_hash(), datadir.display());
    Ok(())
}

/// Runs a node on a data directory.
///
/// # Errors
/// When it does not start, or a part of it fails.
pub(crate) fn node(args: NodeArgs) -> Result<(), NodeError> {
    let datadir = datadir(args.datadir.as_deref())?;
    let store = quintet_store::open(&chaindata(&datadir), &Options::default())?;
    if let Some(name) = &args.network {
        genesis::init(store.as_ref(), &ChainSpec::preset(name)?)?;
    }
    let spec = genesis::stored_spec(store.as_ref())?.ok_or(ChainError::Uninitialised)?;
    let chain = Config {
        pool: (&args.shared.pool).into(),
        journal: Some(journal(&datadir)),
        network_id: args.network_id.unwrap_or_else(|| spec.network_id()),
        pending: pending(&args.miner),
        instant_finality: false,
    };
    let setup = Setup {
        spec: Arc::new(spec),
        store,
        chain,
        miner: args.miner,
        signers: Signers::default(),
        dev: false,
    };
    process::run(args.shared, setup)
}

/// Computes the state root of the head from the whole state, with none of the trie's stored nodes.
///
/// # Errors
/// When it is not the header's, or the data cannot be read.
pub(crate) fn verify(args: &VerifyArgs) -> Result<(), NodeError> {
    let datadir = datadir(args.datadir.as_deref())?;
    let store = quintet_store::open(&chaindata(&datadir), &Options { create: false, ..Options::default() })?;
    let head = store.head()?.ok_or(ChainError::Uninitialised)?;
    let header = store.header(&head.hash)?.ok_or(ChainError::NotFound("head"))?;
    let computed = root_from_scratch(store.as_ref(), head.number)?;
    if computed != header.state_root {
        return Err(NodeError::StateRoot { number: head.number, header: header.state_root, computed });
    }
    println!("block {} [{}]: state root {computed} verified", head.number, head.hash);
    Ok(())
}

fn root_from_scratch(store: &dyn Store, block: u64) -> Result<alloy_primitives::B256, NodeError> {
    let mut accounts = Vec::new();
    store.for_each_account(block, Address::ZERO, &mut |address, account| {
        accounts.push((address, account));
        ControlFlow::Continue(())
    })?;
    let mut root = quintet_trie::FullRoot::new();
    for (address, account) in accounts {
        let mut storage = BTreeMap::new();
        store.for_each_storage(&address, account.incarnation, block, U256::ZERO, &mut |slot, value| {
            storage.insert(slot, value);
            ControlFlow::Continue(())
        })?;
        root.add(&address, &account, storage);
    }
    Ok(root.root())
}

fn datadir(given: Option<&Path>) -> Result<PathBuf, NodeError> {
    let default = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".quintet"));
    given.map(Path::to_owned).or_else(default).ok_or(NodeError::NoHome)
}

fn chaindata(datadir: &Path) -> PathBuf {
    datadir.join("chaindata")
}

fn journal(datadir: &Path) -> PathBuf {
    datadir.join("transactions.journal")
}

fn pending(miner: &MinerConfig) -> PendingConfig {
    PendingConfig { beneficiary: miner.etherbase.unwrap_or_default(), gas_limit_target: miner.gas_limit }
}

/// What `quintet dev` says of its accounts. The keys are those of a well-known mnemonic: never send anything
/// of value to them.
fn banner(args: &DevArgs, accounts: &[DevAccount], spec: &ChainSpec) -> String {
    let mut text =
        format!("Quintet {} development network\n\nAvailable accounts\n", env!("CARGO_PKG_VERSION"));
    for (index, account) in accounts.iter().enumerate() {
        let _ = writeln!(text, "({index}) {} ({} ETH)", account.address, args.balance);
    }
    text.push_str("\nPrivate keys\n");
    for (index, account) in accounts.iter().enumerate() {
        let _ = writeln!(text, "({index}) 0x{}", hex::encode(account.secret()));
    }
    let _ = write!(text, "\nMnemonic: {}\nChain id: {}\n", args.mnemonic, spec.chain_id());
    text.push_str("\nThese keys are public. Never use them on another network.\n");
    text
}
