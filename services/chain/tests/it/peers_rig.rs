//! A chain with its link, and a scripted p2p on it.

use crate::fixture::{Bare, small_batches};
use alloy_primitives::{B256, U256};
use futures::StreamExt;
use quintet_chain::peers::{PeerChange, PeerId};
use quintet_chain::{PeerLinkServer, Peers};
use quintet_chain_api::{
    LinkCommand, LinkCommands, LinkFrame, LinkHello, LinkStatus, PeerLinkClient, PeerMessage, PeerUp, Traced,
    WireProtocol,
};
use quintet_eth_wire::{BlockRange, EthMessage, EthVersion, SnapMessage, Status};
use quintet_service::grpc::{GrpcConfig, GrpcServer, Transport};
use quintet_service::{Readiness, Service, Supervisor};
use quintet_testkit::generate::{Generator, Network, Options};
use quintet_types::{Block, ExecutedBlock, TraceContext};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::Receiver;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;

/// What nothing here may take longer than.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) struct Rig {
    pub(crate) bare: Bare,
    pub(crate) blocks: Vec<ExecutedBlock>,
    pub(crate) peers: Peers,
    pub(crate) supervisor: Supervisor,
    transport: Transport,
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.supervisor.shutdown();
    }
}

pub(crate) fn peer(n: u8) -> PeerId {
    B256::repeat_byte(n)
}

pub(crate) async fn in_time<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, work).await.unwrap_or_else(|_| panic!("{what} took too long"))
}

impl Rig {
    /// A chain of so many generated blocks.
    pub(crate) fn new(network: Network, blocks: usize) -> Self {
        let mut generator = Generator::new(Options::small(network));
        let blocks: Vec<ExecutedBlock> = (0..blocks).map(|_| generator.next_block()).collect();
        let bare = Bare::temporary(generator.spec());
        let plain: Vec<Block> = blocks.iter().map(|executed| executed.block.block.clone()).collect();
        bare.import_all(&plain, &small_batches()).unwrap();
        Self::around(bare, blocks)
    }

    pub(crate) fn around(bare: Bare, blocks: Vec<ExecutedBlock>) -> Self {
        let peers = Peers::new(Arc::clone(&bare.chain));
        let supervisor = Supervisor::new();
        peers.spawn(&supervisor);
        let server = PeerLinkServer::new(peers.clone(), supervisor.token()).into_server();
        let transport = Transport::local(Service::P2p, server);
        Self { bare, blocks, peers, supervisor, transport }
    }

    /// The same over a port.
    pub(crate) async fn over_grpc(mut self) -> Self {
        let config = GrpcConfig { addr: "127.0.0.1".to_owned(), port: 0 };
        let server = GrpcServer::bind(&config, Readiness::new()).await.unwrap();
        let address = server.local_addr().unwrap();
        let service = PeerLinkServer::new(self.peers.clone(), self.supervisor.token()).into_server();
        let serving = server.with(service).serve(self.supervisor.token());
        self.supervisor.spawn("gRPC server", serving);
        self.transport = Transport::remote(Service::P2p, &format!("http://{address}"), DEADLINE).unwrap();
        self
    }

    /// A link of the instance `n`, past its hello.
    pub(crate) async fn link(&self, n: u8) -> Script {
        self.link_holding(n, None).await
    }

    pub(crate) async fn link_holding(&self, n: u8, held_identity: Option<u32>) -> Script {
        let (frames, queued) = mpsc::unbounded_channel();
        let hello = LinkHello { instance: [n; 16], contract_minor: 1, held_identity };
        frames.send(Traced::untraced(LinkFrame::Hello(hello))).unwrap();
        let client = PeerLinkClient::new(self.transport.clone());
        let commands =
            in_time("connect", client.connect(UnboundedReceiverStream::new(queued))).await.unwrap();
        Script { frames, commands, versions: [EthVersion::Eth68; 256] }
    }

    pub(crate) fn client(&self) -> PeerLinkClient {
        PeerLinkClient::new(self.transport.clone())
    }
}

/// What a p2p instance says and hears.
pub(crate) struct Script {
    pub(crate) frames: mpsc::UnboundedSender<Traced<LinkFrame>>,
    commands: LinkCommands,
    versions: [EthVersion; 256],
}

impl Script {
    pub(crate) fn frame(&self, frame: LinkFrame) {
        self.frames.send(Traced::untraced(frame)).unwrap();
    }

    /// A peer is up; it claims nothing that would be worth a sync.
    pub(crate) fn up(&mut self, n: u8, version: EthVersion) {
        self.up_at(n, version, U256::ZERO, 0);
    }

    pub(crate) fn up_at(&mut self, n: u8, version: EthVersion, total_difficulty: U256, number: u64) {
        self.versions[usize::from(n)] = version;
        let ranged = version.has_block_range();
        let head = B256::repeat_byte(0xee);
        let status = Status {
            version,
            network_id: 1337,
            genesis: B256::ZERO,
            head,
            fork_id: None,
            total_difficulty: (!ranged).then_some(total_difficulty),
            range: ranged.then_some(BlockRange { earliest: 0, latest: number, latest_hash: head }),
        };
        let number = u8::try_from(version.number()).unwrap();
        self.frame(LinkFrame::Up(PeerUp {
            peer: peer(n),
            protocols: vec![WireProtocol::Eth(number), WireProtocol::Snap(1)],
            name: format!("Scripted/{n}"),
            status: status.encode(),
            inbound: n.is_multiple_of(2),
            trusted: false,
        }));
    }

    pub(crate) fn down(&self, n: u8) {
        self.frame(LinkFrame::Down { peer: peer(n), reason: 8 });
    }

    pub(crate) fn raw(&self, n: u8, protocol: WireProtocol, code: u32, payload: impl Into<bytes::Bytes>) {
        let payload = payload.into();
        self.frame(LinkFrame::Message(PeerMessage { peer: peer(n), protocol, code, payload }));
    }

    pub(crate) fn eth(&self, n: u8) -> WireProtocol {
        WireProtocol::Eth(u8::try_from(self.versions[usize::from(n)].number()).unwrap())
    }

    pub(crate) fn say(&self, n: u8, message: &EthMessage) {
        self.say_traced(n, message, TraceContext::default());
    }

    pub(crate) fn say_traced(&self, n: u8, message: &EthMessage, trace: TraceContext) {
        let code = u32::try_from(message.id().code()).unwrap();
        let payload = message.encode(self.versions[usize::from(n)]);
        let value = LinkFrame::Message(PeerMessage { peer: peer(n), protocol: self.eth(n), code, payload });
        self.frames.send(Traced { trace, value }).unwrap();
    }

    pub(crate) fn say_snap(&self, n: u8, message: &SnapMessage) {
        let code = u32::try_from(message.id().code()).unwrap();
        self.raw(n, WireProtocol::Snap(1), code, message.encode());
    }

    /// The next command; `None` at the link's end.
    pub(crate) async fn command(&mut self) -> Option<LinkCommand> {
        let command = in_time("a command", self.commands.next()).await;
        command.and_then(Result::ok).map(|command| command.value)
    }

    /// The next command, however long it takes.
    pub(crate) async fn next_command(&mut self) -> Option<LinkCommand> {
        self.commands.next().await.and_then(Result::ok).map(|command| command.value)
    }

    pub(crate) async fn status(&mut self) -> LinkStatus {
        loop {
            if let LinkCommand::Status(status) = self.command().await.expect("a status") {
                return status;
            }
        }
    }

    /// The next message, and to whom it is.
    pub(crate) async fn message(&mut self) -> (Vec<PeerId>, EthMessage) {
        loop {
            match self.command().await.expect("a message") {
                LinkCommand::Send(send) if send.protocol.name() == "eth" => {
                    let version = EthVersion::from_number(send.protocol.version().into()).unwrap();
                    let message = EthMessage::decode(version, send.code.into(), &send.payload).unwrap();
                    return (send.peers, message);
                }
                LinkCommand::Status(_) => {}
                other => panic!("{other:?} instead of a message"),
            }
        }
    }

    /// The next message that is no gossip of transactions.
    pub(crate) async fn answer(&mut self) -> (Vec<PeerId>, EthMessage) {
        loop {
            match self.message().await {
                (_, EthMessage::Transactions(_) | EthMessage::NewPooledTransactionHashes(_)) => {}
                other => return other,
            }
        }
    }

    pub(crate) async fn snap_message(&mut self) -> SnapMessage {
        loop {
            match self.command().await.expect("a message") {
                LinkCommand::Send(send) if send.protocol == WireProtocol::Snap(1) => {
                    return SnapMessage::decode(send.code.into(), &send.payload).unwrap();
                }
                LinkCommand::Send(_) | LinkCommand::Status(_) => {}
                other => panic!("{other:?} instead of a message"),
            }
        }
    }

    /// The next penalty: its weight and reason. Messages before it are passed over.
    pub(crate) async fn penalty(&mut self, n: u8) -> (u32, String) {
        loop {
            match self.command().await.expect("a penalty") {
                LinkCommand::Penalise { peer: id, weight, reason } => {
                    assert_eq!(id, peer(n), "{reason}");
                    return (weight, reason);
                }
                LinkCommand::Send(_) | LinkCommand::Status(_) | LinkCommand::Disconnect { .. } => {}
            }
        }
    }

    pub(crate) async fn disconnect(&mut self, n: u8) -> u32 {
        loop {
            match self.command().await.expect("a disconnect") {
                LinkCommand::Disconnect { peer: id, reason } => {
                    assert_eq!(id, peer(n));
                    return reason;
                }
                LinkCommand::Send(_) | LinkCommand::Status(_) | LinkCommand::Penalise { .. } => {}
            }
        }
    }

    /// That nothing is said to peers for a while.
    pub(crate) async fn assert_silent(&mut self) {
        let quiet = Duration::from_millis(300);
        while let Ok(command) = tokio::time::timeout(quiet, self.commands.next()).await {
            let command = command.expect("the link is open").unwrap().value;
            assert!(matches!(command, LinkCommand::Status(_)), "{command:?}");
        }
    }
}

/// The next change that `wanted` takes.
pub(crate) async fn change<T>(
    changes: &mut Receiver<PeerChange>,
    mut wanted: impl FnMut(PeerChange) -> Option<T>,
) -> T {
    in_time("a change", async {
        loop {
            if let Some(found) = wanted(changes.recv().await.expect("a change")) {
                return found;
            }
        }
    })
    .await
}

/// Waits until so many peers are connected.
pub(crate) async fn connected(rig: &Rig, count: usize) {
    in_time("peers", async {
        while rig.peers.len() != count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}
