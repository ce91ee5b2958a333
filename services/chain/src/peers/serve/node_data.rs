//! `GetNodeData`: codes, and trie nodes as far as it is known where they are, by their hashes.
//!
//! Nodes are kept by path. Who syncs a state asks for its root, then for the root's children, and so on; so a node's
//! place is known once its parent was served. What is asked for in another order is not found, which is a valid answer.

use super::state::{Places, StateViews};
use super::walk;
use crate::chain::Chain;
use crate::error::ChainError;
use crate::peers::peer::Peer;
use alloy_primitives::{B256, Bytes, keccak256};
use alloy_rlp::Decodable;
use alloy_trie::nodes::TrieNode;
use quintet_eth_wire::{ListBuilder, MAX_NODE_DATA_SERVE, SOFT_RESPONSE_SIZE};
use quintet_trie::{EMPTY_ROOT_HASH, Nibbles, NodeReader, Owner, TrieAccount};

/// What is at hand of the nodes and codes asked for, in their order.
///
/// # Errors
/// When the store fails.
pub(super) fn nodes_and_codes(
    chain: &Chain,
    states: &StateViews,
    asker: &Peer,
    hashes: &[B256],
) -> Result<ListBuilder, ChainError> {
    let mut list = ListBuilder::new();
    for hash in hashes.iter().take(2 * MAX_NODE_DATA_SERVE) {
        if list.size() >= SOFT_RESPONSE_SIZE || list.items() >= MAX_NODE_DATA_SERVE {
            break;
        }
        let found = match states.read_by_hash(chain, asker, hash, node)? {
            Some(node) => Some(node),
            None => chain.store.code(hash)?,
        };
        if let Some(found) = found {
            list.push_bytes(&found);
        }
    }
    Ok(list)
}

/// The node with this hash in one state. Its children's places are noted.
fn node(nodes: &dyn NodeReader, places: &mut Places, hash: &B256) -> Result<Option<Bytes>, ChainError> {
    let (owner, path) = places.get(hash).unwrap_or((Owner::State, Nibbles::new()));
    let Some(rlp) = nodes.node(&owner, &path)? else { return Ok(None) };
    if keccak256(&rlp) != *hash {
        return Ok(None);
    }
    let node = walk::decode(&owner, &path, &rlp)?;
    for (part, link) in walk::children(&node) {
        if let (Some(child), Some(below)) = (link.as_hash(), walk::join(&path, &part)) {
            places.insert(child, owner, below);
        }
    }
    if let (TrieNode::Leaf(leaf), Owner::State) = (&node, owner)
        && let Ok(account) = TrieAccount::decode(&mut &leaf.value[..])
        && account.storage_root != EMPTY_ROOT_HASH
        && let Some(key) = walk::join(&path, &leaf.key)
        && let Ok(hashed) = B256::try_from(key.pack().as_slice())
    {
        places.insert(account.storage_root, Owner::Storage(hashed), Nibbles::new());
    }
    Ok(Some(rlp))
}
