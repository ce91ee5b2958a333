//! A peer that does what the test says, over `crates/rlpx` and a real socket.

use crate::chain::{DEADLINE, status_at};
use alloy_eip2124::{ForkHash, ForkId};
use bytes::BytesMut;
use quintet_chain_api::LinkStatus;
use quintet_enode::{Enode, NodeKey};
use quintet_eth_wire::{BlockRange, ChainStatus, EthVersion, Status};
use quintet_rlpx::base::{DISCONNECT, HELLO, PING, PONG};
use quintet_rlpx::{Capability, Codec, DisconnectReason, Hello, Initiator, Message, Recipient};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// The code of `eth`'s first message where `eth` is the first capability.
pub(crate) const ETH: u64 = 16;

/// A scripted peer.
pub(crate) struct Wire {
    pub(crate) key: NodeKey,
    pub(crate) stream: TcpStream,
    pub(crate) codec: Box<Codec>,
    input: BytesMut,
}

impl Wire {
    /// Connects, and does the handshake.
    pub(crate) async fn dial(node: &Enode) -> Self {
        Self::dial_as(NodeKey::generate(), node).await
    }

    pub(crate) async fn dial_as(key: NodeKey, node: &Enode) -> Self {
        let mut stream = TcpStream::connect(node.tcp_addr()).await.expect("it listens");
        let mut handshake = Initiator::new(key.secret(), &node.public_key).expect("a key");
        stream.write_all(handshake.auth()).await.expect("sent");
        let mut input = BytesMut::new();
        let secrets = loop {
            assert_ne!(stream.read_buf(&mut input).await.expect("an ack"), 0, "closed before the ack");
            if let Some(secrets) = handshake.read_ack(&mut input).expect("valid") {
                break secrets;
            }
        };
        Self { key, stream, codec: Box::new(Codec::new(secrets)), input }
    }

    /// Takes a connection, and does the handshake.
    pub(crate) async fn accept(listener: &TcpListener, key: &NodeKey) -> Self {
        let accepted = timeout(DEADLINE, listener.accept()).await.expect("dialled in time");
        let (mut stream, _) = accepted.expect("a connection");
        let mut handshake = Recipient::new(key.secret());
        let mut input = BytesMut::new();
        let accepted = loop {
            assert_ne!(stream.read_buf(&mut input).await.expect("an auth"), 0, "closed before the auth");
            if let Some(accepted) = handshake.read_auth(&mut input).expect("valid") {
                break accepted;
            }
        };
        stream.write_all(&accepted.ack).await.expect("sent");
        Self { key: key.clone(), stream, codec: Box::new(Codec::new(accepted.secrets)), input }
    }

    /// What it would say of itself.
    pub(crate) fn hello(&self, capabilities: &[(&str, u64)]) -> Hello {
        Hello {
            version: 5,
            client: "scripted".to_owned(),
            capabilities: capabilities
                .iter()
                .map(|(name, version)| Capability::new(name, *version))
                .collect(),
            port: 0,
            id: self.key.public(),
        }
    }

    /// Exchanges hellos with `eth/69`.
    pub(crate) async fn greet(&mut self) -> Hello {
        let hello = self.hello(&[("eth", 69)]);
        self.greet_with(hello).await
    }

    pub(crate) async fn greet_with(&mut self, hello: Hello) -> Hello {
        self.send(HELLO, &hello.encode()).await;
        let message = self.receive().await.expect("a hello");
        assert_eq!(message.code, HELLO, "{:?}", DisconnectReason::decode(&message.payload));
        self.codec.hello_received(hello.version);
        Hello::decode(&message.payload).expect("valid")
    }

    /// Says this status, and takes theirs.
    pub(crate) async fn exchange(&mut self, version: EthVersion, status: LinkStatus) -> Status {
        self.send(ETH, &self::status(version, status).encode()).await;
        let message = self.receive().await.expect("a status");
        assert_eq!(message.code, ETH, "{:?}", DisconnectReason::decode(&message.payload));
        Status::decode(version, &message.payload).expect("valid")
    }

    /// A whole peer of `eth/69` at genesis.
    pub(crate) async fn connect(node: &Enode) -> Self {
        let mut wire = Self::dial(node).await;
        wire.greet().await;
        wire.exchange(EthVersion::Eth69, status_at(0)).await;
        wire
    }

    pub(crate) fn id(&self) -> alloy_primitives::B256 {
        self.key.node_id()
    }

    pub(crate) async fn send(&mut self, code: u64, payload: &[u8]) {
        let mut frame = BytesMut::new();
        self.codec.encode(code, payload, &mut frame).expect("it fits");
        self.stream.write_all(&frame).await.expect("sent");
    }

    /// The next message; `None` when the connection is closed.
    pub(crate) async fn receive(&mut self) -> Option<Message> {
        let receiving = async {
            loop {
                if let Some(message) = self.codec.decode(&mut self.input).expect("valid frames") {
                    return Some(message);
                }
                match self.stream.read_buf(&mut self.input).await {
                    Ok(0) | Err(_) => return None,
                    Ok(_) => {}
                }
            }
        };
        timeout(DEADLINE, receiving).await.expect("something in time")
    }

    /// The reason with which the other side ends the session; what it says before is passed over.
    pub(crate) async fn reason(&mut self) -> Option<DisconnectReason> {
        while let Some(message) = self.receive().await {
            if message.code == DISCONNECT {
                return Some(DisconnectReason::decode(&message.payload));
            }
        }
        None
    }

    /// Pings, and waits for the pong.
    pub(crate) async fn ping(&mut self) {
        self.send(PING, &[0xc0]).await;
        while self.receive().await.expect("a pong").code != PONG {}
    }

    /// Whether the other side closes the connection in time.
    pub(crate) async fn is_closed(&mut self) -> bool {
        timeout(DEADLINE, closed(&mut self.stream)).await.is_ok()
    }
}

/// Waits until the other side closes.
pub(crate) async fn closed(stream: &mut TcpStream) {
    let mut rest = [0; 1024];
    while matches!(stream.read(&mut rest).await, Ok(1..)) {}
}

/// A status as a version has it.
pub(crate) fn status(version: EthVersion, chain: LinkStatus) -> Status {
    Status::new(
        version,
        &ChainStatus {
            network_id: chain.network_id,
            genesis: chain.genesis,
            fork_id: ForkId { hash: ForkHash(chain.fork_hash), next: chain.fork_next },
            total_difficulty: chain.total_difficulty,
            range: BlockRange { earliest: 0, latest: chain.head.number, latest_hash: chain.head.hash },
        },
    )
}

/// A socket that nobody takes anything from for a while.
pub(crate) async fn pause() {
    tokio::time::sleep(Duration::from_millis(50)).await;
}
