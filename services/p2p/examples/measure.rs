//! Measures by hand: handshakes that a node takes in a second, and the memory of idle peers.
//!
//! `cargo run --example measure` starts a node with a chain that says nothing, and itself again as the peers, so that the
//! node's process has nothing but the node. Both share the machine's cores.

use alloy_primitives::{B256, U256};
use bytes::BytesMut;
use futures::StreamExt;
use futures::stream::BoxStream;
use quintet_chain_api::{LinkCommand, LinkStatus, Traced};
use quintet_enode::{Enode, NodeKey};
use quintet_eth_wire::{BlockRange, ChainStatus, EthVersion, Status};
use quintet_p2p::{Limits, P2p, Settings};
use quintet_proto::chain::v1 as proto;
use quintet_proto::chain::v1::peer_link_service_server::{PeerLinkService, PeerLinkServiceServer};
use quintet_rlpx::{Capability, Codec, Hello, Initiator, Message, base};
use quintet_service::grpc::Transport;
use quintet_service::{Context, Service};
use quintet_types::BlockRef;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const SECONDS: u64 = 5;
const DIALLERS: usize = 64;
const IDLE_PEERS: usize = 200;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => runtime.block_on(measure()),
        ["handshakes", node] => runtime.block_on(handshakes(node.parse()?)),
        ["idle", node] => runtime.block_on(idle(node.parse()?)),
        _ => Err("no arguments are needed".into()),
    }
}

async fn measure() -> Outcome<()> {
    let settings = Settings {
        key: NodeKey::generate(),
        addr: "127.0.0.1".to_owned(),
        port: 0,
        max_peers: 10_000,
        max_pending: 256,
        max_dialled: 0,
        discover: false,
        netrestrict: None,
        name: "Quintet/measure".to_owned(),
        static_nodes: Vec::new(),
        trusted_nodes: Vec::new(),
        limits: Limits::default(),
    };
    let context = Context::default();
    let chain = Transport::local(Service::P2p, PeerLinkServiceServer::new(Silent));
    let p2p = P2p::start(settings, chain, None, &context).await?;
    let node = loop {
        match p2p.node() {
            Some(node) => break node,
            None => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    };

    let before = resident()?;
    let mut peers = start("idle", &node)?;
    line(&mut peers).await?;
    // They settle.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let idle = resident()?.saturating_sub(before);
    peers.kill().await?;

    let before = cpu()?;
    let mut diallers = start("handshakes", &node)?;
    let done: f64 = line(&mut diallers).await?.parse()?;
    let used = cpu()? - before;
    println!("| measure | value |\n|---|---|");
    println!(
        "| inbound handshakes (RLPx and hello) per second, peers on the same two cores | {:.0} |",
        done / SECONDS as f64
    );
    println!("| the node's CPU time for one | {:.0} us |", used / done * 1e6);
    println!("| resident memory of {IDLE_PEERS} idle peers | {:.1} MiB |", idle as f64 / 1_048_576.0);
    context.supervisor.shutdown();
    Ok(())
}

/// Starts this program as peers of the node.
fn start(what: &str, node: &Enode) -> Outcome<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args([what, &node.to_string()]).stdout(std::process::Stdio::piped()).kill_on_drop(true);
    Ok(command.spawn()?)
}

async fn line(child: &mut Child) -> Outcome<String> {
    let output = child.stdout.take().ok_or("no output")?;
    let mut line = String::new();
    let mut output = BufReader::new(output);
    tokio::time::timeout(Duration::from_mins(1), output.read_line(&mut line)).await??;
    Ok(line.trim().to_owned())
}

fn resident() -> Outcome<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no figure")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse::<u64>()? << 10)
}

/// CPU seconds of this process.
fn cpu() -> Outcome<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit_once(')').ok_or("no name")?.1.split_whitespace().collect();
    let ticks: f64 =
        fields.get(11).ok_or("no time")?.parse::<f64>()? + fields.get(12).ok_or("no time")?.parse::<f64>()?;
    Ok(ticks / 100.0)
}

/// Dials again and again, from many tasks.
async fn handshakes(node: Enode) -> Outcome<()> {
    let (count, end) = (Arc::new(AtomicU64::new(0)), Instant::now() + Duration::from_secs(SECONDS));
    let tasks: Vec<_> = (0..DIALLERS)
        .map(|_| {
            let count = Arc::clone(&count);
            tokio::spawn(async move {
                while Instant::now() < end {
                    if greet(&node).await.is_ok() {
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await?;
    }
    println!("{}", count.load(Ordering::Relaxed));
    Ok(())
}

/// Connects peers, and does nothing more with them.
async fn idle(node: Enode) -> Outcome<()> {
    let mut peers = Vec::new();
    for _ in 0..IDLE_PEERS {
        let mut peer = greet(&node).await?;
        peer.send(base::LENGTH, &status().encode()).await?;
        peer.receive().await?;
        peers.push(peer);
    }
    println!("connected");
    // They take what comes.
    let reading = peers.into_iter().map(|mut peer| async move { while peer.receive().await.is_ok() {} });
    futures::future::join_all(reading).await;
    Ok(())
}

async fn greet(node: &Enode) -> Outcome<Peer> {
    let key = NodeKey::generate();
    let mut stream = TcpStream::connect(node.tcp_addr()).await?;
    stream.set_nodelay(true)?;
    let mut handshake = Initiator::new(key.secret(), &node.public_key)?;
    stream.write_all(handshake.auth()).await?;
    let mut input = BytesMut::new();
    let secrets = loop {
        if stream.read_buf(&mut input).await? == 0 {
            return Err("closed".into());
        }
        if let Some(secrets) = handshake.read_ack(&mut input)? {
            break secrets;
        }
    };
    let mut peer = Peer { stream, codec: Codec::new(secrets), input };
    let capabilities = vec![Capability::new("eth", 69)];
    let hello = Hello { version: 5, client: "peer".to_owned(), capabilities, port: 0, id: key.public() };
    peer.send(base::HELLO, &hello.encode()).await?;
    let message = peer.receive().await?;
    if message.code != base::HELLO {
        return Err("no hello".into());
    }
    peer.codec.hello_received(5);
    Ok(peer)
}

struct Peer {
    stream: TcpStream,
    codec: Codec,
    input: BytesMut,
}

impl Peer {
    async fn send(&mut self, code: u64, payload: &[u8]) -> Outcome<()> {
        let mut frame = BytesMut::new();
        self.codec.encode(code, payload, &mut frame)?;
        Ok(self.stream.write_all(&frame).await?)
    }

    async fn receive(&mut self) -> Outcome<Message> {
        loop {
            if let Some(message) = self.codec.decode(&mut self.input)? {
                return Ok(message);
            }
            if self.stream.read_buf(&mut self.input).await? == 0 {
                return Err("closed".into());
            }
        }
    }
}

fn status() -> Status {
    let range = BlockRange { earliest: 0, latest: 0, latest_hash: B256::ZERO };
    Status::new(
        EthVersion::Eth69,
        &ChainStatus {
            network_id: 1,
            genesis: B256::ZERO,
            fork_id: alloy_eip2124::ForkId { hash: alloy_eip2124::ForkHash([0; 4]), next: 0 },
            total_difficulty: U256::ZERO,
            range,
        },
    )
}

/// A chain that says its status and nothing more.
struct Silent;

#[tonic::async_trait]
impl PeerLinkService for Silent {
    type ConnectStream = BoxStream<'static, Result<proto::ConnectResponse, tonic::Status>>;

    async fn connect(
        &self,
        request: tonic::Request<tonic::Streaming<proto::ConnectRequest>>,
    ) -> Result<tonic::Response<Self::ConnectStream>, tonic::Status> {
        let mut frames = request.into_inner();
        tokio::spawn(async move { while let Ok(Some(_)) = frames.message().await {} });
        let status = LinkStatus {
            network_id: 1,
            genesis: B256::ZERO,
            head: BlockRef::default(),
            total_difficulty: U256::ZERO,
            fork_hash: [0; 4],
            fork_next: 0,
            earliest_block: 0,
            identity: 0,
        };
        let first = Ok(Traced::untraced(LinkCommand::Status(status)).into());
        let commands = futures::stream::iter([first]).chain(futures::stream::pending());
        Ok(tonic::Response::new(commands.boxed()))
    }
}
