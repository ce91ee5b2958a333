//! The chain service: blocks, state, receipts, fork choice, the transaction pool, and block building. It alone
//! writes chain state.
//!
//! [`Chain`] is the one writer. A block is executed on the state of its parent, its root is computed over
//! the trie, and one transaction of the store commits it; then the pool moves to the new head and the bus
//! carries the block's delta to everybody else.

mod adopt;
mod ancestry;
mod bad;
mod build;
mod bulk;
mod chain;
mod config;
mod error;
mod feed;
pub mod genesis;
mod history;
mod import;
mod journal;
mod network;
pub mod peers;
mod pool;
mod probe;
mod process;
mod recover;
mod reorg;
mod server;
mod side;
mod stage;
pub mod sync;
mod tasks;
mod trie;
mod verify;

pub use bulk::{BulkOptions, ImportError, Progress, StageTimes, Summary};
pub use chain::{Chain, Head};
pub use config::{Config, PendingConfig, PoolArgs};
pub use error::{ChainError, ProcessError};
pub use history::RootedReceipts;
pub use import::{Imported, Seals};
pub use network::NetworkArgs;
pub use peers::{PeerLinkServer, Peers};
pub use pool::TransactionPool;
pub use process::{ProcessArgs, run};
pub use server::ChainServer;
pub use tasks::{serve_with_peers, spawn_tasks};
