//! The wire encoding of a [`StateDiff`]: an RLP list of accounts and a list of codes. Append-only, like the
//! messages that carry it.

use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_rlp::{Decodable, Encodable, RlpDecodable, RlpEncodable};
use quintet_types::{Account, AccountDiff, StateDiff};

#[derive(RlpEncodable, RlpDecodable)]
struct WireDiff {
    accounts: Vec<WireAccountDiff>,
    code: Vec<WireCode>,
}

#[derive(RlpEncodable, RlpDecodable)]
struct WireAccountDiff {
    address: Address,
    /// None or one.
    before: Vec<WireAccount>,
    after: Vec<WireAccount>,
    storage: Vec<WireSlot>,
}

#[derive(RlpEncodable, RlpDecodable)]
struct WireAccount {
    nonce: u64,
    balance: U256,
    code_hash: B256,
    incarnation: u64,
}

#[derive(RlpEncodable, RlpDecodable)]
struct WireSlot {
    slot: U256,
    value: U256,
}

#[derive(RlpEncodable, RlpDecodable)]
struct WireCode {
    hash: B256,
    code: Bytes,
}

/// Encodes a diff.
pub fn encode(diff: &StateDiff) -> Bytes {
    let accounts = diff.accounts.iter().map(|(address, change)| WireAccountDiff {
        address: *address,
        before: change.before.iter().map(to_wire).collect(),
        after: change.after.iter().map(to_wire).collect(),
        storage: change.storage.iter().map(|(slot, value)| WireSlot { slot: *slot, value: *value }).collect(),
    });
    let code = diff.code.iter().map(|(hash, code)| WireCode { hash: *hash, code: code.clone() });
    let wire = WireDiff { accounts: accounts.collect(), code: code.collect() };
    let mut out = Vec::with_capacity(wire.length());
    wire.encode(&mut out);
    out.into()
}

/// Decodes what [`encode`] wrote.
///
/// # Errors
/// When the bytes are not exactly one diff.
pub fn decode(mut bytes: &[u8]) -> Result<StateDiff, alloy_rlp::Error> {
    let wire = WireDiff::decode(&mut bytes)?;
    if !bytes.is_empty() {
        return Err(alloy_rlp::Error::UnexpectedLength);
    }
    let account = |entry: WireAccountDiff| {
        let change = AccountDiff {
            before: from_wire(entry.before)?,
            after: from_wire(entry.after)?,
            storage: entry.storage.into_iter().map(|slot| (slot.slot, slot.value)).collect(),
        };
        Ok((entry.address, change))
    };
    let accounts = wire.accounts.into_iter().map(account).collect::<Result<_, alloy_rlp::Error>>()?;
    let code = wire.code.into_iter().map(|code| (code.hash, code.code)).collect();
    Ok(StateDiff { accounts, code })
}

fn to_wire(account: &Account) -> WireAccount {
    let Account { nonce, balance, code_hash, incarnation } = *account;
    WireAccount { nonce, balance, code_hash, incarnation }
}

fn from_wire(accounts: Vec<WireAccount>) -> Result<Option<Account>, alloy_rlp::Error> {
    if accounts.len() > 1 {
        return Err(alloy_rlp::Error::Custom("more than one account state"));
    }
    Ok(accounts.into_iter().next().map(|account| {
        let WireAccount { nonce, balance, code_hash, incarnation } = account;
        Account { nonce, balance, code_hash, incarnation }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn account() -> impl Strategy<Value = Option<Account>> {
        let account = (any::<u64>(), any::<[u8; 32]>(), any::<[u8; 32]>(), any::<u64>());
        proptest::option::of(account.prop_map(|(nonce, balance, code_hash, incarnation)| Account {
            nonce,
            balance: U256::from_be_bytes(balance),
            code_hash: code_hash.into(),
            incarnation,
        }))
    }

    proptest! {
        #[test]
        fn a_diff_survives_the_wire(
            accounts in proptest::collection::btree_map(any::<[u8; 20]>(), (account(), account(), proptest::collection::btree_map(any::<u64>(), any::<u64>(), 0..4)), 0..6),
            code in proptest::collection::btree_map(any::<[u8; 32]>(), proptest::collection::vec(any::<u8>(), 0..64), 0..3),
        ) {
            let accounts = accounts.into_iter().map(|(address, (before, after, storage))| {
                let storage = storage.into_iter().map(|(k, v)| (U256::from(k), U256::from(v))).collect();
                (address.into(), AccountDiff { before, after, storage })
            }).collect();
            let code = code.into_iter().map(|(hash, code)| (hash.into(), code.into())).collect();
            let diff = StateDiff { accounts, code };
            prop_assert_eq!(decode(&encode(&diff)).unwrap(), diff);
        }

        #[test]
        fn arbitrary_bytes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
        }
    }
}
