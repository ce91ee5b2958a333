//! Fork identifiers (EIP-2124, and EIP-6122 for forks by time): which chain a node is on, in eight bytes.

use crate::config::schedule;
use crate::{Activation, ChainSpec, ForkId, ValidationError};
use alloy_eip2124::{ForkFilter, ForkFilterKey};

/// A chain's head, as fork ids see it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Its number.
    pub number: u64,
    /// Its timestamp, Unix seconds.
    pub timestamp: u64,
}

impl ChainSpec {
    /// The fork id at a head: the checksum of genesis and every fork passed, and the next fork, or zero.
    pub fn fork_id(&self, head: Head) -> ForkId {
        self.fork_filter(head).current()
    }

    /// Whether a peer with this fork id may be on our chain, our head being `head`.
    ///
    /// # Errors
    /// [`ValidationError::RemoteStale`] when the peer must update, and
    /// [`ValidationError::LocalIncompatibleOrStale`] when we must, or when it is on another chain.
    pub fn validate_fork_id(&self, remote: ForkId, head: Head) -> Result<(), ValidationError> {
        self.fork_filter(head).validate(remote)
    }

    /// The filter behind both, for a caller that follows a moving head. It leaves out forks at genesis.
    pub fn fork_filter(&self, head: Head) -> ForkFilter {
        let forks = schedule(self.config()).into_iter().chain(self.classic().schedule());
        let forks = forks.filter_map(|fork| fork.at).map(|at| match at {
            Activation::Block(number) => ForkFilterKey::Block(number),
            Activation::Time(time) => ForkFilterKey::Time(time),
        });
        let head =
            alloy_eip2124::Head { number: head.number, timestamp: head.timestamp, ..Default::default() };
        ForkFilter::new(head, self.genesis_hash(), self.genesis_header().timestamp, forks)
    }
}
