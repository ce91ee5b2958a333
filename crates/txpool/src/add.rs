//! Adding a transaction: the checks that need the sender's account, replacement, and room for it.

use crate::account::PoolAccount;
use crate::entry::{Entry, bumped};
use crate::pool::{cap_queue, enqueue, promote};
use crate::{AccountView, Event, Pool, PoolError, Submission, Validated};
use alloy_primitives::{Address, B256};
use std::sync::Arc;
use std::time::Duration;

/// A transaction that got in, and what that changed.
#[derive(Clone, Debug)]
pub struct Added {
    /// The transaction's hash.
    pub hash: B256,
    /// Whether it is executable on the head; queued otherwise.
    pub pending: bool,
    /// Whether it counts as local: such ones belong in the journal.
    pub local: bool,
    /// The transaction whose nonce it took.
    pub replaced: Option<B256>,
    /// Everything that happened, this transaction's own [`Event::Pending`] included.
    pub events: Vec<Event>,
}

impl Pool {
    /// Checks a transaction and adds it. `account` is the sender's on the pool's head (for a sender that the
    /// pool already tracks, what the heads said counts); `now` never runs backwards.
    ///
    /// # Errors
    /// The first rule that it breaks, or that there is no room. What that changed is in
    /// [`Pool::take_events`].
    pub fn add(
        &mut self,
        submission: Submission,
        account: AccountView,
        now: Duration,
    ) -> Result<Added, PoolError> {
        if self.contains(submission.transaction.tx_hash()) {
            return Err(PoolError::AlreadyKnown);
        }
        let validated = self.validator.validate(submission)?;
        self.add_validated(validated, account, now)
    }

    /// [`Pool::add`] for a transaction that a [`crate::Validator`] of this pool has checked.
    ///
    /// # Errors
    /// As [`Pool::add`].
    pub fn add_validated(
        &mut self,
        validated: Validated,
        account: AccountView,
        now: Duration,
    ) -> Result<Added, PoolError> {
        let Validated { mut entry, local } = validated;
        if self.contains(&entry.hash()) {
            return Err(PoolError::AlreadyKnown);
        }
        self.index.now = self.index.now.max(now);
        let view = self.accounts.get(&entry.sender()).map_or(account, |account| account.view);
        self.check_account(&entry, &view)?;
        self.check_authorities(&entry.authorities)?;
        if self.accounts.get(&entry.sender()).is_some_and(|account| account.is_blob != entry.is_blob) {
            return Err(PoolError::AlreadyReserved);
        }
        entry.seq = self.index.next_seq();
        let local = local || self.validator.is_local(&entry.sender());
        self.make_room(&entry, &view, local)?;
        let hash = entry.hash();
        let replaced = self.place(Arc::new(entry), view, local);
        self.enforce_limits();
        self.acknowledge(hash, replaced, local)
    }

    /// Whether nonce and balance allow the transaction on top of the pending ones of its kind.
    fn check_account(&self, entry: &Entry, view: &AccountView) -> Result<(), PoolError> {
        let nonce = entry.nonce;
        if nonce < view.nonce {
            return Err(PoolError::NonceTooLow { next: view.nonce, nonce });
        }
        let account = self.accounts.get(&entry.sender()).filter(|account| account.is_blob == entry.is_blob);
        let next = account.map_or(view.nonce, PoolAccount::next_nonce);
        if entry.is_blob && nonce > next {
            return Err(PoolError::NonceTooHigh { nonce, gap: next });
        }
        let (balance, cost) = (view.balance, entry.cost);
        if cost > balance {
            return Err(PoolError::InsufficientFunds { balance, cost });
        }
        let queued = account.map(PoolAccount::pending_cost).unwrap_or_default();
        let old = account.and_then(|account| account.pending_at(nonce));
        if let Some(old) = old {
            if queued.saturating_sub(old.cost).saturating_add(cost) > balance {
                let bump = cost.saturating_sub(old.cost);
                return Err(PoolError::ReplacementOverdraft { balance, queued, bump });
            }
        } else {
            if queued.saturating_add(cost) > balance {
                return Err(PoolError::Overdraft { balance, queued, cost });
            }
            let pooled = account.map_or(0, |account| account.pending().len());
            if entry.is_blob && pooled >= self.config.blob_account_slots {
                return Err(PoolError::AccountLimitExceeded { pooled });
            }
        }
        self.check_delegation(entry, view, account)
    }

    /// An account that has code, or for which code is about to be set, may have one transaction in flight:
    /// others could empty it, and what it stacked up would be worthless at once (EIP-7702).
    fn check_delegation(
        &self,
        entry: &Entry,
        view: &AccountView,
        account: Option<&PoolAccount>,
    ) -> Result<(), PoolError> {
        if !view.has_code && !self.index.authorises(&entry.sender()) {
            return Ok(());
        }
        match account.filter(|account| !account.pending().is_empty()) {
            None if entry.nonce == view.nonce => Ok(()),
            None => Err(PoolError::GappedFromDelegated),
            Some(account) if account.pending_at(entry.nonce).is_some() => Ok(()),
            Some(_) => Err(PoolError::InflightLimitReached),
        }
    }

    /// Code may be set only for accounts with one transaction in the pool at most, and none with blobs.
    fn check_authorities(&self, authorities: &[Address]) -> Result<(), PoolError> {
        let reserved = |account: &PoolAccount| account.is_blob || account.entries().nth(1).is_some();
        if authorities.iter().filter_map(|authority| self.accounts.get(authority)).any(reserved) {
            return Err(PoolError::AuthorityReserved);
        }
        Ok(())
    }

    /// Drops the cheapest remote transactions if the pool is full, provided that this one is better and that
    /// it could take its place.
    fn make_room(&mut self, entry: &Entry, view: &AccountView, local: bool) -> Result<(), PoolError> {
        let over = self.index.slots.saturating_add(entry.slots()).saturating_sub(self.config.total_slots());
        if entry.is_blob || over == 0 {
            return self.check_replacement(entry);
        }
        if !local && self.index.prices.underpriced(entry) {
            return Err(PoolError::Underpriced);
        }
        let (worst, enough) = self.index.prices.take_worst(over);
        let refused = if local || (enough && !(self.is_gapped(entry, view) && self.any_pending(&worst))) {
            self.check_replacement(entry)
        } else if enough {
            Err(PoolError::FutureReplacesPending)
        } else {
            Err(PoolError::PoolFull)
        };
        if refused.is_err() {
            for hash in &worst {
                if let Some(kept) = self.index.by_hash.get(hash) {
                    self.index.prices.insert(kept);
                }
            }
            return refused;
        }
        for hash in &worst {
            self.remove(hash, crate::DropReason::Underpriced);
        }
        Ok(())
    }

    /// Whether the transaction may take the place of the one with its nonce, if there is one.
    fn check_replacement(&self, entry: &Entry) -> Result<(), PoolError> {
        let Some(old) = self.accounts.get(&entry.sender()).and_then(|account| account.at(entry.nonce)) else {
            return Ok(());
        };
        if entry.is_blob {
            return check_blob_bump(entry, old, self.config.blob_price_bump);
        }
        if entry.outbids(old, self.config.price_bump) { Ok(()) } else { Err(PoolError::ReplaceUnderpriced) }
    }

    fn is_gapped(&self, entry: &Entry, view: &AccountView) -> bool {
        // Queued transactions never begin at the next nonce: they would have been promoted.
        entry.nonce > self.accounts.get(&entry.sender()).map_or(view.nonce, PoolAccount::next_nonce)
    }

    fn any_pending(&self, hashes: &[B256]) -> bool {
        hashes.iter().any(|hash| self.is_pending(hash))
    }

    /// Puts the transaction where it belongs and returns the one that it replaced.
    fn place(&mut self, entry: Arc<Entry>, view: AccountView, local: bool) -> Option<B256> {
        let sender = entry.sender();
        if local {
            self.make_local(sender);
        }
        let new = || PoolAccount::new(view, entry.is_blob, local);
        self.accounts.entry(sender).or_insert_with(new);
        let account_queue = self.config.account_queue;
        self.edit(sender, |account, index| {
            index.insert(&entry, account.local);
            if let Some(old) = account.replace_pending(&entry) {
                let replaced = old.hash();
                index.drop(old, crate::DropReason::Replaced(entry.hash()));
                index.announce(&entry);
                account.beat = account.beat.map(|_| index.now);
                return Some(replaced);
            }
            let replaced = enqueue(account, index, entry);
            promote(account, index);
            cap_queue(account, index, account_queue);
            replaced
        })?
    }

    /// From its first local transaction on, an account is local.
    fn make_local(&mut self, address: Address) {
        if !self.validator.is_local(&address) {
            Arc::make_mut(&mut self.validator.locals).insert(address);
        }
        self.edit(address, |account, index| {
            if !std::mem::replace(&mut account.local, true) {
                account.entries().for_each(|entry| index.prices.remove(entry));
            }
        });
    }

    /// Reports the transaction as added, unless a limit took it out again at once.
    fn acknowledge(&mut self, hash: B256, replaced: Option<B256>, local: bool) -> Result<Added, PoolError> {
        if self.contains(&hash) {
            let pending = self.is_pending(&hash);
            return Ok(Added { hash, pending, local, replaced, events: self.take_events() });
        }
        // It was never acknowledged, so its coming and going is nobody's business.
        let mut error = PoolError::PoolFull;
        self.index.events.retain(|event| match event {
            Event::Pending(tx) => tx.hash != hash,
            Event::Dropped { transaction, reason } if transaction.hash == hash => {
                error = match reason {
                    crate::DropReason::AccountQueue => {
                        PoolError::AccountLimitExceeded { pooled: self.config.account_queue }
                    }
                    crate::DropReason::Underpriced => PoolError::Underpriced,
                    _ => PoolError::PoolFull,
                };
                false
            }
            Event::Dropped { .. } => true,
        });
        Err(error)
    }
}

/// All three fees of a blob transaction's replacement must be higher, and by `bump` percent.
fn check_blob_bump(entry: &Entry, old: &Entry, bump: u64) -> Result<(), PoolError> {
    let fees = [
        ("gas fee cap", entry.fee_cap, old.fee_cap),
        ("gas tip cap", entry.tip_cap, old.tip_cap),
        ("blob gas fee cap", entry.blob_fee_cap, old.blob_fee_cap),
    ];
    for (fee, new, old) in fees {
        if new <= old {
            return Err(PoolError::ReplaceBlobNotHigher { fee, new, old });
        }
    }
    for (fee, new, old) in fees {
        if new < bumped(old, bump) {
            return Err(PoolError::ReplaceBlobUnderpriced { fee, new, old, bump });
        }
    }
    Ok(())
}
