//! Trie nodes read ahead, level by level for many keys at once, into the cache that the trie at the head stands on.
//!
//! The cache gives nodes by their hashes, so what is read too early or in vain does no harm.

use super::state::ReadAhead;
use alloy_primitives::keccak256;
use alloy_primitives::map::HashMap;
use quintet_store::{Store, StoreError};
use quintet_trie::{Layer, Nibbles, NodeCache, NodeReader, Owner, node_key};
use std::collections::BTreeMap;

/// Levels whose nodes are remembered to have been read: those that many keys share.
const SHARED_LEVELS: usize = 4;
/// Nodes that are remembered to have been read.
const REMEMBERED: usize = 1 << 17;
/// No trie of a chain is deeper than this, but for keys that somebody searched for.
const MOST_LEVELS: usize = 12;

/// Reads nodes ahead, each of the upper ones once.
#[derive(Default)]
pub(super) struct NodesAhead {
    /// Keys of the upper levels that were asked for, and whether there was a node.
    asked: HashMap<Vec<u8>, bool>,
}

/// A key on its way down: it ends where there is no node.
struct Descent {
    owner: Owner,
    path: Nibbles,
    key: Vec<u8>,
}

impl NodesAhead {
    /// Reads the nodes on the ways to these accounts and slots into the cache.
    pub(super) fn read(
        &mut self,
        store: &dyn Store,
        cache: &NodeCache,
        ahead: &ReadAhead,
    ) -> Result<(), StoreError> {
        if self.asked.len() > REMEMBERED {
            self.asked.clear();
        }
        let nothing = Layer::new();
        let cache = cache.over(&nothing);
        let mut descents = descents(ahead);
        for level in 0..MOST_LEVELS {
            let places = self.ask(&mut descents, level);
            let keys: Vec<Vec<u8>> = places.keys().cloned().collect();
            let nodes = if keys.is_empty() { Vec::new() } else { store.trie_nodes(&keys)? };
            let mut found = HashMap::default();
            for (key, node) in keys.into_iter().zip(nodes) {
                if let (Some(rlp), Some((owner, path))) = (&node, places.get(&key)) {
                    cache.checked(owner, path, &keccak256(rlp), rlp);
                }
                let known = if level < SHARED_LEVELS { &mut self.asked } else { &mut found };
                known.insert(key, node.is_some());
            }
            let known = if level < SHARED_LEVELS { &self.asked } else { &found };
            descents.retain(|descent| known.get(&descent.key).copied().unwrap_or_default());
            if descents.is_empty() {
                break;
            }
        }
        Ok(())
    }

    /// The keys of a level that have not been asked for, with their places.
    fn ask(&self, descents: &mut [Descent], level: usize) -> BTreeMap<Vec<u8>, (Owner, Nibbles)> {
        let mut places = BTreeMap::new();
        for Descent { owner, path, key } in descents {
            let path = path.slice(..level);
            *key = node_key(owner, &path);
            if level >= SHARED_LEVELS || !self.asked.contains_key(key) {
                places.insert(key.clone(), (*owner, path));
            }
        }
        places
    }
}

fn descents(ahead: &ReadAhead) -> Vec<Descent> {
    let descent = |owner, hash| Descent { owner, path: Nibbles::unpack(hash), key: Vec::new() };
    let accounts = ahead.accounts.iter().map(|(address, _)| descent(Owner::State, keccak256(address)));
    let slots = ahead.slots.iter().map(|((address, _, slot), _)| {
        descent(Owner::Storage(keccak256(address)), keccak256(slot.to_be_bytes::<32>()))
    });
    accounts.chain(slots).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use quintet_testkit::generate::{Generator, Network, Options};
    use quintet_trie::TrieChanges;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Counts what is asked for past the cache.
    struct Counted<'a>(&'a dyn Store, AtomicUsize);

    impl NodeReader for Counted<'_> {
        fn node(
            &self,
            owner: &Owner,
            path: &Nibbles,
        ) -> Result<Option<alloy_primitives::Bytes>, quintet_trie::TrieError> {
            self.1.fetch_add(1, Ordering::Relaxed);
            Ok(self.0.trie_node(&node_key(owner, path)).unwrap())
        }
    }

    #[test]
    fn an_update_finds_its_nodes_in_the_cache() {
        let options = Options { accounts: 600, senders: 500, ..Options::small(Network::Ethash) };
        let generator = Generator::new(options);
        let store = quintet_store::open_temporary().unwrap();
        crate::genesis::init(store.as_ref(), generator.spec()).unwrap();
        let state = generator.spec().genesis_state();
        let accounts: Vec<_> =
            state.accounts.iter().step_by(7).map(|(address, change)| (*address, change.after)).collect();
        let ahead = ReadAhead { at: 0, accounts, slots: Vec::new() };
        let mut changes = TrieChanges::default();
        for (address, account) in &ahead.accounts {
            let mut account = account.unwrap();
            account.nonce += 1;
            let account = Some(account);
            changes.accounts.insert(*address, quintet_trie::AccountChange { account, ..Default::default() });
        }
        let missed = |cache: &NodeCache| {
            let base = Counted(store.as_ref(), AtomicUsize::new(0));
            quintet_trie::update_with(&cache.over(&base), &changes).unwrap();
            base.1.into_inner()
        };
        let (cold, warm) = (NodeCache::new(1 << 20), NodeCache::new(1 << 20));
        NodesAhead::default().read(store.as_ref(), &warm, &ahead).unwrap();
        assert!(missed(&cold) > ahead.accounts.len());
        // The root of a trie is read by its path.
        assert_eq!(missed(&warm), 1);
    }
}
