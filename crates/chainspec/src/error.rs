//! What can be wrong with a genesis file or with a chain configuration.

use crate::ConfigMismatch;
use alloy_primitives::B256;
use std::fmt;

/// When a fork takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// From this block number on.
    Block(u64),
    /// From the first block whose timestamp (Unix seconds) is not below this one.
    Time(u64),
}

impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Block(number) => write!(f, "block {number}"),
            Self::Time(time) => write!(f, "timestamp {time}"),
        }
    }
}

/// Why a genesis file or a chain configuration is refused. Where geth has the same check, the text is geth's.
#[derive(Debug, thiserror::Error)]
pub enum ChainSpecError {
    /// The text is not JSON, or not a JSON object where one is needed.
    #[error("invalid genesis file: {path}: {source}")]
    Json {
        /// Where in the file, as `config.blobSchedule`.
        path: String,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// A field that must be there is not.
    #[error("missing required field '{field}' for {of}")]
    MissingField {
        /// The field's name.
        field: &'static str,
        /// What it belongs to.
        of: &'static str,
    },
    /// A field's value cannot be read.
    #[error("invalid genesis file: {path}: {reason}")]
    InvalidField {
        /// Where in the file, as `alloc.0x…01.balance`.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The genesis file has no `config`.
    #[error("genesis has no chain configuration")]
    NoConfig,
    /// A fork is scheduled though one before it is not.
    #[error("unsupported fork ordering: {previous} not enabled, but {fork} enabled at {at}")]
    ForkNotEnabled {
        /// The fork that is missing.
        previous: &'static str,
        /// The fork that needs it.
        fork: &'static str,
        /// When that is scheduled.
        at: Activation,
    },
    /// A fork is scheduled before one that it builds on.
    #[error("unsupported fork ordering: {previous} enabled at {previous_at}, but {fork} enabled at {at}")]
    ForkTooEarly {
        /// The fork that must come first.
        previous: &'static str,
        /// When it is scheduled.
        previous_at: Activation,
        /// The fork that must not come before.
        fork: &'static str,
        /// When it is scheduled.
        at: Activation,
    },
    /// The fork's rules are not implemented.
    #[error("unsupported fork: {field} is set, but this node does not know its rules")]
    UnsupportedFork {
        /// The configuration field.
        field: &'static str,
    },
    /// A fork with blobs has no entry in `blobSchedule`.
    #[error("invalid chain configuration: missing entry for fork \"{fork}\" in blobSchedule")]
    MissingBlobSchedule {
        /// The fork's name in `blobSchedule`.
        fork: &'static str,
    },
    /// An entry of `blobSchedule` cannot work.
    #[error("invalid chain configuration in blobSchedule for fork \"{fork}\": {reason}")]
    InvalidBlobSchedule {
        /// The fork's name in `blobSchedule`.
        fork: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// An option of Ethereum Classic cannot work.
    #[error("invalid chain configuration: {field}: {reason}")]
    InvalidClassic {
        /// The configuration field.
        field: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A clique network whose genesis extra data names no signer.
    #[error("can't start clique chain without signers")]
    NoCliqueSigners,
    /// No preset has this name.
    #[error("unknown network {0:?}")]
    UnknownNetwork(String),
    /// An embedded account list is damaged.
    #[error("invalid genesis accounts of {network}: {source}")]
    PresetAlloc {
        /// The network's name.
        network: &'static str,
        /// What the decoder said.
        source: alloy_rlp::Error,
    },
    /// The database was initialised with another genesis block.
    #[error("database contains incompatible genesis (have {stored:x}, new {new:x})")]
    GenesisMismatch {
        /// The hash of the genesis block in the database.
        stored: B256,
        /// The hash of the genesis block asked for.
        new: B256,
    },
    /// The database holds blocks made under other fork rules.
    #[error(transparent)]
    ConfigMismatch(#[from] ConfigMismatch),
}
