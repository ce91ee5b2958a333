//! How other services speak with `chain`: domain types, their conversions from and to the contract's
//! messages, and the gRPC client.
//!
//! The service's trait is the generated `ChainService` itself: `ChainServiceClient::new(server)` is the same
//! client with no HTTP/2 under it, so a second trait for "local or remote" would say the same thing twice.

mod client;
mod convert;
pub mod diff;
mod error;
mod link;
mod types;

pub use client::{BLOCK_HASH_METADATA, ChainClient, EventStream, MESSAGE_LIMIT};
pub use convert::{
    block_from_bytes, block_id, executed_from_proto, executed_to_proto, pooled_to_proto, quantity, rlp,
    update_from_proto, update_to_proto,
};
pub use error::{ChainError, MINING_WAITS};
pub use link::{
    LinkCommand, LinkCommands, LinkFrame, LinkHello, LinkStatus, PeerLinkClient, PeerMessage, PeerUp,
    SendMessage, Traced, WireProtocol,
};
pub use types::{
    BuildRequest, BuiltWork, ChainHead, ChainUpdate, ImportFailure, ImportSummary, NetworkInfo,
    PendingAnswer, PendingVersion, PoolStatus, PooledTransaction, StateProgress, Submitted, SyncProgress,
};
