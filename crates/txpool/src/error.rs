//! Why the pool refuses a transaction, and why it lets one go. The texts are geth's, to the letter: its
//! JSON-RPC hands them to wallets, which match on them.

use alloy_primitives::{B256, U256};

/// Why a transaction did not get into the pool.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// The pool holds it already.
    #[error("already known")]
    AlreadyKnown,
    /// Its signature names no sender.
    #[error("invalid sender: invalid transaction v, r, s values")]
    InvalidSender,
    /// It was signed for another chain.
    #[error("invalid sender: invalid chain id for signer: have {have} want {want}")]
    InvalidChainId {
        /// The transaction's chain id.
        have: u64,
        /// The network's chain id.
        want: u64,
    },
    /// A transaction without EIP-155 replay protection, where the RPC insists on it.
    #[error("only replay-protected (EIP-155) transactions allowed over RPC")]
    NotReplayProtected,
    /// Its type's fork is not active yet.
    #[error("transaction type not supported: type {kind} rejected, pool not yet in {fork}")]
    TypeNotActive {
        /// EIP-2718 type.
        kind: u8,
        /// The fork that brings it.
        fork: &'static str,
    },
    /// Larger than the pool takes.
    #[error("oversized data: transaction size {size}, limit {limit}")]
    OversizedData {
        /// Bytes of its EIP-2718 encoding, a sidecar included.
        size: usize,
        /// The most the pool takes.
        limit: usize,
    },
    /// EIP-3860.
    #[error("max initcode size exceeded: code size {size} limit {limit}")]
    MaxInitCodeSizeExceeded {
        /// Bytes of init code.
        size: usize,
        /// The most allowed.
        limit: usize,
    },
    /// EIP-7825.
    #[error("transaction gas limit too high (cap: {cap}, tx: {gas})")]
    GasLimitTooHigh {
        /// The most gas a transaction may ask for.
        cap: u64,
        /// What it asks for.
        gas: u64,
    },
    /// It asks for more gas than a block has.
    #[error("exceeds block gas limit")]
    ExceedsBlockGasLimit,
    /// EIP-1559.
    #[error("max priority fee per gas higher than max fee per gas")]
    TipAboveFeeCap,
    /// EIP-2681.
    #[error("nonce has max value")]
    NonceMax,
    /// Less gas than it takes to start.
    #[error("intrinsic gas too low: gas {gas}, minimum needed {needed}")]
    IntrinsicGas {
        /// The transaction's gas.
        gas: u64,
        /// What it takes.
        needed: u64,
    },
    /// EIP-7623.
    #[error("insufficient gas for floor data gas cost: gas {gas}, minimum needed {needed}")]
    FloorDataGas {
        /// The transaction's gas.
        gas: u64,
        /// What its data costs at least.
        needed: u64,
    },
    /// A remote transaction below the pool's price limit.
    #[error("transaction gas price below minimum: gas tip cap {tip}, minimum needed {needed}")]
    GasPriceTooLow {
        /// Its tip cap.
        tip: u128,
        /// The pool's limit.
        needed: u128,
    },
    /// A blob fee cap that no block can meet.
    #[error("transaction gas price below minimum: blob fee cap {fee}, minimum needed {needed}")]
    BlobFeeCapTooLow {
        /// Its blob fee cap.
        fee: u128,
        /// The least blob base fee there is.
        needed: u128,
    },
    /// A blob transaction as blocks carry it.
    #[error("missing sidecar in blob transaction")]
    MissingSidecar,
    /// Sidecar and transaction disagree on how many blobs there are.
    #[error("invalid number of {commitments} blob commitments compared to {hashes} blob hashes")]
    CommitmentCount {
        /// Commitments of the sidecar.
        commitments: usize,
        /// Blob hashes of the transaction.
        hashes: usize,
    },
    /// A commitment that is not the one signed for.
    #[error("blob {index}: computed hash {computed:?} mismatches transaction one {expected:?}")]
    BlobHashMismatch {
        /// Which blob.
        index: usize,
        /// The commitment's versioned hash.
        computed: B256,
        /// The transaction's versioned hash.
        expected: B256,
    },
    /// Too many blobs.
    #[error("transaction blob limit exceeded: blob count {count}, limit {limit}")]
    BlobLimitExceeded {
        /// Its blobs.
        count: usize,
        /// The most allowed.
        limit: usize,
    },
    /// Blob proofs before Osaka, cell proofs from then on (EIP-7594).
    #[error("Wrong sidecar format: unexpected sidecar version, want: {want}, got: {got}")]
    SidecarVersion {
        /// The version in force.
        want: u8,
        /// The sidecar's.
        got: u8,
    },
    /// One proof per blob before Osaka, 128 from then on.
    #[error("Wrong sidecar format: invalid number of {proofs} blob proofs expected {expected}")]
    ProofCount {
        /// Proofs of the sidecar.
        proofs: usize,
        /// Proofs that its commitments call for.
        expected: usize,
    },
    /// A blob transaction without blobs.
    #[error("blobless blob transaction")]
    Blobless,
    /// Blobs and commitments do not pair up.
    #[error("invalid number of {blobs} blobs compared to {commitments} commitments")]
    BlobCount {
        /// Blobs of the sidecar.
        blobs: usize,
        /// Commitments of the sidecar.
        commitments: usize,
    },
    /// A proof that does not hold.
    #[error("KZG verification error: {0}")]
    KzgVerification(String),
    /// EIP-7702.
    #[error("set code tx must have at least one authorization tuple")]
    EmptyAuthorizationList,
    /// The nonce is used up.
    #[error("nonce too low: next nonce {next}, tx nonce {nonce}")]
    NonceTooLow {
        /// The account's nonce on the head.
        next: u64,
        /// The transaction's.
        nonce: u64,
    },
    /// A blob transaction beyond a nonce gap.
    #[error("nonce too high: tx nonce {nonce}, gapped nonce {gap}")]
    NonceTooHigh {
        /// The transaction's nonce.
        nonce: u64,
        /// The first nonce that the pool lacks.
        gap: u64,
    },
    /// The balance does not cover the transaction.
    #[error(
        "insufficient funds for gas * price + value: balance {balance}, tx cost {cost}, overshot {}",
        cost.saturating_sub(*balance)
    )]
    InsufficientFunds {
        /// Wei on the head.
        balance: U256,
        /// The most the transaction can cost.
        cost: U256,
    },
    /// The balance does not cover the transaction on top of the account's pending ones.
    #[error(
        "insufficient funds for gas * price + value: balance {balance}, queued cost {queued}, tx cost {cost}, overshot {}",
        queued.saturating_add(*cost).saturating_sub(*balance)
    )]
    Overdraft {
        /// Wei on the head.
        balance: U256,
        /// What the pending transactions can cost.
        queued: U256,
        /// What this one can cost.
        cost: U256,
    },
    /// The balance does not cover what the replacement costs more.
    #[error(
        "insufficient funds for gas * price + value: balance {balance}, queued cost {queued}, tx bumped {bump}, overshot {}",
        queued.saturating_add(*bump).saturating_sub(*balance)
    )]
    ReplacementOverdraft {
        /// Wei on the head.
        balance: U256,
        /// What the pending transactions can cost.
        queued: U256,
        /// By how much the replacement costs more.
        bump: U256,
    },
    /// The account has as many transactions as one account may.
    #[error("account limit exceeded: pooled {pooled} txs")]
    AccountLimitExceeded {
        /// How many it has.
        pooled: usize,
    },
    /// A delegated account has a transaction in flight (EIP-7702).
    #[error("in-flight transaction limit reached for delegated accounts")]
    InflightLimitReached,
    /// A delegated account's transaction beyond a nonce gap.
    #[error("gapped-nonce tx from delegated accounts")]
    GappedFromDelegated,
    /// It authorises for an account that has transactions in flight itself.
    #[error("authority already reserved")]
    AuthorityReserved,
    /// The account has blob transactions and this is none, or the other way round.
    #[error("address already reserved")]
    AlreadyReserved,
    /// The pool is full of better ones.
    #[error("transaction underpriced")]
    Underpriced,
    /// The pool is full, and nothing can make way.
    #[error("txpool is full")]
    PoolFull,
    /// The pool is full, and what would make way can run while this cannot.
    #[error("future transaction tries to replace pending")]
    FutureReplacesPending,
    /// Its nonce is taken, and it does not pay enough more.
    #[error("replacement transaction underpriced")]
    ReplaceUnderpriced,
    /// A blob transaction's replacement that does not pay enough more.
    #[error("replacement transaction underpriced: new tx {fee} {new} <= {old} queued")]
    ReplaceBlobNotHigher {
        /// Which fee.
        fee: &'static str,
        /// What it offers.
        new: u128,
        /// What the one in the pool offers.
        old: u128,
    },
    /// A blob transaction's replacement that does not pay enough more.
    #[error(
        "replacement transaction underpriced: new tx {fee} {new} < {old} queued + {bump}% replacement penalty"
    )]
    ReplaceBlobUnderpriced {
        /// Which fee.
        fee: &'static str,
        /// What it offers.
        new: u128,
        /// What the one in the pool offers.
        old: u128,
        /// Percent by which it must be higher.
        bump: u64,
    },
}

/// Why a transaction that was in the pool no longer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DropReason {
    /// A canonical block has it.
    #[error("mined")]
    Mined,
    /// A better paying one took its nonce.
    #[error("replaced by {0:?}")]
    Replaced(B256),
    /// A canonical block has another transaction with its nonce.
    #[error("nonce too low")]
    NonceTooLow,
    /// The sender can no longer pay for it.
    #[error("insufficient funds for gas * price + value")]
    Unpayable,
    /// It asks for more gas than the head's limit, or than the fork allows.
    #[error("exceeds block gas limit")]
    GasLimit,
    /// It made way for a better paying one.
    #[error("transaction underpriced")]
    Underpriced,
    /// The least tip was raised above its own.
    #[error("transaction gas price below minimum")]
    BelowMinTip,
    /// Its account has more pending transactions than is fair while the pool is crowded.
    #[error("pending transactions over the account's share")]
    PendingLimit,
    /// Its account has too many queued transactions.
    #[error("account queue limit exceeded")]
    AccountQueue,
    /// There are too many queued transactions, and its account's waited longest.
    #[error("global queue limit exceeded")]
    GlobalQueue,
    /// It waited too long.
    #[error("queued for longer than its lifetime")]
    Lifetime,
    /// A blob transaction whose predecessor left; blob transactions are not queued.
    #[error("nonce too high")]
    NonceGap,
    /// A blob transaction with proofs that the new fork does not take.
    #[error("Wrong sidecar format")]
    SidecarVersion,
    /// It came back from a reorg without its sidecar.
    #[error("missing sidecar in blob transaction")]
    SidecarGone,
    /// It came back from a reorg to an account that it cannot join.
    #[error("address already reserved")]
    AlreadyReserved,
}
