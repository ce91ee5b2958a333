//! `quintet.p2p.v1.PeerService`: every RPC in one place.

use crate::dial::enode;
use crate::hub::Hub;
use crate::peer::Peer;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use quintet_discovery_api::{DiscoveryClient, NodeRecord};
use quintet_enode::{Enode, EnodeError, Record};
use quintet_p2p_api::{EthStatus, LocalNode, PeerService, PeerServiceServer};
use quintet_proto::common::v1 as common;
use quintet_proto::common::v1::{GetInfoRequest, GetInfoResponse};
use quintet_proto::p2p::v1::{
    AddPeerRequest, AddPeerResponse, AddTrustedPeerRequest, AddTrustedPeerResponse, GetNodeInfoRequest,
    GetNodeInfoResponse, ListPeersRequest, ListPeersResponse, RemovePeerRequest, RemovePeerResponse,
    RemoveTrustedPeerRequest, RemoveTrustedPeerResponse, StreamPeerEventsRequest, StreamPeerEventsResponse,
};
use quintet_service::{Service, info};
use std::future::ready;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio_stream::wrappers::BroadcastStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

/// How long discovery may take to say its record.
const DISCOVERY: Duration = Duration::from_secs(2);

/// The p2p service: answers its RPCs. Cheap to clone.
#[derive(Clone, Debug)]
pub struct P2p {
    pub(crate) hub: Arc<Hub>,
    pub(crate) discovery: Option<DiscoveryClient>,
    /// Where peers are listened for.
    pub(crate) address: SocketAddr,
    pub(crate) token: CancellationToken,
}

impl P2p {
    /// The gRPC server of this service: for a port, or for `Transport::local`.
    pub fn into_server(self) -> PeerServiceServer<Self> {
        PeerServiceServer::new(self)
    }

    /// Where peers are listened for.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The node as peers can dial it, once it has an identity. Only discovery knows the address that others see.
    pub fn node(&self) -> Option<Enode> {
        let own = self.hub.own()?;
        let ip = match self.address.ip() {
            ip if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            ip => ip,
        };
        Some(Enode { public_key: own.key.public(), ip, tcp: self.address.port(), udp: 0 })
    }

    /// What discovery says of this node, if it runs under the same key.
    async fn announced(&self, node: &Enode) -> Option<NodeRecord> {
        let asked = tokio::time::timeout(DISCOVERY, self.discovery.as_ref()?.local_node()).await;
        let record = asked.ok()?.ok()?.record;
        let is_ours = Record::decode(&record.enr).is_ok_and(|record| record.public_key() == node.public_key)
            || record.enode.parse::<Enode>().is_ok_and(|theirs| theirs.public_key == node.public_key);
        is_ours.then_some(record)
    }

    fn describe(&self, peer: &Peer) -> quintet_p2p_api::Peer {
        let head = *peer.head.lock();
        let eth = head.map(|head| EthStatus {
            version: u32::try_from(peer.protocols.eth.number()).unwrap_or(u32::MAX),
            total_difficulty: head.total_difficulty,
            head: head.block,
            earliest: head.earliest,
        });
        quintet_p2p_api::Peer {
            id: peer.id,
            node: peer.node(),
            name: peer.name.clone(),
            capabilities: peer.capabilities.clone(),
            local_address: peer.local.to_string(),
            remote_address: peer.remote.to_string(),
            inbound: peer.is_inbound(),
            trusted: peer.is_trusted(),
            static_node: self.hub.is_static(&peer.id),
            eth,
        }
    }
}

/// The node that a request names, by its URL or its record; geth's words if it names none.
fn required(node: Option<common::NodeRecord>) -> Result<Enode, Status> {
    let invalid = |reason: String| Status::invalid_argument(format!("invalid enode: {reason}"));
    let node = NodeRecord::required(node).map_err(|_| invalid("no node is given".to_owned()))?;
    if let Some(node) = enode(&node) {
        return Ok(node);
    }
    // A record without an endpoint names a node that discovery has to find.
    if let Ok(record) = Record::decode(&node.enr) {
        return Ok(Enode::incomplete(record.public_key()));
    }
    let reason = node.enode.parse::<Enode>().err().unwrap_or(EnodeError::NoNodeId);
    Err(invalid(reason.to_string()))
}

#[tonic::async_trait]
impl PeerService for P2p {
    type StreamPeerEventsStream = BoxStream<'static, Result<StreamPeerEventsResponse, Status>>;

    async fn get_info(&self, _: Request<GetInfoRequest>) -> Result<Response<GetInfoResponse>, Status> {
        Ok(Response::new(info::get_info(Service::P2p)))
    }

    async fn list_peers(&self, _: Request<ListPeersRequest>) -> Result<Response<ListPeersResponse>, Status> {
        let peers = self.hub.peers().iter().map(|peer| self.describe(peer).into()).collect();
        Ok(Response::new(ListPeersResponse { peers }))
    }

    async fn get_node_info(
        &self,
        _: Request<GetNodeInfoRequest>,
    ) -> Result<Response<GetNodeInfoResponse>, Status> {
        let node = self.node().ok_or_else(|| {
            Status::unavailable("the node has no identity yet: chain, which gives it, was not reached")
        })?;
        let listening = self.hub.settings.max_peers > 0;
        let announced = self.announced(&node).await;
        let local = LocalNode {
            id: node.node_id(),
            name: self.hub.settings.name.clone(),
            node: announced
                .unwrap_or_else(|| NodeRecord { enode: node.to_string(), ..NodeRecord::default() }),
            listen_address: self.address.to_string(),
            listening,
        };
        Ok(Response::new(local.into()))
    }

    async fn add_peer(&self, request: Request<AddPeerRequest>) -> Result<Response<AddPeerResponse>, Status> {
        self.hub.add_static(required(request.into_inner().node)?);
        Ok(Response::new(AddPeerResponse {}))
    }

    async fn remove_peer(
        &self,
        request: Request<RemovePeerRequest>,
    ) -> Result<Response<RemovePeerResponse>, Status> {
        self.hub.remove_static(&required(request.into_inner().node)?.node_id());
        Ok(Response::new(RemovePeerResponse {}))
    }

    async fn add_trusted_peer(
        &self,
        request: Request<AddTrustedPeerRequest>,
    ) -> Result<Response<AddTrustedPeerResponse>, Status> {
        self.hub.set_trusted(required(request.into_inner().node)?.node_id(), true);
        Ok(Response::new(AddTrustedPeerResponse {}))
    }

    async fn remove_trusted_peer(
        &self,
        request: Request<RemoveTrustedPeerRequest>,
    ) -> Result<Response<RemoveTrustedPeerResponse>, Status> {
        self.hub.set_trusted(required(request.into_inner().node)?.node_id(), false);
        Ok(Response::new(RemoveTrustedPeerResponse {}))
    }

    async fn stream_peer_events(
        &self,
        _: Request<StreamPeerEventsRequest>,
    ) -> Result<Response<Self::StreamPeerEventsStream>, Status> {
        let events = BroadcastStream::new(self.hub.events.subscribe());
        // A listener that is too slow has missed some; the rest goes on.
        let events = events.filter_map(|event| ready(event.ok().map(|event| Ok(event.into()))));
        let end = self.token.clone().cancelled_owned();
        Ok(Response::new(events.take_until(end.boxed()).boxed()))
    }
}
