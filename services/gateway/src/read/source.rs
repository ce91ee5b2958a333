//! The store as the gateway reads it when a network lies between: with a deadline on each read, and without asking
//! again and again what does not answer.
//!
//! What must hold:
//! - A read ends within [`DEADLINE`], whatever the store's server does. It runs on a thread of its own kind; the one
//!   that waits for it has handed its other tasks over.
//! - Once a read found the store away, the others fail at once, until a look at the store ([`Guarded::watch`]) finds it back.
//! - At most [`WAITING`] reads wait; more fail at once.
//!
//! A store in this process's memory is read directly.

mod state;

use alloy_primitives::{Address, B256, Bytes, U160, U256};
use arc_swap::ArcSwapOption;
use parking_lot::{Condvar, Mutex};
use quintet_store::{
    Commit, FetchedState, StateChanges, Store, StoreError, TableStats, TransactionLocation, TrieAccount,
};
use quintet_types::{Account, BlockRef, Body, Header, Receipts, RecoveredBlock, StateDiff, StateReader};
use state::State;
use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::task::{JoinHandle, block_in_place};
use tokio_util::sync::CancellationToken;

/// How long a read may take, its turn included.
const DEADLINE: Duration = Duration::from_millis(1500);
/// Threads that read, as many as the store has connections for reads.
const READERS: usize = 16;
/// Reads that may wait for their turn.
const WAITING: usize = 256;
/// Accounts or slots that a walk reads at once.
const PAGE: usize = 4096;
/// How often a store that is away is looked for.
const LOOK: Duration = Duration::from_millis(250);

/// Since when the store does not answer, and why.
#[derive(Debug)]
pub(crate) struct Away {
    /// Since when.
    pub(crate) since: Instant,
    error: StoreError,
}

impl Away {
    /// For an operator to read.
    pub(crate) fn report(&self) -> String {
        format!("{}, for {} s now; what is held is served", self.error, self.since.elapsed().as_secs())
    }
}

/// Whether the store answers.
#[derive(Debug, Default)]
pub(crate) struct Health {
    away: ArcSwapOption<Away>,
}

impl Health {
    /// Since when and why the store does not answer; `None` while it does.
    pub(crate) fn away(&self) -> Option<Arc<Away>> {
        self.away.load_full()
    }

    fn check(&self) -> Result<(), StoreError> {
        self.away.load().as_ref().map_or(Ok(()), |away| Err(away.error.clone()))
    }

    fn note<T>(&self, answer: &Result<T, StoreError>) {
        if let Err(error @ StoreError::Unavailable { .. }) = answer
            && self.away.load().is_none()
        {
            tracing::warn!(target: "quintet_gateway", %error, "the store does not answer; what is held is served");
            self.away.store(Some(Arc::new(Away { since: Instant::now(), error: error.clone() })));
        }
    }

    fn back(&self) {
        if let Some(away) = self.away.swap(None) {
            let seconds = away.since.elapsed().as_secs_f64();
            tracing::info!(target: "quintet_gateway", seconds, "the store answers again");
        }
    }
}

type Job = Box<dyn FnOnce() + Send>;

/// The threads that read, and what waits for them.
#[derive(Default)]
struct Queue {
    state: Mutex<Waiting>,
    news: Condvar,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    closed: bool,
}

impl Queue {
    fn push(&self, job: Job) -> bool {
        let mut state = self.state.lock();
        let free = state.jobs.len() < WAITING;
        if free {
            state.jobs.push_back(job);
            drop(state);
            self.news.notify_one();
        }
        free
    }

    fn work(&self) {
        loop {
            let mut state = self.state.lock();
            let job = loop {
                match state.jobs.pop_front() {
                    Some(job) => break job,
                    None if state.closed => return,
                    None => self.news.wait(&mut state),
                }
            };
            drop(state);
            job();
        }
    }
}

/// The store, with deadlines. Clones share threads and health.
#[derive(Clone)]
struct Source {
    store: Arc<dyn Store>,
    threads: Arc<Threads>,
}

struct Threads {
    queue: Arc<Queue>,
    health: Arc<Health>,
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.queue.state.lock().closed = true;
        self.queue.news.notify_all();
    }
}

/// A store, and how it is.
pub(crate) struct Guarded {
    /// As it is to be read: with deadlines where reads wait for a network.
    pub(super) store: Arc<dyn Store>,
    pub(crate) health: Arc<Health>,
    inner: Arc<dyn Store>,
}

impl Guarded {
    /// Guards `inner`.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub(super) fn new(inner: Arc<dyn Store>) -> std::io::Result<Self> {
        let health = Arc::new(Health::default());
        if !inner.reads_block() {
            return Ok(Self { store: Arc::clone(&inner), health, inner });
        }
        let queue = Arc::new(Queue::default());
        let threads = Arc::new(Threads { queue: Arc::clone(&queue), health: Arc::clone(&health) });
        for number in 0..READERS {
            let queue = Arc::clone(&queue);
            let name = format!("store-read-{number}");
            std::thread::Builder::new().name(name).spawn(move || queue.work())?;
        }
        Ok(Self { store: Arc::new(Source { store: Arc::clone(&inner), threads }), health, inner })
    }

    /// While the store is away, looks for it, until `token` is cancelled.
    pub(super) async fn watch(&self, token: &CancellationToken) {
        let mut ticks = tokio::time::interval(LOOK);
        let mut look: Option<JoinHandle<bool>> = None;
        while token.run_until_cancelled(ticks.tick()).await.is_some() {
            // A look that hangs is waited for: more of them would only pile up.
            if let Some(last) = look.take_if(|look| look.is_finished())
                && last.await.unwrap_or_default()
            {
                self.health.back();
            }
            if look.is_none() && self.health.away.load().is_some() {
                let store = Arc::clone(&self.inner);
                look = Some(tokio::task::spawn_blocking(move || store.head().is_ok()));
            }
        }
    }
}

/// Waits without keeping this thread's other tasks waiting.
fn wait<T>(receive: impl FnOnce() -> T) -> T {
    if Handle::try_current().is_ok() { block_in_place(receive) } else { receive() }
}

impl Source {
    /// The answer of `read`, which runs on one of the readers.
    fn call<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.ask(Arc::clone(&self.store), |store| read(&**store))
    }

    /// The same for a part of the store.
    fn ask<S: Send + 'static, T: Send + 'static>(
        &self,
        part: S,
        read: impl FnOnce(&S) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let health = &self.threads.health;
        health.check()?;
        let (sender, answer) = sync_channel(1);
        // Nobody may be waiting any more.
        let job = Box::new(move || drop(sender.send(read(&part))));
        if !self.threads.queue.push(job) {
            return Err(unavailable(format!("{WAITING} reads wait already")));
        }
        let answer = match wait(|| answer.recv_timeout(DEADLINE)) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Timeout) => Err(unavailable(format!("no answer within {DEADLINE:?}"))),
            Err(RecvTimeoutError::Disconnected) => Err(unavailable("a read of it failed inside".to_owned())),
        };
        health.note(&answer);
        answer
    }
}

fn unavailable(detail: String) -> StoreError {
    StoreError::Unavailable { url: "of the gateway".to_owned(), detail }
}

impl Store for Source {
    fn head(&self) -> Result<Option<BlockRef>, StoreError> {
        self.call(Store::head)
    }

    fn canonical_hash(&self, number: u64) -> Result<Option<B256>, StoreError> {
        self.call(move |store| store.canonical_hash(number))
    }

    fn block_number(&self, hash: &B256) -> Result<Option<u64>, StoreError> {
        let hash = *hash;
        self.call(move |store| store.block_number(&hash))
    }

    fn header(&self, hash: &B256) -> Result<Option<Header>, StoreError> {
        let hash = *hash;
        self.call(move |store| store.header(&hash))
    }

    fn body(&self, hash: &B256) -> Result<Option<Body>, StoreError> {
        let hash = *hash;
        self.call(move |store| store.body(&hash))
    }

    fn senders(&self, hash: &B256) -> Result<Option<Vec<Address>>, StoreError> {
        let hash = *hash;
        self.call(move |store| store.senders(&hash))
    }

    fn block(&self, hash: &B256) -> Result<Option<RecoveredBlock>, StoreError> {
        let hash = *hash;
        self.call(move |store| store.block(&hash))
    }

    fn total_difficulty(&self, hash: &B256) -> Result<Option<U256>, StoreError> {
        let hash = *hash;
        self.call(move |store| store.total_difficulty(&hash))
    }

    fn receipts(&self, hash: &B256) -> Result<Option<Receipts>, StoreError> {
        let hash = *hash;
        self.call(move |store| store.receipts(&hash))
    }

    fn transaction_location(&self, hash: &B256) -> Result<Option<TransactionLocation>, StoreError> {
        let hash = *hash;
        self.call(move |store| store.transaction_location(&hash))
    }

    fn account_at(&self, address: &Address, block: u64) -> Result<Option<Account>, StoreError> {
        let address = *address;
        self.call(move |store| store.account_at(&address, block))
    }

    fn storage_at(
        &self,
        address: &Address,
        incarnation: u64,
        slot: &U256,
        block: u64,
    ) -> Result<U256, StoreError> {
        let (address, slot) = (*address, *slot);
        self.call(move |store| store.storage_at(&address, incarnation, &slot, block))
    }

    fn accounts_at(&self, addresses: &[Address], block: u64) -> Result<Vec<Option<Account>>, StoreError> {
        let addresses = addresses.to_vec();
        self.call(move |store| store.accounts_at(&addresses, block))
    }

    fn slots_at(&self, slots: &[(Address, u64, U256)], block: u64) -> Result<Vec<U256>, StoreError> {
        let slots = slots.to_vec();
        self.call(move |store| store.slots_at(&slots, block))
    }

    fn has_storage(&self, address: &Address, incarnation: u64, block: u64) -> Result<bool, StoreError> {
        let address = *address;
        self.call(move |store| store.has_storage(&address, incarnation, block))
    }

    fn first_state(&self) -> Result<u64, StoreError> {
        self.call(Store::first_state)
    }

    fn base_accounts(&self, from: &B256, most: usize) -> Result<Vec<(B256, TrieAccount)>, StoreError> {
        let from = *from;
        self.call(move |store| store.base_accounts(&from, most))
    }

    fn base_slots(&self, account: &B256, from: &B256, most: usize) -> Result<Vec<(B256, U256)>, StoreError> {
        let (account, from) = (*account, *from);
        self.call(move |store| store.base_slots(&account, &from, most))
    }

    fn code(&self, hash: &B256) -> Result<Option<Bytes>, StoreError> {
        let hash = *hash;
        self.call(move |store| store.code(&hash))
    }

    fn state_at(&self, block: u64) -> Result<Box<dyn StateReader>, StoreError> {
        let state = self.call(move |store| store.state_at(block))?;
        Ok(Box::new(State { source: self.clone(), state: state.into() }))
    }

    fn changes(&self, block: u64) -> Result<StateChanges, StoreError> {
        self.call(move |store| store.changes(block))
    }

    fn diff(&self, block: u64) -> Result<StateDiff, StoreError> {
        self.call(move |store| store.diff(block))
    }

    fn trie_node(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let key = key.to_vec();
        self.call(move |store| store.trie_node(&key))
    }

    fn trie_nodes(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Bytes>>, StoreError> {
        let keys = keys.to_vec();
        self.call(move |store| store.trie_nodes(&keys))
    }

    fn trie_block(&self) -> Result<Option<BlockRef>, StoreError> {
        self.call(Store::trie_block)
    }

    fn meta(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        let key = key.to_owned();
        self.call(move |store| store.meta(&key))
    }

    fn commit(&self, commit: Commit) -> Result<(), StoreError> {
        // Refused by a store that is open for reading.
        wait(|| self.store.commit(commit))
    }

    fn write_fetched(&self, part: FetchedState) -> Result<(), StoreError> {
        wait(|| self.store.write_fetched(part))
    }

    fn sync(&self) -> Result<(), StoreError> {
        wait(|| self.store.sync())
    }

    fn for_each_account_version(
        &self,
        block: u64,
        mut from: Address,
        visit: &mut dyn FnMut(Address, Option<Account>) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        loop {
            let page = self.call(move |store| {
                let mut page = Vec::new();
                store.for_each_account_version(block, from, &mut |address, account| {
                    page.push((address, account));
                    until_full(page.len())
                })?;
                Ok(page)
            })?;
            let next = page.last().filter(|_| page.len() >= PAGE).and_then(|(last, _)| successor(last));
            for (address, account) in page {
                if visit(address, account).is_break() {
                    return Ok(());
                }
            }
            let Some(next) = next else { return Ok(()) };
            from = next;
        }
    }

    fn for_each_slot_version(
        &self,
        address: &Address,
        incarnation: u64,
        block: u64,
        mut from: U256,
        visit: &mut dyn FnMut(U256, U256) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let address = *address;
        loop {
            let page = self.call(move |store| {
                let mut page = Vec::new();
                store.for_each_slot_version(&address, incarnation, block, from, &mut |slot, value| {
                    page.push((slot, value));
                    until_full(page.len())
                })?;
                Ok(page)
            })?;
            let last = page.last().filter(|_| page.len() >= PAGE).map(|(last, _)| *last);
            for (slot, value) in page {
                if visit(slot, value).is_break() {
                    return Ok(());
                }
            }
            let Some(next) = last.and_then(|last| last.checked_add(U256::ONE)) else { return Ok(()) };
            from = next;
        }
    }

    fn stats(&self) -> Result<Vec<TableStats>, StoreError> {
        self.call(Store::stats)
    }

    fn reads_block(&self) -> bool {
        true
    }
}

fn until_full(length: usize) -> ControlFlow<()> {
    if length < PAGE { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
}

/// The address after this one; `None` after the last.
fn successor(address: &Address) -> Option<Address> {
    let number = U160::from_be_bytes(address.into_array()).checked_add(U160::ONE)?;
    Some(Address::from(number.to_be_bytes::<20>()))
}
