//! What sync needs of the peers, and nothing more: so that it runs as well on a simulated network.

use alloy_primitives::{B256, Bytes, U256};
use futures::stream::BoxStream;
use quintet_eth_wire::{
    AccountRange, GetAccountRange, GetByteCodes, GetStorageRanges, GetTrieNodes, StorageRanges,
};
use quintet_types::{Block, BlockRef, Body, Header, Receipts, TraceContext};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A node's id: the Keccak-256 of its public key.
pub type PeerId = B256;

/// The best block that a peer has told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerHead {
    /// Its hash.
    pub hash: B256,
    /// Its number, where the peer has told it: `eth/69`'s status does, the older ones do not.
    pub number: Option<u64>,
    /// The sum of the difficulties up to it; `eth/69` does not tell it.
    pub total_difficulty: Option<U256>,
}

/// A peer as it stands now.
#[derive(Clone, Copy, Debug)]
pub struct PeerView {
    /// Who it is.
    pub id: PeerId,
    /// Where it is.
    pub head: PeerHead,
    /// The oldest block that it serves, where it has told: `eth/69` does.
    pub earliest: Option<u64>,
    /// Whether it speaks `snap/1`.
    pub snap: bool,
}

/// The block that a request for headers begins at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// The block of this hash, on any branch.
    Hash(B256),
    /// The canonical block of this number.
    Number(u64),
}

/// `GetBlockHeaders`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadersRequest {
    /// Where to begin.
    pub start: Start,
    /// Most headers.
    pub limit: u64,
    /// Blocks to leave out between two headers.
    pub skip: u64,
    /// Towards genesis.
    pub reverse: bool,
}

impl HeadersRequest {
    /// The header of one block.
    pub const fn one(start: Start) -> Self {
        Self { start, limit: 1, skip: 0, reverse: false }
    }
}

/// What is asked of peers, as far as their speed at it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Headers.
    Headers,
    /// Bodies.
    Bodies,
    /// Receipts of blocks.
    Receipts,
    /// Parts of a state.
    State,
}

/// Why a request brought nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The peer did not answer in time.
    #[error("the peer did not answer in time")]
    Timeout,
    /// The peer is gone.
    #[error("the peer is gone")]
    Gone,
    /// The answer is none to the request. Whoever found out has told it already.
    #[error("the peer's answer is malformed: {0}")]
    Malformed(String),
}

/// What the peers do of their own accord.
#[derive(Clone, Debug)]
pub enum Change {
    /// A peer came.
    Up(PeerId),
    /// A peer went.
    Down(PeerId),
    /// A peer's head is another.
    Head(PeerId),
    /// A peer announces blocks by hash and number.
    Announced {
        /// Who.
        peer: PeerId,
        /// What.
        blocks: Vec<(B256, u64)>,
        /// The message's trace.
        trace: TraceContext,
    },
    /// A peer sends a block.
    Block {
        /// Who.
        peer: PeerId,
        /// The block.
        block: Arc<Block>,
        /// The sum of the difficulties up to and with it, as the peer says.
        total_difficulty: U256,
        /// The message's trace.
        trace: TraceContext,
    },
}

/// What a peer did wrong. The text is for logs and for the peer's record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Its head cannot be had from it.
    NoHead,
    /// It answers with other headers than were asked for.
    WrongHeaders,
    /// Headers that are not each other's parents.
    Unlinked,
    /// A header breaks a rule.
    InvalidHeader {
        /// Its number.
        number: u64,
        /// Its hash.
        hash: B256,
        /// The rule.
        reason: String,
    },
    /// Its chain forks from ours too far below the head.
    TooOld,
    /// Bodies that belong to none of the blocks that were asked for.
    WrongBodies,
    /// Receipts that belong to none of the blocks that were asked for.
    WrongReceipts,
    /// A part of a state that is not of the state that was asked for.
    WrongState {
        /// What it is.
        what: &'static str,
        /// Why it is not.
        reason: String,
    },
    /// Its chain has less work than it said.
    LyingDifficulty {
        /// What it said.
        claimed: U256,
        /// What its headers have.
        found: U256,
    },
    /// It does not give the chain that it says it has.
    Stalling,
    /// Its canonical chain changed again and again under one sync.
    Unsteady,
    /// A block breaks a rule.
    InvalidBlock {
        /// Its number.
        number: u64,
        /// Its hash.
        hash: B256,
        /// The rule.
        reason: String,
    },
    /// It announced a block under another number than it has.
    WrongAnnouncement,
    /// It announces, or sends, more blocks than anybody can fetch.
    Flood,
}

impl Fault {
    /// Points of reputation that it costs, of the 100 that a peer has.
    pub const fn weight(&self) -> u32 {
        match self {
            Self::Unlinked
            | Self::InvalidHeader { .. }
            | Self::WrongBodies
            | Self::WrongReceipts
            | Self::WrongState { .. }
            | Self::LyingDifficulty { .. }
            | Self::InvalidBlock { .. } => 100,
            Self::NoHead | Self::WrongHeaders | Self::TooOld | Self::WrongAnnouncement => 50,
            Self::Stalling => 30,
            Self::Unsteady => 20,
            Self::Flood => 5,
        }
    }

    /// Whether the peer is to go at once; otherwise it loses reputation only.
    pub const fn is_severe(&self) -> bool {
        self.weight() >= 50
    }

    /// Its name among metrics.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::NoHead => "no_head",
            Self::WrongHeaders => "wrong_headers",
            Self::Unlinked => "unlinked",
            Self::InvalidHeader { .. } => "invalid_header",
            Self::TooOld => "too_old",
            Self::WrongBodies => "wrong_bodies",
            Self::WrongReceipts => "wrong_receipts",
            Self::WrongState { .. } => "wrong_state",
            Self::LyingDifficulty { .. } => "lying_difficulty",
            Self::Stalling => "stalling",
            Self::Unsteady => "unsteady",
            Self::InvalidBlock { .. } => "invalid_block",
            Self::WrongAnnouncement => "wrong_announcement",
            Self::Flood => "flood",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHead => f.write_str("does not give the header of its head"),
            Self::WrongHeaders => f.write_str("headers that were not asked for"),
            Self::Unlinked => f.write_str("headers that do not link"),
            Self::InvalidHeader { number, hash, reason } => {
                write!(f, "invalid header {number} [{hash}]: {reason}")
            }
            Self::TooOld => f.write_str("its chain forks too far below the head"),
            Self::WrongBodies => f.write_str("bodies that do not match the headers"),
            Self::WrongReceipts => f.write_str("receipts that do not match the headers"),
            Self::WrongState { what, reason } => write!(f, "{what} that are not of the state: {reason}"),
            Self::LyingDifficulty { claimed, found } => {
                write!(f, "total difficulty {claimed} was claimed, its headers have {found}")
            }
            Self::Stalling => f.write_str("does not give the chain that it claims"),
            Self::Unsteady => f.write_str("changes its chain again and again"),
            Self::InvalidBlock { number, hash, reason } => {
                write!(f, "invalid block {number} [{hash}]: {reason}")
            }
            Self::WrongAnnouncement => f.write_str("a block under a wrong number"),
            Self::Flood => f.write_str("too many blocks at once"),
        }
    }
}

/// The peers. Requests end: each has a deadline of its own. Their answers have the right form and at most the size
/// asked for; their contents are for sync to judge.
#[tonic::async_trait]
pub trait Network: Send + Sync + 'static {
    /// Those that are there.
    fn peers(&self) -> Vec<PeerView>;

    /// One of them.
    fn peer(&self, id: PeerId) -> Option<PeerView> {
        self.peers().into_iter().find(|peer| peer.id == id)
    }

    /// What happens from now on. It may miss something: who follows it looks at [`Network::peers`] now and then.
    fn changes(&self) -> BoxStream<'static, Change>;

    /// Asks for headers.
    async fn headers(&self, peer: PeerId, request: HeadersRequest) -> Result<Vec<Header>, RequestError>;

    /// Asks for bodies of blocks. The answer is in the order asked for, and blocks that the peer does not have may
    /// be left out.
    async fn bodies(&self, peer: PeerId, hashes: Vec<B256>) -> Result<Vec<Body>, RequestError>;

    /// Asks for receipts of blocks, with their blooms. The answer is in the order asked for, and blocks whose receipts the
    /// peer does not have may be left out.
    async fn receipts(&self, peer: PeerId, hashes: Vec<B256>) -> Result<Vec<Receipts>, RequestError>;

    /// Asks for accounts of a state (snap/1).
    async fn account_range(
        &self,
        peer: PeerId,
        request: GetAccountRange,
    ) -> Result<AccountRange, RequestError>;

    /// Asks for slots of accounts (snap/1).
    async fn storage_ranges(
        &self,
        peer: PeerId,
        request: GetStorageRanges,
    ) -> Result<StorageRanges, RequestError>;

    /// Asks for codes by their hashes (snap/1).
    async fn byte_codes(&self, peer: PeerId, request: GetByteCodes) -> Result<Vec<Bytes>, RequestError>;

    /// Asks for trie nodes by their paths (snap/1).
    async fn trie_nodes(&self, peer: PeerId, request: GetTrieNodes) -> Result<Vec<Bytes>, RequestError>;

    /// How many items the peer can give within `target`; at least one.
    fn capacity(&self, peer: PeerId, kind: Kind, target: Duration) -> usize;

    /// Tells that a peer did wrong; it may be gone afterwards.
    fn penalise(&self, peer: PeerId, fault: &Fault);

    /// Sends a block whose header is valid to some of the peers that do not have it.
    fn broadcast_block(&self, block: &Block, total_difficulty: U256);

    /// Tells a block that was imported to all peers that do not have it.
    fn announce_block(&self, block: BlockRef);

    /// A sync is done: the chain is where the peers' is.
    fn synced(&self);
}
