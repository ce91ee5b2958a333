//! The values that every part of the node shares: blocks and receipts (alloy's types, pinned to one
//! choice each), the account and state-change records of the versioned state, and the one trait through
//! which the EVM reads state.
//!
//! Pure: no IO, no clock, no randomness.

mod ancestry;
mod block;
mod crypto;
mod delta;
mod state;

pub use ancestry::Ancestry;
pub use block::{
    Block, BlockRef, Body, ExecutedBlock, Header, Receipt, Receipts, RecoveredBlock, Transaction,
    decode_receipts, decode_transaction, encode_receipts, encode_transaction,
};
pub use crypto::{RecoveryFailed, install_crypto, recover_sender, recover_senders};
pub use delta::{BlockDelta, ChainEvent, PoolEvent, PoolTransaction, TraceContext, Work};
pub use state::{Account, AccountDiff, StateDiff, StateError, StateReader};
