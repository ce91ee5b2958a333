//! The chain store: blocks, receipts, versioned state and the trie's nodes behind one trait, [`Store`], with two
//! engines: an embedded one, and PostgreSQL, whose tables people can query.
//!
//! What must hold:
//! - A state entry is never overwritten: it is written under the block that changed it, and reading at block
//!   N finds the newest version at or below N. Only a reorg deletes versions: those above the common ancestor,
//!   in the same transaction that writes the new ones.
//! - A [`Commit`] is one durable transaction: after a crash all of it is there, or nothing.
//! - A state that was fetched from peers lies as a base beneath the versions, and is not changed once it is adopted.
//! - The canonical chain has no gaps, and the block that the trie's nodes belong to is canonical.
//!
//! Calls are synchronous; [`Store::reads_block`] says whether they may wait for a network.

mod codec;
mod embedded;
mod error;
mod location;
mod offload;
mod postgres;
mod receipts;
mod store;

use store::{NOT_AT_GENESIS, STATE_IS_HELD, placed};

pub use alloy_trie::TrieAccount;
pub use embedded::{Durability, Options, open, open_temporary};
pub use error::StoreError;
pub use location::Location;
pub use offload::offloaded;
pub use postgres::{PostgresOptions, is_postgres, open_at, open_postgres};
pub use store::{
    AccountChange, Commit, FetchedState, GENESIS_KEY, HistoricBlock, StateChanges, Store, TableStats,
    TransactionLocation, TrieFlush, next_page, successor,
};
