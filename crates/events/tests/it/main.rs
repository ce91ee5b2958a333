//! The bus's contract, run against every implementation, and the follower on real chains.

mod chains;
mod contract;
mod follower;

use quintet_events::{EventBus, LocalBus};
use std::sync::Arc;

fn local() -> Arc<dyn EventBus> {
    Arc::new(LocalBus::new())
}

contract::suite!(local, crate::local);
