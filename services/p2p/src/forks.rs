//! Whether a peer's fork id (EIP-2124, EIP-6122) may be one of our chain.
//!
//! `chain` says its own fork id with its status, which tells how far the head has come; where the forks are comes from the
//! network's configuration.

use alloy_eip2124::{ForkFilter, ForkFilterKey, ForkHash, ForkId, Head, ValidationError};
use alloy_primitives::B256;
use quintet_chain_api::LinkStatus;
use quintet_chainspec::ChainSpec;

/// Forks that a network has at most; more would be a fault.
const MOST_FORKS: usize = 256;

/// A network's forks, in order.
#[derive(Clone, Debug)]
pub(crate) struct ForkRules {
    genesis: B256,
    genesis_timestamp: u64,
    forks: Vec<ForkFilterKey>,
}

impl ForkRules {
    /// The forks of a network. Its genesis hash is given: the configuration may lack the accounts to compute it from.
    pub(crate) fn new(spec: &ChainSpec, genesis: B256) -> Self {
        let genesis_timestamp = spec.genesis_header().timestamp;
        let mut forks = Vec::new();
        let mut head = quintet_chainspec::Head { number: 0, timestamp: genesis_timestamp };
        while forks.len() < MOST_FORKS {
            let next = spec.fork_id(head).next;
            if next == 0 {
                break;
            }
            // The next fork is by block if a block passes it, and by time otherwise.
            let by_block = quintet_chainspec::Head { number: next, ..head };
            if spec.fork_id(by_block).next == next {
                head.timestamp = next;
                forks.push(ForkFilterKey::Time(next));
            } else {
                head = by_block;
                forks.push(ForkFilterKey::Block(next));
            }
        }
        Self { genesis, genesis_timestamp, forks }
    }

    /// The genesis block whose network it is.
    pub(crate) const fn genesis(&self) -> B256 {
        self.genesis
    }

    /// Whether a peer may be on the chain that `local` speaks of.
    pub(crate) fn check(&self, local: &LinkStatus, remote: ForkId) -> Result<(), ValidationError> {
        let ours = ForkId { hash: ForkHash(local.fork_hash), next: local.fork_next };
        match self.filter(local, ours) {
            Some(filter) => filter.validate(remote),
            // The configuration is not the one that the status was made with: `chain` will judge.
            None => Ok(()),
        }
    }

    /// The filter at the head. Its time is not told, but the fork id shows which of the forks by time have passed.
    fn filter(&self, local: &LinkStatus, ours: ForkId) -> Option<ForkFilter> {
        let times = self.forks.iter().filter_map(|fork| match fork {
            ForkFilterKey::Time(time) => Some(*time),
            ForkFilterKey::Block(_) => None,
        });
        std::iter::once(self.genesis_timestamp).chain(times).find_map(|timestamp| {
            let head = Head { number: local.head.number, timestamp, ..Head::default() };
            let filter =
                ForkFilter::new(head, self.genesis, self.genesis_timestamp, self.forks.iter().copied());
            (filter.current() == ours).then_some(filter)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::ForkRules;
    use alloy_eip2124::{ForkHash, ForkId};
    use alloy_primitives::{B256, U256};
    use quintet_chain_api::LinkStatus;
    use quintet_chainspec::{ChainSpec, Head};
    use quintet_types::BlockRef;

    fn status(spec: &ChainSpec, head: Head) -> LinkStatus {
        let fork = spec.fork_id(head);
        LinkStatus {
            network_id: 1,
            genesis: spec.genesis_hash(),
            head: BlockRef { number: head.number, hash: B256::ZERO },
            total_difficulty: U256::ZERO,
            fork_hash: fork.hash.0,
            fork_next: fork.next,
            earliest_block: 0,
            identity: 0,
        }
    }

    /// Cases of EIP-2124 and EIP-6122 on the main network: our head, and what a peer says.
    #[test]
    fn peers_of_the_main_network_are_judged_at_its_forks() {
        let spec = ChainSpec::preset("mainnet").expect("a preset");
        // The configuration alone, as `chain` gives it.
        let rules = ForkRules::new(&spec, spec.genesis_hash());
        let petersburg = Head { number: 7_987_396, timestamp: 1_561_104_000 };
        let shanghai = Head { number: 20_000_000, timestamp: 1_700_000_000 };
        for (head, hash, next, fits) in [
            (petersburg, 0x668d_b0af_u32, 0, true),
            (petersburg, 0x668d_b0af, u64::MAX, true),
            (petersburg, 0xa00b_c324, 7_280_000, true),
            (petersburg, 0xa00b_c324, 0, false),
            (petersburg, 0x5cdd_d2e3, 0, false),
            (petersburg, 0xafec_6b27, 0, false),
            (shanghai, 0xdce9_6c2d, 1_710_338_135, true),
            (shanghai, 0xdce9_6c2d, 0, true),
            (shanghai, 0x9f3d_2254, 1_710_338_135, true),
            (shanghai, 0xf0af_d0e3, 0, false),
            (shanghai, 0x1234_5678, 0, false),
        ] {
            let remote = ForkId { hash: ForkHash(hash.to_be_bytes()), next };
            let expected = spec.validate_fork_id(remote, head).is_ok();
            let judged = rules.check(&status(&spec, head), remote).is_ok();
            assert_eq!((judged, expected), (fits, fits), "{hash:#x} {next}");
        }
    }

    #[test]
    fn the_forks_come_from_the_configuration_alone() {
        let spec = ChainSpec::preset("mainnet").expect("a preset");
        let rules = ForkRules::new(&spec, spec.genesis_hash());
        for head in [
            Head { number: 0, timestamp: 0 },
            Head { number: 12_965_000, timestamp: 1_628_166_822 },
            Head { number: 30_000_000, timestamp: 4_000_000_000 },
        ] {
            let local = status(&spec, head);
            assert!(rules.filter(&local, spec.fork_id(head)).is_some(), "{head:?}");
            assert!(rules.check(&local, spec.fork_id(head)).is_ok());
        }
        // A fork id that is not in the configuration is for `chain` to judge.
        let strange = LinkStatus { fork_hash: [9; 4], ..status(&spec, Head::default()) };
        assert!(rules.check(&strange, ForkId { hash: ForkHash([8; 4]), next: 0 }).is_ok());
    }
}
