//! Puts a genesis block into an empty store, and checks that a store belongs to the chain asked for.

use crate::error::ChainError;
use alloy_primitives::{B256, Bytes};
use quintet_chainspec::ChainSpec;
use quintet_store::{Commit, GENESIS_KEY, Store, TrieFlush};
use quintet_trie::{Layer, node_key};
use quintet_types::{ExecutedBlock, RecoveredBlock, StateDiff};
use std::sync::Arc;

/// Nodes by their keys.
type Nodes = Vec<(Vec<u8>, Option<Bytes>)>;

/// Commits `spec`'s genesis block to an empty store. In a store that has one already, it must be the same;
/// the forks may then differ as long as none lies behind the head, and the new schedule is stored.
///
/// # Errors
/// When the store holds another chain, or an incompatible schedule.
pub fn init(store: &dyn Store, spec: &ChainSpec) -> Result<(), ChainError> {
    if let Some(have) = store.canonical_hash(0)? {
        let head = store.head()?.ok_or(ChainError::Uninitialised)?;
        let header = store.header(&head.hash)?.ok_or(ChainError::NotFound("head"))?;
        let stored = stored_spec(store)?.ok_or(ChainError::Uninitialised)?;
        spec.check_database(have, stored.config(), header.number, header.timestamp)?;
        return Ok(store.commit(Commit { meta: vec![spec_entry(spec)?], ..Commit::default() })?);
    }
    let block = spec.genesis_block();
    let diff = spec.genesis_state();
    let nodes = trie_nodes(&diff, block.header.state_root)?;
    let recovered = RecoveredBlock { hash: spec.genesis_hash(), senders: Vec::new(), block };
    let genesis = recovered.block_ref();
    let total_difficulty = recovered.header().difficulty;
    let executed = ExecutedBlock {
        block: Arc::new(recovered),
        receipts: Arc::default(),
        diff: Arc::new(diff),
        total_difficulty,
    };
    store.commit(Commit {
        blocks: vec![executed],
        trie: Some(TrieFlush { block: genesis, nodes, ..TrieFlush::default() }),
        meta: vec![spec_entry(spec)?],
        ..Commit::default()
    })?;
    Ok(())
}

/// The nodes of the trie of a genesis block's state, as a store keeps them.
pub(crate) fn trie_nodes(state: &StateDiff, root: B256) -> Result<Nodes, ChainError> {
    let (found, update) = quintet_trie::update(&Layer::new(), state)?;
    if found != root {
        return Err(ChainError::GenesisRoot { header: root, state: found });
    }
    let nodes = update.nodes.into_iter().map(|((owner, path), node)| (node_key(&owner, &path), node));
    Ok(nodes.collect())
}

/// The chain that a store holds; `None` when it is empty.
///
/// # Errors
/// When its configuration cannot be read.
pub fn stored_spec(store: &dyn Store) -> Result<Option<ChainSpec>, ChainError> {
    let Some(json) = store.meta(GENESIS_KEY)? else { return Ok(None) };
    Ok(Some(ChainSpec::from_json(&String::from_utf8_lossy(&json))?))
}

fn spec_entry(spec: &ChainSpec) -> Result<(String, Option<Bytes>), ChainError> {
    Ok((GENESIS_KEY.to_owned(), Some(spec.genesis().to_json()?.into_bytes().into())))
}
