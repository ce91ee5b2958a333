//! Proof of stake (EIP-3675): who made a block is not for this node to judge, its form is.

use crate::engine::{Consensus, Parent};
use crate::error::{BlockError, ConsensusError};
use crate::header;
use alloy_consensus::EMPTY_OMMER_ROOT_HASH;
use alloy_primitives::{Address, B64, B256, U256};
use quintet_chainspec::ChainSpec;
use quintet_types::{Ancestry, Block, Header};
use std::sync::Arc;

/// The rules from the merge on.
#[derive(Debug)]
pub(crate) struct Beacon {
    pub(crate) spec: Arc<ChainSpec>,
}

impl Consensus for Beacon {
    fn check_header(
        &self,
        header: &Header,
        parent: &Parent<'_>,
        _ancestry: &dyn Ancestry,
    ) -> Result<(), ConsensusError> {
        header::check_extra(header)?;
        if header.nonce != B64::ZERO {
            return Err(BlockError::Nonce.into());
        }
        if header.ommers_hash != EMPTY_OMMER_ROOT_HASH {
            return Err(BlockError::UncleHash.into());
        }
        header::check_timestamp(header, parent.header)?;
        if !header.difficulty.is_zero() {
            return Err(BlockError::Difficulty { have: header.difficulty, want: U256::ZERO }.into());
        }
        header::check_gas(&self.spec, header, parent.header)?;
        header::check_number(header, parent.header)?;
        Ok(header::check_fork_fields(&self.spec, header, parent.header)?)
    }

    fn check_seal(&self, _header: &Header) -> Result<(), ConsensusError> {
        Ok(())
    }

    fn check_uncles(&self, block: &Block, _ancestry: &dyn Ancestry) -> Result<(), ConsensusError> {
        if block.body.ommers.is_empty() { Ok(()) } else { Err(BlockError::UncleHash.into()) }
    }

    fn author(&self, header: &Header) -> Result<Address, ConsensusError> {
        Ok(header.beneficiary)
    }

    fn difficulty(
        &self,
        _header: &Header,
        _parent: &Parent<'_>,
        _ancestry: &dyn Ancestry,
    ) -> Result<U256, ConsensusError> {
        Ok(U256::ZERO)
    }

    fn seal_hash(&self, header: &Header) -> B256 {
        header.hash_slow()
    }

    fn allowed_future(&self) -> Option<u64> {
        None
    }
}
