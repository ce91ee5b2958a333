//! What is wrong with a header, in geth's words.

use quintet_types::StateError;

/// Why a header is not valid under clique, or its snapshot cannot be had.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CliqueError {
    /// A block that is not held, or genesis where a sealed block is asked for.
    #[error("unknown block")]
    UnknownBlock,
    /// A block whose ancestry is not held.
    #[error("unknown ancestor")]
    UnknownAncestor,
    /// A checkpoint cannot carry a vote: its beneficiary is zero.
    #[error("beneficiary in checkpoint block non-zero")]
    CheckpointBeneficiary,
    /// The nonce is neither of the two votes.
    #[error("vote nonce not 0x00..0 or 0xff..f")]
    InvalidVote,
    /// A checkpoint cannot carry a vote: its nonce is zero.
    #[error("vote nonce in checkpoint block non-zero")]
    CheckpointVote,
    /// Less extra data than the vanity.
    #[error("extra-data 32 byte vanity prefix missing")]
    MissingVanity,
    /// No room for the seal in the extra data.
    #[error("extra-data 65 byte signature suffix missing")]
    MissingSignature,
    /// Only checkpoints list the signers.
    #[error("non-checkpoint block contains extra signer list")]
    ExtraSigners,
    /// A checkpoint's list that is not whole addresses.
    #[error("invalid signer list on checkpoint block")]
    InvalidCheckpointSigners,
    /// A checkpoint's list that is not the signers in ascending order.
    #[error("mismatching signer list on checkpoint block")]
    MismatchingCheckpointSigners,
    /// The mix digest has no use, and is zero.
    #[error("non-zero mix digest")]
    InvalidMixDigest,
    /// There are no uncles.
    #[error("non empty uncle hash")]
    InvalidUncleHash,
    /// The difficulty is neither of the two.
    #[error("invalid difficulty")]
    InvalidDifficulty,
    /// The difficulty is not that of the signer's turn.
    #[error("wrong difficulty")]
    WrongDifficulty,
    /// Earlier than the period after the parent.
    #[error("invalid timestamp")]
    InvalidTimestamp,
    /// Headers that do not follow the snapshot, or each other.
    #[error("invalid voting chain")]
    InvalidVotingChain,
    /// The signer is not one of the authorized.
    #[error("unauthorized signer")]
    UnauthorizedSigner,
    /// The signer signed one of the blocks just before.
    #[error("recently signed")]
    RecentlySigned,
    /// The seal's last byte is not a recovery id.
    #[error("invalid signature recovery id")]
    InvalidRecoveryId,
    /// The seal is not a signature of any key.
    #[error("recovery failed")]
    RecoveryFailed,
    /// The headers could not be read.
    #[error(transparent)]
    Read(#[from] StateError),
}
