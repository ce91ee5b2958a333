//! The rules that a block must keep before it is executed, whichever engine its network has: one trait,
//! [`Consensus`], with proof of work, proof of authority and proof of stake behind it, and [`Engine`], which
//! picks among them by the chain's schedule and total difficulty, as geth's beacon wrapper does.
//!
//! Words are geth's, and so is the order in which rules are asked. No clock is read here: whether a block
//! comes from the future is for the caller to say, by [`Consensus::allowed_future`].

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

mod beacon;
mod body;
mod clique;
mod engine;
mod error;
mod ethash;
mod fork_choice;
mod header;

pub use body::check_body;
pub use engine::{Consensus, Engine, Options, Parent};
pub use error::{BlockError, ConsensusError};
pub use fork_choice::{Weight, prefers};
pub use header::{fork_of, next_gas_limit};
