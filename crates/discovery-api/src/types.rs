//! Nodes and the table that holds them. Conversions from the contract's messages are where their bytes are checked.

use alloy_primitives::Bytes;
use quintet_proto::common::v1 as common;
use quintet_proto::discovery::v1 as proto;
use quintet_service::grpc::RpcError;

/// A node that can be dialled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeRecord {
    /// Signed node record (EIP-778), RLP; empty when only the URL is known.
    pub enr: Bytes,
    /// `enode://<public key>@<address>:<tcp port>?discport=<udp port>`.
    pub enode: String,
}

impl NodeRecord {
    /// Reads a field that the contract says is set.
    ///
    /// # Errors
    /// When it is not, or names no node.
    pub fn required(record: Option<common::NodeRecord>) -> Result<Self, RpcError> {
        let record = record.ok_or_else(|| RpcError::malformed("no node record"))?;
        if record.enr.is_empty() && record.enode.is_empty() {
            return Err(RpcError::malformed("node record without ENR and enode URL"));
        }
        Ok(Self { enr: record.enr.into(), enode: record.enode })
    }
}

impl From<NodeRecord> for common::NodeRecord {
    fn from(record: NodeRecord) -> Self {
        Self { enr: record.enr.into(), enode: record.enode }
    }
}

/// The node that the service runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalNode {
    /// Its signed record.
    pub record: NodeRecord,
    /// Sequence number of the record.
    pub sequence: u64,
}

impl TryFrom<proto::GetSelfResponse> for LocalNode {
    type Error = RpcError;

    fn try_from(response: proto::GetSelfResponse) -> Result<Self, RpcError> {
        Ok(Self { record: NodeRecord::required(response.record)?, sequence: response.sequence })
    }
}

/// A discovery protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Node discovery v4, with EIP-868 records.
    Discv4,
    /// Node discovery v5.1.
    Discv5,
}

impl From<Protocol> for proto::Protocol {
    fn from(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Discv4 => Self::Discv4,
            Protocol::Discv5 => Self::Discv5,
        }
    }
}

impl TryFrom<proto::Protocol> for Protocol {
    type Error = RpcError;

    fn try_from(protocol: proto::Protocol) -> Result<Self, RpcError> {
        match protocol {
            proto::Protocol::Discv4 => Ok(Self::Discv4),
            proto::Protocol::Discv5 => Ok(Self::Discv5),
            proto::Protocol::Unspecified => Err(RpcError::malformed("unspecified protocol")),
        }
    }
}

/// A node worth dialling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The node.
    pub node: NodeRecord,
    /// What found it.
    pub found_by: Protocol,
}

impl TryFrom<proto::StreamCandidatesResponse> for Candidate {
    type Error = RpcError;

    fn try_from(response: proto::StreamCandidatesResponse) -> Result<Self, RpcError> {
        let found_by = response.found_by().try_into()?;
        Ok(Self { node: NodeRecord::required(response.node)?, found_by })
    }
}

/// A node in the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableEntry {
    /// The node.
    pub node: NodeRecord,
    /// Logarithmic distance from the local node, 1 to 256.
    pub distance: u16,
    /// Held as a replacement, not in the bucket itself.
    pub replacement: bool,
    /// When it last answered, in seconds since the Unix epoch; `None` if it never did.
    pub last_pong: Option<u64>,
    /// Requests unanswered since then.
    pub failures: u32,
}

impl TryFrom<proto::TableEntry> for TableEntry {
    type Error = RpcError;

    fn try_from(entry: proto::TableEntry) -> Result<Self, RpcError> {
        let distance = u16::try_from(entry.distance).ok().filter(|distance| (1..=256).contains(distance));
        Ok(Self {
            node: NodeRecord::required(entry.node)?,
            distance: distance.ok_or_else(|| RpcError::malformed("distance outside 1 to 256"))?,
            replacement: entry.replacement,
            last_pong: Some(entry.last_pong).filter(|time| *time != 0),
            failures: entry.failures,
        })
    }
}

/// An entry of the local node's record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnrEntry {
    /// Its key, such as `eth`.
    pub key: String,
    /// RLP of its value; empty to remove the entry.
    pub value: Bytes,
}

impl From<EnrEntry> for proto::EnrEntry {
    fn from(entry: EnrEntry) -> Self {
        Self { key: entry.key, value: entry.value.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::{NodeRecord, Protocol, TableEntry};
    use quintet_proto::common::v1 as common;
    use quintet_proto::discovery::v1 as proto;

    fn entry(distance: u32) -> proto::TableEntry {
        let node = NodeRecord { enode: "enode://00@127.0.0.1:30303".to_owned(), ..NodeRecord::default() };
        proto::TableEntry { node: Some(node.into()), distance, ..proto::TableEntry::default() }
    }

    #[test]
    fn distances_are_checked() {
        assert_eq!(TableEntry::try_from(entry(256)).expect("valid").last_pong, None);
        assert!(TableEntry::try_from(entry(0)).is_err());
        assert!(TableEntry::try_from(entry(257)).is_err());
    }

    #[test]
    fn a_record_must_name_a_node() {
        assert!(NodeRecord::required(None).is_err());
        assert!(NodeRecord::required(Some(common::NodeRecord::default())).is_err());
    }

    #[test]
    fn protocols_are_read_back() {
        for protocol in [Protocol::Discv4, Protocol::Discv5] {
            assert_eq!(Protocol::try_from(proto::Protocol::from(protocol)), Ok(protocol));
        }
        assert!(Protocol::try_from(proto::Protocol::Unspecified).is_err());
    }
}
