//! Headers are checked before anybody is asked for their bodies, so that a chain that nobody worked for costs a few
//! requests and not a download.
//!
//! What a header can be held against by its parent alone is checked of every one. Seals are samples here, which the
//! sender cannot foresee: the import checks each of them, on all cores and ahead of execution. Whether a clique signer
//! may sign, too, is left to the import, whose snapshots would be pushed out of memory by those of headers far ahead.

use super::ancestor::SealedHeader;
use super::network::Fault;
use crate::chain::Chain;
use crate::error::ChainError;
use alloy_primitives::{B256, U256};
use parking_lot::Mutex;
use quintet_chainspec::Consensus as Kind;
use quintet_consensus::{ConsensusError, Parent};
use quintet_types::Header;
use std::collections::VecDeque;

/// Seals that are looked at of a segment, besides the last one's.
const SAMPLES: usize = 2;
/// Blocks that are remembered for being bad.
const REMEMBERED: usize = 128;

/// The last header that was checked.
#[derive(Clone, Debug)]
pub(crate) struct Tip {
    pub(crate) header: SealedHeader,
    /// The sum of difficulties up to it.
    pub(crate) total_difficulty: U256,
}

/// Why headers are not taken.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// Their sender's fault.
    Fault(Fault),
    /// The node failed.
    Node(ChainError),
}

/// Blocks that imports refused, so that the same chain is not fetched from one peer after another.
#[derive(Debug, Default)]
pub(crate) struct Rejected(Mutex<VecDeque<(B256, String)>>);

impl Rejected {
    pub(crate) fn add(&self, hash: B256, reason: String) {
        let mut rejected = self.0.lock();
        if rejected.len() == REMEMBERED {
            rejected.pop_front();
        }
        rejected.push_back((hash, reason));
    }

    fn reason(&self, hash: &B256) -> Option<String> {
        let rejected = self.0.lock();
        rejected.iter().find(|(bad, _)| bad == hash).map(|(_, reason)| reason.clone())
    }
}

/// Checks headers that follow `tip` and each other.
pub(crate) fn check_headers(
    chain: &Chain,
    rejected: &Rejected,
    tip: &Tip,
    headers: &[SealedHeader],
) -> Result<Tip, Refusal> {
    let mut tip = tip.clone();
    for header in headers {
        let fault = |reason| invalid(header, reason);
        if let Some(reason) = rejected.reason(&header.hash()) {
            return Err(fault(reason));
        }
        let parent = Parent {
            header: tip.header.inner(),
            hash: tip.header.hash(),
            total_difficulty: tip.total_difficulty,
        };
        check_on_parent(chain, header.inner(), &parent).map_err(|error| judge(header, error))?;
        let total_difficulty = tip.total_difficulty.saturating_add(header.inner().difficulty);
        tip = Tip { header: header.clone(), total_difficulty };
    }
    check_samples(chain, headers)?;
    Ok(tip)
}

fn check_on_parent(chain: &Chain, header: &Header, parent: &Parent<'_>) -> Result<(), ConsensusError> {
    let merged = chain.spec.is_merged_after(parent.total_difficulty);
    if matches!(chain.spec.consensus(), Kind::Clique { .. }) && !merged {
        return Ok(());
    }
    chain.engine.after(parent.total_difficulty).check_header(header, parent, &chain.ancestors)
}

fn check_samples(chain: &Chain, headers: &[SealedHeader]) -> Result<(), Refusal> {
    let mut places: Vec<usize> =
        (0..SAMPLES.min(headers.len())).map(|_| rand::random_range(0..headers.len())).collect();
    places.extend(headers.len().checked_sub(1));
    places.sort_unstable();
    places.dedup();
    let samples: Vec<&SealedHeader> = places.into_iter().filter_map(|place| headers.get(place)).collect();
    let plain: Vec<&Header> = samples.iter().map(|header| header.inner()).collect();
    for (header, checked) in samples.iter().zip(chain.engine.check_seals(&plain)) {
        checked.map_err(|error| judge(header, error))?;
    }
    Ok(())
}

fn judge(header: &SealedHeader, error: ConsensusError) -> Refusal {
    match error {
        ConsensusError::Invalid(error) => invalid(header, error.to_string()),
        ConsensusError::State(error) => Refusal::Node(ChainError::State(error)),
    }
}

fn invalid(header: &SealedHeader, reason: String) -> Refusal {
    let (number, hash) = (header.inner().number, header.hash());
    Refusal::Fault(Fault::InvalidHeader { number, hash, reason })
}
