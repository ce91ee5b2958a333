//! Why the service did not start, or stopped.

use quintet_enode::KeyError;
use quintet_service::ServiceError;
use quintet_service::config::ConfigError;
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

impl From<ConfigError> for P2pError {
    fn from(error: ConfigError) -> Self {
        ServiceError::from(error).into()
    }
}
