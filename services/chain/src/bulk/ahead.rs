//! Between the second and the third stage, where a read of the store is a round trip: what blocks will need of the state
//! is asked for many at a time.
//!
//! Accounts are those that the transactions name. Slots are found by trying the calls out on what is known, with
//! zero for what is not: nothing of that is kept but which keys were asked for.

use super::Pipeline;
use super::nodes::NodesAhead;
use super::prepare::Prepared;
use super::queue::Ends;
use super::state::{Caches, MaybeAccount, ReadAhead, SlotKey};
use alloy_consensus::Transaction as _;
use alloy_primitives::map::{AddressMap, AddressSet, HashMap, HashSet};
use alloy_primitives::{Address, B256, Bytes, U256};
use parking_lot::Mutex;
use quintet_evm::{BlockOverrides, CallLimits, CallRequest, Simulation, StateOverrides};
use quintet_store::{Store, StoreError};
use quintet_types::{Account, RecoveredBlock, StateError, StateReader, Transaction};
use std::sync::atomic::{AtomicBool, Ordering};

/// Bytes of blocks that are looked at together.
const CHUNK_BYTES: usize = 512 << 10;
/// Gas of a call that is tried out: one that takes more computes, which is not worth doing twice.
const MOST_GAS: u64 = 500_000;
/// How often a call is tried again with what the last attempt lacked.
const ROUNDS: usize = 3;

impl Pipeline<'_> {
    /// Reads ahead, and passes blocks on in order.
    pub(super) fn read_ahead(&self) {
        let _ends = Ends { input: Some(&self.prepared), output: Some(&self.ready) };
        let cache = self.chain.trie.read().cache();
        let mut nodes = NodesAhead::default();
        loop {
            let mut steps = self.prepared.pop_up_to(CHUNK_BYTES);
            if steps.is_empty() {
                return;
            }
            let reorgs = self.reorgs.load(Ordering::Acquire);
            let at = self.committed.load(Ordering::Acquire);
            let blocks: Vec<&Prepared> = steps.iter().filter_map(|step| step.as_ref().ok()).collect();
            let mut ahead = self.needs(&blocks, at);
            if let Err(error) = nodes.read(self.chain.store.as_ref(), &cache, &ahead) {
                tracing::debug!(%error, "trie nodes not read ahead");
            }
            for prepared in steps.iter_mut().filter_map(|step| step.as_mut().ok()) {
                let empty = ReadAhead { at, ..ReadAhead::default() };
                (prepared.reorgs, prepared.ahead) = (reorgs, std::mem::replace(&mut ahead, empty));
            }
            for step in steps {
                let weight = step.as_ref().map_or(0, |prepared| prepared.weight);
                if self.ready.push(step, weight).is_err() {
                    return;
                }
            }
        }
    }

    /// What the blocks will need of the state after block `at`. A store that fails gives nothing: the stage that
    /// needs the values will find out.
    fn needs(&self, blocks: &[&Prepared], at: u64) -> ReadAhead {
        let mut scout = Scout::new(self, at);
        if let Err(error) = scout.explore(self, blocks) {
            tracing::debug!(%error, "state not read ahead");
        }
        ReadAhead {
            at,
            accounts: scout.accounts.into_iter().collect(),
            slots: scout.slots.into_iter().collect(),
        }
    }
}

/// A state that is known in part, and remembers what it was asked for in vain.
struct Scout<'a> {
    store: &'a dyn Store,
    caches: &'a Caches,
    at: u64,
    accounts: AddressMap<Option<Account>>,
    slots: HashMap<SlotKey, U256>,
    lacking: Mutex<Lacking>,
    /// Whether anything was lacking since this was last reset.
    missed: AtomicBool,
}

#[derive(Default)]
struct Lacking {
    accounts: AddressSet,
    slots: HashSet<SlotKey>,
}

impl Lacking {
    fn is_empty(&self) -> bool {
        self.accounts.is_empty() && self.slots.is_empty()
    }
}

impl<'a> Scout<'a> {
    fn new(pipeline: &'a Pipeline<'_>, at: u64) -> Self {
        Self {
            store: pipeline.chain.store.as_ref(),
            caches: &pipeline.caches,
            at,
            accounts: AddressMap::default(),
            slots: HashMap::default(),
            lacking: Mutex::default(),
            missed: AtomicBool::new(false),
        }
    }

    fn explore(&mut self, pipeline: &Pipeline<'_>, blocks: &[&Prepared]) -> Result<(), StoreError> {
        for prepared in blocks {
            let block = &prepared.block;
            self.note(&block.header().beneficiary);
            for (transaction, sender) in block.transactions() {
                self.note(&sender);
                if let Some(to) = transaction.to() {
                    self.note(&to);
                }
            }
        }
        self.fetch()?;
        let mut calls: Vec<(&RecoveredBlock, &Transaction, Address)> = Vec::new();
        for prepared in blocks {
            let calling =
                prepared.block.transactions().filter(|(transaction, _)| self.runs_code(transaction));
            calls.extend(calling.map(|(transaction, sender)| (prepared.block.as_ref(), transaction, sender)));
        }
        for _ in 0..ROUNDS {
            calls.retain(|(block, transaction, sender)| self.lacks(pipeline, block, transaction, *sender));
            if self.lacking.get_mut().is_empty() {
                break;
            }
            self.fetch()?;
        }
        Ok(())
    }

    /// Asks for an account if it is not known.
    fn note(&self, address: &Address) {
        if !self.accounts.contains_key(address) && self.caches.account(address).is_none() {
            self.lacking.lock().accounts.insert(*address);
        }
    }

    fn runs_code(&self, transaction: &Transaction) -> bool {
        let Some(to) = transaction.to() else { return true };
        self.known_account(&to).flatten().is_some_and(|account| account.has_code())
    }

    fn known_account(&self, address: &Address) -> Option<MaybeAccount> {
        self.accounts.get(address).copied().or_else(|| self.caches.account(address))
    }

    /// Tries a call out, and says whether it asked for what is not known.
    fn lacks(
        &self,
        pipeline: &Pipeline<'_>,
        block: &RecoveredBlock,
        transaction: &Transaction,
        sender: Address,
    ) -> bool {
        self.missed.store(false, Ordering::Relaxed);
        let request = CallRequest {
            from: Some(sender),
            to: transaction.to(),
            gas: Some(transaction.gas_limit().min(MOST_GAS)),
            value: Some(transaction.value()),
            data: transaction.input().clone(),
            access_list: transaction.access_list().cloned(),
            ..CallRequest::default()
        };
        let simulation = Simulation {
            spec: &pipeline.chain.spec,
            header: block.header(),
            beneficiary: block.header().beneficiary,
            state: self,
            state_overrides: &StateOverrides::default(),
            block_overrides: &BlockOverrides::default(),
            limits: CallLimits::default(),
        };
        // How it ends does not matter.
        let _ = simulation.call(&request);
        self.missed.load(Ordering::Relaxed)
    }

    /// Reads what is lacking, in one round trip for accounts and one for slots.
    fn fetch(&mut self) -> Result<(), StoreError> {
        let Lacking { accounts, slots } = std::mem::take(self.lacking.get_mut());
        let addresses: Vec<Address> = accounts.into_iter().collect();
        if !addresses.is_empty() {
            let found = self.store.accounts_at(&addresses, self.at)?;
            self.accounts.extend(addresses.into_iter().zip(found));
        }
        let keys: Vec<SlotKey> = slots.into_iter().collect();
        if !keys.is_empty() {
            let found = self.store.slots_at(&keys, self.at)?;
            self.slots.extend(keys.into_iter().zip(found));
        }
        Ok(())
    }
}

impl StateReader for Scout<'_> {
    fn account(&self, address: &Address) -> Result<Option<Account>, StateError> {
        if let Some(known) = self.known_account(address) {
            return Ok(known);
        }
        self.missed.store(true, Ordering::Relaxed);
        self.lacking.lock().accounts.insert(*address);
        Ok(None)
    }

    fn storage(&self, address: &Address, incarnation: u64, slot: &U256) -> Result<U256, StateError> {
        let key = (*address, incarnation, *slot);
        if let Some(known) = self.slots.get(&key).copied().or_else(|| self.caches.slot(&key)) {
            return Ok(known);
        }
        if incarnation <= self.at {
            self.missed.store(true, Ordering::Relaxed);
            self.lacking.lock().slots.insert(key);
        }
        Ok(U256::ZERO)
    }

    fn has_storage(&self, _: &Address, _: u64) -> Result<bool, StateError> {
        Ok(false)
    }

    fn code(&self, hash: &B256) -> Result<Option<Bytes>, StateError> {
        self.store.code(hash).map_err(StateError::new)
    }

    fn block_hash(&self, _: u64) -> Result<Option<B256>, StateError> {
        Ok(None)
    }
}
