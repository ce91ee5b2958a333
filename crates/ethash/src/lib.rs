//! Proof of work (Ethash): caches and datasets, seals and the search for them, difficulty, uncles, rewards.
//!
//! The words of errors and the order of checks are geth's. All is pure but for two modules: `files`, which
//! keeps caches and datasets on disk, and `epochs`, which computes each of them once and the next one ahead.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

mod cache;
mod dao;
mod dataset;
mod difficulty;
mod epoch;
mod epochs;
mod error;
mod files;
mod hashimoto;
mod keccak;
mod memory;
mod mix;
mod seal;
mod search;
mod uncles;

pub use cache::Cache;
pub use dao::check_dao_extra;
pub use dataset::Dataset;
pub use difficulty::next_difficulty;
pub use epoch::{EPOCH_LENGTH, Epoch, MAX_EPOCH};
pub use epochs::{EpochCaches, EpochDatasets, Limits};
pub use error::{DatasetError, EthashError};
pub use files::{FileError, FileStore};
pub use hashimoto::{Hashimoto, hashimoto_full, hashimoto_light};
pub use mix::Item;
pub use quintet_chainspec::{Rewards, rewards};
pub use seal::{Work, boundary, seal_hash, verify_seal, verify_seals};
pub use search::{Search, Solution};
pub use uncles::{Uncle, check_uncles};
