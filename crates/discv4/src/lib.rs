//! Node discovery v4: packets, the node table and lookups, without a socket and without a clock.
//!
//! [`Discv4`] is the whole of it: it is given datagrams, the time and requests, and gives [`Action`]s. Around it:
//!
//! - [`decode`], [`verify`] and [`Signer`]: the wire, as pure functions that run on any thread;
//! - [`Table`]: whom we know, by distance.
//!
//! What must hold: nobody gets an answer larger than his question before he proved to receive what is sent to him;
//! nobody's packets make the engine keep more than a fixed amount of memory, or cost more than an address may cost.
//!
//! # How a service drives it
//!
//! ```
//! # use quintet_discv4::{Action, Config, Discv4};
//! # use quintet_enode::{NodeKey, RecordBuilder};
//! # use std::time::Duration;
//! let key = NodeKey::generate();
//! let record = RecordBuilder::new(1).ip([127, 0, 0, 1].into()).udp(30303).tcp(30303).sign(&key)?;
//! let mut engine = Discv4::new(Config::new(key, record));
//! let signer = engine.signer();
//! // The time is Unix time, in whatever precision there is.
//! let mut now = Duration::from_secs(1_700_000_000);
//! engine.tick(now);
//! // After each call: take the actions until there are none.
//! while let Some(action) = engine.poll() {
//!     if let Action::Send { to, datagram } = action {
//!         let bytes = datagram.seal(&signer);
//!         // socket.send_to(&bytes, to)
//! #       drop((to, bytes));
//!     }
//! }
//! // Then wait for a datagram, or until `next_tick`, whichever is first. Simple: `engine.handle_packet(now, from,
//! // &datagram)`. On several threads: `decode` without a lock, `screen` with it, `Unverified::recover` without it,
//! // `handle` with it, and `Outgoing::seal` without it.
//! now = engine.next_tick();
//! engine.tick(now);
//! # Ok::<(), quintet_enode::RecordError>(())
//! ```

mod action;
mod bonds;
mod codec;
mod distance;
mod engine;
mod error;
mod limiter;
mod lookup;
mod packet;
mod recent;
mod subnets;
mod table;
mod tasks;

pub use action::{Action, LookupId, LookupResult, NodeFacts, PongSeen, RequestId};
pub use bonds::{BOND_EXPIRATION, MAX_FAILURES, OWN_BOND_EXPIRATION};
pub use codec::{
    MAX_NEIGHBOURS, MAX_PACKET_SIZE, Outgoing, RecoverFn, Scheme, SignFn, Signer, Unverified, Verified,
    decode, verify,
};
pub use distance::{distance, log_distance};
pub use engine::{
    Config, Discv4, EXPIRATION, MAX_LOOKUPS, REFRESH_INTERVAL, REVALIDATE_INTERVAL, SEED_COUNT, SEED_MAX_AGE,
    SEED_MIN_TABLE_TIME,
};
pub use error::{PacketError, Rejected, RequestError};
pub use limiter::RateLimits;
pub use lookup::{ALPHA, MAX_QUERIES};
pub use packet::{
    Endpoint, EnrRequest, EnrResponse, FindNode, Neighbour, Neighbours, Packet, Ping, Pong, VERSION,
};
pub use table::{
    BUCKET_SIZE, BUCKET_SUBNET_LIMIT, BUCKETS, MAX_REPLACEMENTS, TABLE_SUBNET_LIMIT, Table, TableNode,
};
pub use tasks::{MAX_TASKS, RESPONSE_TIMEOUT, SETTLE_TIME};
