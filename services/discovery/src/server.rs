//! The RPCs of `quintet.discovery.v1.DiscoveryService`.

use crate::candidates::Found;
use crate::error::RequestError;
use crate::forks::ForkCheck;
use crate::node::{Discovery, TableEntry};
use alloy_eip2124::{ForkHash, ForkId};
use alloy_primitives::B256;
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _};
use quintet_discovery_api::{DiscoveryService, DiscoveryServiceServer, EnrEntry, NodeRecord, Protocol};
use quintet_enode::{Enode, Record};
use quintet_proto::common::v1::{GetInfoRequest, GetInfoResponse, NodeRecord as WireRecord};
use quintet_proto::discovery::v1 as proto;
use quintet_proto::discovery::v1::{
    AddNodeRequest, AddNodeResponse, GetSelfRequest, GetSelfResponse, ListTableRequest, ListTableResponse,
    LookupRequest, LookupResponse, SetEnrEntryRequest, SetEnrEntryResponse, StreamCandidatesRequest,
    StreamCandidatesResponse,
};
use quintet_service::{Service, grpc, info};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

impl Discovery {
    /// The gRPC server of this service: for a port, or for `Transport::local`.
    pub fn into_server(self) -> DiscoveryServiceServer<Self> {
        DiscoveryServiceServer::new(self)
    }
}

#[tonic::async_trait]
impl DiscoveryService for Discovery {
    type StreamCandidatesStream = BoxStream<'static, Result<StreamCandidatesResponse, Status>>;

    async fn get_info(&self, _: Request<GetInfoRequest>) -> Result<Response<GetInfoResponse>, Status> {
        Ok(Response::new(info::get_info(Service::Discovery)))
    }

    async fn get_self(&self, _: Request<GetSelfRequest>) -> Result<Response<GetSelfResponse>, Status> {
        let record = self.local().record();
        let node = wire(&self.local().enode(), Some(&record));
        Ok(Response::new(GetSelfResponse { record: Some(node), sequence: record.seq() }))
    }

    async fn lookup(&self, request: Request<LookupRequest>) -> Result<Response<LookupResponse>, Status> {
        let request = request.into_inner();
        let protocol = protocol(request.protocol())?;
        let target = B256::try_from(request.target.as_ref()).map_err(|_| invalid("a target has 32 bytes"))?;
        let nodes = self.lookup_nodes(target, protocol).await.map_err(|error| grpc::to_status(&error))?;
        let nodes = nodes.iter().map(|(enode, record)| wire(enode, record.as_ref())).collect();
        Ok(Response::new(LookupResponse { nodes }))
    }

    async fn stream_candidates(
        &self,
        request: Request<StreamCandidatesRequest>,
    ) -> Result<Response<Self::StreamCandidatesStream>, Status> {
        let request = request.into_inner();
        let hash: Option<[u8; 4]> = match request.fork_hash.len() {
            0 => None,
            _ => Some(request.fork_hash.as_ref().try_into().map_err(|_| invalid("a fork hash has 4 bytes"))?),
        };
        let fork_id = hash.map(|hash| ForkId { hash: ForkHash(hash), next: request.fork_next });
        let check = fork_id.map(|fork_id| ForkCheck::new(fork_id, self.spec()));
        let found = self.candidates().subscribe(check).ok_or(RequestError::TooManyStreams);
        let found = ReceiverStream::new(found.map_err(|error| grpc::to_status(&error))?);
        // Open streams must end before the server can.
        let found = found.take_until(self.token().clone().cancelled_owned().boxed());
        Ok(Response::new(found.map(|found| Ok(candidate(&found))).boxed()))
    }

    async fn list_table(&self, _: Request<ListTableRequest>) -> Result<Response<ListTableResponse>, Status> {
        let entries = self.table().iter().map(table_entry).collect();
        Ok(Response::new(ListTableResponse { entries }))
    }

    async fn add_node(&self, request: Request<AddNodeRequest>) -> Result<Response<AddNodeResponse>, Status> {
        let node =
            NodeRecord::required(request.into_inner().node).map_err(|error| invalid(&error.message))?;
        let (enode, record) = read_node(&node)?;
        let added =
            self.add_node_to_tables(&enode, record.as_ref()).map_err(|error| grpc::to_status(&error))?;
        Ok(Response::new(AddNodeResponse { added }))
    }

    async fn set_enr_entry(
        &self,
        request: Request<SetEnrEntryRequest>,
    ) -> Result<Response<SetEnrEntryResponse>, Status> {
        let entries = request.into_inner().entries.into_iter();
        let entries = entries.map(|entry| EnrEntry { key: entry.key, value: entry.value.into() }).collect();
        let sequence = self.local().set_entries(entries).map_err(RequestError::from);
        let sequence = sequence.map_err(|error| grpc::to_status(&error))?;
        Ok(Response::new(SetEnrEntryResponse { sequence }))
    }
}

fn invalid(what: &str) -> Status {
    grpc::to_status(&RequestError::Invalid(what.to_owned()))
}

fn protocol(protocol: proto::Protocol) -> Result<Protocol, Status> {
    Protocol::try_from(protocol).map_err(|_| invalid("a lookup needs a protocol"))
}

fn wire(enode: &Enode, record: Option<&Record>) -> WireRecord {
    let enr = record.map(|record| record.encode().to_vec()).unwrap_or_default();
    NodeRecord { enr: enr.into(), enode: enode.to_string() }.into()
}

fn candidate(found: &Found) -> StreamCandidatesResponse {
    let found_by = proto::Protocol::from(found.by).into();
    StreamCandidatesResponse { node: Some(wire(&found.enode, found.record.as_ref())), found_by }
}

fn table_entry(entry: &TableEntry) -> proto::TableEntry {
    proto::TableEntry {
        node: Some(wire(&entry.enode, entry.record.as_ref())),
        distance: entry.distance,
        replacement: entry.is_replacement,
        last_pong: entry.last_pong,
        failures: entry.failures,
    }
}

/// The node that a caller names by its record, its URL, or both.
fn read_node(node: &NodeRecord) -> Result<(Enode, Option<Record>), Status> {
    let record = (!node.enr.is_empty()).then(|| Record::decode(&node.enr)).transpose();
    let record = record.map_err(|error| invalid(&format!("invalid record: {error}")))?;
    let enode = match (node.enode.as_str(), &record) {
        ("", Some(record)) => record.to_enode().ok_or_else(|| invalid("the record has no address"))?,
        (url, _) => url.parse().map_err(|error| invalid(&format!("invalid enode: {error}")))?,
    };
    if record.as_ref().is_some_and(|record| record.public_key() != enode.public_key) {
        return Err(invalid("the record and the URL are of two nodes"));
    }
    Ok((enode, record))
}
