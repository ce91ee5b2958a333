//! The state of the vote after a block: signers, who signed of late, and what is being voted on.

use crate::record::Record;
use crate::{
    CliqueError, DIFFICULTY_IN_TURN, DIFFICULTY_NO_TURN, NONCE_AUTHORIZE, NONCE_DROP, signers_of_checkpoint,
};
use alloy_primitives::{Address, B256, U256};
use quintet_types::Header;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A signer out of turn waits for up to this long for each signer that may sign, so that not all of them
/// answer at once (geth's `wiggleTime`).
const WIGGLE: Duration = Duration::from_millis(500);

/// One signer's vote on one account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vote {
    /// Who votes.
    pub signer: Address,
    /// The number of the block that carries the vote.
    pub block: u64,
    /// Whom the vote is about.
    pub address: Address,
    /// Whether the account shall sign, or no more.
    pub authorize: bool,
}

/// The votes on one account so far. They all want the same, as only what would change something counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Whether the account shall sign, or no more.
    pub authorize: bool,
    /// How many signers want it.
    pub votes: usize,
}

/// The state of the vote after a block. Its JSON is geth's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Record", into = "Record")]
pub struct Snapshot {
    /// The block's number.
    pub number: u64,
    /// The block's hash.
    pub hash: B256,
    /// Who may sign.
    pub signers: BTreeSet<Address>,
    /// Who signed the latest blocks, by their numbers: these have to wait.
    pub recents: BTreeMap<u64, Address>,
    /// Votes that count, in the order in which they were cast.
    pub votes: Vec<Vote>,
    /// The votes by the account that they are about.
    pub tally: BTreeMap<Address, Tally>,
    /// Whether the block is a checkpoint, where the vote begins anew.
    pub(crate) votes_reset: bool,
}

impl Snapshot {
    /// The snapshot that a network begins with: the signers that its genesis lists.
    ///
    /// # Errors
    /// When the extra data is too short for vanity and seal.
    pub fn genesis(header: &Header) -> Result<Self, CliqueError> {
        Ok(Self {
            number: header.number,
            hash: header.hash_slow(),
            signers: signers_of_checkpoint(header)?.into_iter().collect(),
            recents: BTreeMap::new(),
            votes: Vec::new(),
            tally: BTreeMap::new(),
            votes_reset: true,
        })
    }

    /// The signers in ascending order: that of their turns, and of a checkpoint's list.
    pub fn signers_in_order(&self) -> Vec<Address> {
        self.signers.iter().copied().collect()
    }

    /// Whether block `number` is `signer`'s turn.
    pub fn is_in_turn(&self, number: u64, signer: &Address) -> bool {
        let turn = number.checked_rem(self.signers.len() as u64);
        let place = self.signers.iter().position(|other| other == signer);
        turn.is_some() && turn == place.map(|place| place as u64)
    }

    /// The difficulty of block `number` when `signer` signs it.
    pub fn difficulty(&self, number: u64, signer: &Address) -> U256 {
        if self.is_in_turn(number, signer) { DIFFICULTY_IN_TURN } else { DIFFICULTY_NO_TURN }
    }

    /// Whether `signer` may sign block `number`, the one after this snapshot's.
    ///
    /// # Errors
    /// [`CliqueError::UnauthorizedSigner`], and [`CliqueError::RecentlySigned`] when it has to wait.
    pub fn check_signer(&self, number: u64, signer: &Address) -> Result<(), CliqueError> {
        if !self.signers.contains(signer) {
            return Err(CliqueError::UnauthorizedSigner);
        }
        // Who signed at `number - limit` may sign again. geth's subtraction wraps below `limit` when it checks
        // a seal, but not when it applies the block: there the signer has to wait too.
        let waits = match number.checked_sub(self.limit()) {
            Some(free) => self.recents.range(free.saturating_add(1)..).any(|(_, recent)| recent == signer),
            None => self.recents.values().any(|recent| recent == signer),
        };
        if waits { Err(CliqueError::RecentlySigned) } else { Ok(()) }
    }

    /// Whether a vote would change something: nobody is voted in twice, or out who is not in.
    pub fn is_valid_vote(&self, address: &Address, authorize: bool) -> bool {
        self.signers.contains(address) != authorize
    }

    /// The longest that a signer out of turn waits beyond the block's time, before it publishes.
    pub fn longest_wiggle(&self) -> Duration {
        WIGGLE.saturating_mul(u32::try_from(self.limit()).unwrap_or(u32::MAX))
    }

    /// One of so many blocks in a row may be signed by the same signer.
    fn limit(&self) -> u64 {
        (self.signers.len() / 2) as u64 + 1
    }

    /// Goes on by one block: the one after, with this hash, sealed by `signer`. After an error the snapshot is
    /// of no use.
    pub(crate) fn advance(
        &mut self,
        header: &Header,
        hash: B256,
        signer: Address,
        epoch: u64,
    ) -> Result<(), CliqueError> {
        let number = header.number;
        if self.number.checked_add(1) != Some(number) {
            return Err(CliqueError::InvalidVotingChain);
        }
        self.votes_reset = is_checkpoint(number, epoch);
        if self.votes_reset {
            self.votes.clear();
            self.tally.clear();
        }
        self.forget_oldest_signer(number);
        self.check_signer(number, &signer)?;
        self.recents.insert(number, signer);
        let address = header.beneficiary;
        self.discard_vote(&signer, &address);
        let authorize = match header.nonce {
            NONCE_AUTHORIZE => true,
            NONCE_DROP => false,
            _ => return Err(CliqueError::InvalidVote),
        };
        if self.cast(address, authorize) {
            self.votes.push(Vote { signer, block: number, address, authorize });
            // Header checks refuse votes in checkpoints; the list of one that is forced in is not hidden.
            self.votes_reset = false;
        }
        self.decide(number, address);
        (self.number, self.hash) = (number, hash);
        Ok(())
    }

    /// Lets the signer of the block that is now far enough behind sign again.
    fn forget_oldest_signer(&mut self, number: u64) {
        if let Some(oldest) = number.checked_sub(self.limit()) {
            self.recents.remove(&oldest);
        }
    }

    /// A signer has one vote on an account: the one before is gone.
    fn discard_vote(&mut self, signer: &Address, address: &Address) {
        let earlier = |vote: &Vote| vote.signer == *signer && vote.address == *address;
        if let Some(place) = self.votes.iter().position(earlier) {
            let vote = self.votes.remove(place);
            self.uncast(&vote);
        }
    }

    /// Counts a vote, if it would change something.
    fn cast(&mut self, address: Address, authorize: bool) -> bool {
        let counts = self.is_valid_vote(&address, authorize);
        if counts {
            self.tally.entry(address).or_insert(Tally { authorize, votes: 0 }).votes += 1;
        }
        counts
    }

    /// Takes a vote out of the tally, unless the tally is of votes for the opposite.
    fn uncast(&mut self, vote: &Vote) {
        let Some(tally) = self.tally.get_mut(&vote.address) else { return };
        if tally.authorize != vote.authorize {
            return;
        }
        if tally.votes > 1 {
            tally.votes -= 1;
        } else {
            self.tally.remove(&vote.address);
        }
    }

    /// Does what the majority wants of an account, once there is one.
    fn decide(&mut self, number: u64, address: Address) {
        let Some(tally) = self.tally.get(&address).copied() else { return };
        if tally.votes <= self.signers.len() / 2 {
            return;
        }
        if tally.authorize {
            self.signers.insert(address);
        } else {
            self.signers.remove(&address);
            // Fewer signers have to wait for fewer blocks.
            self.forget_oldest_signer(number);
            let (gone, kept): (Vec<Vote>, Vec<Vote>) =
                std::mem::take(&mut self.votes).into_iter().partition(|vote| vote.signer == address);
            self.votes = kept;
            for vote in &gone {
                self.uncast(vote);
            }
        }
        self.votes.retain(|vote| vote.address != address);
        self.tally.remove(&address);
    }
}

/// Whether the vote begins anew at a block, which then lists the signers. An epoch of zero has no checkpoint
/// but genesis.
pub(crate) fn is_checkpoint(number: u64, epoch: u64) -> bool {
    number.checked_rem(epoch).unwrap_or(number) == 0
}
