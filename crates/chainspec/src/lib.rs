//! What makes one Ethereum network differ from another: its `genesis.json`, its schedule of forks, and what
//! follows from them: the genesis block and state, fork ids (EIP-2124), base fee and blob parameters.
//!
//! The file format, the defaults, the checks and their wording are geth's, so that a `genesis.json` written
//! for geth gives the same genesis hash here, and a wrong one is refused for the same reason.
//!
//! Pure: no IO, no clock, no randomness.

mod classic;
mod compat;
mod config;
mod dev;
mod error;
mod fees;
mod fork;
mod forkid;
mod genesis;
mod genesis_block;
mod json;
mod order;
mod preset;
mod rewards;
mod spec;

pub use alloy_eip2124::{ForkHash, ForkId, ValidationError};
pub use alloy_eips::{eip1559::BaseFeeParams, eip7840::BlobParams};
pub use alloy_genesis::{ChainConfig, CliqueConfig, EthashConfig, GenesisAccount};
pub use classic::Classic;
pub use compat::{ConfigMismatch, check_compatible};
pub use config::{config_from_json, config_to_json};
pub use error::{Activation, ChainSpecError};
pub use fork::Fork;
pub use forkid::Head;
pub use genesis::Genesis;
pub use order::check_fork_order;
pub use preset::PRESETS;
pub use rewards::{Rewards, block_reward, rewards};
pub use spec::{ChainSpec, Consensus, DaoFork};
