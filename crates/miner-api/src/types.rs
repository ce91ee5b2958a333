//! Domain types of the miner contract.

use alloy_primitives::{Address, B256, U256};
use quintet_types::BlockRef;

/// How blocks get their seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealerKind {
    /// At once, without proof: development networks.
    Instant,
    /// Proof of work.
    Ethash,
    /// Proof of authority (EIP-225).
    Clique,
}

/// What the miner is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MinerStatus {
    /// Whether it makes blocks (`eth_mining`).
    pub sealing: bool,
    /// Who gets the fees (`eth_coinbase`); `None` when unset.
    pub etherbase: Option<Address>,
    /// Hashes a second, local and submitted (`eth_hashrate`).
    pub hashrate: u64,
    /// How it seals.
    pub sealer: SealerKind,
    /// The parent that work is being prepared or searched on.
    pub parent: Option<BlockRef>,
}

/// Proof-of-work for an outside searcher (`eth_getWork`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work {
    /// Hash of the header without its seal.
    pub seal_hash: B256,
    /// Seed of the epoch's dataset.
    pub seed_hash: B256,
    /// Boundary: 2^256 / difficulty.
    pub target: U256,
    /// The block's number.
    pub number: u64,
}
