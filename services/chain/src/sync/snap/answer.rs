//! Answers to requests for a state, checked against its root: what comes out of here is part of the state that was asked for.

use super::ask::SlotsOf;
use crate::error::ChainError;
use crate::sync::network::Fault;
use alloy_primitives::map::B256Set;
use alloy_primitives::{B256, Bytes, KECCAK256_EMPTY, U256, keccak256};
use quintet_eth_wire::{AccountData, AccountRange, SlotData, StorageRanges};
use quintet_store::{Store, successor};
use quintet_trie::{EMPTY_ROOT_HASH, TrieAccount, verify_range};

/// What an answer is worth.
#[derive(Debug)]
pub(crate) enum Answer<T> {
    /// What was asked for, or a part of it.
    Good(T),
    /// The peer does not have it, as it may.
    Nothing,
}

/// Accounts that follow each other.
#[derive(Debug, Default)]
pub(crate) struct Accounts {
    /// With their hashes, in order, up to the last one asked for.
    pub(crate) entries: Vec<(B256, TrieAccount)>,
    /// Codes of theirs that are not held.
    pub(crate) codes: Vec<B256>,
    /// Where the next account may be; `None` when these were the last ones of those asked for.
    pub(crate) next: Option<B256>,
}

/// Slots of accounts.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    /// For each account, in the order asked for: its slots in order. Accounts at the end may be missing.
    pub(crate) lists: Vec<Vec<(B256, U256)>>,
    /// Where the last list's account goes on; `None` when all lists are whole.
    pub(crate) next: Option<B256>,
}

/// Why an answer is of no use.
#[derive(Debug)]
pub(crate) enum Refused {
    /// Its sender's fault.
    Fault(Fault),
    /// The node failed.
    Node(ChainError),
}

impl From<ChainError> for Refused {
    fn from(error: ChainError) -> Self {
        Self::Node(error)
    }
}

fn wrong(what: &'static str, reason: &dyn ToString) -> Refused {
    Refused::Fault(Fault::WrongState { what, reason: reason.to_string() })
}

/// The hash before; `None` before the first.
pub(crate) fn preceding(hash: &B256) -> Option<B256> {
    U256::from_be_bytes(hash.0).checked_sub(U256::from(1)).map(B256::from)
}

/// Checks accounts that were asked for from `origin` to `limit` of the state with this root.
pub(crate) fn accounts(
    store: &dyn Store,
    root: B256,
    (origin, limit): (B256, B256),
    answer: AccountRange,
) -> Result<Answer<Accounts>, Refused> {
    let AccountRange { accounts, proof, .. } = answer;
    if accounts.is_empty() && proof.is_empty() {
        return Ok(Answer::Nothing);
    }
    let account = |data: AccountData| {
        let account = data.account;
        let (nonce, balance) = (account.nonce, account.balance);
        (
            data.hash,
            TrieAccount { nonce, balance, storage_root: account.storage_root, code_hash: account.code_hash },
        )
    };
    let mut accounts: Vec<(B256, TrieAccount)> = accounts.into_iter().map(account).collect();
    let keys: Vec<B256> = accounts.iter().map(|(hash, _)| *hash).collect();
    let values: Vec<Bytes> = accounts.iter().map(|(_, account)| alloy_rlp::encode(account).into()).collect();
    let more =
        verify_range(root, &origin, &keys, &values, &proof).map_err(|error| wrong("accounts", &error))?;
    let last = keys.last().filter(|last| **last < limit && more);
    let next = last.and_then(successor);
    accounts.retain(|(hash, _)| *hash <= limit);
    let mut codes: Vec<B256> = accounts.iter().map(|(_, account)| account.code_hash).collect();
    codes.sort_unstable();
    codes.dedup();
    let codes = missing_codes(store, codes)?;
    Ok(Answer::Good(Accounts { entries: accounts, codes, next }))
}

/// Those of `codes` that are not held.
pub(crate) fn missing_codes(store: &dyn Store, codes: Vec<B256>) -> Result<Vec<B256>, ChainError> {
    let mut missing = Vec::new();
    for code in codes {
        if code != KECCAK256_EMPTY && store.code(&code)?.is_none() {
            missing.push(code);
        }
    }
    Ok(missing)
}

/// Checks slots of accounts, the first one's from `origin` on.
pub(crate) fn slots(
    asked: &[SlotsOf],
    origin: B256,
    answer: StorageRanges,
) -> Result<Answer<Slots>, Refused> {
    let StorageRanges { slots: mut lists, proof, .. } = answer;
    if lists.is_empty() {
        if proof.is_empty() {
            return Ok(Answer::Nothing);
        }
        // That there is nothing from the origin on has a proof and no slots.
        lists.push(Vec::new());
    }
    if lists.len() > asked.len() {
        return Err(wrong("slots", &"more accounts than were asked for"));
    }
    let end = lists.len() - 1;
    let mut found = Slots::default();
    for (place, (list, SlotsOf { root, .. })) in lists.into_iter().zip(asked).enumerate() {
        let origin = if place == 0 { origin } else { B256::ZERO };
        let proof = if place == end { &proof[..] } else { &[] };
        let keys: Vec<B256> = list.iter().map(|slot| slot.hash).collect();
        let values: Vec<Bytes> = list.iter().map(|slot| slot.data.clone()).collect();
        if proof.is_empty() && origin != B256::ZERO {
            return Err(wrong("slots", &"a part of them without a proof"));
        }
        let more =
            verify_range(*root, &origin, &keys, &values, proof).map_err(|error| wrong("slots", &error))?;
        found.next = keys.last().filter(|_| more).and_then(successor);
        found.lists.push(list.iter().map(slot).collect::<Result<_, _>>()?);
    }
    Ok(Answer::Good(found))
}

fn slot(slot: &SlotData) -> Result<(B256, U256), Refused> {
    let value = alloy_rlp::decode_exact(&slot.data).map_err(|error| wrong("slots", &error))?;
    Ok((slot.hash, value))
}

/// Checks codes. Each must be one of those asked for; those that the peer does not have are left out.
pub(crate) fn codes(asked: &[B256], codes: Vec<Bytes>) -> Result<Answer<Vec<(B256, Bytes)>>, Refused> {
    if codes.is_empty() {
        return Ok(Answer::Nothing);
    }
    let mut wanted: B256Set = asked.iter().copied().collect();
    let mut found = Vec::with_capacity(codes.len());
    for code in codes {
        let hash = keccak256(&code);
        if !wanted.remove(&hash) {
            return Err(wrong("codes", &"one that was not asked for"));
        }
        found.push((hash, code));
    }
    Ok(Answer::Good(found))
}

/// Checks trie nodes: each must be one of those asked for, by its hash, in their order. An empty one, in the place of one
/// that the peer does not have, is passed over.
pub(crate) fn nodes(asked: &[B256], nodes: Vec<Bytes>) -> Result<Answer<Vec<(usize, Bytes)>>, Refused> {
    let mut found = Vec::with_capacity(nodes.len());
    let mut next = 0;
    for node in nodes.into_iter().filter(|node| !node.is_empty()) {
        let hash = keccak256(&node);
        let rest = asked.get(next..).unwrap_or_default();
        let Some(place) = rest.iter().position(|asked| *asked == hash) else {
            return Err(wrong("trie nodes", &"one that was not asked for"));
        };
        found.push((next + place, node));
        next += place + 1;
    }
    Ok(if found.is_empty() { Answer::Nothing } else { Answer::Good(found) })
}

/// Whether an account has slots.
pub(crate) fn has_slots(account: &TrieAccount) -> bool {
    account.storage_root != EMPTY_ROOT_HASH
}
