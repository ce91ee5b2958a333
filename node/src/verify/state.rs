//! The state root from every account and slot, with none of the trie's stored nodes.
//!
//! The store gives the versions of accounts in the order of their addresses, the trie wants them in that of their hashes.
//! Sorting all of them takes memory that grows with the state; instead the versions are walked as often as needed, and
//! each walk takes the next so many in the trie's order. A base beneath the versions is in that order already.

use crate::error::NodeError;
use crate::interrupt::Interrupt;
use alloy_primitives::{Address, B256, U256, keccak256};
use alloy_trie::{EMPTY_ROOT_HASH, HashBuilder, Nibbles, TrieAccount};
use quintet_store::{Store, StoreError, successor};
use quintet_types::Account;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// Accounts, and slots of one account, that are in memory at once; less than 200 bytes each.
const HELD: usize = 1 << 20;
/// Accounts or slots of the base that are read at once.
const PAGE: usize = 4096;

/// The root of the state after canonical block `block`.
///
/// # Errors
/// When the store cannot be read, or `interrupt` asks to stop.
pub(crate) fn state_root(store: &dyn Store, block: u64, interrupt: &Interrupt) -> Result<B256, NodeError> {
    StateOf::new(store, block, HELD, interrupt)?.root()
}

/// The leaves of a trie: versions in another order, over a base in the trie's own.
trait Leaves {
    /// What is kept of a leaf until its turn comes.
    type Value;

    /// Calls `visit` with the hashed key of each leaf that has a version: its value, or `None` where there is no leaf
    /// any more, whatever the base has.
    fn versions(&self, visit: &mut dyn FnMut(B256, Option<Self::Value>)) -> Result<(), NodeError>;

    /// The next leaves of the base from `from` on, in order; none behind the last.
    fn base(&self, from: B256) -> Result<Vec<(B256, Self::Value)>, NodeError>;

    /// The leaf's RLP; `key` is its hashed key.
    fn encode(&self, key: B256, value: Self::Value) -> Result<Vec<u8>, NodeError>;
}

/// The leaves that come next in the trie's order, at most so many.
struct Window<V> {
    held: usize,
    /// The last key of the window before.
    done: Option<B256>,
    next: BTreeMap<B256, Option<V>>,
    /// Nothing came that did not fit.
    complete: bool,
}

impl<V> Window<V> {
    /// Whether nothing from `key` on fits any more.
    fn is_full_before(&self, key: &B256) -> bool {
        self.next.len() == self.held && self.next.last_key_value().is_some_and(|(last, _)| last < key)
    }

    fn put(&mut self, key: B256, value: Option<V>) {
        if self.done.is_some_and(|done| key <= done) {
            return;
        }
        if self.next.len() == self.held && !self.next.contains_key(&key) {
            self.complete = false;
            if self.is_full_before(&key) {
                return;
            }
            self.next.pop_last();
        }
        self.next.insert(key, value);
    }

    /// Fills up with leaves of the base. What fits of the versions must be there: they hide the base's.
    fn fill<L: Leaves<Value = V>>(&mut self, leaves: &L) -> Result<(), NodeError> {
        let mut from = self.done.as_ref().map_or(Some(B256::ZERO), successor);
        while let Some(start) = from {
            let page = leaves.base(start)?;
            from = page.last().and_then(|(last, _)| successor(last));
            for (key, value) in page {
                if self.is_full_before(&key) {
                    self.complete = false;
                    return Ok(());
                }
                if !self.next.contains_key(&key) {
                    self.put(key, Some(value));
                }
            }
        }
        Ok(())
    }
}

/// The root over all leaves, at most `held` of them in memory.
fn root<L: Leaves>(held: usize, leaves: &L) -> Result<B256, NodeError> {
    let mut builder = HashBuilder::default();
    let mut done: Option<B256> = None;
    loop {
        let mut window = Window { held, done, next: BTreeMap::new(), complete: true };
        leaves.versions(&mut |key, value| window.put(key, value))?;
        window.fill(leaves)?;
        done = window.next.last_key_value().map(|(key, _)| *key);
        for (key, value) in window.next {
            if let Some(value) = value {
                builder.add_leaf(Nibbles::unpack(key), &leaves.encode(key, value)?);
            }
        }
        if window.complete || done.is_none() {
            return Ok(builder.root());
        }
    }
}

/// The accounts of a state.
struct StateOf<'a> {
    store: &'a dyn Store,
    block: u64,
    /// The first block whose state is held: what the base is the state of, if it is not zero.
    first: u64,
    held: usize,
    interrupt: &'a Interrupt,
}

/// An account as it was found.
enum Found {
    /// A version, whose storage may have versions.
    Version(Address, Account),
    /// Of the base, which nothing has changed.
    Base(TrieAccount),
}

impl Leaves for StateOf<'_> {
    type Value = Found;

    fn versions(&self, visit: &mut dyn FnMut(B256, Option<Found>)) -> Result<(), NodeError> {
        let stop = || self.interrupt.requested();
        all(stop, |next| {
            self.store.for_each_account_version(self.block, Address::ZERO, &mut |address, account| {
                visit(keccak256(address), account.map(|account| Found::Version(address, account)));
                next()
            })
        })
    }

    fn base(&self, from: B256) -> Result<Vec<(B256, Found)>, NodeError> {
        if self.first == 0 {
            return Ok(Vec::new());
        }
        self.check_interrupt()?;
        let page = self.store.base_accounts(&from, PAGE)?;
        Ok(page.into_iter().map(|(hash, account)| (hash, Found::Base(account))).collect())
    }

    fn encode(&self, key: B256, found: Found) -> Result<Vec<u8>, NodeError> {
        let account = match found {
            Found::Version(address, account) => {
                let storage_root = self.storage_root(key, &address, &account)?;
                let Account { nonce, balance, code_hash, .. } = account;
                TrieAccount { nonce, balance, storage_root, code_hash }
            }
            Found::Base(account) => {
                let storage = StorageOf { state: self, hash: key, version: None };
                TrieAccount { storage_root: root(self.held, &storage)?, ..account }
            }
        };
        Ok(alloy_rlp::encode(account))
    }
}

impl<'a> StateOf<'a> {
    fn new(
        store: &'a dyn Store,
        block: u64,
        held: usize,
        interrupt: &'a Interrupt,
    ) -> Result<Self, NodeError> {
        Ok(Self { store, block, first: store.first_state()?, held, interrupt })
    }

    fn root(&self) -> Result<B256, NodeError> {
        root(self.held, self)
    }

    fn storage_root(&self, hash: B256, address: &Address, account: &Account) -> Result<B256, NodeError> {
        // Most accounts have none: one read tells.
        let mut empty = true;
        let incarnation = account.incarnation;
        self.store.for_each_storage(address, incarnation, self.block, U256::ZERO, &mut |_, _| {
            empty = false;
            ControlFlow::Break(())
        })?;
        let has_base = self.first > 0 && incarnation == self.first;
        if empty && !has_base {
            return Ok(EMPTY_ROOT_HASH);
        }
        root(self.held, &StorageOf { state: self, hash, version: Some((*address, incarnation)) })
    }

    fn check_interrupt(&self) -> Result<(), NodeError> {
        if self.interrupt.requested() { Err(NodeError::Interrupted) } else { Ok(()) }
    }
}

/// The slots of an account.
struct StorageOf<'a> {
    state: &'a StateOf<'a>,
    /// The hash of its address.
    hash: B256,
    /// Its address and incarnation, if it has a version.
    version: Option<(Address, u64)>,
}

impl Leaves for StorageOf<'_> {
    type Value = U256;

    fn versions(&self, visit: &mut dyn FnMut(B256, Option<U256>)) -> Result<(), NodeError> {
        let Some((address, incarnation)) = &self.version else { return Ok(()) };
        let StateOf { store, block, interrupt, .. } = self.state;
        all(
            || interrupt.requested(),
            |next| {
                let each = &mut |slot: U256, value: U256| {
                    let value = (!value.is_zero()).then_some(value);
                    visit(keccak256(slot.to_be_bytes::<32>()), value);
                    next()
                };
                store.for_each_slot_version(address, *incarnation, *block, U256::ZERO, each)
            },
        )
    }

    fn base(&self, from: B256) -> Result<Vec<(B256, U256)>, NodeError> {
        let first = self.state.first;
        if first == 0 || self.version.is_some_and(|(_, incarnation)| incarnation != first) {
            return Ok(Vec::new());
        }
        self.state.check_interrupt()?;
        Ok(self.state.store.base_slots(&self.hash, &from, PAGE)?)
    }

    fn encode(&self, _: B256, value: U256) -> Result<Vec<u8>, NodeError> {
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
    use quintet_store::{Commit, FetchedState, HistoricBlock};
    use quintet_types::{AccountDiff, Block, ExecutedBlock, Header, RecoveredBlock, StateDiff};
    use std::sync::Arc;

    /// Versions, and a base in order.
    struct Slots {
        versions: Vec<(B256, Option<U256>)>,
        base: Vec<(B256, U256)>,
    }

    impl Leaves for Slots {
        type Value = U256;

        fn versions(&self, visit: &mut dyn FnMut(B256, Option<U256>)) -> Result<(), NodeError> {
            self.versions.iter().for_each(|(key, value)| visit(*key, *value));
            Ok(())
        }

        fn base(&self, from: B256) -> Result<Vec<(B256, U256)>, NodeError> {
            Ok(self.base.iter().filter(|(key, _)| *key >= from).take(3).copied().collect())
        }

        fn encode(&self, _: B256, value: U256) -> Result<Vec<u8>, NodeError> {
            Ok(alloy_rlp::encode(value))
        }
    }

    #[test]
    fn the_root_does_not_depend_on_how_much_is_held() {
        for count in [0_u64, 1, 2, 7, 64, 100] {
            let key = |slot: u64| keccak256(slot.to_be_bytes());
            // Of three in a row one has a version alone, one lies over the base, one is in the base alone; some versions
            // say that the base's is gone.
            let values = |slot: u64| (!slot.is_multiple_of(5)).then(|| U256::from(slot + 1));
            let versions = (0..count).filter(|n| n % 3 < 2).map(|n| (key(n), values(n))).collect();
            let mut base: Vec<_> =
                (0..count).filter(|n| n % 3 > 0).map(|n| (key(n), U256::from(n + 1000))).collect();
            base.sort_unstable();
            let want: BTreeMap<_, _> = (0..count)
                .filter_map(|n| {
                    let value = if n % 3 < 2 { values(n) } else { Some(U256::from(n + 1000)) };
                    Some((key(n), value?))
                })
                .collect();
            let want = storage_root_unsorted(want);
            let slots = Slots { versions, base };
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
            let state = StateOf::new(store.as_ref(), 0, held, &interrupt).unwrap();
            assert_eq!(state.root().unwrap(), spec.genesis_header().state_root);
        }
    }

    fn block(parent: Option<&RecoveredBlock>) -> Arc<RecoveredBlock> {
        let header = Header {
            number: parent.map_or(0, |parent| parent.header().number + 1),
            parent_hash: parent.map(|parent| parent.hash).unwrap_or_default(),
            ..Header::default()
        };
        let hash = header.hash_slow();
        let block = Block { header, body: quintet_types::Body::default() };
        Arc::new(RecoveredBlock { hash, block, senders: Vec::new() })
    }

    fn executed(block: &Arc<RecoveredBlock>, diff: StateDiff) -> ExecutedBlock {
        let block = Arc::clone(block);
        ExecutedBlock { block, receipts: Arc::default(), diff: Arc::new(diff), total_difficulty: U256::ZERO }
    }

    /// A state as maps.
    type State = BTreeMap<Address, (Account, BTreeMap<U256, U256>)>;

    fn expected(state: &State) -> B256 {
        let accounts = state.iter().map(|(address, (account, slots))| {
            let slots = slots.iter().map(|(slot, value)| (keccak256(slot.to_be_bytes::<32>()), *value));
            let storage_root = storage_root_unsorted(slots);
            let Account { nonce, balance, code_hash, .. } = *account;
            (keccak256(address), TrieAccount { nonce, balance, storage_root, code_hash })
        });
        alloy_trie::root::state_root_unsorted(accounts)
    }

    /// A store that adopted `state` as block 2.
    fn adopted(state: &State) -> (Arc<dyn Store>, Arc<RecoveredBlock>) {
        let store = quintet_store::open_temporary().unwrap();
        let genesis = block(None);
        let (first, second) = (block(Some(&genesis)), block(Some(&block(Some(&genesis)))));
        let mut part = FetchedState::default();
        for (address, (account, slots)) in state {
            let hash = keccak256(address);
            let Account { nonce, balance, code_hash, .. } = *account;
            part.accounts.push((hash, TrieAccount { nonce, balance, code_hash, ..TrieAccount::default() }));
            let slot = |(slot, value): (&U256, &U256)| (hash, keccak256(slot.to_be_bytes::<32>()), *value);
            part.slots.extend(slots.iter().map(slot));
        }
        store.write_fetched(part).unwrap();
        let historic = |block: &Arc<RecoveredBlock>| HistoricBlock {
            block: Arc::clone(block),
            receipts: Arc::default(),
            total_difficulty: U256::ZERO,
        };
        let commit = Commit {
            blocks: vec![executed(&genesis, StateDiff::default())],
            history: vec![historic(&first), historic(&second)],
            adopt: Some(second.block_ref()),
            ..Commit::default()
        };
        store.commit(commit).unwrap();
        (store, second)
    }

    #[test]
    fn a_state_over_a_base_has_its_root() {
        let account =
            |number: u8| (Address::repeat_byte(number), Account { nonce: number.into(), ..Account::new(2) });
        let slots =
            |slots: &[(u64, u64)]| slots.iter().map(|(s, v)| (U256::from(*s), U256::from(*v))).collect();
        let mut state: State = (1..=40_u8)
            .map(|number| {
                let (address, account) = account(number);
                (address, (account, slots(&[(1, number.into()), (2, 2), (3, 3)][..usize::from(number % 4)])))
            })
            .collect();
        let (store, head) = adopted(&state);
        let interrupt = Interrupt::default();
        let root_at =
            |block, held| StateOf::new(store.as_ref(), block, held, &interrupt).unwrap().root().unwrap();
        for held in [1, 7, HELD] {
            assert_eq!(root_at(2, held), expected(&state), "the base alone, {held} held");
        }
        // One pays, one has only storage changed, one loses all of it, one is gone, one lives anew, one is new.
        let mut diff = StateDiff::default();
        let mut change = |number: u8, after: Option<Account>, storage: &[(u64, u64)]| {
            let address = Address::repeat_byte(number);
            let before = state.get(&address).map(|(account, _)| *account);
            let storage: BTreeMap<U256, U256> = slots(storage);
            diff.accounts.insert(address, AccountDiff { before, after, storage: storage.clone() });
            let Some(after) = after else { return drop(state.remove(&address)) };
            let (account, held) = state.entry(address).or_insert((after, BTreeMap::new()));
            if account.incarnation != after.incarnation {
                held.clear();
            }
            *account = after;
            held.extend(storage);
            held.retain(|_, value| !value.is_zero());
        };
        change(4, Some(Account { balance: U256::from(7), ..account(4).1 }), &[]);
        change(7, Some(account(7).1), &[(1, 0), (2, 22), (9, 9)]);
        change(6, Some(account(6).1), &[(1, 0), (2, 0)]);
        change(11, None, &[]);
        change(15, Some(Account { nonce: 1, ..Account::new(3) }), &[(2, 5)]);
        change(77, Some(Account { nonce: 1, ..Account::new(3) }), &[(1, 1)]);
        let next = block(Some(&head));
        store.commit(Commit { blocks: vec![executed(&next, diff)], ..Commit::default() }).unwrap();
        for held in [1, 2, 7, HELD] {
            assert_eq!(root_at(3, held), expected(&state), "{held} held");
        }
        assert_ne!(root_at(2, HELD), expected(&state));
    }
}
