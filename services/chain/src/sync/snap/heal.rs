//! The second pass: what was fetched, from the states of several blocks, becomes the state of one.
//!
//! The trie is walked from the root of the wanted state. Where the node that is held at a path has the hash that is wanted there,
//! all below is right. Any other is fetched, and what it puts in its place is fetched in turn.
//!
//! What must hold, in the store, whenever the process ends: below a node that is held, all is as its hash says: nodes, accounts,
//! slots and codes. So a node that is not the wanted one is deleted before anything below it changes, and the one in its place is
//! written after all below it. Then it does not matter that the wanted state may be another one next time.

use super::ask::NodeAt;
use super::report::Missing;
use super::stale::{stale_entries, stale_nodes};
use crate::error::ChainError;
use alloy_primitives::map::{B256Map, B256Set, HashMap};
use alloy_primitives::{B256, Bytes, KECCAK256_EMPTY, U256, keccak256};
use alloy_rlp::Decodable;
use alloy_trie::nodes::TrieNode;
use quintet_store::{FetchedState, Store, successor};
use quintet_trie::{EMPTY_ROOT_HASH, Nibbles, Owner, TrieAccount, TrieError, node_key, storage_prefix};
use std::collections::{BTreeMap, BTreeSet};

/// Nodes that are asked for at once (geth's `maxTrieRequestCount` is 1024 at most, for the fastest peers).
pub(crate) const MOST_NODES: usize = 384;
/// Nibbles of a key.
const KEY_LENGTH: usize = 64;

/// Where a node is.
type Place = (Owner, Nibbles);

/// A node that is not written yet.
#[derive(Debug)]
struct Pending {
    /// The node that waits for this one, if it is not the root.
    parent: Option<Place>,
    /// Its RLP, once it is there.
    rlp: Bytes,
    /// What it waits for: nodes and codes below it.
    missing: usize,
}

/// The pass.
#[derive(Debug, Default)]
pub(crate) struct Healer {
    /// Nodes that are asked for or wait for what is below them.
    pending: HashMap<Place, Pending>,
    /// Nodes that nobody is asked for. The last ones are the deepest, and the first to be asked for.
    wanted: Vec<NodeAt>,
    /// Codes that nobody is asked for.
    codes: BTreeSet<B256>,
    /// Who waits for a code.
    waiting: B256Map<Vec<Place>>,
    /// Codes that came, and may not be written yet.
    arrived: B256Set,
    /// Nodes that are pending and did not come.
    absent: usize,
    out: Out,
}

/// What is to be written.
#[derive(Debug, Default)]
struct Out {
    state: FetchedState,
    nodes: BTreeMap<Vec<u8>, Option<Bytes>>,
    weight: usize,
}

/// What a node says of those below it.
#[derive(Debug, Default)]
struct Below {
    nodes: Vec<NodeAt>,
    codes: Vec<B256>,
}

fn corrupt(owner: &Owner, path: &Nibbles) -> ChainError {
    TrieError::Corrupt { owner: *owner, path: *path, reason: "not a node" }.into()
}

impl Healer {
    /// Begins with the root of the wanted state.
    pub(crate) fn new(store: &dyn Store, root: B256) -> Result<Self, ChainError> {
        let mut healer = Self::default();
        if root == EMPTY_ROOT_HASH {
            healer.out.clear(&Owner::State, &Nibbles::new(), &[]);
        } else {
            let root = NodeAt { owner: Owner::State, path: Nibbles::new(), hash: root };
            healer.want(store, vec![(root, None)])?;
        }
        Ok(healer)
    }

    /// Whether the state is the wanted one, once [`Self::take_out`]'s last is written.
    pub(crate) fn is_done(&self) -> bool {
        self.pending.is_empty()
    }

    /// Nodes and codes that are known to be missing, those that somebody is asked for included.
    pub(super) fn missing(&self) -> Missing {
        Missing { nodes: self.absent, codes: self.waiting.len() }
    }

    /// About the bytes that wait to be written.
    pub(crate) const fn weight(&self) -> usize {
        self.out.weight
    }

    /// What is to be written.
    pub(crate) fn take_out(&mut self) -> FetchedState {
        let Out { mut state, nodes, .. } = std::mem::take(&mut self.out);
        state.nodes = nodes.into_iter().collect();
        state
    }

    /// Nodes to ask for, at most `most`, those of one trie together.
    pub(crate) fn ask_nodes(&mut self, most: usize) -> Vec<NodeAt> {
        let rest = self.wanted.len().saturating_sub(most);
        let mut asked = self.wanted.split_off(rest);
        asked.sort_unstable();
        asked
    }

    /// Codes to ask for, at most `most`.
    pub(crate) fn ask_codes(&mut self, most: usize) -> Vec<B256> {
        let chosen: Vec<B256> = self.codes.iter().take(most).copied().collect();
        self.codes.retain(|code| !chosen.contains(code));
        chosen
    }

    /// Nodes that were asked for and did not come.
    pub(crate) fn want_nodes_again(&mut self, nodes: impl IntoIterator<Item = NodeAt>) {
        self.wanted.extend(nodes);
    }

    /// Codes that were asked for and did not come.
    pub(crate) fn want_codes_again(&mut self, codes: impl IntoIterator<Item = B256>) {
        self.codes.extend(codes);
    }

    /// Takes nodes that were asked for and have the hashes that were.
    ///
    /// # Errors
    /// When the store cannot be read, or the state has what no state can have.
    pub(crate) fn nodes(&mut self, store: &dyn Store, found: Vec<(NodeAt, Bytes)>) -> Result<(), ChainError> {
        let (mut places, mut wanted, mut codes) = (Vec::new(), Vec::new(), Vec::new());
        for (NodeAt { owner, path, .. }, rlp) in found {
            let place = (owner, path);
            let Some(pending) = self.pending.get_mut(&place) else { continue };
            self.absent = self.absent.saturating_sub(1);
            let mut below = Below::default();
            self.out.replace(&owner, &path, &rlp, &mut below)?;
            pending.rlp = rlp;
            wanted.extend(below.nodes.into_iter().map(|node| (node, Some(place))));
            codes.extend(below.codes.into_iter().map(|code| (code, place)));
            places.push(place);
        }
        for (code, place) in codes {
            self.want_code(store, code, place)?;
        }
        self.want(store, wanted)?;
        for place in places {
            self.conclude(place);
        }
        Ok(())
    }

    /// Takes a code that was asked for.
    pub(crate) fn code(&mut self, hash: B256, code: Bytes) {
        self.out.weight = self.out.weight.saturating_add(code.len());
        self.out.state.code.push((hash, code));
        self.arrived.insert(hash);
        for place in self.waiting.remove(&hash).unwrap_or_default() {
            self.one_less(place);
        }
    }

    /// Of these nodes, with those that wait for them, the ones that are not held are wanted.
    fn want(&mut self, store: &dyn Store, nodes: Vec<(NodeAt, Option<Place>)>) -> Result<(), ChainError> {
        let keys: Vec<Vec<u8>> = nodes.iter().map(|(node, _)| node_key(&node.owner, &node.path)).collect();
        let held = store.trie_nodes(&keys)?;
        for (((node, parent), key), held) in nodes.into_iter().zip(keys).zip(held) {
            match held {
                Some(held) if keccak256(&held) == node.hash => continue,
                Some(_) => self.out.delete(key),
                None => {}
            }
            if let Some(parent) = parent.and_then(|parent| self.pending.get_mut(&parent)) {
                parent.missing += 1;
            }
            let place = (node.owner, node.path);
            self.pending.insert(place, Pending { parent, rlp: Bytes::new(), missing: 0 });
            self.wanted.push(node);
            self.absent = self.absent.saturating_add(1);
        }
        Ok(())
    }

    fn want_code(&mut self, store: &dyn Store, code: B256, place: Place) -> Result<(), ChainError> {
        if self.arrived.contains(&code) || store.code(&code)?.is_some() {
            return Ok(());
        }
        if let Some(pending) = self.pending.get_mut(&place) {
            pending.missing += 1;
        }
        let waiting = self.waiting.entry(code).or_default();
        if waiting.is_empty() {
            self.codes.insert(code);
        }
        waiting.push(place);
        Ok(())
    }

    /// Something came that the node at `place` waited for.
    fn one_less(&mut self, place: Place) {
        if let Some(pending) = self.pending.get_mut(&place) {
            pending.missing = pending.missing.saturating_sub(1);
        }
        self.conclude(place);
    }

    /// Writes the node at `place` if all below it is there, and then perhaps those above it.
    fn conclude(&mut self, place: Place) {
        let mut next = Some(place);
        while let Some(place) = next {
            let done = self.pending.get(&place).is_some_and(|node| node.missing == 0 && !node.rlp.is_empty());
            let Some(Pending { parent, rlp, .. }) = done.then(|| self.pending.remove(&place)).flatten()
            else {
                return;
            };
            let (owner, path) = place;
            self.out.put(node_key(&owner, &path), rlp);
            if let Some(parent) = parent.and_then(|parent| self.pending.get_mut(&parent)) {
                parent.missing = parent.missing.saturating_sub(1);
            }
            next = parent;
        }
    }
}

impl Out {
    fn put(&mut self, key: Vec<u8>, node: Bytes) {
        self.weight = self.weight.saturating_add(key.len()).saturating_add(node.len());
        self.nodes.insert(key, Some(node));
    }

    fn delete(&mut self, key: Vec<u8>) {
        self.weight = self.weight.saturating_add(key.len());
        self.nodes.insert(key, None);
    }

    /// Deletes all at and below a path but for what lies at and below `kept`.
    fn clear(&mut self, owner: &Owner, path: &Nibbles, kept: &[Nibbles]) {
        let nodes = stale_nodes(owner, path, kept);
        self.weight = self.weight.saturating_add(nodes.len().saturating_mul(64));
        self.state.wiped_nodes.extend(nodes.into_iter().map(|(from, to)| (from, Some(to))));
        self.clear_entries(owner, stale_entries(path, kept));
    }

    fn clear_entries(&mut self, owner: &Owner, entries: Vec<(B256, B256)>) {
        if let Owner::Storage(account) = owner {
            self.state.wiped_slots.extend(entries.into_iter().map(|(from, to)| (*account, from, to)));
            return;
        }
        for (from, to) in entries {
            // Slots go with their accounts; the nodes of their tries must not outlive them either.
            let nodes =
                (storage_prefix(&from).to_vec(), successor(&to).map(|next| storage_prefix(&next).to_vec()));
            self.state.wiped_nodes.push(nodes);
            self.state.wiped_accounts.push((from, to));
        }
    }

    /// Takes in a node, with those inside it, and says what is below.
    fn replace(
        &mut self,
        owner: &Owner,
        path: &Nibbles,
        rlp: &[u8],
        below: &mut Below,
    ) -> Result<(), ChainError> {
        let node = TrieNode::decode(&mut &*rlp).map_err(|_| corrupt(owner, path))?;
        let join = |part: &Nibbles| {
            (path.len() + part.len() <= KEY_LENGTH)
                .then(|| path.join(part))
                .ok_or_else(|| corrupt(owner, path))
        };
        let links = match &node {
            TrieNode::Leaf(leaf) => {
                let key = join(&leaf.key)?;
                let hash = B256::try_from(key.pack().as_slice()).map_err(|_| corrupt(owner, path))?;
                return self.entry(owner, path, (hash, key), &leaf.value, below);
            }
            TrieNode::Extension(extension) => vec![(join(&extension.key)?, extension.child.clone())],
            TrieNode::Branch(branch) => {
                let branch = branch.as_ref();
                let children = branch.children().filter_map(|(nibble, link)| Some((nibble, link?)));
                let join = |nibble| join(&Nibbles::from_nibbles_unchecked([nibble]));
                let children = children.map(|(nibble, link)| Ok((join(nibble)?, link.clone())));
                children.collect::<Result<_, ChainError>>()?
            }
            TrieNode::EmptyRoot => return Err(corrupt(owner, path)),
        };
        let kept: Vec<Nibbles> = links.iter().map(|(path, _)| *path).collect();
        self.clear(owner, path, &kept);
        for (path, link) in links {
            if let Some(hash) = link.as_hash() {
                below.nodes.push(NodeAt { owner: *owner, path, hash });
            } else {
                // It has no entry of its own, but one that was there may have had.
                self.delete(node_key(owner, &path));
                self.replace(owner, &path, link.as_slice(), below)?;
            }
        }
        Ok(())
    }

    /// Takes in a leaf.
    fn entry(
        &mut self,
        owner: &Owner,
        path: &Nibbles,
        (hash, key): (B256, Nibbles),
        mut value: &[u8],
        below: &mut Below,
    ) -> Result<(), ChainError> {
        // Nothing of the trie is below a leaf, and no entry beside it.
        let nodes = stale_nodes(owner, path, &[]);
        self.state.wiped_nodes.extend(nodes.into_iter().map(|(from, to)| (from, Some(to))));
        self.clear_entries(owner, stale_entries(path, &[key]));
        self.weight = self.weight.saturating_add(256);
        if let Owner::Storage(account) = owner {
            let value = U256::decode(&mut value).map_err(|_| corrupt(owner, path))?;
            self.state.slots.push((*account, hash, value));
            return Ok(());
        }
        let entry = TrieAccount::decode(&mut value).map_err(|_| corrupt(owner, path))?;
        self.state.accounts.push((hash, entry));
        let storage = Owner::Storage(hash);
        if entry.storage_root == EMPTY_ROOT_HASH {
            self.clear(&storage, &Nibbles::new(), &[]);
        } else {
            below.nodes.push(NodeAt { owner: storage, path: Nibbles::new(), hash: entry.storage_root });
        }
        if entry.code_hash != KECCAK256_EMPTY {
            below.codes.push(entry.code_hash);
        }
        Ok(())
    }
}
