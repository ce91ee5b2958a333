//! The EVM's view of the state: a [`StateReader`] below, and above it everything that the block (or the call)
//! has changed so far. From it comes the block's [`StateDiff`].
//!
//! An account is read once: its entry remembers the incarnation, so a storage read is one read. What one
//! transaction did is taken over only when it succeeded, so a refused transaction leaves no trace.

use crate::code_cache;
use crate::error::DatabaseError;
use alloy_primitives::map::{AddressMap, B256Map, HashMap};
use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256};
use quintet_types::{Account, AccountDiff, StateDiff, StateReader};
use revm::bytecode::Bytecode;
use revm::state::{Account as EvmAccount, AccountInfo, EvmState};
use revm::{Database, primitives::hardfork::SpecId};
use std::collections::BTreeMap;
use std::collections::hash_map::Entry as MapEntry;

/// What the EVM changes of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Info {
    nonce: u64,
    balance: U256,
    code_hash: B256,
}

impl Info {
    const EMPTY: Self = Self { nonce: 0, balance: U256::ZERO, code_hash: KECCAK256_EMPTY };

    fn is_empty(&self) -> bool {
        *self == Self::EMPTY
    }

    const fn to_revm(self) -> AccountInfo {
        AccountInfo {
            balance: self.balance,
            nonce: self.nonce,
            code_hash: self.code_hash,
            account_id: None,
            code: None,
        }
    }
}

impl From<&Account> for Info {
    fn from(account: &Account) -> Self {
        Self { nonce: account.nonce, balance: account.balance, code_hash: account.code_hash }
    }
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    /// The value before the block; zero where the storage was wiped since.
    before: U256,
    now: U256,
}

#[derive(Clone, Debug)]
struct Entry {
    before: Option<Account>,
    now: Option<Info>,
    /// The storage of `before` is gone: `slots` is all that there is.
    wiped: bool,
    slots: HashMap<U256, Slot>,
}

impl Entry {
    fn new(before: Option<Account>) -> Self {
        Self { before, now: before.as_ref().map(Info::from), wiped: false, slots: HashMap::default() }
    }

    fn wipe(&mut self) {
        self.wiped = true;
        self.slots.clear();
    }

    /// The incarnation under which the store has this account's slots, unless all of them are known here.
    fn stored_incarnation(&self) -> Option<u64> {
        self.before.filter(|_| !self.wiped).map(|account| account.incarnation)
    }

    fn diff(&self, block: u64) -> Option<AccountDiff> {
        let incarnation = self.stored_incarnation().unwrap_or(block);
        let after = self.now.map(|info| Account {
            nonce: info.nonce,
            balance: info.balance,
            code_hash: info.code_hash,
            incarnation,
        });
        let storage: BTreeMap<U256, U256> = match after {
            Some(_) => self
                .slots
                .iter()
                .filter(|(_, slot)| slot.now != slot.before)
                .map(|(key, slot)| (*key, slot.now))
                .collect(),
            None => BTreeMap::new(),
        };
        (self.before != after || !storage.is_empty()).then_some(AccountDiff {
            before: self.before,
            after,
            storage,
        })
    }
}

/// A state with changes on top of it. See the module's documentation.
pub(crate) struct Overlay<'a> {
    state: &'a dyn StateReader,
    accounts: AddressMap<Entry>,
    code: B256Map<Bytecode>,
    unknown_hash_is_zero: bool,
}

impl<'a> Overlay<'a> {
    /// A view without changes. A missing ancestor hash is an error.
    pub(crate) fn new(state: &'a dyn StateReader) -> Self {
        Self { state, accounts: AddressMap::default(), code: B256Map::default(), unknown_hash_is_zero: false }
    }

    /// A view for a simulation whose block number may be invented: `BLOCKHASH` of an unknown block is zero,
    /// as in geth.
    pub(crate) fn for_simulation(state: &'a dyn StateReader) -> Self {
        Self { unknown_hash_is_zero: true, ..Self::new(state) }
    }

    fn entry(&mut self, address: Address) -> Result<&mut Entry, DatabaseError> {
        match self.accounts.entry(address) {
            MapEntry::Occupied(entry) => Ok(entry.into_mut()),
            MapEntry::Vacant(entry) => Ok(entry.insert(Entry::new(self.state.account(&address)?))),
        }
    }

    /// Nonce, balance and code hash as they stand now.
    pub(crate) fn info(&mut self, address: Address) -> Result<Option<AccountInfo>, DatabaseError> {
        Ok(self.entry(address)?.now.map(Info::to_revm))
    }

    /// The code with this hash.
    pub(crate) fn code(&self, hash: &B256) -> Result<Bytecode, DatabaseError> {
        if *hash == KECCAK256_EMPTY || hash.is_zero() {
            return Ok(Bytecode::default());
        }
        if let Some(code) = self.code.get(hash) {
            return Ok(code.clone());
        }
        code_cache::get_or_load(hash, || self.state.code(hash))?.ok_or(DatabaseError::MissingCode(*hash))
    }

    /// Whether the account has a slot that is not zero.
    pub(crate) fn has_storage(&mut self, address: Address) -> Result<bool, DatabaseError> {
        let state = self.state;
        let entry = self.entry(address)?;
        if entry.slots.values().any(|slot| !slot.now.is_zero()) {
            return Ok(true);
        }
        let Some(incarnation) = entry.stored_incarnation() else { return Ok(false) };
        Ok(state.has_storage(&address, incarnation)?)
    }

    /// Takes over what one transaction or system call did.
    pub(crate) fn commit(&mut self, changes: EvmState) -> Result<(), DatabaseError> {
        for (address, account) in changes {
            if account.is_touched() {
                self.apply(address, account)?;
            }
        }
        Ok(())
    }

    /// revm's journal has already kept apart what EIP-161 treats differently: an empty account that is
    /// touched and not created is to be removed.
    fn apply(&mut self, address: Address, account: EvmAccount) -> Result<(), DatabaseError> {
        let removed = account.is_selfdestructed() || (account.info.is_empty() && !account.is_created());
        let entry = self.entry(address)?;
        if removed {
            entry.now = None;
            entry.wipe();
            return Ok(());
        }
        if account.is_created() {
            entry.wipe();
        }
        let info = &account.info;
        let new_code = entry.now.is_none_or(|now| now.code_hash != info.code_hash);
        entry.now = Some(Info { nonce: info.nonce, balance: info.balance, code_hash: info.code_hash });
        for (key, slot) in &account.storage {
            if !slot.is_changed() {
                continue;
            }
            // A changed slot was read first, so `before` is known, unless it began as zero.
            entry.slots.entry(*key).or_insert(Slot { before: U256::ZERO, now: U256::ZERO }).now =
                slot.present_value;
        }
        if new_code
            && info.code_hash != KECCAK256_EMPTY
            && let Some(code) = account.info.code
        {
            self.code.insert(account.info.code_hash, code);
        }
        Ok(())
    }

    /// Adds wei outside a transaction: rewards and withdrawals. Nothing added still touches the account:
    /// before EIP-161 it exists from then on, after it an empty one is removed.
    pub(crate) fn add_balance(
        &mut self,
        address: Address,
        amount: U256,
        spec: SpecId,
    ) -> Result<(), DatabaseError> {
        let entry = self.entry(address)?;
        let mut info = entry.now.unwrap_or(Info::EMPTY);
        info.balance = info.balance.saturating_add(amount);
        if info.is_empty() && spec.is_enabled_in(SpecId::SPURIOUS_DRAGON) {
            if entry.now.is_some() {
                entry.wipe();
            }
            entry.now = None;
        } else {
            entry.now = Some(info);
        }
        Ok(())
    }

    /// Takes all wei of an account and returns them. Like [`Self::add_balance`], this touches the account.
    pub(crate) fn drain(&mut self, address: Address, spec: SpecId) -> Result<U256, DatabaseError> {
        let entry = self.entry(address)?;
        let taken = entry.now.as_mut().map(|info| std::mem::take(&mut info.balance)).unwrap_or_default();
        self.add_balance(address, U256::ZERO, spec)?;
        Ok(taken)
    }

    /// Replaces nonce, balance and code as given, for a simulation.
    pub(crate) fn override_account(
        &mut self,
        address: Address,
        nonce: Option<u64>,
        balance: Option<U256>,
        code: Option<&Bytes>,
    ) -> Result<(), DatabaseError> {
        let code = code.map(|bytes| code_cache::analyse(bytes.clone()));
        let entry = self.entry(address)?;
        let mut info = entry.now.unwrap_or(Info::EMPTY);
        info.nonce = nonce.unwrap_or(info.nonce);
        info.balance = balance.unwrap_or(info.balance);
        if let Some(code) = &code {
            info.code_hash = code.hash_slow();
        }
        entry.now = Some(info);
        if let Some(code) = code {
            self.code.insert(info.code_hash, code);
        }
        Ok(())
    }

    /// Replaces slots of an account, for a simulation; with `whole`, all others become zero.
    pub(crate) fn override_storage(
        &mut self,
        address: Address,
        slots: &BTreeMap<U256, U256>,
        whole: bool,
    ) -> Result<(), DatabaseError> {
        let entry = self.entry(address)?;
        entry.now.get_or_insert(Info::EMPTY);
        if whole {
            entry.wipe();
        }
        for (key, value) in slots {
            entry.slots.insert(*key, Slot { before: U256::ZERO, now: *value });
        }
        Ok(())
    }

    /// Everything that changed so far, as block `block` changed it.
    pub(crate) fn diff(&self, block: u64) -> StateDiff {
        let accounts =
            self.accounts.iter().filter_map(|(address, entry)| Some((*address, entry.diff(block)?)));
        StateDiff {
            accounts: accounts.collect(),
            code: self.code.iter().map(|(hash, code)| (*hash, code.original_bytes())).collect(),
        }
    }
}

impl Database for Overlay<'_> {
    type Error = DatabaseError;

    fn basic(&mut self, address: Address) -> Result<Option<AccountInfo>, DatabaseError> {
        self.info(address)
    }

    fn code_by_hash(&mut self, hash: B256) -> Result<Bytecode, DatabaseError> {
        self.code(&hash)
    }

    fn storage(&mut self, address: Address, key: U256) -> Result<U256, DatabaseError> {
        let state = self.state;
        let entry = self.entry(address)?;
        if let Some(slot) = entry.slots.get(&key) {
            return Ok(slot.now);
        }
        let Some(incarnation) = entry.stored_incarnation() else { return Ok(U256::ZERO) };
        let value = state.storage(&address, incarnation, &key)?;
        entry.slots.insert(key, Slot { before: value, now: value });
        Ok(value)
    }

    fn block_hash(&mut self, number: u64) -> Result<B256, DatabaseError> {
        match self.state.block_hash(number)? {
            Some(hash) => Ok(hash),
            None if self.unknown_hash_is_zero => Ok(B256::ZERO),
            None => Err(DatabaseError::MissingBlockHash(number)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_utils::MemoryState;

    const A: Address = Address::repeat_byte(0xa);

    fn state() -> MemoryState {
        let mut state = MemoryState::default();
        state.insert(A, 0, U256::from(5), Bytes::new(), [(U256::from(1), U256::from(2))]);
        state.insert_block_hash(7, B256::repeat_byte(7));
        state
    }

    #[test]
    fn nothing_changed_is_an_empty_diff() {
        let state = state();
        let mut overlay = Overlay::new(&state);
        assert_eq!(overlay.storage(A, U256::from(1)).unwrap(), U256::from(2));
        assert!(overlay.info(Address::ZERO).unwrap().is_none());
        overlay.add_balance(A, U256::from(1), SpecId::OSAKA).unwrap();
        overlay.drain(A, SpecId::FRONTIER).unwrap();
        overlay.add_balance(A, U256::from(5), SpecId::OSAKA).unwrap();
        assert_eq!(overlay.diff(9), StateDiff::default());
    }

    #[test]
    fn an_empty_account_exists_before_eip_161_only() {
        let state = state();
        let touched = Address::repeat_byte(0xb);
        for (spec, exists) in [(SpecId::TANGERINE, true), (SpecId::SPURIOUS_DRAGON, false)] {
            let mut overlay = Overlay::new(&state);
            overlay.add_balance(touched, U256::ZERO, spec).unwrap();
            assert_eq!(overlay.drain(A, spec).unwrap(), U256::from(5));
            let diff = overlay.diff(9);
            let new = diff.accounts.get(&touched).and_then(|change| change.after);
            assert_eq!(new, exists.then_some(Account::new(9)));
            let emptied = diff.accounts.get(&A).unwrap().after;
            assert_eq!(emptied, exists.then_some(Account::new(0)));
            assert_eq!(overlay.storage(A, U256::from(1)).unwrap().is_zero(), !exists);
        }
    }

    #[test]
    fn an_unknown_ancestor_is_an_error_and_in_a_simulation_zero() {
        let state = state();
        let mut overlay = Overlay::new(&state);
        assert_eq!(overlay.block_hash(7).unwrap(), B256::repeat_byte(7));
        assert!(matches!(overlay.block_hash(8), Err(DatabaseError::MissingBlockHash(8))));
        assert_eq!(Overlay::for_simulation(&state).block_hash(8).unwrap(), B256::ZERO);
    }

    #[test]
    fn code_that_the_store_lacks_is_an_error() {
        let state = state();
        let hash = B256::repeat_byte(0xcc);
        assert!(matches!(Overlay::new(&state).code(&hash), Err(DatabaseError::MissingCode(h)) if h == hash));
        assert!(Overlay::new(&state).code(&KECCAK256_EMPTY).unwrap().is_empty());
    }
}
