//! A peer that is past its handshakes: what it is, where its chain stands, what it has, and what it was asked for.

use super::allowance::Allowance;
use super::known::{KNOWN_BLOCKS, KNOWN_TRANSACTIONS, KnownHashes};
use super::outbox::Outbox;
use super::pending::Pending;
use super::rate::{RequestKind, Tracker};
use super::reply::Reply;
use super::serve::allowance_of_one;
use alloy_primitives::{B256, U256};
use parking_lot::Mutex;
use quintet_chain_api::{LinkCommand, SendMessage, Traced, WireProtocol};
use quintet_eth_wire::EthVersion;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, oneshot};

/// Keccak-256 of a peer's public key.
pub type PeerId = B256;

/// Where a peer's chain stands, as far as it has told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerHead {
    /// Hash of its head.
    pub hash: B256,
    /// The head's number; `None` until something tells it (the status has it from `eth/69` on).
    pub number: Option<u64>,
    /// Total difficulty up to and with the head; `None` where the version does not tell (from `eth/69` on).
    pub total_difficulty: Option<U256>,
    /// The oldest block that it serves (from `eth/69` on).
    pub earliest: Option<u64>,
}

/// A connected peer.
#[derive(Debug)]
pub struct Peer {
    /// Its id.
    pub id: PeerId,
    /// Its client's name.
    pub name: String,
    /// The version of `eth` that both speak.
    pub version: EthVersion,
    /// Whether it speaks `snap/1`.
    pub snap: bool,
    /// It dialled us.
    pub inbound: bool,
    /// It may connect beyond the limits.
    pub trusted: bool,
    head: Mutex<PeerHead>,
    pub(crate) blocks: Mutex<KnownHashes>,
    pub(crate) transactions: Mutex<KnownHashes>,
    pub(crate) rate: Mutex<Tracker>,
    /// What is left of states of earlier blocks that it may ask for.
    pub(crate) states: Mutex<Allowance>,
    pub(crate) pending: Mutex<Pending<oneshot::Sender<Reply>>>,
    /// Told when a request has ended, for those that wait for their turn.
    pub(crate) ended: Notify,
    /// The link that it is behind.
    pub(crate) outbox: Arc<Outbox>,
}

/// What a [`Peer`] begins with.
#[derive(Debug)]
pub(crate) struct NewPeer {
    pub(crate) id: PeerId,
    pub(crate) name: String,
    pub(crate) version: EthVersion,
    pub(crate) snap: bool,
    pub(crate) inbound: bool,
    pub(crate) trusted: bool,
    pub(crate) head: PeerHead,
}

impl Peer {
    pub(crate) fn new(peer: NewPeer, rate: Tracker, outbox: Arc<Outbox>) -> Self {
        let mut blocks = KnownHashes::new(KNOWN_BLOCKS);
        blocks.insert(peer.head.hash);
        Self {
            id: peer.id,
            name: peer.name,
            version: peer.version,
            snap: peer.snap,
            inbound: peer.inbound,
            trusted: peer.trusted,
            head: Mutex::new(peer.head),
            blocks: Mutex::new(blocks),
            transactions: Mutex::new(KnownHashes::new(KNOWN_TRANSACTIONS)),
            rate: Mutex::new(rate),
            states: Mutex::new(allowance_of_one()),
            pending: Mutex::new(Pending::new(peer.version.has_request_ids())),
            ended: Notify::new(),
            outbox,
        }
    }

    /// Where its chain stands.
    pub fn head(&self) -> PeerHead {
        *self.head.lock()
    }

    /// How many items of a kind to ask it for so that they are there after `target`; at least one.
    pub fn capacity(&self, kind: RequestKind, target: Duration) -> usize {
        self.rate.lock().capacity(kind, target)
    }

    /// The mean time from a request to its answer.
    pub fn round_trip(&self) -> Duration {
        self.rate.lock().round_trip()
    }

    /// Whether it is known to have the block.
    pub fn has_block(&self, hash: &B256) -> bool {
        self.blocks.lock().contains(hash)
    }

    /// The peer told of a new head. Says whether that is news.
    pub(crate) fn set_head(&self, head: PeerHead) -> bool {
        let mut held = self.head.lock();
        let news = *held != head;
        *held = head;
        news
    }

    /// A message to it.
    pub(crate) fn message(&self, protocol: WireProtocol, code: u64, payload: bytes::Bytes) -> LinkCommand {
        message(vec![self.id], protocol, code, payload)
    }

    /// Takes `weight` points from its reputation, which p2p keeps.
    pub(crate) fn penalise(&self, weight: u32, reason: &str) {
        tracing::debug!(peer = %self.id, weight, reason, "Peer penalised");
        let command = LinkCommand::Penalise { peer: self.id, weight, reason: reason.to_owned() };
        self.outbox.steer(Traced::untraced(command));
    }

    /// The protocol of its `eth` messages.
    pub(crate) fn eth(&self) -> WireProtocol {
        WireProtocol::Eth(u8::try_from(self.version.number()).unwrap_or_default())
    }
}

/// A message to peers behind one link.
pub(crate) fn message(
    peers: Vec<PeerId>,
    protocol: WireProtocol,
    code: u64,
    payload: bytes::Bytes,
) -> LinkCommand {
    // Codes of messages are small.
    let code = u32::try_from(code).unwrap_or(u32::MAX);
    LinkCommand::Send(SendMessage { peers, protocol, code, payload })
}
