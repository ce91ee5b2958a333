//! The link between a p2p instance and `chain`: its domain types, their conversions from and to the contract's messages
//! (for both ends), and the client that p2p dials with.
//!
//! What must hold: payloads cross as they came, without a copy; what breaks the contract is an error that names the
//! field, never a panic.

use crate::convert::{block_id, block_ref, from_quantity, hash, quantity};
use crate::{ChainError, MESSAGE_LIMIT};
use alloy_primitives::{B256, U256};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use quintet_proto::chain::v1 as proto;
use quintet_proto::chain::v1::peer_link_service_client::PeerLinkServiceClient;
use quintet_service::grpc::Transport;
use quintet_types::{BlockRef, TraceContext};
use std::fmt;
use std::pin::Pin;
use std::str::FromStr;

/// Commands as `chain` gives them; ends when `chain` goes away.
pub type LinkCommands = Pin<Box<dyn Stream<Item = Result<Traced<LinkCommand>, ChainError>> + Send>>;

/// A version of a protocol that peers and `chain` speak over the link; in text `eth/68`, as the contract has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WireProtocol {
    /// The Ethereum wire protocol.
    Eth(u8),
    /// The snapshot protocol.
    Snap(u8),
}

impl WireProtocol {
    /// Its name without the version.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Eth(_) => "eth",
            Self::Snap(_) => "snap",
        }
    }

    /// Its version.
    pub const fn version(self) -> u8 {
        match self {
            Self::Eth(version) | Self::Snap(version) => version,
        }
    }
}

impl fmt::Display for WireProtocol {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.name(), self.version())
    }
}

impl FromStr for WireProtocol {
    type Err = ChainError;

    fn from_str(text: &str) -> Result<Self, ChainError> {
        let unknown = ChainError::Malformed("capability");
        let (name, version) = text.split_once('/').ok_or(unknown.clone())?;
        let version = version.parse().map_err(|_| unknown.clone())?;
        match name {
            "eth" => Ok(Self::Eth(version)),
            "snap" => Ok(Self::Snap(version)),
            _ => Err(unknown),
        }
    }
}

/// Something on the link, with the trace that it belongs to; an empty context is no trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traced<T> {
    /// The context of the span that caused it.
    pub trace: TraceContext,
    /// What it is.
    pub value: T,
}

impl<T> Traced<T> {
    /// A value that belongs to no trace.
    pub fn untraced(value: T) -> Self {
        Self { trace: TraceContext::default(), value }
    }
}

/// What p2p tells `chain`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkFrame {
    /// Opens the link; comes first and once.
    Hello(LinkHello),
    /// A peer is past the `eth` status handshake.
    Up(PeerUp),
    /// A peer sent a message. It was said to be up before.
    Message(PeerMessage),
    /// A peer is gone.
    Down {
        /// Keccak-256 of its public key.
        peer: B256,
        /// Disconnect reason of devp2p.
        reason: u32,
    },
}

/// Who opens a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkHello {
    /// Random identity of the process: a link with the same one replaces the old link.
    pub instance: [u8; 16],
    /// Minor version of the contract that it speaks.
    pub contract_minor: u32,
    /// The identity that it has taken before; see [`LinkStatus::identity`].
    pub held_identity: Option<u32>,
}

/// A peer with its handshakes behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerUp {
    /// Keccak-256 of its public key.
    pub peer: B256,
    /// What both speak: one version of `eth`, and perhaps one of `snap`.
    pub protocols: Vec<WireProtocol>,
    /// Its client's name, from its hello.
    pub name: String,
    /// RLP of its `eth` Status message, of the version in `protocols`.
    pub status: Bytes,
    /// It dialled us.
    pub inbound: bool,
    /// It may connect beyond the limits.
    pub trusted: bool,
}

impl PeerUp {
    /// The version of `eth` that both speak.
    pub fn eth_version(&self) -> Option<u8> {
        self.protocols.iter().find_map(|protocol| match protocol {
            WireProtocol::Eth(version) => Some(*version),
            WireProtocol::Snap(_) => None,
        })
    }
}

/// A message from a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerMessage {
    /// Keccak-256 of the peer's public key.
    pub peer: B256,
    /// What it speaks.
    pub protocol: WireProtocol,
    /// Message code within the protocol.
    pub code: u32,
    /// The message's RLP.
    pub payload: Bytes,
}

/// What `chain` tells p2p.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkCommand {
    /// What the `eth` status handshake says from now on; comes first, and again with each new head.
    Status(LinkStatus),
    /// A message to peers.
    Send(SendMessage),
    /// A peer misbehaved.
    Penalise {
        /// Keccak-256 of its public key.
        peer: B256,
        /// Points taken from its reputation.
        weight: u32,
        /// What it did, for logs and metrics.
        reason: String,
    },
    /// A peer shall go.
    Disconnect {
        /// Keccak-256 of its public key.
        peer: B256,
        /// Disconnect reason of devp2p.
        reason: u32,
    },
}

/// What the `eth` status handshake says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkStatus {
    /// Network id.
    pub network_id: u64,
    /// Hash of the genesis block.
    pub genesis: B256,
    /// The head.
    pub head: BlockRef,
    /// Total difficulty of the head.
    pub total_difficulty: U256,
    /// Hash of the fork id (EIP-2124) at the head.
    pub fork_hash: [u8; 4],
    /// The next fork's block or time; 0 when none is known.
    pub fork_next: u64,
    /// Number of the oldest block that can be served (eth/69).
    pub earliest_block: u64,
    /// Which of the keys derived from the node key is the instance's: 0 is the node key itself. No two instances that
    /// are linked have the same.
    pub identity: u32,
}

/// A message to peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendMessage {
    /// Whom it is for: Keccak-256 of their public keys.
    pub peers: Vec<B256>,
    /// What they speak.
    pub protocol: WireProtocol,
    /// Message code within the protocol.
    pub code: u32,
    /// The message's RLP.
    pub payload: Bytes,
}

fn id(peer: B256) -> Bytes {
    Bytes::copy_from_slice(peer.as_slice())
}

fn peer(bytes: &[u8]) -> Result<B256, ChainError> {
    hash(bytes, "peer id")
}

fn trace(traceparent: String) -> TraceContext {
    if traceparent.is_empty() { TraceContext::default() } else { TraceContext(traceparent.into()) }
}

impl From<Traced<LinkFrame>> for proto::ConnectRequest {
    fn from(frame: Traced<LinkFrame>) -> Self {
        use proto::peer_frame::Frame;
        let traceparent = frame.trace.0.to_string();
        let frame = match frame.value {
            LinkFrame::Hello(hello) => Frame::Hello(proto::LinkHello {
                instance: Bytes::copy_from_slice(&hello.instance),
                contract_minor: hello.contract_minor,
                held_identity: hello.held_identity.map_or(0, |held| held.saturating_add(1)),
            }),
            LinkFrame::Up(up) => Frame::PeerUp(proto::PeerUp {
                peer_id: id(up.peer),
                capabilities: up.protocols.iter().map(ToString::to_string).collect(),
                name: up.name,
                status: up.status,
                inbound: up.inbound,
                trusted: up.trusted,
            }),
            LinkFrame::Message(message) => Frame::Message(proto::PeerMessage {
                peer_id: id(message.peer),
                capability: message.protocol.to_string(),
                code: message.code,
                payload: message.payload,
            }),
            LinkFrame::Down { peer, reason } => {
                Frame::PeerDown(proto::PeerDown { peer_id: id(peer), reason })
            }
        };
        Self { frame: Some(proto::PeerFrame { traceparent, frame: Some(frame) }) }
    }
}

impl TryFrom<proto::ConnectRequest> for Traced<LinkFrame> {
    type Error = ChainError;

    fn try_from(request: proto::ConnectRequest) -> Result<Self, ChainError> {
        use proto::peer_frame::Frame;
        let frame = request.frame.ok_or(ChainError::Malformed("no frame"))?;
        let value = match frame.frame.ok_or(ChainError::Malformed("empty frame"))? {
            Frame::Hello(hello) => LinkFrame::Hello(LinkHello {
                instance: <[u8; 16]>::try_from(hello.instance.as_ref())
                    .map_err(|_| ChainError::Malformed("instance"))?,
                contract_minor: hello.contract_minor,
                held_identity: hello.held_identity.checked_sub(1),
            }),
            Frame::PeerUp(up) => LinkFrame::Up(PeerUp {
                peer: peer(&up.peer_id)?,
                protocols: up.capabilities.iter().map(|text| text.parse()).collect::<Result<_, _>>()?,
                name: up.name,
                status: up.status,
                inbound: up.inbound,
                trusted: up.trusted,
            }),
            Frame::Message(message) => LinkFrame::Message(PeerMessage {
                peer: peer(&message.peer_id)?,
                protocol: message.capability.parse()?,
                code: message.code,
                payload: message.payload,
            }),
            Frame::PeerDown(down) => LinkFrame::Down { peer: peer(&down.peer_id)?, reason: down.reason },
        };
        Ok(Self { trace: trace(frame.traceparent), value })
    }
}

impl From<LinkStatus> for proto::LinkStatus {
    fn from(status: LinkStatus) -> Self {
        Self {
            network_id: status.network_id,
            genesis_hash: id(status.genesis),
            head: Some(block_id(status.head)),
            total_difficulty: quantity(status.total_difficulty),
            fork_hash: Bytes::copy_from_slice(&status.fork_hash),
            fork_next: status.fork_next,
            earliest_block: status.earliest_block,
            identity: status.identity,
        }
    }
}

impl TryFrom<proto::LinkStatus> for LinkStatus {
    type Error = ChainError;

    fn try_from(status: proto::LinkStatus) -> Result<Self, ChainError> {
        let head = status.head.as_ref().ok_or(ChainError::Malformed("status without head"))?;
        Ok(Self {
            network_id: status.network_id,
            genesis: hash(&status.genesis_hash, "genesis hash")?,
            head: block_ref(head)?,
            total_difficulty: from_quantity(&status.total_difficulty, "total difficulty")?,
            fork_hash: <[u8; 4]>::try_from(status.fork_hash.as_ref())
                .map_err(|_| ChainError::Malformed("fork hash"))?,
            fork_next: status.fork_next,
            earliest_block: status.earliest_block,
            identity: status.identity,
        })
    }
}

impl From<Traced<LinkCommand>> for proto::ConnectResponse {
    fn from(command: Traced<LinkCommand>) -> Self {
        use proto::peer_command::Command;
        let traceparent = command.trace.0.to_string();
        let command = match command.value {
            LinkCommand::Status(status) => Command::Status(status.into()),
            LinkCommand::Send(send) => Command::Send(proto::SendMessage {
                peer_ids: send.peers.into_iter().map(id).collect(),
                capability: send.protocol.to_string(),
                code: send.code,
                payload: send.payload,
            }),
            LinkCommand::Penalise { peer, weight, reason } => {
                Command::Penalise(proto::PenalisePeer { peer_id: id(peer), weight, reason })
            }
            LinkCommand::Disconnect { peer, reason } => {
                Command::Disconnect(proto::DisconnectPeer { peer_id: id(peer), reason })
            }
        };
        Self { command: Some(proto::PeerCommand { traceparent, command: Some(command) }) }
    }
}

impl TryFrom<proto::ConnectResponse> for Traced<LinkCommand> {
    type Error = ChainError;

    fn try_from(response: proto::ConnectResponse) -> Result<Self, ChainError> {
        use proto::peer_command::Command;
        let command = response.command.ok_or(ChainError::Malformed("no command"))?;
        let value = match command.command.ok_or(ChainError::Malformed("empty command"))? {
            Command::Status(status) => LinkCommand::Status(status.try_into()?),
            Command::Send(send) => LinkCommand::Send(SendMessage {
                peers: send.peer_ids.iter().map(|id| peer(id)).collect::<Result<_, _>>()?,
                protocol: send.capability.parse()?,
                code: send.code,
                payload: send.payload,
            }),
            Command::Penalise(penalty) => LinkCommand::Penalise {
                peer: peer(&penalty.peer_id)?,
                weight: penalty.weight,
                reason: penalty.reason,
            },
            Command::Disconnect(disconnect) => {
                LinkCommand::Disconnect { peer: peer(&disconnect.peer_id)?, reason: disconnect.reason }
            }
        };
        Ok(Self { trace: trace(command.traceparent), value })
    }
}

/// The end of the link that dials.
#[derive(Clone, Debug)]
pub struct PeerLinkClient {
    rpc: PeerLinkServiceClient<Transport>,
}

impl PeerLinkClient {
    /// A client over `transport`.
    pub fn new(transport: Transport) -> Self {
        let rpc = PeerLinkServiceClient::new(transport)
            .max_decoding_message_size(MESSAGE_LIMIT)
            .max_encoding_message_size(MESSAGE_LIMIT);
        Self { rpc }
    }

    /// Opens a link, whose first frame must be a hello. It ends with `frames`, or with the commands.
    ///
    /// # Errors
    /// When `chain` cannot be reached, or refuses.
    pub async fn connect(
        &self,
        frames: impl Stream<Item = Traced<LinkFrame>> + Send + 'static,
    ) -> Result<LinkCommands, ChainError> {
        let commands = self.rpc.clone().connect(frames.map(Into::into)).await?.into_inner();
        Ok(commands.map(|command| command?.try_into()).boxed())
    }
}

#[cfg(test)]
mod tests {
    use super::{
        LinkCommand, LinkFrame, LinkHello, LinkStatus, PeerMessage, PeerUp, SendMessage, Traced, WireProtocol,
    };
    use alloy_primitives::{B256, U256};
    use quintet_proto::chain::v1 as proto;
    use quintet_types::{BlockRef, TraceContext};

    const PEER: B256 = B256::repeat_byte(7);

    fn status() -> LinkStatus {
        LinkStatus {
            network_id: 1337,
            genesis: B256::repeat_byte(1),
            head: BlockRef { number: 9, hash: B256::repeat_byte(2) },
            total_difficulty: U256::from(131_072),
            fork_hash: [1, 2, 3, 4],
            fork_next: 10,
            earliest_block: 0,
            identity: 3,
        }
    }

    #[test]
    fn frames_and_commands_are_read_back() {
        let (protocol, payload) = (WireProtocol::Eth(68), vec![0xc0].into());
        let hello = LinkHello { instance: [5; 16], contract_minor: 2, held_identity: Some(0) };
        let up = PeerUp {
            peer: PEER,
            protocols: vec![protocol, WireProtocol::Snap(1)],
            name: "Geth".to_owned(),
            status: vec![0xc1, 0x80].into(),
            inbound: true,
            trusted: false,
        };
        assert_eq!(up.eth_version(), Some(68));
        let trace = TraceContext("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into());
        for value in [
            LinkFrame::Hello(hello),
            LinkFrame::Hello(LinkHello { held_identity: None, ..hello }),
            LinkFrame::Up(up),
            LinkFrame::Message(PeerMessage { peer: PEER, protocol, code: 3, payload }),
            LinkFrame::Down { peer: PEER, reason: 8 },
        ] {
            let frame = Traced { trace: trace.clone(), value };
            assert_eq!(Traced::<LinkFrame>::try_from(proto::ConnectRequest::from(frame.clone())), Ok(frame));
        }
        let (peers, payload) = (vec![PEER, B256::ZERO], vec![0xc0].into());
        for value in [
            LinkCommand::Status(status()),
            LinkCommand::Send(SendMessage { peers, protocol, code: 2, payload }),
            LinkCommand::Penalise { peer: PEER, weight: 10, reason: "bad block".to_owned() },
            LinkCommand::Disconnect { peer: PEER, reason: 3 },
        ] {
            let command = Traced::untraced(value);
            let message = proto::ConnectResponse::from(command.clone());
            assert_eq!(Traced::<LinkCommand>::try_from(message), Ok(command));
        }
    }

    #[test]
    fn what_breaks_the_contract_is_refused() {
        assert!(Traced::<LinkFrame>::try_from(proto::ConnectRequest::default()).is_err());
        assert!(Traced::<LinkCommand>::try_from(proto::ConnectResponse::default()).is_err());
        let short = proto::LinkStatus { fork_hash: vec![1; 3].into(), ..status().into() };
        assert!(LinkStatus::try_from(short).is_err());
        for text in ["eth", "eth/", "eth/256", "les/2", "eth/-1", "/68"] {
            assert!(text.parse::<WireProtocol>().is_err(), "{text}");
        }
    }
}
