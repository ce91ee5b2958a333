//! Proof of work: the rules of `quintet-ethash`, and those that all headers share.

use crate::engine::{Consensus, Options, Parent};
use crate::error::{BlockError, ConsensusError};
use crate::header;
use alloy_primitives::{Address, B256, U256};
use quintet_chainspec::ChainSpec;
use quintet_ethash::{Epoch, EpochCaches, EthashError, Limits, Uncle};
use quintet_types::{Ancestry, Block, Header};
use std::sync::Arc;

/// Seconds that a block may be ahead of the clock.
const ALLOWED_FUTURE: u64 = 15;

/// The rules of an ethash network.
#[derive(Debug)]
pub(crate) struct Work {
    spec: Arc<ChainSpec>,
    /// `None` when seals are not checked.
    caches: Option<EpochCaches>,
}

impl Work {
    pub(crate) fn new(spec: Arc<ChainSpec>, options: &Options) -> Self {
        let caches =
            options.check_work.then(|| EpochCaches::new(options.ethash_directory.clone(), Limits::CACHES));
        Self { spec, caches }
    }

    /// The rules that hold for a block and for an uncle alike.
    fn check(&self, header: &Header, parent: &Header) -> Result<(), BlockError> {
        header::check_extra(header)?;
        header::check_timestamp(header, parent)?;
        let want = quintet_ethash::next_difficulty(&self.spec, header.timestamp, parent);
        if header.difficulty != want {
            return Err(BlockError::Difficulty { have: header.difficulty, want });
        }
        header::check_gas(&self.spec, header, parent)?;
        header::check_number(header, parent)?;
        header::check_before_merge(&self.spec, header, parent, "ethash")?;
        quintet_ethash::check_dao_extra(&self.spec, header).map_err(BlockError::Ethash)
    }

    fn check_uncle(&self, uncle: &Uncle) -> Result<(), ConsensusError> {
        let checked = self.check(&uncle.header, &uncle.parent).map_err(ConsensusError::Invalid);
        checked.and_then(|()| self.check_seal(&uncle.header)).map_err(|error| match error {
            ConsensusError::Invalid(error) => {
                let hash = uncle.header.hash_slow();
                BlockError::Uncle { hash, error: Box::new(error) }.into()
            }
            error @ ConsensusError::State(_) => error,
        })
    }
}

impl Consensus for Work {
    fn check_header(
        &self,
        header: &Header,
        parent: &Parent<'_>,
        _ancestry: &dyn Ancestry,
    ) -> Result<(), ConsensusError> {
        Ok(self.check(header, parent.header)?)
    }

    fn check_seal(&self, header: &Header) -> Result<(), ConsensusError> {
        let Some(caches) = &self.caches else { return Ok(()) };
        let epoch = Epoch::of(&self.spec, header.number)?;
        let cache = caches.at_block(epoch, header.number);
        Ok(quintet_ethash::verify_seal(quintet_ethash::Work::Light(&cache), header)?)
    }

    fn check_seals(&self, headers: &[&Header]) -> Vec<Result<(), ConsensusError>> {
        let Some(caches) = &self.caches else { return headers.iter().map(|_| Ok(())).collect() };
        let epoch = |header: &Header| Epoch::of(&self.spec, header.number).ok();
        let mut outcomes = Vec::with_capacity(headers.len());
        for group in headers.chunk_by(|one, other| epoch(one) == epoch(other)) {
            let [first, ..] = group else { continue };
            let Some(epoch) = epoch(first) else {
                outcomes.extend(group.iter().map(|header| self.check_seal(header)));
                continue;
            };
            let cache = caches.at_block(epoch, first.number);
            let checked = quintet_ethash::verify_seals(&cache, group).into_iter();
            outcomes.extend(checked.map(|outcome| outcome.map_err(ConsensusError::from)));
        }
        outcomes
    }

    fn check_uncles(&self, block: &Block, ancestry: &dyn Ancestry) -> Result<(), ConsensusError> {
        quintet_ethash::check_uncles(block, ancestry)?.iter().try_for_each(|uncle| self.check_uncle(uncle))
    }

    fn author(&self, header: &Header) -> Result<Address, ConsensusError> {
        Ok(header.beneficiary)
    }

    fn difficulty(
        &self,
        header: &Header,
        parent: &Parent<'_>,
        _ancestry: &dyn Ancestry,
    ) -> Result<U256, ConsensusError> {
        Ok(quintet_ethash::next_difficulty(&self.spec, header.timestamp, parent.header))
    }

    fn seal_hash(&self, header: &Header) -> B256 {
        quintet_ethash::seal_hash(header)
    }

    fn allowed_future(&self) -> Option<u64> {
        Some(ALLOWED_FUTURE)
    }
}

impl From<EthashError> for ConsensusError {
    fn from(error: EthashError) -> Self {
        match error {
            EthashError::Ancestry(error) => Self::State(error),
            error => Self::Invalid(BlockError::Ethash(error)),
        }
    }
}
