//! The pool's best transactions, in the order in which a block takes them.

use crate::Pool;
use crate::account::PendingList;
use crate::entry::Entry;
use quintet_types::PoolTransaction;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

impl Pool {
    /// The pending transactions that a block with these fees (wei per gas, wei per blob gas) can take and
    /// that pay at least `min_tip` per gas (local ones may pay less): highest tip first, then first come,
    /// each account's by nonce. The iterator is a snapshot, made without copying transactions; it does not
    /// hold the pool.
    pub fn best_transactions(&self, base_fee: u64, min_tip: u128, blob_base_fee: u128) -> BestTransactions {
        let mut best = BestTransactions {
            base_fee,
            blob_base_fee,
            accounts: Vec::with_capacity(self.accounts.len()),
            heads: BinaryHeap::with_capacity(self.accounts.len()),
            current: None,
        };
        for account in self.accounts.values().filter(|account| !account.pending().is_empty()) {
            let min_tip = if account.local { 0 } else { min_tip };
            best.accounts.push(Account { pending: Arc::clone(account.pending()), position: 0, min_tip });
            best.push_head(best.accounts.len().saturating_sub(1));
        }
        best
    }
}

/// Iterator over [`Pool::best_transactions`].
#[derive(Debug)]
pub struct BestTransactions {
    base_fee: u64,
    blob_base_fee: u128,
    accounts: Vec<Account>,
    heads: BinaryHeap<Head>,
    /// The account of the transaction last returned, whose next one is not among the heads yet.
    current: Option<usize>,
}

#[derive(Debug)]
struct Account {
    pending: PendingList,
    position: usize,
    min_tip: u128,
}

/// An account's next transaction: the tip it pays, its order of arrival, the account.
type Head = (u128, Reverse<u64>, usize);

impl BestTransactions {
    /// Leaves out the other transactions of the account whose transaction was returned last: it could not be
    /// executed, so they cannot either.
    pub const fn skip_account(&mut self) {
        self.current = None;
    }

    fn push_head(&mut self, index: usize) {
        let Some(account) = self.accounts.get(index) else { return };
        let Some(entry) = account.pending.get(account.position) else { return };
        if let Some(tip) = self.tip(entry).filter(|tip| *tip >= account.min_tip) {
            self.heads.push((tip, Reverse(entry.seq), index));
        }
    }

    /// What the transaction pays per gas above the base fee; `None` if it cannot be in the block.
    fn tip(&self, entry: &Entry) -> Option<u128> {
        if entry.is_blob && entry.blob_fee_cap < self.blob_base_fee {
            return None;
        }
        Some(entry.fee_cap.checked_sub(self.base_fee.into())?.min(entry.tip_cap))
    }
}

impl Iterator for BestTransactions {
    type Item = Arc<PoolTransaction>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(index) = self.current.take() {
            self.push_head(index);
        }
        let (_, _, index) = self.heads.pop()?;
        let account = self.accounts.get_mut(index)?;
        let entry = account.pending.get(account.position)?;
        account.position = account.position.saturating_add(1);
        self.current = Some(index);
        Some(Arc::clone(&entry.tx))
    }
}
