//! Domain types of the chain contract.

use crate::ChainError;
use alloy_consensus::TxEnvelope;
use alloy_primitives::{Address, B256, Bytes, U256};
use quintet_types::{Block, BlockRef, ChainEvent, ExecutedBlock, Header, PoolEvent};
use std::time::Duration;

/// Where the chain stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainHead {
    /// The canonical head.
    pub head: BlockRef,
    /// The newest block that will not leave the chain, as far as anybody honest can tell.
    pub safe: Option<BlockRef>,
    /// The newest block that can never leave the chain.
    pub finalized: Option<BlockRef>,
    /// The head's header.
    pub header: Header,
    /// Sum of the difficulties up to and with the head.
    pub total_difficulty: U256,
}

/// Progress of a sync under way: block numbers, and counts of a state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SyncProgress {
    /// Where it began.
    pub starting_block: u64,
    /// The newest block imported.
    pub current_block: u64,
    /// The newest block that a peer has told of.
    pub highest_block: u64,
    /// What was fetched of a state; nothing, if every block is executed.
    pub state: StateProgress,
}

/// What was written of a state on its way in from peers. Bytes are those of keys and RLP, of codes and nodes by themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateProgress {
    /// Accounts.
    pub accounts: u64,
    /// Their bytes.
    pub account_bytes: u64,
    /// Contracts' codes.
    pub codes: u64,
    /// Their bytes.
    pub code_bytes: u64,
    /// Slots of contracts' storage.
    pub slots: u64,
    /// Their bytes.
    pub slot_bytes: u64,
    /// Trie nodes that replaced those of older blocks' states.
    pub healed_nodes: u64,
    /// Their bytes.
    pub healed_node_bytes: u64,
    /// Codes that came with them.
    pub healed_codes: u64,
    /// Their bytes.
    pub healed_code_bytes: u64,
    /// Trie nodes that are known to be missing.
    pub missing_nodes: u64,
    /// Codes that are known to be missing beside them.
    pub missing_codes: u64,
}

/// A transaction of the pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PooledTransaction {
    /// The transaction in its pooled form: a blob transaction with its sidecar.
    pub transaction: TxEnvelope,
    /// Its recovered sender.
    pub sender: Address,
    /// Executable on the head; otherwise queued behind a gap.
    pub pending: bool,
}

/// Counts of the pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolStatus {
    /// Executable transactions.
    pub pending: u64,
    /// Transactions behind a gap.
    pub queued: u64,
}

/// What a block is to be built from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BuildRequest {
    /// Parent; `None` for the head.
    pub parent_hash: Option<B256>,
    /// Seconds since the Unix epoch.
    pub timestamp: u64,
    /// Who gets the fees.
    pub beneficiary: Address,
    /// Header's extra data.
    pub extra_data: Bytes,
    /// Gas limit to move towards, by the protocol's bound of 1/1024 a block.
    pub gas_limit_target: u64,
    /// Wei per gas; transactions that tip less are left out.
    pub minimum_tip: u128,
    /// Header's mixHash.
    pub prev_randao: B256,
    /// EIP-4788; `None` before Cancun.
    pub parent_beacon_block_root: Option<B256>,
    /// How long to go on filling; zero for `chain`'s default.
    pub fill_budget: Duration,
    /// Build even if there is nothing to include.
    pub allow_empty: bool,
    /// The miner's lease: from now on blocks under an older one are refused. 0 without one.
    pub fencing_token: u64,
}

/// A block filled by `chain`, to be sealed and submitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuiltWork {
    /// The block, complete but for its seal.
    pub block: Block,
    /// What the seal signs or searches over.
    pub seal_hash: B256,
    /// Number of transactions.
    pub transactions: u32,
    /// Fees for the beneficiary in wei.
    pub fees: U256,
}

/// A block that `chain` took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Submitted {
    /// The block.
    pub block: BlockRef,
    /// Whether it became the head.
    pub canonical: bool,
}

/// What a pending block is made of: it is built again only when one of these changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PendingVersion {
    /// Hash of the head.
    pub parent: B256,
    /// Differs from any other state of the pool's executable transactions, also from before a restart.
    pub pool: u64,
}

/// `chain`'s answer to who asks for the pending block.
#[derive(Clone, Debug)]
pub enum PendingAnswer {
    /// The block that the caller holds is still the one.
    Unchanged,
    /// Another one.
    Block {
        /// The block, executed.
        executed: ExecutedBlock,
        /// What it is made of.
        version: PendingVersion,
    },
}

/// Which network `chain` is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkInfo {
    /// The genesis block's hash.
    pub genesis: B256,
    /// What peers and `net_version` see.
    pub network_id: u64,
    /// The configuration as geth's `genesis.json` without `alloc`: the genesis block cannot be made from it.
    pub genesis_json: String,
}

/// What an import of many blocks did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImportSummary {
    /// Blocks imported.
    pub imported: u64,
    /// Blocks that were there already.
    pub skipped: u64,
    /// The head.
    pub head: BlockRef,
}

/// Why an import of many blocks ended; every block before is imported.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct ImportFailure {
    /// What `chain` said.
    pub error: ChainError,
    /// Hash of the block that it is about.
    pub block: Option<B256>,
}

/// What `StreamEvents` delivers.
#[derive(Clone, Debug)]
pub enum ChainUpdate {
    /// The canonical chain changed.
    Chain(ChainEvent),
    /// The pool changed.
    Pool(PoolEvent),
    /// Events were missed: read the store up to this block, then go on.
    Gap(BlockRef),
}
