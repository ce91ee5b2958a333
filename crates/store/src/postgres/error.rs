//! The store's errors for PostgreSQL's.

use crate::StoreError;
use deadpool_postgres::PoolError;
use tokio_postgres::Error;
use tokio_postgres::config::Host;
use tokio_postgres::error::SqlState;

/// The database, as errors name it.
#[derive(Clone, Debug)]
pub(super) struct Database {
    /// `postgres://user@host:port/name`: never with a password.
    pub(super) url: String,
}

impl Database {
    pub(super) fn new(config: &tokio_postgres::Config) -> Self {
        let user = config.get_user().map(|user| format!("{user}@")).unwrap_or_default();
        let port = config.get_ports().first().copied().unwrap_or(5432);
        let host = match config.get_hosts().first() {
            Some(Host::Tcp(host)) => format!("{host}:{port}"),
            #[cfg(unix)]
            Some(Host::Unix(path)) => format!("{}:{port}", path.display()),
            None => String::new(),
        };
        let name = config.get_dbname().or_else(|| config.get_user()).unwrap_or_default();
        Self { url: format!("postgres://{user}{host}/{name}") }
    }

    /// What an error that came of trying to `action` means.
    pub(super) fn error(&self, action: &'static str, error: &Error) -> StoreError {
        let url = self.url.clone();
        let detail = words(error);
        if connection_lost(error) {
            return StoreError::Unavailable { url, detail: format!("cannot {action}: {detail}") };
        }
        match error.code() {
            Some(
                &(SqlState::INVALID_PASSWORD
                | SqlState::INVALID_AUTHORIZATION_SPECIFICATION
                | SqlState::INVALID_CATALOG_NAME),
            ) => StoreError::LoginRefused { url, detail },
            Some(&(SqlState::DISK_FULL | SqlState::OUT_OF_MEMORY | SqlState::INSUFFICIENT_RESOURCES)) => {
                StoreError::DatabaseFull { url, detail }
            }
            Some(&(SqlState::READ_ONLY_SQL_TRANSACTION | SqlState::INSUFFICIENT_PRIVILEGE)) => {
                StoreError::ReadOnly { url, detail }
            }
            Some(&(SqlState::UNDEFINED_TABLE | SqlState::UNDEFINED_COLUMN)) => {
                StoreError::DatabaseSchema { url, detail }
            }
            _ => StoreError::Engine { action, detail },
        }
    }

    pub(super) fn pool_error(&self, error: &PoolError) -> StoreError {
        match error {
            PoolError::Backend(error) => self.error("connect", error),
            PoolError::Timeout(_) => self.unavailable("all connections for reads are busy".to_owned()),
            error => self.unavailable(error.to_string()),
        }
    }

    pub(super) fn unavailable(&self, detail: String) -> StoreError {
        StoreError::Unavailable { url: self.url.clone(), detail }
    }
}

/// Whether the error says that the connection, not the statement, is at fault: a new one may do.
pub(super) fn connection_lost(error: &Error) -> bool {
    let Some(code) = error.code() else {
        // Without an answer of the server: it could not be asked, or did not say. Parameters and rows that do
        // not fit their types are the exception, and a mistake here.
        let words = error.to_string();
        return !words.contains("serializing") && !words.contains("deserializing");
    };
    let codes = [
        SqlState::ADMIN_SHUTDOWN,
        SqlState::CRASH_SHUTDOWN,
        SqlState::CANNOT_CONNECT_NOW,
        SqlState::TOO_MANY_CONNECTIONS,
        SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
    ];
    codes.contains(code) || code.code().starts_with("08")
}

/// The error in one line: the server's message, or what lies beneath.
pub(super) fn words(error: &Error) -> String {
    if let Some(answer) = error.as_db_error() {
        let detail = answer.detail().map(|detail| format!(" ({detail})")).unwrap_or_default();
        return format!("{}{detail}", answer.message());
    }
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_shown() {
        let config = "postgres://ann:s3cret@db.example:5433/chain?application_name=x".parse().unwrap();
        assert_eq!(Database::new(&config).url, "postgres://ann@db.example:5433/chain");
        let config = "postgres://%2Ftmp%2Frun/chain?user=bob&password=s3cret".parse().unwrap();
        assert_eq!(Database::new(&config).url, "postgres://bob@/tmp/run:5432/chain");
    }
}
