//! What proof of work refuses. Where geth has the check, the text is geth's.

use crate::epoch::Epoch;
use alloy_primitives::B256;
use quintet_types::StateError;

/// Why a header or its uncles are refused.
#[derive(Debug, thiserror::Error)]
pub enum EthashError {
    /// A header of difficulty zero: no work can seal it.
    #[error("non-positive difficulty")]
    InvalidDifficulty,
    /// The header's mix hash is not what its nonce gives.
    #[error("invalid mix digest")]
    InvalidMixDigest {
        /// The header's.
        have: B256,
        /// What its nonce gives.
        want: B256,
    },
    /// The hash is above the difficulty's boundary.
    #[error("invalid proof-of-work")]
    InvalidWork {
        /// The hash.
        result: B256,
        /// The highest valid one.
        boundary: B256,
    },
    /// The block's number is higher than any dataset goes.
    #[error("block {number} is beyond the last epoch of proof of work")]
    EpochTooHigh {
        /// The block.
        number: u64,
    },
    /// The cache or dataset at hand is another epoch's.
    #[error("block {number} is not of epoch {epoch:?}")]
    WrongEpoch {
        /// The block.
        number: u64,
        /// The epoch at hand.
        epoch: Epoch,
    },
    /// A block of the DAO fork without the fork's extra data (EIP-779).
    #[error("bad DAO pro-fork extra-data")]
    BadProDaoForkExtra,
    /// A block with the DAO fork's extra data on a network that did not make the fork.
    #[error("bad DAO no-fork extra-data")]
    BadNoDaoForkExtra,
    /// More than two uncles.
    #[error("too many uncles")]
    TooManyUncles,
    /// An uncle that this block or a recent ancestor has already included, or the block itself.
    #[error("duplicate uncle")]
    DuplicateUncle {
        /// The uncle.
        uncle: B256,
    },
    /// An uncle that is no uncle but an ancestor.
    #[error("uncle is ancestor")]
    UncleIsAncestor {
        /// The uncle.
        uncle: B256,
    },
    /// An uncle whose parent is not one of the second to seventh ancestors.
    #[error("uncle's parent is not ancestor")]
    DanglingUncle {
        /// The uncle.
        uncle: B256,
    },
    /// Ancestors cannot be read.
    #[error(transparent)]
    Ancestry(#[from] StateError),
}

/// Why a dataset was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DatasetError {
    /// The caller stopped it.
    #[error("dataset generation was stopped")]
    Stopped,
    /// It does not fit into memory.
    #[error("no memory for a dataset of {bytes} bytes")]
    OutOfMemory {
        /// Its size.
        bytes: u64,
    },
}
