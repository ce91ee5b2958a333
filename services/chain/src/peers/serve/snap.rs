//! `snap/1`: ranges of a state with proofs, codes, and trie nodes by path. A state that is not at hand has an empty
//! answer, as the specification says.

use super::state::StateViews;
use super::{Failure, walk};
use crate::chain::Chain;
use crate::error::ChainError;
use crate::peers::peer::Peer;
use alloy_primitives::{B256, Bytes as ByteString, KECCAK256_EMPTY};
use alloy_rlp::Decodable;
use bytes::Bytes;
use quintet_eth_wire::{
    AccountData, AccountRange, ByteCodes, GetAccountRange, GetByteCodes, GetStorageRanges, GetTrieNodes,
    MAX_CODE_LOOKUPS, MAX_TRIE_NODE_LOOKUPS, Malformed, SOFT_RESPONSE_SIZE, STATE_LOOKUP_SLACK_TENTHS,
    SlimAccount, SlotData, SnapMessage, StorageRanges, TrieNodes,
};
use quintet_trie::{Nibbles, NodeReader, Owner, TrieAccount};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

/// Bytes of a hash, which every account and slot comes with.
const HASH_LENGTH: usize = 32;
/// How long trie nodes are looked up for one request (geth's `maxTrieNodeTimeSpent`).
const MAX_TRIE_NODE_TIME: Duration = Duration::from_secs(5);

/// The answer's code and RLP; `None` for what is no request.
pub(super) fn answer(
    chain: &Chain,
    states: &StateViews,
    asker: &Peer,
    message: SnapMessage,
) -> Result<Option<(u64, Bytes)>, Failure> {
    let answer = match message {
        SnapMessage::GetAccountRange(request) => {
            let range = states.read(chain, asker, request.root, |nodes| accounts(nodes, &request))?;
            let (accounts, proof) = range.unwrap_or_default();
            SnapMessage::AccountRange(AccountRange { id: request.id, accounts, proof })
        }
        SnapMessage::GetStorageRanges(request) => {
            let ranges = states.read(chain, asker, request.root, |nodes| slots(nodes, &request))?;
            let (slots, proof) = ranges.unwrap_or_default();
            SnapMessage::StorageRanges(StorageRanges { id: request.id, slots, proof })
        }
        SnapMessage::GetByteCodes(request) => {
            let codes = codes(chain, &request)?;
            SnapMessage::ByteCodes(ByteCodes { id: request.id, codes })
        }
        SnapMessage::GetTrieNodes(request) => {
            if let Some(length) = request.paths.iter().map(Vec::len).find(|length| *length == 0) {
                return Err(Failure::Request(Malformed::Length { field: "path set", length }));
            }
            let nodes = states.read(chain, asker, request.root, |nodes| trie_nodes(nodes, &request))?;
            SnapMessage::TrieNodes(TrieNodes { id: request.id, nodes: nodes.unwrap_or_default() })
        }
        _ => return Ok(None),
    };
    Ok(Some((answer.id().code(), answer.encode())))
}

/// Bytes after which an answer ends.
fn soft_limit(asked: u64) -> usize {
    usize::try_from(asked).unwrap_or(usize::MAX).min(SOFT_RESPONSE_SIZE)
}

/// The accounts of a range, with the proof of its ends.
fn accounts(
    nodes: &dyn NodeReader,
    request: &GetAccountRange,
) -> Result<(Vec<AccountData>, Vec<ByteString>), ChainError> {
    let limit = soft_limit(request.bytes);
    let mut accounts = Vec::new();
    let mut size = 0_usize;
    walk::leaves(nodes, &Owner::State, &request.origin, &mut |hash, value| {
        let Ok(account) = TrieAccount::decode(&mut &*value) else { return ControlFlow::Break(()) };
        let TrieAccount { nonce, balance, storage_root, code_hash } = account;
        let account = SlimAccount { nonce, balance, storage_root, code_hash };
        accounts.push(AccountData { hash, account });
        size = size.saturating_add(HASH_LENGTH).saturating_add(alloy_rlp::Encodable::length(&account));
        if hash >= request.limit || size > limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    let last = accounts.last().map(|account| account.hash);
    let proof = ends(nodes, &Owner::State, &request.origin, last)?;
    Ok((accounts, proof))
}

/// The nodes on the ways to the ends of a range, each once.
fn ends(
    nodes: &dyn NodeReader,
    owner: &Owner,
    origin: &B256,
    last: Option<B256>,
) -> Result<Vec<ByteString>, ChainError> {
    let (mut proof, _) = walk::prove(nodes, owner, origin)?;
    if let Some(last) = last {
        for node in walk::prove(nodes, owner, &last)?.0 {
            if !proof.contains(&node) {
                proof.push(node);
            }
        }
    }
    Ok(proof)
}

/// The slots of accounts. A proof ends the answer.
fn slots(
    nodes: &dyn NodeReader,
    request: &GetStorageRanges,
) -> Result<(Vec<Vec<SlotData>>, Vec<ByteString>), ChainError> {
    let limit = soft_limit(request.bytes);
    let hard_limit = limit.saturating_add(limit / 10 * STATE_LOOKUP_SLACK_TENTHS);
    let mut all = Vec::new();
    let mut size = 0_usize;
    for (place, account) in request.accounts.iter().enumerate() {
        if size >= limit {
            break;
        }
        // Only the first account's slots may begin, and end, in the middle.
        let (origin, end) = if place == 0 { (request.origin, request.limit) } else { (None, None) };
        let origin = origin.unwrap_or_default();
        let end = end.unwrap_or(B256::repeat_byte(0xff));
        let owner = Owner::Storage(*account);
        let mut slots: Vec<SlotData> = Vec::new();
        let mut cut = false;
        walk::leaves(nodes, &owner, &origin, &mut |hash, value| {
            if size >= hard_limit {
                cut = true;
                return ControlFlow::Break(());
            }
            size = size.saturating_add(HASH_LENGTH).saturating_add(value.len());
            slots.push(SlotData { hash, data: ByteString::copy_from_slice(value) });
            if hash >= end { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        let last = slots.last().map(|slot| slot.hash);
        if !slots.is_empty() {
            all.push(slots);
        }
        if origin != B256::ZERO || (cut && last.is_some()) {
            return Ok((all, ends(nodes, &owner, &origin, last)?));
        }
    }
    Ok((all, Vec::new()))
}

/// Codes that are held, in the order asked for.
fn codes(chain: &Chain, request: &GetByteCodes) -> Result<Vec<ByteString>, ChainError> {
    let limit = soft_limit(request.bytes);
    let mut codes = Vec::new();
    let mut size = 0_usize;
    for hash in request.hashes.iter().take(MAX_CODE_LOOKUPS) {
        let code = if *hash == KECCAK256_EMPTY { Some(ByteString::new()) } else { chain.store.code(hash)? };
        if let Some(code) = code {
            size = size.saturating_add(code.len());
            codes.push(code);
        }
        if size > limit {
            break;
        }
    }
    Ok(codes)
}

/// Trie nodes by their paths. In the place of one that is not there is an empty string; an account that is not there is
/// passed over with its paths, as in geth.
fn trie_nodes(nodes: &dyn NodeReader, request: &GetTrieNodes) -> Result<Vec<ByteString>, ChainError> {
    let (limit, start) = (soft_limit(request.bytes), Instant::now());
    let mut found = Vec::new();
    let mut size = 0_usize;
    for paths in &request.paths {
        let (owner, paths) = match &paths[..] {
            [] => continue,
            [path] => (Owner::State, std::slice::from_ref(path)),
            [account, paths @ ..] => match B256::try_from(&account[..]) {
                Ok(hashed) if walk::prove(nodes, &Owner::State, &hashed)?.1.is_some() => {
                    (Owner::Storage(hashed), paths)
                }
                _ if start.elapsed() > MAX_TRIE_NODE_TIME => break,
                _ => continue,
            },
        };
        for path in paths {
            let node = match compact_path(path) {
                Some(path) => nodes.node(&owner, &path)?.unwrap_or_default(),
                None => ByteString::new(),
            };
            size = size.saturating_add(node.len());
            found.push(node);
            if size > limit || found.len() >= MAX_TRIE_NODE_LOOKUPS || start.elapsed() > MAX_TRIE_NODE_TIME {
                return Ok(found);
            }
        }
    }
    Ok(found)
}

/// Reads a path in compact encoding: a flag for an odd number of nibbles, then the nibbles. `None` for one that is longer
/// than a key, or is flagged to lead to a value: no node is there.
fn compact_path(encoded: &[u8]) -> Option<Nibbles> {
    let Some((first, rest)) = encoded.split_first() else { return Some(Nibbles::new()) };
    if *first >= 0x20 || rest.len() > HASH_LENGTH {
        return None;
    }
    let mut path = Nibbles::new();
    if first & 0x10 != 0 {
        path.push_unchecked(first & 0x0f);
    }
    walk::join(&path, &Nibbles::unpack(rest))
}

#[cfg(test)]
mod tests {
    use super::compact_path;
    use quintet_trie::Nibbles;

    #[test]
    fn compact_paths_are_read() {
        let path = |nibbles: &[u8]| Some(Nibbles::from_nibbles(nibbles));
        assert_eq!(compact_path(&[]), path(&[]));
        assert_eq!(compact_path(&[0x00]), path(&[]));
        assert_eq!(compact_path(&[0x15]), path(&[5]));
        assert_eq!(compact_path(&[0x00, 0x12]), path(&[1, 2]));
        assert_eq!(compact_path(&[0x11, 0x23, 0x45]), path(&[1, 2, 3, 4, 5]));
        assert_eq!(compact_path(&[0; 34]), None);
        assert_eq!(compact_path(&[0x20]), None, "a value's");
        assert_eq!(compact_path(&[0x11; 33]), None, "longer than a key");
    }
}
