//! The rules that a block can break, in geth's words.

use alloy_primitives::{B256, U256};
use quintet_types::StateError;

/// Why a block was not accepted, or could not be judged.
#[derive(Debug, thiserror::Error)]
pub enum ConsensusError {
    /// The block breaks a rule.
    #[error(transparent)]
    Invalid(#[from] BlockError),
    /// The store failed.
    #[error(transparent)]
    State(#[from] StateError),
}

/// A rule that a block breaks, before it is executed.
#[derive(Debug, thiserror::Error)]
pub enum BlockError {
    /// The number is not the parent's plus one.
    #[error("invalid block number: have {have}, want {want}")]
    Number {
        /// The header's.
        have: u64,
        /// The parent's plus one.
        want: u64,
    },
    /// Not later than the parent.
    #[error("timestamp older than parent: have {have}, parent {parent}")]
    Timestamp {
        /// The header's.
        have: u64,
        /// The parent's.
        parent: u64,
    },
    /// Too much extra data.
    #[error("extra-data too long: {have} > {limit}")]
    ExtraData {
        /// Bytes of it.
        have: usize,
        /// Most bytes.
        limit: usize,
    },
    /// The difficulty is not what the engine computes.
    #[error("invalid difficulty: have {have}, want {want}")]
    Difficulty {
        /// The header's.
        have: U256,
        /// The engine's.
        want: U256,
    },
    /// A gas limit that does not fit 63 bits.
    #[error("invalid gasLimit: have {have}, max {}", i64::MAX)]
    GasLimitRange {
        /// The header's.
        have: u64,
    },
    /// The gas limit moved by too much.
    #[error("invalid gas limit: have {have}, want {parent} +-= {bound}")]
    GasLimit {
        /// The header's.
        have: u64,
        /// The parent's, doubled where London begins.
        parent: u64,
        /// By how much it may differ.
        bound: u64,
    },
    /// The gas limit is below the least one.
    #[error("invalid gas limit below {least}: have {have}")]
    GasLimitLow {
        /// The header's.
        have: u64,
        /// The least.
        least: u64,
    },
    /// More gas used than the limit.
    #[error("invalid gasUsed: have {have}, gasLimit {limit}")]
    GasUsed {
        /// The header's gas used.
        have: u64,
        /// Its gas limit.
        limit: u64,
    },
    /// The base fee is not the one that follows from the parent (EIP-1559).
    #[error(
        "invalid baseFee: have {have}, want {want}, parentBaseFee {}, parentGasUsed {parent_gas_used}",
        show(parent.as_ref())
    )]
    BaseFee {
        /// The header's.
        have: u64,
        /// What follows from the parent.
        want: u64,
        /// The parent's.
        parent: Option<u64>,
        /// Gas that the parent used.
        parent_gas_used: u64,
    },
    /// A field that the block's fork does not have.
    #[error("invalid {field}: have {have}, expected 'nil'")]
    FieldBeforeFork {
        /// The field.
        field: &'static str,
        /// Its value.
        have: String,
    },
    /// A field that the block's fork has is missing.
    #[error("header is missing {field}")]
    FieldMissing {
        /// The field.
        field: &'static str,
    },
    /// The excess blob gas is not the one that follows from the parent (EIP-4844).
    #[error(
        "invalid excessBlobGas: have {have}, want {want}, parentExcessBlobGas {parent_excess}, parentBlobGasUsed {parent_used}"
    )]
    ExcessBlobGas {
        /// The header's.
        have: u64,
        /// What follows from the parent.
        want: u64,
        /// The parent's excess.
        parent_excess: u64,
        /// Blob gas that the parent used.
        parent_used: u64,
    },
    /// More blob gas than a block may use (EIP-4844).
    #[error("blob gas used {have} exceeds maximum allowance {limit}")]
    BlobGasLimit {
        /// The header's.
        have: u64,
        /// The most.
        limit: u64,
    },
    /// Blob gas that is not whole blobs (EIP-4844).
    #[error("blob gas used {have} not a multiple of blob gas per blob {unit}")]
    BlobGasUnit {
        /// The header's.
        have: u64,
        /// Gas of a blob.
        unit: u64,
    },
    /// A block of a fork that proof of work and proof of authority do not have.
    #[error("{engine} does not support {fork} fork")]
    ForkNotSupported {
        /// The engine.
        engine: &'static str,
        /// The fork.
        fork: &'static str,
    },
    /// A nonce in a block of proof of stake.
    #[error("invalid nonce")]
    Nonce,
    /// Uncles in a block of proof of stake.
    #[error("invalid uncle hash")]
    UncleHash,
    /// The body has other uncles than the header says.
    #[error("uncle root hash mismatch (header value {header}, calculated {body})")]
    UncleRoot {
        /// The header's.
        header: B256,
        /// The body's.
        body: B256,
    },
    /// The body has other transactions than the header says.
    #[error("transaction root hash mismatch (header value {header}, calculated {body})")]
    TransactionRoot {
        /// The header's.
        header: B256,
        /// The body's.
        body: B256,
    },
    /// The body has other withdrawals than the header says.
    #[error("withdrawals root hash mismatch (header value {header}, calculated {body})")]
    WithdrawalsRoot {
        /// The header's.
        header: B256,
        /// The body's.
        body: B256,
    },
    /// The body should have withdrawals.
    #[error("missing withdrawals in block body")]
    WithdrawalsMissing,
    /// The body should have none.
    #[error("withdrawals present in block body")]
    WithdrawalsPresent,
    /// The transactions use other blob gas than the header says.
    #[error("blob gas used mismatch (header {header}, calculated {body})")]
    BlobGasUsed {
        /// The header's.
        header: u64,
        /// The body's.
        body: u64,
    },
    /// A block that is too large (EIP-7934).
    #[error("block RLP-encoded size exceeds maximum: {have} > {limit}")]
    Size {
        /// Its bytes.
        have: usize,
        /// The most.
        limit: usize,
    },
    /// A rule of proof of work: seal, uncles, the DAO's extra data.
    #[error(transparent)]
    Ethash(#[from] quintet_ethash::EthashError),
    /// An uncle's header breaks a rule.
    #[error("invalid uncle {hash}: {error}")]
    Uncle {
        /// The uncle.
        hash: B256,
        /// The rule.
        error: Box<BlockError>,
    },
    /// A rule of proof of authority.
    #[error(transparent)]
    Clique(#[from] quintet_clique::CliqueError),
}

fn show(fee: Option<&u64>) -> String {
    fee.map_or_else(|| "<nil>".to_owned(), ToString::to_string)
}
