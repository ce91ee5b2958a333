//! A new head: what it mined leaves, what it made unpayable leaves, what it made executable is promoted, and
//! what a reorg took out of the chain comes back.

use crate::account::PoolAccount;
use crate::blob::sidecar_version;
use crate::entry::Entry;
use crate::index::Index;
use crate::pool::{cap_queue, demote, enqueue, promote};
use crate::validate::MAX_TX_GAS;
use crate::{AccountView, DropReason, Event, HeadUpdate, Origin, Pool, Rules, Submission};
use alloy_consensus::TxEnvelope;
use alloy_primitives::Address;
use alloy_primitives::map::{AddressMap, AddressSet};
use quintet_types::{PoolTransaction, TraceContext, Transaction};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

impl Pool {
    /// Moves the pool to a new head. The work is in proportion to what changed, except when the rules
    /// change, the gas limit falls below what some transaction asks for, or the base fee moves (the order of
    /// eviction depends on it).
    pub fn set_head(&mut self, update: HeadUpdate, now: Duration) -> Vec<Event> {
        let HeadUpdate { head, changed, mined, reinject } = update;
        self.index.now = self.index.now.max(now);
        let old_rules = std::mem::replace(&mut self.validator.head, head).rules;
        self.index.limbo.advance(head.number);
        self.index.mined = mined.into_iter().collect();
        let views: AddressMap<AccountView> = changed.into_iter().collect();

        let mut touched = self.apply_views(&views);
        self.raise_mined_nonces(&views, &mut touched);
        for (transaction, sender) in reinject {
            if self.reinject(transaction, sender, views.get(&sender).copied()) {
                touched.insert(sender);
            }
        }
        if old_rules != head.rules {
            self.drop_forbidden(&head.rules);
        }
        let gas_fell = head.gas_limit < self.index.gas_cap;
        if gas_fell {
            touched.extend(self.accounts.keys().copied());
        }
        for address in touched {
            self.refresh(address);
        }
        if gas_fell {
            self.index.gas_cap = self.index.by_hash.values().map(|entry| entry.gas).max().unwrap_or(0);
        }
        self.index.mined.clear();
        self.reorder(head.base_fee);
        self.enforce_limits();
        self.take_events()
    }

    /// Records the new state of the accounts that the pool tracks, and returns those.
    fn apply_views(&mut self, views: &AddressMap<AccountView>) -> AddressSet {
        let mut touched = AddressSet::default();
        for (address, view) in views {
            if let Some(account) = self.accounts.get_mut(address) {
                account.view = *view;
                touched.insert(*address);
            }
        }
        touched
    }

    /// A mined transaction uses its nonce up, even should the caller not have listed its sender.
    fn raise_mined_nonces(&mut self, views: &AddressMap<AccountView>, touched: &mut AddressSet) {
        for entry in self.index.mined.iter().filter_map(|hash| self.index.by_hash.get(hash)) {
            let sender = entry.sender();
            if views.contains_key(&sender) {
                continue;
            }
            if let Some(account) = self.accounts.get_mut(&sender) {
                account.view.nonce = account.view.nonce.max(entry.nonce.saturating_add(1));
                touched.insert(sender);
            }
        }
    }

    /// Queues a transaction that a reorg took out of the chain, for the sender's refresh to promote. It was
    /// valid there, so only what the pool itself demands is checked. Says whether it was queued.
    fn reinject(&mut self, transaction: Transaction, sender: Address, view: Option<AccountView>) -> bool {
        if self.contains(transaction.tx_hash()) {
            return false;
        }
        let restored = match self.restore(transaction, sender) {
            Ok(entry) => entry,
            Err((tx, reason)) => {
                self.index.events.push(Event::Dropped { transaction: tx, reason });
                return false;
            }
        };
        let known = self.accounts.get(&sender);
        let refusal = match (view.or_else(|| known.map(|account| account.view)), known) {
            (None, _) => Some(DropReason::NonceTooLow),
            (Some(view), _) if restored.nonce < view.nonce => Some(DropReason::NonceTooLow),
            (_, Some(account)) if account.is_blob != restored.is_blob => Some(DropReason::AlreadyReserved),
            (_, Some(account)) => account
                .at(restored.nonce)
                .filter(|held| !restored.outbids(held, self.config.price_bump))
                .map(|held| DropReason::Replaced(held.hash())),
            (Some(_), None) => None,
        };
        if let Some(reason) = refusal {
            self.index.events.push(Event::Dropped { transaction: Arc::clone(&restored.tx), reason });
            return false;
        }
        let local = self.validator.is_local(&sender);
        let new = || PoolAccount::new(view.unwrap_or_default(), restored.is_blob, local);
        self.accounts.entry(sender).or_insert_with(new);
        self.edit(sender, |account, index| {
            index.insert(&restored, account.local);
            if let Some(old) = account.replace_pending(&restored) {
                index.drop(old, DropReason::Replaced(restored.hash()));
                index.announce(&restored);
            } else {
                enqueue(account, index, restored);
            }
        });
        true
    }

    /// The pooled form of a transaction from a block: one with blobs gets its sidecar back.
    fn restore(
        &mut self,
        transaction: Transaction,
        sender: Address,
    ) -> Result<Arc<Entry>, (Arc<PoolTransaction>, DropReason)> {
        let hash = *transaction.tx_hash();
        let transaction = TxEnvelope::from(transaction);
        if transaction.is_eip4844() {
            if let Some(entry) = self.index.limbo.take(&hash) {
                return Ok(entry);
            }
            let trace = TraceContext::default();
            let lost = Arc::new(PoolTransaction { hash, sender, transaction, trace });
            return Err((lost, DropReason::SidecarGone));
        }
        let submission =
            Submission { transaction, sender, origin: Origin::Remote, trace: TraceContext::default() };
        let mut entry = Entry::new(submission);
        entry.seq = self.index.next_seq();
        Ok(Arc::new(entry))
    }

    /// Drops what the rules now in force forbid (EIP-7825, EIP-7594).
    fn drop_forbidden(&mut self, rules: &Rules) {
        let reason = |entry: &Entry| {
            if rules.osaka && entry.gas > MAX_TX_GAS {
                return Some(DropReason::GasLimit);
            }
            let version = sidecar_version(entry.sidecar()?);
            (version != u8::from(rules.osaka)).then_some(DropReason::SidecarVersion)
        };
        let entries = self.index.by_hash.values();
        let forbidden: Vec<_> =
            entries.filter_map(|entry| reason(entry).map(|reason| (entry.hash(), reason))).collect();
        for (hash, reason) in forbidden {
            self.remove(&hash, reason);
        }
    }

    /// Brings one account's transactions in line with its state.
    fn refresh(&mut self, address: Address) {
        let (gas_limit, account_queue) = (self.validator.head.gas_limit, self.config.account_queue);
        self.edit(address, |account, index| {
            for entry in account.cut_stale() {
                let reason = index.stale_reason(&entry.hash());
                index.drop(entry, reason);
            }
            filter_pending(account, index, gas_limit);
            filter_queued(account, index, gas_limit);
            close_gap(account, index);
            promote(account, index);
            cap_queue(account, index, account_queue);
        });
    }

    fn reorder(&mut self, base_fee: u64) {
        if base_fee != self.index.prices.base_fee() {
            let remote = self.accounts.values().filter(|account| !account.local && !account.is_blob);
            let entries = remote.flat_map(PoolAccount::entries).map(|entry| &**entry);
            self.index.prices.rebuild(base_fee, entries);
        }
    }
}

/// Why the account's owner can no longer have the transaction mined, if so.
fn unpayable(account: &PoolAccount, entry: &Entry, gas_limit: u64) -> Option<DropReason> {
    if entry.cost > account.view.balance {
        return Some(DropReason::Unpayable);
    }
    (entry.gas > gas_limit).then_some(DropReason::GasLimit)
}

/// Drops pending transactions that cannot be paid for; those after the first such one are no longer
/// executable. What carries blobs must be covered all together, too.
fn filter_pending(account: &mut PoolAccount, index: &mut Index, gas_limit: u64) {
    let failing = account.pending().iter().find(|entry| unpayable(account, entry, gas_limit).is_some());
    if let Some(nonce) = failing.map(|entry| entry.nonce) {
        let mut kept = VecDeque::new();
        for entry in account.cut_pending(nonce) {
            match unpayable(account, &entry, gas_limit) {
                Some(reason) => index.drop(entry, reason),
                None => kept.push_back(entry),
            }
        }
        demote(account, index, kept);
    }
    while account.is_blob && account.pending_cost() > account.view.balance {
        let Some(entry) = account.pop_pending() else { return };
        index.drop(entry, DropReason::Unpayable);
    }
}

fn filter_queued(account: &mut PoolAccount, index: &mut Index, gas_limit: u64) {
    let failing = account
        .queued
        .values()
        .filter_map(|entry| unpayable(account, entry, gas_limit).map(|reason| (entry.nonce, reason)));
    for (nonce, reason) in failing.collect::<Vec<_>>() {
        if let Some(entry) = account.queued.remove(&nonce) {
            index.drop(entry, reason);
        }
    }
}

/// After a reorg the pending transactions may begin beyond the state's nonce: queued ones (what the reorg
/// gave back) fill the gap, or else none of them is executable any more.
fn close_gap(account: &mut PoolAccount, index: &mut Index) {
    let Some(first) = account.pending().front().map(|entry| entry.nonce) else { return };
    let gap = account.view.nonce..first;
    if gap.clone().all(|nonce| account.queued.contains_key(&nonce)) {
        for nonce in gap.rev() {
            if let Some(entry) = account.queued.remove(&nonce) {
                index.announce(&entry);
                account.push_pending_front(entry);
            }
        }
    } else {
        let stranded = account.cut_pending(first);
        demote(account, index, stranded);
    }
}
