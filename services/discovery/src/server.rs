//! The RPCs of `quintet.discovery.v1.DiscoveryService`.

use futures::stream::Empty;
use quintet_discovery_api::{DiscoveryService, DiscoveryServiceServer};
use quintet_proto::common::v1::{GetInfoRequest, GetInfoResponse};
use quintet_proto::discovery::v1::{
    AddNodeRequest, AddNodeResponse, GetSelfRequest, GetSelfResponse, ListTableRequest, ListTableResponse,
    LookupRequest, LookupResponse, SetEnrEntryRequest, SetEnrEntryResponse, StreamCandidatesRequest,
    StreamCandidatesResponse,
};
use quintet_service::{Service, grpc, info};
use tonic::{Request, Response, Status};

/// The discovery service.
#[derive(Clone, Copy, Debug, Default)]
pub struct Discovery;

impl Discovery {
    /// The service, without a node table so far.
    pub const fn new() -> Self {
        Self
    }

    /// The gRPC server of this service: for a port, or for `Transport::local`.
    pub fn into_server(self) -> DiscoveryServiceServer<Self> {
        DiscoveryServiceServer::new(self)
    }
}

#[tonic::async_trait]
impl DiscoveryService for Discovery {
    type StreamCandidatesStream = Empty<Result<StreamCandidatesResponse, Status>>;

    async fn get_info(&self, _: Request<GetInfoRequest>) -> Result<Response<GetInfoResponse>, Status> {
        Ok(Response::new(info::get_info(Service::Discovery)))
    }

    async fn get_self(&self, _: Request<GetSelfRequest>) -> Result<Response<GetSelfResponse>, Status> {
        Err(grpc::unimplemented("the local node record needs a node key and a UDP endpoint"))
    }

    async fn lookup(&self, _: Request<LookupRequest>) -> Result<Response<LookupResponse>, Status> {
        Err(grpc::unimplemented("lookups need the discv4 or discv5 protocol"))
    }

    async fn stream_candidates(
        &self,
        _: Request<StreamCandidatesRequest>,
    ) -> Result<Response<Self::StreamCandidatesStream>, Status> {
        Err(grpc::unimplemented("candidates need the discv4 or discv5 protocol"))
    }

    async fn list_table(&self, _: Request<ListTableRequest>) -> Result<Response<ListTableResponse>, Status> {
        Err(grpc::unimplemented("the node table"))
    }

    async fn add_node(&self, _: Request<AddNodeRequest>) -> Result<Response<AddNodeResponse>, Status> {
        Err(grpc::unimplemented("the node table"))
    }

    async fn set_enr_entry(
        &self,
        _: Request<SetEnrEntryRequest>,
    ) -> Result<Response<SetEnrEntryResponse>, Status> {
        Err(grpc::unimplemented("the local node record needs a node key and a UDP endpoint"))
    }
}
