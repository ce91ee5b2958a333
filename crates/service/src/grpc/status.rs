//! The one mapping between errors and gRPC statuses. What an internal error says stays in the log.

use std::error::Error;
use tonic::{Code, Status};

/// What kind of failure an error is, to a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request is wrong, whatever the state of the service.
    InvalidArgument,
    /// What it names does not exist.
    NotFound,
    /// What it would create exists.
    AlreadyExists,
    /// The service is not in the state that it needs.
    FailedPrecondition,
    /// A limit is reached.
    ResourceExhausted,
    /// The service, or one that it needs, is not there now; the same request may succeed later.
    Unavailable,
    /// No answer in time; it may or may not have been carried out.
    DeadlineExceeded,
    /// The method is not there yet.
    Unimplemented,
    /// A fault of the service.
    Internal,
}

impl ErrorKind {
    /// The gRPC code.
    pub const fn code(self) -> Code {
        match self {
            Self::InvalidArgument => Code::InvalidArgument,
            Self::NotFound => Code::NotFound,
            Self::AlreadyExists => Code::AlreadyExists,
            Self::FailedPrecondition => Code::FailedPrecondition,
            Self::ResourceExhausted => Code::ResourceExhausted,
            Self::Unavailable => Code::Unavailable,
            Self::DeadlineExceeded => Code::DeadlineExceeded,
            Self::Unimplemented => Code::Unimplemented,
            Self::Internal => Code::Internal,
        }
    }

    /// The kind that a code means to a caller.
    pub const fn from_code(code: Code) -> Self {
        match code {
            Code::InvalidArgument | Code::OutOfRange => Self::InvalidArgument,
            Code::NotFound => Self::NotFound,
            Code::AlreadyExists => Self::AlreadyExists,
            Code::FailedPrecondition | Code::PermissionDenied | Code::Unauthenticated => {
                Self::FailedPrecondition
            }
            Code::ResourceExhausted => Self::ResourceExhausted,
            Code::Unavailable | Code::Aborted => Self::Unavailable,
            Code::DeadlineExceeded | Code::Cancelled => Self::DeadlineExceeded,
            Code::Unimplemented => Self::Unimplemented,
            Code::Ok | Code::Unknown | Code::Internal | Code::DataLoss => Self::Internal,
        }
    }
}

/// An error of a service that a caller may see: it knows its kind.
pub trait Classify: Error {
    /// Its kind. The text of an [`ErrorKind::Internal`] error never leaves the service.
    fn kind(&self) -> ErrorKind;
}

/// The status that answers a failed request. An internal error is logged with its sources, and the caller
/// learns only that there was one.
pub fn to_status<E: Classify>(error: &E) -> Status {
    match error.kind() {
        ErrorKind::Internal => internal(error),
        kind => Status::new(kind.code(), error.to_string()),
    }
}

/// Logs an error with its sources, and gives the status that hides it.
pub fn internal(error: &dyn Error) -> Status {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    tracing::error!(error = text, "internal error");
    Status::internal("internal error, see the service's log")
}

/// The status of a method that does not exist yet. `missing` says what it needs, as in "the node table".
pub fn unimplemented(missing: &str) -> Status {
    Status::unimplemented(format!("not implemented yet: {missing}"))
}

/// A failed call, as its caller sees it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct RpcError {
    /// Its kind.
    pub kind: ErrorKind,
    /// What the service said.
    pub message: String,
}

impl RpcError {
    /// An answer that breaks the contract.
    pub fn malformed(what: &str) -> Self {
        Self { kind: ErrorKind::Internal, message: format!("malformed answer: {what}") }
    }
}

impl From<Status> for RpcError {
    fn from(status: Status) -> Self {
        Self { kind: ErrorKind::from_code(status.code()), message: status.message().to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::{Classify, ErrorKind, RpcError, to_status};
    use tonic::Code;

    #[derive(Debug, thiserror::Error)]
    #[error("page 7 of /var/secret is damaged")]
    struct Failure(ErrorKind);

    impl Classify for Failure {
        fn kind(&self) -> ErrorKind {
            self.0
        }
    }

    #[test]
    fn internal_text_stays_inside() {
        let status = to_status(&Failure(ErrorKind::Internal));
        assert_eq!(status.code(), Code::Internal);
        assert!(!status.message().contains("secret"), "{status}");
    }

    #[test]
    fn kinds_survive_the_wire() {
        use ErrorKind as Kind;
        for kind in [
            Kind::InvalidArgument,
            Kind::NotFound,
            Kind::AlreadyExists,
            Kind::FailedPrecondition,
            Kind::ResourceExhausted,
            Kind::Unavailable,
            Kind::DeadlineExceeded,
            Kind::Unimplemented,
            Kind::Internal,
        ] {
            assert_eq!(RpcError::from(to_status(&Failure(kind))).kind, kind);
        }
    }
}
