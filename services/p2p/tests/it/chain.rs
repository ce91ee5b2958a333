//! A chain that says what the test says: the link's server and `GetChainSpec`, over real gRPC.

use alloy_primitives::{B256, U256};
use futures::StreamExt;
use parking_lot::Mutex;
use quintet_chain_api::{
    LinkCommand, LinkFrame, LinkHello, LinkStatus, MESSAGE_LIMIT, PeerMessage, PeerUp, SendMessage, Traced,
    WireProtocol,
};
use quintet_chainspec::{ChainSpec, Head};
use quintet_proto::chain::v1 as proto;
use quintet_proto::chain::v1::peer_link_service_server::{PeerLinkService, PeerLinkServiceServer};
use quintet_types::BlockRef;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tokio_stream::wrappers::{TcpListenerStream, UnboundedReceiverStream};
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

/// Deadline of every wait.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);
/// The network that all scripted chains are of, unless the test says otherwise.
pub(crate) const NETWORK: &str = "mainnet";

/// What an `eth` status says of this network at a block.
pub(crate) fn status_at(number: u64) -> LinkStatus {
    let spec = ChainSpec::preset(NETWORK).expect("a preset");
    let fork = spec.fork_id(Head { number, timestamp: 0 });
    LinkStatus {
        network_id: spec.network_id(),
        genesis: spec.genesis_hash(),
        head: BlockRef { number, hash: B256::from(U256::from(number)) },
        total_difficulty: U256::from(number) << 20,
        fork_hash: fork.hash.0,
        fork_next: fork.next,
        earliest_block: 0,
        identity: 0,
    }
}

/// A scripted chain: what p2p instances tell it, in order.
pub(crate) struct Chain {
    address: SocketAddr,
    shared: Arc<Shared>,
    frames: mpsc::UnboundedReceiver<Traced<LinkFrame>>,
    process: Option<Runtime>,
}

struct Shared {
    status: Mutex<LinkStatus>,
    links: Mutex<BTreeMap<u32, mpsc::UnboundedSender<Result<proto::ConnectResponse, Status>>>>,
    frames: mpsc::UnboundedSender<Traced<LinkFrame>>,
}

impl Chain {
    /// Starts one at genesis.
    pub(crate) async fn start() -> Self {
        Self::at(status_at(0)).await
    }

    /// Starts one with this status.
    pub(crate) async fn at(status: LinkStatus) -> Self {
        let (sender, frames) = mpsc::unbounded_channel();
        let shared = Shared { status: Mutex::new(status), links: Mutex::default(), frames: sender };
        let mut chain =
            Self { address: ([127, 0, 0, 1], 0).into(), shared: Arc::new(shared), frames, process: None };
        chain.serve().await;
        chain
    }

    /// Serves, at the same place as before.
    pub(crate) async fn serve(&mut self) {
        let listener = TcpListener::bind(self.address).await.expect("the port is free");
        self.address = listener.local_addr().expect("bound");
        let listener = listener.into_std().expect("a socket");
        let link = PeerLinkServiceServer::new(LinkServer(Arc::clone(&self.shared)));
        let server = Server::builder()
            .add_service(link.max_decoding_message_size(MESSAGE_LIMIT))
            .add_service(crate::chain_spec::SpecServer);
        // Its runtime is its process: all that it has ends with it.
        let process = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a thread");
        process.spawn(async move {
            let listener = TcpListener::from_std(listener).expect("a socket");
            server.serve_with_incoming(TcpListenerStream::new(listener)).await
        });
        self.process = Some(process);
    }

    /// Dies, and takes its connections with it.
    pub(crate) async fn die(&mut self) {
        if let Some(process) = self.process.take() {
            let ended = tokio::task::spawn_blocking(|| process.shutdown_timeout(DEADLINE));
            ended.await.expect("it ends");
        }
        self.shared.links.lock().clear();
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it says of its chain from now on, to all links.
    pub(crate) fn set_status(&self, status: LinkStatus) {
        *self.shared.status.lock() = status;
        for (identity, link) in &*self.shared.links.lock() {
            let command = LinkCommand::Status(LinkStatus { identity: *identity, ..status });
            let _ = link.send(Ok(Traced::untraced(command).into()));
        }
    }

    /// Tells all links.
    pub(crate) fn command(&self, command: LinkCommand) {
        self.traced(Traced::untraced(command));
    }

    /// The same, as part of a trace.
    pub(crate) fn traced(&self, command: Traced<LinkCommand>) {
        let message: proto::ConnectResponse = command.into();
        for link in self.shared.links.lock().values() {
            let _ = link.send(Ok(message.clone()));
        }
    }

    /// Sends a message of `eth/69` to a peer.
    pub(crate) fn send(&self, peer: B256, code: u32, payload: Vec<u8>) {
        let protocol = WireProtocol::Eth(69);
        let send = SendMessage { peers: vec![peer], protocol, code, payload: payload.into() };
        self.command(LinkCommand::Send(send));
    }

    /// Another instance has this identity.
    pub(crate) fn take_identity(&self, identity: u32) {
        self.shared.links.lock().insert(identity, mpsc::unbounded_channel().0);
    }

    /// The identities of its links.
    pub(crate) fn identities(&self) -> Vec<u32> {
        self.shared.links.lock().keys().copied().collect()
    }

    /// What it hears next.
    pub(crate) async fn frame(&mut self) -> Traced<LinkFrame> {
        let frame = tokio::time::timeout(DEADLINE, self.frames.recv()).await;
        frame.expect("a frame in time").expect("it lives")
    }

    /// What it hears within a moment, if anything.
    pub(crate) async fn frame_within(&mut self, time: Duration) -> Option<LinkFrame> {
        tokio::time::timeout(time, self.frames.recv()).await.ok().flatten().map(|frame| frame.value)
    }

    pub(crate) async fn hello(&mut self) -> LinkHello {
        match self.frame().await.value {
            LinkFrame::Hello(hello) => hello,
            other => panic!("no hello: {other:?}"),
        }
    }

    pub(crate) async fn up(&mut self) -> PeerUp {
        match self.frame().await.value {
            LinkFrame::Up(up) => up,
            other => panic!("no peer is up: {other:?}"),
        }
    }

    pub(crate) async fn down(&mut self) -> (B256, u32) {
        match self.frame().await.value {
            LinkFrame::Down { peer, reason } => (peer, reason),
            other => panic!("no peer is down: {other:?}"),
        }
    }

    pub(crate) async fn message(&mut self) -> PeerMessage {
        match self.frame().await.value {
            LinkFrame::Message(message) => message,
            other => panic!("no message: {other:?}"),
        }
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        if let Some(process) = self.process.take() {
            process.shutdown_background();
        }
    }
}

struct LinkServer(Arc<Shared>);

#[tonic::async_trait]
impl PeerLinkService for LinkServer {
    type ConnectStream = UnboundedReceiverStream<Result<proto::ConnectResponse, Status>>;

    async fn connect(
        &self,
        request: Request<Streaming<proto::ConnectRequest>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let mut frames = request.into_inner();
        let shared = Arc::clone(&self.0);
        let first: Traced<LinkFrame> =
            frames.message().await?.expect("a hello").try_into().expect("a valid frame");
        let LinkFrame::Hello(hello) = first.value.clone() else { panic!("no hello: {first:?}") };
        let (link, commands) = mpsc::unbounded_channel();
        let identity = {
            let mut links = shared.links.lock();
            let lowest = (0..=u32::MAX).find(|identity| !links.contains_key(identity)).expect("a number");
            let held = hello.held_identity.filter(|held| !links.contains_key(held));
            let identity = held.unwrap_or(lowest);
            links.insert(identity, link.clone());
            identity
        };
        let status = LinkStatus { identity, ..*shared.status.lock() };
        let _ = shared.frames.send(first);
        let _ = link.send(Ok(Traced::untraced(LinkCommand::Status(status)).into()));
        tokio::spawn(async move {
            while let Some(Ok(frame)) = frames.next().await {
                let frame = frame.try_into().expect("a valid frame");
                if shared.frames.send(frame).is_err() {
                    break;
                }
            }
        });
        Ok(Response::new(UnboundedReceiverStream::new(commands)))
    }
}
