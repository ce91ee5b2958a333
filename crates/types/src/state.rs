//! The versioned state's records: an account at a block, what a block changed, and how the EVM reads.

use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256};
use std::collections::BTreeMap;
use std::sync::Arc;

/// An account as it stands after some block. Its storage root is not here: it is derived data of the trie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// Number of transactions sent, or of contracts created.
    pub nonce: u64,
    /// Wei.
    pub balance: U256,
    /// Keccak of the code; [`KECCAK256_EMPTY`] for an account without code.
    pub code_hash: B256,
    /// The number of the block in which this account's storage last began empty: where it was created, or
    /// created again after its destruction. Storage versions are keyed by it, so clearing storage is
    /// one account row, and two lives of one address never meet.
    pub incarnation: u64,
}

impl Account {
    /// An account with nothing in it, whose storage begins in block `incarnation`.
    pub const fn new(incarnation: u64) -> Self {
        Self { nonce: 0, balance: U256::ZERO, code_hash: KECCAK256_EMPTY, incarnation }
    }

    /// Whether it has code.
    pub fn has_code(&self) -> bool {
        self.code_hash != KECCAK256_EMPTY
    }

    /// Empty as EIP-161 defines it: no nonce, balance or code.
    pub fn is_empty(&self) -> bool {
        self.nonce == 0 && self.balance.is_zero() && !self.has_code()
    }
}

/// What one block did to one account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountDiff {
    /// The account before the block; `None` if it did not exist.
    pub before: Option<Account>,
    /// The account after the block; `None` if it does not exist.
    pub after: Option<Account>,
    /// Slots whose value differs, with the value after the block, under `after`'s incarnation. Empty when
    /// `after` is `None`. A slot of a new incarnation is listed only when it is not zero.
    pub storage: BTreeMap<U256, U256>,
}

impl AccountDiff {
    /// Whether the storage that the account had before the block is gone: it was destroyed, or created anew.
    pub fn storage_wiped(&self) -> bool {
        match (&self.before, &self.after) {
            (Some(before), Some(after)) => before.incarnation != after.incarnation,
            (Some(_), None) => true,
            (None, _) => false,
        }
    }
}

/// Everything that one block changed in the state. Ordered by address, so that equal diffs have equal bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateDiff {
    /// Changed accounts; an entry may carry storage changes alone (`before == after`).
    pub accounts: BTreeMap<Address, AccountDiff>,
    /// Code that the block deployed, by its hash.
    pub code: BTreeMap<B256, Bytes>,
}

/// A failed read of the state: the store behind it could not answer.
#[derive(Clone, Debug, thiserror::Error)]
#[error("state read failed: {0}")]
pub struct StateError(pub Arc<dyn std::error::Error + Send + Sync>);

impl StateError {
    /// Wraps the store's own error.
    pub fn new(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self(Arc::new(error))
    }
}

/// The state after one block, and the hashes of that block's ancestors. Reads are consistent with each other.
pub trait StateReader: Send + Sync {
    /// The account at `address`, if it exists.
    fn account(&self, address: &Address) -> Result<Option<Account>, StateError>;

    /// The value of `slot` in the storage that `address` began in block `incarnation` (zero if never written).
    fn storage(&self, address: &Address, incarnation: u64, slot: &U256) -> Result<U256, StateError>;

    /// Whether any slot of the storage that `address` began in block `incarnation` is not zero. Asked only of an
    /// account without code and with nonce zero, when a contract is to be created there (EIP-7610): nothing can
    /// have changed its storage since it began.
    fn has_storage(&self, address: &Address, incarnation: u64) -> Result<bool, StateError>;

    /// The code with this hash; `None` if no account ever had it.
    fn code(&self, hash: &B256) -> Result<Option<Bytes>, StateError>;

    /// The hash of the ancestor with this number, for `BLOCKHASH`; `None` above the block or below history.
    fn block_hash(&self, number: u64) -> Result<Option<B256>, StateError>;
}

impl<T: StateReader + ?Sized> StateReader for &T {
    fn account(&self, address: &Address) -> Result<Option<Account>, StateError> {
        (**self).account(address)
    }
    fn storage(&self, address: &Address, incarnation: u64, slot: &U256) -> Result<U256, StateError> {
        (**self).storage(address, incarnation, slot)
    }
    fn has_storage(&self, address: &Address, incarnation: u64) -> Result<bool, StateError> {
        (**self).has_storage(address, incarnation)
    }
    fn code(&self, hash: &B256) -> Result<Option<Bytes>, StateError> {
        (**self).code(hash)
    }
    fn block_hash(&self, number: u64) -> Result<Option<B256>, StateError> {
        (**self).block_hash(number)
    }
}

impl<T: StateReader + ?Sized> StateReader for Box<T> {
    fn account(&self, address: &Address) -> Result<Option<Account>, StateError> {
        (**self).account(address)
    }
    fn storage(&self, address: &Address, incarnation: u64, slot: &U256) -> Result<U256, StateError> {
        (**self).storage(address, incarnation, slot)
    }
    fn has_storage(&self, address: &Address, incarnation: u64) -> Result<bool, StateError> {
        (**self).has_storage(address, incarnation)
    }
    fn code(&self, hash: &B256) -> Result<Option<Bytes>, StateError> {
        (**self).code(hash)
    }
    fn block_hash(&self, number: u64) -> Result<Option<B256>, StateError> {
        (**self).block_hash(number)
    }
}
