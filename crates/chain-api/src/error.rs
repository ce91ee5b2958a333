//! What can go wrong between a caller and `chain`.

use tonic::{Code, Status};

/// What `chain` answers a miner while the first sync with peers runs.
pub const MINING_WAITS: &str = "mining waits for the sync with peers";

/// A failed call to `chain`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// `chain` refused the request; the text is geth's where geth has one, and is meant for the user.
    #[error("{0}")]
    Rejected(String),
    /// `chain` cannot be reached or is not ready; the same request may succeed later.
    #[error("chain service unavailable: {0}; the request was not carried out, try again")]
    Unavailable(String),
    /// The connection broke before the answer came: the request may or may not have been carried out. To repeat it
    /// does no harm: transactions and blocks are known by their hashes.
    #[error("chain service unavailable: {0}; whether the request was carried out is not known, try again")]
    Interrupted(String),
    /// The method is not there yet; the text says what is missing.
    #[error("{0}")]
    Unimplemented(String),
    /// `chain` failed inside; details are in its log.
    #[error("internal error of the chain service")]
    Internal,
    /// The answer is not what the contract says.
    #[error("malformed message of the chain service: {0}")]
    Malformed(&'static str),
}

impl From<Status> for ChainError {
    fn from(status: Status) -> Self {
        let text = || status.message().to_owned();
        match status.code() {
            // What tonic makes of a broken connection has a source, and what a server sends has none.
            Code::Unknown | Code::Internal if std::error::Error::source(&status).is_some() => {
                Self::Interrupted("the connection broke".to_owned())
            }
            Code::DeadlineExceeded | Code::Cancelled => Self::Interrupted(text()),
            Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::FailedPrecondition
            | Code::ResourceExhausted
            | Code::OutOfRange
            | Code::PermissionDenied => Self::Rejected(text()),
            Code::Unavailable | Code::Aborted => Self::Unavailable(text()),
            Code::Unimplemented => Self::Unimplemented(text()),
            _ => Self::Internal,
        }
    }
}

impl ChainError {
    /// Whether the same request may succeed later.
    pub const fn is_passing(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Interrupted(_))
    }

    /// The newest fencing token that `chain` has seen, when it refused a block because the block's was older.
    pub fn newer_token(&self) -> Option<u64> {
        // The status code is shared with other refusals: what tells them apart is the text.
        let Self::Rejected(text) = self else { return None };
        let (_, newest) = text.strip_prefix("fencing token ")?.split_once(" is lower than ")?;
        newest.split(',').next()?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::ChainError;
    use tonic::Status;

    #[test]
    fn a_broken_connection_is_no_fault_of_the_service() {
        let broken = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        let error = ChainError::from(Status::from_error(Box::new(broken)));
        assert!(error.is_passing() && error.to_string().contains("is not known"), "{error}");
        assert_eq!(ChainError::from(Status::internal("see the log")), ChainError::Internal);
    }

    #[test]
    fn a_block_under_an_old_token_is_told_from_other_refusals() {
        let says = "fencing token 7 is lower than 12, which another miner used: the lease is lost";
        assert_eq!(ChainError::from(Status::failed_precondition(says)).newer_token(), Some(12));
        assert_eq!(ChainError::from(Status::unavailable(says)).newer_token(), None);
        let other = ChainError::from(Status::failed_precondition("unknown ancestor of block 7 [0x12]"));
        assert_eq!(other.newer_token(), None);
    }
}
