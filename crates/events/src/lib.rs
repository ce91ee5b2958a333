//! How `chain` tells the rest of the node what happened: block deltas and pool events, behind one trait.
//!
//! - [`EventBus`] is the seam; [`LocalBus`] is the bus of the one-process node, [`RedisBus`] that of the split one.
//! - Chain events are never lost in silence: a consumer that cannot be given the next one gets a [`Gap`], and
//!   resyncs from the store. Pool events are hints: under lag they are dropped, and counted.
//! - [`Follower`] checks that the deltas a consumer got form one chain.

mod bus;
mod follower;
mod local;
mod redis;

pub use crate::redis::{LoggedTransaction, PoolLog, RedisBus};
pub use bus::{BusError, Event, EventBus, Gap, Subscription, Topics};
pub use follower::{Follower, Step};
pub use local::{HISTORY, LocalBus, POOL_QUEUE};
