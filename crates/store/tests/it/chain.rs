//! Small chains to commit: blocks with transactions and receipts, and the state beside them as plain maps.

use alloy_consensus::{Eip658Value, Receipt, ReceiptWithBloom, SignableTransaction, TxLegacy};
use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, Log, Signature, TxKind, U256, keccak256};
use alloy_trie::EMPTY_ROOT_HASH;
use quintet_store::{Commit, FetchedState, HistoricBlock, TrieAccount};
use quintet_types::{
    Account, AccountDiff, Block, BlockRef, Body, ExecutedBlock, Header, RecoveredBlock, StateDiff,
    Transaction,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The state after a block: accounts with their storage, zero slots left out.
pub(crate) type State = BTreeMap<Address, (Account, BTreeMap<U256, U256>)>;

/// What a block does to one account.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// Sets its nonce and balance, and so creates it where there is none.
    Pay(u64, u64),
    /// Writes slots, into an account that it creates where there is none.
    Write(Vec<(u64, u64)>),
    /// Takes it away.
    Destroy,
    /// Takes it away and creates it again, with code and these slots.
    Renew(Vec<(u64, u64)>),
}

/// An address for a small number, spread over the key space.
pub(crate) fn address(index: u64) -> Address {
    Address::from_slice(&keccak256(index.to_be_bytes())[12..])
}

/// Applies changes to `state` as block `number` and returns the diff.
pub(crate) fn apply(state: &mut State, number: u64, changes: &[(u64, Change)]) -> StateDiff {
    let before = state.clone();
    let mut diff = StateDiff::default();
    for (index, change) in changes {
        let address = address(*index);
        let fresh = (Account::new(number), BTreeMap::new());
        match change {
            Change::Destroy => {
                state.remove(&address);
            }
            Change::Pay(nonce, balance) => {
                let (account, _) = state.entry(address).or_insert(fresh);
                (account.nonce, account.balance) = (*nonce, U256::from(*balance));
            }
            Change::Write(slots) => write(&mut state.entry(address).or_insert(fresh).1, slots),
            Change::Renew(slots) => {
                let code = Bytes::from(number.to_be_bytes());
                let mut account = Account::new(number);
                account.code_hash = keccak256(&code);
                diff.code.insert(account.code_hash, code);
                let mut storage = BTreeMap::new();
                write(&mut storage, slots);
                state.insert(address, (account, storage));
            }
        }
    }
    for (index, _) in changes {
        let address = address(*index);
        diff.accounts.insert(address, account_diff(before.get(&address), state.get(&address)));
    }
    diff
}

fn write(storage: &mut BTreeMap<U256, U256>, slots: &[(u64, u64)]) {
    for (slot, value) in slots {
        storage.insert(U256::from(*slot), U256::from(*value));
    }
    storage.retain(|_, value| !value.is_zero());
}

fn account_diff(
    before: Option<&(Account, BTreeMap<U256, U256>)>,
    after: Option<&(Account, BTreeMap<U256, U256>)>,
) -> AccountDiff {
    let mut storage = BTreeMap::new();
    if let Some((account, slots)) = after {
        let same_life = before.filter(|(old, _)| old.incarnation == account.incarnation);
        let old = same_life.map(|(_, slots)| slots.clone()).unwrap_or_default();
        for slot in old.keys().chain(slots.keys()) {
            let value = slots.get(slot).copied().unwrap_or_default();
            if old.get(slot).copied().unwrap_or_default() != value {
                storage.insert(*slot, value);
            }
        }
    }
    AccountDiff { before: before.map(|b| b.0), after: after.map(|a| a.0), storage }
}

/// A transaction that is unlike any with another nonce.
pub(crate) fn transaction(nonce: u64) -> Transaction {
    let tx = TxLegacy {
        nonce,
        gas_limit: 21_000,
        to: TxKind::Call(address(nonce)),
        value: U256::from(nonce),
        ..TxLegacy::default()
    };
    Transaction::Legacy(tx.into_signed(Signature::test_signature()))
}

/// A block on `parent` with these transactions; `salt` tells it from its siblings.
pub(crate) fn block(parent: Option<BlockRef>, salt: u64, transactions: Vec<Transaction>) -> RecoveredBlock {
    let header = Header {
        number: parent.map_or(0, |parent| parent.number + 1),
        parent_hash: parent.map_or(B256::ZERO, |parent| parent.hash),
        extra_data: salt.to_be_bytes().into(),
        difficulty: U256::from(131_072),
        base_fee_per_gas: Some(7),
        ..Header::default()
    };
    let senders = (0..transactions.len() as u64).map(address).collect();
    let body = Body { transactions, ommers: vec![Header::default()], withdrawals: None };
    RecoveredBlock { hash: header.hash_slow(), block: Block { header, body }, senders }
}

/// The block as if executed, with receipts and this diff.
pub(crate) fn executed(block: RecoveredBlock, diff: StateDiff) -> ExecutedBlock {
    let receipt = |gas: u64| {
        let logs = vec![Log::new_unchecked(address(gas), vec![keccak256([1])], Bytes::from_static(b"data"))];
        let receipt = Receipt { status: Eip658Value::Eip658(true), cumulative_gas_used: gas * 21_000, logs };
        quintet_types::Receipt::Legacy(ReceiptWithBloom::from(receipt))
    };
    let receipts = (1..=block.block.body.transactions.len() as u64).map(receipt).collect();
    let total_difficulty = U256::from(131_072) * U256::from(block.block.header.number + 1);
    ExecutedBlock {
        block: Arc::new(block),
        receipts: Arc::new(receipts),
        diff: Arc::new(diff),
        total_difficulty,
    }
}

/// An executed block on `parent` with one transaction and the given changes to `state`.
pub(crate) fn extend(
    state: &mut State,
    parent: Option<BlockRef>,
    salt: u64,
    changes: &[(u64, Change)],
) -> ExecutedBlock {
    let number = parent.map_or(0, |parent| parent.number + 1);
    let diff = apply(state, number, changes);
    executed(block(parent, salt, vec![transaction(number * 1000 + salt)]), diff)
}

/// A chain of `length` blocks from genesis, each of which pays account 1 and writes slot 1 of account 2.
pub(crate) fn chain(length: u64) -> Vec<ExecutedBlock> {
    let mut state = State::new();
    let mut blocks = Vec::new();
    let mut parent = None;
    for number in 0..length {
        let changes = [(1, Change::Pay(number, 100 + number)), (2, Change::Write(vec![(1, number + 1)]))];
        let block = extend(&mut state, parent, 0, &changes);
        parent = Some(block.block.block_ref());
        blocks.push(block);
    }
    blocks
}

/// A commit of canonical blocks alone.
pub(crate) fn commit(blocks: &[ExecutedBlock]) -> Commit {
    Commit { blocks: blocks.to_vec(), ..Commit::default() }
}

/// Whether the code of an account is none.
pub(crate) fn codeless(account: &Account) -> bool {
    account.code_hash == KECCAK256_EMPTY
}

/// The block as history.
pub(crate) fn historic(executed: &ExecutedBlock) -> HistoricBlock {
    HistoricBlock {
        block: Arc::clone(&executed.block),
        receipts: Arc::clone(&executed.receipts),
        total_difficulty: executed.total_difficulty,
    }
}

/// A commit of history alone.
pub(crate) fn history(blocks: &[ExecutedBlock]) -> Commit {
    Commit { history: blocks.iter().map(historic).collect(), ..Commit::default() }
}

/// The hash of a slot's key.
pub(crate) fn slot_hash(slot: &U256) -> B256 {
    keccak256(slot.to_be_bytes::<32>())
}

/// A state as peers give it. The roots of the storage tries are stood in for.
pub(crate) fn fetched(state: &State) -> FetchedState {
    let mut part = FetchedState::default();
    for (address, (account, slots)) in state {
        let Account { nonce, balance, code_hash, .. } = *account;
        let storage_root = if slots.is_empty() { EMPTY_ROOT_HASH } else { B256::repeat_byte(7) };
        let hash = keccak256(address);
        part.accounts.push((hash, TrieAccount { nonce, balance, storage_root, code_hash }));
        part.slots.extend(slots.iter().map(|(slot, value)| (hash, slot_hash(slot), *value)));
    }
    part
}
