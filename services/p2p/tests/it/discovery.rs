//! Candidates and lookups of a scripted discovery service.

use crate::chain::{Chain, DEADLINE, status_at};
use crate::node::{Node, settings};
use crate::wire::Wire;
use alloy_eip2124::{EnrForkIdEntry, ForkHash, ForkId};
use alloy_rlp::Decodable;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use parking_lot::Mutex;
use quintet_chain_api::LinkStatus;
use quintet_discovery_api::{DiscoveryService, DiscoveryServiceServer};
use quintet_enode::{Enode, NodeKey, RecordBuilder};
use quintet_p2p::Settings;
use quintet_proto::common::v1::{GetInfoRequest, GetInfoResponse, NodeRecord};
use quintet_proto::discovery::v1 as proto;
use quintet_service::Service;
use quintet_service::grpc::Transport;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::{broadcast, mpsc};
use tokio_stream::wrappers::BroadcastStream;
use tonic::{Request, Response, Status};

/// Discovery as the test says it.
#[derive(Clone)]
struct Discovery {
    candidates: broadcast::Sender<Option<NodeRecord>>,
    subscriptions: mpsc::UnboundedSender<proto::StreamCandidatesRequest>,
    answers: Arc<Mutex<Vec<NodeRecord>>>,
    own: Arc<Mutex<NodeRecord>>,
    entries: Arc<Mutex<Vec<proto::EnrEntry>>>,
}

impl Discovery {
    fn new() -> (Self, mpsc::UnboundedReceiver<proto::StreamCandidatesRequest>) {
        let (subscriptions, subscribed) = mpsc::unbounded_channel();
        let candidates = broadcast::Sender::new(16);
        (
            Self {
                candidates,
                subscriptions,
                answers: Arc::default(),
                own: Arc::default(),
                entries: Arc::default(),
            },
            subscribed,
        )
    }

    fn transport(&self) -> Transport {
        Transport::local(Service::P2p, DiscoveryServiceServer::new(self.clone()))
    }

    /// The fork id that the record is to have.
    fn announced(&self) -> ForkId {
        let entries = self.entries.lock();
        assert!(entries.iter().any(|entry| entry.key == "snap" && entry.value.as_ref() == [0xc0]));
        let eth = entries.iter().find(|entry| entry.key == "eth").expect("an entry");
        EnrForkIdEntry::decode(&mut eth.value.as_ref()).expect("valid").fork_id
    }

    fn find(&self, node: NodeRecord) {
        self.candidates.send(Some(node)).expect("somebody listens");
    }
}

fn url(node: &Enode) -> NodeRecord {
    NodeRecord { enr: Vec::new().into(), enode: node.to_string() }
}

#[tonic::async_trait]
impl DiscoveryService for Discovery {
    type StreamCandidatesStream = BoxStream<'static, Result<proto::StreamCandidatesResponse, Status>>;

    async fn get_info(&self, _: Request<GetInfoRequest>) -> Result<Response<GetInfoResponse>, Status> {
        Err(Status::unimplemented("not asked"))
    }

    async fn get_self(
        &self,
        _: Request<proto::GetSelfRequest>,
    ) -> Result<Response<proto::GetSelfResponse>, Status> {
        let record = Some(self.own.lock().clone());
        Ok(Response::new(proto::GetSelfResponse { record, sequence: 1 }))
    }

    async fn lookup(
        &self,
        _: Request<proto::LookupRequest>,
    ) -> Result<Response<proto::LookupResponse>, Status> {
        Ok(Response::new(proto::LookupResponse { nodes: self.answers.lock().clone() }))
    }

    async fn stream_candidates(
        &self,
        request: Request<proto::StreamCandidatesRequest>,
    ) -> Result<Response<Self::StreamCandidatesStream>, Status> {
        let found = BroadcastStream::new(self.candidates.subscribe());
        // `None` ends the stream.
        let found = found.map(|node| node.expect("none is missed"));
        let found = found.take_while(|node| std::future::ready(node.is_some()));
        let found = found.map(|node| {
            let found_by = proto::Protocol::Discv4.into();
            Ok(proto::StreamCandidatesResponse { node, found_by })
        });
        let _ = self.subscriptions.send(request.into_inner());
        Ok(Response::new(found.boxed()))
    }

    async fn list_table(
        &self,
        _: Request<proto::ListTableRequest>,
    ) -> Result<Response<proto::ListTableResponse>, Status> {
        Err(Status::unimplemented("not asked"))
    }

    async fn add_node(
        &self,
        _: Request<proto::AddNodeRequest>,
    ) -> Result<Response<proto::AddNodeResponse>, Status> {
        Err(Status::unimplemented("not asked"))
    }

    async fn set_enr_entry(
        &self,
        request: Request<proto::SetEnrEntryRequest>,
    ) -> Result<Response<proto::SetEnrEntryResponse>, Status> {
        *self.entries.lock() = request.into_inner().entries;
        Ok(Response::new(proto::SetEnrEntryResponse { sequence: 1 }))
    }
}

async fn subscribed(subscriptions: &mut mpsc::UnboundedReceiver<proto::StreamCandidatesRequest>) -> [u8; 4] {
    let request = tokio::time::timeout(DEADLINE, subscriptions.recv()).await.expect("asked in time");
    request.expect("it lives").fork_hash.as_ref().try_into().expect("a fork hash")
}

#[tokio::test]
async fn what_discovery_finds_is_dialled_and_it_may_go_away() {
    let (discovery, mut subscriptions) = Discovery::new();
    let mut chains = [Chain::start().await, Chain::start().await, Chain::start().await];
    let [one, two, three] = &mut chains;
    let ours = Node::with_discovery(settings(), one, Some(discovery.transport())).await;
    let [found, later] = [Node::start(settings(), two).await, Node::start(settings(), three).await];
    assert_eq!(subscribed(&mut subscriptions).await, status_at(0).fork_hash);
    // Nodes of no use are passed over: nonsense, this node, one without a port.
    discovery.find(NodeRecord { enr: vec![1, 2, 3].into(), enode: "nonsense".to_owned() });
    discovery.find(url(&ours.enode()));
    discovery.find(url(&Enode { tcp: 0, ..later.enode() }));
    discovery.find(url(&found.enode()));
    let up = one.up().await;
    assert_eq!((up.peer, up.inbound), (found.id(), false));
    assert!(!ours.peers().await[0].static_node);

    // The stream ends, and is asked for again; a record does as well as a URL.
    discovery.candidates.send(None).expect("somebody listens");
    subscribed(&mut subscriptions).await;
    let key = NodeKey::generate();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let record = RecordBuilder::new(1).ip([127, 0, 0, 1].into()).tcp(port).sign(&key).expect("signed");
    discovery.find(NodeRecord { enr: Bytes::copy_from_slice(record.encode()), enode: String::new() });
    Wire::accept(&listener, &key).await;

    // Another fork id asks anew, and is announced.
    assert_eq!(discovery.announced(), ForkId { hash: ForkHash(status_at(0).fork_hash), next: 1_150_000 });
    let passed = status_at(1_150_000);
    one.set_status(LinkStatus { identity: 0, ..passed });
    assert_eq!(subscribed(&mut subscriptions).await, passed.fork_hash);
    assert_eq!(discovery.announced(), ForkId { hash: ForkHash(passed.fork_hash), next: passed.fork_next });
}

#[tokio::test]
async fn nodiscover_dials_static_nodes_alone_and_looks_them_up() {
    let (discovery, mut subscriptions) = Discovery::new();
    let mut chains = [Chain::start().await, Chain::start().await];
    let [one, two] = &mut chains;
    let other = Node::start(settings(), two).await;
    discovery.answers.lock().push(url(&other.enode()));
    let without = Settings { discover: false, ..settings() };
    let ours = Node::with_discovery(without, one, Some(discovery.transport())).await;
    // Only its key is known.
    ours.dial(Enode::incomplete(other.enode().public_key)).await;
    assert_eq!(one.up().await.peer, other.id());
    assert!(subscriptions.recv().now_or_never().is_none(), "no candidates are asked for");
    // Others may still read which chain it is on.
    ours.until("an announcement", || !discovery.entries.lock().is_empty()).await;
    assert_eq!(discovery.announced(), ForkId { hash: ForkHash(status_at(0).fork_hash), next: 1_150_000 });
}

#[tokio::test]
async fn the_node_is_as_discovery_announces_it() {
    let (discovery, _subscriptions) = Discovery::new();
    let mut chain = Chain::start().await;
    let settings = settings();
    let key = settings.key.clone();
    let node = Node::with_discovery(settings, &mut chain, Some(discovery.transport())).await;
    let record = |key: &NodeKey| {
        let record =
            RecordBuilder::new(1).ip([9, 9, 9, 9].into()).tcp(30303).udp(30303).sign(key).expect("signed");
        NodeRecord {
            enr: Bytes::copy_from_slice(record.encode()),
            enode: record.to_enode().expect("an endpoint").to_string(),
        }
    };
    // Discovery runs under another key: what it says is not of this node.
    *discovery.own.lock() = record(&NodeKey::generate());
    let local = node.client.local_node().await.expect("a node");
    assert_eq!((local.id, local.node), (key.node_id(), crate::node::record(node.enode())));
    *discovery.own.lock() = record(&key);
    let local = node.client.local_node().await.expect("a node");
    assert!(local.node.enode.contains("@9.9.9.9:30303") && !local.node.enr.is_empty(), "{local:?}");
    assert_eq!(local.listen_address, node.p2p.address().to_string());
}
