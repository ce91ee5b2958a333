//! The engine: what a header must say, and who sealed it.

use crate::extra::{signer_bytes, split_seal};
use crate::history::Recent;
use crate::snapshot::is_checkpoint;
use crate::{
    CliqueError, DIFFICULTY_IN_TURN, DIFFICULTY_NO_TURN, NONCE_AUTHORIZE, NONCE_DROP, Snapshot, seal_hash,
};
use alloy_consensus::EMPTY_OMMER_ROOT_HASH;
use alloy_consensus::crypto::backend::get_default_provider;
use alloy_primitives::{Address, B256};
use quick_cache::sync::Cache;
use quintet_types::Header;
use std::fmt;

/// Signers whose headers were met of late (geth's `inmemorySignatures`).
const RECENT_SIGNERS: usize = 4096;
/// Recovery ids that a signature can have.
const RECOVERY_IDS: u8 = 4;

/// Clique with a network's parameters, and what it remembers of the headers that it met. Shared by all threads.
pub struct Clique {
    period: u64,
    epoch: u64,
    signers: Cache<B256, Address>,
    pub(crate) snapshots: Recent,
}

impl fmt::Debug for Clique {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { period, epoch, .. } = self;
        f.debug_struct("Clique").field("period", period).field("epoch", epoch).finish_non_exhaustive()
    }
}

impl Clique {
    /// For a network with at least `period` seconds between blocks, whose votes begin anew every `epoch` blocks.
    pub fn new(period: u64, epoch: u64) -> Self {
        quintet_types::install_crypto();
        Self { period, epoch, signers: Cache::new(RECENT_SIGNERS), snapshots: Recent::default() }
    }

    /// The least number of seconds between two blocks.
    pub const fn period(&self) -> u64 {
        self.period
    }

    /// The number of blocks from one checkpoint to the next.
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether a block lists the signers, and carries no vote.
    pub fn is_checkpoint(&self, number: u64) -> bool {
        is_checkpoint(number, self.epoch)
    }

    /// Who sealed a block: the EVM's `COINBASE`, and the receiver of its fees.
    ///
    /// # Errors
    /// When the extra data holds no signature of any key. Genesis is not sealed.
    pub fn recover_signer(&self, header: &Header) -> Result<Address, CliqueError> {
        self.recover_hashed(header, &header.hash_slow())
    }

    /// As [`Self::recover_signer`], for a header whose hash is known.
    ///
    /// # Errors
    /// When the extra data holds no signature of any key.
    pub fn recover_hashed(&self, header: &Header, hash: &B256) -> Result<Address, CliqueError> {
        if let Some(signer) = self.signers.get(hash) {
            return Ok(signer);
        }
        let (_, seal) = split_seal(header)?;
        if seal.last().is_none_or(|id| *id >= RECOVERY_IDS) {
            return Err(CliqueError::InvalidRecoveryId);
        }
        let signed = seal_hash(header)?;
        let recovered = get_default_provider().recover_signer_unchecked(seal, &signed.0);
        let signer = recovered.map_err(|_| CliqueError::RecoveryFailed)?;
        self.signers.insert(*hash, signer);
        Ok(signer)
    }

    /// What can be said of a header without its ancestors.
    ///
    /// # Errors
    /// Names the first rule that is broken, in geth's order.
    pub fn check_fields(&self, header: &Header) -> Result<(), CliqueError> {
        let checkpoint = self.is_checkpoint(header.number);
        if checkpoint && !header.beneficiary.is_zero() {
            return Err(CliqueError::CheckpointBeneficiary);
        }
        if header.nonce != NONCE_AUTHORIZE && header.nonce != NONCE_DROP {
            return Err(CliqueError::InvalidVote);
        }
        if checkpoint && header.nonce != NONCE_DROP {
            return Err(CliqueError::CheckpointVote);
        }
        let signers = signer_bytes(header)?.len();
        if !checkpoint && signers != 0 {
            return Err(CliqueError::ExtraSigners);
        }
        if !signers.is_multiple_of(Address::len_bytes()) {
            return Err(CliqueError::InvalidCheckpointSigners);
        }
        if !header.mix_hash.is_zero() {
            return Err(CliqueError::InvalidMixDigest);
        }
        if header.ommers_hash != EMPTY_OMMER_ROOT_HASH {
            return Err(CliqueError::InvalidUncleHash);
        }
        let known = [DIFFICULTY_IN_TURN, DIFFICULTY_NO_TURN].contains(&header.difficulty);
        if header.number > 0 && !known {
            return Err(CliqueError::InvalidDifficulty);
        }
        Ok(())
    }

    /// [`Self::check_fields`], then the period since `parent`. With a period of zero a block may have its parent's
    /// time.
    ///
    /// # Errors
    /// Names the first rule that is broken, in geth's order.
    pub fn check_header(&self, header: &Header, parent: &Header) -> Result<(), CliqueError> {
        self.check_fields(header)?;
        if parent.timestamp.saturating_add(self.period) > header.timestamp {
            return Err(CliqueError::InvalidTimestamp);
        }
        Ok(())
    }

    /// The rules that need the snapshot of the header's parent: a checkpoint's list, the right to sign, the turn.
    /// Answers with the signer.
    ///
    /// # Errors
    /// Names the first rule that is broken, in geth's order.
    pub fn check_seal(&self, header: &Header, parent: &Snapshot) -> Result<Address, CliqueError> {
        if header.number == 0 {
            return Err(CliqueError::UnknownBlock);
        }
        if parent.hash != header.parent_hash || parent.number.checked_add(1) != Some(header.number) {
            return Err(CliqueError::UnknownAncestor);
        }
        if self.is_checkpoint(header.number) {
            let listed = signer_bytes(header)?;
            if !parent.signers.iter().flatten().eq(listed) {
                return Err(CliqueError::MismatchingCheckpointSigners);
            }
        }
        let signer = self.recover_signer(header)?;
        parent.check_signer(header.number, &signer)?;
        if header.difficulty != parent.difficulty(header.number, &signer) {
            return Err(CliqueError::WrongDifficulty);
        }
        Ok(signer)
    }

    /// The snapshot after some blocks, which follow `snapshot` and each other.
    ///
    /// # Errors
    /// When they do not, or one of them was sealed by someone who may not.
    pub fn apply(&self, snapshot: &Snapshot, headers: &[Header]) -> Result<Snapshot, CliqueError> {
        let mut next = snapshot.clone();
        for header in headers {
            if header.parent_hash != next.hash {
                return Err(CliqueError::InvalidVotingChain);
            }
            let hash = header.hash_slow();
            let signer = self.recover_hashed(header, &hash)?;
            next.advance(header, hash, signer, self.epoch)?;
        }
        Ok(next)
    }
}
