//! The discovery service to those who use it: its domain types, its trait and its client.

mod client;
mod types;

pub use client::{CandidateStream, DiscoveryClient};
pub use quintet_proto::discovery::v1::discovery_service_server::{DiscoveryService, DiscoveryServiceServer};
pub use quintet_service::grpc::{ErrorKind, RpcError};
pub use types::{Candidate, EnrEntry, LocalNode, NodeRecord, Protocol, TableEntry};
