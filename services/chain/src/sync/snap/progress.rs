//! How far the fetching of a state is, as the store remembers it.

use crate::adopt::{COUNTS_KEY, PROGRESS_KEY};
use crate::error::ChainError;
use alloy_primitives::{B256, Bytes};
use alloy_rlp::{Decodable, RlpDecodable, RlpEncodable};
use quintet_store::Store;

/// What is done, and what is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Accounts, slots and codes are fetched.
    Ranges(Vec<TaskRecord>),
    /// They are all there, from one state or several; the trie's nodes are computed from them.
    Building,
    /// The trie of what is there is whole; what of it does not belong to the pivot's state is replaced.
    Healing,
}

/// One range of hashes.
#[derive(Clone, Debug, PartialEq, Eq, RlpEncodable, RlpDecodable)]
#[rlp(trailing)]
pub(crate) struct TaskRecord {
    /// Its last hash.
    pub(crate) last: B256,
    /// Accounts whose slots are there in part.
    pub(crate) parts: Vec<Part>,
    /// Where it goes on; `None` when it is done.
    pub(crate) next: Option<B256>,
}

/// An account whose slots are there in part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RlpEncodable, RlpDecodable)]
pub(crate) struct Part {
    /// The hash of its address.
    pub(crate) account: B256,
    /// Where its slots go on.
    pub(crate) next: B256,
}

impl From<(B256, B256)> for Part {
    fn from((account, next): (B256, B256)) -> Self {
        Self { account, next }
    }
}

/// What was written of the state so far, that of older pivots included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, RlpEncodable, RlpDecodable)]
pub(crate) struct Counts {
    pub(crate) accounts: Tally,
    pub(crate) slots: Tally,
    pub(crate) codes: Tally,
    pub(crate) healed_nodes: Tally,
    pub(crate) healed_codes: Tally,
}

/// Things of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, RlpEncodable, RlpDecodable)]
pub(crate) struct Tally {
    pub(crate) count: u64,
    pub(crate) bytes: u64,
}

impl Tally {
    /// Adds things by their sizes in bytes.
    pub(crate) fn add(&mut self, sizes: impl Iterator<Item = usize>) {
        for size in sizes {
            self.count = self.count.saturating_add(1);
            self.bytes = self.bytes.saturating_add(size as u64);
        }
    }
}

impl Counts {
    /// What the store remembers; nothing if no state is being fetched.
    ///
    /// # Errors
    /// When the store cannot be read, or the record is damaged.
    pub(crate) fn read(store: &dyn Store) -> Result<Self, ChainError> {
        let Some(record) = store.meta(COUNTS_KEY)? else { return Ok(Self::default()) };
        alloy_rlp::decode_exact(&record).map_err(|_| ChainError::BadRecord(COUNTS_KEY))
    }

    /// The record, by its name.
    pub(crate) fn record(&self) -> (String, Option<Bytes>) {
        (COUNTS_KEY.to_owned(), Some(alloy_rlp::encode(self).into()))
    }
}

const RANGES: u8 = 0;
const BUILDING: u8 = 1;
const HEALING: u8 = 2;

impl Progress {
    /// What the store remembers; `None` if no state is being fetched.
    ///
    /// # Errors
    /// When the store cannot be read, or the record is damaged.
    pub(crate) fn read(store: &dyn Store) -> Result<Option<Self>, ChainError> {
        let Some(record) = store.meta(PROGRESS_KEY)? else { return Ok(None) };
        let damaged = || ChainError::BadRecord(PROGRESS_KEY);
        let (stage, mut rest) = record.split_first().ok_or_else(damaged)?;
        let progress = match *stage {
            RANGES => Self::Ranges(Vec::decode(&mut rest).map_err(|_| damaged())?),
            BUILDING => Self::Building,
            HEALING => Self::Healing,
            _ => return Err(damaged()),
        };
        if rest.is_empty() { Ok(Some(progress)) } else { Err(damaged()) }
    }

    /// The record, by its name.
    pub(crate) fn record(&self) -> (String, Option<Bytes>) {
        let mut record = vec![match self {
            Self::Ranges(_) => RANGES,
            Self::Building => BUILDING,
            Self::Healing => HEALING,
        }];
        if let Self::Ranges(tasks) = self {
            alloy_rlp::encode_list(tasks, &mut record);
        }
        (PROGRESS_KEY.to_owned(), Some(record.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quintet_store::{FetchedState, open_temporary};

    #[test]
    fn what_was_counted_is_remembered() {
        let store = open_temporary().unwrap();
        let read = || Counts::read(store.as_ref());
        assert_eq!(read().unwrap(), Counts::default());
        let mut counts = Counts::default();
        counts.slots.add([65, 70].into_iter());
        counts.healed_codes.add([usize::MAX, 1].into_iter());
        assert_eq!(counts.slots, Tally { count: 2, bytes: 135 });
        assert_eq!(counts.healed_codes, Tally { count: 2, bytes: u64::MAX });
        store.write_fetched(FetchedState { meta: vec![counts.record()], ..FetchedState::default() }).unwrap();
        assert_eq!(read().unwrap(), counts);
        let damaged = vec![(COUNTS_KEY.to_owned(), Some(Bytes::from_static(&[1])))];
        store.write_fetched(FetchedState { meta: damaged, ..FetchedState::default() }).unwrap();
        assert!(matches!(read(), Err(ChainError::BadRecord(COUNTS_KEY))));
    }
}
