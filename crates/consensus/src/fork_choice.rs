//! Which of two chains is the canonical one.

use alloy_primitives::U256;
use quintet_types::Header;

/// What fork choice looks at: the newest block of a chain, and all its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weight {
    /// Sum of the difficulties up to and with the block.
    pub total_difficulty: U256,
    /// The block's number.
    pub number: u64,
    /// Whether proof of stake made the block.
    pub merged: bool,
}

impl Weight {
    /// The weight of the chain that ends with this header.
    pub fn new(header: &Header, total_difficulty: U256) -> Self {
        Self { total_difficulty, number: header.number, merged: header.difficulty.is_zero() }
    }
}

/// Whether `candidate` replaces `head`, which was there first.
///
/// Before the merge the most difficult chain wins, and of two equal ones the shorter, as in geth; a tie
/// goes to the chain that came first (geth lets a coin decide, which makes no two nodes agree more often). A
/// chain that passed the merge wins over one that did not (EIP-3675); after it there is no work to compare,
/// and without a consensus client to say otherwise the longer chain wins.
pub fn prefers(candidate: &Weight, head: &Weight) -> bool {
    match (candidate.merged, head.merged) {
        (true, false) => true,
        (false, true) => false,
        (true, true) => candidate.number > head.number,
        (false, false) if candidate.total_difficulty == head.total_difficulty => {
            candidate.number < head.number
        }
        (false, false) => candidate.total_difficulty > head.total_difficulty,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn weight(difficulty: u64, number: u64, merged: bool) -> Weight {
        Weight { total_difficulty: U256::from_limbs([difficulty, 0, 0, 0]), number, merged }
    }

    #[test]
    fn work_decides_before_the_merge() {
        assert!(prefers(&weight(2, 1, false), &weight(1, 9, false)));
        assert!(!prefers(&weight(1, 9, false), &weight(2, 1, false)));
        assert!(prefers(&weight(2, 1, false), &weight(2, 2, false)));
        assert!(!prefers(&weight(2, 1, false), &weight(2, 1, false)));
    }

    #[test]
    fn the_merge_beats_work_and_then_length_decides() {
        assert!(prefers(&weight(2, 3, true), &weight(9, 9, false)));
        assert!(!prefers(&weight(9, 9, false), &weight(2, 3, true)));
        assert!(prefers(&weight(2, 4, true), &weight(3, 3, true)));
        assert!(!prefers(&weight(2, 3, true), &weight(2, 3, true)));
    }
}
