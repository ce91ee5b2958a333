//! The p2p service to those who use it: its domain types, its trait and its client.

mod client;
mod types;

pub use client::{PeerClient, PeerEventStream};
pub use quintet_discovery_api::NodeRecord;
pub use quintet_proto::p2p::v1::peer_service_server::{PeerService, PeerServiceServer};
pub use quintet_service::grpc::{ErrorKind, RpcError};
pub use types::{EthStatus, LocalNode, Message, Peer, PeerEvent, PeerEventKind};
