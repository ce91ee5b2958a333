//! What can go wrong: a transaction that may not run (in geth's words), a block whose execution fails, and a
//! store that cannot answer.

use alloy_primitives::{Address, B256, U256};
use quintet_types::StateError;
use revm::context::result::{EVMError, InvalidTransaction};
use revm::context_interface::DBErrorMarker;

/// A read that the EVM needed and did not get.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The store failed.
    #[error(transparent)]
    State(#[from] StateError),
    /// An account names code that the store does not have.
    #[error("missing code {0}")]
    MissingCode(B256),
    /// An ancestor that `BLOCKHASH` may ask for is not in the store.
    #[error("missing hash of block {0}")]
    MissingBlockHash(u64),
}

impl DBErrorMarker for DatabaseError {}

/// Why a transaction may not run on a state: it is left out of a block, and a block with it is invalid.
/// The wording is geth's (`core/error.go`).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TxError {
    /// The sender has sent a transaction with this nonce already.
    #[error("nonce too low: address {address}, tx: {tx} state: {state}")]
    NonceTooLow {
        /// The sender.
        address: Address,
        /// The transaction's nonce.
        tx: u64,
        /// The sender's nonce.
        state: u64,
    },
    /// A transaction of the sender is missing before this one.
    #[error("nonce too high: address {address}, tx: {tx} state: {state}")]
    NonceTooHigh {
        /// The sender.
        address: Address,
        /// The transaction's nonce.
        tx: u64,
        /// The sender's nonce.
        state: u64,
    },
    /// The sender's nonce cannot grow (EIP-2681).
    #[error("nonce has max value: address {address}, nonce: {nonce}")]
    NonceMax {
        /// The sender.
        address: Address,
        /// Its nonce.
        nonce: u64,
    },
    /// The block has less gas left than the transaction may use.
    #[error("gas limit reached")]
    GasLimitReached,
    /// The block has no room for the transaction's blobs (EIP-4844).
    #[error("blob gas limit reached: tx {tx}, available {available}")]
    BlobGasLimitReached {
        /// Blob gas of the transaction.
        tx: u64,
        /// Blob gas that the block has left.
        available: u64,
    },
    /// The sender cannot pay for gas, blobs and value at the highest price it allows.
    #[error("insufficient funds for gas * price + value: address {address} have {have} want {want}")]
    InsufficientFunds {
        /// The sender.
        address: Address,
        /// Its balance.
        have: U256,
        /// What it must hold.
        want: U256,
    },
    /// What the sender would have to hold does not fit 256 bits.
    #[error("insufficient funds for gas * price + value: address {0} required balance exceeds 256 bits")]
    CostOverflow(Address),
    /// The sender cannot pay the value.
    #[error("insufficient funds for transfer: address {0}")]
    InsufficientFundsForTransfer(Address),
    /// Less gas than the transaction costs before its first opcode.
    #[error("intrinsic gas too low: have {have}, want {want}")]
    IntrinsicGas {
        /// The transaction's gas limit.
        have: u64,
        /// Its intrinsic gas.
        want: u64,
    },
    /// Less gas than the floor price of its data (EIP-7623).
    #[error("insufficient gas for floor data gas cost: have {have}, want {want}")]
    FloorDataGas {
        /// The transaction's gas limit.
        have: u64,
        /// The floor.
        want: u64,
    },
    /// More gas than one transaction may have (EIP-7825).
    #[error("transaction gas limit too high (cap: {cap}, tx: {tx})")]
    GasLimitTooHigh {
        /// The cap.
        cap: u64,
        /// The transaction's gas limit.
        tx: u64,
    },
    /// Larger init code than allowed (EIP-3860).
    #[error("max initcode size exceeded: code size {size} limit {limit}")]
    InitCodeTooLarge {
        /// Bytes of init code.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// A tip above the fee cap (EIP-1559).
    #[error(
        "max priority fee per gas higher than max fee per gas: address {address}, maxPriorityFeePerGas: {tip}, maxFeePerGas: {cap}"
    )]
    TipAboveFeeCap {
        /// The sender.
        address: Address,
        /// `maxPriorityFeePerGas`, wei.
        tip: u128,
        /// `maxFeePerGas`, wei.
        cap: u128,
    },
    /// A fee cap below the block's base fee (EIP-1559).
    #[error(
        "max fee per gas less than block base fee: address {address}, maxFeePerGas: {cap}, baseFee: {base_fee}"
    )]
    FeeCapTooLow {
        /// The sender.
        address: Address,
        /// `maxFeePerGas`, wei.
        cap: u128,
        /// The block's base fee, wei.
        base_fee: u64,
    },
    /// A blob fee cap below the block's blob base fee (EIP-4844).
    #[error(
        "max fee per blob gas less than block blob gas fee: address {address} blobGasFeeCap: {cap}, blobBaseFee: {base_fee}"
    )]
    BlobFeeCapTooLow {
        /// The sender.
        address: Address,
        /// `maxFeePerBlobGas`, wei.
        cap: u128,
        /// The block's blob base fee, wei.
        base_fee: u128,
    },
    /// The sender is a contract (EIP-3607).
    #[error("sender not an eoa: address {address}, len(code): {len}")]
    SenderNotEoa {
        /// The sender.
        address: Address,
        /// Bytes of its code.
        len: usize,
    },
    /// A blob transaction cannot create a contract.
    #[error("blob transaction of type create")]
    BlobCreate,
    /// A blob transaction without blobs.
    #[error("blob transaction missing blob hashes")]
    MissingBlobHashes,
    /// More blobs than one transaction may carry (EIP-7594).
    #[error("blob transaction has too many blobs")]
    TooManyBlobs,
    /// A blob hash of an unknown version.
    #[error("blob {index} has invalid hash version")]
    BlobHashVersion {
        /// The blob's index.
        index: usize,
    },
    /// An EIP-7702 transaction without authorizations.
    #[error("EIP-7702 transaction with empty auth list (sender {0})")]
    EmptyAuthList(Address),
    /// An EIP-7702 transaction cannot create a contract.
    #[error("EIP-7702 transaction cannot be used to create contract (sender {0})")]
    SetCodeCreate(Address),
    /// The block's fork does not know this transaction type.
    #[error("transaction type not supported")]
    TypeNotSupported,
    /// Signed for another chain (EIP-155).
    #[error("invalid chain id for signer: have {have} want {want}")]
    ChainId {
        /// The transaction's chain id.
        have: u64,
        /// This chain's id.
        want: u64,
    },
    /// Replay protection before the fork that brought it (EIP-155).
    #[error("invalid transaction v, r, s values")]
    ProtectedTooEarly,
    /// A rule that revm found broken and the checks before it did not.
    #[error("{0}")]
    Other(String),
}

/// What a block builder does about a transaction that may not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// This sender's later transactions cannot run either in this block; another block may take them.
    SkipSender,
    /// The block has no room for it; a smaller one may still fit.
    BlockFull,
    /// No block of these rules will ever take it.
    Never,
    /// The sender's nonce is past it: drop it and try the sender's next.
    Stale,
}

impl TxError {
    /// What a block builder does about it.
    pub const fn remedy(&self) -> Remedy {
        match self {
            Self::NonceTooLow { .. } => Remedy::Stale,
            Self::GasLimitReached | Self::BlobGasLimitReached { .. } => Remedy::BlockFull,
            Self::NonceTooHigh { .. }
            | Self::InsufficientFunds { .. }
            | Self::InsufficientFundsForTransfer(_)
            | Self::FeeCapTooLow { .. }
            | Self::BlobFeeCapTooLow { .. }
            | Self::SenderNotEoa { .. }
            | Self::TypeNotSupported
            | Self::ProtectedTooEarly => Remedy::SkipSender,
            _ => Remedy::Never,
        }
    }
}

/// Why a block could not be executed: its own fault, or the node's.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ExecutionError {
    /// A transaction of the block may not run.
    #[error("could not apply tx {index} [{hash}]: {error}")]
    Transaction {
        /// Its index in the block.
        index: usize,
        /// Its hash.
        hash: B256,
        /// Why not.
        error: Box<TxError>,
    },
    /// The block's senders do not match its transactions.
    #[error("block has {transactions} transactions and {senders} senders")]
    Senders {
        /// Transactions of the block.
        transactions: usize,
        /// Senders given.
        senders: usize,
    },
    /// A system contract that the block must call is not deployed (EIP-7002, EIP-7251).
    #[error("system contract {0} has no code")]
    SystemContractMissing(Address),
    /// A system contract that the block must call failed.
    #[error("system call to {address} failed to execute: {reason}")]
    SystemCall {
        /// The contract.
        address: Address,
        /// How it ended.
        reason: String,
    },
    /// A deposit log that does not parse (EIP-6110).
    #[error("unable to parse deposit data: {0}")]
    Deposit(String),
    /// An uncle so far from the block that it has no reward.
    #[error("invalid uncle number {uncle} in block {block}")]
    UncleNumber {
        /// The uncle's number.
        uncle: u64,
        /// The block's number.
        block: u64,
    },
    /// The header lacks a field that its fork demands, or the rules lack one for its time.
    #[error("header is missing {0}")]
    MissingField(&'static str),
    /// The store failed: not the block's fault.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The EVM failed: not the block's fault.
    #[error("evm: {0}")]
    Evm(String),
}

impl From<StateError> for ExecutionError {
    fn from(error: StateError) -> Self {
        Self::Database(error.into())
    }
}

impl ExecutionError {
    /// Whether the block breaks the rules; otherwise the node failed, and the block may be good.
    pub const fn is_invalid_block(&self) -> bool {
        !matches!(self, Self::Database(_) | Self::Evm(_))
    }
}

/// A failure inside the EVM, told apart by whose fault it is.
pub(crate) enum VmError {
    Tx(TxError),
    Fatal(ExecutionError),
}

impl From<EVMError<DatabaseError>> for VmError {
    fn from(error: EVMError<DatabaseError>) -> Self {
        match error {
            EVMError::Transaction(error) => Self::Tx(rejected(&error)),
            EVMError::Database(error) => Self::Fatal(error.into()),
            other => Self::Fatal(ExecutionError::Evm(other.to_string())),
        }
    }
}

/// Everything that our own checks in geth's order did not refuse before revm did.
fn rejected(error: &InvalidTransaction) -> TxError {
    match error {
        InvalidTransaction::CallGasCostMoreThanGasLimit { initial_gas, gas_limit } => {
            TxError::IntrinsicGas { have: *gas_limit, want: *initial_gas }
        }
        InvalidTransaction::GasFloorMoreThanGasLimit { gas_floor, gas_limit } => {
            TxError::FloorDataGas { have: *gas_limit, want: *gas_floor }
        }
        other => TxError::Other(other.to_string()),
    }
}
