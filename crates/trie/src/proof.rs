//! Merkle proofs as `eth_getProof` gives them (EIP-1186): the nodes from the root towards a key, whether it
//! is there or not.

use crate::node::{Node, link_hash};
use crate::{NodeReader, Owner, TrieError, path};
use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_rlp::Decodable;
use alloy_trie::{EMPTY_ROOT_HASH, Nibbles, TrieAccount};

/// An account and some of its slots, proven against the state root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountProof {
    /// The account's address.
    pub address: Address,
    /// The account as the trie holds it; `None` if it does not exist.
    pub account: Option<TrieAccount>,
    /// RLP of the nodes from the state root down; empty if the state is.
    pub nodes: Vec<Bytes>,
    /// One proof per slot, in the order asked for.
    pub storage: Vec<StorageProof>,
}

impl AccountProof {
    /// The root of the account's storage; that of an empty trie for an account that does not exist.
    pub fn storage_root(&self) -> B256 {
        self.account.as_ref().map_or(EMPTY_ROOT_HASH, |account| account.storage_root)
    }
}

/// A slot, proven against its account's storage root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageProof {
    /// The slot.
    pub slot: U256,
    /// Its value; zero if it was never written.
    pub value: U256,
    /// RLP of the nodes from the storage root down; empty if the storage is.
    pub nodes: Vec<Bytes>,
}

/// Proves what the tries behind `reader` hold of `address` and of `slots`. Every node is checked against the
/// hash that names it. Nodes inlined in their parents are not listed of their own.
///
/// # Errors
/// When a node cannot be read, or the stored nodes do not form a trie.
pub fn prove(reader: &dyn NodeReader, address: Address, slots: &[U256]) -> Result<AccountProof, TrieError> {
    let hashed = keccak256(address);
    let corrupt =
        |owner, key: B256, reason| TrieError::Corrupt { owner, path: Nibbles::unpack_array(&key.0), reason };
    let (nodes, leaf) = walk(reader, &Owner::State, None, &hashed)?;
    let account = leaf
        .map(|leaf| TrieAccount::decode(&mut &leaf[..]))
        .transpose()
        .map_err(|_| corrupt(Owner::State, hashed, "leaf is no account"))?;
    let root = account.as_ref().map_or(EMPTY_ROOT_HASH, |account| account.storage_root);
    let owner = Owner::Storage(hashed);
    let prove_slot = |slot: &U256| {
        let key = keccak256(slot.to_be_bytes::<32>());
        if root == EMPTY_ROOT_HASH {
            return Ok(StorageProof { slot: *slot, value: U256::ZERO, nodes: Vec::new() });
        }
        let (nodes, leaf) = walk(reader, &owner, Some(root), &key)?;
        let value = leaf.map_or(Ok(U256::ZERO), |leaf| U256::decode(&mut &leaf[..]));
        let value = value.map_err(|_| corrupt(owner, key, "leaf is no slot's value"))?;
        Ok(StorageProof { slot: *slot, value, nodes })
    };
    let storage = slots.iter().map(prove_slot).collect::<Result<_, TrieError>>()?;
    Ok(AccountProof { address, account, nodes, storage })
}

/// The stored nodes on the way to `key`, and the value there. `root` is what the root node must hash to.
fn walk(
    reader: &dyn NodeReader,
    owner: &Owner,
    root: Option<B256>,
    key: &B256,
) -> Result<(Vec<Bytes>, Option<Bytes>), TrieError> {
    let key = Nibbles::unpack_array(&key.0);
    let mut at = Nibbles::new();
    let mut nodes = Vec::new();
    let Some(mut rlp) = reader.node(owner, &at)? else {
        let missing = TrieError::Missing { owner: *owner, path: at };
        return if root.is_none() { Ok((nodes, None)) } else { Err(missing) };
    };
    check_hash(owner, &at, &rlp, root)?;
    nodes.push(rlp.clone());
    loop {
        let corrupt = |reason| TrieError::Corrupt { owner: *owner, path: at, reason };
        let link = match Node::decode(&rlp).map_err(corrupt)? {
            Node::Leaf { key: rest, value } => {
                let found = path::join(&at, &rest) == Some(key);
                return Ok((nodes, found.then_some(value)));
            }
            Node::Extension { key: rest, child } => {
                at = path::join(&at, &rest).ok_or_else(|| corrupt("deeper than its keys are long"))?;
                if !key.starts_with(&at) {
                    return Ok((nodes, None));
                }
                Bytes::copy_from_slice(&child)
            }
            Node::Branch(links) => {
                let nibble = key.get(at.len()).ok_or_else(|| corrupt("deeper than its keys are long"))?;
                at.push_unchecked(nibble);
                Bytes::copy_from_slice(links.get(nibble))
            }
        };
        if link.is_empty() {
            return Ok((nodes, None));
        }
        match link_hash(&link) {
            None => rlp = link,
            hash => {
                let missing = || TrieError::Missing { owner: *owner, path: at };
                rlp = reader.node(owner, &at)?.ok_or_else(missing)?;
                check_hash(owner, &at, &rlp, hash)?;
                nodes.push(rlp.clone());
            }
        }
    }
}

fn check_hash(owner: &Owner, path: &Nibbles, rlp: &Bytes, hash: Option<B256>) -> Result<(), TrieError> {
    match hash {
        Some(hash) if keccak256(rlp) != hash => Err(TrieError::HashMismatch { owner: *owner, path: *path }),
        _ => Ok(()),
    }
}
