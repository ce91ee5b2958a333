//! Where a command finds its data: the directory with the pool's journal and ethash's caches, and the chain's store,
//! in that directory or elsewhere.
//!
//! A store's address may hold a password: it is printed without it.

use crate::error::NodeError;
use clap::Args;
use quintet_chain::ChainError;
use quintet_store::{Durability, Options, PostgresOptions, Store, StoreError};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Folder of the embedded store in a data directory, as in geth's.
const CHAINDATA: &str = "chaindata";
/// What stands for a password.
const HIDDEN: &str = "***";

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
            Some(store) => Location::parse(store),
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
        self.location()?.open(&Options { create, ..Options::default() })
    }

    /// Opens the store for an import in bulk: a loss of power may take the newest blocks back.
    ///
    /// # Errors
    /// See [`Self::open`].
    pub(crate) fn open_for_bulk(&self, create: bool) -> Result<Arc<dyn Store>, NodeError> {
        let options = Options { durability: Durability::Lazy, create, ..Options::default() };
        self.location()?.open(&options).map_err(|error| match error {
            NodeError::Store(StoreError::Absent { .. } | StoreError::DatabaseAbsent { .. }) => {
                ChainError::Uninitialised.into()
            }
            error => error,
        })
    }

    /// Opens the store for reading: in PostgreSQL, while a node writes to it.
    ///
    /// # Errors
    /// When there is none, or it cannot be shared.
    pub(crate) fn open_to_read(&self) -> Result<Arc<dyn Store>, NodeError> {
        match self.location()? {
            Location::Postgres(address) => {
                let options =
                    PostgresOptions { read_only: true, create: false, ..PostgresOptions::default() };
                Ok(quintet_store::open_postgres(&address, &options)?)
            }
            directory @ Location::Directory(_) => {
                directory.open(&Options { create: false, ..Options::default() })
            }
        }
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

/// Where a store is. Printed without its password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Location {
    /// The embedded engine's directory.
    Directory(PathBuf),
    /// A PostgreSQL server's address.
    Postgres(String),
}

impl Location {
    fn parse(text: &str) -> Result<Self, NodeError> {
        match text.split_once("://") {
            Some(("postgres" | "postgresql", _)) => Ok(Self::Postgres(text.to_owned())),
            Some((scheme, _)) => Err(NodeError::UnknownStore { scheme: scheme.to_owned() }),
            None => Ok(Self::Directory(Path::new(text).to_owned())),
        }
    }

    fn open(&self, options: &Options) -> Result<Arc<dyn Store>, NodeError> {
        match self {
            Self::Directory(path) => Ok(quintet_store::open(path, options)?),
            Self::Postgres(address) => Ok(quintet_store::open_at(address, options)?),
        }
    }

    /// The engine's name.
    pub(crate) const fn engine(&self) -> &'static str {
        match self {
            Self::Directory(_) => "embedded",
            Self::Postgres(_) => "postgres",
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) => path.display().fmt(f),
            Self::Postgres(address) => f.write_str(&without_password(address)),
        }
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An address whose password, before the host or among the parameters, is replaced. A password that was not escaped
/// may hold any character: the last `@` ends the user's part, and one that is not clear is hidden whole.
fn without_password(address: &str) -> String {
    let (scheme, rest) = address.split_once("://").unwrap_or(("", address));
    let (user, rest) = rest.rsplit_once('@').map_or((None, rest), |(user, rest)| (Some(user), rest));
    let mut text = format!("{scheme}://");
    match user.map(|user| user.split_once(':').map_or((user, None), |(name, secret)| (name, Some(secret)))) {
        Some((name, _)) if name.contains(['/', '?', '=']) => text.extend([HIDDEN, "@"]),
        Some((name, Some(_))) => text.extend([name, ":", HIDDEN, "@"]),
        Some((name, None)) => text.extend([name, "@"]),
        None => {}
    }
    let (place, query) = rest.split_once('?').map_or((rest, None), |(place, query)| (place, Some(query)));
    text.push_str(place);
    let hide = |parameter: &str| match parameter.split_once('=') {
        Some((name, _)) if name.contains("password") => format!("{name}={HIDDEN}"),
        _ => parameter.to_owned(),
    };
    if let Some(query) = query {
        text.push('?');
        text.push_str(&query.split('&').map(hide).collect::<Vec<_>>().join("&"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(store: &str) -> Location {
        DataArgs { datadir: None, store: Some(store.to_owned()) }.location().unwrap()
    }

    #[test]
    fn passwords_are_not_printed() {
        for (address, printed) in [
            ("postgres://quintet:s3cret@db:5432/chain", "postgres://quintet:***@db:5432/chain"),
            ("postgresql://u:p@ss:w@db/chain?sslmode=off", "postgresql://u:***@db/chain?sslmode=off"),
            ("postgres://u@db/chain", "postgres://u@db/chain"),
            ("postgres://u:s3?cret@db/chain", "postgres://u:***@db/chain"),
            ("postgres://db/chain?password=s3@cret", "postgres://***@cret"),
            (
                "postgres:///chain?host=/run&user=u&password=s3cret&x=1",
                "postgres:///chain?host=/run&user=u&password=***&x=1",
            ),
        ] {
            assert_eq!(location(address).to_string(), printed);
            assert_eq!(format!("{:?}", location(address)), printed);
        }
    }

    #[test]
    fn a_store_is_a_server_or_a_directory() {
        assert_eq!(location("postgres://db/chain").engine(), "postgres");
        assert_eq!(location("/data/chain"), Location::Directory("/data/chain".into()));
        let args = DataArgs { datadir: Some("data".into()), store: Some(String::new()) };
        assert_eq!(args.location().unwrap(), Location::Directory("data/chaindata".into()));
        assert_eq!(args.ethash(&EthashArgs::default()).unwrap(), Path::new("data/ethash"));
        let unknown = DataArgs { datadir: None, store: Some("mysql://u:s3cret@db/chain".to_owned()) };
        let said = unknown.location().unwrap_err().to_string();
        assert!(said.contains("mysql") && !said.contains("s3cret"), "{said}");
    }
}
