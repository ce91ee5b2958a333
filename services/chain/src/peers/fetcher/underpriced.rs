//! Transactions that pay too little for the pool, which are not asked for again for a while.

use alloy_primitives::B256;
use alloy_primitives::map::B256Map;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How many are remembered (geth's `maxTxUnderpricedSetSize`).
pub(super) const MOST: usize = 32_768;
/// How long (geth's `maxTxUnderpricedTimeout`).
pub(super) const LIFETIME: Duration = Duration::from_mins(5);

#[derive(Debug, Default)]
pub(super) struct Underpriced {
    since: B256Map<Instant>,
    order: VecDeque<(Instant, B256)>,
}

impl Underpriced {
    pub(super) fn insert(&mut self, hash: B256, now: Instant) {
        self.since.insert(hash, now);
        self.order.push_back((now, hash));
        while self.order.len() > MOST || self.order.front().is_some_and(|(since, _)| now >= *since + LIFETIME)
        {
            let Some((since, hash)) = self.order.pop_front() else { break };
            // Unless it was found once more since.
            if self.since.get(&hash) == Some(&since) {
                self.since.remove(&hash);
            }
        }
    }

    /// How many are remembered.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.since.len()
    }

    pub(super) fn contains(&self, hash: &B256, now: Instant) -> bool {
        self.since.get(hash).is_some_and(|since| now < *since + LIFETIME)
    }
}
