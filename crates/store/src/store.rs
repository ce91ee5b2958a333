//! The trait that every engine implements, and the values that pass through it.

use crate::StoreError;
use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_trie::TrieAccount;
use quintet_types::{
    Account, AccountDiff, BlockRef, Body, ExecutedBlock, Header, Receipts, RecoveredBlock, StateDiff,
    StateReader,
};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

/// Name of the small value that holds the chain's configuration: geth's genesis.json, `alloc` included.
pub const GENESIS_KEY: &str = "genesis.json";
/// Why history is not taken, nor a block adopted.
pub(crate) const NOT_AT_GENESIS: &str = "it is not executed, and the chain has blocks that are; only a chain of nothing but its genesis block can begin with the state of a later one";
/// Why no state is taken from peers.
pub(crate) const STATE_IS_HELD: &str = "its state was adopted; another one cannot be fetched over it";
/// Slots of the base that are read at once where all of an account's are wanted.
const PAGE: usize = 4096;

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

/// A block below a fetched state: checked, but not executed.
#[derive(Clone, Debug)]
pub struct HistoricBlock {
    /// The block.
    pub block: Arc<RecoveredBlock>,
    /// Its receipts, one for each transaction.
    pub receipts: Arc<Receipts>,
    /// The sum of the difficulties from genesis up to and with it.
    pub total_difficulty: U256,
}

/// A part of a state on its way in from peers. One durable transaction, applied in the order of the fields.
#[derive(Clone, Debug, Default)]
pub struct FetchedState {
    /// Ranges `[from, to)` of the trie nodes' keys that are deleted; `None`: to the table's end.
    pub wiped_nodes: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// Ranges of account hashes, both ends included, that are deleted with all their slots.
    pub wiped_accounts: Vec<(B256, B256)>,
    /// An account's hash each, and a range of its slots' hashes, both ends included, that is deleted.
    pub wiped_slots: Vec<(B256, B256, B256)>,
    /// Accounts by the hash of their address.
    pub accounts: Vec<(B256, TrieAccount)>,
    /// The hash of an account each, the hash of a slot, and its value; zero deletes the slot.
    pub slots: Vec<(B256, B256, U256)>,
    /// Code by its hash.
    pub code: Vec<(B256, Bytes)>,
    /// Trie nodes to write, or to delete where `None`. A key appears once; at most [`TrieFlush::MAX_KEY`] bytes.
    pub nodes: Vec<(Vec<u8>, Option<Bytes>)>,
    /// Small values by name, or their deletion where `None`.
    pub meta: Vec<(String, Option<Bytes>)>,
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
    /// Blocks that are not executed, since the state after a later one is fetched whole. They are held like side
    /// blocks, with receipts and the places of their transactions, and are not canonical before [`Self::adopt`].
    /// Written again without harm. Only while the head is the genesis block.
    pub history: Vec<HistoricBlock>,
    /// The head moves from genesis to this block, whose state was fetched ([`Store::write_fetched`]): it and its
    /// ancestors, all of them held as history, become canonical, and the trie's nodes are those of its state. The
    /// genesis' versions of the state go: the state is held from this block on ([`Store::first_state`]).
    pub adopt: Option<BlockRef>,
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
///
/// A state that was fetched from peers ([`Commit::adopt`]) is a *base* beneath the versions: accounts and slots by the
/// hashes of their keys, as they were after block [`Self::first_state`]. A read that finds no version falls back to it;
/// reads of the state before that block fail with [`StoreError::StateNotHeld`]. An account of the base has that block's
/// number as its incarnation.
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

    /// The receipts of a block that is or once was canonical, or is held as history.
    fn receipts(&self, hash: &B256) -> Result<Option<Receipts>, StoreError>;

    /// The canonical block that contains the transaction.
    fn transaction_location(&self, hash: &B256) -> Result<Option<TransactionLocation>, StoreError>;

    /// The account after canonical block `block`, at or below the head.
    ///
    /// # Errors
    /// [`StoreError::StateNotHeld`] below [`Self::first_state`], as of all reads of the state.
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
    ///
    /// Asked only of an account without code and with nonce zero, whose storage nothing can have changed since it began:
    /// of the base, any slot counts.
    fn has_storage(&self, address: &Address, incarnation: u64, block: u64) -> Result<bool, StoreError> {
        let mut found = false;
        let visit = &mut |_, _| {
            found = true;
            ControlFlow::Break(())
        };
        self.for_each_storage(address, incarnation, block, U256::ZERO, visit)?;
        let first = self.first_state()?;
        if found || first == 0 || first != incarnation {
            return Ok(found);
        }
        Ok(!self.base_slots(&keccak256(address), &B256::ZERO, 1)?.is_empty())
    }

    /// The slots that are not zero after canonical block `block`, in the storage that the account began in block
    /// `incarnation`, by the hashes of their keys: those of the base, too.
    ///
    /// # Errors
    /// Those of [`Self::for_each_storage`].
    fn hashed_storage_at(
        &self,
        address: &Address,
        incarnation: u64,
        block: u64,
    ) -> Result<BTreeMap<B256, U256>, StoreError> {
        let mut slots = BTreeMap::new();
        let first = self.first_state()?;
        if first > 0 && first == incarnation {
            let account = keccak256(address);
            let mut from = Some(B256::ZERO);
            while let Some(start) = from {
                let page = self.base_slots(&account, &start, PAGE)?;
                from = next_page(&page, PAGE);
                slots.extend(page);
            }
        }
        self.for_each_slot_version(address, incarnation, block, U256::ZERO, &mut |slot, value| {
            let hash = keccak256(slot.to_be_bytes::<32>());
            if value.is_zero() {
                slots.remove(&hash);
            } else {
                slots.insert(hash, value);
            }
            ControlFlow::Continue(())
        })?;
        Ok(slots)
    }

    /// The number of the first block whose state is held: zero unless a state was adopted.
    fn first_state(&self) -> Result<u64, StoreError>;

    /// Accounts of the base, or of what is fetched of it so far, in the order of their hashes from `from` on: at
    /// most `most`.
    fn base_accounts(&self, from: &B256, most: usize) -> Result<Vec<(B256, TrieAccount)>, StoreError>;

    /// The base's slots of one account, or what is fetched of them so far, in the order of their hashes from `from`
    /// on: at most `most`.
    fn base_slots(&self, account: &B256, from: &B256, most: usize) -> Result<Vec<(B256, U256)>, StoreError>;

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
    /// [`StoreError::UnknownBlock`] when the canonical chain has no such block; [`StoreError::StateNotHeld`] unless the
    /// states on both sides of it are held.
    fn changes(&self, block: u64) -> Result<StateChanges, StoreError>;

    /// The diff that canonical block `block` was committed with, rebuilt from the versions.
    ///
    /// # Errors
    /// Those of [`Self::changes`].
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
    /// [`StoreError::UnknownBlock`] when [`Commit::unwind_to`] is not canonical, [`StoreError::StateNotHeld`] when
    /// it is below the first state that is held; [`StoreError::TrieLeftBehind`] when the trie's block would not be
    /// canonical afterwards; [`StoreError::Malformed`] when history is written or a block adopted and the head is not
    /// the genesis block, or a block that is missed for it.
    fn commit(&self, commit: Commit) -> Result<(), StoreError>;

    /// Writes a part of a state that is fetched: nobody reads it before it is adopted ([`Commit::adopt`]), but for
    /// its code, nodes and small values.
    ///
    /// # Errors
    /// Nothing is written then. [`StoreError::Malformed`] once a state was adopted.
    fn write_fetched(&self, part: FetchedState) -> Result<(), StoreError>;

    /// Makes everything committed so far survive a loss of power. Needed only after commits under a
    /// durability that does not promise this for each of them.
    fn sync(&self) -> Result<(), StoreError>;

    /// Calls `visit` with every account that has a version at or below canonical block `block`, in the order of
    /// addresses from `from` on, until it breaks: the account after that block, or `None` where it is gone. The walk
    /// pins the engine's pages only for short stretches. Accounts that the base alone knows have no address, and are
    /// not among them.
    ///
    /// # Errors
    /// [`StoreError::Reverted`] when a reorg takes the block away meanwhile.
    fn for_each_account_version(
        &self,
        block: u64,
        from: Address,
        visit: &mut dyn FnMut(Address, Option<Account>) -> ControlFlow<()>,
    ) -> Result<(), StoreError>;

    /// Calls `visit` with every slot that has a version at or below canonical block `block`, in the storage that the
    /// account began in block `incarnation`, in the order of slots from `from` on, until it breaks: with its value,
    /// which may be zero. Slots that the base alone knows are not among them. (An account with such a slot has a version.)
    ///
    /// # Errors
    /// [`StoreError::Reverted`] when a reorg takes the block away meanwhile.
    fn for_each_slot_version(
        &self,
        address: &Address,
        incarnation: u64,
        block: u64,
        from: U256,
        visit: &mut dyn FnMut(U256, U256) -> ControlFlow<()>,
    ) -> Result<(), StoreError>;

    /// [`Self::for_each_account_version`] of the accounts that exist.
    ///
    /// # Errors
    /// The same.
    fn for_each_account(
        &self,
        block: u64,
        from: Address,
        visit: &mut dyn FnMut(Address, Account) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.for_each_account_version(block, from, &mut |address, account| {
            account.map_or(ControlFlow::Continue(()), |account| visit(address, account))
        })
    }

    /// [`Self::for_each_slot_version`] of the slots that are not zero.
    ///
    /// # Errors
    /// The same.
    fn for_each_storage(
        &self,
        address: &Address,
        incarnation: u64,
        block: u64,
        from: U256,
        visit: &mut dyn FnMut(U256, U256) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.for_each_slot_version(address, incarnation, block, from, &mut |slot, value| {
            if value.is_zero() { ControlFlow::Continue(()) } else { visit(slot, value) }
        })
    }

    /// How much each table holds.
    fn stats(&self) -> Result<Vec<TableStats>, StoreError>;

    /// Whether a call may wait for a network, and so must not run on an async thread: any other does, also
    /// one of `spawn_blocking`.
    fn reads_block(&self) -> bool;
}

/// The next hash in order; `None` after the last.
pub fn successor(hash: &B256) -> Option<B256> {
    U256::from_be_bytes(hash.0).checked_add(U256::ONE).map(B256::from)
}

/// Where the rows of the base go on behind a page of at most `most`; `None` if it was the last.
pub fn next_page<T>(page: &[(B256, T)], most: usize) -> Option<B256> {
    page.last().filter(|_| page.len() >= most).and_then(|(last, _)| successor(last))
}

/// What a block's change of an account is written as: the incarnation that its slots go under, zero when there are none, and
/// whether the account gets a version. `floor` is the first block whose state is held.
pub(crate) fn placed(block: BlockRef, change: &AccountDiff, floor: u64) -> Result<(u64, bool), StoreError> {
    let incarnation = match &change.after {
        Some(after) if !change.storage.is_empty() => after.incarnation,
        None if !change.storage.is_empty() => {
            let detail = "its diff has storage of an account that does not exist";
            return Err(StoreError::Malformed { block, detail });
        }
        _ => 0,
    };
    // What only storage changed of has a version as well when it is of the base: that one names no address.
    let of_base = floor > 0 && incarnation == floor;
    Ok((incarnation, change.before != change.after || of_base))
}
