//! Proof of authority (EIP-225): the rules of `quintet-clique`, and those that all headers share.

use crate::engine::{Consensus, Parent};
use crate::error::{BlockError, ConsensusError};
use crate::header;
use alloy_primitives::{Address, B256, U256};
use quintet_chainspec::ChainSpec;
use quintet_clique::{Clique, CliqueError, Snapshot, SnapshotStore};
use quintet_types::{Ancestry, Block, BlockRef, Header};
use std::fmt;
use std::sync::Arc;

/// The rules of a clique network.
pub(crate) struct Authority {
    spec: Arc<ChainSpec>,
    clique: Clique,
    snapshots: Arc<dyn SnapshotStore>,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.clique.fmt(f)
    }
}

impl Authority {
    pub(crate) fn new(
        spec: Arc<ChainSpec>,
        period: u64,
        epoch: u64,
        snapshots: Arc<dyn SnapshotStore>,
    ) -> Self {
        Self { spec, clique: Clique::new(period, epoch), snapshots }
    }

    fn snapshot(
        &self,
        parent: &Parent<'_>,
        ancestry: &dyn Ancestry,
    ) -> Result<Arc<Snapshot>, ConsensusError> {
        let block = BlockRef { number: parent.header.number, hash: parent.hash };
        Ok(self.clique.snapshot_at(ancestry, self.snapshots.as_ref(), block)?)
    }
}

impl Consensus for Authority {
    fn check_header(
        &self,
        header: &Header,
        parent: &Parent<'_>,
        ancestry: &dyn Ancestry,
    ) -> Result<(), ConsensusError> {
        header::check_number(header, parent.header)?;
        header::check_before_merge(&self.spec, header, parent.header, "clique")?;
        self.clique.check_header(header, parent.header)?;
        header::check_gas(&self.spec, header, parent.header)?;
        self.clique.check_seal(header, self.snapshot(parent, ancestry)?.as_ref())?;
        Ok(())
    }

    fn check_seal(&self, header: &Header) -> Result<(), ConsensusError> {
        self.clique.recover_signer(header)?;
        Ok(())
    }

    fn check_uncles(&self, block: &Block, _ancestry: &dyn Ancestry) -> Result<(), ConsensusError> {
        if block.body.ommers.is_empty() { Ok(()) } else { Err(CliqueError::InvalidUncleHash.into()) }
    }

    fn author(&self, header: &Header) -> Result<Address, ConsensusError> {
        Ok(self.clique.recover_signer(header)?)
    }

    fn difficulty(
        &self,
        header: &Header,
        parent: &Parent<'_>,
        ancestry: &dyn Ancestry,
    ) -> Result<U256, ConsensusError> {
        Ok(self.snapshot(parent, ancestry)?.difficulty(header.number, &header.beneficiary))
    }

    fn seal_hash(&self, header: &Header) -> B256 {
        // A header without room for a seal has nothing left out.
        quintet_clique::seal_hash(header).unwrap_or_else(|_| header.hash_slow())
    }

    fn allowed_future(&self) -> Option<u64> {
        Some(0)
    }
}

impl From<CliqueError> for ConsensusError {
    fn from(error: CliqueError) -> Self {
        match error {
            CliqueError::Read(error) => Self::State(error),
            error => Self::Invalid(BlockError::Clique(error)),
        }
    }
}
