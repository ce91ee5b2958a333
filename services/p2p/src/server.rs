//! The RPCs of `quintet.p2p.v1.PeerService`.

use futures::stream::Empty;
use quintet_p2p_api::{PeerService, PeerServiceServer};
use quintet_proto::common::v1::{GetInfoRequest, GetInfoResponse};
use quintet_proto::p2p::v1::{
    AddPeerRequest, AddPeerResponse, AddTrustedPeerRequest, AddTrustedPeerResponse, GetNodeInfoRequest,
    GetNodeInfoResponse, ListPeersRequest, ListPeersResponse, RemovePeerRequest, RemovePeerResponse,
    RemoveTrustedPeerRequest, RemoveTrustedPeerResponse, StreamPeerEventsRequest, StreamPeerEventsResponse,
};
use quintet_service::{Service, grpc, info};
use tonic::{Request, Response, Status};

/// What every RPC that touches a session lacks.
const NO_SESSIONS: &str = "sessions with peers need the RLPx transport and the dialer";

/// The p2p service.
#[derive(Clone, Copy, Debug, Default)]
pub struct P2p;

impl P2p {
    /// The service, without sessions so far.
    pub const fn new() -> Self {
        Self
    }

    /// The gRPC server of this service: for a port, or for `Transport::local`.
    pub fn into_server(self) -> PeerServiceServer<Self> {
        PeerServiceServer::new(self)
    }
}

#[tonic::async_trait]
impl PeerService for P2p {
    type StreamPeerEventsStream = Empty<Result<StreamPeerEventsResponse, Status>>;

    async fn get_info(&self, _: Request<GetInfoRequest>) -> Result<Response<GetInfoResponse>, Status> {
        Ok(Response::new(info::get_info(Service::P2p)))
    }

    /// No session can exist yet, so the list is empty.
    async fn list_peers(&self, _: Request<ListPeersRequest>) -> Result<Response<ListPeersResponse>, Status> {
        Ok(Response::new(ListPeersResponse { peers: Vec::new() }))
    }

    async fn get_node_info(
        &self,
        _: Request<GetNodeInfoRequest>,
    ) -> Result<Response<GetNodeInfoResponse>, Status> {
        Err(grpc::unimplemented("the node key and the TCP listener"))
    }

    async fn add_peer(&self, _: Request<AddPeerRequest>) -> Result<Response<AddPeerResponse>, Status> {
        Err(grpc::unimplemented(NO_SESSIONS))
    }

    async fn remove_peer(
        &self,
        _: Request<RemovePeerRequest>,
    ) -> Result<Response<RemovePeerResponse>, Status> {
        Err(grpc::unimplemented(NO_SESSIONS))
    }

    async fn add_trusted_peer(
        &self,
        _: Request<AddTrustedPeerRequest>,
    ) -> Result<Response<AddTrustedPeerResponse>, Status> {
        Err(grpc::unimplemented(NO_SESSIONS))
    }

    async fn remove_trusted_peer(
        &self,
        _: Request<RemoveTrustedPeerRequest>,
    ) -> Result<Response<RemoveTrustedPeerResponse>, Status> {
        Err(grpc::unimplemented(NO_SESSIONS))
    }

    async fn stream_peer_events(
        &self,
        _: Request<StreamPeerEventsRequest>,
    ) -> Result<Response<Self::StreamPeerEventsStream>, Status> {
        Err(grpc::unimplemented(NO_SESSIONS))
    }
}
