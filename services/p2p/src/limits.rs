//! Times and sizes of sessions, dials and the link. The defaults are geth's where geth has them; tests take shorter ones.

use crate::dial::DialLimits;
use std::time::Duration;

/// Times and sizes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// From a connection to the end of its handshakes, RLPx and hello.
    pub handshake: Duration,
    /// From there to the peer's `eth` status.
    pub status: Duration,
    /// Between frames of a peer.
    pub read: Duration,
    /// Until a peer has taken a frame.
    pub write: Duration,
    /// Between our pings.
    pub ping: Duration,
    /// Until a connection that we dial stands.
    pub dial: Duration,
    /// Between connections from one address, unless it is local.
    pub throttle: Duration,
    /// Between dials of one node.
    pub dial_history: Duration,
    /// The same for a static node in a local network.
    pub local_dial_history: Duration,
    /// How long a node of another network is not dialled.
    pub unsuited: Duration,
    /// Dials at once.
    pub active_dials: usize,
    /// Bytes that wait to be sent to a peer before announcements to it are dropped, and it is not read from.
    pub send_queue: usize,
    /// Bytes that wait to be sent to a peer before it is dropped. More than a message may have.
    pub most_send_queue: usize,
    /// How long a peer is not read from because it does not read.
    pub stall: Duration,
    /// Bytes of one peer's messages that wait for `chain`.
    pub peer_queue: usize,
    /// Bytes of all peers' messages that wait for `chain`.
    pub link_queue: usize,
    /// How long a message waits for room in that queue before it is dropped.
    pub link_wait: Duration,
    /// Between attempts to reach `chain` and discovery: the first, and the most that doubling leads to.
    pub reconnect: [Duration; 2],
    /// Until `chain` has said the status of a new link.
    pub link_status: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            handshake: seconds(5),
            status: seconds(5),
            read: seconds(30),
            write: seconds(20),
            ping: seconds(15),
            dial: seconds(15),
            throttle: seconds(30),
            dial_history: seconds(35),
            local_dial_history: seconds(5),
            unsuited: Duration::from_mins(30),
            active_dials: 16,
            send_queue: 4 << 20,
            most_send_queue: 32 << 20,
            stall: seconds(5),
            peer_queue: 2 << 20,
            link_queue: 64 << 20,
            link_wait: seconds(5),
            reconnect: [Duration::from_millis(100), seconds(5)],
            link_status: seconds(10),
        }
    }
}

impl Limits {
    /// Those of the dial scheduler.
    pub(crate) const fn dials(&self, dialled: usize) -> DialLimits {
        DialLimits {
            dialled,
            active: self.active_dials,
            history: self.dial_history,
            local_history: self.local_dial_history,
        }
    }
}
