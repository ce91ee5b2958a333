//! What the clients were told. Nothing of it may ever become untrue.

use alloy_primitives::{B256, U256};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What a reader asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// A receiver's balance.
    Balance(usize),
    /// A sender's nonce.
    Nonce(usize),
    /// The contract's count, by a call.
    Count,
    /// The newest block.
    Head,
}

/// A read that was answered.
#[derive(Clone, Debug)]
pub(super) struct Read {
    pub(super) question: Question,
    pub(super) answer: U256,
    /// The block that it was answered at, says the answer.
    pub(super) block: u64,
    pub(super) url: String,
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// Acknowledged transactions by sender and index.
    pub(super) acknowledged: BTreeMap<(usize, u64), B256>,
    /// How many transactions of a sender are mined, as far as it knows.
    pub(super) mined: BTreeMap<usize, u64>,
    /// Blocks that subscribers were told of.
    pub(super) heads: BTreeMap<u64, B256>,
    pub(super) reads: Vec<Read>,
    /// Heads by replica.
    pub(super) told: BTreeMap<usize, u64>,
    errors: BTreeMap<String, u64>,
}

impl Ledger {
    /// How many transactions of each sender were acknowledged.
    pub(super) fn acknowledged_counts(&self) -> BTreeMap<usize, u64> {
        let mut counts = BTreeMap::new();
        for (sender, _) in self.acknowledged.keys() {
            *counts.entry(*sender).or_default() += 1;
        }
        counts
    }

    pub(super) fn see_head(&mut self, number: u64, hash: B256) {
        let seen = *self.heads.entry(number).or_insert(hash);
        assert_eq!(seen, hash, "block {number} is another than the one that was told before");
    }

    /// Keeps an error; what names addresses or numbers is one with others of its kind.
    pub(super) fn complain(&mut self, who: &str, error: &str) {
        assert!(!error.contains("panicked"), "{who}: {error}");
        let kind: String = error.chars().map(|c| if c.is_ascii_digit() { '#' } else { c }).collect();
        *self.errors.entry(format!("{who}: {kind}")).or_default() += 1;
    }

    pub(super) fn complaints(&self) -> String {
        let mut text = format!("{} errors", self.errors.values().sum::<u64>());
        for (error, times) in &self.errors {
            let _ = write!(text, "\n  {times} × {error}");
        }
        text
    }
}
