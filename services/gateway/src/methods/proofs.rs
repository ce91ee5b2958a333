//! `eth_getProof` (EIP-1186). The store has the tries' nodes for one block near the head; for another block the
//! nodes that differ are computed from the state versions in between, in memory and for this request alone.

use super::context::{Context, Output, Stop, state_error};
use crate::decode;
use crate::error::RpcError;
use crate::json::{self, Object};
use crate::params::Params;
use alloy_primitives::{Address, Bytes, KECCAK256_EMPTY, U256, keccak256};
use quintet_store::{Store, StoreError};
use quintet_trie::{
    AccountProof, Layer, Nibbles, NodeReader, Overlay, Owner, TrieChanges, TrieError, node_key, prove,
    update_with,
};
use quintet_types::{BlockRef, StateError};
use std::collections::HashMap;

/// How far from the stored trie's block a proof can be made. The store's trie lags behind the head by at most
/// 128 blocks, so every block that geth's path-based state keeps has one.
const MOST_BLOCKS: u64 = 256;
/// Nodes of each path that are read ahead: from the root, as many as a trie of some million leaves is deep.
const AHEAD: usize = 7;
/// Slots in one request, as in geth.
const MOST_SLOTS: usize = 1024;

/// A slot as it was asked for: geth repeats short keys as they were written.
struct AskedSlot {
    slot: U256,
    /// Whether it was written with all its digits.
    whole: bool,
}

/// `eth_getProof`.
pub(super) fn proof(
    context: &mut Context<'_>,
    params: &mut Params<'_>,
    out: &mut Output,
) -> Result<(), Stop> {
    let address = params.required(decode::address)?;
    let keys = params.required(|raw| decode::list(raw, "[]string", decode::string))?;
    let block = params.optional(decode::block_id)?;
    params.end()?;
    if keys.len() > MOST_SLOTS {
        return Err(RpcError::params(format!("too many slots (max {MOST_SLOTS})")).into());
    }
    let slots = keys.iter().map(|key| asked_slot(key)).collect::<Result<Vec<_>, _>>()?;
    let state = context.state(block)?;
    state.check_held().map_err(state_error)?;
    out.block = state.block().number;
    let wanted: Vec<U256> = slots.iter().map(|asked| asked.slot).collect();
    let proof = prove_at(context, state.block(), address, &wanted)?;
    write(&mut out.json, &proof, &slots);
    Ok(())
}

fn asked_slot(key: &str) -> Result<AskedSlot, RpcError> {
    let slot = decode::storage_key(key).map_err(RpcError::InvalidParams)?;
    Ok(AskedSlot { slot: slot.into(), whole: key.trim_start_matches("0x").len() == 64 })
}

/// Proves at `block`. The trie in the store may be flushed meanwhile: then it is begun again.
fn prove_at(
    context: &Context<'_>,
    block: BlockRef,
    address: Address,
    slots: &[U256],
) -> Result<AccountProof, RpcError> {
    let store = context.shared.reads.store();
    for _ in 0..4 {
        let Some(base) = store.trie_block()? else { return Err(RpcError::server("missing trie node")) };
        let proof = prove_from(context, base, block, address, slots);
        if store.trie_block()? == Some(base) {
            return proof;
        }
    }
    Err(RpcError::ChainChanged)
}

fn prove_from(
    context: &Context<'_>,
    base: BlockRef,
    block: BlockRef,
    address: Address,
    slots: &[U256],
) -> Result<AccountProof, RpcError> {
    if base.number.abs_diff(block.number) > MOST_BLOCKS {
        let text = format!(
            "proof window exceeded: block {} is more than {MOST_BLOCKS} blocks from block {}",
            block.number, base.number
        );
        return Err(RpcError::server(text));
    }
    let store = context.shared.reads.store();
    let stored = Stored::ahead(store, address, slots)?;
    let mut layer = Layer::new();
    let changes = changes_between(context, base.number, block.number)?;
    let (_, update) = update_with(&stored, &changes).map_err(trie_error)?;
    layer.apply(update);
    if store.canonical_hash(block.number)? != Some(block.hash) {
        return Err(RpcError::ChainChanged);
    }
    prove(&Overlay::new(&layer, &stored), address, slots).map_err(trie_error)
}

/// What leads from the state after `from` to that after `to`.
fn changes_between(context: &Context<'_>, from: u64, to: u64) -> Result<TrieChanges, RpcError> {
    let store = context.shared.reads.store();
    let mut changes = TrieChanges::default();
    for number in from + 1..=to {
        context.check_time()?;
        // Recent blocks are held with what they changed.
        match context.view.recent(number) {
            Some(recent) => changes.extend(TrieChanges::from(&*recent.diff)),
            None => changes.extend(TrieChanges::from(&store.diff(number)?)),
        }
    }
    for number in (to + 1..=from).rev() {
        let diff = store.diff(number)?;
        let before = number - 1;
        let inverse = TrieChanges::inverse(
            &diff,
            |address, account, slot| store.storage_at(address, account.incarnation, slot, before),
            |address, account| store.hashed_storage_at(address, account.incarnation, before),
        )?;
        changes.extend(inverse);
    }
    Ok(changes)
}

fn trie_error(error: TrieError) -> RpcError {
    match error {
        TrieError::Read(error) => error.into(),
        error => RpcError::internal(&error),
    }
}

/// The store's nodes, some of them read ahead.
struct Stored<'a> {
    store: &'a dyn Store,
    ahead: HashMap<Vec<u8>, Option<Bytes>>,
}

impl<'a> Stored<'a> {
    /// With the upper nodes of the paths to an account and its slots, read at once.
    fn ahead(store: &'a dyn Store, address: Address, slots: &[U256]) -> Result<Self, StoreError> {
        if !store.reads_block() {
            return Ok(Self { store, ahead: HashMap::new() });
        }
        let hashed = keccak256(address);
        let mut keys = Vec::with_capacity((slots.len() + 1) * AHEAD);
        let mut add = |owner: &Owner, path: Nibbles| {
            keys.extend((0..AHEAD).map(|length| node_key(owner, &path.slice(..length))));
        };
        add(&Owner::State, Nibbles::unpack(hashed));
        for slot in slots {
            add(&Owner::Storage(hashed), Nibbles::unpack(keccak256(slot.to_be_bytes::<32>())));
        }
        keys.sort_unstable();
        keys.dedup();
        let nodes = store.trie_nodes(&keys)?;
        Ok(Self { store, ahead: keys.into_iter().zip(nodes).collect() })
    }
}

impl NodeReader for Stored<'_> {
    fn node(&self, owner: &Owner, path: &Nibbles) -> Result<Option<Bytes>, TrieError> {
        let key = node_key(owner, path);
        if let Some(node) = self.ahead.get(&key) {
            return Ok(node.clone());
        }
        self.store.trie_node(&key).map_err(|error| StateError::new(error).into())
    }
}

fn write(out: &mut Vec<u8>, proof: &AccountProof, slots: &[AskedSlot]) {
    let account = proof.account.as_ref();
    let mut object = Object::new(out);
    object.data("address", proof.address.as_slice());
    json::array(object.key("accountProof"), &proof.nodes, |out, node| json::data(out, node));
    object.quantity256("balance", &account.map(|account| account.balance).unwrap_or_default());
    let code_hash = account.map_or(KECCAK256_EMPTY, |account| account.code_hash);
    object.data("codeHash", code_hash.as_slice());
    object.quantity("nonce", account.map(|account| account.nonce).unwrap_or_default());
    object.data("storageHash", proof.storage_root().as_slice());
    json::array(object.key("storageProof"), proof.storage.iter().zip(slots), |out, (proof, asked)| {
        let mut object = Object::new(out);
        if asked.whole {
            object.data("key", &asked.slot.to_be_bytes::<32>());
        } else {
            object.quantity256("key", &asked.slot);
        }
        object.quantity256("value", &proof.value);
        json::array(object.key("proof"), &proof.nodes, |out, node| json::data(out, node));
        object.end();
    });
    object.end();
}
