//! The gRPC client, in domain types. Cheap to clone; the same over a process-local and a remote transport.

use crate::{LocalNode, NodeRecord, Peer, PeerEvent};
use futures::{Stream, StreamExt};
use quintet_proto::common::v1::{GetInfoRequest, ServiceInfo};
use quintet_proto::p2p::v1 as proto;
use quintet_proto::p2p::v1::peer_service_client::PeerServiceClient;
use quintet_service::grpc::{RpcError, Transport};
use std::pin::Pin;

/// Events as they happen; ends when the service goes away.
pub type PeerEventStream = Pin<Box<dyn Stream<Item = Result<PeerEvent, RpcError>> + Send>>;

/// A client of the p2p service.
#[derive(Clone, Debug)]
pub struct PeerClient {
    rpc: PeerServiceClient<Transport>,
}

impl PeerClient {
    /// A client over `transport`.
    pub fn new(transport: Transport) -> Self {
        Self { rpc: PeerServiceClient::new(transport) }
    }

    /// Name, build and contract version of the service.
    pub async fn info(&self) -> Result<ServiceInfo, RpcError> {
        let response = self.rpc.clone().get_info(GetInfoRequest {}).await?.into_inner();
        response.info.ok_or_else(|| RpcError::malformed("no info"))
    }

    /// The peers connected now.
    pub async fn peers(&self) -> Result<Vec<Peer>, RpcError> {
        let response = self.rpc.clone().list_peers(proto::ListPeersRequest {}).await?.into_inner();
        response.peers.into_iter().map(Peer::try_from).collect()
    }

    /// The local node as peers see it.
    pub async fn local_node(&self) -> Result<LocalNode, RpcError> {
        self.rpc.clone().get_node_info(proto::GetNodeInfoRequest {}).await?.into_inner().try_into()
    }

    /// Dials a node, and redials it whenever it is lost.
    pub async fn add_peer(&self, node: NodeRecord) -> Result<(), RpcError> {
        self.rpc.clone().add_peer(proto::AddPeerRequest { node: Some(node.into()) }).await?;
        Ok(())
    }

    /// Forgets a static node and disconnects it.
    pub async fn remove_peer(&self, node: NodeRecord) -> Result<(), RpcError> {
        self.rpc.clone().remove_peer(proto::RemovePeerRequest { node: Some(node.into()) }).await?;
        Ok(())
    }

    /// Lets a node connect beyond the peer limit.
    pub async fn add_trusted_peer(&self, node: NodeRecord) -> Result<(), RpcError> {
        let request = proto::AddTrustedPeerRequest { node: Some(node.into()) };
        self.rpc.clone().add_trusted_peer(request).await?;
        Ok(())
    }

    /// Takes that back.
    pub async fn remove_trusted_peer(&self, node: NodeRecord) -> Result<(), RpcError> {
        let request = proto::RemoveTrustedPeerRequest { node: Some(node.into()) };
        self.rpc.clone().remove_trusted_peer(request).await?;
        Ok(())
    }

    /// Connects, disconnects and messages from now on.
    pub async fn events(&self) -> Result<PeerEventStream, RpcError> {
        let stream =
            self.rpc.clone().stream_peer_events(proto::StreamPeerEventsRequest {}).await?.into_inner();
        Ok(stream.map(|event| event?.try_into()).boxed())
    }
}
