//! The transaction pool of the running chain: the rules of `quintet_txpool` on the current head, with the
//! durable journal before and the event bus behind.

use crate::chain::Head;
use crate::config::Config;
use crate::error::ChainError;
use crate::journal::Journal;
use crate::stage::timed;
use alloy_consensus::transaction::SignerRecoverable;
use alloy_consensus::{Signed, TxEip4844Variant, TxEip4844WithSidecar, TxEnvelope};
use alloy_primitives::{Address, B256, map::HashSet};
use parking_lot::{Mutex, MutexGuard};
use quintet_chainspec::{ChainSpec, Fork};
use quintet_consensus::fork_of;
use quintet_service::propagation;
use quintet_store::Store;
use quintet_txpool::{
    AccountView, BestTransactions, Content, Event, HeadInfo, HeadUpdate, Origin, Pool, PoolError, Rules,
    Status, Submission, TxStatus, decode_transaction, journal, kzg_settings,
};
use quintet_types::{
    Account, ExecutedBlock, PoolEvent, PoolTransaction, RecoveredBlock, TraceContext, Transaction,
};
use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{broadcast, mpsc};
use tracing::Instrument;

/// Pool events that may wait for the bus. They are hints: beyond that they are dropped.
const EVENT_QUEUE: usize = 16_384;
/// Transactions that may wait to be sent on to peers. Beyond that the oldest are not sent on.
const RELAY_QUEUE: usize = 8192;

/// Times that an account is read without the pool's lock, where heads follow each other quickly.
const UNLOCKED_READS: usize = 3;

/// The pool on the current head.
pub struct TransactionPool {
    store: Arc<dyn Store>,
    state: Mutex<State>,
    journal: std::sync::OnceLock<Journal>,
    journal_path: Option<PathBuf>,
    events: mpsc::Sender<PoolEvent>,
    /// What becomes executable, for who sends it on to peers.
    relay: broadcast::Sender<Arc<PoolTransaction>>,
    /// Taken by the task that publishes them.
    outbox: Mutex<Option<mpsc::Receiver<PoolEvent>>>,
    epoch: Instant,
    /// Where the versions begin: whoever holds one from before a restart must not take it for one of these.
    first_version: u64,
}

struct State {
    pool: Pool,
    /// Number of the block whose state the pool's accounts are read at.
    number: u64,
}

impl TransactionPool {
    /// The pool with what its journal holds, on `head`.
    ///
    /// # Errors
    /// When the journal cannot be read or is damaged.
    pub fn open(
        config: &Config,
        spec: &ChainSpec,
        store: Arc<dyn Store>,
        head: &Head,
    ) -> Result<Arc<Self>, ChainError> {
        let (events, outbox) = mpsc::channel(EVENT_QUEUE);
        let state =
            State { pool: Pool::new(config.pool.clone(), head_info(spec, head)), number: head.block.number };
        let pool = Arc::new(Self {
            store,
            state: Mutex::new(state),
            journal: std::sync::OnceLock::new(),
            journal_path: config.journal.clone(),
            events,
            relay: broadcast::Sender::new(RELAY_QUEUE),
            outbox: Mutex::new(Some(outbox)),
            epoch: Instant::now(),
            first_version: RandomState::new().hash_one(head.block.hash),
        });
        if let Some(path) = &pool.journal_path {
            pool.reload(Journal::read(path)?);
            let weak = Arc::downgrade(&pool);
            let contents = move || weak.upgrade().map(|pool| pool.encode_all()).unwrap_or_default();
            let journal = Journal::open(path.clone(), Box::new(contents))?;
            let _ = pool.journal.set(journal);
        }
        Ok(pool)
    }

    /// Adds journaled transactions again. Those that were mined, or are no longer valid, fall away.
    fn reload(&self, entries: Vec<journal::Entry>) {
        let total = entries.len();
        let mut kept = 0;
        for journal::Entry { local, transaction } in entries {
            let Ok(sender) = transaction.recover_signer() else { continue };
            let origin = if local { Origin::Local } else { Origin::Remote };
            let submission = Submission { transaction, sender, origin, trace: TraceContext::default() };
            kept += usize::from(self.insert(submission).is_ok());
        }
        if total > 0 {
            tracing::info!(transactions = total, dropped = total - kept, "Loaded local transaction journal");
        }
    }

    fn encode_all(&self) -> Vec<u8> {
        let transactions: Vec<(Arc<PoolTransaction>, bool)> = {
            let state = self.state.lock();
            let Content { pending, queued } = state.pool.content();
            let all = pending.into_values().chain(queued.into_values()).flatten();
            all.map(|transaction| (Arc::clone(&transaction), state.pool.is_local(&transaction.sender)))
                .collect()
        };
        transactions.iter().flat_map(|(tx, local)| journal::encode(&tx.transaction, *local)).collect()
    }

    /// Decodes, checks and adds a transaction; returns its hash once it is in the journal. The sender is
    /// recovered, and blobs are verified, on the calling thread's time.
    ///
    /// # Errors
    /// geth's reason when it is refused.
    #[tracing::instrument(name = "pool add", skip_all, fields(hash = tracing::field::Empty))]
    pub async fn send(
        self: &Arc<Self>,
        raw: &[u8],
        origin: Origin,
        allow_unprotected: bool,
    ) -> Result<B256, ChainError> {
        let transaction = decode_transaction(raw)?;
        let hash = *transaction.tx_hash();
        tracing::Span::current().record("hash", tracing::field::display(hash));
        if !allow_unprotected {
            quintet_txpool::replay_protected_only(&transaction)?;
        }
        let sender = transaction.recover_signer().map_err(|_| PoolError::InvalidSender)?;
        let heavy = transaction.is_eip4844();
        let transaction = if heavy && origin == Origin::Local && self.rules().osaka {
            tokio::task::spawn_blocking(move || with_cell_proofs(transaction)).await?
        } else {
            transaction
        };
        let record = self.journal.get().map(|_| journal::encode(&transaction, origin == Origin::Local));
        let trace = propagation::current_trace();
        let submission = Submission { transaction, sender, origin, trace };
        let events = if heavy {
            let pool = Arc::clone(self);
            tokio::task::spawn_blocking(move || pool.insert(submission)).await??
        } else {
            self.insert(submission)?
        };
        if let (Some(journal), Some(record)) = (self.journal.get(), record) {
            journal.append(record).instrument(tracing::info_span!("journal append")).await?;
        }
        self.emit(events);
        Ok(hash)
    }

    fn insert(&self, submission: Submission) -> Result<Vec<Event>, ChainError> {
        let now = self.epoch.elapsed();
        let sender = submission.sender;
        // Proofs of blobs take milliseconds: they are checked before the pool is locked.
        let validator = self.state.lock().pool.validator();
        let validated = validator.validate(submission)?;
        let (mut state, account) = self.with_account(&sender)?;
        let added = state.pool.add_validated(validated, AccountView::from(account.as_ref()), now);
        match added {
            Ok(added) => Ok(added.events),
            Err(error) => {
                let events = state.pool.take_events();
                drop(state);
                self.emit(events);
                Err(error.into())
            }
        }
    }

    /// The pool, locked, and an account at its block. The store may be behind a network: it is asked before the pool
    /// is locked, and again if the pool has moved on meanwhile.
    fn with_account(
        &self,
        address: &Address,
    ) -> Result<(MutexGuard<'_, State>, Option<Account>), ChainError> {
        let mut number = self.state.lock().number;
        for _ in 0..UNLOCKED_READS {
            let account = self.store.account_at(address, number)?;
            let state = self.state.lock();
            if state.number == number {
                return Ok((state, account));
            }
            number = state.number;
        }
        let state = self.state.lock();
        let account = self.store.account_at(address, state.number)?;
        Ok((state, account))
    }

    /// Tells the rest of the node what became of transactions.
    fn emit(&self, events: Vec<Event>) {
        for event in events {
            match event {
                Event::Pending(transaction) => {
                    // It fails when nobody listens.
                    let _ = self.relay.send(Arc::clone(&transaction));
                    if self.events.try_send(PoolEvent::Pending(transaction)).is_err() {
                        metrics::counter!("quintet_chain_pool_events_dropped_total").increment(1);
                    }
                }
                Event::Dropped { transaction, reason } => {
                    tracing::debug!(hash = %transaction.hash, %reason, "transaction left the pool");
                }
            }
        }
        let Status { pending, queued } = self.status();
        metrics::gauge!("quintet_chain_pool_transactions", "state" => "pending").set(pending as f64);
        metrics::gauge!("quintet_chain_pool_transactions", "state" => "queued").set(queued as f64);
    }

    /// What becomes executable from now on.
    pub(crate) fn subscribe_pending(&self) -> broadcast::Receiver<Arc<PoolTransaction>> {
        self.relay.subscribe()
    }

    /// Adds transactions that a peer sent, in order; says of each what became of it. They are not journaled: nobody was
    /// promised anything, and the peers still have them after a crash. Blocking, since senders are recovered and blobs
    /// are verified here.
    pub(crate) fn add_remote(&self, transactions: Vec<TxEnvelope>) -> Vec<Result<(), ChainError>> {
        let trace = propagation::current_trace();
        let mut events = Vec::new();
        let add = |transaction: TxEnvelope| {
            if self.get(transaction.tx_hash()).is_some() {
                return Err(PoolError::AlreadyKnown.into());
            }
            let sender = transaction.recover_signer().map_err(|_| PoolError::InvalidSender)?;
            let submission = Submission { transaction, sender, origin: Origin::Remote, trace: trace.clone() };
            events.extend(self.insert(submission)?);
            Ok(())
        };
        let outcomes = transactions.into_iter().map(add).collect();
        self.emit(events);
        outcomes
    }

    /// The pool's events, for the one task that publishes them.
    pub(crate) fn take_outbox(&self) -> Option<mpsc::Receiver<PoolEvent>> {
        self.outbox.lock().take()
    }

    /// Moves the pool to a new head, which is the child of the last one.
    pub(crate) fn advance(&self, spec: &ChainSpec, head: &Head, added: &ExecutedBlock) {
        timed("pool_reset", &tracing::info_span!("pool reset"), || self.advance_to(spec, head, added));
    }

    fn advance_to(&self, spec: &ChainSpec, head: &Head, added: &ExecutedBlock) {
        let state = self.state.lock();
        let accounts = added.diff.accounts.iter().filter(|(address, _)| state.pool.tracks(address));
        let changed =
            accounts.map(|(address, change)| (*address, AccountView::from(change.after.as_ref()))).collect();
        let mined = hashes(std::slice::from_ref(added)).collect();
        self.set_head(state, spec, head, changed, mined, Vec::new());
    }

    /// Moves the pool to a head anywhere. `added` are blocks that became canonical, `reinject` transactions that
    /// are not canonical any more; both oldest first. What the pool knows of accounts is read again.
    pub(crate) fn reset(
        &self,
        spec: &ChainSpec,
        head: &Head,
        added: &[ExecutedBlock],
        reinject: Vec<(Transaction, Address)>,
    ) {
        timed("pool_reset", &tracing::info_span!("pool reset"), || {
            self.reset_to(spec, head, added, reinject);
        });
    }

    fn reset_to(
        &self,
        spec: &ChainSpec,
        head: &Head,
        added: &[ExecutedBlock],
        mut reinject: Vec<(Transaction, Address)>,
    ) {
        let state = self.state.lock();
        let mut senders: HashSet<Address> = state.pool.senders().copied().collect();
        let mut mined = Vec::new();
        if !senders.is_empty() || !reinject.is_empty() {
            mined.extend(hashes(added));
            let included: HashSet<B256> = mined.iter().copied().collect();
            reinject.retain(|(transaction, _)| !included.contains(transaction.tx_hash()));
            senders.extend(reinject.iter().map(|(_, sender)| *sender));
        }
        let changed = self.views(senders.into_iter().collect(), head.block.number);
        self.set_head(state, spec, head, changed, mined, reinject);
    }

    /// Accounts after block `number`.
    fn views(&self, addresses: Vec<Address>, number: u64) -> Vec<(Address, AccountView)> {
        if addresses.is_empty() {
            return Vec::new();
        }
        let accounts = self.store.accounts_at(&addresses, number).unwrap_or_else(|error| {
            // The pool would offer what cannot run; building a block finds out.
            tracing::warn!(%error, "the pool's accounts were not read at the new head");
            Vec::new()
        });
        let view =
            |(address, account): (Address, Option<Account>)| (address, AccountView::from(account.as_ref()));
        addresses.into_iter().zip(accounts).map(view).collect()
    }

    fn set_head(
        &self,
        mut state: MutexGuard<'_, State>,
        spec: &ChainSpec,
        head: &Head,
        changed: Vec<(Address, AccountView)>,
        mined: Vec<B256>,
        reinject: Vec<(Transaction, Address)>,
    ) {
        state.number = head.block.number;
        let update = HeadUpdate { head: head_info(spec, head), changed, mined, reinject };
        let events = state.pool.set_head(update, self.epoch.elapsed());
        drop(state);
        self.emit(events);
    }

    /// Drops what has waited too long. Call it about once a minute.
    pub fn tick(&self) {
        let events = self.state.lock().pool.tick(self.epoch.elapsed());
        self.emit(events);
    }

    /// Sets the least tip per gas, in wei, and drops remote transactions below it.
    pub fn set_minimum_tip(&self, tip: u128) {
        let events = self.state.lock().pool.set_min_tip(tip);
        self.emit(events);
    }

    /// Executable transactions, the best first.
    pub fn best(&self, base_fee: u64, minimum_tip: u128, blob_base_fee: u128) -> BestTransactions {
        self.state.lock().pool.best_transactions(base_fee, minimum_tip, blob_base_fee)
    }

    /// A number that changes with the executable transactions, and from one start of the process to the next.
    pub fn version(&self) -> u64 {
        self.state.lock().pool.version().wrapping_add(self.first_version)
    }

    /// One transaction, and whether it is executable.
    pub fn get(&self, hash: &B256) -> Option<(Arc<PoolTransaction>, bool)> {
        let state = self.state.lock();
        let pending = state.pool.tx_status(hash) == Some(TxStatus::Pending);
        state.pool.get(hash).map(|transaction| (transaction, pending))
    }

    /// All transactions.
    pub fn content(&self) -> Content {
        self.state.lock().pool.content()
    }

    /// One account's executable and queued transactions.
    pub fn content_from(&self, sender: &Address) -> (Vec<Arc<PoolTransaction>>, Vec<Arc<PoolTransaction>>) {
        self.state.lock().pool.content_from(sender)
    }

    /// The rules on the head.
    fn rules(&self) -> Rules {
        self.state.lock().pool.validator().rules()
    }

    /// Whether the next block may have blob transactions.
    pub(crate) fn takes_blobs(&self) -> bool {
        self.rules().cancun
    }

    /// Counts.
    pub fn status(&self) -> Status {
        self.state.lock().pool.status()
    }

    /// The account's next nonce, with its executable transactions counted.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn nonce(&self, address: &Address) -> Result<u64, ChainError> {
        if let Some(nonce) = self.state.lock().pool.pending_nonce(address) {
            return Ok(nonce);
        }
        let (state, account) = self.with_account(address)?;
        let pending = state.pool.pending_nonce(address);
        Ok(pending.unwrap_or_else(|| account.map_or(0, |account| account.nonce)))
    }

    /// The traces that brought a block's transactions, as far as the pool holds them.
    pub(crate) fn traces(&self, block: &RecoveredBlock, limit: usize) -> Vec<TraceContext> {
        let state = self.state.lock();
        let pooled = block.transactions().filter_map(|(tx, _)| state.pool.get(tx.tx_hash()));
        pooled.map(|tx| tx.trace.clone()).filter(|trace| !trace.0.is_empty()).take(limit).collect()
    }
}

fn hashes(blocks: &[ExecutedBlock]) -> impl Iterator<Item = B256> {
    blocks.iter().flat_map(|block| block.block.transactions()).map(|(transaction, _)| *transaction.tx_hash())
}

/// A user's blob transaction with the proofs of EIP-7594, computed where it came with those of EIP-4844: geth does
/// so for what comes by RPC, since not all wallets have moved. A sidecar that cannot be converted is left for
/// the pool to refuse.
fn with_cell_proofs(transaction: TxEnvelope) -> TxEnvelope {
    let TxEnvelope::Eip4844(signed) = transaction else { return transaction };
    let (variant, signature, hash) = signed.into_parts();
    let variant = match variant {
        TxEip4844Variant::TxEip4844WithSidecar(TxEip4844WithSidecar { tx, sidecar }) => {
            let sidecar = {
                let converted = sidecar.clone().try_convert_into_eip7594_with_settings(kzg_settings());
                converted.unwrap_or(sidecar)
            };
            TxEip4844Variant::TxEip4844WithSidecar(TxEip4844WithSidecar { tx, sidecar })
        }
        bare @ TxEip4844Variant::TxEip4844(_) => bare,
    };
    TxEnvelope::Eip4844(Signed::new_unchecked(variant, signature, hash))
}

/// What the pool needs to know of a head: the rules are those of the next block.
fn head_info(spec: &ChainSpec, head: &Head) -> HeadInfo {
    let header = &head.header;
    let fork = fork_of(spec, header);
    let blobs = spec.blob_params_at(header.timestamp);
    let blob_base_fee = blobs.zip(spec.next_excess_blob_gas(header, header.timestamp));
    let rules = Rules {
        chain_id: spec.chain_id(),
        homestead: fork >= Fork::Homestead,
        istanbul: fork >= Fork::Istanbul,
        berlin: fork >= Fork::Berlin,
        london: fork >= Fork::London,
        shanghai: fork >= Fork::Shanghai,
        cancun: fork >= Fork::Cancun,
        prague: fork >= Fork::Prague,
        osaka: fork >= Fork::Osaka,
        max_blobs_per_tx: blobs
            .map_or(0, |blobs| usize::try_from(blobs.max_blobs_per_tx).unwrap_or(usize::MAX)),
    };
    HeadInfo {
        number: header.number,
        timestamp: header.timestamp,
        base_fee: spec.next_base_fee(header).unwrap_or(0),
        blob_base_fee: blob_base_fee.map_or(0, |(blobs, excess)| blobs.calc_blob_fee(excess)),
        gas_limit: header.gas_limit,
        rules,
    }
}

/// How often queued transactions are looked over for their age.
pub(crate) const TICK: Duration = Duration::from_mins(1);
