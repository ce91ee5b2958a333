//! The peers: the link that p2p instances dial, who is connected, what is asked of whom, what they are served, and the
//! gossip of blocks and transactions.
//!
//! ```text
//!            ┌─ link (one task each) ─ inbox of each peer ─► replies ─► who asked
//! p2p ◄─gRPC─┤                                          ├──► gossip ─► sync, pool, fetcher
//!            └─ outbox (bounded) ◄──────────────────────┴──► requests ─► serve (off the async threads)
//! ```
//!
//! What must hold:
//! - Every queue is bounded. A peer that floods loses its own messages and its reputation, and nobody else's.
//! - What a peer sends is checked for its shape before anything else sees it. Whether it is true is for the caller.
//! - Nothing is sent to who is known to have it.

mod allowance;
mod error;
mod fetcher;
mod gossip;
mod identity;
mod inbox;
mod known;
mod link;
mod message;
mod outbox;
mod peer;
mod penalty;
mod pending;
mod rate;
mod reply;
mod request;
mod serve;
mod session;
mod status;
mod tasks;
mod wire;

use crate::chain::Chain;
use alloy_primitives::map::B256Map;
use alloy_primitives::{B256, U256};
use fetcher::TxFetcher;
use identity::{Instances, LinkNumber};
use inbox::Budget;
use link::Link;
use parking_lot::{Mutex, RwLock};
use quintet_chain_api::{LinkCommand, Traced};
use quintet_types::{Block, TraceContext};
use rate::RoundTrip;
use serve::StateViews;
use std::collections::BTreeMap;
use std::hash::RandomState;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, Semaphore, broadcast};

pub use error::RequestError;
pub use link::PeerLinkServer;
pub use peer::{Peer, PeerHead, PeerId};
pub use quintet_eth_wire::{
    AccountRange, GetAccountRange, GetBlockHeaders, GetByteCodes, GetStorageRanges, GetTrieNodes,
    HashOrNumber, StorageRanges,
};
pub use rate::RequestKind;

/// Changes that wait for a slow subscriber; it is told how many it missed.
const CHANGES: usize = 1024;

/// Something that happened to the peers.
#[derive(Clone, Debug)]
pub enum PeerChange {
    /// A peer is connected.
    Up(Arc<Peer>),
    /// A peer is gone.
    Down(PeerId),
    /// A peer told of another head.
    Head(PeerId),
    /// A peer announced blocks. Its head is not moved by that: an announcement costs nothing.
    Announced {
        /// Who.
        peer: PeerId,
        /// Hashes and numbers.
        blocks: Vec<(B256, u64)>,
        /// The trace of the message.
        traceparent: TraceContext,
    },
    /// A peer sent a whole block.
    Block {
        /// Who.
        peer: PeerId,
        /// The block. Its body is that of its header; nothing else is known of it.
        block: Arc<Block>,
        /// The total difficulty that the peer claims, with the block's own.
        td: U256,
        /// The trace of the message: the block's import continues it.
        traceparent: TraceContext,
    },
}

/// The connected peers. Cheap to clone.
#[derive(Clone)]
pub struct Peers {
    shared: Arc<Shared>,
}

struct Shared {
    chain: Arc<Chain>,
    links: Mutex<Links>,
    peers: RwLock<B256Map<Arc<Peer>>>,
    changes: broadcast::Sender<PeerChange>,
    round_trip: Mutex<RoundTrip>,
    /// The next request's.
    next_id: AtomicU64,
    /// Bytes that wait in the peers' inboxes.
    budget: Arc<Budget>,
    serve_slots: Semaphore,
    states: StateViews,
    /// Whether peers' transactions are taken.
    accepts: AtomicBool,
    /// Messages of more transactions than the pool takes at once that are on their way into it.
    bursts: AtomicUsize,
    pool_slots: Semaphore,
    fetcher: Mutex<TxFetcher>,
    /// There is something new to fetch.
    fetch: Notify,
    /// What the choice of peers for transactions depends on.
    secret: RandomState,
}

#[derive(Default)]
struct Links {
    instances: Instances,
    open: BTreeMap<LinkNumber, Arc<Link>>,
}

/// Batches of peers' transactions that the pool takes at once.
const POOL_BATCHES: usize = 2;

impl std::fmt::Debug for Peers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peers").field("connected", &self.shared.peers.read().len()).finish_non_exhaustive()
    }
}

impl Peers {
    /// No peers yet.
    pub fn new(chain: Arc<Chain>) -> Self {
        let shared = Shared {
            chain,
            links: Mutex::default(),
            peers: RwLock::default(),
            changes: broadcast::Sender::new(CHANGES),
            round_trip: Mutex::new(RoundTrip::new(Instant::now())),
            next_id: AtomicU64::new(rand::random::<u32>().into()),
            budget: Arc::default(),
            serve_slots: Semaphore::new(serve::SERVED_AT_ONCE),
            states: StateViews::new(),
            accepts: AtomicBool::new(false),
            bursts: AtomicUsize::new(0),
            pool_slots: Semaphore::new(POOL_BATCHES),
            fetcher: Mutex::new(TxFetcher::new()),
            fetch: Notify::new(),
            secret: RandomState::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// All connected peers.
    pub fn list(&self) -> Vec<Arc<Peer>> {
        self.shared.peers.read().values().map(Arc::clone).collect()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.shared.peers.read().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One peer, if it is connected.
    pub fn get(&self, peer: &PeerId) -> Option<Arc<Peer>> {
        self.shared.peers.read().get(peer).map(Arc::clone)
    }

    /// The peer that claims the best chain: the greatest total difficulty, or after the merge the highest number.
    pub fn best(&self) -> Option<Arc<Peer>> {
        let merged = self.shared.chain.spec.is_merged_after(self.shared.chain.head().total_difficulty);
        let weight = |peer: &Arc<Peer>| {
            let head = peer.head();
            let difficulty = if merged { None } else { head.total_difficulty };
            (difficulty.unwrap_or_default(), head.number.unwrap_or_default())
        };
        self.list().into_iter().max_by_key(weight)
    }

    /// What happens to the peers from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<PeerChange> {
        self.shared.changes.subscribe()
    }

    /// The time that a request should take: what [`Peer::capacity`] is asked with.
    pub fn target_round_trip(&self) -> Duration {
        self.shared.round_trip.lock().target()
    }

    /// Takes peers' transactions from now on. To be called when the first sync is done, and when a block is mined: before
    /// that most of them could not be judged.
    pub fn accept_transactions(&self) {
        if !self.shared.accepts.swap(true, Ordering::Relaxed) {
            tracing::debug!("Transactions of peers are accepted");
        }
    }

    /// Whether peers' transactions are taken: once this node was in sync, or while no peer claims a better chain; never
    /// while a state is on its way in.
    pub fn accepts_transactions(&self) -> bool {
        if self.shared.chain.is_fetching_state() {
            return false;
        }
        if self.shared.accepts.load(Ordering::Relaxed) {
            return true;
        }
        let head = self.shared.chain.head();
        let ahead = self.list().into_iter().any(|peer| {
            let claimed = peer.head();
            claimed.total_difficulty.is_some_and(|claimed| claimed > head.total_difficulty)
                || claimed.total_difficulty.is_none()
                    && claimed.number.is_some_and(|number| number > head.block.number)
        });
        if !ahead {
            self.accept_transactions();
        }
        !ahead
    }

    /// Follows the peers' round trips.
    fn tune(&self) {
        let round_trips: Vec<Duration> = self.list().iter().map(|peer| peer.round_trip()).collect();
        self.shared.round_trip.lock().tune(Instant::now(), round_trips.into_iter());
    }

    /// Takes `weight` points from a peer's reputation.
    pub fn penalise(&self, peer: &PeerId, weight: u32, reason: &str) {
        if let Some(peer) = self.get(peer) {
            peer.penalise(weight, reason);
        }
    }

    /// Ends a peer's connection, with a disconnect reason of devp2p.
    pub fn disconnect(&self, peer: &PeerId, reason: u32) {
        if let Some(peer) = self.get(peer) {
            tracing::debug!(peer = %peer.id, reason, "Peer is disconnected");
            let command = LinkCommand::Disconnect { peer: peer.id, reason };
            peer.outbox.steer(Traced::untraced(command));
        }
    }
}
