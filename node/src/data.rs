//! Where a command finds its data: the directory with the pool's journal and ethash's caches, and the chain's store,
//! in that directory or elsewhere.

use crate::error::NodeError;
use clap::Args;
use quintet_chain::ChainError;
use quintet_store::{Durability, Location, Options, Store, StoreError};
use std::path::PathBuf;
use std::sync::Arc;

/// Folder of the embedded store in a data directory, as in geth's.
const CHAINDATA: &str = "chaindata";

/// Where the data is.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct DataArgs {
    /// Data directory
    #[arg(id = "datadir", long = "datadir", value_name = "DIRECTORY")]
    pub datadir: Option<PathBuf>,
    /// The chain's store: postgres://USER:PASSWORD@HOST/DATABASE, or a directory of its own; without it the
    /// chain is in the data directory
    #[arg(id = "store", long = "store", value_name = "LOCATION")]
    pub store: Option<String>,
}

/// Where ethash's caches are kept.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct EthashArgs {
    /// Directory of the ethash verification caches; inside the data directory if not given
    #[arg(id = "ethash.cachedir", long = "ethash.cachedir", value_name = "DIRECTORY")]
    pub cache_dir: Option<PathBuf>,
}

impl DataArgs {
    /// The data directory: the one given, or `.quintet` at home.
    ///
    /// # Errors
    /// When there is neither.
    pub(crate) fn directory(&self) -> Result<PathBuf, NodeError> {
        let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".quintet"));
        self.datadir.clone().or_else(home).ok_or(NodeError::NoHome)
    }

    /// Where the chain's store is.
    ///
    /// # Errors
    /// When nothing says where, or with a kind of address that there is no engine for.
    pub(crate) fn location(&self) -> Result<Location, NodeError> {
        match self.store.as_deref().filter(|store| !store.is_empty()) {
            Some(store) => Ok(Location::parse(store)?),
            None => Ok(Location::Directory(self.directory()?.join(CHAINDATA))),
        }
    }

    /// Whether it was said where the chain is: a development network keeps it in memory otherwise.
    pub(crate) fn is_given(&self) -> bool {
        self.datadir.is_some() || self.store.as_ref().is_some_and(|store| !store.is_empty())
    }

    /// Opens the store for writing, and makes an empty one if there is none and `create` holds.
    ///
    /// # Errors
    /// When it cannot be had; another process may be writing to it.
    pub(crate) fn open(&self, create: bool) -> Result<Arc<dyn Store>, NodeError> {
        Ok(self.location()?.open(&Options { create, ..Options::default() })?)
    }

    /// Opens the store for an import in bulk: a loss of power may take the newest blocks back.
    ///
    /// # Errors
    /// See [`Self::open`].
    pub(crate) fn open_for_bulk(&self, create: bool) -> Result<Arc<dyn Store>, NodeError> {
        let options = Options { durability: Durability::Lazy, create, ..Options::default() };
        self.location()?.open(&options).map_err(|error| match error {
            StoreError::Absent { .. } | StoreError::DatabaseAbsent { .. } => ChainError::Uninitialised.into(),
            error => error.into(),
        })
    }

    /// Opens the store for reading: in PostgreSQL, while a node writes to it.
    ///
    /// # Errors
    /// When there is none, or it cannot be shared.
    pub(crate) fn open_to_read(&self) -> Result<Arc<dyn Store>, NodeError> {
        Ok(self.location()?.open_to_read()?)
    }

    /// The pool's journal.
    ///
    /// # Errors
    /// See [`Self::directory`].
    pub(crate) fn journal(&self) -> Result<PathBuf, NodeError> {
        Ok(self.directory()?.join("transactions.journal"))
    }

    /// The directory of ethash's caches.
    ///
    /// # Errors
    /// See [`Self::directory`].
    pub(crate) fn ethash(&self, args: &EthashArgs) -> Result<PathBuf, NodeError> {
        args.cache_dir.clone().map_or_else(|| Ok(self.directory()?.join("ethash")), Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn the_store_is_in_the_data_directory_unless_it_is_elsewhere() {
        let args = DataArgs { datadir: Some("data".into()), store: Some(String::new()) };
        assert_eq!(args.location().unwrap(), Location::Directory("data/chaindata".into()));
        assert_eq!(args.ethash(&EthashArgs::default()).unwrap(), Path::new("data/ethash"));
        let elsewhere = DataArgs { store: Some("postgres://db/chain".to_owned()), ..args };
        assert_eq!(elsewhere.location().unwrap(), Location::Postgres("postgres://db/chain".to_owned()));
    }
}
