//! How `chain` tells the rest of the node what happened, and miners each other what is prepared: block deltas, pool events
//! and work, on one bus.
//!
//! - [`EventBus`] is the seam; [`LocalBus`] is the bus of the one-process node, [`RedisBus`] that of the split one.
//! - Chain events are never lost in silence: a consumer that cannot be given the next one gets a [`Gap`], and
//!   resyncs from the store. Pool events are hints: under lag they are dropped, and counted. Of work only the newest
//!   counts; see [`WorkTopic`].
//! - [`Follower`] checks that the deltas a consumer got form one chain.

mod bus;
mod follower;
mod local;
mod redis;

pub use crate::redis::{LoggedTransaction, PoolLog, RedisBus};
pub use bus::{BusError, Event, EventBus, Gap, Subscription, Topics, WorkTopic};
pub use follower::{Follower, Step};
pub use local::{HISTORY, LocalBus, POOL_QUEUE};
