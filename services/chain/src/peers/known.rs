//! What a peer is known to have: hashes of blocks or transactions, the oldest forgotten first. Nothing is sent to who
//! has it.

use alloy_primitives::B256;
use alloy_primitives::map::B256Set;
use std::collections::VecDeque;

/// Block hashes that are remembered of a peer, geth's `maxKnownBlocks`.
pub(crate) const KNOWN_BLOCKS: usize = 1024;
/// Transaction hashes that are remembered of a peer, geth's `maxKnownTxs`.
pub(crate) const KNOWN_TRANSACTIONS: usize = 32_768;

/// A set of hashes that holds the newest ones.
#[derive(Debug)]
pub(crate) struct KnownHashes {
    capacity: usize,
    hashes: B256Set,
    order: VecDeque<B256>,
}

impl KnownHashes {
    /// An empty set of at most `capacity` hashes.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity, hashes: B256Set::default(), order: VecDeque::new() }
    }

    /// Adds a hash; says whether it is new.
    pub(crate) fn insert(&mut self, hash: B256) -> bool {
        if !self.hashes.insert(hash) {
            return false;
        }
        self.order.push_back(hash);
        if self.order.len() > self.capacity
            && let Some(oldest) = self.order.pop_front()
        {
            self.hashes.remove(&oldest);
        }
        true
    }

    /// Whether it is there.
    pub(crate) fn contains(&self, hash: &B256) -> bool {
        self.hashes.contains(hash)
    }
}

#[cfg(test)]
mod tests {
    use super::KnownHashes;
    use alloy_primitives::{B256, U256};

    #[test]
    fn the_oldest_are_forgotten() {
        let hash = |n: u64| B256::from(U256::from(n));
        let mut known = KnownHashes::new(3);
        assert!((0..4).all(|n| known.insert(hash(n))));
        assert!(!known.insert(hash(3)) && !known.contains(&hash(0)));
        assert!((1..4).all(|n| known.contains(&hash(n))));
        assert_eq!(known.hashes.len(), known.order.len());
    }
}
