//! Blocks that broke a rule, so that they, and what is built on them, are not judged again.

use crate::error::ChainError;
use alloy_primitives::B256;
use parking_lot::Mutex;
use quintet_types::RecoveredBlock;
use std::collections::VecDeque;

/// Blocks that are remembered.
const REMEMBERED: usize = 128;
/// What geth says of a block on a bad one.
const LINKS_TO_BAD: &str = "links to previously rejected block";

/// The bad blocks met last, with the rule that each broke.
///
/// A hash vouches for a header, and by its roots for one body. So a block is remembered only for what every
/// block of its hash has: never for a body that is not the header's, for a clock, or for a failure of the node.
#[derive(Debug, Default)]
pub(crate) struct BadBlocks(Mutex<VecDeque<(B256, String)>>);

impl BadBlocks {
    /// Refuses a block that is known to be bad, or stands on one that is.
    pub(crate) fn check(&self, block: &RecoveredBlock) -> Result<(), ChainError> {
        let mut bad = self.0.lock();
        if bad.is_empty() {
            return Ok(());
        }
        let reason = if let Some(place) = bad.iter().position(|(hash, _)| *hash == block.hash) {
            let known = bad.remove(place);
            let reason = known.as_ref().map(|(_, reason)| reason.clone()).unwrap_or_default();
            bad.extend(known);
            reason
        } else if bad.iter().any(|(hash, _)| *hash == block.header().parent_hash) {
            push(&mut bad, block.hash, LINKS_TO_BAD.to_owned());
            LINKS_TO_BAD.to_owned()
        } else {
            return Ok(());
        };
        Err(ChainError::InvalidBlock { number: block.header().number, hash: block.hash, reason })
    }

    /// Remembers the block if `outcome` says that it broke a rule.
    pub(crate) fn learn<T>(&self, outcome: Result<T, ChainError>) -> Result<T, ChainError> {
        if let Err(ChainError::InvalidBlock { hash, reason, .. }) = &outcome {
            let mut bad = self.0.lock();
            if bad.iter().all(|(known, _)| known != hash) {
                push(&mut bad, *hash, reason.clone());
            }
        }
        outcome
    }
}

fn push(bad: &mut VecDeque<(B256, String)>, hash: B256, reason: String) {
    if bad.len() == REMEMBERED {
        bad.pop_front();
    }
    bad.push_back((hash, reason));
}

#[cfg(test)]
mod tests {
    use super::*;
    use quintet_types::{Block, Header};

    fn block(hash: u64, parent: u64) -> RecoveredBlock {
        let word = |n: u64| B256::from(alloy_primitives::U256::from(n));
        let header = Header { parent_hash: word(parent), number: hash, ..Header::default() };
        let block = Block { header, body: quintet_types::Body::default() };
        RecoveredBlock { hash: word(hash), block, senders: Vec::new() }
    }

    fn broke(block: &RecoveredBlock, reason: &str) -> Result<(), ChainError> {
        let (number, hash) = (block.header().number, block.hash);
        Err(ChainError::InvalidBlock { number, hash, reason: reason.to_owned() })
    }

    #[test]
    fn a_bad_block_and_its_descendants_are_refused() {
        let bad = BadBlocks::default();
        bad.check(&block(2, 1)).unwrap();
        bad.learn(broke(&block(2, 1), "a rule")).unwrap_err();
        assert!(bad.check(&block(2, 1)).unwrap_err().to_string().ends_with(": a rule"));
        for number in 3..9 {
            let refused = bad.check(&block(number, number - 1)).unwrap_err().to_string();
            assert!(refused.ends_with(LINKS_TO_BAD), "{refused}");
        }
        bad.check(&block(20, 1)).unwrap();
    }

    #[test]
    fn failures_of_the_node_are_not_the_blocks() {
        let bad = BadBlocks::default();
        bad.learn::<()>(Err(ChainError::NotFound("head"))).unwrap_err();
        assert!(bad.0.lock().is_empty());
    }

    #[test]
    fn only_the_latest_are_remembered() {
        let bad = BadBlocks::default();
        for number in 1..=2 * REMEMBERED as u64 {
            bad.learn(broke(&block(number, 100_000), "a rule")).unwrap_err();
        }
        assert_eq!(bad.0.lock().len(), REMEMBERED);
        bad.check(&block(1, 100_000)).unwrap();
    }
}
