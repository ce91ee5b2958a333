//! What a signer does: prepare a header, and seal it.

use crate::{
    Clique, CliqueError, EXTRA_SEAL, EXTRA_VANITY, NONCE_AUTHORIZE, NONCE_DROP, Snapshot, seal_hash,
};
use alloy_primitives::{Address, B256, Bytes};
use quintet_types::Header;
use std::collections::BTreeMap;

/// What a signer votes for when it can: accounts that shall sign (`true`), or no more (`false`).
pub type Proposals = BTreeMap<Address, bool>;

impl Clique {
    /// Fills in what clique says of a header: vote, difficulty, mix digest, extra data (the vanity that it begins
    /// with is kept, an empty seal is put at its end), and a time that is not before the period after `parent`;
    /// until then it is the caller's clock. `pick`, a random number, chooses among the proposals that can be voted on.
    ///
    /// # Errors
    /// When the snapshot is not the parent's.
    pub fn prepare(
        &self,
        header: &mut Header,
        parent: (&Header, &Snapshot),
        signer: &Address,
        proposals: &Proposals,
        pick: usize,
    ) -> Result<(), CliqueError> {
        let (parent, snapshot) = parent;
        if snapshot.hash != header.parent_hash || snapshot.number.checked_add(1) != Some(header.number) {
            return Err(CliqueError::UnknownAncestor);
        }
        let checkpoint = self.is_checkpoint(header.number);
        let vote = if checkpoint { None } else { choose(snapshot, proposals, pick) };
        header.beneficiary = vote.map(|(address, _)| address).unwrap_or_default();
        header.nonce =
            if vote.is_some_and(|(_, authorize)| authorize) { NONCE_AUTHORIZE } else { NONCE_DROP };
        header.difficulty = snapshot.difficulty(header.number, signer);
        header.mix_hash = B256::ZERO;
        header.timestamp = header.timestamp.max(parent.timestamp.saturating_add(self.period()));
        let mut extra: Vec<u8> = header.extra_data.iter().copied().take(EXTRA_VANITY).collect();
        extra.resize(EXTRA_VANITY, 0);
        if checkpoint {
            extra.extend(snapshot.signers.iter().flatten());
        }
        extra.resize(extra.len().saturating_add(EXTRA_SEAL), 0);
        header.extra_data = extra.into();
        Ok(())
    }

    /// Puts a seal into a prepared header: the signature (r, s, recovery id) of its [`seal_hash`].
    ///
    /// # Errors
    /// When there is no room for it.
    pub fn seal(
        &self,
        header: &mut Header,
        sign: impl FnOnce(B256) -> [u8; EXTRA_SEAL],
    ) -> Result<(), CliqueError> {
        let signature = sign(seal_hash(header)?);
        let mut extra = header.extra_data.to_vec();
        *extra.last_chunk_mut().ok_or(CliqueError::MissingSignature)? = signature;
        header.extra_data = Bytes::from(extra);
        Ok(())
    }
}

/// One of the proposals that would change something.
fn choose(snapshot: &Snapshot, proposals: &Proposals, pick: usize) -> Option<(Address, bool)> {
    let useful: Vec<_> = proposals
        .iter()
        .map(|(address, authorize)| (*address, *authorize))
        .filter(|(address, authorize)| snapshot.is_valid_vote(address, *authorize))
        .collect();
    useful.get(pick.checked_rem(useful.len())?).copied()
}
