//! Peers and what happens to them. Conversions from the contract's messages are where their bytes are checked.

use crate::NodeRecord;
use alloy_primitives::{B256, U256};
use quintet_proto::common::v1::BlockId;
use quintet_proto::p2p::v1 as proto;
use quintet_service::grpc::RpcError;
use quintet_types::BlockRef;

fn hash(bytes: &[u8], what: &str) -> Result<B256, RpcError> {
    B256::try_from(bytes).map_err(|_| RpcError::malformed(what))
}

/// A connected peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Keccak-256 of its public key.
    pub id: B256,
    /// Its record.
    pub node: NodeRecord,
    /// Its client's name, from its hello.
    pub name: String,
    /// Capabilities that its hello advertised, such as `eth/68`.
    pub capabilities: Vec<String>,
    /// Our end of the connection, `address:port`.
    pub local_address: String,
    /// Its end.
    pub remote_address: String,
    /// It dialled us.
    pub inbound: bool,
    /// It may connect beyond the peer limit.
    pub trusted: bool,
    /// We redial it.
    pub static_node: bool,
    /// Its `eth` status; `None` before that handshake.
    pub eth: Option<EthStatus>,
}

impl TryFrom<proto::Peer> for Peer {
    type Error = RpcError;

    fn try_from(peer: proto::Peer) -> Result<Self, RpcError> {
        Ok(Self {
            id: hash(&peer.id, "peer id")?,
            node: NodeRecord::required(peer.node)?,
            name: peer.name,
            capabilities: peer.capabilities,
            local_address: peer.local_address,
            remote_address: peer.remote_address,
            inbound: peer.inbound,
            trusted: peer.trusted,
            static_node: peer.static_node,
            eth: peer.eth.map(EthStatus::try_from).transpose()?,
        })
    }
}

impl From<Peer> for proto::Peer {
    fn from(peer: Peer) -> Self {
        Self {
            id: peer.id.to_vec().into(),
            node: Some(peer.node.into()),
            name: peer.name,
            capabilities: peer.capabilities,
            local_address: peer.local_address,
            remote_address: peer.remote_address,
            inbound: peer.inbound,
            trusted: peer.trusted,
            static_node: peer.static_node,
            eth: peer.eth.map(Into::into),
        }
    }
}

/// What a peer's `eth` status says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EthStatus {
    /// Version of the `eth` protocol.
    pub version: u32,
    /// `None` from eth/69 on.
    pub total_difficulty: Option<U256>,
    /// Its head; the number is 0 where the protocol does not tell it.
    pub head: BlockRef,
    /// The oldest block that it serves; `None` before eth/69.
    pub earliest: Option<u64>,
}

impl TryFrom<proto::EthStatus> for EthStatus {
    type Error = RpcError;

    fn try_from(status: proto::EthStatus) -> Result<Self, RpcError> {
        let head = status.head.ok_or_else(|| RpcError::malformed("eth status without head"))?;
        let difficulty = U256::try_from_be_slice(&status.total_difficulty)
            .ok_or_else(|| RpcError::malformed("total difficulty above 256 bits"))?;
        Ok(Self {
            version: status.version,
            total_difficulty: (!status.total_difficulty.is_empty()).then_some(difficulty),
            head: BlockRef { number: head.number, hash: hash(&head.hash, "head hash")? },
            earliest: status.earliest_block,
        })
    }
}

impl From<EthStatus> for proto::EthStatus {
    fn from(status: EthStatus) -> Self {
        // An empty field says that there is none, so zero has a byte.
        let difficulty = |difficulty: U256| match difficulty.to_be_bytes_trimmed_vec() {
            bytes if bytes.is_empty() => vec![0],
            bytes => bytes,
        };
        let head = BlockId { number: status.head.number, hash: status.head.hash.to_vec().into() };
        Self {
            version: status.version,
            total_difficulty: status.total_difficulty.map(difficulty).unwrap_or_default().into(),
            head: Some(head),
            earliest_block: status.earliest,
        }
    }
}

/// The local node as peers see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalNode {
    /// Keccak-256 of its public key.
    pub id: B256,
    /// Its client's name.
    pub name: String,
    /// Its record.
    pub node: NodeRecord,
    /// Where it listens, `address:port`.
    pub listen_address: String,
    /// Whether it takes inbound connections.
    pub listening: bool,
}

impl TryFrom<proto::GetNodeInfoResponse> for LocalNode {
    type Error = RpcError;

    fn try_from(info: proto::GetNodeInfoResponse) -> Result<Self, RpcError> {
        Ok(Self {
            id: hash(&info.id, "node id")?,
            name: info.name,
            node: NodeRecord::required(info.node)?,
            listen_address: info.listen_address,
            listening: info.listening,
        })
    }
}

impl From<LocalNode> for proto::GetNodeInfoResponse {
    fn from(node: LocalNode) -> Self {
        Self {
            id: node.id.to_vec().into(),
            name: node.name,
            node: Some(node.node.into()),
            listen_address: node.listen_address,
            listening: node.listening,
        }
    }
}

/// Something that happened to a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerEvent {
    /// Keccak-256 of the peer's public key.
    pub peer: B256,
    /// What happened.
    pub kind: PeerEventKind,
}

/// What happened to a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerEventKind {
    /// It connected.
    Added,
    /// It disconnected, for this reason of devp2p.
    Dropped(u32),
    /// A message was sent to it.
    Sent(Message),
    /// A message came from it.
    Received(Message),
}

/// A message's kind and size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its capability, such as `eth/68`.
    pub capability: String,
    /// Its code within the capability.
    pub code: u64,
    /// Bytes.
    pub size: u64,
}

impl TryFrom<proto::StreamPeerEventsResponse> for PeerEvent {
    type Error = RpcError;

    fn try_from(event: proto::StreamPeerEventsResponse) -> Result<Self, RpcError> {
        let peer = hash(&event.peer_id, "peer id")?;
        let kind = event.r#type();
        let message = Message { capability: event.capability, code: event.code, size: event.size };
        let kind = match kind {
            proto::PeerEventType::Add => PeerEventKind::Added,
            proto::PeerEventType::Drop => PeerEventKind::Dropped(event.reason),
            proto::PeerEventType::MessageSent => PeerEventKind::Sent(message),
            proto::PeerEventType::MessageReceived => PeerEventKind::Received(message),
            proto::PeerEventType::Unspecified => return Err(RpcError::malformed("unspecified peer event")),
        };
        Ok(Self { peer, kind })
    }
}

impl From<PeerEvent> for proto::StreamPeerEventsResponse {
    fn from(event: PeerEvent) -> Self {
        let base = Self { peer_id: event.peer.to_vec().into(), ..Self::default() };
        let of_message = |kind: proto::PeerEventType, message: Message| Self {
            r#type: kind.into(),
            capability: message.capability,
            code: message.code,
            size: message.size,
            ..base.clone()
        };
        match event.kind {
            PeerEventKind::Added => Self { r#type: proto::PeerEventType::Add.into(), ..base },
            PeerEventKind::Dropped(reason) => {
                Self { r#type: proto::PeerEventType::Drop.into(), reason, ..base }
            }
            PeerEventKind::Sent(message) => of_message(proto::PeerEventType::MessageSent, message),
            PeerEventKind::Received(message) => of_message(proto::PeerEventType::MessageReceived, message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{EthStatus, LocalNode, Message, Peer, PeerEvent, PeerEventKind};
    use crate::NodeRecord;
    use alloy_primitives::{B256, U256};
    use quintet_proto::{common::v1::BlockId, p2p::v1 as proto};
    use quintet_types::BlockRef;

    #[test]
    fn total_difficulty_ends_with_eth_69() {
        let head = Some(BlockId { number: 0, hash: vec![1; 32].into() });
        let status = proto::EthStatus {
            version: 68,
            total_difficulty: vec![1, 0].into(),
            head,
            earliest_block: Some(5),
        };
        let read = EthStatus::try_from(status.clone()).expect("valid");
        assert_eq!(read.total_difficulty, Some(U256::from(256)));
        assert_eq!((read.head.hash, read.earliest), (B256::repeat_byte(1), Some(5)));
        let newer = proto::EthStatus { total_difficulty: Vec::new().into(), ..status.clone() };
        assert_eq!(EthStatus::try_from(newer).expect("valid").total_difficulty, None);
        let oversize = proto::EthStatus { total_difficulty: vec![1; 33].into(), ..status };
        assert!(EthStatus::try_from(oversize).is_err());
    }

    #[test]
    fn ids_have_32_bytes() {
        assert!(Peer::try_from(proto::Peer { id: vec![0; 31].into(), ..proto::Peer::default() }).is_err());
    }

    #[test]
    fn events_carry_what_their_kind_has() {
        let event = proto::StreamPeerEventsResponse {
            r#type: proto::PeerEventType::Drop.into(),
            peer_id: vec![7; 32].into(),
            reason: 4,
            ..proto::StreamPeerEventsResponse::default()
        };
        assert_eq!(PeerEvent::try_from(event.clone()).expect("valid").kind, PeerEventKind::Dropped(4));
        assert!(PeerEvent::try_from(proto::StreamPeerEventsResponse { r#type: 99, ..event }).is_err());
    }

    #[test]
    fn what_the_service_says_is_read_back() {
        let head = BlockRef { number: 7, hash: B256::repeat_byte(7) };
        let eth = EthStatus { version: 68, total_difficulty: Some(U256::ZERO), head, earliest: None };
        let node = NodeRecord { enode: "enode://00@127.0.0.1:30303".to_owned(), ..NodeRecord::default() };
        let peer = Peer {
            id: B256::repeat_byte(1),
            node: node.clone(),
            name: "Geth".to_owned(),
            capabilities: vec!["eth/68".to_owned()],
            local_address: "127.0.0.1:30303".to_owned(),
            remote_address: "127.0.0.1:4000".to_owned(),
            inbound: true,
            trusted: false,
            static_node: true,
            eth: Some(eth),
        };
        assert_eq!(Peer::try_from(proto::Peer::from(peer.clone())), Ok(peer.clone()));
        let newer = EthStatus { version: 69, total_difficulty: None, head, earliest: Some(7) };
        let peer = Peer { eth: Some(newer), ..peer };
        assert_eq!(Peer::try_from(proto::Peer::from(peer.clone())), Ok(peer));
        let local = LocalNode {
            id: B256::repeat_byte(1),
            name: "Quintet".to_owned(),
            node,
            listen_address: "0.0.0.0:30303".to_owned(),
            listening: true,
        };
        assert_eq!(LocalNode::try_from(proto::GetNodeInfoResponse::from(local.clone())), Ok(local));
        let message = Message { capability: "eth/68".to_owned(), code: 3, size: 100 };
        for kind in [
            PeerEventKind::Added,
            PeerEventKind::Dropped(4),
            PeerEventKind::Sent(message.clone()),
            PeerEventKind::Received(message),
        ] {
            let event = PeerEvent { peer: B256::repeat_byte(1), kind };
            let read = PeerEvent::try_from(proto::StreamPeerEventsResponse::from(event.clone()));
            assert_eq!(read, Ok(event));
        }
    }
}
