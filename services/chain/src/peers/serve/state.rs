//! The states that peers are served: the one at the head, and those of the last blocks, since who syncs asks for a state
//! that is some way behind.
//!
//! The trie is kept for one block. That of an earlier block differs from it in the nodes that the blocks between have
//! changed: these are computed once, by undoing the blocks' changes, and moved along with the head. To begin is what costs
//! most, so there is an allowance for it: one of each peer's own, and one for all together.

use crate::chain::Chain;
use crate::error::ChainError;
use crate::peers::allowance::Allowance;
use crate::peers::peer::Peer;
use crate::trie::HeadTrie;
use alloy_primitives::B256;
use alloy_primitives::map::B256Map;
use parking_lot::Mutex;
use quintet_trie::{Layer, Nibbles, NodeReader, Overlay, Owner};
use quintet_types::BlockRef;
use std::collections::VecDeque;
use std::time::Instant;

/// How far behind the head a state may be (geth keeps as many).
const DEPTH: u64 = 128;
/// States that are kept at once.
const VIEWS: usize = 4;
/// Places of nodes that are remembered by their hashes.
const PLACES: usize = 1 << 16;

/// States that one peer may have begun with at once, and each second.
const OF_ONE: (u32, u32) = (8, 1);
/// The same for all peers together.
const OF_ALL: (u32, u32) = (32, 4);

/// What a peer may have begun with at first.
pub(crate) fn allowance_of_one() -> Allowance {
    Allowance::new(OF_ONE.0, OF_ONE.1, Instant::now())
}

/// The states at hand.
pub(crate) struct StateViews(Mutex<Views>);

struct Views {
    /// The one used last is the first.
    held: VecDeque<View>,
    places: Places,
    /// What is left of new states.
    begins: Allowance,
}

impl StateViews {
    /// None yet.
    pub(crate) fn new() -> Self {
        let begins = Allowance::new(OF_ALL.0, OF_ALL.1, Instant::now());
        Self(Mutex::new(Views { held: VecDeque::new(), places: Places::default(), begins }))
    }
}

/// The state after one block, as what it differs in from the trie's.
struct View {
    root: B256,
    block: BlockRef,
    /// The block of the trie that `layer` lies on.
    over: BlockRef,
    layer: Layer,
}

/// Where nodes are that were told of: the children of nodes that were served. It is what GetNodeData needs, which asks by
/// hash alone. A place is only a guess: the node there is compared with the hash.
#[derive(Default)]
pub(super) struct Places {
    places: B256Map<(Owner, Nibbles)>,
    order: VecDeque<B256>,
}

impl Places {
    pub(super) fn insert(&mut self, hash: B256, owner: Owner, path: Nibbles) {
        if self.places.insert(hash, (owner, path)).is_none() {
            self.order.push_back(hash);
        }
        if self.order.len() > PLACES
            && let Some(oldest) = self.order.pop_front()
        {
            self.places.remove(&oldest);
        }
    }

    pub(super) fn get(&self, hash: &B256) -> Option<(Owner, Nibbles)> {
        self.places.get(hash).copied()
    }
}

impl StateViews {
    /// Reads the state with this root, if it is at hand. Blocking; states are read by one at a time.
    ///
    /// # Errors
    /// When the store fails.
    pub(super) fn read<T>(
        &self,
        chain: &Chain,
        asker: &Peer,
        root: B256,
        mut read: impl FnMut(&dyn NodeReader) -> Result<T, ChainError>,
    ) -> Result<Option<T>, ChainError> {
        let mut views = self.0.lock();
        // After a reorg what is kept is of no use any more, and is begun anew.
        for _ in 0..2 {
            if !views.bring(chain, asker, root)? {
                return Ok(None);
            }
            if let Some(found) = views.read_first(chain, &mut read)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Reads whatever states are at hand, the one used last first, until `read` is content. `read` is given the root, too.
    ///
    /// # Errors
    /// When the store fails.
    pub(super) fn read_by_hash<T>(
        &self,
        chain: &Chain,
        asker: &Peer,
        hash: &B256,
        mut read: impl FnMut(&dyn NodeReader, &mut Places, &B256) -> Result<Option<T>, ChainError>,
    ) -> Result<Option<T>, ChainError> {
        let mut views = self.0.lock();
        let known = views.places.get(hash).is_some();
        // Who begins to sync asks for a state's root first.
        if !known && !views.bring(chain, asker, *hash)? {
            return Ok(None);
        }
        for _ in 0..views.held.len() {
            let mut places = std::mem::take(&mut views.places);
            let found = views.read_first(chain, |nodes| read(nodes, &mut places, hash));
            views.places = places;
            if let Some(Some(found)) = found? {
                return Ok(Some(found));
            }
            views.held.rotate_left(1);
        }
        Ok(None)
    }
}

impl Views {
    /// Puts the state with this root first; `false` if it is not at hand.
    fn bring(&mut self, chain: &Chain, asker: &Peer, root: B256) -> Result<bool, ChainError> {
        // What the trie holds is of no block then.
        if chain.is_fetching_state() {
            return Ok(false);
        }
        if let Some(at) = self.held.iter().position(|view| view.root == root) {
            let Some(view) = self.held.remove(at) else { return Ok(false) };
            if is_recent(view.block, chain.head().block) && is_canonical(chain, view.block)? {
                self.held.push_front(view);
                return Ok(true);
            }
        }
        let Some(block) = block_of(chain, root)? else { return Ok(false) };
        let now = Instant::now();
        let mut may = || asker.states.lock().take(now) && self.begins.take(now);
        if block != chain.head().block && !may() {
            metrics::counter!("quintet_chain_peer_states_refused_total").increment(1);
            return Ok(false);
        }
        let Some(view) = View::new(chain, root, block)? else { return Ok(false) };
        self.held.truncate(VIEWS - 1);
        self.held.push_front(view);
        Ok(true)
    }

    /// Reads the first state, moved along with the trie if need be.
    fn read_first<T>(
        &mut self,
        chain: &Chain,
        read: impl FnOnce(&dyn NodeReader) -> Result<T, ChainError>,
    ) -> Result<Option<T>, ChainError> {
        let Some(view) = self.held.front_mut() else { return Ok(None) };
        let trie = chain.trie.read();
        // While blocks are imported in bulk the trie is ahead of the store.
        if chain.is_fetching_state() || !is_canonical(chain, trie.head())? {
            return Ok(None);
        }
        if !view.follow(chain, &trie)? {
            self.held.pop_front();
            return Ok(None);
        }
        trie.read(|nodes| read(&Overlay::new(&view.layer, nodes))).map(Some)
    }
}

impl View {
    /// The state after `block`; `None` if the trie cannot be led back to it.
    fn new(chain: &Chain, root: B256, block: BlockRef) -> Result<Option<Self>, ChainError> {
        let trie = chain.trie.read();
        let over = trie.head();
        // While blocks are imported in bulk the trie is ahead of the store.
        if !is_recent(block, over) || !is_canonical(chain, over)? || !is_canonical(chain, block)? {
            return Ok(None);
        }
        let layer = if over == block {
            Layer::new()
        } else {
            let (found, layer) = trie.beside(&trie.changes_back_to(block.number)?)?;
            if found != root {
                return Ok(None);
            }
            layer
        };
        Ok(Some(Self { root, block, over, layer }))
    }

    /// Moves along with the trie, whose block is canonical; `false` if it has gone elsewhere, or too far.
    fn follow(&mut self, chain: &Chain, trie: &HeadTrie) -> Result<bool, ChainError> {
        let head = trie.head();
        if head == self.over {
            return Ok(true);
        }
        // What led here from before a state was adopted is not held.
        let held = self.over.number >= chain.store.first_state()?;
        let forward = held && head.number >= self.over.number && is_canonical(chain, self.over)?;
        if !forward || !is_recent(self.block, head) {
            return Ok(false);
        }
        let (_, mut layer) = trie.beside(&trie.changes_back_to(self.over.number)?)?;
        layer.apply(self.layer.to_update());
        (self.over, self.layer) = (head, layer);
        Ok(true)
    }
}

/// Whether a block is near enough below another one.
fn is_recent(block: BlockRef, head: BlockRef) -> bool {
    head.number.checked_sub(block.number).is_some_and(|behind| behind <= DEPTH)
}

fn is_canonical(chain: &Chain, block: BlockRef) -> Result<bool, ChainError> {
    Ok(chain.store.canonical_hash(block.number)? == Some(block.hash))
}

/// The newest of the last blocks whose state has this root.
fn block_of(chain: &Chain, root: B256) -> Result<Option<BlockRef>, ChainError> {
    let head = chain.head();
    if head.header.state_root == root {
        return Ok(Some(head.block));
    }
    let mut hash = head.header.parent_hash;
    let oldest = head.block.number.saturating_sub(DEPTH).max(chain.store.first_state()?);
    for number in (oldest..head.block.number).rev() {
        let Some(header) = chain.store.header(&hash)? else { break };
        if header.state_root == root {
            return Ok(Some(BlockRef { number, hash }));
        }
        hash = header.parent_hash;
    }
    Ok(None)
}
