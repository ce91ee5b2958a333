//! The state root from every account and slot, with none of the trie's stored nodes.
//!
//! The store gives accounts in the order of their addresses, the trie wants them in that of their hashes. Sorting all
//! of them takes memory that grows with the state; instead the state is walked as often as needed, and each walk takes
//! the next so many in the trie's order.

use crate::error::NodeError;
use crate::interrupt::Interrupt;
use alloy_primitives::{Address, B256, U256, keccak256};
use alloy_trie::{EMPTY_ROOT_HASH, HashBuilder, Nibbles, TrieAccount};
use quintet_store::{Store, StoreError};
use quintet_types::Account;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// Accounts, and slots of one account, that are in memory at once; less than 200 bytes each.
const HELD: usize = 1 << 20;

/// The root of the state after canonical block `block`.
///
/// # Errors
/// When the store cannot be read, or `interrupt` asks to stop.
pub(crate) fn state_root(store: &dyn Store, block: u64, interrupt: &Interrupt) -> Result<B256, NodeError> {
    root(HELD, &StateOf { store, block, held: HELD, interrupt })
}

/// The leaves of a trie, from a store that has them in another order.
trait Leaves {
    /// What is kept of a leaf until its turn comes.
    type Value;

    /// Calls `visit` with each leaf's hashed key.
    fn walk(&self, visit: &mut dyn FnMut(B256, Self::Value)) -> Result<(), NodeError>;

    /// The leaf's RLP.
    fn encode(&self, value: Self::Value) -> Result<Vec<u8>, NodeError>;
}

/// The root over all leaves, at most `held` of them in memory.
fn root<L: Leaves>(held: usize, leaves: &L) -> Result<B256, NodeError> {
    let mut builder = HashBuilder::default();
    let mut done: Option<B256> = None;
    loop {
        let mut next = BTreeMap::new();
        let mut complete = true;
        leaves.walk(&mut |key, value| {
            if done.is_some_and(|done| key <= done) {
                return;
            }
            if next.len() == held {
                complete = false;
                if next.last_key_value().is_some_and(|(last, _)| *last < key) {
                    return;
                }
                next.pop_last();
            }
            next.insert(key, value);
        })?;
        done = next.last_key_value().map(|(key, _)| *key);
        for (key, value) in next {
            builder.add_leaf(Nibbles::unpack(key), &leaves.encode(value)?);
        }
        if complete || done.is_none() {
            return Ok(builder.root());
        }
    }
}

/// The accounts of a state.
struct StateOf<'a> {
    store: &'a dyn Store,
    block: u64,
    held: usize,
    interrupt: &'a Interrupt,
}

impl Leaves for StateOf<'_> {
    type Value = (Address, Account);

    fn walk(&self, visit: &mut dyn FnMut(B256, Self::Value)) -> Result<(), NodeError> {
        let stop = || self.interrupt.requested();
        all(stop, |next| {
            self.store.for_each_account(self.block, Address::ZERO, &mut |address, account| {
                visit(keccak256(address), (address, account));
                next()
            })
        })
    }

    fn encode(&self, (address, account): Self::Value) -> Result<Vec<u8>, NodeError> {
        let storage_root = self.storage_root(&address, &account)?;
        let Account { nonce, balance, code_hash, .. } = account;
        Ok(alloy_rlp::encode(TrieAccount { nonce, balance, storage_root, code_hash }))
    }
}

impl StateOf<'_> {
    fn storage_root(&self, address: &Address, account: &Account) -> Result<B256, NodeError> {
        // Most accounts have none: one read tells.
        let mut empty = true;
        let incarnation = account.incarnation;
        self.store.for_each_storage(address, incarnation, self.block, U256::ZERO, &mut |_, _| {
            empty = false;
            ControlFlow::Break(())
        })?;
        if empty {
            return Ok(EMPTY_ROOT_HASH);
        }
        root(self.held, &StorageOf { state: self, address, incarnation })
    }
}

/// The slots of an account.
struct StorageOf<'a> {
    state: &'a StateOf<'a>,
    address: &'a Address,
    incarnation: u64,
}

impl Leaves for StorageOf<'_> {
    type Value = U256;

    fn walk(&self, visit: &mut dyn FnMut(B256, U256)) -> Result<(), NodeError> {
        let StateOf { store, block, interrupt, .. } = self.state;
        all(
            || interrupt.requested(),
            |next| {
                let each = &mut |slot: U256, value| {
                    visit(keccak256(slot.to_be_bytes::<32>()), value);
                    next()
                };
                store.for_each_storage(self.address, self.incarnation, *block, U256::ZERO, each)
            },
        )
    }

    fn encode(&self, value: U256) -> Result<Vec<u8>, NodeError> {
        Ok(alloy_rlp::encode(value))
    }
}

/// Walks to the end, unless `stop` says otherwise meanwhile.
fn all(
    stop: impl Fn() -> bool,
    walk: impl FnOnce(&mut dyn FnMut() -> ControlFlow<()>) -> Result<(), StoreError>,
) -> Result<(), NodeError> {
    let mut stopped = false;
    walk(&mut || {
        stopped = stop();
        if stopped { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    if stopped { Err(NodeError::Interrupted) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_trie::root::storage_root_unsorted;

    struct Slots(Vec<(B256, U256)>);

    impl Leaves for Slots {
        type Value = U256;

        fn walk(&self, visit: &mut dyn FnMut(B256, U256)) -> Result<(), NodeError> {
            self.0.iter().for_each(|(key, value)| visit(*key, *value));
            Ok(())
        }

        fn encode(&self, value: U256) -> Result<Vec<u8>, NodeError> {
            Ok(alloy_rlp::encode(value))
        }
    }

    #[test]
    fn the_root_does_not_depend_on_how_much_is_held() {
        for count in [0_u64, 1, 2, 7, 64, 100] {
            let slots: Vec<_> =
                (0..count).map(|slot| (keccak256(slot.to_be_bytes()), U256::from(slot + 1))).collect();
            let want = storage_root_unsorted(slots.clone());
            let slots = Slots(slots);
            for held in [1, 2, 3, 50, 99, 100, 101] {
                assert_eq!(root(held, &slots).unwrap(), want, "{count} slots, {held} held");
            }
        }
    }

    #[test]
    fn a_whole_state_has_its_root() {
        let spec = quintet_chainspec::ChainSpec::preset("holesky").unwrap();
        let store = quintet_store::open_temporary().unwrap();
        quintet_chain::genesis::init(store.as_ref(), &spec).unwrap();
        let interrupt = Interrupt::default();
        for held in [10, HELD] {
            let state = StateOf { store: store.as_ref(), block: 0, held, interrupt: &interrupt };
            assert_eq!(root(held, &state).unwrap(), spec.genesis_header().state_root);
        }
    }
}
