//! A connected peer, as everyone but its session sees it.

use crate::head::Head;
use crate::outbox::{Outbox, Outgoing, Pushed};
use alloy_primitives::B256;
use bytes::Bytes;
use parking_lot::Mutex;
use quintet_chain_api::WireProtocol;
use quintet_discovery_api::NodeRecord;
use quintet_enode::{Enode, PublicKey};
use quintet_eth_wire::{EthMessageId, EthVersion};
use quintet_rlpx::{DisconnectReason, Shared};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};

/// A connected peer.
#[derive(Debug)]
pub(crate) struct Peer {
    /// Keccak-256 of its public key.
    pub(crate) id: B256,
    /// Its public key.
    pub(crate) public_key: PublicKey,
    /// Its client's name.
    pub(crate) name: String,
    /// What its hello said that it speaks, such as `eth/68`.
    pub(crate) capabilities: Vec<String>,
    /// What both speak.
    pub(crate) protocols: Protocols,
    /// Our end of the connection.
    pub(crate) local: SocketAddr,
    /// Its end.
    pub(crate) remote: SocketAddr,
    /// The node that we dialled; `None` when it dialled us.
    pub(crate) dialled: Option<Enode>,
    /// It may connect beyond the limits.
    pub(crate) trusted: AtomicBool,
    /// What waits to be sent to it.
    pub(crate) outbox: Outbox,
    /// Where its chain stands; `None` before its `eth` status.
    pub(crate) head: Mutex<Option<Head>>,
}

impl Peer {
    /// It dialled us.
    pub(crate) const fn is_inbound(&self) -> bool {
        self.dialled.is_none()
    }

    /// It may connect beyond the limits.
    pub(crate) fn is_trusted(&self) -> bool {
        self.trusted.load(Ordering::Relaxed)
    }

    /// The node that it is. Of one that dialled us, the port is that of the connection, as in geth.
    pub(crate) fn node(&self) -> NodeRecord {
        let seen = Enode {
            public_key: self.public_key,
            ip: self.remote.ip().to_canonical(),
            tcp: self.remote.port(),
            udp: self.remote.port(),
        };
        let node = self.dialled.unwrap_or(seen);
        NodeRecord { enode: node.to_string(), ..NodeRecord::default() }
    }

    /// Sends a message, in whichever protocol's numbering.
    pub(crate) fn send(&self, protocol: WireProtocol, code: u32, payload: Bytes) -> Pushed {
        let Some(shared) = self.protocols.shared(protocol) else { return Pushed::Dropped };
        if u64::from(code) >= shared.length {
            return Pushed::Dropped;
        }
        let code = shared.offset.saturating_add(code.into());
        let droppable = is_announcement(protocol, code.saturating_sub(shared.offset));
        self.outbox.push(Outgoing { code, payload, droppable })
    }

    /// It sent a message, which may tell where its chain stands.
    pub(crate) fn learn(&self, protocol: WireProtocol, code: u64, payload: &[u8]) {
        let WireProtocol::Eth(_) = protocol else { return };
        let Some(id) = EthMessageId::from_code(self.protocols.eth, code) else { return };
        if let Some(head) = &mut *self.head.lock() {
            head.follow(id, payload);
        }
    }

    /// Ends its session.
    pub(crate) fn disconnect(&self, reason: DisconnectReason) {
        self.outbox.close(reason);
    }
}

/// Whether a message answers nothing and asks nothing, so that a slow peer can do without it.
fn is_announcement(protocol: WireProtocol, code: u64) -> bool {
    let WireProtocol::Eth(version) = protocol else { return false };
    EthVersion::from_number(version.into())
        .and_then(|version| EthMessageId::from_code(version, code))
        .is_some_and(|id| !id.is_request_or_answer())
}

/// The protocols that a session has: one version of `eth`, and perhaps one of `snap`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Protocols {
    /// The version of `eth`.
    pub(crate) eth: EthVersion,
    all: Vec<(WireProtocol, Shared)>,
}

impl Protocols {
    /// What the shared capabilities come to; `None` without an `eth` that is spoken here.
    pub(crate) fn new(shared: Vec<Shared>) -> Option<Self> {
        let mut all = Vec::with_capacity(shared.len());
        let mut eth = None;
        for shared in shared {
            let version = u8::try_from(shared.capability.version).ok()?;
            let protocol = match shared.capability.name.as_str() {
                "eth" => {
                    eth = EthVersion::from_number(version.into());
                    WireProtocol::Eth(version)
                }
                "snap" => WireProtocol::Snap(version),
                _ => continue,
            };
            all.push((protocol, shared));
        }
        Some(Self { eth: eth?, all })
    }

    /// The protocols that `chain` hears of: `snap` lives on requests with ids, as `eth` has them from 66 on.
    pub(crate) fn for_chain(&self) -> Vec<WireProtocol> {
        let all = self.all.iter().map(|(protocol, _)| *protocol);
        all.filter(|protocol| self.reaches_chain(*protocol)).collect()
    }

    /// Whether `chain` hears of a protocol.
    pub(crate) fn reaches_chain(&self, protocol: WireProtocol) -> bool {
        matches!(protocol, WireProtocol::Eth(_)) || self.eth.has_request_ids()
    }

    /// A protocol's codes in this session.
    pub(crate) fn shared(&self, protocol: WireProtocol) -> Option<&Shared> {
        self.all.iter().find(|(ours, _)| *ours == protocol).map(|(_, shared)| shared)
    }

    /// The code of `eth`'s first message.
    pub(crate) fn eth_offset(&self) -> u64 {
        let eth = self.all.iter().find(|(protocol, _)| matches!(protocol, WireProtocol::Eth(_)));
        eth.map_or(quintet_rlpx::base::LENGTH, |(_, shared)| shared.offset)
    }

    /// Whose a code is, and its number there.
    pub(crate) fn find(&self, code: u64) -> Option<(WireProtocol, u64)> {
        self.all.iter().find_map(|(protocol, shared)| {
            let own = code.checked_sub(shared.offset)?;
            (own < shared.length).then_some((*protocol, own))
        })
    }

    /// Their names, such as `eth/68`.
    pub(crate) fn names(&self) -> Vec<String> {
        self.all.iter().map(|(protocol, _)| protocol.to_string()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Protocols, is_announcement};
    use quintet_chain_api::WireProtocol::{Eth, Snap};
    use quintet_rlpx::{Capability, shared_capabilities};

    fn protocols(theirs: &[(&str, u64)]) -> Option<Protocols> {
        let capabilities = |list: &[(&str, u64)]| -> Vec<_> {
            list.iter().map(|(name, version)| Capability::new(name, *version)).collect()
        };
        let ours = [("eth", 63), ("eth", 66), ("eth", 69), ("snap", 1)];
        Protocols::new(shared_capabilities(&capabilities(&ours), &capabilities(theirs)))
    }

    #[test]
    fn codes_are_told_apart() {
        let both = protocols(&[("snap", 1), ("eth", 69)]).expect("eth");
        assert_eq!((both.eth_offset(), both.for_chain()), (16, vec![Eth(69), Snap(1)]));
        assert_eq!(both.find(15), None);
        assert_eq!(both.find(16 + 17), Some((Eth(69), 17)));
        assert_eq!(both.find(16 + 18), Some((Snap(1), 0)));
        assert_eq!(both.find(16 + 18 + 8), None);
        assert_eq!(both.names(), ["eth/69", "snap/1"]);
        // Old versions of eth have no snap beside them.
        assert_eq!(protocols(&[("snap", 1), ("eth", 63)]).expect("eth").for_chain(), vec![Eth(63)]);
        assert_eq!(protocols(&[("snap", 1), ("eth", 64)]), None);
    }

    #[test]
    fn slow_peers_can_do_without_announcements_only() {
        for code in [1, 2, 7, 8, 17] {
            assert!(is_announcement(Eth(69), code), "{code}");
        }
        for code in [3, 4, 5, 6, 9, 10, 15, 16] {
            assert!(!is_announcement(Eth(69), code), "{code}");
        }
        assert!(!is_announcement(Snap(1), 0));
    }
}
