//! The trait behind which the engines stand, and the choice among them.

use crate::beacon::Beacon;
use crate::clique::Authority;
use crate::error::ConsensusError;
use crate::ethash::Work;
use alloy_primitives::{Address, B256, U256};
use quintet_chainspec::{ChainSpec, Consensus as Kind};
use quintet_clique::SnapshotStore;
use quintet_types::{Ancestry, Block, Header};
use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::Arc;

/// The block that another one is built on.
#[derive(Clone, Copy, Debug)]
pub struct Parent<'a> {
    /// Its header.
    pub header: &'a Header,
    /// The header's hash.
    pub hash: B256,
    /// Sum of the difficulties up to and with it.
    pub total_difficulty: U256,
}

/// The rules of one way to make blocks.
pub trait Consensus: Debug + Send + Sync {
    /// Checks a header on its parent, all but what [`Consensus::check_seal`] does.
    ///
    /// # Errors
    /// The first rule that it breaks, or why it cannot be judged.
    fn check_header(
        &self,
        header: &Header,
        parent: &Parent<'_>,
        ancestry: &dyn Ancestry,
    ) -> Result<(), ConsensusError>;

    /// Checks what of the seal needs nothing but the header: the work, or that the signature names a signer.
    /// It is what costs, and may run ahead of the block's turn, on any thread.
    ///
    /// # Errors
    /// See [`Consensus::check_header`].
    fn check_seal(&self, header: &Header) -> Result<(), ConsensusError>;

    /// [`Consensus::check_seal`] for several headers, on this thread: cheaper than one after the other where
    /// the seal is work. The outcomes are in the headers' order.
    fn check_seals(&self, headers: &[&Header]) -> Vec<Result<(), ConsensusError>> {
        headers.iter().map(|header| self.check_seal(header)).collect()
    }

    /// Checks a block's uncles, their headers and seals included.
    ///
    /// # Errors
    /// See [`Consensus::check_header`].
    fn check_uncles(&self, block: &Block, ancestry: &dyn Ancestry) -> Result<(), ConsensusError>;

    /// Who gets the block's fees: the beneficiary, or under proof of authority the signer.
    ///
    /// # Errors
    /// When the header has no valid signature.
    fn author(&self, header: &Header) -> Result<Address, ConsensusError>;

    /// The difficulty of the child of `parent` with `header`'s number, timestamp and beneficiary (which is
    /// the signer, under proof of authority).
    ///
    /// # Errors
    /// When an ancestor is not held.
    fn difficulty(
        &self,
        header: &Header,
        parent: &Parent<'_>,
        ancestry: &dyn Ancestry,
    ) -> Result<U256, ConsensusError>;

    /// What is sealed: the hash of the header without its seal.
    fn seal_hash(&self, header: &Header) -> B256;

    /// Seconds that a block's timestamp may be ahead of the clock; `None` when that is not for this node to
    /// judge.
    fn allowed_future(&self) -> Option<u64>;
}

/// How an [`Engine`] works.
#[derive(Clone)]
pub struct Options {
    /// Whether seals of proof of work are checked (geth's `--fakepow` does not).
    pub check_work: bool,
    /// Directory of ethash's caches; `None` keeps them in memory only.
    pub ethash_directory: Option<PathBuf>,
    /// Where clique's snapshots are kept.
    pub snapshots: Arc<dyn SnapshotStore>,
}

/// The engine of a network: what the chain was made by before the merge, and the rules after it.
#[derive(Debug)]
pub struct Engine {
    spec: Arc<ChainSpec>,
    before: Option<Box<dyn Consensus>>,
    after: Beacon,
}

impl Engine {
    /// The engine that `spec` asks for.
    pub fn new(spec: Arc<ChainSpec>, options: Options) -> Self {
        let before: Option<Box<dyn Consensus>> = match spec.consensus() {
            Kind::Ethash => Some(Box::new(Work::new(Arc::clone(&spec), &options))),
            Kind::Clique { period, epoch } => {
                Some(Box::new(Authority::new(Arc::clone(&spec), period, epoch, options.snapshots)))
            }
            Kind::Beacon | Kind::Dev { .. } => None,
        };
        Self { after: Beacon { spec: Arc::clone(&spec) }, spec, before }
    }

    /// The rules for children of a block with this total difficulty, its own included: proof of stake once
    /// it has reached the terminal one (EIP-3675).
    pub fn after(&self, parent_total_difficulty: U256) -> &dyn Consensus {
        match &self.before {
            Some(before) if !self.spec.is_merged_after(parent_total_difficulty) => before.as_ref(),
            _ => &self.after,
        }
    }

    /// The rules that a header claims to be made under: without difficulty, those of proof of stake. For
    /// what is done before the parent is known; [`Engine::after`] judges the claim.
    pub fn claimed(&self, header: &Header) -> &dyn Consensus {
        match &self.before {
            Some(before)
                if !header.difficulty.is_zero() || self.spec.terminal_total_difficulty().is_none() =>
            {
                before.as_ref()
            }
            _ => &self.after,
        }
    }

    /// [`Consensus::check_seals`] under the rules that each header claims.
    pub fn check_seals(&self, headers: &[&Header]) -> Vec<Result<(), ConsensusError>> {
        let groups = headers.chunk_by(|one, other| one.difficulty.is_zero() == other.difficulty.is_zero());
        let rules = |group: &[&Header]| group.first().map(|header| self.claimed(header));
        groups
            .flat_map(|group| rules(group).map_or_else(Vec::new, |rules| rules.check_seals(group)))
            .collect()
    }
}
