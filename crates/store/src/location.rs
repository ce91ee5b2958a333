//! Where a store is, as `--store` says it. An address may hold a password: it is printed without it.

use crate::{Options, PostgresOptions, Store, StoreError};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// What stands for a password.
const HIDDEN: &str = "***";

/// Where a store is. Printed without its password.
#[derive(Clone, PartialEq, Eq)]
pub enum Location {
    /// The embedded engine's directory.
    Directory(PathBuf),
    /// A PostgreSQL server's address.
    Postgres(String),
}

impl Location {
    /// A location as people write it: `postgres://…`, or a directory.
    ///
    /// # Errors
    /// [`StoreError::UnknownEngine`] with a kind of address that there is no engine for.
    pub fn parse(text: &str) -> Result<Self, StoreError> {
        match text.split_once("://") {
            Some(("postgres" | "postgresql", _)) => Ok(Self::Postgres(text.to_owned())),
            Some((scheme, _)) => Err(StoreError::UnknownEngine { scheme: scheme.to_owned() }),
            None => Ok(Self::Directory(text.into())),
        }
    }

    /// Opens the store for writing. Waits for the network where there is one, so not for async threads.
    ///
    /// # Errors
    /// Those of [`crate::open`] and [`crate::open_postgres`].
    pub fn open(&self, options: &Options) -> Result<Arc<dyn Store>, StoreError> {
        match self {
            Self::Directory(path) => crate::open(path, options),
            Self::Postgres(address) => crate::open_at(address, options),
        }
    }

    /// Opens a store that is there for reading: in PostgreSQL, while another process writes to it, and as a login
    /// that may do no more than read.
    ///
    /// # Errors
    /// Those of [`Self::open`]; the embedded engine's directory has one process at a time.
    pub fn open_to_read(&self) -> Result<Arc<dyn Store>, StoreError> {
        match self {
            Self::Directory(path) => crate::open(path, &Options { create: false, ..Options::default() }),
            Self::Postgres(address) => {
                let options =
                    PostgresOptions { read_only: true, create: false, ..PostgresOptions::default() };
                crate::open_postgres(address, &options)
            }
        }
    }

    /// The engine's name.
    pub const fn engine(&self) -> &'static str {
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
            let location = Location::parse(address).unwrap();
            assert_eq!(location.to_string(), printed);
            assert_eq!(format!("{location:?}"), printed);
        }
    }

    #[test]
    fn a_store_is_a_server_or_a_directory() {
        assert_eq!(Location::parse("postgres://db/chain").unwrap().engine(), "postgres");
        assert_eq!(Location::parse("/data/chain").unwrap(), Location::Directory("/data/chain".into()));
        let said = Location::parse("mysql://u:s3cret@db/chain").unwrap_err().to_string();
        assert!(said.contains("--store") && said.contains("mysql") && !said.contains("s3cret"), "{said}");
    }
}
