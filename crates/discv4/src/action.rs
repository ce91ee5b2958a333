//! What the engine wants done, and what it tells.

use crate::Outgoing;
use quintet_enode::{Enode, PublicKey, Record};
use std::net::SocketAddr;
use std::time::Duration;

/// Names a lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LookupId(pub(crate) u64);

/// Names a ping or a question for a record that a caller asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub(crate) u64);

/// One of the engine's outputs, in the order in which they came about.
#[derive(Clone, Debug)]
pub enum Action {
    /// Send a datagram. One that cannot be sent may be dropped.
    Send {
        /// Whereto; IPv4 addresses are never in their IPv6 form.
        to: SocketAddr,
        /// [`Outgoing::seal`] gives its bytes, on any thread.
        datagram: Outgoing,
    },
    /// A node came into the table.
    NodeAdded(Enode),
    /// A node answered a ping: it is there.
    NodeVerified(Enode),
    /// A node left the table: it was silent, or failed too often.
    NodeRemoved(Enode),
    /// A lookup heard of a node that it had not heard of: somebody to try, proved to nobody.
    NodeSeen(Enode),
    /// A lookup ended.
    LookupFinished(LookupResult),
    /// A ping that a caller asked for ended.
    PingFinished {
        /// Which one.
        id: RequestId,
        /// Who was pinged.
        node: Enode,
        /// The answer, if one came in time.
        pong: Option<PongSeen>,
    },
    /// The question for a record ended, one that a caller asked or one of the engine's own.
    RecordResolved {
        /// The caller's question.
        id: Option<RequestId>,
        /// Who was asked.
        node: Enode,
        /// The record, checked to be the node's: its answer, or what was known and is the newest. `None` when it
        /// has none, or no answer came in time.
        record: Option<Record>,
    },
    /// A node said where it sees us, in answer to a ping of ours or in a ping of its own.
    EndpointStatement {
        /// Who says so.
        by: SocketAddr,
        /// Our address as it sees it.
        endpoint: SocketAddr,
    },
    /// What is known of a node changed: to be kept for [`crate::Discv4::restore`].
    Persist(NodeFacts),
    /// The table is refreshed: up to `count` nodes that were alive within `max_age` should be given to
    /// [`crate::Discv4::add_node`], at random.
    WantSeeds {
        /// How many.
        count: usize,
        /// How long ago their last pong may be.
        max_age: Duration,
    },
}

/// How a lookup ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LookupResult {
    /// Which one.
    pub id: LookupId,
    /// What was looked near.
    pub target: PublicKey,
    /// The closest nodes, at most 16, closest first. Who was asked and did not answer is not among them.
    pub nodes: Vec<Enode>,
    /// The steps from our table to the farthest of them.
    pub hops: u32,
    /// How many nodes were asked.
    pub queries: u32,
}

/// A pong that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PongSeen {
    /// The time from ping to pong.
    pub round_trip: Duration,
    /// The number of the node's record, if it said (EIP-868).
    pub enr_seq: Option<u64>,
}

/// What is worth keeping of a node from one run to the next (geth's node database). Times are Unix time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeFacts {
    /// Its address.
    pub enode: Enode,
    /// Its last record, if it was asked for it.
    pub record: Option<Record>,
    /// When its last ping came.
    pub last_ping: Option<Duration>,
    /// When its last pong came.
    pub last_pong: Option<Duration>,
    /// How many questions it left unanswered since it answered one.
    pub failures: u32,
    /// Whether it was in the table for minutes and answered checks: a good seed for the next run.
    pub seed: bool,
}
