//! The values of the tables that have no canonical encoding of their own: accounts, change lists, slots.

use crate::{AccountChange, StateChanges};
use alloy_primitives::{Address, B256, KECCAK256_EMPTY, U256};
use alloy_trie::{EMPTY_ROOT_HASH, TrieAccount};
use quintet_types::Account;

/// A value as its big-endian bytes without leading zeros; nothing for zero.
pub(crate) fn put_uint(value: &U256, out: &mut Vec<u8>) {
    out.extend_from_slice(trimmed(&value.to_be_bytes::<32>()));
}

/// What [`put_uint`] wrote.
pub(crate) fn uint(bytes: &[u8]) -> Option<U256> {
    U256::try_from_be_slice(bytes)
}

/// Appends an account: the lengths of incarnation and nonce (a nibble each), the length of the balance with
/// the top bit set if it has code, then the three numbers trimmed, then the code hash. Nothing for an
/// account that does not exist.
pub(crate) fn put_account(account: Option<&Account>, out: &mut Vec<u8>) {
    let Some(account) = account else { return };
    let incarnation = account.incarnation.to_be_bytes();
    let nonce = account.nonce.to_be_bytes();
    let balance = account.balance.to_be_bytes::<32>();
    let (incarnation, nonce, balance) = (trimmed(&incarnation), trimmed(&nonce), trimmed(&balance));
    let code = if account.has_code() { 0x80 } else { 0 };
    out.push(small(incarnation.len()) << 4 | small(nonce.len()));
    out.push(small(balance.len()) | code);
    out.extend_from_slice(incarnation);
    out.extend_from_slice(nonce);
    out.extend_from_slice(balance);
    if account.has_code() {
        out.extend_from_slice(account.code_hash.as_slice());
    }
}

/// What [`put_account`] wrote for an account that exists.
pub(crate) fn account(bytes: &[u8]) -> Option<Account> {
    let mut input = Input(bytes);
    let [lengths, tail] = input.take(2)?.try_into().ok()?;
    let incarnation = input.trimmed_u64(usize::from(lengths >> 4))?;
    let nonce = input.trimmed_u64(usize::from(lengths & 0x0f))?;
    let balance = uint(input.take(usize::from(tail & 0x7f))?)?;
    let code_hash = if tail & 0x80 == 0 { KECCAK256_EMPTY } else { B256::from_slice(input.take(32)?) };
    input.0.is_empty().then_some(Account { nonce, balance, code_hash, incarnation })
}

/// Flags of an account of the base: it has code, it has storage.
const HAS_CODE: u8 = 0x80;
const HAS_STORAGE: u8 = 0x40;

/// Appends an account of the base: the length of the nonce, the length of the balance with a bit each for code and
/// storage, the two numbers trimmed, then the storage's root and the code's hash where there are any.
pub(crate) fn put_base_account(account: &TrieAccount, out: &mut Vec<u8>) {
    let nonce = account.nonce.to_be_bytes();
    let balance = account.balance.to_be_bytes::<32>();
    let (nonce, balance) = (trimmed(&nonce), trimmed(&balance));
    let code = if account.code_hash == KECCAK256_EMPTY { 0 } else { HAS_CODE };
    let storage = if account.storage_root == EMPTY_ROOT_HASH { 0 } else { HAS_STORAGE };
    out.push(small(nonce.len()));
    out.push(small(balance.len()) | code | storage);
    out.extend_from_slice(nonce);
    out.extend_from_slice(balance);
    if storage != 0 {
        out.extend_from_slice(account.storage_root.as_slice());
    }
    if code != 0 {
        out.extend_from_slice(account.code_hash.as_slice());
    }
}

/// What [`put_base_account`] wrote.
pub(crate) fn base_account(bytes: &[u8]) -> Option<TrieAccount> {
    let mut input = Input(bytes);
    let [length, tail] = input.take(2)?.try_into().ok()?;
    let nonce = input.trimmed_u64(usize::from(length))?;
    let balance = uint(input.take(usize::from(tail & !(HAS_CODE | HAS_STORAGE)))?)?;
    let mut hash = |flag, empty| {
        if tail & flag == 0 { Some(empty) } else { input.take(32).map(B256::from_slice) }
    };
    let storage_root = hash(HAS_STORAGE, EMPTY_ROOT_HASH)?;
    let code_hash = hash(HAS_CODE, KECCAK256_EMPTY)?;
    input.0.is_empty().then_some(TrieAccount { nonce, balance, storage_root, code_hash })
}

/// An account of the base as the versions have one; `first` is the block that the base is the state of.
pub(crate) fn versioned(account: &TrieAccount, first: u64) -> Account {
    let TrieAccount { nonce, balance, code_hash, .. } = *account;
    Account { nonce, balance, code_hash, incarnation: first }
}

/// Appends a block's change list: code hashes, then accounts, each with its slots.
pub(crate) fn put_changes(changes: &StateChanges, out: &mut Vec<u8>) {
    put_varint(changes.code.len() as u64, out);
    for hash in &changes.code {
        out.extend_from_slice(hash.as_slice());
    }
    put_varint(changes.accounts.len() as u64, out);
    for change in &changes.accounts {
        out.extend_from_slice(change.address.as_slice());
        put_varint(change.slots.len() as u64, out);
        if !change.slots.is_empty() {
            put_varint(change.incarnation, out);
        }
        for slot in &change.slots {
            out.extend_from_slice(&slot.to_be_bytes::<32>());
        }
    }
}

/// What [`put_changes`] wrote.
pub(crate) fn changes(bytes: &[u8]) -> Option<StateChanges> {
    let mut input = Input(bytes);
    let mut changes = StateChanges::default();
    for _ in 0..input.varint()? {
        changes.code.push(B256::from_slice(input.take(32)?));
    }
    for _ in 0..input.varint()? {
        let address = Address::from_slice(input.take(20)?);
        let count = input.varint()?;
        let incarnation = if count == 0 { 0 } else { input.varint()? };
        let mut slots = Vec::new();
        for _ in 0..count {
            slots.push(uint(input.take(32)?)?);
        }
        changes.accounts.push(AccountChange { address, incarnation, slots });
    }
    input.0.is_empty().then_some(changes)
}

/// Appends a header's record: the total difficulty behind its length, then the header's RLP.
pub(crate) fn put_difficulty(total: &U256, out: &mut Vec<u8>) {
    let bytes = total.to_be_bytes::<32>();
    let bytes = trimmed(&bytes);
    out.push(small(bytes.len()));
    out.extend_from_slice(bytes);
}

/// Splits a header's record into total difficulty and RLP.
pub(crate) fn difficulty(bytes: &[u8]) -> Option<(U256, &[u8])> {
    let mut input = Input(bytes);
    let length = input.take(1)?.first().copied()?;
    let total = uint(input.take(usize::from(length))?)?;
    Some((total, input.0))
}

/// Bytes still to be decoded.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(length)?;
        self.0 = tail;
        Some(head)
    }

    fn trimmed_u64(&mut self, length: usize) -> Option<u64> {
        u64::try_from(uint(self.take(length)?)?).ok()
    }

    /// A little-endian base-128 number.
    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = u64::from(self.take(1)?.first().copied()?);
            let bits = byte & 0x7f;
            if bits << shift >> shift != bits {
                return None;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
}

fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    loop {
        let low = small((value & 0x7f) as usize);
        value >>= 7;
        if value == 0 {
            return out.push(low);
        }
        out.push(low | 0x80);
    }
}

fn trimmed(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes.get(zeros..).unwrap_or_default()
}

/// A length that is known to fit (at most 127).
#[expect(clippy::cast_possible_truncation, reason = "callers pass lengths of numbers and seven-bit groups")]
const fn small(length: usize) -> u8 {
    length as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(account: Option<&Account>) -> Vec<u8> {
        let mut out = Vec::new();
        put_account(account, &mut out);
        out
    }

    #[test]
    fn a_plain_account_is_small() {
        let plain = Account { nonce: 7, balance: U256::from(10).pow(U256::from(18)), ..Account::new(300) };
        assert_eq!(encoded(Some(&plain)).len(), 2 + 2 + 1 + 8);
        assert_eq!(encoded(None).len(), 0);
    }

    #[test]
    fn foreign_bytes_are_refused() {
        let plain = encoded(Some(&Account { nonce: u64::MAX, ..Account::new(u64::MAX) }));
        for end in 1..plain.len() {
            assert_eq!(account(&plain[..end]), None, "cut at {end}");
        }
        assert_eq!(account(&[plain.as_slice(), &[0]].concat()), None);
        assert_eq!(account(&[0x90, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]), None, "a nine-byte number");
        assert_eq!(changes(&[0]), None);
        assert_eq!(changes(&[0xff; 12]), None);
        assert_eq!(difficulty(&[33; 40]), None);
    }

    proptest! {
        #[test]
        fn accounts_come_back(nonce: u64, balance: [u8; 32], small: u64, code: Option<[u8; 32]>, incarnation: u64) {
            for balance in [U256::from_be_bytes(balance), U256::from(small), U256::ZERO] {
                let code_hash = code.map_or(KECCAK256_EMPTY, B256::from);
                let before = Account { nonce, balance, code_hash, incarnation };
                prop_assert_eq!(account(&encoded(Some(&before))), Some(before));
            }
        }

        #[test]
        fn accounts_of_the_base_come_back(nonce: u64, balance: [u8; 32], code: Option<[u8; 32]>, root: Option<[u8; 32]>) {
            for balance in [U256::from_be_bytes(balance), U256::from(nonce), U256::ZERO] {
                let code_hash = code.map_or(KECCAK256_EMPTY, B256::from);
                let storage_root = root.map_or(EMPTY_ROOT_HASH, B256::from);
                let before = TrieAccount { nonce, balance, storage_root, code_hash };
                let mut out = Vec::new();
                put_base_account(&before, &mut out);
                prop_assert_eq!(base_account(&out), Some(before));
                for end in 0..out.len() {
                    prop_assert_eq!(base_account(&out[..end]), None, "cut at {}", end);
                }
            }
        }

        #[test]
        fn change_lists_come_back(
            accounts: Vec<([u8; 20], u64, Vec<[u8; 32]>)>,
            code: Vec<[u8; 32]>,
        ) {
            let accounts = accounts.into_iter().map(|(address, incarnation, slots)| AccountChange {
                address: address.into(),
                incarnation: if slots.is_empty() { 0 } else { incarnation },
                slots: slots.into_iter().map(U256::from_be_bytes).collect(),
            });
            let before = StateChanges {
                accounts: accounts.collect(),
                code: code.into_iter().map(B256::from).collect(),
            };
            let mut out = Vec::new();
            put_changes(&before, &mut out);
            prop_assert_eq!(changes(&out), Some(before));
        }

        #[test]
        fn garbage_never_panics(bytes: Vec<u8>) {
            let _ = (account(&bytes), changes(&bytes), difficulty(&bytes), uint(&bytes), base_account(&bytes));
        }
    }
}
