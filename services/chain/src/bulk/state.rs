//! The state at the newest executed block, ahead of what is committed.
//!
//! A value is looked for in three places: among the *pinned* ones, which uncommitted blocks changed; in a cache of
//! committed values; in the store. What must hold: a key that is not pinned has not changed since block
//! `settled`, at which the store is read. Versions are never overwritten, so such a read gives the same answer
//! whatever is committed meanwhile, and a pin is taken away only after `settled` has passed its block.

use alloy_primitives::map::{AddressMap, B256Map, HashMap};
use alloy_primitives::{Address, B256, Bytes, U256};
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use quintet_store::Store;
use quintet_types::{Account, ExecutedBlock, StateDiff, StateError, StateReader};
use std::collections::VecDeque;
use std::sync::Arc;

/// A storage slot: the account, the incarnation of its storage, the slot.
pub(crate) type SlotKey = (Address, u64, U256);

/// An account, or that there is none.
pub(crate) type MaybeAccount = Option<Account>;

/// A value, and the uncommitted block that wrote it last.
#[derive(Clone, Copy, Debug)]
struct Pinned<T> {
    value: T,
    block: u64,
}

/// Memory of one cached entry, in bytes: key, value, and what the cache keeps of it.
#[derive(Clone)]
struct EntrySize(u64);

impl<K, V> Weighter<K, V> for EntrySize {
    fn weight(&self, _: &K, _: &V) -> u64 {
        self.0
    }
}

const ACCOUNT_SIZE: u64 = 208;
const SLOT_SIZE: u64 = 176;

/// Committed values, as many as fit. Only [`HeadState`] puts values in: it alone knows which are right.
pub(crate) struct Caches {
    accounts: Cache<Address, Option<Account>, EntrySize>,
    slots: Cache<SlotKey, U256, EntrySize>,
}

impl Caches {
    /// Empty caches of at most `capacity` bytes.
    pub(crate) fn new(capacity: u64) -> Self {
        let (accounts, slots) = (capacity / 3, capacity - capacity / 3);
        let entries = |bytes: u64, each: u64| usize::try_from(bytes / each).unwrap_or(usize::MAX);
        let size = EntrySize(ACCOUNT_SIZE);
        let accounts = Cache::with_weighter(entries(accounts, ACCOUNT_SIZE), accounts, size);
        let slots = Cache::with_weighter(entries(slots, SLOT_SIZE), slots, EntrySize(SLOT_SIZE));
        Self { accounts, slots }
    }

    /// An account as some block near the head has it.
    pub(crate) fn account(&self, address: &Address) -> Option<MaybeAccount> {
        self.accounts.get(address)
    }

    /// A slot as some block near the head has it.
    pub(crate) fn slot(&self, key: &SlotKey) -> Option<U256> {
        self.slots.get(key)
    }
}

/// Committed values read ahead of their use, as of block `at`.
#[derive(Debug, Default)]
pub(crate) struct ReadAhead {
    /// The block that they were read at.
    pub(crate) at: u64,
    /// Accounts; `None` where there is none.
    pub(crate) accounts: Vec<(Address, Option<Account>)>,
    /// Slots.
    pub(crate) slots: Vec<(SlotKey, U256)>,
}

/// The state. See the module's documentation.
pub(crate) struct HeadState {
    store: Arc<dyn Store>,
    settled: u64,
    accounts: AddressMap<Pinned<Option<Account>>>,
    storage: HashMap<SlotKey, Pinned<U256>>,
    code: B256Map<Pinned<Bytes>>,
    hashes: HashMap<u64, B256>,
    /// What is pinned, by block.
    pins: VecDeque<(u64, Arc<StateDiff>)>,
    caches: Arc<Caches>,
}

impl HeadState {
    /// The state of a store after canonical block `number`. The caches must be empty, or of this chain.
    pub(crate) fn new(store: Arc<dyn Store>, number: u64, caches: Arc<Caches>) -> Self {
        Self {
            store,
            settled: number,
            accounts: AddressMap::default(),
            storage: HashMap::default(),
            code: B256Map::default(),
            hashes: HashMap::default(),
            pins: VecDeque::new(),
            caches,
        }
    }

    /// Puts an executed block on top.
    pub(crate) fn push(&mut self, number: u64, hash: B256, diff: &Arc<StateDiff>) {
        self.hashes.insert(number, hash);
        for (address, change) in &diff.accounts {
            self.accounts.insert(*address, Pinned { value: change.after, block: number });
            let incarnation = change.after.map_or(0, |account| account.incarnation);
            for (slot, value) in &change.storage {
                self.storage.insert((*address, incarnation, *slot), Pinned { value: *value, block: number });
            }
        }
        for (hash, code) in &diff.code {
            self.code.insert(*hash, Pinned { value: code.clone(), block: number });
        }
        self.pins.push_back((number, Arc::clone(diff)));
    }

    /// The same for a block with its receipts.
    pub(crate) fn push_block(&mut self, executed: &ExecutedBlock) {
        self.push(executed.block.header().number, executed.block.hash, &executed.diff);
    }

    /// Forgets everything, for a head that does not follow the last one.
    pub(crate) fn reset(&mut self, number: u64) {
        self.caches.accounts.clear();
        self.caches.slots.clear();
        *self = Self::new(Arc::clone(&self.store), number, Arc::clone(&self.caches));
    }

    /// Blocks up to `number` are committed: what they changed is as good in the cache.
    pub(crate) fn settle(&mut self, number: u64) {
        while let Some((block, diff)) = self.pins.pop_front_if(|(block, _)| *block <= number) {
            self.unpin(block, &diff);
        }
        self.settled = self.settled.max(number);
    }

    fn unpin(&mut self, block: u64, diff: &StateDiff) {
        self.hashes.remove(&block);
        for (address, change) in &diff.accounts {
            if self.accounts.get(address).is_some_and(|pinned| pinned.block == block) {
                self.accounts.remove(address);
                self.caches.accounts.insert(*address, change.after);
            }
            let incarnation = change.after.map_or(0, |account| account.incarnation);
            for (slot, value) in &change.storage {
                let key = (*address, incarnation, *slot);
                if self.storage.get(&key).is_some_and(|pinned| pinned.block == block) {
                    self.storage.remove(&key);
                    self.caches.slots.insert(key, *value);
                }
            }
        }
        for hash in diff.code.keys() {
            if self.code.get(hash).is_some_and(|pinned| pinned.block == block) {
                self.code.remove(hash);
            }
        }
    }

    /// Takes over values that were read ahead. All blocks up to theirs must be committed; those that are older
    /// than what is settled are of no use.
    pub(crate) fn absorb(&mut self, ahead: ReadAhead) {
        self.settle(ahead.at);
        if ahead.at < self.settled {
            return;
        }
        for (address, account) in ahead.accounts {
            if !self.accounts.contains_key(&address) && !self.caches.accounts.contains_key(&address) {
                self.caches.accounts.insert(address, account);
            }
        }
        for (key, value) in ahead.slots {
            if !self.storage.contains_key(&key) && !self.caches.slots.contains_key(&key) {
                self.caches.slots.insert(key, value);
            }
        }
    }
}

impl StateReader for HeadState {
    fn account(&self, address: &Address) -> Result<Option<Account>, StateError> {
        if let Some(pinned) = self.accounts.get(address) {
            return Ok(pinned.value);
        }
        if let Some(cached) = self.caches.accounts.get(address) {
            return Ok(cached);
        }
        let account = self.store.account_at(address, self.settled).map_err(StateError::new)?;
        self.caches.accounts.insert(*address, account);
        Ok(account)
    }

    fn storage(&self, address: &Address, incarnation: u64, slot: &U256) -> Result<U256, StateError> {
        let key = (*address, incarnation, *slot);
        if let Some(pinned) = self.storage.get(&key) {
            return Ok(pinned.value);
        }
        if incarnation > self.settled {
            return Ok(U256::ZERO);
        }
        if let Some(cached) = self.caches.slots.get(&key) {
            return Ok(cached);
        }
        let value =
            self.store.storage_at(address, incarnation, slot, self.settled).map_err(StateError::new)?;
        self.caches.slots.insert(key, value);
        Ok(value)
    }

    fn has_storage(&self, address: &Address, incarnation: u64) -> Result<bool, StateError> {
        let written = |(key, pinned): (&SlotKey, &Pinned<U256>)| {
            key.0 == *address && key.1 == incarnation && !pinned.value.is_zero()
        };
        if self.storage.iter().any(written) {
            return Ok(true);
        }
        self.store.has_storage(address, incarnation, self.settled).map_err(StateError::new)
    }

    fn code(&self, hash: &B256) -> Result<Option<Bytes>, StateError> {
        if let Some(pinned) = self.code.get(hash) {
            return Ok(Some(pinned.value.clone()));
        }
        self.store.code(hash).map_err(StateError::new)
    }

    fn block_hash(&self, number: u64) -> Result<Option<B256>, StateError> {
        if let Some(hash) = self.hashes.get(&number) {
            return Ok(Some(*hash));
        }
        if number > self.settled {
            return Ok(None);
        }
        self.store.canonical_hash(number).map_err(StateError::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quintet_store::Commit;
    use quintet_testkit::generate::{Generator, Network, Options};
    use std::collections::BTreeMap;

    /// What the state after a block says of every account and slot that the chain ever touched.
    fn picture(state: &dyn StateReader, keys: &BTreeMap<Address, Vec<U256>>) -> Vec<String> {
        let entry = |(address, slots): (&Address, &Vec<U256>)| {
            let account = state.account(address).unwrap();
            let slots = slots.iter().map(|slot| {
                account
                    .map_or(U256::ZERO, |account| state.storage(address, account.incarnation, slot).unwrap())
            });
            format!("{address} {account:?} {:?}", slots.collect::<Vec<_>>())
        };
        keys.iter().map(entry).collect()
    }

    /// Whatever is committed, settled, read ahead and forgotten meanwhile, the state is that of the newest block.
    #[test]
    fn it_is_the_newest_state_whatever_is_committed() {
        let mut generator = Generator::new(Options::small(Network::Ethash));
        let store = quintet_store::open_temporary().unwrap();
        crate::genesis::init(store.as_ref(), generator.spec()).unwrap();
        let caches = Arc::new(Caches::new(4 << 10));
        let mut state = HeadState::new(Arc::clone(&store), 0, Arc::clone(&caches));
        let mut keys: BTreeMap<Address, Vec<U256>> = BTreeMap::new();
        for address in generator.spec().genesis_state().accounts.into_keys() {
            keys.entry(address).or_default();
        }
        let mut waiting = VecDeque::new();
        let mut ahead = VecDeque::new();
        let mut committed = 0;
        for round in 0..40_u64 {
            let executed = generator.next_block();
            for (address, change) in &executed.diff.accounts {
                keys.entry(*address).or_default().extend(change.storage.keys());
            }
            state.push_block(&executed);
            waiting.push_back(executed);
            // What is read ahead waits for a while, and the store moves on meanwhile.
            let accounts: Vec<Address> = keys.keys().copied().collect();
            let found = store.accounts_at(&accounts, committed).unwrap();
            let accounts = accounts.into_iter().zip(found).collect();
            ahead.push_back(ReadAhead { at: committed, accounts, slots: Vec::new() });
            if round % 3 == 0 {
                let blocks: Vec<_> = waiting.drain(..=waiting.len() / 2).collect();
                committed = blocks.last().unwrap().block.header().number;
                store.commit(Commit { blocks, ..Commit::default() }).unwrap();
            }
            if ahead.len() > 4 {
                state.absorb(ahead.pop_front().unwrap());
            }
            let wanted = generator.state().clone();
            assert_eq!(picture(&state, &keys), picture(&wanted, &keys), "round {round}");
        }
        assert!(state.pins.len() < 20, "what is committed is not pinned for ever");
    }
}
