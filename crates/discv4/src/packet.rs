//! The six packets of discovery v4, and how their bodies are encoded (devp2p `discv4.md`, EIP-8, EIP-868).
//!
//! Bodies are read leniently, as EIP-8 demands: elements that a later version may append, and bytes behind the list,
//! are ignored, and so is a ping's version.

use crate::PacketError;
use alloy_primitives::B256;
use alloy_rlp::{Decodable, Encodable, Header};
use quintet_enode::{Enode, PublicKey};
use std::net::IpAddr;

/// The version that our pings name.
pub const VERSION: u64 = 4;

/// A packet's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// Are you there?
    Ping(Ping),
    /// I am: the answer to a ping.
    Pong(Pong),
    /// Which nodes do you know near this target?
    FindNode(FindNode),
    /// These: a part of the answer to [`Packet::FindNode`].
    Neighbours(Neighbours),
    /// What does your record say?
    EnrRequest(EnrRequest),
    /// This: the answer to [`Packet::EnrRequest`].
    EnrResponse(EnrResponse),
}

/// An address as packets hold it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Endpoint {
    /// `None` where a sender left it out, or wrote what is no address.
    pub ip: Option<IpAddr>,
    /// The port of discovery.
    pub udp: u16,
    /// The port of RLPx; zero where it does not matter.
    pub tcp: u16,
}

/// Packet 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ping {
    /// The sender's version of the protocol. Not looked at.
    pub version: u64,
    /// Where the sender believes to be. Only its TCP port is believed.
    pub from: Endpoint,
    /// Where the sender believes the receiver to be.
    pub to: Endpoint,
    /// Unix seconds after which the packet is void.
    pub expiration: u64,
    /// The number of the sender's record (EIP-868).
    pub enr_seq: Option<u64>,
}

/// Packet 2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pong {
    /// Where the ping came from.
    pub to: Endpoint,
    /// The hash of the ping's datagram.
    pub ping_hash: B256,
    /// Unix seconds after which the packet is void.
    pub expiration: u64,
    /// The number of the sender's record (EIP-868).
    pub enr_seq: Option<u64>,
}

/// Packet 3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FindNode {
    /// 64 bytes whose keccak is the place to look near; they need not be a key.
    pub target: PublicKey,
    /// Unix seconds after which the packet is void.
    pub expiration: u64,
}

/// A node as [`Neighbours`] lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Where it is.
    pub endpoint: Endpoint,
    /// Its name. Not checked to be a key.
    pub public_key: PublicKey,
}

/// Packet 4.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbours {
    /// Some of the nodes near the target.
    pub nodes: Vec<Neighbour>,
    /// Unix seconds after which the packet is void.
    pub expiration: u64,
}

/// Packet 5.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnrRequest {
    /// Unix seconds after which the packet is void.
    pub expiration: u64,
}

/// Packet 6.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnrResponse {
    /// The hash of the request's datagram.
    pub request_hash: B256,
    /// The sender's record as RLP, not yet checked.
    pub record: Vec<u8>,
}

impl Packet {
    /// The packet's number on the wire.
    pub const fn kind(&self) -> u8 {
        match self {
            Self::Ping(_) => 1,
            Self::Pong(_) => 2,
            Self::FindNode(_) => 3,
            Self::Neighbours(_) => 4,
            Self::EnrRequest(_) => 5,
            Self::EnrResponse(_) => 6,
        }
    }

    /// The packet's name, for logs and as a metrics label.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Ping(_) => "ping",
            Self::Pong(_) => "pong",
            Self::FindNode(_) => "findnode",
            Self::Neighbours(_) => "neighbours",
            Self::EnrRequest(_) => "enr_request",
            Self::EnrResponse(_) => "enr_response",
        }
    }

    /// When the packet becomes void, in Unix seconds; `None` for the one that does not say.
    pub const fn expiration(&self) -> Option<u64> {
        Some(match self {
            Self::Ping(packet) => packet.expiration,
            Self::Pong(packet) => packet.expiration,
            Self::FindNode(packet) => packet.expiration,
            Self::Neighbours(packet) => packet.expiration,
            Self::EnrRequest(packet) => packet.expiration,
            Self::EnrResponse(_) => return None,
        })
    }

    /// Encodes the body, without the packet's number.
    pub fn encode_body(&self) -> Vec<u8> {
        let mut fields = Vec::new();
        let out = &mut fields;
        match self {
            Self::Ping(packet) => {
                packet.version.encode(out);
                packet.from.encode(out);
                packet.to.encode(out);
                packet.expiration.encode(out);
                encode_seq(packet.enr_seq, out);
            }
            Self::Pong(packet) => {
                packet.to.encode(out);
                packet.ping_hash.encode(out);
                packet.expiration.encode(out);
                encode_seq(packet.enr_seq, out);
            }
            Self::FindNode(packet) => {
                packet.target.encode(out);
                packet.expiration.encode(out);
            }
            Self::Neighbours(packet) => {
                let mut nodes = Vec::new();
                packet.nodes.iter().for_each(|node| node.encode(&mut nodes));
                out.extend_from_slice(&list(&nodes));
                packet.expiration.encode(out);
            }
            Self::EnrRequest(packet) => packet.expiration.encode(out),
            Self::EnrResponse(packet) => {
                packet.request_hash.encode(out);
                out.extend_from_slice(&packet.record);
            }
        }
        list(&fields)
    }

    /// Decodes the body of the packet with this number. Never panics, whatever the bytes.
    ///
    /// # Errors
    /// [`PacketError::UnknownKind`] and [`PacketError::Body`].
    pub fn decode_body(kind: u8, mut rlp: &[u8]) -> Result<Self, PacketError> {
        let fields = &mut Header::decode_bytes(&mut rlp, true)?;
        Ok(match kind {
            1 => Self::Ping(Ping {
                version: u64::decode(fields)?,
                from: Endpoint::decode(fields)?,
                to: Endpoint::decode(fields)?,
                expiration: u64::decode(fields)?,
                enr_seq: u64::decode(fields).ok(),
            }),
            2 => Self::Pong(Pong {
                to: Endpoint::decode(fields)?,
                ping_hash: B256::decode(fields)?,
                expiration: u64::decode(fields)?,
                enr_seq: u64::decode(fields).ok(),
            }),
            3 => Self::FindNode(FindNode {
                target: PublicKey::decode(fields)?,
                expiration: u64::decode(fields)?,
            }),
            4 => {
                let listed = &mut Header::decode_bytes(fields, true)?;
                let mut nodes = Vec::new();
                while !listed.is_empty() {
                    nodes.push(Neighbour::decode(listed)?);
                }
                Self::Neighbours(Neighbours { nodes, expiration: u64::decode(fields)? })
            }
            5 => Self::EnrRequest(EnrRequest { expiration: u64::decode(fields)? }),
            6 => {
                let request_hash = B256::decode(fields)?;
                let content = Header::decode_bytes(fields, true)?;
                Self::EnrResponse(EnrResponse { request_hash, record: list(content) })
            }
            kind => return Err(PacketError::UnknownKind(kind)),
        })
    }
}

impl Endpoint {
    /// Where a node is.
    pub const fn of(node: &Enode) -> Self {
        Self { ip: Some(node.ip), udp: node.udp, tcp: node.tcp }
    }

    fn encode_fields(&self, out: &mut Vec<u8>) {
        match self.ip {
            Some(IpAddr::V4(ip)) => ip.octets().encode(out),
            Some(IpAddr::V6(ip)) => ip.octets().encode(out),
            None => b"".as_slice().encode(out),
        }
        self.udp.encode(out);
        self.tcp.encode(out);
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let mut fields = Vec::new();
        self.encode_fields(&mut fields);
        out.extend_from_slice(&list(&fields));
    }

    fn decode_fields(fields: &mut &[u8]) -> alloy_rlp::Result<Self> {
        let bytes = Header::decode_bytes(fields, false)?;
        let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
        let ip = four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok();
        Ok(Self { ip: ip.map(|ip| ip.to_canonical()), udp: u16::decode(fields)?, tcp: u16::decode(fields)? })
    }

    fn decode(rlp: &mut &[u8]) -> alloy_rlp::Result<Self> {
        Self::decode_fields(&mut Header::decode_bytes(rlp, true)?)
    }
}

impl Neighbour {
    /// A node as it is told to others.
    pub const fn of(node: &Enode) -> Self {
        Self { endpoint: Endpoint::of(node), public_key: node.public_key }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let mut fields = Vec::new();
        self.endpoint.encode_fields(&mut fields);
        self.public_key.encode(&mut fields);
        out.extend_from_slice(&list(&fields));
    }

    fn decode(rlp: &mut &[u8]) -> alloy_rlp::Result<Self> {
        let fields = &mut Header::decode_bytes(rlp, true)?;
        Ok(Self { endpoint: Endpoint::decode_fields(fields)?, public_key: PublicKey::decode(fields)? })
    }
}

fn encode_seq(seq: Option<u64>, out: &mut Vec<u8>) {
    if let Some(seq) = seq {
        seq.encode(out);
    }
}

fn list(payload: &[u8]) -> Vec<u8> {
    let mut rlp = Vec::new();
    Header { list: true, payload_length: payload.len() }.encode(&mut rlp);
    rlp.extend_from_slice(payload);
    rlp
}
