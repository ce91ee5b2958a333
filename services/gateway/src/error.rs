//! What a method can answer instead of a result, and the one mapping to JSON-RPC codes and geth's words.

use crate::json::{self, Object};
use alloy_primitives::{B256, Bytes, hex};
use quintet_chain_api::ChainError;
use quintet_store::StoreError;
use quintet_types::StateError;
use std::time::Duration;

/// A JSON-RPC error. The text of every variant is meant for the caller; failures inside are logged where
/// they are turned into [`RpcError::Internal`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RpcError {
    /// The body is not JSON.
    #[error("parse error")]
    Parse,
    /// JSON, but not a JSON-RPC request.
    #[error("{0}")]
    InvalidRequest(&'static str),
    /// No such method, or its module is not enabled.
    #[error("the method {0} does not exist/is not available")]
    MethodNotFound(String),
    /// A subscription over HTTP.
    #[error("notifications not supported")]
    NotificationsUnsupported,
    /// No such kind of subscription.
    #[error("no {name:?} subscription in {namespace} namespace")]
    NoSubscription {
        /// What was asked for.
        name: String,
        /// Where.
        namespace: &'static str,
    },
    /// The parameters do not fit the method.
    #[error("{0}")]
    InvalidParams(String),
    /// The request is sound, the answer is no.
    #[error("{0}")]
    Server(String),
    /// An EVM call reverted.
    #[error("{message}")]
    Reverted {
        /// `execution reverted`, with the reason where there is one.
        message: String,
        /// What the contract returned.
        data: Bytes,
    },
    /// The answer was not ready within the server's time limit.
    #[error("request timed out")]
    Timeout,
    /// The client has sent more requests than it may.
    #[error("rate limit exceeded")]
    RateLimited {
        /// How long until there is room for one more.
        wait: Duration,
    },
    /// The caller's key or token allows for other methods only.
    #[error("the method {0} is not allowed with this API key")]
    MethodNotAllowed(String),
    /// The caller's key was taken back while it was connected.
    #[error("the API key is no longer valid")]
    Unauthorized,
    /// The batch's answers are longer than the limit.
    #[error("response too large")]
    ResponseTooLarge,
    /// This replica has not got the block that the caller has seen.
    #[error("block {wanted} is not here yet, this gateway is at block {head}; try again")]
    Behind {
        /// The block of `x-quintet-min-block`.
        wanted: u64,
        /// The newest block held.
        head: u64,
    },
    /// Another service or the store cannot be reached; the same request may succeed later.
    #[error("{0}")]
    Unavailable(String),
    /// A reorg took the block away while it was read, again and again.
    #[error("the chain changed while the state was read; try again")]
    ChainChanged,
    /// Something failed inside.
    #[error("internal error")]
    Internal,
}

impl RpcError {
    /// The JSON-RPC code.
    pub const fn code(&self) -> i32 {
        match self {
            Self::Parse => -32700,
            Self::InvalidRequest(_) => -32600,
            Self::MethodNotFound(_)
            | Self::MethodNotAllowed(_)
            | Self::NotificationsUnsupported
            | Self::NoSubscription { .. } => -32601,
            Self::InvalidParams(_) => -32602,
            Self::Internal => -32603,
            Self::Server(_) | Self::ChainChanged | Self::Unauthorized => -32000,
            // EIP-1474: limit exceeded.
            Self::RateLimited { .. } => -32005,
            Self::Behind { .. } | Self::Unavailable(_) => -32001,
            Self::Timeout => -32002,
            Self::ResponseTooLarge => -32003,
            Self::Reverted { .. } => 3,
        }
    }

    /// An error with code -32000.
    pub(crate) fn server(text: impl Into<String>) -> Self {
        Self::Server(text.into())
    }

    /// The store, which alone has the state after this block, does not answer.
    pub(crate) fn state_unavailable(block: u64) -> Self {
        Self::Server(format!(
            "state at block {block} is not available now: the store does not answer; try again"
        ))
    }

    /// The state with this root is from before the first one that the store holds; in geth's words.
    pub(crate) fn state_not_held(root: &B256) -> Self {
        Self::Server(format!("historical state {} is not available", hex::encode(root)))
    }

    /// An error with code -32602.
    pub(crate) fn params(text: impl Into<String>) -> Self {
        Self::InvalidParams(text.into())
    }

    /// Logs a failure that the caller must not see the text of.
    pub(crate) fn internal(error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(target: "quintet_gateway", error, "request failed inside");
        Self::Internal
    }

    /// Appends the error's object: code, message and data.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let mut object = Object::new(out);
        json::value(object.key("code"), &self.code());
        object.string("message", &self.to_string());
        if let Self::Reverted { data, .. } = self {
            object.data("data", data);
        }
        object.end();
    }
}

impl From<StoreError> for RpcError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Reverted { .. } | StoreError::UnknownBlock { .. } => Self::ChainChanged,
            // Logged once, where it began.
            StoreError::Unavailable { .. } => Self::server(
                "what was asked for is not held here, and the store does not answer now; try again",
            ),
            StoreError::StateNotHeld { block, .. } => {
                Self::server(format!("historical state of block {block} is not available"))
            }
            error => Self::internal(&error),
        }
    }
}

impl From<StateError> for RpcError {
    fn from(error: StateError) -> Self {
        if let Some(store) = error.0.downcast_ref::<StoreError>() {
            return store.clone().into();
        }
        // A read that the gateway itself stopped.
        error.0.downcast_ref::<Self>().cloned().unwrap_or_else(|| Self::internal(&error))
    }
}

impl From<ChainError> for RpcError {
    fn from(error: ChainError) -> Self {
        match error {
            ChainError::Rejected(text) | ChainError::Unimplemented(text) => Self::Server(text),
            ChainError::Unavailable(_) => {
                tracing::warn!(target: "quintet_gateway", %error, "chain service is unavailable");
                Self::Unavailable(
                    "chain service unavailable; the request was not carried out, try again".into(),
                )
            }
            ChainError::Interrupted(_) => {
                tracing::warn!(target: "quintet_gateway", %error, "chain service is unavailable");
                Self::Unavailable(
                    "chain service unavailable; whether the request was carried out is not known, try again"
                        .into(),
                )
            }
            ChainError::Internal | ChainError::Malformed(_) => Self::internal(&error),
        }
    }
}
