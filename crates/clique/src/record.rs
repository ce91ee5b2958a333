//! The JSON of a snapshot: what `clique_getSnapshot` answers, and what is stored.

use crate::{Snapshot, Tally, Vote};
use alloy_primitives::{Address, B256};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A Go `struct{}`.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Nothing {}

/// geth's form: signers as the keys of an object, and no list of votes (`null`) where the votes were reset.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    number: u64,
    hash: B256,
    #[expect(clippy::zero_sized_map_values, reason = "a set would be written as a list")]
    signers: BTreeMap<Address, Nothing>,
    recents: BTreeMap<u64, Address>,
    votes: Option<Vec<Vote>>,
    tally: BTreeMap<Address, Tally>,
}

impl From<Snapshot> for Record {
    fn from(snapshot: Snapshot) -> Self {
        let Snapshot { number, hash, signers, recents, votes, tally, votes_reset } = snapshot;
        let signers = signers.into_iter().map(|signer| (signer, Nothing {})).collect();
        let votes = if votes_reset { None } else { Some(votes) };
        Self { number, hash, signers, recents, votes, tally }
    }
}

impl From<Record> for Snapshot {
    fn from(record: Record) -> Self {
        let Record { number, hash, signers, recents, votes, tally } = record;
        let (votes_reset, votes) = (votes.is_none(), votes.unwrap_or_default());
        let signers = signers.into_keys().collect();
        Self { number, hash, signers, recents, votes, tally, votes_reset }
    }
}
