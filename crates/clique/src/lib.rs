//! Proof of authority as EIP-225 has it and geth does it (clique): who may sign, whose turn it is, how signers
//! are voted in and out, and what a header must say.
//!
//! [`Clique`] checks headers and keeps the [`Snapshot`]s that they are checked against; the rules that every
//! network shares (number, gas, base fee) are not its own. The errors are geth's, word for word.
//!
//! What must hold:
//! - a snapshot is a function of its block's ancestry alone, whether it was built from genesis, from a stored
//!   snapshot, or block by block;
//! - a header that passes [`Clique::check_header`] and [`Clique::check_seal`] against its parent's snapshot can
//!   be applied to that snapshot.
//!
//! Pure: no IO, no clock, no randomness. Headers come through [`quintet_types::Ancestry`], snapshots go to a
//! [`SnapshotStore`].

mod clique;
mod error;
mod extra;
mod history;
mod record;
mod seal;
mod snapshot;

pub use clique::Clique;
pub use error::CliqueError;
pub use extra::{seal_hash, signers_of_checkpoint};
pub use history::{SnapshotStore, snapshot_key};
pub use seal::Proposals;
pub use snapshot::{Snapshot, Tally, Vote};

use alloy_primitives::{B64, U256};

/// Bytes at the front of the extra data that are the signer's to fill.
pub const EXTRA_VANITY: usize = 32;
/// Bytes at the end of the extra data that are the seal: r, s and the recovery id, 0 or 1.
pub const EXTRA_SEAL: usize = 65;
/// The nonce that votes for the beneficiary to become a signer.
pub const NONCE_AUTHORIZE: B64 = B64::repeat_byte(0xff);
/// The nonce that votes for the beneficiary to be a signer no more; also that of blocks without a vote.
pub const NONCE_DROP: B64 = B64::ZERO;
/// The difficulty of a block whose signer has its turn.
pub const DIFFICULTY_IN_TURN: U256 = U256::from_limbs([2, 0, 0, 0]);
/// The difficulty of a block whose signer was faster than the one that had its turn.
pub const DIFFICULTY_NO_TURN: U256 = U256::from_limbs([1, 0, 0, 0]);
