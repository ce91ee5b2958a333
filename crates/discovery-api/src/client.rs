//! The gRPC client, in domain types. Cheap to clone; the same over a process-local and a remote transport.

use crate::{Candidate, EnrEntry, LocalNode, NodeRecord, Protocol, TableEntry};
use alloy_primitives::B256;
use futures::{Stream, StreamExt};
use quintet_proto::common::v1::{GetInfoRequest, ServiceInfo};
use quintet_proto::discovery::v1 as proto;
use quintet_proto::discovery::v1::discovery_service_client::DiscoveryServiceClient;
use quintet_service::grpc::{RpcError, Transport};
use std::pin::Pin;

/// Nodes as they are found; ends when the service goes away.
pub type CandidateStream = Pin<Box<dyn Stream<Item = Result<Candidate, RpcError>> + Send>>;

/// A client of the discovery service.
#[derive(Clone, Debug)]
pub struct DiscoveryClient {
    rpc: DiscoveryServiceClient<Transport>,
}

impl DiscoveryClient {
    /// A client over `transport`.
    pub fn new(transport: Transport) -> Self {
        Self { rpc: DiscoveryServiceClient::new(transport) }
    }

    /// Name, build and contract version of the service.
    pub async fn info(&self) -> Result<ServiceInfo, RpcError> {
        let response = self.rpc.clone().get_info(GetInfoRequest {}).await?.into_inner();
        response.info.ok_or_else(|| RpcError::malformed("no info"))
    }

    /// The local node's record.
    pub async fn local_node(&self) -> Result<LocalNode, RpcError> {
        self.rpc.clone().get_self(proto::GetSelfRequest {}).await?.into_inner().try_into()
    }

    /// Looks up the nodes closest to a Keccak-256 node id: at most 16, closest first.
    pub async fn lookup(&self, target: B256, protocol: Protocol) -> Result<Vec<NodeRecord>, RpcError> {
        let request = proto::LookupRequest {
            target: target.to_vec().into(),
            protocol: proto::Protocol::from(protocol).into(),
        };
        let response = self.rpc.clone().lookup(request).await?.into_inner();
        response.nodes.into_iter().map(|node| NodeRecord::required(Some(node))).collect()
    }

    /// Nodes worth dialling as they are found; with `fork` (hash and next, EIP-2124) only those compatible with it.
    pub async fn candidates(&self, fork: Option<([u8; 4], u64)>) -> Result<CandidateStream, RpcError> {
        let request = match fork {
            Some((hash, next)) => {
                proto::StreamCandidatesRequest { fork_hash: hash.to_vec().into(), fork_next: next }
            }
            None => proto::StreamCandidatesRequest::default(),
        };
        let stream = self.rpc.clone().stream_candidates(request).await?.into_inner();
        Ok(stream.map(|candidate| candidate?.try_into()).boxed())
    }

    /// The node table.
    pub async fn table(&self) -> Result<Vec<TableEntry>, RpcError> {
        let response = self.rpc.clone().list_table(proto::ListTableRequest {}).await?.into_inner();
        response.entries.into_iter().map(TableEntry::try_from).collect()
    }

    /// Adds a node, to be verified by an endpoint proof; false when the table has no room for it.
    pub async fn add_node(&self, node: NodeRecord) -> Result<bool, RpcError> {
        let request = proto::AddNodeRequest { node: Some(node.into()) };
        Ok(self.rpc.clone().add_node(request).await?.into_inner().added)
    }

    /// Sets entries of the local record; gives the sequence number of the newly signed one.
    pub async fn set_enr_entries(&self, entries: Vec<EnrEntry>) -> Result<u64, RpcError> {
        let entries = entries.into_iter().map(Into::into).collect();
        Ok(self.rpc.clone().set_enr_entry(proto::SetEnrEntryRequest { entries }).await?.into_inner().sequence)
    }
}
