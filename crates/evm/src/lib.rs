//! The EVM of the node: executes blocks, builds them, and tries out calls, on revm, over any
//! [`StateReader`](quintet_types::StateReader).
//!
//! Values and a read-only state go in, results and a diff come out: no clock, no randomness, no IO but the
//! reader's. What revm leaves out for old chains (receipts with state roots, proof-of-work rewards, the DAO)
//! is here; consensus (who may seal, what the header must say) is not.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

mod build;
mod call;
mod code_cache;
mod collision;
mod database;
mod eip1283;
mod env;
mod error;
mod execute;
mod processor;
mod rewards;
mod system;
#[cfg(any(test, feature = "test-utils"))]
pub mod test_utils;
mod validate;
mod vm;

pub use build::{BlockAttributes, BlockBuilder, BuildError, BuiltBlock, Included, logs_bloom};
pub use call::{
    AccountOverride, BlockOverrides, CallError, CallLimits, CallOutcome, CallRequest, CreatedAccessList,
    Simulation, StateOverrides,
};
pub use error::{DatabaseError, ExecutionError, Remedy, TxError};
pub use execute::{BlockOutput, PostStateRoot, execute_block};
