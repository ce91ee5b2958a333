//! What can go wrong between a caller and `chain`.

use tonic::{Code, Status};

/// A failed call to `chain`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// `chain` refused the request; the text is geth's where geth has one, and is meant for the user.
    #[error("{0}")]
    Rejected(String),
    /// `chain` cannot be reached or is not ready; the same request may succeed later.
    #[error("chain service unavailable: {0}; the request was not carried out, try again")]
    Unavailable(String),
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
            Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::FailedPrecondition
            | Code::ResourceExhausted
            | Code::OutOfRange
            | Code::PermissionDenied => Self::Rejected(text()),
            Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Aborted => {
                Self::Unavailable(text())
            }
            Code::Unimplemented => Self::Unimplemented(text()),
            _ => Self::Internal,
        }
    }
}
