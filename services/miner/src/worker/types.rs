//! What goes into the worker and what comes out of it.

use alloy_primitives::{Address, B256, Bytes};
use quintet_chain_api::BuiltWork;
use quintet_types::{Block, BlockRef};
use std::sync::Arc;
use std::time::Duration;

/// When blocks are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cadence {
    /// Always work on the head, and renew the work when better transactions came: searching or signing seals.
    Continuous,
    /// As soon as a transaction is pending, and only then: development networks.
    OnPending,
    /// One block in every period, with or without transactions: development networks.
    Every(Duration),
}

/// What blocks are made with; changes take effect with the next build.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Who gets the fees; nothing is built without it.
    pub etherbase: Option<Address>,
    /// Header's extra data.
    pub extra_data: Bytes,
    /// Gas limit to move towards.
    pub gas_limit: u64,
    /// Smallest tip of included transactions, in wei per gas.
    pub gas_price: u128,
}

/// Numbers builds, so that the answer to an interrupted one is told from the current one's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub u64);

/// A block to be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Its number.
    pub id: JobId,
    /// The block to build on.
    pub parent: BlockRef,
    /// Header's timestamp, in seconds since the Unix epoch.
    pub timestamp: u64,
    /// Who gets the fees.
    pub beneficiary: Address,
    /// Header's extra data.
    pub extra_data: Bytes,
    /// Gas limit to move towards.
    pub gas_limit: u64,
    /// Smallest tip of included transactions, in wei per gas.
    pub gas_price: u128,
    /// How long to go on filling.
    pub fill_budget: Duration,
    /// Whether a block without transactions is wanted.
    pub allow_empty: bool,
}

/// Why a build is interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interrupt {
    /// The head moved: the work would be stale.
    NewHead,
    /// The recommit interval is over and there are new transactions: start again with them.
    Resubmit,
    /// Sealing was stopped.
    Stop,
}

/// The worker's timers; each is one-shot, and setting it again replaces it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// The work is due for renewal.
    Recommit,
    /// The next block of [`Cadence::Every`] is due.
    Slot,
    /// The back-off after a failure is over.
    Retry,
    /// The next block's timestamp is no longer in the future.
    Future,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// Make blocks.
    Start,
    /// Make no more blocks.
    Stop,
    /// Sets who gets the fees.
    SetEtherbase(Address),
    /// Sets the extra data.
    SetExtra(Bytes),
    /// Sets the smallest tip of included transactions, in wei per gas.
    SetGasPrice(u128),
    /// Sets the gas limit to move towards.
    SetGasLimit(u64),
    /// A block became the head.
    ChainHead {
        /// The block.
        block: BlockRef,
        /// Its parent.
        parent_hash: B256,
        /// Its header's timestamp.
        timestamp: u64,
    },
    /// These blocks, newest first, left the canonical chain.
    Reverted(Arc<[BlockRef]>),
    /// Chain events were missed.
    Gap,
    /// Answer to [`Action::ReadHead`].
    HeadRead {
        /// The head.
        block: BlockRef,
        /// Its header's timestamp.
        timestamp: u64,
    },
    /// [`Action::ReadHead`] failed.
    HeadReadFailed,
    /// At least one transaction became executable.
    PendingTransactions,
    /// A timer went off.
    Timer(Timer),
    /// A block is filled.
    Built {
        /// The job that it answers.
        job: JobId,
        /// The block.
        work: BuiltWork,
    },
    /// There was nothing to include, and an empty block was not wanted.
    NothingToBuild {
        /// The job that it answers.
        job: JobId,
    },
    /// The block could not be built.
    BuildFailed {
        /// The job that it answers.
        job: JobId,
    },
    /// A seal was found.
    Sealed {
        /// What was sealed.
        seal_hash: B256,
        /// The block with its seal.
        block: Block,
    },
    /// The seal could not be made.
    SealFailed {
        /// What was to be sealed.
        seal_hash: B256,
    },
    /// The chain took the block.
    Submitted {
        /// What was sealed.
        seal_hash: B256,
        /// The block.
        block: BlockRef,
        /// Whether it became the head.
        canonical: bool,
    },
    /// The chain did not take the block.
    SubmitFailed {
        /// What was sealed.
        seal_hash: B256,
        /// Whether the same block may be taken later.
        retry: bool,
    },
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Ask the chain for its head.
    ReadHead,
    /// Ask the chain to build a block.
    Build(Job),
    /// Drop a build; its answer is no longer wanted.
    InterruptBuild {
        /// The job.
        job: JobId,
        /// Why.
        reason: Interrupt,
    },
    /// Search or sign a seal.
    Seal {
        /// The job that built it.
        job: JobId,
        /// What the seal is over.
        seal_hash: B256,
        /// The block without its seal.
        block: Arc<Block>,
    },
    /// Give a seal up.
    AbortSeal {
        /// What was being sealed.
        seal_hash: B256,
    },
    /// Hand a sealed block to the chain.
    Submit {
        /// What was sealed.
        seal_hash: B256,
        /// The sealed block.
        block: Arc<Block>,
    },
    /// Set a timer.
    SetTimer(Timer, Duration),
    /// Forget a timer.
    CancelTimer(Timer),
}
