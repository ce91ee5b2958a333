//! Which nodes' records are of our chain (EIP-2124): the filter of candidate streams.
//!
//! The rules need the chain's schedule of forks. With a [`ChainSpec`] they are applied in full; without one, what the
//! fork ids themselves prove is used: an equal checksum, or one that is a fork ahead or behind.

use alloy_eip2124::{ForkFilter, ForkHash, ForkId};
use quintet_chainspec::{ChainSpec, Head};

/// Forks that a schedule may have: a bound for the search.
const MOST_FORKS: usize = 256;

/// A check against one fork id of ours.
#[derive(Clone, Debug)]
pub struct ForkCheck {
    ours: ForkId,
    filter: Option<ForkFilter>,
}

impl ForkCheck {
    /// A check for a chain whose fork id is `ours`; `spec` is used if it has that fork id.
    pub fn new(ours: ForkId, spec: Option<&ChainSpec>) -> Self {
        let filter = spec.and_then(|spec| Some(spec.fork_filter(head_of(spec, ours.hash)?)));
        Self { ours, filter }
    }

    /// Whether a node with this fork id may be on our chain.
    pub fn allows(&self, theirs: ForkId) -> bool {
        if let Some(filter) = &self.filter {
            return filter.validate(theirs).is_ok();
        }
        let behind = theirs.next != 0 && after(theirs.hash, theirs.next) == self.ours.hash;
        let ahead = self.ours.next != 0 && after(self.ours.hash, self.ours.next) == theirs.hash;
        self.ours.hash == theirs.hash || behind || ahead
    }
}

/// The checksum once a fork has passed.
fn after(hash: ForkHash, fork: u64) -> ForkHash {
    let mut hasher = crc32fast::Hasher::new_with_initial(u32::from_be_bytes(hash.0));
    hasher.update(&fork.to_be_bytes());
    ForkHash(hasher.finalize().to_be_bytes())
}

/// The first head at which a chain has this checksum.
fn head_of(spec: &ChainSpec, hash: ForkHash) -> Option<Head> {
    let mut head = Head { number: 0, timestamp: spec.genesis_header().timestamp };
    for _ in 0..MOST_FORKS {
        let id = spec.fork_id(head);
        if id.hash == hash {
            return Some(head);
        }
        if id.next == 0 {
            return None;
        }
        // A fork id does not say whether its next fork is by block or by time.
        let by_block = Head { number: id.next, ..head };
        head = if spec.fork_id(by_block).hash == id.hash {
            Head { timestamp: id.next, ..head }
        } else {
            by_block
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{ForkCheck, ForkHash, ForkId, after};
    use quintet_chainspec::ChainSpec;

    const FRONTIER: ForkId = ForkId { hash: ForkHash([0xfc, 0x64, 0xec, 0x04]), next: 1_150_000 };
    const HOMESTEAD: ForkId = ForkId { hash: ForkHash([0x97, 0xc2, 0xc3, 0x4c]), next: 1_920_000 };
    const DAO: ForkId = ForkId { hash: ForkHash([0x91, 0xd1, 0xf9, 0x48]), next: 2_463_000 };
    const SHANGHAI: ForkId = ForkId { hash: ForkHash([0xdc, 0xe9, 0x6c, 0x2d]), next: 1_710_338_135 };
    const CANCUN: ForkHash = ForkHash([0x9f, 0x3d, 0x22, 0x54]);
    const SEPOLIA: ForkId = ForkId { hash: ForkHash([0xfe, 0x33, 0x66, 0xe7]), next: 1_735_371 };

    #[test]
    fn checksums_grow_by_forks() {
        assert_eq!(after(FRONTIER.hash, FRONTIER.next), HOMESTEAD.hash);
        assert_eq!(after(SHANGHAI.hash, SHANGHAI.next), CANCUN);
    }

    #[test]
    fn without_a_schedule_neighbouring_forks_are_let_through() {
        let check = ForkCheck::new(HOMESTEAD, None);
        assert!([FRONTIER, HOMESTEAD, DAO].iter().all(|id| check.allows(*id)));
        assert!(![SHANGHAI, SEPOLIA].iter().any(|id| check.allows(*id)));
    }

    #[test]
    fn with_a_schedule_all_forks_of_the_chain_are_let_through() {
        let mainnet = ChainSpec::preset("mainnet").expect("a preset");
        for ours in [FRONTIER, HOMESTEAD, SHANGHAI] {
            let check = ForkCheck::new(ours, Some(&mainnet));
            assert!(check.filter.is_some());
            assert!([FRONTIER, HOMESTEAD, DAO, SHANGHAI].iter().all(|id| check.allows(*id)), "{ours:?}");
            assert!(!check.allows(SEPOLIA));
        }
        // A node that has not heard of a fork that we have passed must update.
        let check = ForkCheck::new(DAO, Some(&mainnet));
        assert!(
            !check.allows(ForkId { next: 0, ..FRONTIER }) && !check.allows(ForkId { next: 7, ..HOMESTEAD })
        );
        // Another chain's schedule does not help.
        assert!(ForkCheck::new(SEPOLIA, Some(&mainnet)).filter.is_none());
    }
}
