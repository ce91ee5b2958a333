//! Why the service did not start.

use quintet_service::ServiceError;

/// Why the service did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum DiscoveryError {
    /// A part that all services share failed.
    #[error(transparent)]
    Service(#[from] ServiceError),
}
