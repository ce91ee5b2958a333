//! The trait that every engine implements, and the values that pass through it.

use crate::StoreError;
use alloy_primitives::{Address, B256, Bytes, U256};
use quintet_types::{
    Account, BlockRef, Body, ExecutedBlock, Header, Receipts, RecoveredBlock, StateDiff, StateReader,
};
use std::ops::ControlFlow;
use std::sync::Arc;

/// Name of the small value that holds the chain's configuration: geth's genesis.json, `alloc` included.
pub const GENESIS_KEY: &str = "genesis.json";

/// Where the canonical chain holds a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransactionLocation {
    /// The block.
    pub block: BlockRef,
    /// Its index in the block.
    pub index: u32,
}

/// What one block changed, without the values: those are read at the block, and at the one before it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateChanges {
    /// Changed accounts, in the order of their addresses.
    pub accounts: Vec<AccountChange>,
    /// Hashes of the code that the block deployed, in order.
    pub code: Vec<B256>,
}

/// One account that a block changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountChange {
    /// Its address.
    pub address: Address,
    /// The incarnation that [`Self::slots`] are stored under; zero when there are none.
    pub incarnation: u64,
    /// Changed storage slots, in order.
    pub slots: Vec<U256>,
}

/// The trie's nodes moved to another block.
#[derive(Clone, Debug, Default)]
pub struct TrieFlush {
    /// The block whose state the nodes describe from now on. Canonical once the commit is done.
    pub block: BlockRef,
    /// All nodes whose key begins with one of these are deleted first; the empty prefix deletes every node.
    pub wiped_prefixes: Vec<Vec<u8>>,
    /// Nodes to write, or to delete where `None`. A key appears once; at most [`TrieFlush::MAX_KEY`] bytes.
    pub nodes: Vec<(Vec<u8>, Option<Bytes>)>,
}

impl TrieFlush {
    /// Longest key of a trie node, in bytes.
    pub const MAX_KEY: usize = 256;
}

/// One durable transaction, applied in the order of its fields: all of it, or nothing.
#[derive(Clone, Debug, Default)]
pub struct Commit {
    /// The canonical chain ends at this block before anything is added: canonical markers, transaction
    /// locations, state versions and changes above it are deleted. The blocks stay, with their receipts, as
    /// side blocks.
    pub unwind_to: Option<u64>,
    /// New canonical blocks in order, the first on top of the head.
    pub blocks: Vec<ExecutedBlock>,
    /// Blocks off the canonical chain, with their total difficulties.
    pub side_blocks: Vec<(Arc<RecoveredBlock>, U256)>,
    /// Trie nodes. Needed when [`Self::unwind_to`] is below the block that they belong to.
    pub trie: Option<TrieFlush>,
    /// Small values by name, or their deletion where `None`.
    pub meta: Vec<(String, Option<Bytes>)>,
}

/// How much one table holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableStats {
    /// The table's name.
    pub name: &'static str,
    /// Rows.
    pub entries: u64,
    /// Bytes of the pages that hold them.
    pub bytes: u64,
}

/// A chain's blocks, receipts, versioned state and trie nodes. Reads see the last commit that returned, or a
/// later one. Methods without other words fail only when the engine does.
pub trait Store: Send + Sync + 'static {
    /// The last canonical block; `None` before genesis is committed.
    fn head(&self) -> Result<Option<BlockRef>, StoreError>;

    /// The hash of the canonical block with this number.
    fn canonical_hash(&self, number: u64) -> Result<Option<B256>, StoreError>;

    /// The number of any block held, canonical or not.
    fn block_number(&self, hash: &B256) -> Result<Option<u64>, StoreError>;

    /// The header of any block held.
    fn header(&self, hash: &B256) -> Result<Option<Header>, StoreError>;

    /// The body of any block held.
    fn body(&self, hash: &B256) -> Result<Option<Body>, StoreError>;

    /// The senders of a block's transactions, in order.
    fn senders(&self, hash: &B256) -> Result<Option<Vec<Address>>, StoreError>;

    /// Any block held, with its senders.
    fn block(&self, hash: &B256) -> Result<Option<RecoveredBlock>, StoreError>;

    /// The sum of the difficulties from genesis up to and with any block held.
    fn total_difficulty(&self, hash: &B256) -> Result<Option<U256>, StoreError>;

    /// The receipts of a block that is or once was canonical.
    fn receipts(&self, hash: &B256) -> Result<Option<Receipts>, StoreError>;

    /// The canonical block that contains the transaction.
    fn transaction_location(&self, hash: &B256) -> Result<Option<TransactionLocation>, StoreError>;

    /// The account after canonical block `block`, at or below the head.
    fn account_at(&self, address: &Address, block: u64) -> Result<Option<Account>, StoreError>;

    /// The value of a slot after canonical block `block`, in the storage that the account began in block
    /// `incarnation`; zero if never written.
    fn storage_at(
        &self,
        address: &Address,
        incarnation: u64,
        slot: &U256,
        block: u64,
    ) -> Result<U256, StoreError>;

    /// [`Self::account_at`] for many, in their order: one round trip where reads wait for a network.
    fn accounts_at(&self, addresses: &[Address], block: u64) -> Result<Vec<Option<Account>>, StoreError> {
        addresses.iter().map(|address| self.account_at(address, block)).collect()
    }

    /// [`Self::storage_at`] for many slots (address, incarnation, slot), in their order.
    fn slots_at(&self, slots: &[(Address, u64, U256)], block: u64) -> Result<Vec<U256>, StoreError> {
        let read = |(address, incarnation, slot): &_| self.storage_at(address, *incarnation, slot, block);
        slots.iter().map(read).collect()
    }

    /// Whether any slot is not zero after canonical block `block`, in the storage that the account began in
    /// block `incarnation`.
    ///
    /// # Errors
    /// [`StoreError::UnknownBlock`] when the canonical chain has no such block.
    fn has_storage(&self, address: &Address, incarnation: u64, block: u64) -> Result<bool, StoreError> {
        let mut found = false;
        let visit = &mut |_, _| {
            found = true;
            ControlFlow::Break(())
        };
        self.for_each_storage(address, incarnation, block, U256::ZERO, visit)?;
        Ok(found)
    }

    /// The code with this hash, if a canonical block ever deployed it.
    fn code(&self, hash: &B256) -> Result<Option<Bytes>, StoreError>;

    /// The state after canonical block `block`. Cheap to make (no more than one read), and it may be held for
    /// long: it pins nothing in the engine. Should a reorg take the block away, its reads fail with
    /// [`StoreError::Reverted`] rather than mix two chains.
    ///
    /// # Errors
    /// [`StoreError::UnknownBlock`] when the canonical chain has no such block.
    fn state_at(&self, block: u64) -> Result<Box<dyn StateReader>, StoreError>;

    /// What canonical block `block` changed.
    ///
    /// # Errors
    /// [`StoreError::UnknownBlock`] when the canonical chain has no such block.
    fn changes(&self, block: u64) -> Result<StateChanges, StoreError>;

    /// The diff that canonical block `block` was committed with, rebuilt from the versions.
    ///
    /// # Errors
    /// [`StoreError::UnknownBlock`] when the canonical chain has no such block.
    fn diff(&self, block: u64) -> Result<StateDiff, StoreError>;

    /// The trie node under this key.
    fn trie_node(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError>;

    /// [`Self::trie_node`] for many keys, in their order.
    fn trie_nodes(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Bytes>>, StoreError> {
        keys.iter().map(|key| self.trie_node(key)).collect()
    }

    /// The canonical block whose state the trie nodes describe; `None` before the first flush.
    fn trie_block(&self) -> Result<Option<BlockRef>, StoreError>;

    /// A small value by name: chain configuration, safe and finalized markers.
    fn meta(&self, key: &str) -> Result<Option<Bytes>, StoreError>;

    /// Applies `commit` as one durable transaction.
    ///
    /// # Errors
    /// Nothing is written then. [`StoreError::NotChained`] when the blocks do not follow the head;
    /// [`StoreError::UnknownBlock`] when [`Commit::unwind_to`] is not canonical;
    /// [`StoreError::TrieLeftBehind`] when the trie's block would not be canonical afterwards.
    fn commit(&self, commit: Commit) -> Result<(), StoreError>;

    /// Makes everything committed so far survive a loss of power. Needed only after commits under a
    /// durability that does not promise this for each of them.
    fn sync(&self) -> Result<(), StoreError>;

    /// Calls `visit` with every account after canonical block `block`, in the order of addresses from `from`
    /// on, until it breaks. The walk pins the engine's pages only for short stretches.
    ///
    /// # Errors
    /// [`StoreError::Reverted`] when a reorg takes the block away meanwhile.
    fn for_each_account(
        &self,
        block: u64,
        from: Address,
        visit: &mut dyn FnMut(Address, Account) -> ControlFlow<()>,
    ) -> Result<(), StoreError>;

    /// Calls `visit` with every slot that is not zero after canonical block `block`, in the storage that the
    /// account began in block `incarnation`, in the order of slots from `from` on, until it breaks.
    ///
    /// # Errors
    /// [`StoreError::Reverted`] when a reorg takes the block away meanwhile.
    fn for_each_storage(
        &self,
        address: &Address,
        incarnation: u64,
        block: u64,
        from: U256,
        visit: &mut dyn FnMut(U256, U256) -> ControlFlow<()>,
    ) -> Result<(), StoreError>;

    /// How much each table holds.
    fn stats(&self) -> Result<Vec<TableStats>, StoreError>;

    /// Whether a call may wait for a network, and so must not run on an async thread: any other does, also
    /// one of `spawn_blocking`.
    fn reads_block(&self) -> bool;
}
