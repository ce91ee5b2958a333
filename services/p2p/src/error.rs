//! Why the service did not start, or stopped.

use quintet_enode::KeyError;
use quintet_service::ServiceError;
use quintet_service::config::{ConfigError, variable};
use std::path::PathBuf;

/// Why the service did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum P2pError {
    /// A part that all services share failed.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// The node key cannot be used.
    #[error("node key (--nodekey, --nodekeyhex or nodekey in --datadir): {0}")]
    Key(#[from] KeyError),
    /// A file of static or trusted nodes cannot be used.
    #[error("{}: {reason}; it must be a JSON list of enode URLs", path.display())]
    NodesFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl P2pError {
    /// A value that was found wrong after parsing.
    pub(crate) fn wrong_value(flag: &str, value: &str, reason: &str) -> Self {
        let error = ConfigError::Value {
            flag: flag.to_owned(),
            variable: variable(flag),
            value: value.to_owned(),
            reason: format!(": {reason}"),
        };
        ServiceError::Config(error).into()
    }
}
