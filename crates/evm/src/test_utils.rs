//! An in-memory state for tests, and its root computed from scratch.

use crate::env::BlockEnvironment;
use crate::error::{ExecutionError, TxError, VmError};
use crate::execute::PostStateRoot;
use crate::processor::Processor;
use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, Log, U256, keccak256};
use alloy_trie::root::{state_root_unhashed, storage_root_unhashed};
use alloy_trie::{EMPTY_ROOT_HASH, TrieAccount};
use quintet_chainspec::ChainSpec;
use quintet_types::{Account, Header, Receipt, StateDiff, StateError, StateReader, Transaction};
use std::collections::BTreeMap;

/// A whole state in memory, with the hashes of ancestors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryState {
    accounts: BTreeMap<Address, Account>,
    /// By address, incarnation and slot.
    storage: BTreeMap<(Address, u64, U256), U256>,
    code: BTreeMap<B256, Bytes>,
    hashes: BTreeMap<u64, B256>,
}

impl MemoryState {
    /// Puts an account there, with its first incarnation beginning in block 0.
    pub fn insert(
        &mut self,
        address: Address,
        nonce: u64,
        balance: U256,
        code: Bytes,
        storage: impl IntoIterator<Item = (U256, U256)>,
    ) {
        let code_hash = if code.is_empty() { KECCAK256_EMPTY } else { keccak256(&code) };
        self.accounts.insert(address, Account { nonce, balance, code_hash, incarnation: 0 });
        if !code.is_empty() {
            self.code.insert(code_hash, code);
        }
        let slots = storage.into_iter().filter(|(_, value)| !value.is_zero());
        self.storage.extend(slots.map(|(slot, value)| ((address, 0, slot), value)));
    }

    /// Makes `hash` the hash of block `number`.
    pub fn insert_block_hash(&mut self, number: u64, hash: B256) {
        self.hashes.insert(number, hash);
    }

    /// Makes the changes of one block.
    ///
    /// # Panics
    /// When the diff was not made on this state.
    pub fn apply(&mut self, diff: &StateDiff) {
        for (address, change) in &diff.accounts {
            assert_eq!(self.accounts.get(address).copied(), change.before, "{address}: not the state before");
            match change.after {
                Some(account) => self.accounts.insert(*address, account),
                None => self.accounts.remove(address),
            };
            let Some(account) = change.after else { continue };
            for (slot, value) in &change.storage {
                let key = (*address, account.incarnation, *slot);
                if value.is_zero() {
                    self.storage.remove(&key);
                } else {
                    self.storage.insert(key, *value);
                }
            }
        }
        self.code.extend(diff.code.iter().map(|(hash, code)| (*hash, code.clone())));
    }

    /// The state root, computed from everything there is.
    pub fn root(&self) -> B256 {
        state_root_unhashed(self.accounts.iter().map(|(address, account)| {
            let trie_account = TrieAccount {
                nonce: account.nonce,
                balance: account.balance,
                storage_root: self.storage_root(address, account.incarnation),
                code_hash: account.code_hash,
            };
            (*address, trie_account)
        }))
    }

    /// The slots of one storage that are not zero.
    fn slots(&self, address: &Address, incarnation: u64) -> impl Iterator<Item = (U256, U256)> {
        let first = (*address, incarnation, U256::ZERO);
        let last = (*address, incarnation, U256::MAX);
        self.storage.range(first..=last).map(|((_, _, slot), value)| (*slot, *value))
    }

    fn storage_root(&self, address: &Address, incarnation: u64) -> B256 {
        let mut slots = self.slots(address, incarnation).peekable();
        if slots.peek().is_none() {
            return EMPTY_ROOT_HASH;
        }
        storage_root_unhashed(slots.map(|(slot, value)| (B256::from(slot), value)))
    }
}

impl StateReader for MemoryState {
    fn account(&self, address: &Address) -> Result<Option<Account>, StateError> {
        Ok(self.accounts.get(address).copied())
    }

    fn storage(&self, address: &Address, incarnation: u64, slot: &U256) -> Result<U256, StateError> {
        Ok(self.storage.get(&(*address, incarnation, *slot)).copied().unwrap_or_default())
    }

    fn has_storage(&self, address: &Address, incarnation: u64) -> Result<bool, StateError> {
        Ok(self.slots(address, incarnation).next().is_some())
    }

    fn code(&self, hash: &B256) -> Result<Option<Bytes>, StateError> {
        Ok(self.code.get(hash).cloned())
    }

    fn block_hash(&self, number: u64) -> Result<Option<B256>, StateError> {
        Ok(self.hashes.get(&number).copied())
    }
}

/// Roots in the middle of a block, each computed from scratch.
impl PostStateRoot for &MemoryState {
    fn root(&mut self, diff: &StateDiff) -> Result<B256, StateError> {
        let mut state = (*self).clone();
        state.apply(diff);
        Ok(state.root())
    }
}

/// What one transaction did, outside any block.
#[derive(Clone, Debug)]
pub struct AppliedTransaction {
    /// What changed in the state.
    pub diff: StateDiff,
    /// Its logs.
    pub logs: Vec<Log>,
    /// Why it could not run, if it could not: then nothing changed.
    pub rejected: Option<TxError>,
}

/// Runs one transaction as state tests want it: no system calls, no rewards, and the beneficiary touched after
/// a transaction that ran; with `touch_anyway`, also after one that could not.
///
/// # Errors
/// When the state cannot be read, or the header lacks a field that its fork demands.
pub fn apply_transaction(
    spec: &ChainSpec,
    header: &Header,
    state: &dyn StateReader,
    transaction: &Transaction,
    sender: Address,
    touch_anyway: bool,
) -> Result<AppliedTransaction, ExecutionError> {
    let environment = BlockEnvironment::new(spec, header, header.beneficiary)?;
    let (number, fork) = (environment.number, environment.cfg.spec);
    let mut processor = Processor::bare(environment, state);
    let rejected = match processor.transaction(transaction, sender, &mut NoRoots) {
        Ok(_) => None,
        Err(VmError::Tx(error)) => Some(error),
        Err(VmError::Fatal(error)) => return Err(error),
    };
    let (mut overlay, receipts) = processor.into_parts();
    if rejected.is_none() || touch_anyway {
        overlay.add_balance(header.beneficiary, U256::ZERO, fork)?;
    }
    let logs = receipts.into_iter().flat_map(Receipt::into_logs).collect();
    Ok(AppliedTransaction { diff: overlay.diff(number), logs, rejected })
}

/// For receipts that nobody looks at.
struct NoRoots;

impl PostStateRoot for NoRoots {
    fn root(&mut self, _diff: &StateDiff) -> Result<B256, StateError> {
        Ok(B256::ZERO)
    }
}
